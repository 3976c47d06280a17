"""What a pool tells of its work: `IsolatedPool.stats()`.

Used by: pool. What may go wrong: nothing; figures of a pool at work are those of a moment ago.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .engine.latch import Latch
from .engine.supervisor import Supervisor

#: Seconds for which the supervisor's turn is waited for.
_PATIENCE = 0.05


@dataclass(frozen=True)
class Stats:
    """What a pool has done so far.

    Attributes:
        tasks: Tasks that a worker has answered for, with a value or an exception.
        lost: Tasks that were lost with their worker, those that took too long included.
        retried: How often a task was tried again.
        retired: Workers that were replaced because a task left what cannot be undone, by reason.
        seconds_in_tasks: Seconds in which workers were busy with tasks, pickling included.
        seconds_in_resets: Seconds in which workers put things back. After a worker's first tasks it is an estimate from
            one task in sixteen.
        dearest: The globals that cost most to put back, as targets, with the seconds that one worker spent on each;
            known once putting things back takes a tenth of the time.
        carried: Plain queues, locks and the like that were passed to tasks, by type, with how many times.
    """

    tasks: int
    lost: int
    retried: int
    retired: Mapping[str, int]
    seconds_in_tasks: float
    seconds_in_resets: float
    dearest: Sequence[tuple[str, float]]
    carried: Mapping[str, int]


Stats.__module__ = "poolsafe"


def gather(supervisor: Supervisor, dearest: Sequence[tuple[str, float]], carried: Mapping[str, int]) -> Stats:
    """The figures of now, with what workers told of the dearest globals, and what was carried to tasks."""
    wait_for_turn(supervisor)
    tally = supervisor.tally
    busy, resets = tally.times(supervisor.crew.times())
    return Stats(
        tally.done,
        tally.lost,
        supervisor.engine.retried,
        dict(tally.retired),
        max(busy - resets, 0.0),
        resets,
        tuple(dearest),
        dict(carried),
    )


def wait_for_turn(supervisor: Supervisor) -> None:
    """Waits until the supervisor has taken in what came so far; not for long, should it be over."""
    if not (supervisor.finished.is_open or supervisor.foreign):
        turn = Latch()
        supervisor.intake.post(turn.open)
        turn.wait(_PATIENCE)
