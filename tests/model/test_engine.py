"""The engine against arbitrary histories: work, deaths, refusals, late reports, ends; no process is started."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from poolsafe.engine.core import Engine

from .chance import play
from .judge import JudgedWorld
from .machine import EngineMachine


def test_any_history() -> None:
    run_state_machine_as_test(
        EngineMachine,
        settings=settings(max_examples=200, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]),
    )


def test_histories_by_chance() -> None:
    for seed in range(1500):
        try:
            play(seed)
        except BaseException as error:
            error.args = (f"history {seed}: {error}",)
            raise


@pytest.mark.parametrize("recallable", [True, False])
def test_what_is_sent_to_a_worker_just_after_it_was_told_to_end(recallable: bool) -> None:
    """Its submitter has taken the offer before the end, and the worker, which has read of it, takes long to exit."""
    world = JudgedWorld(Engine(1), recallable=recallable)
    world.turn()
    world.everybody_works(2)
    [lane] = world.offers
    world.engine.close()
    world.turn()
    world.workers[lane].stubborn = True
    world.workers[lane].advance(10)
    world.send_past(lane)
    world.drain()
