"""What a pool has done so far: counted by the supervisor's thread, read by any.

Used by: supervisor and mortuary (count), pool (`stats`). What may go wrong: nothing; a reader may see a count that is
one task behind another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .messages import ERROR, FAILED, VALUE
from .state import LOST


class Tally:
    """See the module.

    Attributes:
        settled: Tasks by the kind of their outcome.
        retired: Workers that were replaced because something could not be undone, by reason.
        busy, resets: Seconds of workers that are gone: at work, and of these in putting things back.
    """

    def __init__(self) -> None:
        self.settled: Counter[int] = Counter()
        self.retired: Counter[str] = Counter()
        self.busy: float = 0.0
        self.resets: float = 0.0

    @property
    def done(self) -> int:
        """Tasks that a worker has answered for, with a value or an error."""
        return self.settled[VALUE] + self.settled[ERROR] + self.settled[FAILED]

    @property
    def lost(self) -> int:
        """Tasks that were lost with their worker."""
        return self.settled[LOST]

    def add_times(self, busy: float, resets: float) -> None:
        """A worker is gone."""
        self.busy += busy
        self.resets += resets

    def times(self, living: Iterable[tuple[float, float]]) -> tuple[float, float]:
        """Seconds of all workers, with those that are there now."""
        busy, resets = self.busy, self.resets
        for more_busy, more_resets in living:
            busy += more_busy
            resets += more_resets
        return busy, resets
