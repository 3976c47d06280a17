"""What the pool's methods return: results to wait for (the iterators are in `poolsafe.iterators`).

Used by: pool (makes them), the supervisor's thread (`arrive` is the sink of their jobs), the user. What arrives is
bytes; it is unpickled in the thread that asks for it, or in the callback thread, never in the supervisor's.

No lock is held anywhere here, so a signal handler may use the very result that it interrupted (see `engine.latch`).
A result that is pending keeps the pool alive; the pool does not keep a result that nobody waits for.

What may go wrong: the result is asked for in a forked child, to which it can never come (`WrongProcess`).
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import pool as stdlib
from typing import Any, Protocol, TypeVar

from .callbacks import Callbacks
from .engine.latch import Latch, Waiters
from .engine.messages import VALUE
from .engine.state import BROKEN, CANCELLED, TERMINATED, Job, held_by
from .errors import WrongProcess
from .failures import Outcome, decode

T = TypeVar("T")

#: Seconds after which a waiting thread has the supervisor look whether the task's worker is stopped.
PATIENCE = 0.25
#: Seconds for which a call that is to be off before it returns waits for the supervisor, and between two looks at
#: whether that is still there.
_PATIENCE_OFF, _LOOK = 5.0, 0.05


class Home(Protocol):
    """What a result needs of the pool's supervisor."""

    finished: Latch

    @property
    def foreign(self) -> bool:
        """Whether this is a forked child of the process that the pool belongs to."""

    def rouse(self) -> None:
        """Has the supervisor look at what was sent past it."""

    def cancel(self, jobs: Iterable[int], then: Callable[[], object] | None = None) -> None:
        """Nobody wants these jobs any more; `then` is called when that is carried out."""

    def disown(self, owner: Any, then: Callable[[], object] | None = None) -> None:
        """The same for all jobs of this owner."""

    def inside(self) -> bool:
        """Whether the calling thread is the supervisor's own."""


def see_called_off(home: Home, call_off: Callable[[Callable[[], object]], None]) -> None:
    """Has something called off, and waits until it is, but in the supervisor's own thread.

    Args:
        home: The supervisor.
        call_off: Called with what is to be called then. If all is over, that never is.
    """
    off = Latch()
    call_off(off.open)
    deadline = time.monotonic() + _PATIENCE_OFF
    while not (home.inside() or home.finished.is_open or off.wait(_LOOK)) and time.monotonic() < deadline:
        pass


def wrong_process(what: str) -> WrongProcess:
    """The error for using `what` in a process that did not make it."""
    return WrongProcess(
        f"this {what} belongs to another process",
        cause="The process was forked from the one that made the pool; the pool's workers answer to that one alone.",
        remedy="Make a pool of its own in this process.",
    )


