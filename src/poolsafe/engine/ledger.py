"""The engine's books: jobs, what is pending, and that every item is settled exactly once.

The part of the engine that knows nothing of workers. Used by: core, which is built on it. What may go wrong: nothing;
a mistake here would be an item settled twice or never, which is what the model tests look for.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from .state import CLOSING, EXHAUSTED, RUNNING, TERMINATED, Command, Job, Part, Settle

_MAX_ORPHANS = 256
#: Kind of an orphan whose message was taken back unread.
RETURNED = -1


class Ledger:
    """See the module."""

    def __init__(self) -> None:
        self.state: str = RUNNING
        self.jobs: dict[int, Job] = {}
        self.pending: deque[Part] = deque()
        self.inputs: dict[int, Part] = {}
        self.orphans: dict[int, tuple[int, Any]] = {}
        self.commands: list[Command] = []
        self._ending: tuple[int, Any] = (TERMINATED, None)

    def take_commands(self) -> list[Command]:
        """Hands out the commands so far, oldest first."""
        commands = self.commands
        self.commands = []
        return commands

    @property
    def active(self) -> bool:
        """Whether jobs are still worked at."""
        return self.state in (RUNNING, CLOSING)

    def failed(self, job: Job, kind: int, data: Any) -> None:
        """A job came in whose only item cannot be sent."""
        if self._accept(job):
            self._settle(Part(job, 0, 1), kind, data)

    def opened(self, job: Job) -> None:
        """An input is being read that brings more jobs, also after `close`. The job stands for its end."""
        if self._accept(job):
            self.inputs[job.ident] = Part(job, 0, job.count)

    def exhausted(self, job: Job) -> None:
        """The input that was opened brings no more jobs."""
        part = self.inputs.pop(job.ident, None)
        if part is not None:
            self._settle(part, EXHAUSTED, None)

    def _accept(self, job: Job, *, may_have_run: bool = False) -> bool:
        self.jobs[job.ident] = job
        if self.active:
            return True
        part = Part(job, 0, job.count)
        while part.next < part.stop:
            self._settle(part, *self.belated(job, may_have_run))
        return False

    def belated(self, job: Job, may_have_run: bool) -> tuple[int, Any]:
        """Kind and data for an item of a job that comes in too late. In any thread, once the pool is over.

        Its submitter may have sent it before the end, and tell so after: then what its worker told meanwhile holds.
        """
        kind, data = self.orphans.pop(job.ident, (None, None))
        if kind is None or kind == RETURNED:
            return self.ending(may_have_run and kind is None)
        return kind, data

    def _keep_orphan(self, job_id: int, kind: int, data: Any) -> None:
        if len(self.orphans) >= _MAX_ORPHANS:  # the oldest are of submitters that were interrupted
            del self.orphans[next(iter(self.orphans))]
        self.orphans[job_id] = (kind, data)

    def _requeue(self, part: Part, start: int, stop: int) -> None:
        if start < stop and part.job.ident in self.jobs:
            self.pending.appendleft(Part(part.job, start, stop, part.attempts, part.past))

    def ending(self, may_have_run: bool = False) -> tuple[int, Any]:
        """Kind and data by which the pool's end settles an item."""
        kind, reason = self._ending
        return kind, (reason, may_have_run)

    def _abort(self, part: Part, may_have_run: bool) -> None:
        while part.next < part.stop:
            self._settle(part, *self.ending(may_have_run or part.has_run))

    def _settle(self, part: Part, kind: int, data: Any) -> None:
        job = part.job
        self.commands.append(Settle(job, part.next, kind, data))
        part.advance()
        job.remaining -= 1
        if not job.remaining:
            del self.jobs[job.ident]
