"""What is wrong with what came of a plan.

Who uses it: the program and its test. What may go wrong: a complaint about a task that was unlucky; so whatever the
accidents of a plan, or a slow machine, may bring about is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from poolsafe import TaskMemoryExceeded, TaskTimeout

from .deeds import DEEDS, LARGE, Given
from .plan import Plan

#: Kinds of outcomes: a value; an error; an error of the whole call; of several values one was missing.
VALUE, ERROR, WHOLE, UNKNOWN = "value", "error", "whole", "unknown"


class Outcome(NamedTuple):
    """What came of one task."""

    kind: str
    value: Any = None


class Harvest(NamedTuple):
    """What came of a plan: for each task, its outcome, how often it began, its draw; the queue; what is odd."""

    outcomes: dict[int, Outcome]
    begun: Counter[int]
    draws: dict[int, float]
    queued: Counter[int]
    oddities: list[str]


def complaints(plan: Plan, harvest: Harvest) -> Iterator[str]:
    """One line for each thing that must not be."""
    yield from harvest.oddities
    for number, deed in enumerate(plan.deeds):
        outcome = harvest.outcomes.get(number)
        what = f"task {number} ({deed})"
        if outcome is None:
            yield f"{what} has no outcome"
            continue
        begun = harvest.begun[number]
        if begun > plan.runs:
            yield f"{what} began {begun} times"
        if outcome.kind == VALUE:
            yield from (f"{what} {words}" for words in _about_value(plan, harvest, number, outcome.value))
        elif outcome.kind == ERROR:
            yield from (f"{what} {words}" for words in _about_error(plan, number, outcome.value, begun))


def _about_value(plan: Plan, harvest: Harvest, number: int, value: Any) -> Iterator[str]:
    deed = plan.deeds[number]
    if not harvest.begun[number]:
        yield "has a value, and never began"
    if not DEEDS[deed].gives and not _disturbed(plan):
        yield f"has a value: {value!r:.100}"
    if plan.with_queue and not _disturbed(plan) and not harvest.queued[number]:
        yield "has a value, and what it put is not in the queue"
    more = bytes(LARGE) if deed == "large" else None
    if not isinstance(value, Given) or (value.number, value.size, value.more) != (number, plan.sizes[number], more):
        yield f"gave {value!r:.100}"
        return
    if value.met:
        yield f"met what another task had left: {', '.join(value.met)}"
    if value.draw != harvest.draws[number]:
        yield f"drew {value.draw} instead of {harvest.draws[number]}"


def _about_error(plan: Plan, number: int, error: BaseException, begun: int) -> Iterator[str]:
    if begun and not getattr(error, "may_have_run", True):
        yield f"began, and is said not to have run: {error!r:.300}"
    called_off = any(call.called_off and call.first == number for call in plan.calls)
    slow = isinstance(error, (TaskTimeout, TaskMemoryExceeded))  # on a busy machine, any of them may be
    if _disturbed(plan) or called_off or (slow and plan.deeds[number] not in ("sleep", "hold the GIL")):
        return
    if not DEEDS[plan.deeds[number]].expect(error):
        yield f"came to {type(error).__name__}: {error!r:.500}"


def _disturbed(plan: Plan) -> bool:
    return plan.early or any(plan.accidents)
