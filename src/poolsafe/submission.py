"""From a call or an iterable to jobs: pickling in the thread that submits, chunking, feeding.

Used by: pool. What may go wrong: function, arguments or items do not pickle: each such item is settled with its own
error, and the others run; the input iterator raises, blocks or never ends: it is advanced by one thread of its own,
outside every lock.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from .engine import messages
from .engine.messages import dumps
from .engine.state import NO_TERMS, Job, Terms, held_by
from .failures import MADE, pickling_failure
from .iterators import IMapIterator
from .queues import carry

#: Numbers jobs over all pools of the process, from 1 (0 means "none" in a worker's page).
_numbers = itertools.count(1)

#: Called with the index of the chunk's first item, an index within the chunk, kind and data.
ChunkSink = Callable[[int, int, int, Any], None]


class Engine(Protocol):
    """The engine's events that are posted from here."""

    def submitted(self, job: Job) -> None:
        """A job came in."""

    def failed(self, job: Job, kind: int, data: Any) -> None:
        """A job came in that cannot be sent."""

    def opened(self, job: Job) -> None:
        """An input brings more jobs."""

    def exhausted(self, job: Job) -> None:
        """It brings no more."""


class Intake(Protocol):
    """Where jobs go (`engine.intake`)."""

    def submit(self, job: Job) -> None:
        """Takes one in."""

    def submit_all(self, jobs: Iterable[Job]) -> None:
        """Takes several in."""

    def post(self, event: Callable[..., None], *args: Any) -> None:
        """Has an event told to the engine."""


class Submitter:
    """Makes jobs for one pool.

    Args:
        intake: Where they go.
        engine: Whose events are posted there.
        terms: What tasks may take, unless their call says otherwise.
        alone: Whether each item has a message of its own, whatever the size of chunks.
    """

    def __init__(self, intake: Intake, engine: Engine, terms: Terms = NO_TERMS, *, alone: bool = False) -> None:
        self._alone = alone
        self._intake = intake
        self._engine = engine
        self._terms = terms
        self._lock = threading.RLock()  # a signal handler may submit while its own thread is numbering
        self._numbered = 0
        self._streams = itertools.count(1)
        #: What was carried to tasks, and how often, by type.
        self.carried: Counter[str] = Counter()

    def _count(self, held: list[Any]) -> None:
        if held:
            self.carried.update(carry.names(held))

    def _number(self, count: int) -> tuple[int, int]:
        """Numbers tasks, in the order of submission; returns the first one's."""
        with self._lock:
            first = self._numbered
            self._numbered = first + count
        return 0, first

    def number_input(self, iterable: Iterable[Any]) -> tuple[int, int]:
        """Numbers the tasks of an input: one whose length nobody knows gets a stream of its own."""
        try:
            return self._number(len(iterable))  # type: ignore[arg-type]
        except Exception:  # none, or one that raises: reading it will, too
            return next(self._streams), 0

    def call(
        self,
        func: Callable[..., Any],
        args: Any,
        kwds: Any,
        sink: Callable[[int, int, Any], None],
        limit: float | None = None,
    ) -> Job:
        """Submits one call."""
        terms = self._terms.within(limit)
        try:
            with carry.packing() as held:
                payload = messages.call_payload(func, args, kwds, self._number(1), terms.watched)
        except Exception as error:
            job = Job(next(_numbers), b"", 1, sink)
            self._fail(job, pickling_failure(error))
            return job
        self._count(held)
        job = Job(next(_numbers), payload, 1, sink, held, terms)
        self._intake.submit(job)
        return job

    def chunks(
        self,
        mode: int,
        func: Callable[..., Any],
        items: Sequence[Any],
        size: int,
        sink: ChunkSink,
        limit: float | None = None,
    ) -> list[Job]:
        """Submits all items, `size` to a message."""
        make = self.chunk_maker(mode, func, sink, self._number(len(items)), limit)
        jobs: list[Job] = []
        size = 1 if self._alone else size
        for start in range(0, len(items), size):
            jobs += make(start, list(items[start : start + size]))
        self._intake.submit_all(jobs)
        return jobs

    def chunk_maker(
        self,
        mode: int,
        func: Callable[..., Any],
        sink: ChunkSink,
        number: tuple[int, int],
        limit: float | None = None,
    ) -> Callable[[int, list[Any]], list[Job]]:
        """A function that makes the jobs for a chunk: one, unless some items do not pickle.

        Args:
            mode: Whether items are unpacked as arguments.
            func: What to call with them.
            sink: Where their results go.
            number: The number of the first item of all.
            limit: Seconds that each item may take; None for the pool's.
        """
        terms = self._terms.within(limit)
        limited = terms.watched
        try:
            with carry.packing() as held:  # what the function carries goes with every chunk
                blob = dumps(func)
        except Exception as error:
            return partial(self._all_fail, pickling_failure(error), sink)
        self._count(held)
        shared = messages.by_reference(func)

        def numbered(base: int) -> tuple[int, int]:
            return number[0], number[1] + base

        def pickled(base: int, blobs: list[bytes], with_them: list[Any]) -> Job:
            self._count(with_them)
            payload = messages.chunk_payload(mode, blob, shared, [], blobs, numbered(base), limited)
            return Job(next(_numbers), payload, len(blobs), partial(sink, base), [*held, *with_them], terms)

        def make(base: int, items: list[Any]) -> list[Job]:
            if messages.all_atomic(items):
                payload = messages.chunk_payload(mode, blob, shared, items, None, numbered(base), limited)
                return [Job(next(_numbers), payload, len(items), partial(sink, base), held, terms)]
            return list(self._by_item(pickled, base, items, sink))

        return make

    def _by_item(
        self, pickled: Callable[[int, list[bytes], list[Any]], Job], base: int, items: list[Any], sink: ChunkSink
    ) -> Iterator[Job]:
        good: list[bytes] = []
        held: list[Any] = []
        for at, item in enumerate(items, base):
            try:
                with carry.packing() as notes:
                    blob = dumps(item)
            except Exception as error:
                self._fail(Job(next(_numbers), b"", 1, partial(sink, at)), pickling_failure(error, at))
                if good:
                    yield pickled(at - len(good), good, held)
                good, held = [], []
            else:
                good.append(blob)
                held += notes
        if good:
            yield pickled(base + len(items) - len(good), good, held)

    def _all_fail(self, error: BaseException, sink: ChunkSink, base: int, items: list[Any]) -> list[Job]:
        for index in range(len(items)):
            self._fail(Job(next(_numbers), b"", 1, partial(sink, base + index)), error)
        return []

    def _fail(self, job: Job, error: BaseException) -> None:
        self._intake.post(self._engine.failed, job, MADE, error)

    def fail(self, error: BaseException, sink: Callable[[int, int, Any], None]) -> None:
        """Settles one item with an error of the parent's own."""
        self._fail(Job(next(_numbers), b"", 1, sink), error)

    def fail_all(self, count: int, error: BaseException, sink: ChunkSink) -> None:
        """Settles `count` items with an error of the parent's own."""
        self._all_fail(error, sink, 0, [None] * count)

    def feeder(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        size: int,
        ahead: int,
        target: Any,
        limit: float | None = None,
    ) -> Feeder:
        """What reads an input and submits it; see `Feeder`."""
        return Feeder(self, func, iterable, 1 if self._alone else size, ahead, target, limit)

    def open_input(self, end: Job) -> None:
        """From now on the pool is not done before the input is, though it may be closed."""
        self._intake.post(self._engine.opened, end)

    def close_input(self, end: Job) -> None:
        """The input brings no more."""
        self._intake.post(self._engine.exhausted, end)

    def send_all(self, jobs: Iterable[Job]) -> None:
        """Submits jobs that were made by a chunk maker."""
        self._intake.submit_all(jobs)


