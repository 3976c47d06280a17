"""The engine, one decision at a time. What holds for any history is the model tests' business."""

from __future__ import annotations

from typing import Any

import pytest

from poolsafe.engine.core import MAX_ATTEMPTS
from poolsafe.engine.ledger import _MAX_ORPHANS
from poolsafe.engine.page import IDLE, RECEIVED, RUNNING
from poolsafe.engine.state import (
    BROKEN,
    LOST,
    STOPPING,
    TERMINATED,
    UNCLEAN,
    Send,
)

from .decisions import VALUE, death, job, settled, started, told


# -- sending -----------------------------------------------------------------------------------------------------------
def test_work_is_sent_breadth_first_and_ahead() -> None:
    engine = started(2, depth=2)
    for ident in range(1, 7):
        engine.submitted(job(ident))
    assert told(engine.step()) == [
        ("send", 0, 1, 0, 1), ("send", 1, 2, 0, 1), ("send", 0, 3, 0, 1), ("send", 1, 4, 0, 1),
    ]  # fmt: skip
    assert [part.job.ident for part in engine.pending] == [5, 6]
    engine.outcome(1, 2, 0, VALUE, b"")
    assert told(engine.step()) == [("settle", 2, 0, VALUE), ("send", 1, 5, 0, 1)]


def test_what_a_full_channel_refused_goes_to_another() -> None:
    engine = started(2)
    engine.submitted(job(1))
    [send] = engine.step()
    assert isinstance(send, Send)
    engine.refused(0, send.part, 0, 1)
    assert told(engine.step()) == [("send", 1, 1, 0, 1)]
    engine.submitted(job(2))
    assert told(engine.step()) == [("send", 1, 2, 0, 1)], "lane 0 is full"
    assert told(engine.nudge()) == [("recall", 1)], "and has nothing to do"
    engine.submitted(job(3))
    assert told(engine.step()) == [("send", 0, 3, 0, 1)], "tried again"


def test_an_answer_makes_a_channel_good_again() -> None:
    engine = started(1)
    engine.submitted(job(1))
    engine.step()
    engine.submitted(job(2))
    [send] = engine.step()
    assert isinstance(send, Send)
    engine.refused(0, send.part, 0, 1)
    assert engine.step() == []
    engine.outcome(0, 1, 0, VALUE, b"")
    assert told(engine.step()) == [("settle", 1, 0, VALUE), ("send", 0, 2, 0, 1)]


def test_a_budget_counts_items_and_cuts_chunks() -> None:
    engine = started(1, budget=3)
    engine.submitted(job(1, count=2))
    engine.submitted(job(2, count=4))
    assert told(engine.step()) == [("send", 0, 1, 0, 2), ("send", 0, 2, 0, 1), ("stop", 0)]
    for ident, index in ((1, 0), (1, 1), (2, 0)):
        engine.outcome(0, ident, index, VALUE, b"")
    engine.lost(0, death(2, 1, IDLE, code=0))
    commands = told(engine.step())
    assert commands[-1] == ("start", 1)
    engine.ready(1)
    assert told(engine.step()) == [("send", 1, 2, 1, 4), ("stop", 1)]


def test_a_refused_part_does_not_use_up_the_budget() -> None:
    engine = started(1, budget=5)
    engine.submitted(job(1, count=2))
    [send] = engine.step()
    assert isinstance(send, Send)
    engine.refused(0, send.part, 0, 2)
    assert engine.lanes[0].budget == 5


def test_with_a_budget_nobody_sends_past_the_engine() -> None:
    assert list(started(2).idle()) == [0, 1]
    assert list(started(2, budget=5).idle()) == []


# -- sent past the engine ----------------------------------------------------------------------------------------------
def test_an_answer_that_comes_before_the_report_is_kept() -> None:
    engine = started()
    engine.outcome(0, 5, 0, VALUE, b"value")
    engine.sent(job(5), 0)
    assert settled(engine.step()) == [(5, 0, VALUE, b"value")]
    assert engine.orphans == {}


def test_a_message_taken_back_before_the_report_is_sent_anew() -> None:
    engine = started(2)
    engine.recalled(0, 5)
    engine.sent(job(5), 0)
    [(what, _, ident, *_)] = told(engine.step())
    assert (what, ident) == ("send", 5)


def test_a_message_given_back_by_a_retiring_worker_before_the_report_is_sent_anew() -> None:
    engine = started(2)
    engine.retired(0, 5, b"")
    engine.sent(job(5), 0)
    assert told(engine.step()) == [("start", 2), ("send", 1, 5, 0, 1)]


@pytest.mark.parametrize(("phase", "may_have_run"), [(RECEIVED, False), (RUNNING, True)])
def test_a_worker_that_dies_before_the_report_takes_the_job_along(phase: int, may_have_run: bool) -> None:
    engine = started(2)
    engine.lost(0, death(5, 0, phase))
    engine.sent(job(5), 0)
    [(ident, index, kind, lost)] = settled(engine.step())
    assert (ident, index, kind) == (5, 0, LOST)
    assert lost.may_have_run is may_have_run


