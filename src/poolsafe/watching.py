"""From what workers tell of leaks and costs to `pool.leaks`, `pool.stats()` and warnings.

Used by: pool. What may go wrong: a worker's log is read twice when it dies; then the same is told twice, and kept once.
"""

from __future__ import annotations

from typing import Any, Final

from .engine.messages import COSTLY
from .engine.reports import report
from .leaks import Leak, Leaks

#: What to do about leaks: nothing, watch in silence, warn, or fail the task.
WAYS: Final = ("ignore", "watch", "warn", "raise")
#: So many tasks are remembered, for telling what came twice.
_REMEMBERED: Final = 10_000


class Listener:
    """What workers tell.

    Args:
        leaks: Where leaks are kept.
        warns: Whether to warn of leaks.

    Attributes:
        dearest: The globals that cost most to put back, with seconds, as the last worker told that had to.
    """

    def __init__(self, leaks: Leaks, *, warns: bool) -> None:
        self._leaks = leaks
        self._warns = warns
        self._seen: set[tuple[int, int]] = set()
        self._warned: set[tuple[str, str]] = set()
        self.dearest: list[tuple[str, float]] = []

    def __call__(self, kind: int, told: Any) -> None:
        """Take in the content of a frame."""
        if kind == COSTLY:
            self._hear_of_costs(*told)
        else:
            self._hear_of_leaks(*told)

    def _hear_of_leaks(
        self, number: tuple[int, int], function: str, arguments: str, changes: list[tuple[str, str, str]]
    ) -> None:
        if number in self._seen:
            return
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen.add(number)
        for path, before, after in changes:
            self._leaks.add(Leak(function, number[1], arguments, path, before, after))
        fresh = [change for change in changes if (function, change[0]) not in self._warned]
        if self._warns and fresh and len(self._warned) < _REMEMBERED:
            self._warned.update((function, change[0]) for change in fresh)
            path, before, after = fresh[0]
            more = f" (and {len(fresh) - 1} more)" if len(fresh) > 1 else ""
            report(f"{function}({arguments}) changed {path}: {before} -> {after}{more}; see pool.leaks")

    def _hear_of_costs(self, share: float, dearest: list[tuple[str, float]]) -> None:
        first = not self.dearest
        self.dearest = dearest
        if first:
            named = ", ".join(f"{target} ({seconds:.2f} s)" for target, seconds in dearest[:3])
            report(
                f"putting globals back takes {share:.0%} of the workers' time, most of it for {named}. Name what tasks "
                "do change (reset=), exempt large tables that they only read (keep=), or give each worker more to do"
            )
