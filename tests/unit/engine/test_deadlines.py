"""Time limits with a worker and a clock of the test's own: who is ended when, and how often anybody looks."""

from __future__ import annotations

import signal
from math import inf
from typing import Any

import pytest

from poolsafe.engine.deadlines import ENDLESS, LOADING, OFTEN, Overdue
from poolsafe.engine.page import IDLE, RECEIVED, RUNNING, Begun
from poolsafe.engine.starting import TERM_GRACE

from .desk import Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize(("phase", "more"), [(RECEIVED, LOADING), (RUNNING, 0.0)])
def test_an_item_that_takes_too_long_costs_the_worker(desk: Desk, phase: int, more: float) -> None:
    desk.send(5, 2.0, count=3)
    desk.wait(0.5)
    desk.begin(5, 1, phase)
    desk.wait(1.9 + more)
    assert desk.worker.signals == []
    desk.wait(0.2)
    assert desk.worker.signals == [signal.SIGTERM]
    assert desk.worker.dooms == [1]
    desk.wait(TERM_GRACE + 0.1)
    assert desk.worker.signals == [signal.SIGTERM, signal.SIGKILL]
    desk.wait(10)
    assert len(desk.worker.signals) == 3, "once more, and no more"
    assert desk.deadlines.reason(desk.lane) == Overdue(5, 1, 2.0, 1, pid=77)
    assert desk.deadlines.reason(desk.lane) is None


def test_an_item_that_took_long_to_load_has_its_limit_from_then_on(desk: Desk) -> None:
    desk.send(5, 0.1)
    desk.begin(5, 0, RECEIVED)
    desk.wait(3.0)
    desk.begin(5, 0, RUNNING)
    desk.wait(0.25)
    assert desk.worker.signals == [signal.SIGTERM]
    assert desk.worker.looks < 50


def test_a_dead_worker_is_not_killed_again(desk: Desk) -> None:
    desk.send(5, 1.0)
    desk.begin(5)
    desk.wait(1.1)
    desk.deadlines.reason(desk.lane)
    del desk.crew.workers[desk.lane]
    desk.wait(5)
    assert desk.worker.signals == [signal.SIGTERM]


def test_each_item_of_a_chunk_has_its_own_time(desk: Desk) -> None:
    desk.send(5, 1.0, count=10)
    for index in range(10):
        desk.begin(5, index)
        desk.wait(0.9)
    assert desk.worker.signals == []


def test_a_task_without_a_limit_has_none(desk: Desk) -> None:
    desk.send(4, None)
    desk.send(5, 1.0)
    desk.begin(4)
    desk.wait(50)
    assert desk.worker.signals == []
    desk.begin(5)
    desk.wait(0.99)
    assert desk.worker.signals == []
    desk.wait(0.02)
    assert desk.worker.signals == [signal.SIGTERM]


def test_the_shorter_limit_counts_though_it_came_later(desk: Desk) -> None:
    desk.send(4, 60.0)
    desk.begin(4)
    desk.wait(1)
    desk.engine.outcome(desk.lane, 4, 0, 1, b"")
    desk.send(5, 0.5)
    desk.begin(5)
    desk.wait(0.6)
    assert desk.worker.signals == [signal.SIGTERM]


def test_an_item_that_is_done_just_then_costs_nobody(desk: Desk) -> None:
    desk.send(5, 1.0, count=2)
    desk.begin(5, 0)
    desk.worker.next_page = Begun(5, 1, RECEIVED)
    desk.wait(1.01)
    assert desk.worker.dooms == [1, 0]
    assert desk.worker.signals == []
    desk.worker.next_page = None
    desk.begin(5, 1)
    desk.wait(1.01)
    assert desk.worker.signals == [signal.SIGTERM]


def test_nobody_looks_at_an_idle_worker(desk: Desk) -> None:
    for ident in range(1, 200):
        desk.send(ident, 10.0)
        desk.begin(ident)
        desk.engine.outcome(desk.lane, ident, 0, 1, b"")
        desk.worker.page = Begun(ident, 1, IDLE)
    desk.wait(1000)
    assert desk.timers.timeout() is None
    assert desk.worker.looks <= 200
    looks = desk.worker.looks
    desk.wait(1000)
    assert desk.worker.looks == looks


def test_thousands_that_wait_need_few_looks(desk: Desk) -> None:
    for ident in range(1, 1001):
        desk.send(ident, 10.0)
    desk.begin(1)
    for _ in range(9):
        desk.wait(1)
    assert desk.worker.looks == 0
    desk.wait(1.1)
    assert desk.worker.looks == 2


