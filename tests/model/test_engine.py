"""The engine against arbitrary histories: work, deaths, refusals, late reports, ends; no process is started."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from .chance import play
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
