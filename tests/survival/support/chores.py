"""What the survival tests have workers do. Imported by workers: light, and without pytest.

Who uses it: every survival test. A `Chore` leaves a line in a tally *before* it does its deed, so a test can prove how
often each chore was begun, whatever became of the worker. What may go wrong: a deed must pickle under every start
method, so it is a function of this package or a `functools.partial` of one.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import multiprocessing
import os
import select
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from tests.support.gates import Gate, Tally
from tests.survival.support.deeds import change_every_signal_handler

# Chores


class Chore(NamedTuple):
    """One task: count a run, do the deed, return the square of the index (or the deed's own value)."""

    index: int
    tally: Tally
    deed: Callable[[], Any] | None = None


def do(chore: Chore) -> Any:
    """The function behind every chore."""
    chore.tally.add(chore.index)
    if chore.deed is None:
        return chore.index, chore.index * chore.index
    return chore.index, chore.deed()


def main_thread() -> tuple[str, bool, bool, bool]:
    """Its name, whether it is a daemon, whether what it starts is, and whether it is the main thread."""
    me = threading.current_thread()
    return me.name, me.daemon, threading.Thread(target=int).daemon, me is threading.main_thread()


def raise_(kind: type[BaseException], *args: Any) -> NoReturn:
    raise kind(*args)


def give(value: Any) -> Any:
    return value


def count_bytes(data: bytes) -> int:
    return len(data)


def call_by_name(folder: str, module: str, name: str) -> Any:
    import importlib

    if folder not in sys.path:
        sys.path.insert(0, folder)
    return getattr(importlib.import_module(module), name)()


def log_and_import(value: int) -> int:
    """Use what threads of the parent may have held locks of at the moment of a fork."""
    import importlib
    import logging

    logging.getLogger("survival").warning("in a worker")
    sys.stderr.write("")
    importlib.import_module("json")
    return value


# Meeting and waiting


def meet(arrivals: Tally, count: int) -> int:
    """Wait until *count* processes are here at the same time, then tell which one this is."""
    arrivals.add(os.getpid())
    arrivals.wait(count)
    return os.getpid()


def wait_at(gate: Gate, arrivals: Tally) -> int:
    """Tell the test who waits here, and wait for its permission."""
    arrivals.add(os.getpid())
    gate.wait(60)
    return os.getpid()


def wait_at_pair(pair: tuple[Gate, Tally]) -> int:
    return wait_at(*pair)


def give_after(gate_and_value: tuple[Gate, Any]) -> Any:
    gate, value = gate_and_value
    gate.wait()
    return value


def wait_deaf_to_sigterm(gate: Gate, arrivals: Tally) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return wait_at(gate, arrivals)


def wait_deaf_to_all(gate: Gate, arrivals: Tally) -> int:
    change_every_signal_handler()
    return wait_at(gate, arrivals)


def wait_without_noise(gate: Gate, arrivals: Tally) -> int:
    faulthandler.disable()  # the test runner's, inherited by fork
    return wait_at(gate, arrivals)


def burn_for_ever(gate: Gate, arrivals: Tally) -> None:
    """Never let go of the processor, and hardly of the interpreter."""
    arrivals.add(os.getpid())
    while True:
        pass


def hold_the_gil(gate: Gate, arrivals: Tally) -> None:
    """Never come back from a call that holds the interpreter's lock: no Python code runs in this process any more."""
    arrivals.add(os.getpid())
    ctypes.PyDLL(None).pause()


def large_result_after_stopping(parent: int, arrivals: Tally) -> bytes:
    """Stop the parent, so that it reads nothing, then give a result that is far more than the channel holds."""
    meet(Tally(arrivals.path + "-met"), 2)
    os.kill(parent, signal.SIGSTOP)
    arrivals.add(os.getpid())
    return bytes(20_000_000)


# Looking at the worker


def count_start(starts: Tally) -> None:
    starts.add(os.getpid())


def signal_mask(_: object = None) -> list[int]:
    return sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def handlers() -> tuple[Any, Any]:
    return signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)


def descriptors(_: object = None) -> tuple[int, int]:
    """The process, and how many descriptors it has open."""
    return os.getpid(), len(os.listdir("/proc/self/fd"))


def write_to_streams(_: object) -> None:
    """Write to the descriptors 0 to 2, whatever they are, and by print."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            print("printed", file=stream, flush=True)
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.write(fd, b"written\n" * 100)


def strangers_in_the_place_of_streams(_: object) -> list[str]:
    """What has a standard stream's number in this process and is neither a file of the program's nor nothing."""
    found = []
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):  # not open
            mode = os.fstat(fd).st_mode
            harmless = stat.S_ISCHR(mode) or stat.S_ISREG(mode) or _is_dead_end(fd) or fd == _sentinel_of_parent()
            if not harmless:
                found.append(f"{fd}: {os.readlink(f'/proc/self/fd/{fd}')}")
    return found


def _is_dead_end(fd: int) -> bool:
    """Whether it is a pipe out of which nothing comes, and into which nothing goes."""
    try:
        os.write(fd, b"")
    except OSError:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return poll.poll(0) == [(fd, select.POLLHUP)]
    return False


def _sentinel_of_parent() -> object:
    """CPython's own descriptor, by which it knows whether the parent lives."""
    return getattr(multiprocessing.parent_process(), "sentinel", None)


def interrupt_kills_a_program() -> int:
    """The exit code of a program that this task starts and interrupts."""
    # Not by one long wait: a signal that comes just before it is noted by Python, and does not interrupt it.
    wait = "import time\nprint(1, flush=True)\nwhile True: time.sleep(0.01)"
    program = subprocess.Popen(
        [sys.executable, "-S", "-c", wait],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert program.stdout is not None
    with program.stdout:
        program.stdout.readline()
        program.send_signal(signal.SIGINT)
        return program.wait()


def interrupt_self() -> str:
    """What Ctrl-C does to a task."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return "interrupted"
    return "not interrupted"
