"""What the contract tests run in workers; importable there under every start method."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from multiprocessing import util
from typing import Any

from poolsafe.engine import template
from tests.support.gates import Gate, Tally


def stop_at(item: tuple[int, int, str, str]) -> int:
    """Give back the item's number; the item with a certain number says that it runs and waits for ever."""
    number, at, arrived, never = item
    if number == at:
        Gate(arrived).open()
        Gate(never).wait()
    return number


def meet(arrived: str, go: str, value: Any = None) -> Any:
    Gate(arrived).open()
    Gate(go).wait()
    return value


def whose() -> tuple[int, int]:
    return os.getpid(), os.getppid()


def size_of(data: bytes) -> int:
    return len(data)


def make(size: int) -> bytes:
    return b"x" * size


def end(how: str, number: int) -> None:
    if how == "exits":
        os._exit(number)
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # pytest's fault handler, inherited by a fork, would print
    os.kill(os.getpid(), number)


def start_program(fifo: str) -> int:
    """Start a program that outlives this worker, inherits whatever can be inherited, and ends when `fifo` is opened."""
    code = "import sys; open(sys.argv[1]).read()"
    return subprocess.Popen([sys.executable, "-S", "-c", code, fifo], close_fds=False).pid


def wait_then(arrived: str, go: str) -> None:
    """An initializer that takes its time."""
    Gate(arrived).open()
    Gate(go).wait()


def fail() -> None:
    raise RuntimeError("on purpose")


def refuse_to_load() -> Any:
    raise ValueError("not here")


class Unloadable:
    """Pickles, and does not unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse_to_load, ()

    def __call__(self) -> None:
        raise AssertionError("never loaded, never called")


def meet_and_heed_nothing(arrived: str, go: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    meet(arrived, go)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def leave_thread(left: Tally, go: str) -> None:
    """A thread that Python waits for at the end of a process."""
    left.add(os.getpid())
    threading.Thread(target=Gate(go).wait).start()


def start_thread() -> None:
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def start_thread_and_be_strict() -> None:
    start_thread()
    warnings.simplefilter("error")


def finalize_later(done: Tally, job: int) -> int:
    util.Finalize(None, _finalize, args=(done, job), exitpriority=10)
    return job


def _finalize(done: Tally, job: int) -> None:
    time.sleep(0.05)  # nothing to wait for: it takes its time
    done.add(job)


def come_back_twice(left: Tally, go: str) -> str:
    if not os.fork():
        Gate(go).wait()
        left.add(os.getpid())
    return "once"


def forbid_forks(allowed: int, refused: Tally) -> None:
    """From now on this process can fork so many times."""
    real, left = os.fork, [allowed]

    def fork() -> int:
        if not left[0]:
            refused.add(1)
            raise BlockingIOError(11, "no more processes")
        left[0] -= 1
        return real()

    os.fork = fork
    template._RETRY = 0.001


def block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGURG, signal.SIGTERM])


def blocked() -> int:
    return len(signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGCHLD, signal.SIGURG, signal.SIGTERM})
