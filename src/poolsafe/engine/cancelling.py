"""Jobs that nobody wants any more: what has not begun never does, what a worker has at hand is ended.

The part of the engine that knows of it. All items of such a job are settled at once; a part that a worker has stays in
its lane, settled, until it is taken back, its last answer comes, or the worker is gone.

Used by: core, which is built on it. What may go wrong: nothing; a mistake here would be a task that runs though it was
called off, or a lane that is never free again, which is what the model tests look for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .recovery import Recovery
from .state import CANCELLED, Cut, Part


class Cancelling(Recovery):
    """See the module."""

    def cancelled(self, idents: Iterable[int]) -> None:
        """Nobody wants these jobs any more; those that are done are passed over."""
        wanted = {ident for ident in idents if ident in self.jobs}
        if not wanted or not self.active:
            return
        staying: deque[Part] = deque()
        for part in self.pending:
            if part.job.ident in wanted:
                self._call_off(part, part.has_run)
            else:
                staying.append(part)
        self.pending = staying
        for lane in self.lanes.values():
            for ident in lane.parts.keys() & wanted:
                self._call_off(lane.parts[ident], True)
                self.commands.append(Cut(lane.ident, ident))

    def _call_off(self, part: Part, may_have_run: bool) -> None:
        while part.next < part.stop:
            self._settle(part, CANCELLED, may_have_run)
