"""Waiting for something that happens once, safe against signal handlers and garbage collection.

`threading.Event` and `Condition` hold a lock while they look at their state; a signal handler that interrupts a thread
there and touches the same object waits for itself. A latch has no lock of its own: a list of waiters, each a raw lock.

Used by: results, callbacks, supervisor, pool. What may go wrong: nothing; `wait` may be interrupted by an exception
from a signal handler, and leaves a stale waiter behind, which is harmless.
"""

from __future__ import annotations

from _thread import allocate_lock
from typing import Any


class Waiters:
    """Threads that wait for a state to change; the state itself is the owner's."""

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: list[Any] = []

    def wake_all(self) -> None:
        """Wakes everybody who registered before."""
        locks = self._locks
        while locks:
            try:
                lock = locks.pop()
            except IndexError:
                return  # another thread woke the last one
            try:
                lock.release()
            except RuntimeError:
                continue  # woken twice

    def register(self) -> Any:
        """A lock to `acquire` for waiting; look at the state once more after registering, before acquiring."""
        lock = allocate_lock()
        lock.acquire()
        self._locks.append(lock)
        return lock

    def forget(self, lock: Any) -> None:
        """Takes back a registration that is not needed any more."""
        try:
            self._locks.remove(lock)
        except ValueError:
            return  # woken in the meantime


class Latch:
    """Closed until `open`ed, once."""

    __slots__ = ("_waiters", "is_open")

    def __init__(self) -> None:
        self.is_open: bool = False
        self._waiters = Waiters()

    def open(self) -> None:
        """Lets everybody through, now and for ever."""
        self.is_open = True
        self._waiters.wake_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is open, at most `timeout` seconds; whether it is."""
        if self.is_open:
            return True
        lock = self._waiters.register()
        if not self.is_open:
            lock.acquire(timeout=-1 if timeout is None else max(timeout, 0))
        self._waiters.forget(lock)
        return self.is_open
