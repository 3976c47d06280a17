"""The way in: inbox, fast lane, and the protocol by which neither a job nor a wake is ever lost."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from poolsafe.engine.intake import Intake
from poolsafe.engine.state import TERMINATED, Job


class Bell:
    """Counts wakes."""

    def __init__(self) -> None:
        self.rung = 0

    def wake(self) -> bool:
        self.rung += 1
        return True


class Wire:
    """A channel that takes messages, or not."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.sent: list[int] = []
        self.meanwhile: Any = None

    def try_send(self, job: int, start: int, stop: int, payload: bytes) -> bool:
        if self.meanwhile is not None:
            self.meanwhile()
        if not self.full:
            self.sent.append(job)
        return not self.full


class Desk:
    """An intake, with what it tells the engine."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.told: list[tuple[Any, ...]] = []
        self.settled: list[tuple[int, int, int, Any]] = []
        self.intake = Intake(
            self.bell,
            lambda job: self.told.append(("submitted", job.ident)),
            lambda job, lane: self.told.append(("sent", job.ident, lane)),
            lambda: self.told.append(("lost",)),
        )

    def job(self, ident: int, count: int = 1) -> Job:
        return Job(ident, b"", count, lambda index, kind, data: self.settled.append((ident, index, kind, data)))

    def sleep(self, **wires: Wire) -> bool:
        """The supervisor goes to sleep with these workers idle; whether it would stay asleep."""
        self.intake.offer([(int(lane[1:]), wire) for lane, wire in wires.items()])  # type: ignore[misc]
        self.intake.asleep = True
        return not self.intake.pressing()

    def wake(self, busy: bool = False) -> list[tuple[Any, ...]]:
        """The supervisor wakes; what it tells the engine."""
        self.intake.asleep = False
        self.told.clear()
        self.intake.take(busy)
        return self.told


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_job_wakes_a_supervisor_that_sleeps(desk: Desk) -> None:
    desk.intake.submit(desk.job(1))
    assert desk.bell.rung == 0
    assert not desk.sleep(), "a job is there: it must not sleep"
    assert desk.wake() == [("submitted", 1)]
    assert desk.sleep()
    desk.intake.submit(desk.job(2))
    assert desk.bell.rung == 1
    assert desk.wake() == [("submitted", 2)]


def test_jobs_come_in_their_order(desk: Desk) -> None:
    desk.intake.submit_all([desk.job(1), desk.job(2)])
    desk.intake.post(desk.told.append, ("event",))
    desk.intake.submit(desk.job(3))
    assert desk.wake() == [("submitted", 1), ("submitted", 2), ("event",), ("submitted", 3)]
    assert not desk.intake


def test_an_idle_worker_is_sent_to_without_waking_anybody(desk: Desk) -> None:
    wire = Wire()
    assert desk.sleep(_0=wire)
    desk.intake.submit(desk.job(1))
    assert wire.sent == [1]
    assert desk.bell.rung == 0
    assert desk.wake() == [("sent", 1, 0)]


def test_each_idle_worker_is_sent_to_once(desk: Desk) -> None:
    first, second = Wire(), Wire()
    desk.sleep(_0=first, _1=second)
    for ident in (1, 2, 3):
        desk.intake.submit(desk.job(ident))
    assert (first.sent, second.sent) == ([1], [2])
    assert desk.bell.rung == 1
    assert desk.wake() == [("sent", 1, 0), ("sent", 2, 1), ("submitted", 3)]


def test_nothing_overtakes_what_waits_in_the_inbox(desk: Desk) -> None:
    wire = Wire()
    desk.sleep(_0=wire)
    desk.intake.submit_all([desk.job(1)])
    desk.intake.submit(desk.job(2))
    assert wire.sent == []
    assert desk.wake() == [("submitted", 1), ("submitted", 2)]


def test_a_busy_supervisor_takes_back_what_it_offered(desk: Desk) -> None:
    wire = Wire()
    desk.sleep(_0=wire)
    assert desk.wake(busy=True) == []
    desk.intake.submit(desk.job(1))
    assert wire.sent == []
    assert desk.wake() == [("submitted", 1)]


def test_a_full_channel_is_no_way_in(desk: Desk) -> None:
    desk.sleep(_0=Wire(full=True))
    desk.intake.submit(desk.job(1))
    assert desk.bell.rung == 1
    assert desk.wake() == [("submitted", 1)]
    wire = Wire()
    assert desk.sleep(_0=wire), "the worker is on offer again"
    desk.intake.submit(desk.job(2))
    assert wire.sent == [2]


def test_a_report_that_comes_after_the_answer_wakes(desk: Desk) -> None:
    wire = Wire()
    slept: list[bool] = []

    def meanwhile() -> None:  # between sending and reporting, the worker answers: the supervisor wakes and sleeps again
        assert desk.wake() == []
        slept.append(desk.sleep(_0=Wire(), _1=Wire()))

    wire.meanwhile = meanwhile
    desk.sleep(_0=wire)
    desk.intake.submit(desk.job(1))
    assert slept == [True]
    assert desk.bell.rung == 1, "the report must wake: no answer will"
    assert desk.wake() == [("sent", 1, 0)]


def test_a_report_that_comes_between_the_alert_and_the_sleep_is_seen(desk: Desk) -> None:
    wire = Wire()
    wire.meanwhile = lambda: desk.intake.offer([])  # sets the alert; the look comes after the report
    desk.sleep(_0=wire)
    desk.intake.submit(desk.job(1))
    assert desk.intake.alert
    assert desk.intake.pressing()


def test_a_lane_on_loan_is_not_offered_again(desk: Desk) -> None:
    wire, again = Wire(), Wire()
    wire.meanwhile = lambda: desk.sleep(_0=again)
    desk.sleep(_0=wire)
    desk.intake.submit(desk.job(1))
    desk.intake.submit(desk.job(2))
    assert again.sent == []
    assert desk.wake() == [("sent", 1, 0), ("submitted", 2)]
    assert not desk.intake.alert or desk.sleep()


def test_an_interrupted_submitter_gives_the_lane_back(desk: Desk) -> None:
    wire = Wire()

    def interrupt() -> None:
        raise KeyboardInterrupt

    wire.meanwhile = interrupt
    desk.sleep(_0=wire)
    with pytest.raises(KeyboardInterrupt):
        desk.intake.submit(desk.job(1))
    gc.collect()
    assert desk.wake() == []
    fresh = Wire()
    assert desk.sleep(_0=fresh)
    assert not desk.intake.alert
    desk.intake.submit(desk.job(2))
    assert fresh.sent == [2]


def test_reclaiming_when_the_last_offer_is_just_taken(desk: Desk) -> None:
    class Contended(list[Any]):
        def __bool__(self) -> bool:
            return True  # as it was when the supervisor looked

        def popleft(self) -> Any:
            raise IndexError

    desk.intake._offers = Contended()  # type: ignore[assignment]
    assert desk.wake(busy=True) == []


# -- after the end -----------------------------------------------------------------------------------------------------
def ending(_: Job, may_have_run: bool) -> tuple[int, Any]:
    return TERMINATED, may_have_run


def test_what_comes_after_the_end_is_settled_by_who_brings_it(desk: Desk) -> None:
    desk.intake.over = ending
    desk.intake.submit(desk.job(1))
    desk.intake.submit_all([desk.job(2, count=2)])
    desk.intake.post(desk.told.append, "nobody listens")
    assert desk.settled == [(1, 0, TERMINATED, False), (2, 0, TERMINATED, False), (2, 1, TERMINATED, False)]
    assert desk.told == []


def test_what_was_sent_but_not_reported_before_the_end_may_have_run(desk: Desk) -> None:
    wire = Wire()

    def meanwhile() -> None:
        desk.intake.over = ending

    wire.meanwhile = meanwhile
    desk.sleep(_0=wire)
    desk.intake.submit(desk.job(1))
    assert desk.settled == [(1, 0, TERMINATED, True)]


def test_the_end_settles_what_lies_there(desk: Desk) -> None:
    desk.intake.submit(desk.job(1))
    desk.intake.post(desk.told.append, "an event without a job")
    desk.intake.over = ending
    desk.intake.settle_leftovers()
    desk.intake.settle_leftovers()
    assert desk.settled == [(1, 0, TERMINATED, False)]


def test_two_threads_settle_each_entry_once(desk: Desk) -> None:
    class Contended(list[Any]):
        def __bool__(self) -> bool:
            return True

        def popleft(self) -> Any:
            raise IndexError  # the other thread has taken it

    desk.intake.over = ending
    desk.intake._inbox = Contended()  # type: ignore[assignment]
    desk.intake.settle_leftovers()
    assert desk.settled == []


def test_a_job_is_known_before_it_is_called_off(desk: Desk) -> None:
    """Its submitter reports it, and calls it off, while the supervisor takes in what came before."""
    wire = Wire()
    desk.sleep(_3=wire)

    def call_off() -> None:
        desk.told.append(("called off", 7))

    def submit_and_call_off() -> None:
        [offer] = taken
        assert offer.channel.try_send(7, 0, 1, b"")
        desk.intake._reports.append((desk.job(7), offer))
        desk.intake.post(call_off)

    taken = [desk.intake._take_offer()]
    desk.intake.post(submit_and_call_off)
    assert desk.wake() == [("sent", 7, 3), ("called off", 7)]
