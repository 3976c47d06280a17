"""A few random plans are played with each run of the suite; and the judge complains of what must not be.

Who uses it: pytest. What may go wrong: a plan takes long, or its complaint hangs on the moment; then play it again by
its number: ``python -m tests.fuzz``.
"""

from __future__ import annotations

import multiprocessing as mp
from collections import Counter
from collections.abc import Callable

import pytest

from poolsafe import TaskTimeout, WorkerLost
from tests.support.scripts import ROOT, run_python

from .deeds import LARGE, Given
from .judge import ERROR, VALUE, Harvest, Outcome, complaints
from .plan import Accidents, Call, Plan

LEVELS = ("globals", "fork", "process")
#: Two of the quick ones: with accidents and a queue.
SEEDS = (28, 31)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("start_method", mp.get_all_start_methods())
def test_a_random_plan(start_method: str, level: str, seed: int) -> None:
    # In a program of its own, because a fork has all that its program has in memory, and max_memory= counts it.
    options = ("--start-method", start_method, "--level", level)
    program = run_python("-m", "tests.fuzz", str(seed), str(seed + 1), *options, cwd=ROOT)
    assert program.returncode == 0, program.stdout + program.stderr
    assert f"{seed}: {level} under {start_method}" in program.stdout


# -- the judge ---------------------------------------------------------------------------------------------------------
def planned(*deeds: str, with_queue: bool = False, **accidents: bool) -> Plan:
    calls = [Call("apply", number, number + 1, 1, called_off=False) for number in range(len(deeds))]
    options = {"retries": 0, "seed": 0, "isolation": "globals"}
    return Plan(0, "fork", False, options, Accidents(**accidents), list(deeds), calls, with_queue, False, "close")


def right(plan: Plan) -> Harvest:
    """What comes of it when all goes well."""
    values = {
        number: Outcome(VALUE, Given(number, plan.sizes[number], 0.5, (), bytes(LARGE) if deed == "large" else None))
        for number, deed in enumerate(plan.deeds)
    }
    once = Counter(range(len(plan.deeds)))
    return Harvest(values, once, dict.fromkeys(values, 0.5), once if plan.with_queue else Counter(), [])


def of(outcome: Outcome) -> Callable[[Harvest], Harvest]:
    return lambda harvest: harvest._replace(outcomes={**harvest.outcomes, 1: outcome})


def lost(code: int, *, ran: bool = True, cause: str = "") -> Outcome:
    return Outcome(ERROR, WorkerLost("lost", cause=cause, exitcode=code, may_have_run=ran))


SILENT = "it closed the file descriptors; the pool ended what was left."
WRONG: dict[str, tuple[str, str, Callable[[Harvest], Harvest]]] = {
    "no outcome": ("nothing", "has no outcome", lambda harvest: harvest._replace(outcomes={0: harvest.outcomes[0]})),
    "twice": ("nothing", "began 2 times", lambda harvest: harvest._replace(begun=Counter([0, 1, 1]))),
    "never began": ("nothing", "never began", lambda harvest: harvest._replace(begun=Counter([0]))),
    "another's value": ("nothing", "gave", of(Outcome(VALUE, Given(0, 1, 0.5, ())))),
    "another's size": ("nothing", "gave", of(Outcome(VALUE, Given(1, 2, 0.5, ())))),
    "cut short": ("large", "gave", of(Outcome(VALUE, Given(1, 1, 0.5, (), bytes(LARGE - 1))))),
    "dirty": (
        "nothing",
        "met what another task had left: a global",
        of(Outcome(VALUE, Given(1, 1, 0.5, ("a global",)))),
    ),
    "other numbers": ("nothing", "drew 0.25", of(Outcome(VALUE, Given(1, 1, 0.25, ())))),
    "not in the queue": ("nothing", "not in the queue", lambda harvest: harvest._replace(queued=Counter([0]))),
    "lost for nothing": ("nothing", "came to WorkerLost", of(lost(-9))),
    "ran for all that": ("kill", "is said not to have run", of(lost(-9, ran=False))),
    "another signal": ("crash", "came to WorkerLost", of(lost(-9))),
    "another cause": ("kill", "came to WorkerLost", of(lost(-9, cause=SILENT))),
    "no cause": ("close", "came to WorkerLost", of(lost(-9))),
    "no stack": ("sleep", "came to TaskTimeout", of(Outcome(ERROR, TaskTimeout("late", stack="in somewhere else")))),
    "a value of the dead": ("exit", "has a value", lambda harvest: harvest),
    "odd": ("nothing", "came twice", lambda harvest: harvest._replace(oddities=["a result came twice"])),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_judge_complains(name: str) -> None:
    deed, words, spoil = WRONG[name]
    plan = planned("nothing", deed, with_queue="queue" in name)
    [complaint] = complaints(plan, spoil(right(plan)))
    assert words in complaint


def test_the_judge_is_content() -> None:
    plan = planned("nothing", "large", "close", "nap", with_queue=True)
    assert list(complaints(plan, right(plan))) == []
    plan = planned("nothing", "kill", "close", "sleep")
    stack = TaskTimeout("late", stack="in do")
    harvest = right(plan)
    for number, outcome in {1: lost(-9), 2: lost(112, cause=SILENT), 3: Outcome(ERROR, stack)}.items():
        harvest.outcomes[number] = outcome
    assert list(complaints(plan, harvest)) == []


def test_accidents_excuse_a_death_and_no_lie() -> None:
    plan = planned("nothing", "nothing", kills=True)
    assert list(complaints(plan, of(lost(-9))(right(plan)))) == []
    assert list(complaints(plan, of(lost(-9, ran=False))(right(plan)))) != []
