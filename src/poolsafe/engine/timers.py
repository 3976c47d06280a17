"""Timers of the supervisor: calls to be made later, by an injected clock.

Used by: supervisor, mortuary. What may go wrong: nothing.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

_LONGEST = 86400.0


class Timers:
    """Calls in the order of their moments.

    Args:
        clock: Seconds, rising, from any origin.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._heap: list[tuple[float, int, Callable[[], Any]]] = []
        self._order = itertools.count()

    def after(self, delay: float, call: Callable[[], Any]) -> None:
        """Has `call` made by `run_due`, `delay` seconds from now at the earliest."""
        heapq.heappush(self._heap, (self.clock() + delay, next(self._order), call))

    def timeout(self) -> float | None:
        """Seconds until the next one is due, a day at most; None when there is none."""
        # poll(2) counts milliseconds in an int, so a month would be too long.
        return min(max(self._heap[0][0] - self.clock(), 0.0), _LONGEST) if self._heap else None

    def run_due(self) -> None:
        """Makes the calls whose moment has come; not those that they arrange, whose turn is the next time.

        The clock goes on while calls are made: if those that are arranged meanwhile counted as well, one that arranges
        itself anew for a moment that is near enough would be made for ever, and nothing else would be done.
        """
        now, first_new = self.clock(), next(self._order)
        while self._heap and self._heap[0][0] <= now and self._heap[0][1] < first_new:
            heapq.heappop(self._heap)[2]()
