"""Which worker is ended for which item: one that takes too long or too much memory, or whose job nobody wants any more.

The worker's page says since when it runs what; so a limit needs no timer of its own, and nothing is said when an
item begins. A worker that was sent an item with a limit is looked at when that could have passed first, and then
whenever it can have passed next: some looks for each limit that passes, by one timer for all, and none while the pool
is idle.

Whether the item at hand is still the one that took too long is settled by two stores and two loads: the parent sets the
worker's doom and looks at the page again; the worker names its next item and then looks for the doom. At least one of
them sees the other, so no other item is ever ended for it.

Used by: supervisor, watchdog, mortuary. What may go wrong: the process does not end by SIGTERM (SIGKILL follows after
`TERM_GRACE`), nor by that, because it is in a system call that cannot be interrupted, or belongs to another user since
the program has dropped its privileges (it is given up after `ENDLESS`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from .core import Engine
from .crew import Crew
from .page import IDLE, RECEIVED, Begun
from .starting import TERM_GRACE
from .timers import Timers

#: Seconds that a task has besides for what comes before its function: a fresh worker may have to import a lot.
LOADING = 30.0
#: Seconds after which to look again for a job that is called off and was neither unread nor at hand.
AGAIN = 0.02
#: Seconds between two looks at least, at a worker that has nothing with a limit at hand yet, or any more. A limit may
#: be shorter than a look takes, and what it waits for may take for ever.
OFTEN = 0.005
#: So many times a worker is told to end an item, after the first.
_ATTEMPTS = 2
#: Seconds after the last of these until it is believed to be of no use.
ENDLESS = 5.0
#: Seconds by which clocks may differ in their last digits.
_SLACK = 0.0005
_NO_JOB = 0  # their numbers begin at 1


class Overdue(NamedTuple):
    """An item whose process is ended. Without a limit and memory: because nobody wants its job any more."""

    job: int
    index: int  # type: ignore[assignment]  # tuple.index is not missed here
    limit: float | None
    doom: int  #: the number by which its worker was doomed
    used: int | None = None  #: the bytes of memory for which it is
    pid: int | None = None  #: of the process that had it at hand then
    failed: tuple[int, int] | None = None  #: the item, once it has failed and said so; `job` is none then


class Deadlines:
    """See the module.

    Attributes:
        give_up: Called with the lane of a worker that cannot be ended; by whoever is to bury it, set to that.
    """

    def __init__(self, engine: Engine, crew: Crew, timers: Timers) -> None:
        self.give_up: Callable[[int], object] = lambda lane: None
        self._engine = engine
        self._crew = crew
        self._timers = timers
        self._next: dict[int, float] = {}
        self._overdue: dict[int, Overdue] = {}
        self._armed: float = inf
        self._dooms = itertools.cycle(range(1, 256))

    def watch(self, lane: int, limit: float) -> None:
        """The lane's worker was sent an item that has so many seconds."""
        self._look_at(lane, self._timers.clock() + limit)

    def _look_at(self, lane: int, moment: float) -> None:
        if moment < self._next.get(lane, inf):
            self._next[lane] = moment
            self._arm()

    def _arm(self) -> None:
        """One timer for all lanes: else each task of a pool with long limits would leave one behind."""
        first = min(self._next.values(), default=inf)
        if first < self._armed:
            self._armed = first
            self._timers.after(first - self._timers.clock(), self._look_round)

    def _look_round(self) -> None:
        now = self._timers.clock()
        if now < self._armed - _SLACK:
            return  # there was an earlier one
        self._armed = inf
        for lane in [lane for lane, moment in self._next.items() if moment <= now + _SLACK]:
            del self._next[lane]
            self._look(lane)
        self._arm()

    def _look(self, lane: int) -> None:
        known = self._engine.lanes.get(lane)
        if known is None or lane in self._overdue or lane not in self._crew.workers:
            return
        limits = [part.job.terms.limit for part in known.parts.values() if part.job.terms.limit is not None]
        if not limits:
            return
        worker = self._crew.workers[lane]
        job, index, phase = worker.begun()
        part = known.parts.get(job)
        now = self._timers.clock()
        later = now + max(min(limits), OFTEN)
        since = worker.since()
        if part is None or phase == IDLE or part.job.terms.limit is None or since == inf:
            self._look_at(lane, later)  # those with a limit have not begun, or are done
            return
        due = since + part.job.terms.limit + (LOADING if phase == RECEIVED else 0.0)
        if now < due - _SLACK:
            # What is being loaded may begin to run at once, and has its limit from then on.
            self._look_at(lane, min(due, now + max(part.job.terms.limit, AGAIN)) if phase == RECEIVED else due)
        elif not self._end(lane, _same_item(job, index), limit=part.job.terms.limit):
            self._look_at(lane, later)

    def outgrown(self, lane: int, begun: Begun, used: int) -> None:
        """The lane's worker has so many bytes of memory, and that is too much, at what it had begun then."""
        if lane not in self._overdue:
            self._end(lane, _same_item(begun.job, begun.index), used=used)

    def _end(
        self, lane: int, is_meant: Callable[[Begun], bool], *, limit: float | None = None, used: int | None = None
    ) -> bool:
        """Ends the worker for what it has at hand; False when that is not what is meant any more."""
        overdue = self._doom(lane, is_meant)
        if overdue is None:
            return False
        self._overdue[lane] = overdue._replace(limit=limit, used=used)
        self._press(lane, overdue.doom, 0)
        return True

    def _doom(self, lane: int, is_meant: Callable[[Begun], bool]) -> Overdue | None:
        """Has the lane's worker begin nothing any more: with what it has at hand, or None when that is not meant."""
        worker = self._crew.workers[lane]
        doom = next(self._dooms)
        worker.doom(doom)
        pid = worker.serving
        begun = worker.begun()
        if is_meant(begun):
            return Overdue(begun.job, begun.index, None, doom, pid=pid)
        worker.doom(0)
        return None

    def cut(self, lane: int, job: int) -> None:
        """Nobody wants a job any more that the lane's worker was sent: has it taken back, or the worker ended."""
        known = self._engine.lanes.get(lane)
        part = None if known is None else known.parts.get(job)
        if part is None or lane not in self._crew.workers:
            return  # gone
        if lane in self._overdue or self._crew.workers[lane].begun().job != job:
            self._take_back(lane, job)  # though it is ended for another item, the worker may live on
        elif self._end(lane, lambda seen: seen.job == job and seen.index < part.stop):
            return
        # It may be the one that is ended just now; or read, and not at hand yet; or done, and its answer on the way.
        self._timers.after(AGAIN, lambda: self.cut(lane, job))

    def _take_back(self, lane: int, job: int) -> None:
        channel = self._crew.workers[lane].channel
        for taken in iter(channel.recall, None):
            self._engine.recalled(lane, taken)
            if taken == job:
                return

    def _press(self, lane: int, doom: int, attempt: int) -> None:
        overdue = self._overdue.get(lane)
        if overdue is None or overdue.doom != doom or lane not in self._crew.workers:
            return
        if attempt > _ATTEMPTS:
            self.give_up(lane)
            return
        self._crew.workers[lane].end_item(attempt)
        self._timers.after(TERM_GRACE if attempt < _ATTEMPTS else ENDLESS, lambda: self._press(lane, doom, attempt + 1))

    def spared(self, lane: int, doom: int) -> None:
        """The lane's worker lives, and has nothing at hand any more of what it was doomed for by this number."""
        overdue = self._overdue.get(lane)
        if overdue is not None and overdue.doom == doom:
            self._lift(lane)
            if overdue.limit is None and overdue.used is None:
                self.cut(lane, overdue.job)  # it may have been just about to begin, and now does

    def doom_idle(self, lane: int, begun: Begun) -> bool:
        """Has the lane's worker begin nothing any more; False when it has begun something since it was seen so.

        Whoever calls that ends it. What it takes up just then is not lost, for it waits there.
        """
        overdue = self._doom(lane, lambda seen: seen == begun)
        if overdue is None:
            return False
        self._overdue[lane] = overdue._replace(job=_NO_JOB)
        return True

    def is_overdue(self, lane: int) -> bool:
        """Whether the lane's worker is doomed."""
        return lane in self._overdue

    def reason_for(self, lane: int, job: int, index: int) -> Overdue | None:
        """Why the item's process was ended, if it was; its worker lives, and goes on."""
        overdue = self._overdue_for(lane, job, index)
        if overdue is not None:
            self._lift(lane)
        return overdue

    def failed(self, lane: int, job: int, index: int) -> Overdue | None:
        """What the item took, if its process is being ended for that; it has failed meanwhile, and said so.

        The process is ended for all that, and for no item from now on: this one may be tried again, and be sent to the
        same worker, before it is.
        """
        overdue = self._overdue_for(lane, job, index)
        if overdue is None or (overdue.limit is None and overdue.used is None):
            return None
        self._overdue[lane] = overdue._replace(job=_NO_JOB, failed=(job, index))
        return overdue

    def has_failed(self, lane: int, job: int, index: int) -> bool:
        """Whether that was heard already. A doomed worker begins nothing, so what it says of the item is no news."""
        overdue = self._overdue.get(lane)
        return overdue is not None and overdue.failed == (job, index)

    def _overdue_for(self, lane: int, job: int, index: int) -> Overdue | None:
        overdue = self._overdue.get(lane)
        return overdue if overdue is not None and (overdue.job, overdue.index) == (job, index) else None

    def _lift(self, lane: int) -> None:
        del self._overdue[lane]
        self._crew.workers[lane].doom(0)
        limits = [part.job.terms.limit for part in self._engine.lanes[lane].parts.values()]
        for limit in filter(None, limits):
            self.watch(lane, limit)

    def reason(self, lane: int) -> Overdue | None:
        """For which item the dead worker of a lane was ended, if it was."""
        self._next.pop(lane, None)
        return self._overdue.pop(lane, None)


def _same_item(job: int, index: int) -> Callable[[Begun], bool]:
    return lambda seen: seen[:2] == (job, index) and seen.phase != IDLE
