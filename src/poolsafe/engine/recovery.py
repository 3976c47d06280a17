"""What a death means for the tasks that the worker had: which goes on elsewhere, and which is lost.

The part of the engine that knows deaths. Used by: core, which is built on it. What may go wrong: nothing;
a mistake here would be a task run twice, or never, which is what the model tests look for.
"""

from __future__ import annotations

from typing import Any

from .ledger import Ledger
from .state import LOST, MAX_ATTEMPTS, Death, Lane, Lost, Part


class Recovery(Ledger):
    """See the module.

    Attributes:
        retried: How many items were tried again.
    """

    lanes: dict[int, Lane]

    def __init__(self) -> None:
        super().__init__()
        self.retried: int = 0

    def perished(self, lane_id: int, death: Death) -> None:
        """The process that ran one item is dead, and its worker goes on. What it answered was given to `outcome`."""
        lane = self.lanes[lane_id]
        lane.full, lane.doubted = False, 0
        part = lane.parts.pop(death.job, None)
        if part is not None:
            self._recover(part, death)
        elif death.job not in self.jobs and self.active:  # it was sent past us, and nobody has told us yet
            self._keep_orphan(death.job, LOST, death.loss(death.phase > 1))

    def _conclude(self, part: Part, kind: int, data: Any) -> None:
        """What the next item came to: an answer, or a loss."""
        if kind == LOST:
            self._lose(part, data)
        else:
            self._settle(part, kind, data)

    def _lose(self, part: Part, loss: Lost) -> None:
        """The next item was lost with its worker: it is tried again, alone, as often as may be."""
        job = part.job
        if len(part.past) >= job.terms.retries:
            self._settle(part, LOST, self._told(part, loss))
            return
        self.retried += 1
        self.pending.appendleft(Part(job, part.next, part.next + 1, past=(*part.past, loss)))
        part.advance()

    @staticmethod
    def _told(part: Part, loss: Lost) -> Lost:
        return loss._replace(past=part.past, may_have_run=loss.may_have_run or part.has_run) if part.past else loss

    def _recover(self, part: Part, death: Death) -> None:
        job = part.job
        if job.ident not in self.jobs:
            return
        at_hand = death.job == job.ident and death.phase and part.next <= death.index < part.stop
        if death.ended and not death.fate.deserved and death.phase == 1:
            at_hand = False  # the worker was ended for another item, just as it took this one up, which did not begin
        if job.ident in death.unread:
            pass  # so it cannot be at fault
        elif not at_hand:  # received but not begun, or between two items of a chunk
            if part.next == part.start and not death.ended:  # it may be at fault that workers die before it
                part.attempts += 1
            if part.attempts >= MAX_ATTEMPTS:
                self._settle(part, LOST, self._told(part, death.loss(False, part)))
        else:
            while part.next < death.index:  # cannot happen while workers answer in order; never leave one waiting
                self._settle(part, LOST, death.loss(True, part))
            self._lose(part, death.loss(death.phase > 1, part))
        self._requeue(part, part.next, part.stop)
