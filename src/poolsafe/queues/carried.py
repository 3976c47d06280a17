"""The originals of what is carried to tasks, in the process that has them: what a stand-in may do, done on the object.

Each call runs in the thread of one client (`actor`), never in the hub's: it may block, and it may run the user's code.
Whatever blocks does so for a moment at a time (`Actor.moments`), so that it ends soon after its client, and a client
that is killed while it waits takes nothing: an item that nobody has got goes back.

The pipes of `multiprocessing`'s queues are read and written here as its own methods do (CPython, Lib/multiprocessing/
queues.py), but without unpickling: an item's bytes are passed on as they are.

Used by: carry, actor. What may go wrong: whatever the object's own methods raise; that is the client's.
"""

from __future__ import annotations

import contextlib
import queue
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any, NamedTuple, Protocol

from ..engine.messages import dumps, loads
from ..engine.signals import start_deaf

#: A write of no more bytes never blocks on a pipe that is ready for writing (pipe(7)); less what is written before.
_WHOLE = getattr(select, "PIPE_BUF", 512) - 8
#: Seconds in which another writer of a pipe should be done.
_SHORT = 0.05
#: Seconds between two looks into a queue that cannot be waited for, at first and in the end.
_FIRST_LOOK, _LAST_LOOK = 0.0005, 0.01


class Actor(Protocol):
    """The thread that makes the calls of one client."""

    @property
    def over(self) -> bool:
        """Whether the client has ended."""

    def moments(self, block: bool, timeout: float | None) -> Iterator[float]:
        """How long to wait, again and again, until the time is up; ends with an exception when nobody waits."""


class Loan(NamedTuple):
    """An item that is on its way to a client."""

    data: Any
    put_back: Callable[[], object]
    taken: Callable[[], object]


class Carried:
    """One object.

    Args:
        original: The object; it lives for as long as it is carried.
    """

    def __init__(self, original: Any) -> None:
        self.original: Any = original
        self.closed: bool = False

    def close(self) -> None:
        """No task has it any more."""
        self.closed = True

    def call(self, actor: Actor, method: str, args: tuple[Any, ...]) -> Any:
        """Does what a stand-in asks for; a `Loan` is to be answered by its data.

        Raises:
            AttributeError: There is no such method.
            Exception: The object's own.
        """
        return getattr(self, "do_" + method)(actor, *args)

    def unheard(self, method: str, value: Any) -> None:
        """What a call returned has reached nobody: its client has ended."""

    def holds(self, actor: Actor) -> bool:
        """Whether a client holds what `left` must release."""
        return False

    def left(self, actor: Actor) -> None:
        """A client has ended."""


def _nothing() -> None:
    pass


class _AnyQueue(Carried):
    """What all queues have."""

    def do_get(self, actor: Actor, block: bool = True, timeout: float | None = None) -> Loan:
        for seconds in actor.moments(block, timeout):
            loan = self.take(seconds)
            if loan is not None:
                return loan
        raise queue.Empty

    def do_put(self, actor: Actor, data: Any, block: bool = True, timeout: float | None = None) -> None:
        item = self.unpacked(data)
        for seconds in actor.moments(block, timeout):
            if self.add(item, seconds):
                return
        raise queue.Full

    def unpacked(self, data: Any) -> Any:
        """What is to be added, for an item's pickle."""
        return data

    def take(self, seconds: float) -> Loan | None:
        """The next item, unless there is none in so many seconds."""
        raise NotImplementedError

    def add(self, item: Any, seconds: float) -> bool:
        """Adds an item, unless there is no room in so many seconds."""
        raise NotImplementedError

    def do_qsize(self, _: Actor) -> Any:
        return self.original.qsize()

    def do_empty(self, _: Actor) -> Any:
        return self.original.empty()

    def do_full(self, _: Actor) -> Any:
        return self.original.full()

    def do_task_done(self, _: Actor) -> None:
        self.original.task_done()


