"""The engine's decisions about deaths, and about the end of the pool."""

from __future__ import annotations

from typing import Any

import pytest

from poolsafe.engine.core import MAX_ATTEMPTS, MAX_BARREN, SPARE_START_DEATHS, Engine
from poolsafe.engine.page import RECEIVED, RUNNING
from poolsafe.engine.state import (
    BROKEN,
    CANCELLED,
    CLOSING,
    ENDING,
    EXHAUSTED,
    FINISHED,
    LOST,
    TERMINATED,
    Abandon,
    Command,
    Cut,
    Fate,
    Finished,
    Pause,
    Start,
    Tell,
)

from .decisions import VALUE, death, job, settled, started, told


# -- deaths ------------------------------------------------------------------------------------------------------------
def test_a_death_costs_the_item_at_hand_and_nothing_else() -> None:
    engine = started(1)
    for ident in (1, 2, 3):
        engine.submitted(job(ident, count=3))
    engine.step()
    engine.outcome(0, 1, 0, VALUE, b"")
    engine.lost(0, death(1, 1, RUNNING, frozenset({2, 3})))
    assert [(ident, index, kind) for ident, index, kind, _ in settled(engine.step())] == [(1, 0, VALUE), (1, 1, LOST)]
    assert [(part.job.ident, part.start, part.stop) for part in engine.pending] == [(1, 2, 3), (2, 0, 3), (3, 0, 3)]


def test_an_item_that_workers_swallow_without_beginning_is_given_up_at_last() -> None:
    engine = started(1)
    engine.submitted(job(1, count=2))
    outcomes: list[Any] = []
    for lane in range(MAX_ATTEMPTS):
        outcomes += settled(engine.step())
        engine.lost(lane, death())
        outcomes += settled(engine.step())
        engine.ready(lane + 1)
    [(ident, _, kind, lost)] = outcomes
    assert (ident, kind, lost.may_have_run) == (1, LOST, False)
    assert told(engine.step()) == [("send", MAX_ATTEMPTS, 1, 1, 2)], "the next item has its own attempts"


def test_what_is_never_read_is_never_given_up() -> None:
    engine = started(1)
    engine.submitted(job(1))
    for lane in range(3 * MAX_ATTEMPTS):
        assert settled(engine.step()) == []
        engine.lost(lane, death(unread=frozenset({1})))
        engine.step()
        engine.ready(lane + 1)
    assert ("send", 3 * MAX_ATTEMPTS, 1, 0, 1) in told(engine.step())


@pytest.mark.parametrize("blame", [None, b"reset"])
def test_what_was_never_read_is_not_to_blame_when_it_is(blame: bytes | None) -> None:
    """Workers died before it, and it was in no way at fault; so nothing counts against it when it is read at last."""
    engine = started(1)
    engine.submitted(job(1, count=2))
    for lane in range(MAX_ATTEMPTS):
        engine.step()
        engine.lost(lane, death(unread=frozenset({1})))
        engine.step()
        engine.ready(lane + 1)
    engine.step()
    engine.retired(MAX_ATTEMPTS, 1, blame)
    assert settled(engine.step()) == []
    engine.ready(MAX_ATTEMPTS + 1)
    assert told(engine.step()) == [("send", MAX_ATTEMPTS + 1, 1, 0, 2)]


def test_what_counts_against_an_item_is_forgotten_when_it_is_done() -> None:
    engine = started(1)
    engine.submitted(job(1, count=3))
    for lane in range(MAX_ATTEMPTS - 1):
        engine.step()
        engine.lost(lane, death())
        engine.step()
        engine.ready(lane + 1)
    engine.step()
    engine.outcome(MAX_ATTEMPTS - 1, 1, 0, VALUE, b"")
    engine.retired(MAX_ATTEMPTS - 1, 1, b"reset")
    assert [(index, kind) for _, index, kind, _ in settled(engine.step())] == [(0, VALUE)]
    engine.ready(MAX_ATTEMPTS)
    assert told(engine.step()) == [("send", MAX_ATTEMPTS, 1, 1, 3)]


def test_a_page_that_runs_ahead_leaves_nobody_waiting() -> None:
    engine = started(1)
    engine.submitted(job(1, count=4))
    engine.step()
    engine.lost(0, death(1, 2, RECEIVED))
    outcomes = settled(engine.step())
    assert [(index, lost.may_have_run) for _, index, _, lost in outcomes] == [(0, True), (1, True), (2, False)]