def test_a_worker_that_dies_before_it_read_a_job_leaves_it_to_another() -> None:
    engine = started(2)
    engine.lost(0, death(unread=frozenset({5})))
    engine.sent(job(5), 0)
    assert ("send", 1, 5, 0, 1) in told(engine.step())


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("end", ["broken", "terminate"])
def test_what_a_worker_told_before_the_end_holds_though_the_report_comes_after(end: str, over: bool) -> None:
    """Its submitter was held up between sending the job and saying so."""
    engine = started(3)
    engine.outcome(0, 5, 0, VALUE, b"value")
    engine.lost(1, death(6, 0, RUNNING))
    engine.recalled(0, 7)
    getattr(engine, end)("an end")
    engine.step()

    def told_late(ident: int) -> tuple[int, Any]:
        if over:  # the supervisor is not there any more
            return engine.belated(job(ident), True)
        engine.sent(job(ident), 0)
        [(_, _, kind, data)] = settled(engine.step())
        return kind, data

    assert told_late(5) == (VALUE, b"value")
    kind, lost = told_late(6)
    assert (kind, lost.may_have_run) == (LOST, True)
    ending = BROKEN if end == "broken" else TERMINATED
    assert told_late(7) == (ending, ("an end", False)), "it was taken back unread"
    assert told_late(8) == (ending, ("an end", True))
    assert engine.orphans == {}


@pytest.mark.parametrize("event", ["retired", "recalled", "outcome"])
def test_what_is_told_of_a_settled_job_again_changes_nothing(event: str) -> None:
    engine = started(2)
    engine.submitted(job(1, count=2))
    engine.step()
    engine.outcome(0, 1, 0, VALUE, b"")
    rest: Any = {"retired": (b"",), "recalled": (), "outcome": (0, VALUE, b"again")}[event]
    getattr(engine, event)(1, 1, *rest)  # of a lane that does not have it
    assert engine.orphans == {}
    engine.outcome(0, 1, 0, VALUE, b"again")
    engine.outcome(0, 1, 1, VALUE, b"")
    assert [index for _, index, _, data in settled(engine.step()) if data == b""] == [0, 1]


def test_answers_for_nobody_are_bounded() -> None:
    engine = started()
    for ident in range(1, _MAX_ORPHANS + 10):
        engine.outcome(0, ident, 0, VALUE, b"")
    assert len(engine.orphans) == _MAX_ORPHANS
    engine.sent(job(_MAX_ORPHANS + 9), 0)
    assert len(settled(engine.step())) == 1, "the newest are kept"


# -- workers that cannot go on -----------------------------------------------------------------------------------------
def test_what_a_retiring_worker_did_not_begin_goes_to_another() -> None:
    engine = started(2)
    engine.submitted(job(1, count=3))
    engine.step()
    engine.outcome(0, 1, 0, VALUE, b"")
    engine.retired(0, 1, b"why")
    assert ("send", 1, 1, 1, 3) in told(engine.step())
    assert engine.lanes[0].state == STOPPING


def test_an_item_that_retires_one_worker_after_another_is_given_up_and_the_rest_goes_on() -> None:
    engine = started(1)
    engine.submitted(job(1, count=2))
    outcomes: list[Any] = []
    for lane in range(MAX_ATTEMPTS):
        engine.step()
        engine.retired(lane, 1, b"why %d" % lane)
        engine.lost(lane, death(1, 0, RECEIVED, code=0))
        outcomes += settled(engine.step())
        engine.ready(lane + 1)
    assert outcomes == [(1, 0, UNCLEAN, b"why %d" % (MAX_ATTEMPTS - 1))]
    assert told(engine.step()) == [("send", MAX_ATTEMPTS, 1, 1, 2)]


def test_a_worker_that_leaves_is_replaced_at_once_and_no_item_is_at_fault() -> None:
    """However many leave in a row; those that take their time to exit are at most as many as there are to be."""
    engine = started(1)
    engine.submitted(job(1, count=2))
    engine.step()
    engine.outcome(0, 1, 0, VALUE, b"")
    engine.retired(0, 1, None)
    assert ("start", 1) in told(engine.step())
    engine.ready(1)
    for lane in range(1, 2 * MAX_ATTEMPTS):
        assert told(engine.step()) == [("send", lane, 1, 1, 2)]
        engine.retired(lane, 1, None)
        assert told(engine.step()) == [], "the one before is still there"
        engine.lost(lane - 1, death(code=0))
        assert told(engine.step()) == [("start", lane + 1)]
        engine.ready(lane + 1)
    engine.retired(2 * MAX_ATTEMPTS, 0, None)
    assert engine.orphans == {}


def test_a_retiring_worker_is_asked_for_what_it_has_not_read() -> None:
    engine = started(1)
    for ident in (1, 2, 3):
        engine.submitted(job(ident))
    engine.step()
    engine.retired(0, 1, b"why")
    assert ("recall", 0) in told(engine.step())


# -- idle workers ------------------------------------------------------------------------------------------------------
def test_a_task_does_not_wait_behind_a_running_one() -> None:
    engine = started(2)
    for ident in (1, 2, 3, 4):
        engine.submitted(job(ident))
    engine.step()
    engine.outcome(1, 2, 0, VALUE, b"")
    engine.outcome(1, 4, 0, VALUE, b"")
    assert told(engine.step())[-1] == ("recall", 0)
    engine.recalled(0, 3)
    assert told(engine.step()) == [("send", 1, 3, 0, 1)]


def test_who_may_be_stopped_comes_last() -> None:
    engine = started(3)
    engine.submitted(job(1))
    lanes: list[int] = []
    for _ in range(6):
        [send] = [command for command in engine.step() if isinstance(command, Send)]
        lanes.append(send.lane)
        assert told(engine.nudge()) == [("recall", send.lane)]
        engine.recalled(send.lane, 1)
    assert lanes == [0, 1, 2, 0, 1, 2]
    assert list(engine.idle()) == []
