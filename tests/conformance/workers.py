"""Functions that the drop-in tests send to workers, beside those of `tests.support.tasks`.

Who uses it: `test_dropin*`. What may go wrong: they must stay at module level and light, as workers import them.
"""

from __future__ import annotations

import multiprocessing as mp
import os
from multiprocessing.managers import SyncManager
from typing import Any, NoReturn

from tests.support.gates import Tally


class TwoPartError(Exception):
    """An exception with a constructor of its own and an attribute set later."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


def record_pid(tally: Tally) -> None:
    """Note which worker this ran in."""
    tally.add(os.getpid())


def put_into(queue: Any, value: Any) -> None:
    """Use what only a new process may be given."""
    queue.put(value)


def who() -> tuple[str, bool | None, int | None]:
    """Tell what the worker's process says of itself."""
    parent = mp.parent_process()
    return mp.current_process().name, mp.current_process().daemon, parent.pid if parent else None


def start_a_process() -> int | None:
    """Try what a daemonic process may not."""
    process = mp.Process(target=os.getpid)
    process.start()
    process.join()
    return process.exitcode


def square_unless_odd(i: int) -> int:
    """Fail for every second item."""
    if i % 2:
        raise ValueError(f"{i} is odd")
    return i * i


def fail_with_a_cause() -> NoReturn:
    """Raise an exception that has a cause."""
    try:
        raise KeyError("the cause")
    except KeyError as cause:
        raise TwoPartError(7, "the effect") from cause


def unpicklable_result() -> Any:
    """Return what cannot be sent back."""
    return lambda: None


def unpicklable_error() -> NoReturn:
    """Raise what cannot be sent back."""
    error = ValueError("with a lambda")
    error.extra = lambda: None  # type: ignore[attr-defined]
    raise error


class NoDaemonProcess(mp.get_context().Process):  # type: ignore[misc]
    """A process that says it is not daemonic, whatever it was told."""

    @property
    def daemon(self) -> bool:
        """Never."""
        return False

    @daemon.setter
    def daemon(self, value: bool) -> None:
        pass


class NoDaemonContext(type(mp.get_context())):  # type: ignore[misc]
    """The platform's context with such processes."""

    Process = NoDaemonProcess


class Adder:
    """Instances, their methods and those of the class may all be sent to workers."""

    def __init__(self, base: int) -> None:
        self.base = base

    def add(self, value: int) -> int:
        """Add."""
        return self.base + value

    __call__ = add

    @classmethod
    def made(cls, value: int) -> int:
        """Add nothing."""
        return cls(0).add(value)


class PoolManager(SyncManager):
    """A manager that may be given a class of pools."""


def call_twice(function: Any, args: Any, kwds: Any) -> list[Any]:
    """Wrap a call."""
    return [function(*args, **kwds) for _ in range(2)]


def use_proxies(queue: Any, lock: Any, shared: Any, i: int) -> None:
    """Use what a manager holds."""
    with lock:
        shared[i] = i
    queue.put(i)


def use_a_pool(pool_class: Any) -> None:
    """Make a pool in a process that is not a worker."""
    pool = pool_class(2)
    assert pool.map(abs, [-1, -2]) == [1, 2]
    pool.close()
    pool.join()
