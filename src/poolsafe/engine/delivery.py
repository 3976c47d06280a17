"""From what workers send to the events of the engine.

Used by: supervisor, in its thread. What may go wrong: nothing; a frame of a worker that is not known is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from . import messages
from .core import Engine
from .crew import Crew
from .mortuary import Mortuary
from .reports import report
from .tally import Tally

_ANSWERS = frozenset({messages.VALUE, messages.ERROR, messages.FAILED})


class Owner(Protocol):
    """What is needed of the supervisor."""

    engine: Engine
    crew: Crew
    tally: Tally
    mortuary: Mortuary
    listener: Callable[[int, Any], None]

    def give_up_for(self, reason: Any, pid: int | None) -> None:
        """Workers cannot become ready."""


def deliver(owner: Owner, lane: int, frames: list[messages.Frame]) -> None:
    """Tells the engine what a worker sent."""
    engine = owner.engine
    for kind, job, index, data in frames:
        if kind in _ANSWERS:
            engine.outcome(lane, job, index, kind, data)
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
