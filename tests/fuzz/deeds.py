"""What the tasks of a random plan do, good and bad, and what must come of each.

Who uses it: plan, play, judge; ``do`` runs in workers. What may go wrong: all of it does, on purpose.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from poolsafe import ResultPicklingError, TaskExited, TaskMemoryExceeded, TaskTimeout, WorkerLost

#: What each task leaves behind, and none must meet.
LEFT: list[int] = []
#: What the hooks around a task leave for each other.
HOOKS: list[str] = []
_VARIABLE = "POOLSAFE_FUZZ"

#: Bytes of what is too large for a message.
LARGE = 400_000
#: `max_memory=` of some pools; a task that is fat takes half of it, one that is huge three times as much.
MOST = 100 << 20


class Work(NamedTuple):
    """One task: the file in which it notes that it has begun, its number, its deed, and something to carry."""

    begun: str
    number: int
    deed: str
    filler: bytes = b""
    queue: Any = None


class Given(NamedTuple):
    """What a task gives."""

    number: int
    size: int
    draw: float
    met: tuple[str, ...]
    more: Any = None  #: what its deed gave


def before() -> None:
    """The hook before each task."""
    HOOKS.append("before")


def after() -> None:
    """The hook after each task."""
    HOOKS.append("after")


def do(work: Work) -> Given:
    """Note the begin, look around, leave something, act, and give."""
    fd = os.open(work.begun, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"%d\n" % work.number)
    os.close(fd)
    met = tuple(_met())
    LEFT.append(work.number)
    os.environ[_VARIABLE] = "left"
    os.chdir("/")
    if work.queue is not None:
        work.queue.put(work.number)
    draw = random.random()
    return Given(work.number, len(work.filler), draw, met, DEEDS[work.deed].act())


def do_starred(*fields: Any) -> Given:
    """The same, for `apply` and `starmap`."""
    return do(Work(*fields))


def _met() -> list[str]:
    """What another task has left."""
    found = {"a global": LEFT, "a variable": _VARIABLE in os.environ, "the hooks' state": HOOKS != ["before"]}
    return [name for name, there in found.items() if there] + ["a directory"] * (os.getcwd() == "/")


# -- deeds ------------------------------------------------------------------------------------------------------------
def _nothing() -> None: ...


def _nap() -> None:
    time.sleep(0.02)


def _sleep() -> None:
    time.sleep(30)


def _exit() -> NoReturn:
    os._exit(3)


def _signal(number: int) -> Callable[[], None]:
    def act() -> None:
        os.kill(os.getpid(), number)
        time.sleep(30)

    return act


def _raise() -> NoReturn:
    raise ValueError("on purpose")


def _leave() -> NoReturn:
    sys.exit(4)


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def _hold_the_gil() -> int:
    return (7 ** (7**9)) % 11


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _be_deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(30)


def _close() -> None:
    os.closerange(3, 1024)


def _exec() -> NoReturn:
    os.execvp("true", ["true"])


def _fork_and_return() -> None:
    os.fork()


def _leave_a_child() -> None:
    if not os.fork():
        time.sleep(0.5)
        os._exit(0)


def _leave_a_thread() -> None:
    threading.Thread(target=time.sleep, args=(0.2,)).start()


def _leave_a_daemon() -> None:
    threading.Thread(target=time.sleep, args=(100,), daemon=True).start()


def _unpicklable() -> Any:
    return lambda: None


def _large() -> bytes:
    return bytes(LARGE)


def _take(size: int) -> Callable[[], None]:
    def act() -> None:
        held = bytearray(b"x") * size
        time.sleep(0.01 if size < 2 * MOST else 3)
        del held

    return act


Expect = Callable[[BaseException], bool]

#: Of the likely cause that is told of a process which could not be heard any more.
_SILENT = "the pool ended what was left"


def _lost(code: int) -> Expect:
    return lambda error: isinstance(error, WorkerLost) and error.exitcode == code and _SILENT not in error.cause


def _cut_off(error: BaseException) -> bool:
    return isinstance(error, WorkerLost) and (_SILENT in error.cause or error.exitcode == 0)


def _overdue(error: BaseException) -> bool:
    return isinstance(error, TaskTimeout)


def _overdue_here(error: BaseException) -> bool:
    return isinstance(error, TaskTimeout) and "in do" in error.stack


def _never(_: BaseException) -> bool:
    return False


class Deed(NamedTuple):
    """What to do, which error it may come to, and whether it may give a value."""

    act: Callable[[], Any]
    expect: Expect
    gives: bool = False
    often: int = 1


DEEDS: dict[str, Deed] = {
    "nothing": Deed(_nothing, _never, True, 30),
    "nap": Deed(_nap, _never, True, 10),
    "large": Deed(_large, _never, True, 4),
    "leave a child": Deed(_leave_a_child, _never, True),
    "leave a thread": Deed(_leave_a_thread, _never, True),
    "leave a daemon": Deed(_leave_a_daemon, _never, True),
    "fat": Deed(_take(MOST // 2), _never, True),
    "huge": Deed(_take(3 * MOST), lambda error: isinstance(error, (TaskMemoryExceeded, TaskTimeout)), True),
    "fork and return": Deed(_fork_and_return, _never, True),
    "stop": Deed(_stop, _overdue, True),  # unless somebody has it go on
    "exit": Deed(_exit, _lost(3)),
    "kill": Deed(_signal(signal.SIGKILL), _lost(-signal.SIGKILL)),
    "crash": Deed(_signal(signal.SIGSEGV), _lost(-signal.SIGSEGV)),
    "terminate": Deed(_signal(signal.SIGTERM), _lost(-signal.SIGTERM)),
    "sleep": Deed(_sleep, _overdue_here),
    "hold the GIL": Deed(_hold_the_gil, _overdue_here),
    "be deaf": Deed(_be_deaf, _overdue),
    "close": Deed(_close, _cut_off, True),
    "exec": Deed(_exec, _cut_off),
    "raise": Deed(_raise, lambda error: type(error) is ValueError),
    "leave": Deed(_leave, lambda error: isinstance(error, TaskExited) and error.code == 4),
    "interrupt": Deed(
        _interrupt, lambda error: isinstance(error, TaskExited) and error.type_name == "KeyboardInterrupt"
    ),
    "do not pickle": Deed(_unpicklable, lambda error: isinstance(error, ResultPicklingError)),
}
#: Those for whose end it takes Linux, where a worker itself is killed.
KERNELS = frozenset({"hold the GIL", "stop"})
