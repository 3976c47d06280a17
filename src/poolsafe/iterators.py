"""What `imap` and `imap_unordered` return: iterators over results as they come.

Used by: pool (makes them), submission (the feeder reads the input for them), the supervisor's thread (`arrive_at` is
the sink of their jobs), the user. No lock is held anywhere, as in `poolsafe.results`. Two threads may share one.

What may go wrong: the pool ends before the input does (`PoolTerminated` after what had come); the iterator is used in a
forked child, to which nothing can come any more (`WrongProcess`).
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections import deque
from functools import partial
from multiprocessing import pool as stdlib
from typing import TYPE_CHECKING, Any, Generic

from .engine.latch import Waiters
from .engine.state import CANCELLED, EXHAUSTED
from .failures import Outcome, decode
from .results import Home, T, see_called_off, wrong_process

if TYPE_CHECKING:

    class _Base(stdlib.IMapIterator[T]): ...

    class _UnorderedBase(stdlib.IMapUnorderedIterator[T]): ...

else:  # the stdlib's classes can be subscripted in annotations only

    class _Base(stdlib.IMapIterator, Generic[T]):
        """The stdlib's class, for `isinstance`."""

    class _UnorderedBase(stdlib.IMapUnorderedIterator, Generic[T]):
        """The stdlib's class, for `isinstance`."""


class IMapIterator(_Base[T]):
    """Results in the order of the input, each as soon as it and those before it are there.

    An error costs its item: the next call goes on with the item after it.

    Args:
        pool: Kept alive until the iterator is exhausted.
        home: The pool's supervisor.
    """

    def __init__(self, pool: Any, home: Home) -> None:
        self._pool = pool
        self._home = home
        self.held: dict[int, Any] = {}  # queues that went with the tasks, and may come back with the values
        self._arrived: dict[int, Outcome] = {}
        self._index = 0
        self._count = itertools.count(1)
        self._settled = 0
        self._length: int | None = None
        self._cut: Outcome | None = None
        self._cut_told = False
        self.is_off: bool = False
        self._called_off = False
        self._waiters = Waiters()
        self._room = Waiters()

    def __iter__(self) -> IMapIterator[T]:
        return self

    def next(self, timeout: float | None = None) -> T:
        """The next result.

        Args:
            timeout: Seconds to wait at most; None for ever. After a timeout nothing is lost: the same result comes
                with the next call.

        Raises:
            StopIteration: There are no more.
            multiprocessing.TimeoutError: It is not there within `timeout`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            outcome = self._take()
            if outcome is not None:
                value: T = self._give(outcome)
                return value
            lock = self._waiters.register()
            if not self._something_new():
                if self._home.foreign:
                    raise wrong_process("iterator")
                left = -1 if deadline is None else max(deadline - time.monotonic(), 0)
                if not lock.acquire(timeout=left) and not self._something_new():
                    self._waiters.forget(lock)
                    raise multiprocessing.TimeoutError
            self._waiters.forget(lock)

    def __next__(self, timeout: float | None = None) -> T:
        return self.next(timeout)

    def cancel(self) -> bool:
        """Calls off what is not done: no more of the input is read, what has not begun never runs, what runs is ended.

        What was done before still comes. Each item that was called off raises `TaskCancelled`, a
        `concurrent.futures.CancelledError`; and so does, once, the rest of the input.

        Returns:
            False when all is done already, or just then.

        Raises:
            WrongProcess: The iterator belongs to another process.
        """
        if self._is_done():
            return False
        if self._home.foreign:
            raise wrong_process("iterator")
        self.is_off = True  # first this: what the feeder submits from now on it calls off by itself
        see_called_off(self._home, partial(self._home.disown, self))
        return self._called_off or not self._is_done()

    def _is_done(self) -> bool:
        return self._cut is not None or (self._length is not None and self._settled >= self._length)

    def cancelled(self) -> bool:
        """Whether anything of it was called off."""
        return self._called_off

    def _take(self) -> Outcome | None:
        """What comes next, if it is there. Two threads may ask: only the one that pops an index moves past it."""
        outcome = self._arrived.pop(self._index, None)
        if outcome is not None:
            self._index += 1
            self._waiters.wake_all()  # another thread may have looked at the old index
            return outcome
        if self._length is not None and self._index >= self._length:
            self._pool = None
            raise StopIteration
        return self._tell_cut()

    def _tell_cut(self) -> Outcome | None:
        """That the pool ended before the input did, or it was called off, is told once; then there is nothing more."""
        if self._cut_told:
            raise StopIteration
        self._cut_told = self._cut is not None
        return self._cut

    def _something_new(self) -> bool:
        ended = self._cut is not None or (self._length is not None and self._index >= self._length)
        return ended or self._index in self._arrived

    @staticmethod
    def _give(outcome: Outcome) -> Any:  # of type T: a static method cannot say so
        success, value = decode(outcome)
        if success:
            return value
        try:
            raise value
        finally:
            del value

    # -- the feeder's and the supervisor's side ------------------------------------------------------------------
    def disown(self) -> None:
        """Calls off what was submitted so far."""
        self._home.disown(self)

    def arrive_at(self, base: int, index: int, kind: int, data: Any) -> None:
        """The sink of a chunk whose first item is number `base` of the input."""
        self._called_off |= kind == CANCELLED
        self._keep(base + index, Outcome(kind, data, base + index))
        self._settled = next(self._count)
        self._waiters.wake_all()
        self._room.wake_all()

    def _keep(self, index: int, outcome: Outcome) -> None:
        self._arrived[index] = outcome

    def end_at(self, length: int) -> None:
        """There are no more than `length` results."""
        self._length = length
        self._waiters.wake_all()

    def ended(self, index: int, kind: int, data: Any) -> None:
        """The sink of the job that stands for the end of the input: the pool's may come before it, or `cancel`."""
        self._called_off |= kind == CANCELLED
        if kind != EXHAUSTED and self._length is None:
            self._cut = Outcome(kind, data)
            self._pool = None
            self._waiters.wake_all()
            self._room.wake_all()

    @property
    def is_cut(self) -> bool:
        """Whether the input is of no use any more: the pool ended before it did, or it was called off."""
        return self._cut is not None or self.is_off

    def wait_for_room(self, given: int, ahead: int) -> None:
        """Waits until fewer than `ahead` of the `given` items are unsettled, or the pool has ended."""
        while given - self._settled >= ahead and not self.is_cut:
            lock = self._room.register()
            if given - self._settled >= ahead and not self.is_cut:
                lock.acquire()
            self._room.forget(lock)


class IMapUnorderedIterator(IMapIterator[T], _UnorderedBase[T]):
    """Results in the order in which they come."""

    def __init__(self, pool: Any, home: Home) -> None:
        super().__init__(pool, home)
        self._come: deque[Outcome] = deque()

    def _keep(self, index: int, outcome: Outcome) -> None:
        self._come.append(outcome)

    def _take(self) -> Outcome | None:
        try:
            outcome = self._come.popleft()
        except IndexError:
            if self._length is not None and self._settled >= self._length and not self._come:
                self._pool = None
                raise StopIteration from None
            return self._tell_cut()
        return outcome

    def _something_new(self) -> bool:
        return self._is_done() or bool(self._come)
