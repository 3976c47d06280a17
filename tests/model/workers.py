"""Simulated workers: they really take messages in order, begin items and answer, and can die between any two steps.

Used by: `tests.model.world`. A worker's life is a generator; every `yield` is a moment at which it may be killed, and
the order of what it does between them is that of `poolsafe.engine.child` and `poolsafe.engine.page`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from poolsafe.engine import messages
from poolsafe.engine.page import IDLE, RECEIVED, RUNNING
from poolsafe.engine.state import LOST

#: Frames that a worker's log holds before it must be sent.
LOG_FRAMES = 3


class Message(NamedTuple):
    """A request. `single`: a call, answered at once; otherwise a chunk, answered by way of the log."""

    job: int
    start: int
    stop: int
    single: bool


class _Perished(Exception):
    """The process of the item at hand has died."""


STOP = Message(0, 0, 0, single=True)


class Frame(NamedTuple):
    """What a worker sends; the data of an answer is `(job, index)` again, so that answers cannot be mixed up."""

    kind: int
    job: int
    index: int
    data: Any


class SimWorker:
    """One worker.

    Args:
        pid: Any number.
        began: Called with job and index when an item's function begins.
        init: How the initializer ends: `"ok"`, `"raises"` or an exit code.
    """

    def __init__(self, pid: int, began: Callable[[int, int], None], init: str | int = "ok") -> None:
        self.pid = pid
        self.exitcode: int | None = None
        self.queue: deque[Message] = deque()
        self.outbox: deque[Frame] = deque()
        self.log: list[Frame] = []
        self.page = [0, 0, IDLE]
        self.items = 0
        #: The jobs whose messages it has taken, as often as it has.
        self.read: list[int] = []
        #: The next reset fails.
        self.unclean = False
        #: The next item leaves what cannot be undone.
        self.dirty = False
        #: Its next item fails when it is told to end for what it takes. It is doomed then, and begins nothing else.
        self.late = self.doomed = False
        #: Which item that was.
        self.failed: tuple[int, int] | None = None
        #: Takes nothing up any more.
        self.stuck = False
        #: Does not exit by itself.
        self.stubborn = False
        #: Has been sent a signal that ends it.
        self.condemned = False
        #: So many messages are not taken by its channel.
        self.refusing = 0
        #: The item at hand is of a message of its own, and has no answer yet.
        self._alone = False
        self._began = began
        self._life = self._live(init)

    @property
    def alive(self) -> bool:
        return self.exitcode is None

    @property
    def waiting(self) -> bool:
        """Whether nothing can happen here before a message comes."""
        return self.alive and self._idle and not self.queue

    @property
    def has_told_all(self) -> bool:
        """Whether nothing is at hand, and every answer is on its way."""
        return self.page[2] == IDLE and not self.log

    def advance(self, steps: int = 1) -> None:
        """Lives on for some steps."""
        for _ in range(steps):
            if not self.alive or self.waiting:
                return
            try:
                next(self._life)
            except StopIteration as end:
                self.exitcode = end.value

    def kill(self, exitcode: int = -9) -> None:
        """Dies on the spot."""
        if self.alive:
            self.exitcode = exitcode
            self._life.close()

    def perish(self, exitcode: int = -9) -> bool:
        """The process of the item at hand dies, if there is one, and this one lives on to tell of it."""
        phase = self.page[2]
        if not self.alive or phase == IDLE or not self._alone:
            return False
        self._died = exitcode, phase
        self._life.throw(_Perished())
        return True

    def accept(self, message: Message) -> bool:
        """The channel takes the message, or not. A dead worker's channel is as good as any."""
        if self.refusing:
            self.refusing -= 1
            return False
        self.queue.append(message)
        return True

    def recall(self) -> int | None:
        """As `SocketChannel.recall`: a STOP that is found is put back at the end."""
        if not self.queue:
            return None
        message = self.queue.popleft()
        if message is STOP:
            self.accept(STOP)
            return None
        return message.job

    # -- the life ------------------------------------------------------------------------------------------------
    _idle = False
    _died: tuple[int, int] = (0, 0)

    def _live(self, init: str | int) -> Iterator[None]:
        yield
        if isinstance(init, int):
            return init
        if init == "raises":
            self._send(messages.INIT_FAILED, 0, 0)
            yield
            return 1
        self._send(messages.READY, 0, 0)
        while True:
            self._idle = True
            yield
            self._idle = False
            while self.stuck or not self.queue:
                yield
            message = self.queue.popleft()
            self.read.append(message.job)
            yield  # swallowed, and nothing says so
            try:
                if message is STOP or (yield from self._serve(message)):
                    break
            except _Perished:
                job, index, _ = self.page
                self._alone = False
                self.outbox.append(Frame(messages.DIED, job, index, self._died))
                yield  # told, and the page still names it
                yield from self._mark(job, index + 1, IDLE)
        while self.stubborn:
            yield
        return 0

    def _serve(self, message: Message) -> Iterator[None]:
        """Whether the worker must retire."""
        job = message.job
        self._alone = message.stop == message.start + 1
        yield from self._mark(job, message.start, RECEIVED)
        for index in range(message.start, message.stop):
            yield from self._mark(job, index, RECEIVED)
            if self.doomed:
                yield from self._mark(job, index, IDLE)
                while self.doomed:
                    yield
                yield from self._mark(job, index, RECEIVED)
            if self.unclean:
                self._alone = False
                yield from self._flush()
                self._send(messages.RETIRE, job, index)
                yield
                return True
            yield from self._mark(job, index, RUNNING)
            self.items += 1
            self._began(job, index)
            yield
            self._alone = False
            kind, self.doomed, self.late = (LOST if self.late else messages.VALUE), self.late, False
            if message.single:
                self._send(kind, job, index)
            else:
                if len(self.log) == LOG_FRAMES:
                    yield from self._flush()
                self.log.append(Frame(kind, job, index, (job, index)))
            yield
            if self.dirty:
                yield from self._mark(job, index + 1, IDLE)
                yield from self._flush()
                self._send(messages.LEAVING, job if index + 1 < message.stop else 0, index + 1)
                yield
                return True
        yield from self._flush()
        yield from self._mark(job, message.stop, IDLE)
        return False

    def _mark(self, *mark: int) -> Iterator[None]:
        for field, value in enumerate(mark):
            if self.page[field] != value:
                self.page[field] = value
                yield

    def _flush(self) -> Iterator[None]:
        self.outbox.extend(self.log)
        yield  # sent, and still in the log
        self.log.clear()

    def _send(self, kind: int, job: int, index: int) -> None:
        self.outbox.append(Frame(kind, job, index, (job, index)))