class AsyncResult(stdlib.ApplyResult[T]):
    """The result of one call; `multiprocessing.pool.AsyncResult` in all respects.

    Args:
        pool: Kept alive until the result is there.
        home: The pool's supervisor.
        callbacks: Runs the callbacks.
        callback: Called with the value before the result is ready.
        error_callback: Called with the exception before the result is ready.
    """

    def __init__(
        self,
        pool: Any,
        home: Home,
        callbacks: Callbacks,
        callback: Callable[[Any], Any] | None,
        error_callback: Callable[[BaseException], Any] | None,
    ) -> None:
        # The base's constructor is not run: it makes a Condition for each result, and an entry in a table.
        self._pool = pool
        self._home = home
        self._callbacks = callbacks
        self._callback = callback
        self._error_callback = error_callback
        self._outcome: Any = None
        self._held: Any = None  # queues that went with the task, and may come back with the value
        self._jobs: list[int] = []
        self._done = False
        self._called_off: bool | None = None  # None until it is known what the task came to
        self._waiters = Waiters()

    # -- the user's side -----------------------------------------------------------------------------------------
    def ready(self) -> bool:
        """Whether the task is done, in whatever way."""
        return self._done

    def successful(self) -> bool:
        """Whether the task gave a value.

        Raises:
            ValueError: It is not done.
        """
        if not self._done:
            raise ValueError(f"{self!r} not ready")
        return bool(self._pair()[0])

    def wait(self, timeout: float | None = None) -> None:
        """Waits until the task is done, at most `timeout` seconds.

        Raises:
            WrongProcess: The result can never come to this process.
        """
        if self._done:
            return
        if self._home.foreign:
            raise wrong_process("result")
        lock = self._waiters.register()
        if not self._done:
            first = PATIENCE if timeout is None else min(max(timeout, 0), PATIENCE)
            if not lock.acquire(timeout=first):
                self._home.rouse()
                lock.acquire(timeout=-1 if timeout is None else max(timeout - first, 0))
        self._waiters.forget(lock)

    def get(self, timeout: float | None = None) -> T:
        """The task's value; or its exception, raised.

        Args:
            timeout: Seconds to wait at most; None for ever.

        Raises:
            multiprocessing.TimeoutError: It is not done within `timeout`.
            WorkerLost, PoolTerminated, ...: See `poolsafe.errors`.
        """
        if not self._done:
            self.wait(timeout)
            if not self._done:
                raise multiprocessing.TimeoutError
        success, value = self._pair()
        if success:
            wanted: T = value
            return wanted
        try:
            raise value
        finally:
            del value  # an exception that knows a frame that knows the exception is a cycle

    def cancel(self) -> bool:
        """Calls the task off: if it has not begun, it never does; if it runs, its worker is ended.

        Then `get` raises `TaskCancelled`, a `concurrent.futures.CancelledError`.

        Returns:
            False when the task is done already, though its callback may not have run; or when it is done just then.

        Raises:
            WrongProcess: The result belongs to another process.
        """
        if self._called_off is not None:
            return False
        if self._home.foreign:
            raise wrong_process("result")
        see_called_off(self._home, partial(self._home.cancel, self._jobs))
        return self._called_off is not False

    def cancelled(self) -> bool:
        """Whether the task was called off before it was done."""
        return self._done and bool(self._called_off)

    # -- the pool's side ------------------------------------------------------------------------------------------
    def stands_for(self, jobs: list[Job]) -> None:
        """Says which jobs it is the result of."""
        self._jobs = [job.ident for job in jobs]
        self._held = held_by(jobs)

    # -- the supervisor's side -----------------------------------------------------------------------------------
    def arrive(self, index: int, kind: int, data: Any) -> None:
        """The sink of the job."""
        self._complete(Outcome(kind, data))

    def _complete(self, outcome: Any) -> None:
        self._called_off = self._came_to(outcome, CANCELLED)
        self._outcome = outcome
        if self._callback is None and self._error_callback is None:
            self._become_ready()
            return
        call = partial(self._call_back, self._callback, self._error_callback)
        if self._came_to(outcome, TERMINATED, BROKEN):
            self._become_ready()  # when the pool ends, nobody is to wait for a callback that may block
        self._callbacks.post(call)

    @staticmethod
    def _came_to(outcome: Any, *kinds: int) -> bool:
        return outcome.kind in kinds

    def _call_back(
        self, callback: Callable[[Any], Any] | None, error_callback: Callable[[BaseException], Any] | None
    ) -> None:
        try:
            success, value = self._pair()
            wanted: Callable[[Any], Any] | None = callback if success else error_callback
            if wanted is not None:
                wanted(value)
        finally:
            self._become_ready()

    def _become_ready(self) -> None:
        self._callback = self._error_callback = self._pool = None
        self._done = True
        self._waiters.wake_all()

    def _pair(self) -> tuple[bool, Any]:
        """Success and value, decoded once: whichever thread is first, all get the same object."""
        known = self.__dict__.get("_decoded")
        if known is None:
            outcome = self._outcome
            if outcome is None:  # another thread was faster, between the two lines above
                known = self.__dict__["_decoded"]
            else:
                known = self.__dict__.setdefault("_decoded", self._decode(outcome))
                self._outcome = None
        pair: tuple[bool, Any] = known
        return pair

    @staticmethod
    def _decode(outcome: Any) -> tuple[bool, Any]:
        return decode(outcome)


class MapResult(AsyncResult[list[T]], stdlib.MapResult[T]):
    """The result of a whole map: the list of values, or the exception of its first item that failed.

    One that was called off is cancelled, though an item may have failed before.

    Args:
        length: Number of items.
        others: As for `AsyncResult`.
    """

    def __init__(self, length: int, *others: Any) -> None:
        super().__init__(*others)
        self._items: list[Any] = [None] * length
        # Counted without a lock: `next` on a C iterator cannot be interrupted half-way.
        self._arrivals = itertools.count(1)
        self._arrived = 0
        self._length = length
        self._chunksize = 1
        if not length:  # whose callbacks are not called, as in the standard library
            self._called_off, self._outcome = False, self._items
            self._become_ready()

    @property
    def _number_left(self) -> int:
        """How many chunks are not done; what recipes for progress bars read."""
        return -((self._arrived - self._length) // self._chunksize)

    def arrive_at(self, base: int, index: int, kind: int, data: Any) -> None:
        """The sink of a chunk whose first item is number `base` of the map."""
        self._items[base + index] = data if kind == VALUE else Outcome(kind, data, base + index)
        self._arrived = arrived = next(self._arrivals)
        if arrived == self._length:
            items, self._items = self._items, []
            self._complete(items)

    @staticmethod
    def _came_to(outcome: Any, *kinds: int) -> bool:
        return any(type(item) is Outcome and item.kind in kinds for item in outcome)

    @staticmethod
    def _decode(outcome: Any) -> tuple[bool, Any]:
        values = []
        for index, item in enumerate(outcome):
            success, value = decode(item if type(item) is Outcome else Outcome(VALUE, item, index))
            if not success:
                found = (other for other in outcome if type(other) is Outcome and other.kind == CANCELLED)
                called_off = next(found, None)
                return (False, value) if called_off is None else decode(called_off)
            values.append(value)
        return True, values
