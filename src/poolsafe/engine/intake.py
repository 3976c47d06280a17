"""How jobs get from the submitting threads to the supervisor: an inbox, and a fast lane past it.

A submitter that finds an idle worker on offer sends to it straight away and reports that afterwards, without waking the
supervisor, which would cost a hand-over between threads; the worker's answer will wake it. Everybody else appends to
the inbox and wakes the supervisor if it sleeps.

Submitters only use operations of `deque` and a write to a pipe: nothing here can be left half done by an exception
from a signal handler, and a handler that submits to the pool it interrupted finds no lock held.

Two cases need care. A submitter may have taken an offer and not have reported yet: the lane counts as lent, for as long
as the `Offer` lives (it dies with the submitter's frame if that is interrupted). An answer may come before the report.
While there are such lanes, `alert` is set, and reports wake the supervisor. It sets `alert` first and looks for reports
after, a submitter reports first and looks at `alert` after; so one of the two sees the other.

Used by: supervisor (owner), pool (through the supervisor). What may go wrong: a job comes in when the supervisor has
finished: `over` is looked at after every append, and whoever sees it settles what lies there.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .channels import Channel
from .state import Job


class Wakeable(Protocol):
    """What is needed of the poller."""

    def wake(self) -> bool:
        """Ends the wait; False when nothing can."""


class Offer:
    """An idle worker, on offer. Whoever has taken it holds the only strong reference to it until it is reported."""

    __slots__ = ("__weakref__", "channel", "lane")

    def __init__(self, lane: int, channel: Channel) -> None:
        self.lane: int = lane
        self.channel: Channel = channel


class Intake:
    """See the module.

    Args:
        poller: What the supervisor sleeps in.
        submitted: Engine's event for a job from the inbox.
        sent: Engine's event for a job that was sent by its submitter.
        lost: Called when the supervisor cannot be woken any more.
    """

    def __init__(
        self,
        poller: Wakeable,
        submitted: Callable[[Job], None],
        sent: Callable[[Job, int], None],
        lost: Callable[[], object],
    ) -> None:
        self.asleep = False
        self.alert: bool = False
        self.over: Callable[[Job, bool], tuple[int, Any]] | None = None
        self._poller = poller
        self._submitted = submitted
        self._sent = sent
        self._lost = lost
        self._inbox: deque[tuple[Any, Any]] = deque()
        self._reports: deque[tuple[Any, Any]] = deque()
        self._offers: deque[Offer] = deque()
        self._lent: dict[int, weakref.ref[Offer]] = {}

    # -- any thread ----------------------------------------------------------------------------------------------
    def submit(self, job: Job) -> None:
        """Takes one job in."""
        # Otherwise this job would overtake those that wait there; or nobody would look at the time that it takes.
        if not self._inbox and not job.terms.watched:
            offer = self._take_offer()
            if offer is not None and offer.channel.try_send(job.ident, 0, job.count, job.payload):
                self._reports.append((job, offer))
                if self.alert:
                    self._wake()
                self._look_whether_over()
                return
        self.post(self._submitted, job)

    def _take_offer(self) -> Offer | None:
        try:
            return self._offers.popleft()
        except IndexError:
            return None  # nobody is idle

    def submit_all(self, jobs: Iterable[Job]) -> None:
        """Takes several jobs in, in their order."""
        for job in jobs:
            self._inbox.append((self._submitted, (job,)))
        self._rouse()

    def post(self, event: Callable[..., None], *args: Any) -> None:
        """Has `event(*args)` called by the supervisor's thread."""
        self._inbox.append((event, args))
        self._rouse()

    def _rouse(self) -> None:
        if self.asleep:
            self._wake()
        self._look_whether_over()

    def _wake(self) -> None:
        if not self._poller.wake():
            self._lost()

    def _look_whether_over(self) -> None:
        if self.over is not None:
            self.settle_leftovers()

    def settle_leftovers(self) -> None:
        """Settles what came too late for the supervisor. Each entry is taken by exactly one thread."""
        assert self.over is not None
        for box, may_have_run in ((self._reports, True), (self._inbox, False)):
            while box:
                try:
                    entry = box.popleft()
                except IndexError:
                    break
                job = _job_of(entry)
                if job is not None:
                    for index in range(job.count):
                        job.sink(index, *self.over(job, may_have_run))

    # -- the supervisor's thread ---------------------------------------------------------------------------------
    def __bool__(self) -> bool:
        return bool(self._inbox)

    def take(self, busy: bool) -> None:
        """Tells the engine what came in. `busy`: it has jobs waiting for workers, so no worker is to be on offer."""
        if self._inbox or busy:
            self.reclaim()  # before looking into the inbox: nobody can overtake what is found there
        self._take_reports()
        while self._inbox:
            event, args = self._inbox.popleft()
            self._take_reports()  # what calls a job off comes after its report, which may have come just now
            event(*args)

    def _take_reports(self) -> None:
        while self._reports:
            job, offer = self._reports.popleft()
            self._lent.pop(offer.lane, None)
            self._sent(job, offer.lane)

    def offer(self, idle: Iterable[tuple[int, Channel]]) -> None:
        """Puts idle workers on offer, right before the supervisor sleeps."""
        for lane in [lane for lane, offer in self._lent.items() if offer() is None]:
            del self._lent[lane]  # its taker was interrupted, or could not send
        for lane, channel in idle:
            if lane not in self._lent:
                offer = Offer(lane, channel)
                self._lent[lane] = weakref.ref(offer)
                self._offers.append(offer)
        self.alert = len(self._lent) > len(self._offers)

    def pressing(self) -> bool:
        """Whether there is something to take that nobody will wake the supervisor for."""
        return bool(self._inbox) or (self.alert and bool(self._reports))

    def reclaim(self) -> None:
        """Takes everything off offer."""
        while self._offers:
            try:
                self._lent.pop(self._offers.popleft().lane, None)
            except IndexError:
                return  # a submitter took the last one, which counts as lent until it is reported


def _job_of(entry: tuple[Any, Any]) -> Job | None:
    first, second = entry
    if isinstance(first, Job):
        return first
    return next((item for item in second if isinstance(item, Job)), None)
