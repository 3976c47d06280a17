"""From calls and iterables to jobs: pickling in the submitting thread, chunks, and inputs that are users' code."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from poolsafe import errors
from poolsafe.engine import messages
from poolsafe.engine.messages import loads
from poolsafe.engine.state import EXHAUSTED, TERMINATED
from poolsafe.failures import MADE
from poolsafe.iterators import IMapIterator
from poolsafe.submission import Feeder, Submitter
from tests.support.gates import DEADLINE, wait_for
from tests.support.tasks import add, square

from .fakes import FakeEngine, FakeHome, FakeIntake, FakePool, value


class Case:
    """A submitter, where its jobs go, and what is settled by it."""

    def __init__(self) -> None:
        self.intake = FakeIntake()
        self.settled: list[tuple[Any, ...]] = []
        self.submitter = Submitter(self.intake, FakeEngine())

    def sink(self, *outcome: Any) -> None:
        self.settled.append(outcome)

    @property
    def jobs(self) -> list[Any]:
        return self.intake.jobs

    def content(self, number: int = 0) -> Any:
        payload = self.jobs[number].payload
        return loads(messages.open_payload(payload)[4])


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_call_is_a_job_of_one_item(case: Case) -> None:
    case.submitter.call(add, (1, 2), {"c": 3}, case.sink)
    [job] = case.jobs
    assert job.count == 1
    assert job.payload[:1] == messages.SINGLE
    assert case.content() == (add, (1, 2), {"c": 3})
    job.sink(0, messages.VALUE, b"x")
    assert case.settled == [(0, messages.VALUE, b"x")]


def test_numbers_rise_over_all_pools(case: Case) -> None:
    other = Case()
    case.submitter.call(square, (1,), {}, case.sink)
    other.submitter.call(square, (1,), {}, other.sink)
    case.submitter.call(square, (1,), {}, case.sink)
    assert case.jobs[0].ident < other.jobs[0].ident < case.jobs[1].ident
    assert case.jobs[0].ident > 0, "0 is no job, in a worker's page"


@pytest.mark.parametrize(("func", "args"), [(lambda: None, ()), (square, (threading.Lock(),))])
def test_a_call_that_does_not_pickle_is_settled(case: Case, func: Any, args: Any) -> None:
    case.submitter.call(func, args, {}, case.sink)
    assert case.jobs == []
    [(index, kind, made)] = case.settled
    assert (index, kind) == (0, MADE)
    assert isinstance(made, errors.TaskPicklingError)
    assert made.item is None


class Interrupting:
    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


def test_ctrl_c_while_pickling_is_the_users(case: Case) -> None:
    with pytest.raises(KeyboardInterrupt):
        case.submitter.call(square, (Interrupting(),), {}, case.sink)
    with pytest.raises(KeyboardInterrupt):
        case.submitter.chunks(messages.MAP, square, [Interrupting()], 1, case.sink)
    assert (case.jobs, case.settled) == ([], [])


@pytest.mark.parametrize("size", [1, 3, 10, 99])
def test_chunks_hold_all_items_in_order(case: Case, size: int) -> None:
    case.submitter.chunks(messages.MAP, square, list(range(10)), size, case.sink)
    assert [job.count for job in case.jobs] == [min(size, 10 - start) for start in range(0, 10, size)]
    contents = [case.content(number) for number in range(len(case.jobs))]
    assert [item for content in contents for item in content[4]] == list(range(10))
    assert {content[:1] + content[2:4] for content in contents} == {(messages.MAP, True, False)}
    case.jobs[-1].sink(0, messages.VALUE, b"x")
    base = 10 - case.jobs[-1].count
    assert case.settled == [(base, 0, messages.VALUE, b"x")]


def test_items_that_can_be_shared_are_pickled_one_by_one(case: Case) -> None:
    shared = [1]
    case.submitter.chunks(messages.STARMAP, square, [[shared], [shared]], 2, case.sink)
    mode, _, _, pickled, blobs = case.content()
    assert (mode, pickled) == (messages.STARMAP, True)
    assert [loads(blob) for blob in blobs] == [[[1]], [[1]]]


def test_items_that_do_not_pickle_cost_themselves(case: Case) -> None:
    items = [[0], threading.Lock(), [2], [3], threading.Lock(), threading.Lock(), [6]]
    case.submitter.chunks(messages.MAP, square, items, 7, case.sink)
    assert sorted(base + index for base, index, *_ in case.settled) == [1, 4, 5]
    assert sorted(made.item for *_, made in case.settled) == [1, 4, 5]
    assert [job.count for job in case.jobs] == [1, 2, 1]
    case.settled.clear()
    for job in case.jobs:
        for index in range(job.count):
            job.sink(index, messages.VALUE, b"")
    assert [base + index for base, index, *_ in case.settled] == [0, 2, 3, 6]


def test_a_chunk_of_nothing_that_pickles(case: Case) -> None:
    case.submitter.chunks(messages.MAP, square, [threading.Lock()] * 2, 2, case.sink)
    assert case.jobs == []
    assert len(case.settled) == 2


def test_a_function_that_does_not_pickle_costs_all_items(case: Case) -> None:
    case.submitter.chunks(messages.MAP, lambda item: item, list(range(5)), 2, case.sink)
    assert case.jobs == []
    assert [base + index for base, index, *_ in case.settled] == [0, 1, 2, 3, 4]
    assert all(isinstance(made, errors.TaskPicklingError) for *_, made in case.settled)


def test_an_error_of_the_parents_own(case: Case) -> None:
    problem = ValueError("from the iterable")
    case.submitter.fail_all(2, problem, case.sink)
    assert case.settled == [(0, 0, MADE, problem), (1, 0, MADE, problem)]


# -- feeding -----------------------------------------------------------------------------------------------------------
class Feeding(Case):
    """A feeder over an input, with the iterator that gets its results."""

    def __init__(self, iterable: Any, size: int = 1, ahead: int = 1000, func: Any = square) -> None:
        super().__init__()
        self.target: Any = IMapIterator(FakePool(), FakeHome())
        self.feeder: Feeder = self.submitter.feeder(func, iterable, size, ahead, self.target)

    def answer(self) -> None:
        """All jobs that have come are done: each item gives its number."""
        while self.jobs:
            job = self.jobs.pop(0)
            for index in range(job.count):
                job.sink(index, *value(job.sink.args[0] + index))

    @property
    def told(self) -> list[str]:
        return [event[0] for event in self.intake.events]


@pytest.mark.parametrize("size", [1, 3, 20])
def test_an_input_is_read_to_its_end(size: int) -> None:
    case = Feeding(iter(range(10)), size)
    case.feeder.open()
    assert case.told == ["opened"]
    case.feeder.run()
    assert case.told == ["opened", "exhausted"]
    assert sum(job.count for job in case.jobs) == 10
    case.answer()
    assert list(case.target) == list(range(10))


def test_an_empty_input() -> None:
    case = Feeding([])
    case.feeder.run()
    assert list(case.target) == []
    assert case.told == ["exhausted"]


def test_nothing_of_the_input_is_touched_before_the_feeder_runs() -> None:
    class Input:
        def __iter__(self) -> Iterator[int]:
            raise AssertionError("touched")

    case = Feeding(Input())
    case.feeder.open()
    assert case.jobs == []


def broken_after(count: int, problem: BaseException) -> Iterator[int]:
    yield from range(count)
    raise problem


@pytest.mark.parametrize("size", [1, 2, 10])
@pytest.mark.parametrize("count", [0, 1, 3, 4])
@pytest.mark.parametrize("problem", [ValueError("of the input"), KeyboardInterrupt(), SystemExit(1)])
def test_an_input_that_raises_does_so_after_the_whole_chunks_before(
    size: int, count: int, problem: BaseException
) -> None:
    case = Feeding(broken_after(count, problem), size)
    case.feeder.run()
    case.answer()
    got: list[int] = []
    with pytest.raises(type(problem)) as caught:
        for item in case.target:
            got.append(item)
    assert got == list(range(count - count % size)), "as in the stdlib, the chunk that was being read is lost"
    assert caught.value is problem
    assert list(case.target) == []
    assert case.told[-1] == "exhausted"


def test_what_is_no_input_is_an_error_of_the_first_item() -> None:
    case = Feeding(5)
    case.feeder.run()
    with pytest.raises(TypeError, match="not iterable"):
        next(case.target)
    assert list(case.target) == []


def test_a_function_that_does_not_pickle_costs_each_item() -> None:
    case = Feeding(range(3), func=lambda item: item)
    case.feeder.run()
    for _ in range(3):
        with pytest.raises(errors.TaskPicklingError):
            next(case.target)
    assert list(case.target) == []


def test_an_endless_input_is_not_read_further_than_agreed() -> None:
    case = Feeding(itertools.count(), size=2, ahead=6)
    thread = threading.Thread(target=case.feeder.run)
    thread.start()
    wait_for(lambda: len(case.target._room._locks) == 1, what="the feeder to pause")
    assert sum(job.count for job in case.jobs) == 6
    case.jobs[0].sink(0, *value(0))
    wait_for(lambda: len(case.jobs) == 4 and len(case.target._room._locks) == 1, what="the feeder to go on")
    case.target.ended(0, TERMINATED, (None, True))
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert len(case.jobs) == 4


def test_a_pool_that_ended_is_not_the_end_of_the_input() -> None:
    case = Feeding(range(3))
    case.target.ended(0, TERMINATED, (None, True))
    case.feeder.run()
    assert case.jobs == []
    with pytest.raises(errors.PoolTerminated):
        next(case.target)


def test_a_feeder_that_nobody_can_run_ends_the_input() -> None:
    case = Feeding(range(3))
    case.feeder.open()
    case.feeder.abandon()
    assert case.told == ["opened", "exhausted"]
    case.target.ended(0, EXHAUSTED, None)
    assert list(case.target) == []
