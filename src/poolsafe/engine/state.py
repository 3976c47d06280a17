"""What the engine's decisions are about: jobs, parts, lanes, deaths, and the commands that come out.

Plain data, used by `engine.core` (which decides), `engine.supervisor` (which carries out) and the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, NamedTuple

STARTING, READY, STOPPING = "starting", "ready", "stopping"
RUNNING, CLOSING, ENDING, FINISHED = "running", "closing", "ending", "finished"

# Kinds of outcome that no worker sends; the others are the frame kinds of `engine.messages`.
LOST, TERMINATED, BROKEN, UNCLEAN, EXHAUSTED, CANCELLED = 16, 17, 18, 19, 20, 21

#: How often a part is given to another worker after a worker could not even begin it.
MAX_ATTEMPTS = 3
#: How many workers in a row, beyond one for each place, may be killed by a signal before they are ready.
SPARE_START_DEATHS = 4
#: How many workers in a row may die without settling anything before starting waits a little in between.
MAX_BARREN = 10


class Terms(NamedTuple):
    """What the items of a job may take."""

    limit: float | None = None  #: Seconds of running time of each.
    retries: int = 0  #: How often one that is lost with its worker is tried again.
    measured: bool = False  #: Whether the memory of its worker is looked at.

    def within(self, limit: float | None) -> Terms:
        """The same with another limit, if one is given; infinity is none."""
        return self if limit is None else self._replace(limit=limit if isfinite(limit) else None)

    @property
    def watched(self) -> bool:
        """Whether a worker may be ended for what an item takes."""
        return self.limit is not None or self.measured


NO_TERMS = Terms()


class Job:
    """What was submitted in one message: `count` items in one payload.

    Args:
        ident: Unique and rising.
        payload: Bytes that a worker understands; the engine does not look inside.
        count: Number of items.
        sink: Called by whoever carries out `Settle`, with item index, kind and data.
        held: What must live for as long as the job does.
        terms: What its items may take.

    Attributes:
        owner: What it belongs to with other jobs, that may be called off together.
    """

    __slots__ = ("count", "held", "ident", "owner", "payload", "remaining", "sink", "terms")

    def __init__(
        self,
        ident: int,
        payload: bytes,
        count: int,
        sink: Callable[[int, int, Any], None],
        held: Any = None,
        terms: Terms = NO_TERMS,
    ) -> None:
        self.ident: int = ident
        self.payload: bytes = payload
        self.count: int = count
        self.remaining: int = count
        self.sink: Callable[[int, int, Any], None] = sink
        self.held: Any = held
        self.terms: Terms = terms
        self.owner: Any = None


def held_by(jobs: Iterable[Job]) -> dict[int, Any]:
    """What must live for as long as any of the jobs does, once each."""
    return {id(one): one for job in jobs for one in job.held or ()}


class Part:
    """Items `start`..`stop` of a job; those before `next` are settled. One with a `past` has a single item.

    So many `attempts` at the item `next` ended before it began, in workers that had read it.
    """

    __slots__ = ("attempts", "job", "next", "past", "start", "stop")

    def __init__(self, job: Job, start: int, stop: int, attempts: int = 0, past: tuple[Lost, ...] = ()) -> None:
        self.job: Job = job
        self.start: int = start
        self.next: int = start
        self.stop: int = stop
        self.attempts: int = attempts
        self.past: tuple[Lost, ...] = past  # how its item was lost before, when it was tried again

    def advance(self) -> None:
        """The item `next` is dealt with."""
        self.next += 1
        self.attempts = 0

    @property
    def has_run(self) -> bool:
        """Whether its item may have run before."""
        return any(loss.may_have_run for loss in self.past)


class Lane:
    """What the engine knows of one worker. `parts` is in the order of sending; a retired worker begins none."""

    __slots__ = ("budget", "doubted", "full", "ident", "parts", "retired", "state")

    def __init__(self, ident: int, budget: int | None) -> None:
        self.ident: int = ident
        self.state: str = STARTING
        self.parts: dict[int, Part] = {}
        self.budget: int | None = budget
        self.full: bool = False
        self.doubted: int = 0  # a rising number, since a message was taken back from it
        self.retired: bool = False


class Fate(NamedTuple):
    """How a process ended, for the words that its task's error has.

    Args:
        pid: Its process id.
        exitcode: As `Process.exitcode`; None when nobody could tell.
        cut_off: Whether its channel ended before it did.
        limit: The seconds that the item was allowed, when the process was ended for taking longer.
        used: The bytes of memory that it had, when it was ended for them.
        stack: Where it was then.
        said: The last lines that it wrote to stderr in this item.
        starved: Who says that the kernel ended it for want of memory; empty when nobody does.
        hindered: Whether it ended while it started, and for what may have been nothing of the program's.
        scarce: Whether it ended while it started because no process, or descriptor, was to be had.
        endless: Whether it has not ended, for all that was done to it.
        host: The process that it was forked from, when that is what ended so, and took it along.
    """

    pid: int | None
    exitcode: int | None
    cut_off: bool = False
    limit: float | None = None
    used: int | None = None
    stack: str = ""
    said: str = ""
    starved: str = ""
    hindered: bool = False
    scarce: bool = False
    endless: bool = False
    host: int | None = None

    @property
    def deserved(self) -> bool:
        """Whether it was ended for its item, by us."""
        return self.limit is not None or self.used is not None


class Lost(NamedTuple):
    """Data of an item settled as LOST."""

    fate: Fate
    may_have_run: bool
    item: int | None
    past: tuple[Lost, ...] = ()  # how it was lost before


class Death(NamedTuple):
    """What is known of a worker's end: its last words have been given to `outcome` before.

    Args:
        fate: How it ended.
        job, index: The item its page names.
        phase: 0 nothing, 1 received, 2 running (`engine.page`).
        unread: Ids of the jobs in messages that it never read.
        ended: Whether it was ended for an item, perhaps another one, which was done by then.
    """

    fate: Fate
    job: int
    index: int  # type: ignore[assignment]  # a field named like tuple.index is what we mean
    phase: int
    unread: frozenset[int]
    ended: bool = False

    def loss(self, may_have_run: bool, part: Part | None = None) -> Lost:
        """What an item is settled with that this death took."""
        return Lost(self.fate, may_have_run, None if part is None else part.next)


class Start(NamedTuple):
    """Command: start a worker for the lane."""

    lane: int


class Send(NamedTuple):
    """Command: send the part; answer with `refused` when the channel takes nothing now."""

    lane: int
    part: Part
    start: int
    stop: int


class Recall(NamedTuple):
    """Command: take one unread message back; answer with `recalled` when there was one."""

    lane: int


class Cut(NamedTuple):
    """Command: nobody wants the job any more; take it back unread, or end the worker that has it at hand."""

    lane: int
    job: int


class Tell(NamedTuple):
    """Command: call this, which must not raise; all commands before it have been carried out."""

    call: Callable[[], object]


class Stop(NamedTuple):
    """Command: tell the worker to end after what it has been sent."""

    lane: int


class Settle(NamedTuple):
    """Command: item `index` of the job is done."""

    job: Job
    index: int  # type: ignore[assignment]  # tuple.index is not missed here
    kind: int
    data: Any


class Pause(NamedTuple):
    """Command: call `resume` after a while: workers cannot be started, or die as soon as they are; or have time."""

    failures: int


class Abandon(NamedTuple):
    """Command: end all workers now."""


class Finished(NamedTuple):
    """Command: everything is settled and no worker is left."""


Command = Start | Send | Recall | Cut | Tell | Stop | Settle | Pause | Abandon | Finished
