"""What bad tasks do: end their process, copy it, or maltreat it and go on. Imported by workers: light.

Who uses it: survival tests, as deeds of a `chores.Chore` or as tasks of their own. What may go wrong: everything here
is meant to go wrong, in the worker that runs it and nowhere else.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple, NoReturn

from tests.support.gates import Gate, Tally
from tests.support.tasks import kill_self

# Deaths


def segfault() -> NoReturn:
    faulthandler.disable()  # the test runner's, inherited by fork: its report would only alarm the reader
    ctypes.string_at(0)
    raise AssertionError("still alive")


def abort() -> NoReturn:
    faulthandler.disable()
    os.abort()


def exec_a_program() -> NoReturn:
    """Become another program, which ends at once."""
    os.execv(sys.executable, [sys.executable, "-S", "-c", ""])


def exec_a_program_that_stays() -> NoReturn:
    """Become another program, which never ends by itself."""
    os.execv(sys.executable, [sys.executable, "-S", "-c", "import signal; signal.pause()"])


def _leave_a_fork(pids: Tally) -> None:
    pid = os.fork()
    if not pid:
        while True:
            signal.pause()
    pids.add(pid)


def exec_beside_a_fork(pids: Tally) -> NoReturn:
    """Become another program while a bare fork of the worker lives on, which has all that the worker had open."""
    _leave_a_fork(pids)
    exec_a_program_that_stays()


def close_every_descriptor() -> None:
    """Close everything that is open but the standard streams, the pool's channel among it."""
    os.closerange(3, 4096)


def close_or_give(size: int) -> bytes:
    """So many bytes; or, for less than none, no descriptor is left open."""
    if size < 0:
        close_every_descriptor()
        return b"closed"
    return bytes(size)


def die_with(_: object) -> NoReturn:
    os._exit(1)


def die_with_a_grandchild(pids: Tally) -> NoReturn:
    """Die while a program runs on that inherited every descriptor that can be inherited."""
    program = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"], close_fds=False)
    pids.add(program.pid)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def die_with_a_fork(pids: Tally) -> NoReturn:
    """Die while a bare fork of the worker lives on, which holds all its descriptors, the sentinel among them."""
    _leave_a_fork(pids)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def die_in_the_middle_of_the_answer() -> bytes:
    """Have the worker's channel break off after half of the next answer."""
    from poolsafe.engine import ends

    def send_half(self: ends.SocketEnd, data: bytes) -> None:
        self._replies.sendall(data[: len(data) // 2])
        kill_self()

    def write_half(self: ends.PipeEnd, data: bytes) -> None:
        fd = self._connection.fileno()
        os.write(fd, len(data).to_bytes(4, "big"))  # the connection's own header, then less than it promises
        rest = memoryview(data)[: len(data) // 2]
        while rest:
            rest = rest[os.write(fd, rest) :]
        kill_self()

    ends.SocketEnd.send = send_half  # type: ignore[method-assign,assignment]
    ends.PipeEnd.send = write_half  # type: ignore[method-assign,assignment]
    return bytes(20_000_000)


# Copies and programs


class ForkTwice(NamedTuple):
    """Return in two processes."""

    pids: Tally

    def __call__(self) -> str:
        pid = os.fork()
        if pid:
            self.pids.add(pid)
        return "returned"


def fork_and_raise() -> str:
    if not os.fork():
        raise RuntimeError("in the copy")
    os.wait()
    return "parent"


def close_every_descriptor_and_fork() -> str:
    sys.stderr, sys.unraisablehook = sys.__stderr__, sys.__unraisablehook__  # pytest's would say nothing
    close_every_descriptor()
    return fork_and_die()


def fork_and_exit() -> str:
    if not os.fork():
        sys.exit(3)
    os.wait()
    return "parent"


def fork_and_die() -> str:
    if not os.fork():
        os.kill(os.getpid(), signal.SIGKILL)
    os.wait()
    return "parent"


def leave_a_program(pids: Tally, close_fds: bool) -> None:
    program = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"], close_fds=close_fds)
    pids.add(program.pid)
    program.returncode = 0  # it is not ours to wait for


# Things that are left behind


def change_every_signal_handler() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_IGN)


def take_the_default_of_every_signal() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)


def print_and_close_the_streams() -> str:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # another task may have been here before
            print("", end="", file=stream, flush=True)
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.close(fd)
    return "done"


def leave_a_thread() -> str:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return "done"


def leave_a_thread_that_works(go: Gate, tally: Tally) -> None:
    def work() -> None:
        go.wait()
        tally.add("done")

    threading.Thread(target=work).start()


def shorten_socket_timeouts() -> str:
    import socket

    socket.setdefaulttimeout(0.000001)
    return "done"


def set_alarm_for_later() -> str:
    """A signal comes while the worker waits for its next task; its handler does nothing."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    return "done"


def replace_the_streams() -> str:
    sys.stdout = sys.stderr = sys.stdin = None  # type: ignore[assignment]
    return "done"


def break_the_builtins() -> str:
    """Leave rubbish where the worker's own loop might look for something."""
    import builtins

    builtins.repr = None  # type: ignore[assignment]
    sys.excepthook = None  # type: ignore[assignment]
    sys.path.clear()
    os.environ.clear()
    return "done"


def leave_garbage() -> str:
    class Bad:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            sys.exit(1)

    Bad()
    return "done"


def no_more_descriptors() -> int:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return os.getpid()


def run_out_of_memory() -> None:
    import resource

    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + (64 << 20), hard))
    try:
        bytearray(1 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def recurse() -> None:
    recurse()


def nested_pool(start_method: str) -> None:
    import multiprocessing as mp

    from poolsafe import IsolatedPool

    IsolatedPool(1, context=mp.get_context(start_method))