class Feeder:
    """Reads an input to its end and submits it; `run` is for a thread of its own.

    Args:
        submitter: Makes and takes the jobs.
        func: What to call with each item.
        iterable: The user's; nothing of it is run before `run`.
        size: Items to a message.
        ahead: Items that may be unsettled before reading pauses.
        target: Where the results go.
        limit: Seconds that each item may take; None for the pool's.
    """

    def __init__(
        self,
        submitter: Submitter,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        size: int,
        ahead: int,
        target: IMapIterator[Any],
        limit: float | None = None,
    ) -> None:
        self._submitter = submitter
        self._func = func
        self._iterable = iterable
        self._size = size
        self._ahead = ahead
        self._target = target
        self._limit = limit
        self._number = submitter.number_input(iterable)
        self._end = Job(next(_numbers), b"", 1, target.ended)
        self._end.owner = target

    def open(self) -> None:
        """To be called in the submitting thread, before the pool may be closed."""
        self._submitter.open_input(self._end)

    def abandon(self) -> None:
        """Nobody can run it: the input ends here."""
        self._target.end_at(0)
        self._submitter.close_input(self._end)

    def run(self) -> None:
        """Reads and submits until the input or the pool ends."""
        given = 0
        target = self._target
        try:
            make = self._submitter.chunk_maker(messages.MAP, self._func, target.arrive_at, self._number, self._limit)
            iterator = iter(self._iterable)
            while not target.is_cut:
                items = list(itertools.islice(iterator, self._size))
                if not items or target.is_cut:  # meanwhile, which may have been long
                    break
                jobs = make(given, items)
                target.held.update(held_by(jobs))
                for job in jobs:
                    job.owner = target
                self._submitter.send_all(jobs)
                del jobs
                given += len(items)
                del items  # while the iterator or the workers keep us waiting, hold nothing of the user's
                target.wait_for_room(given, self._ahead)
        except (
            BaseException
        ) as error:  # the iterator's, whatever it is; the chunk it cut short is not run, as in the stdlib
            self._submitter.fail(error, partial(target.arrive_at, given))
            given += 1
        if target.is_off:
            target.disown()  # once more: perhaps that was before the last of them were submitted
            return
        if not target.is_cut:  # else what came so far would look like all there is
            target.end_at(given)
        self._submitter.close_input(self._end)
