"""Looks at the memory of workers while tasks run, and has those ended that have far too much.

A worker that has grown is replaced between two tasks, by itself (`engine.child`). This is for the task that does not
come to its end before the machine has no memory left: above twice of what workers may keep, its process is ended.

Used by: supervisor. Looks a few times a second, while there are tasks, and never in an idle pool. What may go wrong:
nobody can tell what a process has; then it is left alone. What grows faster than that is for the kernel to end.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from .core import Engine
from .crew import Crew
from .deadlines import Deadlines
from .memory import resident
from .page import IDLE
from .timers import Timers

#: Seconds between two looks.
INTERVAL = 0.1
#: How many times what a worker may keep a task may have.
MARGIN = 2


class Watchdog:
    """See the module.

    Args:
        most: Bytes that a worker may keep after a task; None for no limit.
        engine, crew, deadlines, timers: The supervisor's.
        resident: Bytes that a process has.
    """

    def __init__(
        self,
        most: int | None,
        engine: Engine,
        crew: Crew,
        deadlines: Deadlines,
        timers: Timers,
        resident: Callable[[int], int | None] = resident,
    ) -> None:
        self._most = most
        self._engine = engine
        self._crew = crew
        self._deadlines = deadlines
        self._timers = timers
        self._resident = resident
        self._awake = False

    def wake(self) -> None:
        """Looks again and again while there are tasks; to be called whenever there may be some again."""
        if self._most is not None and not self._awake and self._engine.jobs:
            self._awake = True
            self._timers.after(INTERVAL, self._look_round)

    def _look_round(self) -> None:
        self._awake = False
        for lane, known in self._engine.lanes.items():
            if known.parts and lane in self._crew.workers:
                self._look(lane)

    def _look(self, lane: int) -> None:
        worker = self._crew.workers[lane]
        begun = worker.begun()
        pid = worker.serving
        if begun.phase == IDLE or worker.since() == inf or pid is None or self._most is None:
            return  # between two tasks, or sending the answer of one that is done
        used = self._resident(pid)
        if used is not None and used > MARGIN * self._most:
            self._deadlines.outgrown(lane, begun, used)
