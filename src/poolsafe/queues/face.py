"""The queues that users hold: made by a pool, passed to tasks like any argument, the same queue everywhere.

In the process that made it, a queue is a table of pickled items; elsewhere each call is a message to that process.
Items are pickled at the put, so that what cannot be pickled is an error there, and everybody who gets one gets a copy.

Used by: pool, choice, and whoever unpickles one. What may go wrong: `queue.Full` and `queue.Empty`, as with any queue;
`QueueGone` when nobody in the process that made it holds it any more; the item's own errors of pickling.
"""

from __future__ import annotations

import os
import queue
from _thread import TIMEOUT_MAX, allocate_lock
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..engine.messages import dump_parts, loads
from ..errors import QueueGone
from . import hub, travel, wire
from .dial import gone
from .link import link_to, stream_to
from .store import Store

T = TypeVar("T")

#: A system call takes a limited number of them (IOV_MAX, at least 16 by POSIX, 1024 on Linux).
_MOST_PARTS = 15


class _Sleeper:
    """A thread of the owner that waits."""

    __slots__ = ("done", "item", "lock", "status")

    def __init__(self) -> None:
        self.done: bool = False
        self.item: bytes | None = None
        self.status: int | None = None
        self.lock = allocate_lock()
        self.lock.acquire()

    def give(self, item: bytes) -> None:
        self.item = item
        self.lock.release()

    def answer(self, status: int) -> None:
        self.status = status
        self.lock.release()


class SimpleQueue(Generic[T]):
    """A queue that can be passed to tasks, with the least that a queue can do. `IsolatedPool.SimpleQueue` makes it."""

    __slots__ = ("__weakref__", "_address", "_held", "_ident", "_maxsize", "_pid")

    def __init__(self, held: hub.Held | None, address: wire.Address, ident: int, maxsize: int) -> None:
        self._held = held
        self._address = address
        self._ident = ident
        self._maxsize = maxsize
        self._pid = os.getpid()

    @classmethod
    def _made(cls, maxsize: int = 0) -> Any:
        check_maxsize(maxsize)
        held = hub.create(Store(maxsize))
        return cls(held, held.hub.address, held.ident, max(maxsize, 0))

    def __reduce__(self) -> Any:
        if self._held is not None:
            travel.note(self._held)
        return _arrive, (type(self), self._address, self._ident, self._maxsize)

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"<poolsafe.{kind} number {self._ident}, maxsize={self._maxsize}, {self._where()}>"

    def _where(self) -> str:
        return "of this process" if self._at_home() is not None else "of another process"

    def _at_home(self) -> hub.Held | None:
        """What keeps the queue alive, where it is; None in any other process, a forked one as well."""
        held = self._held
        if held is None:
            if self._pid == os.getpid() and hub.owned(self._address):
                raise gone()
            return None
        return held if held.hub.pid == os.getpid() else None

    # -- putting -------------------------------------------------------------------------------------------------
    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Adds an item.

        Args:
            item: Anything that can be pickled.
            block: Whether to wait for room.
            timeout: Seconds to wait at most; None for ever.

        Raises:
            queue.Full: There is no room.
            QueueGone: There is no such queue any more.
            ValueError: A negative timeout.
        """
        check_timeout(block, timeout)
        data = dump_parts(item)
        if len(data) > _MOST_PARTS:
            data = [b"".join(data)]
        held = self._at_home()
        if held is not None:
            done = self._put_here(held, b"".join(data), block, timeout)
        elif not self._maxsize:
            stream_to(self._address).put(self._ident, data)
            return
        else:
            status, _ = link_to(self._address).ask(
                wire.PUT_WAIT, self._ident, data, wire.WAIT if block else 0, timeout if block else None
            )
            done = _known(status) == wire.OK
        if not done:
            raise queue.Full

    @staticmethod
    def _put_here(held: hub.Held, data: bytes, block: bool, timeout: float | None) -> bool:
        with held.hub.lock:
            if held.store.put(data):
                return True
        return block and _sleep(held, timeout, lambda sleeper: held.store.put_later(data, sleeper)).done

    def put_nowait(self, item: T) -> None:
        """Adds an item; raises `queue.Full` when there is no room."""
        self.put(item, False)

    # -- taking --------------------------------------------------------------------------------------------------
    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Takes the first item.

        Args:
            block: Whether to wait for one.
            timeout: Seconds to wait at most; None for ever.

        Raises:
            queue.Empty: There is none.
            QueueGone: There is no such queue any more.
            ValueError: A negative timeout.
        """
        check_timeout(block, timeout)
        held = self._at_home()
        if held is not None:
            data: Any = self._get_here(held, block, timeout)
        else:
            data = self._get_there(block, timeout if block else None)
        if data is None:
            raise queue.Empty
        item: T = loads(data)
        if held is not None:
            held.hub.recycle(data)
        return item

    def _get_there(self, block: bool, timeout: float | None) -> Any:
        for _ in range(2):
            link = link_to(self._address)
            try:
                return link.get(self._ident, block, timeout)
            except QueueGone:
                # The owner closes a connection when a signal handler of its own has cut it off in the middle of an
                # answer. Nothing was taken then; if it is gone for good, so is the next attempt.
                if not link.closed:
                    raise
        return link_to(self._address).get(self._ident, block, timeout)

    @staticmethod
    def _get_here(held: hub.Held, block: bool, timeout: float | None) -> bytes | None:
        with held.hub.lock:
            held.store.note_consumer(held.hub)
            data: bytes | None = held.store.take()
        if data is not None or not block:
            return data
        return _sleep(held, timeout, held.store.take_later).item

    def get_nowait(self) -> T:
        """Takes the first item; raises `queue.Empty` when there is none."""
        return self.get(False)

    # -- looking -------------------------------------------------------------------------------------------------
    def qsize(self) -> int:
        """How many items nobody has taken; another process may change that at any moment."""
        return self._sizes()[0]

    def empty(self) -> bool:
        """Whether there are none; another process may change that at any moment."""
        return not self.qsize()

    def _sizes(self) -> tuple[int, int]:
        held = self._at_home()
        if held is not None:
            store: Store = held.store
            with held.hub.lock:  # an item that is just being given to a client counts neither here nor there without
                return store.size, store.maxsize
        status, content = link_to(self._address).ask(wire.SIZE, self._ident)
        _known(status)
        size, maxsize = wire.SIZES.unpack(content)
        return size, maxsize

    def close(self) -> None:
        """Does nothing: a queue goes when nobody holds it. For programs that were written for another one."""


