"""Histories by a die with fixed weights: the same rules as the machine's, many more of them in the same time.

Hypothesis finds the shortest history that shows a mistake; a die shows quickly whether there is one. Used by:
`test_engine`, `test_mutants`. A seed gives the same history with every version of everything.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from poolsafe.engine.core import Engine

from .machine import BAD_STARTS, FATAL_STARTS, EngineMachine

Arguments = dict[str, Any]


def _now(die: random.Random) -> bool:
    return die.random() < 0.8


def _seldom(die: random.Random) -> bool:
    return die.random() < 0.1


def _lane(die: random.Random) -> int:
    return die.randrange(6)


MOVES: dict[str, tuple[float, Callable[[random.Random], Arguments]]] = {
    "submit": (
        4,
        lambda die: {
            "counts": [die.randint(1, 6) for _ in range(die.randint(1, 4))],
            "single": die.random() < 0.5,
            "now": _now(die),
        },
    ),
    "send_past_the_engine": (4, lambda die: {"number": _lane(die), "read": die.random() < 0.5}),
    "report_what_was_sent": (3, lambda die: {"number": _lane(die), "interrupted": _seldom(die), "now": _now(die)}),
    "call_off": (1, lambda die: {"numbers": {_lane(die) for _ in range(die.randint(0, 2))}, "now": _now(die)}),
    "something_about_inputs": (1, lambda die: {"what": die.choice(["open", "exhaust", "fail"]), "now": _now(die)}),
    "a_worker_works": (
        8,
        lambda die: {"number": _lane(die), "steps": die.randint(1, 24), "most": die.randint(0, 6), "now": _now(die)},
    ),
    "everybody_works": (3, lambda die: {"steps": die.randint(1, 24)}),
    "a_worker_dies": (
        3,
        lambda die: {
            "number": _lane(die),
            "steps": die.randint(0, 12),
            "exits": _seldom(die),
            "noticed": die.random() < 0.5,
            "whole": die.random() < 0.5,
            "now": _now(die),
        },
    ),
    "notice_a_death": (2, lambda die: {"number": _lane(die), "now": _now(die)}),
    "a_worker_will_fail": (
        1,
        lambda die: {
            "number": _lane(die),
            "what": die.choice(["unclean", "dirty", "stubborn", "full", "late", "stuck"]),
            "count": die.randint(1, 3),
        },
    ),
    "starts_will_fail": (
        0.5,
        lambda die: {
            "bad": die.choice(BAD_STARTS),
            "count": die.randint(1, 3),
            "fatal": die.choice(FATAL_STARTS),
            "meant": _seldom(die),
        },
    ),
    "time_goes_by": (2, lambda die: {"now": _now(die)}),
    "nobody_waits_behind": (0.5, lambda die: {"numbers": {_lane(die) for _ in range(die.randint(0, 3))}}),
    "end": (1, lambda die: {"terminate": die.random() < 0.3, "meant": _seldom(die), "now": _now(die)}),
}


def play(seed: int, engine: type[Engine] = Engine, steps: int = 60) -> None:
    """Plays one history to its end, and raises what is wrong with it."""
    die = random.Random(seed)
    machine = type("Machine", (EngineMachine,), {"engine_type": engine})()
    machine.begin(
        processes=die.randint(1, 3),
        depth=die.choice([1, 2, 4]),
        budget=die.choice([None, None, 1, 3, 6]),
        recallable=die.random() < 0.8,
        slow_starts=die.random() < 0.2,
        retries=die.choice([0, 0, 1, 2]),
        spares=die.random() < 0.5,
    )
    names = list(MOVES)
    weights = [MOVES[name][0] for name in names]
    for name in die.choices(names, weights, k=steps):
        if not machine.world.finished:
            getattr(machine, name)(**MOVES[name][1](die))
            machine.holds()
    machine.teardown()