@pytest.mark.parametrize("code", [0, 1])
def test_a_worker_that_ends_before_it_is_ready_breaks_the_pool(code: Any) -> None:
    engine = Engine(2)
    engine.submitted(job(1))
    engine.step()
    engine.lost(0, death(code=code))
    [(ident, _, kind, (reason, may_have_run))] = settled(engine.step())
    assert (ident, kind, may_have_run) == (1, BROKEN, False)
    assert reason == (("died", {"exitcode": code, "said": "", "cut_off": False}), 77)


def test_what_made_its_end_is_told_of_a_worker_that_cannot_be_heard_any_more() -> None:
    engine = Engine(1)
    engine.submitted(job(1))
    engine.step()
    cut_off = death()._replace(fate=Fate(77, 112, cut_off=True))
    for _ in range(1 + SPARE_START_DEATHS):  # it may have been killed by somebody else
        engine.lost(min(engine.lanes), cut_off)
        assert settled(engine.step()) == []
    engine.lost(min(engine.lanes), cut_off)
    [(_, _, kind, (reason, _))] = settled(engine.step())
    assert (kind, reason) == (BROKEN, (("died", {"exitcode": 112, "said": "", "cut_off": True}), 77))


@pytest.mark.parametrize("code", [-9, None], ids=["by a signal", "nobody can tell"])
def test_workers_that_are_killed_before_they_are_ready_are_replaced_for_a_while(code: Any) -> None:
    engine = Engine(2)
    engine.step()
    deaths = 0
    while engine.active:
        engine.lost(min(engine.lanes), death(code=code))
        deaths += 1
        engine.step()
    assert deaths == 2 + SPARE_START_DEATHS + 1
    assert engine.state == ENDING


def test_what_a_worker_lacks_is_waited_for_once_it_was_there() -> None:
    """No process can be forked now. Workers have been ready, so that is nothing of the initializer's."""
    engine = started(1)
    scarce = death()._replace(fate=Fate(77, 113, scarce=True))
    for count in range(1, 4 * SPARE_START_DEATHS):
        engine.lost(min(engine.lanes), death() if count == 1 else scarce)
        if count > 1:
            assert ("pause", count - 1) in told(engine.step())
            engine.resume()
        engine.step()
    assert engine.active


def test_what_a_worker_lacks_from_the_beginning_ends_the_pool() -> None:
    engine = Engine(1)
    engine.step()
    engine.lost(0, death()._replace(fate=Fate(77, 113, scarce=True)))
    engine.step()
    assert not engine.active


def test_a_worker_that_became_ready_ends_the_count() -> None:
    engine = Engine(1)
    engine.step()
    for _ in range(3 * SPARE_START_DEATHS):
        engine.lost(min(engine.lanes), death(code=-9))
        engine.step()
        engine.ready(min(engine.lanes))
        engine.lost(min(engine.lanes), death(code=-9))
        engine.step()
        engine.outcome(min(engine.lanes), 99, 0, VALUE, b"")
    assert engine.active


def test_deaths_without_any_result_make_a_pause() -> None:
    engine = started(1)
    commands: list[Command] = []
    for lane in range(MAX_BARREN):
        engine.lost(lane, death())
        commands = engine.step()
        if lane < MAX_BARREN - 1:
            engine.ready(lane + 1)
    assert told(commands) == [("pause", 1)]
    assert engine.step() == []
    engine.resume()
    assert told(engine.step()) == [("start", MAX_BARREN)]


def test_a_start_that_fails_is_tried_again_after_a_pause_that_grows() -> None:
    engine = Engine(1)
    for failures in (1, 2, 3):
        [start] = engine.step()
        assert isinstance(start, Start)
        engine.start_failed(start.lane)
        assert told(engine.step()) == [("pause", failures)]
        engine.resume()
    [start] = engine.step()
    assert isinstance(start, Start)
    engine.ready(start.lane)
    engine.lost(start.lane, death())
    [start] = engine.step()
    assert isinstance(start, Start)
    engine.start_failed(start.lane)
    assert told(engine.step()) == [("pause", 1)]


# -- ends --------------------------------------------------------------------------------------------------------------
def test_closing_waits_for_work_then_stops_then_ends() -> None:
    engine = started(1)
    engine.submitted(job(1))
    engine.close()
    engine.close()
    assert told(engine.step()) == [("send", 0, 1, 0, 1)]
    engine.outcome(0, 1, 0, VALUE, b"")
    assert told(engine.step()) == [("settle", 1, 0, VALUE), ("stop", 0)]
    assert engine.state == CLOSING
    engine.lost(0, death(code=0))
    assert engine.step() == [Finished()]
    assert engine.state == FINISHED


