"""From what workers send to the events of the engine.

Used by: supervisor, in its thread. What may go wrong: nothing; a frame of a worker that is not known is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from . import messages
from .core import Engine
from .crew import Crew
from .deadlines import Deadlines
from .mortuary import Mortuary
from .reports import report
from .state import LOST, Fate, Lost
from .tally import Tally

_ANSWERS = frozenset({messages.VALUE, messages.ERROR, messages.FAILED})


class Owner(Protocol):
    """What is needed of the supervisor."""

    engine: Engine
    crew: Crew
    tally: Tally
    deadlines: Deadlines
    mortuary: Mortuary
    listener: Callable[[int, Any], None]

    def give_up_for(self, reason: Any, pid: int | None) -> None:
        """Workers cannot become ready."""


def deliver(owner: Owner, lane: int, frames: list[messages.Frame]) -> None:
    """Tells the engine what a worker sent."""
    engine = owner.engine
    doomed = owner.deadlines.is_overdue(lane)
    for kind, job, index, data in frames:
        if kind in _ANSWERS:
            if not doomed:
                engine.outcome(lane, job, index, kind, data)
            elif not owner.deadlines.has_failed(lane, job, index):
                engine.outcome(lane, job, index, *_judged(owner, lane, kind, job, index, data))
        elif kind == messages.READY:
            engine.ready(lane)
        elif kind == messages.RETIRE:
            engine.retired(lane, job, data)
            owner.tally.retired["something could not be put back"] += 1
        elif kind in (messages.LEAKED, messages.COSTLY):
            owner.listener(kind, messages.loads(data))
        elif kind == messages.LEAVING:
            engine.retired(lane, job, None)
            owner.tally.retired[messages.loads(data)] += 1
        elif kind in (messages.DIED, messages.SPARED):
            owner.mortuary.told(lane, kind, job, index, data)
        elif kind == messages.INIT_FAILED:
            what, facts = messages.loads(data)
            if what == "forkless" and facts["passing"] and engine.proven:  # then it is a matter of waiting
                report(f"a worker could not start a process ({facts['type']}: {facts['text']}); trying again")
            else:
                owner.give_up_for((what, facts), owner.crew.workers[lane].serving)


def _judged(owner: Owner, lane: int, kind: int, job: int, index: int, data: bytes) -> tuple[int, Any]:
    """What an item's answer makes of it: one that fails when its process is told to end is lost to what it took.

    A handler of SIGTERM may raise anything, and that is no error of the task's; but what the task still returns counts.
    """
    overdue = None if kind == messages.VALUE else owner.deadlines.failed(lane, job, index)
    if overdue is None:
        return kind, data
    worker = owner.crew.workers[lane]
    what, told = messages.loads(data)
    text: str = told if kind == messages.ERROR else told.get("traceback", "")
    stack = worker.take_stack() or text  # a handler of the task's own is there instead of the one that writes the stack
    fate = Fate(overdue.pid, None, limit=overdue.limit, used=overdue.used, stack=stack, said=worker.said())
    began = kind == messages.ERROR or what != "unpickle-task"
    return LOST, Lost(fate, began, index)
