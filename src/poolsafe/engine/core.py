"""The engine's decisions, pure: events in, commands out. No process, thread, clock or I/O.

Which task goes to which worker, what a death means for each task the worker had, when the pool is done. Run by the
supervisor's thread alone, and by the model tests, in which crashes are ordinary events.

Words: a *job* is what was submitted in one message (a call, or a chunk of a map) and holds 1..n items; a *part* is a
run of a job's items that is pending or with a worker; a *lane* is a worker with its channel. Every item of every job is
settled exactly once, by the `Settle` command.

States of a lane::

    STARTING --ready--> READY --stop, retire, spent--> STOPPING --lost--> (gone)
        |                 `-------------lost--------------------------------^
        `---lost: start again, or the pool is broken

States of the engine::

    RUNNING --close--> CLOSING --no job, no lane left--> FINISHED
        `--terminate, broken--> ENDING --no lane left----^

A worker takes its messages in order and answers each item before it begins the next. So of the parts a dead worker
had, those unread were never begun, and of the rest only the item its page names can have been cut short.

As a submitting thread may send straight to an idle worker and tell the engine afterwards (`sent`), an answer may come
for a job the engine does not know yet, and waits in `orphans`. A job whose `sent` never comes does not exist.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from .cancelling import Cancelling
from .ledger import RETURNED
from .state import (
    BROKEN,
    CLOSING,
    ENDING,
    FINISHED,
    LOST,
    MAX_ATTEMPTS,
    MAX_BARREN,
    READY,
    RUNNING,
    SPARE_START_DEATHS,
    STARTING,
    STOPPING,
    TERMINATED,
    UNCLEAN,
    Abandon,
    Command,
    Death,
    Finished,
    Job,
    Lane,
    Part,
    Pause,
    Recall,
    Send,
    Start,
    Stop,
)  # fmt: skip


class Engine(Cancelling):
    """Decides for one pool.

    Args:
        processes: Workers to keep.
        depth: Messages a worker may have at once, the one it works at included.
        budget: Items after which a worker is replaced, or None.
        spares: Whether a worker that works at its last item is replaced already: one is ready when it is done. Then no
            more than `processes` are given anything at a time.
    """

    state: str

    def __init__(self, processes: int, depth: int = 16, budget: int | None = None, *, spares: bool = False) -> None:
        super().__init__()
        self.spares = spares
        self.processes = processes
        self.depth = depth
        self.budget = budget
        self.lanes: dict[int, Lane] = {}
        self._numbers = itertools.count()
        self._doubts = itertools.count(1)
        self._paused = False
        self._failures = self._start_deaths = self._barren = 0
        self.proven: bool = False  # that workers can become ready

    def submitted(self, job: Job) -> None:
        """A job came in that nobody has yet."""
        if self._accept(job):
            self.pending.append(Part(job, 0, job.count))

    def sent(self, job: Job, lane_id: int) -> None:
        """A job came in that its submitter has sent to the lane already."""
        if not self._accept(job, may_have_run=True):
            return
        part = Part(job, 0, job.count)
        kind, data = self.orphans.pop(job.ident, (None, None))
        lane = self.lanes.get(lane_id)
        if kind is not None and kind != RETURNED:
            self._conclude(part, kind, data)
        elif lane is None or kind == RETURNED:
            self.pending.appendleft(part)  # the worker is gone, and never read it
        else:
            lane.parts[job.ident] = part

    def outcome(self, lane_id: int, job_id: int, index: int, kind: int, data: Any) -> None:
        """A worker answered for an item, or (LOST) failed as it was told to end. What came before is passed over."""
        lane = self.lanes[lane_id]
        lane.full, lane.doubted = False, 0
        self._barren = 0
        part = lane.parts.get(job_id)
        if part is None:
            if job_id not in self.jobs and self.active:
                self._keep_orphan(job_id, kind, data)
            return
        if index == part.next:
            self._conclude(part, kind, data)
        if part.next == part.stop == index + 1:
            del lane.parts[job_id]

    def refused(self, lane_id: int, part: Part, start: int, stop: int) -> None:
        """The channel did not take what `Send` named; nothing of it was sent."""
        lane = self.lanes[lane_id]
        lane.full = True
        lane.parts.pop(part.job.ident, None)
        if lane.budget is not None:
            lane.budget += stop - start
        self._requeue(part, start, stop)

    def recalled(self, lane_id: int, job_id: int) -> None:
        """A message was taken back that the worker had not read."""
        lane = self.lanes[lane_id]
        part = lane.parts.pop(job_id, None)
        if part is None:
            if job_id not in self.jobs:
                self._keep_orphan(job_id, RETURNED, None)
            return
        if lane.budget is not None:
            lane.budget += part.stop - part.start
        lane.doubted = next(self._doubts)  # it may be stopped: until it answers, others go first
        self._requeue(part, part.start, part.stop)

    def adopt(self) -> int:
        """A new lane, for a worker that is being started."""
        ident = next(self._numbers)
        self.lanes[ident] = Lane(ident, self.budget)
        return ident

    def ready(self, lane_id: int) -> None:
        """The worker's initializer has run."""
        lane = self.lanes[lane_id]
        if lane.state == STARTING:
            lane.state = READY
        self._start_deaths = self._failures = 0
        self.proven = True

    def start_failed(self, lane_id: int) -> None:
        """The worker could not be started (no descriptors, no memory, no processes): try again later."""
        del self.lanes[lane_id]
        self._failures += 1
        self._pause()

    def resume(self) -> None:
        """The pause is over."""
        self._paused = False

    def _pause(self) -> None:
        """Starts no worker for a while."""
        if not self._paused:
            self._paused = True
            self.commands.append(Pause(self._failures))

    def retired(self, lane_id: int, job_id: int, data: Any) -> None:
        """The worker begins no item any more. With `data` the item at hand may be at fault, without an earlier one."""
        lane = self.lanes[lane_id]
        lane.state = STOPPING
        lane.retired = True
        part = lane.parts.pop(job_id, None)
        if part is None:
            if job_id and job_id not in self.jobs:
                self._keep_orphan(job_id, RETURNED, None)
            return
        if data is not None:
            part.attempts += 1
            if part.attempts >= MAX_ATTEMPTS and part.next < part.stop:
                self._settle(part, UNCLEAN, data)
        self._requeue(part, part.next, part.stop)

    def lost(self, lane_id: int, death: Death) -> None:
        """The worker is dead, expected or not. Everything it answered has been given to `outcome` before."""
        lane = self.lanes.pop(lane_id)
        if lane.state == STARTING and self.active:
            self._died_early(death)
        elif lane.state == READY:
            self._barren += 1
            if self._barren >= MAX_BARREN:
                self._failures = max(self._failures, 1)
                self._pause()
        for part in reversed(lane.parts.values()):  # each goes to the front, so the oldest ends up first
            self._recover(part, death)
        unknown = death.job not in lane.parts and death.job not in self.jobs and death.job not in self.orphans
        if death.phase and unknown and self.active:
            self._keep_orphan(death.job, LOST, death.loss(death.phase > 1))

    def _died_early(self, death: Death) -> None:
        fate = death.fate
        if fate.scarce and self.proven:
            self._failures += 1
            self._pause()
            return
        self._start_deaths += 1
        killed = fate.exitcode is None or fate.exitcode < 0 or fate.hindered or fate.cut_off  # or nobody can tell
        if not killed or self._start_deaths > self.processes + SPARE_START_DEATHS:
            self.broken((("died", {"exitcode": fate.exitcode, "said": fate.said, "cut_off": fate.cut_off}), fate.pid))

    def close(self) -> None:
        """No more jobs are to come; finish what there is."""
        if self.state == RUNNING:
            self.state = CLOSING

    def terminate(self, failure: str | None = None) -> None:
        """Settle everything as terminated and end all workers; because of a failure of our own, if there is one."""
        self._end(TERMINATED, failure)

    def broken(self, data: Any) -> None:
        """Workers cannot become ready; settle everything with the reason and end all workers."""
        self._end(BROKEN, data)

    def _end(self, kind: int, data: Any) -> None:
        if not self.active:
            return
        self.state = ENDING
        self._ending = (kind, data)
        for part in (*self.pending, *self.inputs.values()):
            self._abort(part, may_have_run=False)
        self.pending.clear()
        self.inputs.clear()
        for lane in self.lanes.values():
            for part in lane.parts.values():
                self._abort(part, may_have_run=True)
            lane.parts.clear()
            lane.state = STOPPING
        self.commands.append(Abandon())

    def step(self) -> list[Command]:
        """Decides what follows from the events since the last step, and hands out the commands, oldest first."""
        if self.state == CLOSING and not self.jobs:
            self._stop_all()
        elif self.active:
            self._staff()
            for lane in filter(lambda lane: lane.retired, self.lanes.values()):  # reads no more, may be slow to exit
                self.commands.extend(Recall(lane.ident) for _ in lane.parts)
            if self.pending:
                self._dispatch()
            else:
                self._steal(2)
        if not self.lanes and (self.state == ENDING or (self.state == CLOSING and not self.jobs)):
            self.state = FINISHED
            self.commands.append(Finished())
        return self.take_commands()

    def nudge(self) -> list[Command]:
        """Now and then: tries full channels again, and takes back what a stopped worker has not read."""
        for lane in self.lanes.values():
            lane.full = False
        if self.active:
            waiting = bool(self.pending)
            if waiting:
                self._dispatch()
            if self.spares or not waiting:  # a spare may be idle because stopped workers count among those at work
                self._steal(1)
        return self.take_commands()

    def idle(self) -> Iterable[int]:
        """Lanes to which a submitter may send by itself."""
        if self.pending or self.state != RUNNING or self.budget is not None:
            return ()  # a budget is counted here, before a message is sent
        lanes = self.lanes.values()
        return [lane.ident for lane in lanes if lane.state == READY and not lane.parts and not lane.doubted]

    def _staff(self) -> None:
        if not self._paused:
            wanted, room = self.openings()
            for _ in range(min(wanted, room)):
                self.commands.append(Start(self.adopt()))

    def openings(self) -> tuple[int, int]:
        """How many workers are wanted besides, and for how many there is room: those that leave may take their time."""
        lanes = self.lanes.values()
        leaving = sum(lane.retired or (self.spares and lane.state == STOPPING) for lane in lanes)
        return self.processes - (len(lanes) - leaving), 2 * self.processes - len(lanes)

    def _stop_all(self) -> None:
        for lane in self.lanes.values():
            if lane.state != STOPPING:
                self._stop(lane)

    def _stop(self, lane: Lane) -> None:
        lane.state = STOPPING
        self.commands.append(Stop(lane.ident))

    def _dispatch(self) -> None:
        """Sends pending parts ahead, breadth first, so that no worker is given a second one while another has none."""
        lanes = [lane for lane in self.lanes.values() if lane.state == READY and not lane.full]
        lanes.sort(key=lambda lane: lane.doubted)
        if self.spares:
            del lanes[max(self.processes - sum(bool(lane.parts) for lane in self.lanes.values()), 0) :]
        for level in range(self.depth):
            for lane in lanes:
                if not self.pending:
                    return
                # One part of a job to a lane: its answers are told apart by the job.
                if len(lane.parts) <= level and lane.state == READY and self.pending[0].job.ident not in lane.parts:
                    self._send(lane, self.pending.popleft())

    def _send(self, lane: Lane, part: Part) -> None:
        if part.job.ident not in self.jobs:
            return
        if lane.budget is not None and part.stop - part.start > lane.budget:
            rest = Part(part.job, part.start + lane.budget, part.stop)
            part.stop = rest.start
            self.pending.appendleft(rest)
        lane.parts[part.job.ident] = part
        self.commands.append(Send(lane.ident, part, part.start, part.stop))
        if lane.budget is not None:
            self._spend(lane, part.stop - part.start)

    def _spend(self, lane: Lane, items: int) -> None:
        assert lane.budget is not None
        lane.budget -= items
        if lane.budget <= 0 and lane.state == READY:
            self._stop(lane)
            if self.spares and not self.pending:  # the task may be done sooner than its worker is replaced
                self._pause()

    def _steal(self, least: int) -> None:
        """A task must not wait behind a running one while another worker has nothing to do."""
        idle = sum(1 for lane in self.lanes.values() if lane.state == READY and not lane.parts)
        if not idle:
            return
        donors = [lane for lane in self.lanes.values() if len(lane.parts) >= least]
        donors.sort(key=lambda lane: -len(lane.parts))
        if least > 1:  # of several parts at least one is unread; of a single one nobody knows, so all are asked
            del donors[idle:]
        self.commands.extend(Recall(lane.ident) for lane in donors)
