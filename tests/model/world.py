"""A simulated world around the engine: it carries out the engine's commands as the supervisor does, and judges them.

Used by: the model tests. What the engine decides is held against what really happened to the workers, which know
better than it: which item began, which message was read. Whatever is wrong is an AssertionError that says what.
"""

from __future__ import annotations

from typing import Any

from poolsafe.engine import messages
from poolsafe.engine.core import Engine
from poolsafe.engine.page import IDLE, RUNNING
from poolsafe.engine.state import (
    BROKEN,
    CANCELLED,
    EXHAUSTED,
    LOST,
    MAX_ATTEMPTS,
    STOPPING,
    TERMINATED,
    UNCLEAN,
    Abandon,
    Command,
    Cut,
    Death,
    Fate,
    Finished,
    Job,
    Lost,
    Pause,
    Recall,
    Send,
    Settle,
    Start,
    Stop,
    Terms,
)  # fmt: skip

from .workers import STOP, Message, SimWorker

#: A job that was refused by the parent itself (its arguments do not pickle).
MADE = -1
#: More rounds than this in one go are a loop without end.
MANY = 2000


class Item:
    """The truth about one item."""

    def __init__(self) -> None:
        self.begun = 0
        self.outcome: tuple[int, Any] | None = None


class World:
    """See the module.

    Args:
        engine: The engine.
        recallable: Whether channels can give back what was not read.
        retries: How often each lost item is tried again.
    """

    def __init__(self, engine: Engine, *, recallable: bool, retries: int = 0) -> None:
        self.engine = engine
        self.retries = retries
        self.recallable = recallable
        self.workers: dict[int, SimWorker] = {}
        self.jobs: dict[int, Job] = {}
        self.items: dict[tuple[int, int], Item] = {}
        self.single: set[int] = set()
        self.offers: set[int] = set()
        self.lent: set[int] = set()
        self.unreported: dict[int, int] = {}
        self.interrupted: set[int] = set()
        self.accepted: list[Job] = []
        self.graves: list[SimWorker] = []
        self.next_starts: list[str] = []
        self.cuts: set[tuple[int, int]] = set()
        self.pages: dict[int, tuple[int, ...]] = {}
        self.perished: set[tuple[int, int]] = set()
        self.paused = False
        self.abandoned = False
        self.finished = False
        self._stirred = False
        self._numbers = iter(range(1, 1 << 30))

    # -- what users do -------------------------------------------------------------------------------------------
    def job(self, count: int, *, single: bool) -> Job:
        ident = next(self._numbers)
        terms = Terms(retries=self.retries)
        job = Job(ident, b"", count, lambda index, kind, data: self._settled(ident, index, kind, data), terms=terms)
        self.jobs[ident] = job
        for index in range(count):
            self.items[ident, index] = Item()
        if single:
            self.single.add(ident)
        return job

    def submit(self, count: int, *, single: bool) -> None:
        self.engine.submitted(self._accepted(self.job(count, single=single and count == 1)))

    def fail(self) -> None:
        """A job comes in that cannot be pickled."""
        self.engine.failed(self._accepted(self.job(1, single=True)), MADE, None)

    def open_input(self) -> None:
        self.engine.opened(self._accepted(self.job(1, single=False)))

    def _accepted(self, job: Job) -> Job:
        self.accepted.append(job)
        return job

    def send_past(self, lane: int) -> None:
        """A submitter sends straight to a worker on offer, and has not reported yet."""
        self.offers.discard(lane)
        job = self.job(1, single=True)
        if self.workers[lane].accept(self._message(job, 0, 1)):
            self.unreported[job.ident] = lane
        else:
            self.lent.discard(lane)
            self.engine.submitted(self._accepted(job))

    def report(self, ident: int) -> None:
        lane = self.unreported.pop(ident)
        self.lent.discard(lane)
        self.engine.sent(self._accepted(self.jobs[ident]), lane)

    def interrupt(self, ident: int) -> None:
        """The submitter is interrupted before it could report: for its caller the job does not exist."""
        self.unreported.pop(ident)
        self.interrupted.add(ident)

    def _message(self, job: Job, start: int, stop: int) -> Message:
        return Message(job.ident, start, stop, job.ident in self.single)

    # -- what the supervisor does --------------------------------------------------------------------------------
    def turn(self) -> None:
        """One round of the supervisor's loop, up to its sleep."""
        if self.finished:
            return
        self.carry_out(self.engine.step())
        idle = set(self.engine.idle())
        assert idle <= self.workers.keys()
        self.offers |= idle - self.lent
        self.lent |= idle

    def carry_out(self, commands: list[Command]) -> None:
        for _ in range(MANY):
            if not commands:
                return
            self._stirred = False
            for command in commands:
                self._carry_out(command)
            commands = self.engine.step() if self._stirred else []
        raise AssertionError("the engine never comes to rest")

    def _carry_out(self, command: Command) -> None:
        match command:
            case Settle(job, index, kind, data):
                job.sink(index, kind, data)
            case Start(lane):
                self._start(lane)
            case Send(lane, part, start, stop):
                # As in the supervisor: what was settled in the meantime is not sent.
                known = self.engine.lanes[lane].parts.get(part.job.ident) is part
                if known and not self.workers[lane].accept(self._message(part.job, start, stop)):
                    self.engine.refused(lane, part, start, stop)
                    self._stirred = True
            case Recall(lane):
                ident = self.workers[lane].recall() if self.recallable else None
                if ident is not None:
                    self.engine.recalled(lane, ident)
                    self._stirred = True
            case Cut(lane, job_id):
                self._cut(lane, job_id)
            case Stop(lane):
                self.workers[lane].accept(STOP)
            case Pause(failures):
                assert failures >= 1 or self.engine.spares
                self.paused = True
            case Abandon():
                self.abandoned = True
                for worker in self.workers.values():
                    worker.condemned = True
            case Finished():
                self.finished = True

    def _start(self, lane: int) -> None:
        fate = self.next_starts.pop(0) if self.next_starts else "ok"
        if fate == "no descriptors":
            self.engine.start_failed(lane)
            self._stirred = True
        elif fate == "cannot work":
            self.engine.start_failed(lane)
            self.engine.broken("cannot start")
            self._stirred = True
        else:
            inits: dict[str, str | int] = {"ok": "ok", "raises": "raises", "exits": 3, "killed": -11}
            self.workers[lane] = SimWorker(1000 + lane, self._began, inits[fate])

    def collect(self, lane: int, most: int = MANY) -> None:
        """Reads some of the frames that a worker has sent."""
        outbox = self.workers[lane].outbox
        for _ in range(min(most, len(outbox))):
            self._deliver(lane, *outbox.popleft())

    def _deliver(self, lane: int, kind: int, job: int, index: int, data: Any) -> None:
        if kind == messages.READY:
            self.engine.ready(lane)
        elif kind == messages.INIT_FAILED:
            self.engine.broken("initializer")
        elif kind == messages.RETIRE:
            self.engine.retired(lane, job, data)
        elif kind == messages.LEAVING:
            self.engine.retired(lane, job, None)
        elif kind == messages.DIED:
            exitcode, phase = data
            if phase == RUNNING:
                self.perished.add((job, index))
            self.engine.perished(lane, Death(Fate(-1, exitcode), job, index, phase, frozenset()))
        elif kind == LOST:
            worker = self.workers[lane]
            if not worker.doomed or worker.failed != (job, index):  # else it is the same answer, from the page
                worker.failed = job, index
                self.engine.outcome(lane, job, index, LOST, Lost(Fate(worker.pid, None), True, index))
        else:
            self.engine.outcome(lane, job, index, kind, data)

    def bury(self, lane: int) -> None:
        """A dead worker is noticed: its last words, what it never read, and the page."""
        worker = self.workers[lane]
        self._take_off_offer(lane)
        worker.outbox.extend(worker.log)
        self.collect(lane)
        unread = frozenset(iter(worker.recall, None)) if self.recallable else frozenset()
        self.graves.append(self.workers.pop(lane))
        job, index, phase = worker.page
        fate = Fate(worker.pid, worker.exitcode)
        self.engine.lost(lane, Death(fate, job, index, phase, unread, ended=worker.doomed))

    def everybody_works(self, steps: int) -> None:
        for lane, worker in self.workers.items():
            worker.advance(steps)
            self.collect(lane)
        self.turn()

    def _take_off_offer(self, lane: int) -> None:
        if lane in self.offers:
            self.offers.discard(lane)
            self.lent.discard(lane)

    def cancel(self, idents: list[int]) -> None:
        """Users call jobs off."""
        self.engine.cancelled(idents)

    def _cut(self, lane: int, job: int) -> None:
        worker = self.workers.get(lane)
        known = self.engine.lanes.get(lane)
        part = None if known is None else known.parts.get(job)
        if worker is None or part is None:
            return
        if worker.page[0] == job:
            if worker.page[1] < part.stop:
                worker.kill(-15)
                return
        elif self.recallable:
            for taken in iter(worker.recall, None):
                self.engine.recalled(lane, taken)
                self._stirred = True
                if taken == job:
                    return
        self.cuts.add((lane, job))

    def tick(self) -> None:
        """What the mortuary and the engine do now and then."""
        for lane in self.engine.lanes.values():
            worker = self.workers[lane.ident]
            seen, self.pages[lane.ident] = self.pages.get(lane.ident), tuple(worker.page)
            stuck = worker.page[2] == IDLE and self.pages[lane.ident] == seen
            if stuck if lane.parts and not lane.retired else lane.state == STOPPING:
                worker.condemned = True
        for ident, worker in self.workers.items():
            if worker.doomed and ident % 2 and worker.has_told_all:  # its items have processes of their own
                worker.doomed, worker.failed = False, None
            elif worker.doomed:
                worker.kill()
        cuts, self.cuts = self.cuts, set()
        for lane, job in cuts:
            self._cut(lane, job)
        self.carry_out(self.engine.nudge())

    def resume(self) -> None:
        self.paused = False
        self.engine.resume()

    # -- what is true --------------------------------------------------------------------------------------------
    def _began(self, ident: int, index: int) -> None:
        item = self.items[ident, index]
        item.begun += 1
        assert item.begun <= 1 + self.retries, f"item {index} of job {ident} was run too often"
        if item.outcome is not None:
            kind, data = item.outcome
            ended = kind in (TERMINATED, BROKEN, CANCELLED) and self.may_have_run(kind, data)
            assert ended, f"item {index} of job {ident} began after it was settled with kind {kind}"

    @staticmethod
    def may_have_run(kind: int, data: Any) -> bool:
        """What the user is told."""
        if kind in (TERMINATED, BROKEN):
            return bool(data[1])
        if kind == CANCELLED:
            return bool(data)
        if kind == LOST:
            return bool(data.may_have_run)
        return kind == messages.VALUE

    def _settled(self, ident: int, index: int, kind: int, data: Any) -> None:
        item = self.items[ident, index]
        what = f"item {index} of job {ident}"
        assert ident not in self.interrupted, f"{what} was settled, but does not exist"
        assert item.outcome is None, f"{what} was settled twice: {item.outcome}, then {(kind, data)}"
        item.outcome = (kind, data)
        if kind == messages.VALUE:
            assert item.begun
            assert data == (ident, index), f"{what} got the answer of {data}"
        elif kind == LOST:
            self._check_loss(what, item, ident, index, data)
        elif kind in (UNCLEAN, MADE, EXHAUSTED):
            assert not item.begun or self.retries, f"{what} began, and is said not to have"
            if kind == UNCLEAN:
                self._check_blame(what, ident, data)
        elif not self.may_have_run(kind, data):
            assert not item.begun, f"{what} began, and the pool's end says that it did not"

    def _check_blame(self, what: str, ident: int, data: Any) -> None:
        assert data is not None, f"{what} is given up for what an item before it left"
        reads = sum(worker.read.count(ident) for worker in (*self.workers.values(), *self.graves))
        assert reads >= MAX_ATTEMPTS or not self.recallable, f"{what} is given up, and was read {reads} times"

    def _check_loss(self, what: str, item: Item, ident: int, index: int, data: Any) -> None:
        assert data.item == index or ident in self.single
        if item.begun:
            assert data.may_have_run, f"{what} began, and is said not to have run"
        elif data.may_have_run:
            # A worker may die between saying that it begins and beginning, and in the middle of saying so.
            named = any(worker.page == [ident, index, RUNNING] for worker in self.graves)
            assert named or (ident, index) in self.perished, f"{what} never began, and is said to have run"