class ThreadQueue(_AnyQueue):
    """A queue of the module `queue`."""

    def unpacked(self, data: Any) -> Any:
        return loads(data)

    def take(self, seconds: float) -> Loan | None:
        try:
            item = self._get(seconds)
        except queue.Empty:
            return None
        try:
            data = dumps(item)
        except BaseException:  # it cannot go to another process; somebody here may still want it
            self._put_back(item)
            raise
        return Loan(data, lambda: self._put_back(item), _nothing)

    def _get(self, seconds: float) -> Any:
        if hasattr(self.original, "mutex"):
            return self.original.get(True, seconds)
        # A SimpleQueue's own waiting is not safe: when another thread was quicker and the time is over at that moment,
        # CPython (up to 3.12, Modules/_queuemodule.c) waits for a negative time, which means for ever.
        until = monotonic() + seconds
        pause = _FIRST_LOOK
        while True:
            try:
                return self.original.get(False)
            except queue.Empty:
                left = until - monotonic()
                if left <= 0:
                    raise
                sleep(min(pause, left))
                pause = min(2 * pause, _LAST_LOOK)

    def _put_back(self, item: Any) -> None:
        original = self.original
        if not hasattr(original, "mutex"):  # a SimpleQueue has but one end
            original.put(item)
            return
        with original.mutex:  # it counts as unfinished already, and there is room: it has only just been taken
            if type(original) is queue.Queue:
                original.queue.appendleft(item)
            else:
                original._put(item)  # where its order or its top is
            original.not_empty.notify()

    def add(self, item: Any, seconds: float) -> bool:
        try:
            self.original.put(item, True, seconds)
        except queue.Full:
            return False
        return True

    def do_join(self, actor: Actor) -> None:
        original = self.original
        with original.all_tasks_done:
            for seconds in actor.moments(True, None):
                if not original.unfinished_tasks:
                    return
                original.all_tasks_done.wait(seconds)


class _Later:
    """Writes to a pipe what it does not take now, in a thread that nobody waits for."""

    def __init__(self, original: Any) -> None:
        self._original = original
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._running = False

    @property
    def idle(self) -> bool:
        """Whether everything is written."""
        return not self._waiting

    def write(self, data: bytes) -> None:
        """Has it written, after what was given before."""
        with self._lock:
            self._waiting.append(data)
            if self._running:
                return
            self._running = True
        try:
            start_deaf(threading.Thread(target=self._run, name="poolsafe-carried-pipe", daemon=True))
        except RuntimeError:  # no thread can be had now: the next one tries again
            self._running = False

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running = False
                    return
            try:
                with self._original._wlock or contextlib.nullcontext():
                    self._original._writer.send_bytes(self._waiting[0])
            except (OSError, ValueError):  # closed, or nobody can read it any more
                self._waiting.clear()
            else:
                self._waiting.popleft()


class SimplePipeQueue(_AnyQueue):
    """A `multiprocessing.SimpleQueue`: a pipe, a lock for its readers, and one for its writers."""

    def __init__(self, original: Any) -> None:
        super().__init__(original)
        self.later: _Later = _Later(original)

    def take(self, seconds: float) -> Loan | None:
        original = self.original
        if not original._rlock.acquire(True, seconds):
            return None
        try:
            if not original._reader.poll(seconds):
                return None
            data = original._reader.recv_bytes()
        finally:
            original._rlock.release()
        return Loan(data, lambda: self.later.write(data), self.taken)

    def taken(self) -> None:
        """Somebody has got an item."""

    def add(self, item: Any, seconds: float) -> bool:
        return self.write(item, seconds, any_size=True)

    def write(self, data: bytes, seconds: float, any_size: bool = False) -> bool:
        """Writes to the pipe, if it takes that at once, or anything of it at all and the rest by and by."""
        original = self.original
        if len(data) > _WHOLE and not any_size:
            return False
        lock = original._wlock
        if lock is not None and not lock.acquire(True, seconds):
            return False
        try:
            if not _writable(original._writer, 0 if not any_size else seconds):
                return False
            original._writer.send_bytes(data)
        finally:
            if lock is not None:
                lock.release()
        return True


class PipeQueue(SimplePipeQueue):
    """A `multiprocessing.Queue`.

    What is small goes straight into the pipe, and so is there before the task has ended; what the pipe does not take is
    written by a thread of ours. Not by the queue's own `put`: the program would wait at its end for that to be read.
    """

    def taken(self) -> None:
        self.original._sem.release()  # not before: should the item come back, then there is room for it

    def add(self, item: Any, seconds: float) -> bool:
        if not self.original._sem.acquire(True, seconds):
            return False
        self.one_more()
        if not self.later.idle or not self.write(item, _SHORT):
            self.later.write(item)
        return True

    def one_more(self) -> None:
        """There is one more item to be dealt with."""


class JoinablePipeQueue(PipeQueue):
    """A `multiprocessing.JoinableQueue`."""

    def one_more(self) -> None:
        with self.original._cond:
            self.original._unfinished_tasks.release()

    def do_join(self, actor: Actor) -> None:
        original = self.original
        for seconds in actor.moments(True, None):
            with original._cond:
                if original._unfinished_tasks._semlock._is_zero():
                    return
                original._cond.wait(seconds)


def _writable(connection: Any, seconds: float) -> bool:
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLOUT)
    return bool(poll.poll(seconds * 1000))
