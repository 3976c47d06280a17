"""Jobs that nobody wants any more: what has not begun never does, what a worker has at hand is ended.

The part of the engine that knows of it. All items of such a job are settled at once; a part that a worker has stays in
its lane, settled, until it is taken back, its last answer comes, or the worker is gone.

Used by: core, which is built on it. What may go wrong: nothing; a mistake here would be a task that runs though it was
called off, or a lane that is never free again, which is what the model tests look for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from .recovery import Recovery
from .state import CANCELLED, Cut, Part, Tell


class Cancelling(Recovery):
    """See the module."""

    def cancelled(self, idents: Iterable[int], then: Callable[[], object] | None = None) -> None:
        """Nobody wants these jobs any more; those that are done are passed over. In the end `then` is to be called."""
        wanted = {ident for ident in idents if ident in self.jobs}
        if wanted and self.active:
            self._call_all_off(wanted)
        if then is not None:
            self.commands.append(Tell(then))

    def disowned(self, owner: Any, then: Callable[[], object] | None = None) -> None:
        """The same for all jobs of this owner."""
        self.cancelled([ident for ident, job in self.jobs.items() if job.owner is owner], then)

    def _call_all_off(self, wanted: set[int]) -> None:
        staying: deque[Part] = deque()
        for part in self.pending:
            if part.job.ident in wanted:
                self._call_off(part, part.has_run)
            else:
                staying.append(part)
        self.pending = staying
        for lane in self.lanes.values():
            off = [ident for ident in lane.parts if ident in wanted]
            for ident in off:
                self._call_off(lane.parts[ident], True)
            # The newest first: when the one at hand is ended, and its worker lives on, none may be left for it to read.
            self.commands.extend(Cut(lane.ident, ident) for ident in reversed(off))
        for ident in self.inputs.keys() & wanted:  # last: what waits for the end of the input has everything then
            self._call_off(self.inputs.pop(ident), False)

    def _call_off(self, part: Part, may_have_run: bool) -> None:
        while part.next < part.stop:
            self._settle(part, CANCELLED, may_have_run)