def test_the_shortest_limit_makes_nobody_look_all_the_time(desk: Desk) -> None:
    desk.send(4, None)
    desk.send(5, 1e-9)
    desk.begin(4)
    desk.wait(1.0)
    assert 100 < desk.worker.looks <= 1.0 / OFTEN + 1
    assert desk.worker.signals == []
    desk.begin(5)
    desk.wait(OFTEN)
    assert desk.worker.signals == [signal.SIGTERM]


def test_a_lane_that_is_gone_is_forgotten(desk: Desk) -> None:
    desk.send(5, 1.0)
    del desk.engine.lanes[desk.lane]
    desk.wait(5)
    assert desk.worker.looks == 0


def test_a_reason_without_one(desk: Desk) -> None:
    unknown: Any = desk.deadlines.reason(99)
    assert unknown is None


def test_long_limits_leave_no_timers_behind(desk: Desk) -> None:
    for ident in range(1, 100):
        desk.send(ident, 3600.0)
        desk.begin(ident)
        desk.engine.outcome(desk.lane, ident, 0, 1, b"")
        desk.wait(0.1)
        desk.deadlines.reason(desk.lane)
    assert len(desk.timers._heap) == 1


def test_what_is_being_sent_has_all_the_time(desk: Desk) -> None:
    desk.send(5, 1.0)
    desk.begin(5)
    desk.worker.since_when = inf
    desk.wait(100)
    assert desk.worker.signals == []


# -- workers that live on when the process of an item is ended ---------------------------------------------------------
def test_the_doom_is_lifted_when_the_items_process_is_dead(desk: Desk) -> None:
    desk.send(5, 1.0)
    desk.send(6, 1.0)
    desk.begin(5)
    desk.wait(1.1)
    assert desk.deadlines.reason_for(desk.lane, 5, 0) == Overdue(5, 0, 1.0, 1, pid=77)
    assert desk.worker.dooms == [1, 0]
    assert desk.deadlines.reason_for(desk.lane, 5, 0) is None
    desk.worker.page = Begun(5, 1, IDLE)
    desk.wait(TERM_GRACE + 1)
    assert desk.worker.signals == [signal.SIGTERM], "nobody is pressed for what is over"
    desk.begin(6)
    desk.wait(1.1)
    assert desk.worker.signals == [signal.SIGTERM] * 2, "what was sent ahead has its limit still"
    assert desk.worker.dooms == [1, 0, 2]


def test_the_death_of_another_item_lifts_nothing(desk: Desk) -> None:
    desk.send(5, 1.0)
    desk.begin(5)
    desk.wait(1.1)
    assert desk.deadlines.reason_for(desk.lane, 4, 0) is None
    assert desk.worker.dooms == [1]


def test_a_worker_that_had_nothing_at_hand_goes_on(desk: Desk) -> None:
    desk.send(5, 1.0)
    desk.send(6, 1.0)
    desk.begin(5)
    desk.wait(1.1)
    desk.deadlines.spared(desk.lane, 77)
    assert desk.worker.dooms == [1], "that was about an earlier one"
    desk.deadlines.spared(desk.lane, 1)
    assert desk.worker.dooms == [1, 0]
    desk.deadlines.spared(desk.lane, 1)
    assert desk.worker.dooms == [1, 0]
    desk.engine.outcome(desk.lane, 5, 0, 1, b"")
    desk.begin(6)
    desk.wait(1.1)
    assert desk.worker.dooms == [1, 0, 2]


def test_a_job_that_is_called_off_is_ended_though_its_process_was_spared_at_first(desk: Desk) -> None:
    """A process that has just taken it up sees its doom, waits, and goes on with it when the doom is lifted."""
    desk.send(5, None)
    desk.begin(5, 0, RECEIVED)
    desk.deadlines.cut(desk.lane, 5)
    [doom] = desk.worker.dooms
    desk.begin(5, 0, RUNNING)
    desk.deadlines.spared(desk.lane, doom)
    assert desk.worker.dooms == [doom, 0, doom + 1]
    assert desk.worker.signals == [signal.SIGTERM] * 2
    assert desk.deadlines.is_overdue(desk.lane)


@pytest.mark.parametrize("ends", [True, False])
def test_a_worker_that_cannot_be_ended_is_given_up(desk: Desk, ends: bool) -> None:
    given_up: list[int] = []
    desk.deadlines.give_up = given_up.append
    desk.send(5, 1.0)
    desk.begin(5)
    desk.wait(1.0 + 2 * TERM_GRACE + ENDLESS - 0.1)
    assert desk.worker.signals == [signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]
    assert given_up == []
    if ends:
        assert desk.deadlines.reason(desk.lane) is not None
    desk.wait(100)
    assert given_up == [desk.lane] * (not ends)
    assert len(desk.worker.signals) == 3
