"""Who looks at the memory of workers when, with workers, a clock and a kernel of the test's own."""

from __future__ import annotations

import pytest

from poolsafe.engine.page import IDLE, RECEIVED, RUNNING, Begun
from poolsafe.engine.watchdog import INTERVAL, MARGIN, Watchdog

from .desk import Desk

MOST = 1000


class Case(Desk):
    """A pool of one worker, whose memory is the test's to say."""

    def __init__(self, most: int | None = MOST) -> None:
        super().__init__()
        self.used: int | None = 0
        self.looks = 0
        self.watchdog = Watchdog(
            most,
            self.engine,
            self.crew,
            self.deadlines,
            self.timers,
            self.look,  # type: ignore[arg-type]
        )

    def look(self, pid: int) -> int | None:
        assert pid == self.worker.serving
        self.looks += 1
        return self.used

    def pass_time(self, seconds: float) -> None:
        """As the supervisor does: whenever it is about to sleep, the watchdog is woken."""
        end = self.now + seconds
        while self.now < end:
            self.watchdog.wake()
            self.wait(min(INTERVAL, end - self.now))


@pytest.mark.parametrize("phase", [RECEIVED, RUNNING])
def test_a_task_with_far_too_much_costs_the_worker(phase: int) -> None:
    case = Case()
    case.send(5, None)
    case.begin(5, 0, phase)
    case.used = MARGIN * MOST
    case.pass_time(1)
    assert case.worker.signals == []
    case.used += 1
    case.pass_time(2 * INTERVAL)
    assert len(case.worker.signals) == 1
    overdue = case.deadlines.reason(case.lane)
    assert overdue is not None
    assert (overdue.job, overdue.index, overdue.limit, overdue.used) == (5, 0, None, case.used)


@pytest.mark.parametrize("used", [10**9, None])
def test_nobody_is_ended_for_nothing(used: int | None) -> None:
    case = Case()
    case.send(5, None)
    case.used = used
    if used:  # large, and between two tasks: it is about to be replaced
        case.worker.page = Begun(5, 0, IDLE)
    else:
        case.begin(5)
    case.pass_time(1)
    assert case.worker.signals == []


def test_another_item_is_not_ended_for_the_one_that_was_looked_at() -> None:
    case = Case()
    case.send(5, None, count=2)
    case.begin(5)
    case.worker.next_page = Begun(5, 1, RUNNING)  # before its doom is seen
    case.used = 10**9
    case.pass_time(INTERVAL)
    assert case.worker.signals == []
    assert case.worker.dooms[-1] == 0


def test_an_idle_pool_is_not_looked_at() -> None:
    case = Case()
    case.pass_time(1)
    assert case.timers.timeout() is None
    case.send(5, None)
    case.begin(5)
    case.pass_time(1)
    assert 8 <= case.looks <= 10
    case.engine.outcome(case.lane, 5, 0, 1, b"")
    case.engine.step()
    case.pass_time(2 * INTERVAL)
    looks = case.looks
    case.pass_time(1)
    assert (case.looks, case.timers.timeout()) == (looks, None)


def test_without_a_limit_nobody_looks() -> None:
    case = Case(None)
    case.send(5, None)
    case.begin(5)
    case.pass_time(1)
    assert case.looks == 0
    assert case.timers.timeout() is None