def test_closing_waits_for_inputs() -> None:
    engine = started(1)
    end = job(9)
    engine.opened(end)
    engine.close()
    assert engine.step() == []
    engine.submitted(job(1))
    engine.step()
    engine.outcome(0, 1, 0, VALUE, b"")
    engine.exhausted(end)
    engine.exhausted(end)
    assert told(engine.step()) == [("settle", 1, 0, VALUE), ("settle", 9, 0, EXHAUSTED), ("stop", 0)]


def test_terminating_settles_everything_at_once() -> None:
    engine = started(1, depth=1)
    engine.submitted(job(1, count=2))
    engine.submitted(job(2))
    engine.opened(job(9))
    engine.step()
    engine.outcome(0, 1, 0, VALUE, b"")
    engine.terminate()
    engine.terminate()
    engine.broken("too late")
    outcomes = settled(engine.step())
    assert outcomes == [
        (1, 0, VALUE, b""), (2, 0, TERMINATED, (None, False)), (9, 0, TERMINATED, (None, False)),
        (1, 1, TERMINATED, (None, True)),
    ]  # fmt: skip
    assert engine.step() == []
    engine.lost(0, death(1, 1, RUNNING))
    assert told(engine.step()) == [("finished",)]


def test_ending_abandons_the_workers_once() -> None:
    engine = started(2)
    engine.terminate()
    engine.terminate()
    assert engine.step() == [Abandon()]
    assert engine.nudge() == []


@pytest.mark.parametrize("event", ["submitted", "opened"])
def test_what_comes_in_after_the_end_did_not_run(event: str) -> None:
    engine = started(1)
    engine.terminate()
    engine.step()
    getattr(engine, event)(job(5))
    assert settled(engine.step()) == [(5, 0, TERMINATED, (None, False))]


def test_what_was_sent_before_the_end_and_reported_after_may_have_run() -> None:
    engine = started(1)
    engine.broken("reason")
    engine.step()
    engine.sent(job(5), 0)
    assert settled(engine.step()) == [(5, 0, BROKEN, ("reason", True))]


def test_a_failed_job_is_settled_with_its_own_error() -> None:
    engine = started(1)
    engine.failed(job(5), -1, "error")
    assert settled(engine.step()) == [(5, 0, -1, "error")]
    engine.terminate()
    engine.failed(job(6), -1, "error")
    assert settled(engine.step()) == [(6, 0, TERMINATED, (None, False))]


def test_an_engine_that_ended_starts_nobody() -> None:
    engine = Engine(1)
    [start] = engine.step()
    assert isinstance(start, Start)
    engine.terminate()
    engine.step()
    engine.start_failed(start.lane)
    assert [type(command) for command in engine.step()] == [Pause, Finished]


# -- what nobody wants any more ----------------------------------------------------------------------------------------
def test_all_jobs_of_an_owner_are_called_off_and_its_input_last() -> None:
    engine = started(1)
    owner, calls = object(), list[str]()
    end = job(9)
    for one in (job(1), job(2), end):
        one.owner = owner
        engine.opened(one) if one is end else engine.submitted(one)
    engine.submitted(job(3))
    engine.step()
    engine.disowned(owner, lambda: calls.append("then"))
    commands = engine.step()
    assert [(ident, kind) for ident, _, kind, _ in settled(commands)] == [
        (1, CANCELLED),
        (2, CANCELLED),
        (9, CANCELLED),
    ]
    assert isinstance(commands[-1], Tell), "when all before it is carried out"
    commands[-1].call()
    assert calls == ["then"]
    assert (list(engine.jobs), engine.inputs) == ([3], {})
    engine.exhausted(end)  # its reader had come to the end at the same time
    engine.disowned(owner)
    assert settled(engine.step()) == []


def test_what_a_worker_has_not_read_is_taken_back_before_the_one_at_hand_is_ended() -> None:
    """Else it would begin in between, where the worker outlives that."""
    engine = started(2)
    for ident in range(61, 69):  # around a multiple of the size of a set
        engine.submitted(job(ident))
    engine.step()
    [one, other] = [list(lane.parts) for lane in engine.lanes.values()]
    assert len(one) == len(other) == 4
    engine.cancelled(range(61, 68))
    commands = engine.step()
    assert [command.job for command in commands if isinstance(command, Cut)] == [*one[::-1], *other[2::-1]]
    assert [ident for ident, *_ in settled(commands)] == [*one, *other[:3]]


@pytest.mark.parametrize("over", ["terminate", "nothing to call off"])
def test_who_waits_for_a_call_to_be_off_is_told_in_any_case(over: str) -> None:
    engine = started(1)
    if over == "terminate":
        engine.submitted(job(1))
        engine.terminate()
    engine.cancelled([1], list)
    assert engine.step()[-1] == Tell(list)
