"""What becomes of the answers of a worker whose process is being ended for what its item takes."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from poolsafe.engine import messages
from poolsafe.engine.delivery import deliver
from poolsafe.engine.page import IDLE, RECEIVED, RUNNING, Begun
from poolsafe.engine.starting import TERM_GRACE
from poolsafe.engine.state import LOST, Fate, Job, Lost, Send, Settle, Terms

from .decisions import death
from .desk import Desk

RAISED = messages.ERROR, messages.dumps((b"an exception", "a traceback"))
EXITED = messages.FAILED, messages.dumps(("exited", {"traceback": "a traceback"}))
VALUE = messages.VALUE, b"a value"


class Counter:
    """A desk whose worker answers, and may be sent the same item again."""

    def __init__(self, retries: int = 0, limit: float | None = 1.0, count: int = 1) -> None:
        self.desk = Desk()
        self.owner: Any = SimpleNamespace(engine=self.desk.engine, crew=self.desk.crew, deadlines=self.desk.deadlines)
        terms = Terms(limit, retries=retries)
        self.desk.engine.submitted(Job(5, b"", count, lambda *outcome: None, terms=terms))
        self.step()
        self.desk.deadlines.watch(self.desk.lane, 1.0)

    def step(self) -> list[Any]:
        """What is settled, and what is sent."""
        commands = self.desk.engine.step()
        return [
            (command.index, command.kind, command.data) if isinstance(command, Settle) else command[1:3]
            for command in commands
            if isinstance(command, Settle | Send)
        ]

    def answer(self, answer: tuple[int, bytes], index: int = 0) -> list[Any]:
        kind, data = answer
        deliver(self.owner, self.desk.lane, [(kind, 5, index, data)])
        return self.step()


def lost(stack: str = "a traceback", *, began: bool = True) -> Lost:
    return Lost(Fate(77, None, limit=1.0, stack=stack, said="words"), began, 0)


@pytest.mark.parametrize("answer", [RAISED, EXITED])
def test_how_an_item_fails_in_time_is_its_own(answer: tuple[int, bytes]) -> None:
    counter = Counter()
    counter.desk.begin(5)
    counter.desk.wait(0.9)
    assert counter.answer(answer) == [(0, *answer)]


@pytest.mark.parametrize("answer", [RAISED, EXITED])
def test_how_it_fails_when_it_is_told_to_end_is_not(answer: tuple[int, bytes]) -> None:
    counter = Counter()
    counter.desk.begin(5)
    counter.desk.wait(1.1)
    assert counter.answer(answer) == [(0, LOST, lost())]


def test_what_it_returns_then_counts() -> None:
    counter = Counter()
    counter.desk.begin(5)
    counter.desk.wait(1.1)
    assert counter.answer(VALUE) == [(0, *VALUE)]


def test_where_it_was_is_told_by_the_worker_if_it_can() -> None:
    counter = Counter()
    counter.desk.begin(5)
    counter.desk.wait(1.1)
    counter.desk.worker.stack = "a stack"
    assert counter.answer(RAISED) == [(0, LOST, lost("a stack"))]


def test_one_that_could_not_be_loaded_did_not_run() -> None:
    counter = Counter()
    counter.desk.begin(5, 0, RECEIVED)
    counter.desk.wait(50)
    answer = messages.FAILED, messages.dumps(("unpickle-task", {"traceback": "a traceback"}))
    assert counter.answer(answer) == [(0, LOST, lost(began=False))]


def test_one_that_left_something_did() -> None:
    counter = Counter()
    counter.desk.begin(5)
    counter.desk.wait(1.1)
    answer = messages.FAILED, messages.dumps(("leaked", {"changes": []}))
    assert counter.answer(answer) == [(0, LOST, lost(""))]


def test_one_that_takes_too_much_memory() -> None:
    counter = Counter(limit=None)
    counter.desk.begin(5)
    counter.desk.deadlines.outgrown(counter.desk.lane, Begun(5, 0, RUNNING), 1 << 30)
    [(_, kind, loss)] = counter.answer(RAISED)
    assert (kind, loss.fate.used, loss.fate.limit) == (LOST, 1 << 30, None)


def test_a_job_that_is_called_off_has_no_answer() -> None:
    counter = Counter(limit=None)
    counter.desk.begin(5)
    counter.desk.engine.cancelled([5])
    counter.desk.deadlines.cut(counter.desk.lane, 5)
    assert [kind for _, kind, _ in counter.answer(RAISED)] != [LOST]
    assert not counter.desk.engine.lanes[counter.desk.lane].parts


def test_it_is_tried_again() -> None:
    counter = Counter(retries=1, count=2)
    counter.desk.begin(5)
    counter.desk.wait(1.1)
    assert counter.answer(RAISED) == []
    assert counter.desk.engine.retried == 1
    assert counter.answer(VALUE, 1) == [(1, *VALUE), (counter.desk.engine.lanes[0].parts[5], 0)]


def test_the_same_answer_once_more_is_not_that_of_the_second_attempt() -> None:
    """A worker that ends just when it has sent its log leaves it in its page."""
    counter = Counter(retries=1)
    counter.desk.begin(5)
    counter.desk.wait(1.1)
    assert len(counter.answer(RAISED)) == 1, "it is sent to the same worker, which does not know better"
    assert counter.answer(RAISED) == []
    counter.desk.wait(TERM_GRACE)
    assert counter.desk.worker.signals == [signal.SIGTERM, signal.SIGKILL], "which is ended for all that"
    counter.desk.engine.lost(0, death(5, 0, RECEIVED)._replace(ended=True))
    counter.step()
    counter.desk.engine.ready(1)
    counter.step()
    assert counter.desk.engine.retried == 1, "the second attempt did not begin"


def test_a_worker_that_lives_on_answers_for_the_second_attempt() -> None:
    counter = Counter(retries=1)
    counter.desk.begin(5)
    counter.desk.wait(1.1)
    counter.answer(RAISED)
    counter.desk.worker.page = Begun(5, 1, IDLE)
    [doom] = counter.desk.worker.dooms
    counter.desk.deadlines.spared(counter.desk.lane, doom)
    counter.desk.begin(5)
    counter.desk.wait(0.5)
    assert counter.answer(RAISED) == [(0, *RAISED)]


def test_the_end_of_another_process_is_not_for_the_second_attempt() -> None:
    counter = Counter(retries=1)
    counter.desk.begin(5)
    counter.desk.wait(1.1)
    counter.answer(RAISED)
    assert counter.desk.deadlines.reason_for(counter.desk.lane, 5, 0) is None
    reason = counter.desk.deadlines.reason(counter.desk.lane)
    assert reason is not None
    assert (reason.job, reason.failed) == (0, (5, 0))