class Queue(SimpleQueue[T]):
    """A queue that can be passed to tasks, with the interface of `Manager().Queue`. `IsolatedPool.Queue` makes it."""

    __slots__ = ()

    def full(self) -> bool:
        """Whether a put would have to wait; another process may change that at any moment."""
        size, maxsize = self._sizes()
        return 0 < maxsize <= size

    def task_done(self) -> None:
        """Says that an item that was taken has been dealt with; `join` waits for that.

        Raises:
            ValueError: It was called more often than items were put.
        """
        held = self._at_home()
        if held is not None:
            with held.hub.lock:
                fine = held.store.task_done()
        else:
            fine = _known(link_to(self._address).ask(wire.TASK_DONE, self._ident)[0]) == wire.OK
        if not fine:
            raise ValueError("task_done() called too many times")

    def join(self) -> None:
        """Waits until every item that was put has been dealt with."""
        held = self._at_home()
        if held is None:
            _known(link_to(self._address).ask(wire.JOIN, self._ident)[0])
            return
        _sleep(held, None, held.store.join_later)

    def join_thread(self) -> None:
        """Does nothing: what was put is on its way already. For programs written for `multiprocessing.Queue`."""

    def cancel_join_thread(self) -> None:
        """Does nothing, as `join_thread`."""


class JoinableQueue(Queue[T]):
    """The same as `Queue`, by the name that `multiprocessing` has for one with `task_done` and `join`."""

    __slots__ = ()


def check_maxsize(maxsize: int) -> None:
    """Refuses what is no whole number.

    Raises:
        TypeError: It is none.
    """
    if isinstance(maxsize, bool) or not isinstance(maxsize, int):
        raise TypeError(f"maxsize must be a whole number, not {type(maxsize).__name__}")


def check_timeout(block: bool, timeout: float | None) -> None:
    """Refuses to wait for less than no time.

    Raises:
        ValueError: The time limit of a call that waits is negative.
    """
    if block and timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")


def _known(status: int) -> int:
    if status == wire.GONE:
        raise gone()
    return status


def _sleep(held: hub.Held, timeout: float | None, begin: Callable[[_Sleeper], None]) -> _Sleeper:
    """Waits in the owner for what `begin` asks for; whether it has come is in what is returned."""
    sleeper = _Sleeper()
    try:
        with held.hub.lock:
            begin(sleeper)
        sleeper.lock.acquire(timeout=-1 if timeout is None else min(timeout, TIMEOUT_MAX))
        with held.hub.lock:
            sleeper.done = not held.store.forget(sleeper)
    except BaseException:  # out of a signal handler: as if nobody had asked
        with held.hub.lock:
            if not held.store.forget(sleeper) and sleeper.item is not None:
                held.store.lease()
                held.store.give_back([sleeper.item])
        raise
    if sleeper.status == wire.GONE:
        raise gone()
    return sleeper


def _arrive(cls: type[SimpleQueue[Any]], address: wire.Address, ident: int, maxsize: int) -> SimpleQueue[Any]:
    """Unpickles a queue, in whatever process."""
    return cls(hub.find(address, ident), address, ident, maxsize)


for _cls in (SimpleQueue, Queue, JoinableQueue):
    _cls.__module__ = "poolsafe"
