"""Items that are tried again after their worker died, and what is told when none of the attempts came through."""

from __future__ import annotations

from poolsafe.engine.page import RECEIVED, RUNNING
from poolsafe.engine.state import LOST, Fate, Job, Lost, Terms

from .decisions import VALUE, death, settled, started, told


def job(ident: int, count: int = 1, retries: int = 1) -> Job:
    return Job(ident, b"", count, lambda *outcome: None, terms=Terms(retries=retries))


def test_a_lost_item_is_tried_again_alone() -> None:
    engine = started(2)
    engine.submitted(job(5, 4))
    assert told(engine.step()) == [("send", 0, 5, 0, 4)]
    engine.outcome(0, 5, 0, VALUE, b"")
    engine.lost(0, death(5, 1, RUNNING))
    commands = told(engine.step())
    assert [c for c in commands if c[0] == "settle"] == [("settle", 5, 0, VALUE)]
    assert ("send", 1, 5, 2, 4) in commands, "the rest goes on elsewhere, without it"
    assert engine.retried == 1
    engine.outcome(1, 5, 2, VALUE, b"")
    engine.outcome(1, 5, 3, VALUE, b"")
    commands = told(engine.step())
    assert ("send", 1, 5, 1, 2) in commands
    engine.outcome(1, 5, 1, VALUE, b"")
    assert told(engine.step()) == [("settle", 5, 1, VALUE)]
    assert not engine.jobs


def test_one_that_is_lost_every_time_tells_of_each() -> None:
    engine = started(1)
    engine.submitted(job(5, retries=2))
    engine.step()
    for lane, code in enumerate((-9, -11, 3)):
        engine.lost(lane, death(5, 0, RUNNING, code=code))
        commands = engine.step()
        if code != 3:
            assert settled(commands) == []
            engine.ready(lane + 1)
            assert ("send", lane + 1, 5, 0, 1) in told(engine.step())
    [(ident, index, kind, lost)] = settled(commands)
    assert (ident, index, kind) == (5, 0, LOST)
    assert isinstance(lost, Lost)
    assert lost.fate.exitcode == 3
    assert [one.fate.exitcode for one in lost.past] == [-9, -11]
    assert not engine.jobs


def test_without_retries_nothing_is_run_twice() -> None:
    engine = started(1)
    engine.submitted(job(5, retries=0))
    engine.step()
    engine.lost(0, death(5, 0, RECEIVED))
    [(_, _, kind, lost)] = settled(engine.step())
    assert kind == LOST
    assert lost.past == ()
    assert engine.retried == 0


def test_a_retry_survives_a_full_channel_a_recall_and_a_retirement() -> None:
    engine = started(1)
    engine.submitted(job(5))
    engine.step()
    engine.lost(0, death(5, 0, RUNNING))
    engine.step()
    engine.ready(1)
    engine.step()
    part = engine.lanes[1].parts[5]
    engine.refused(1, part, 0, 1)
    engine.nudge()
    assert engine.lanes[1].parts[5].past == part.past
    engine.recalled(1, 5)
    engine.step()
    engine.retired(1, 5, None)
    engine.step()
    engine.ready(2)
    engine.step()
    engine.lost(2, death(5, 0, RUNNING))
    [(_, _, kind, lost)] = settled(engine.step())
    assert kind == LOST
    assert len(lost.past) == 1


def test_a_retry_is_ended_with_the_pool() -> None:
    engine = started(1)
    engine.submitted(job(5))
    engine.step()
    engine.lost(0, death(5, 0, RUNNING))
    engine.terminate()
    assert len(settled(engine.step())) == 1
    assert not engine.jobs


def test_a_loss_that_is_known_before_the_job() -> None:
    """A submitting thread has sent it past the engine, and its worker has died since."""
    engine = started(1)
    engine.lost(0, death(5, 0, RUNNING))
    engine.sent(job(5), 0)
    assert settled(engine.step()) == []
    engine.ready(1)
    assert ("send", 1, 5, 0, 1) in told(engine.step())


def test_an_item_that_was_just_taken_up_when_its_worker_was_ended_for_another() -> None:
    engine = started(1)
    engine.submitted(job(5, retries=0))
    engine.step()
    engine.lost(0, death(5, 0, RECEIVED)._replace(ended=True))
    assert settled(engine.step()) == []
    engine.ready(1)
    assert ("send", 1, 5, 0, 1) in told(engine.step())


def test_an_item_that_took_too_long_to_load_is_not_that() -> None:
    engine = started(1)
    engine.submitted(job(5, retries=0))
    engine.step()
    engine.lost(0, death(5, 0, RECEIVED)._replace(ended=True, fate=Fate(77, -15, limit=1.0)))
    assert [outcome[2] for outcome in settled(engine.step())] == [LOST]
