"""Task functions that every test may send to a worker; importable there under every start method.

Who uses it: tests of the pool. What may go wrong: these functions must stay at module level and must not import
pytest: a worker under spawn imports this module and nothing of the test that uses it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any, NoReturn

from tests.support.gates import Gate, Tally

#: The global of the first experiment; every task grows it.
haha = ["haha"]

#: Set by `remember_initializer`.
initialized_with: tuple[Any, ...] | None = None


def grow(i: int) -> list[object]:
    """Append to a global and return what a task sees: ``['haha', i]`` if and only if it was put back."""
    haha.append(i)  # type: ignore[arg-type]
    return list(haha)


def grow_slowly(i: int) -> list[object]:
    """The same with a pause in it, which on a plain pool gives each task a worker of its own."""
    seen = grow(i)
    threading.Event().wait(0.02)
    return seen


def grow_then(i: int, end: str) -> None:
    """Grow the global, then end badly: "raise", "die" or "exit"."""
    grow(i)
    if end == "raise":
        raise RuntimeError("on purpose")
    if end == "die":
        kill_self()
    exit_softly()


def identity(value: Any) -> Any:
    return value


def square(i: int) -> int:
    return i * i


def add(a: Any, b: Any) -> Any:
    return a + b


def pid(_: object = None) -> int:
    return os.getpid()


def call_with(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def raise_(error: BaseException) -> NoReturn:
    raise error


def kill_self(signum: int = signal.SIGKILL) -> NoReturn:
    """Die by a signal that nobody can catch (or by another one)."""
    os.kill(os.getpid(), signum)
    signal.pause()
    raise AssertionError("still alive")


def exit_hard(status: int = 0) -> NoReturn:
    os._exit(status)


def exit_softly(status: object = 0) -> NoReturn:
    sys.exit(status)  # type: ignore[arg-type]


def meet(arrived: Gate, go: Gate, value: Any = None) -> Any:
    """Tell the test that the task runs, then wait for its permission to end."""
    arrived.open()
    go.wait()
    return value


def record(tally: Tally, entry: object, value: Any = None) -> Any:
    """Leave a trace that survives the worker; proves how often a task ran."""
    tally.add(entry)
    return value


def remember_initializer(*args: Any) -> None:
    global initialized_with
    initialized_with = args


def initializer_args(_: object = None) -> tuple[Any, ...] | None:
    return initialized_with
