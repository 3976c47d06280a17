"""Errors and iterators, as existing code knows them. Each test runs with the stdlib's Pool too.

What may go wrong: a test that fails for "stdlib" is wrong about the stdlib; one that fails for "ours" is a difference
that a user would meet.
"""

from __future__ import annotations

import multiprocessing as mp
import re
import traceback
from collections.abc import Iterator
from multiprocessing.pool import MaybeEncodingError, Pool, RemoteTraceback
from typing import Any

import pytest

from tests.conformance import workers
from tests.conformance.common import LONG, MakeGate, error_of
from tests.support import tasks
from tests.support.gates import Gate, Tally

# Errors


def test_errors_keep_their_type_arguments_and_attributes(pool: Pool) -> None:
    with pytest.raises(workers.TwoPartError) as raised:
        pool.apply(workers.fail_with_a_cause)
    assert raised.value.args == (7, "the effect")
    assert raised.value.code == 7


def test_remote_traceback(pool: Pool) -> None:
    error = error_of(workers.TwoPartError, pool.apply, workers.fail_with_a_cause)
    assert type(error.__cause__) is RemoteTraceback
    text = str(error.__cause__)
    assert text == error.__cause__.tb
    assert re.fullmatch(r'\n"""\nTraceback \(most recent call last\):\n.*\n"""', text, re.DOTALL)
    assert "KeyError: 'the cause'" in text
    assert "The above exception was the direct cause of the following exception" in text
    assert 'raise TwoPartError(7, "the effect") from cause' in text
    assert text.rstrip('"\n').endswith("tests.conformance.workers.TwoPartError: (7, 'the effect')")
    assert text in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("chunksize", [1, 2, 5])
def test_map_raises_the_error_of_an_item(pool: Pool, chunksize: int) -> None:
    with pytest.raises(ValueError, match=r"^5 is odd$"):
        pool.map(workers.square_unless_odd, [0, 2, 5, 4], chunksize)
    assert pool.map(workers.square_unless_odd, [2, 4]) == [4, 16]


def test_map_waits_for_every_item_before_it_fails(pool: Pool, gate: MakeGate) -> None:
    arrived, go = gate("arrived"), gate("go")
    result = pool.map_async(_meet, [None, (arrived, go, "held")], chunksize=1)  # the first cannot be unpacked
    arrived.wait()
    with pytest.raises(mp.TimeoutError):
        result.get(0.05)
    go.open()
    with pytest.raises(TypeError):
        result.get(LONG)


def test_result_that_does_not_pickle(pool: Pool) -> None:
    error = error_of(MaybeEncodingError, pool.apply, workers.unpicklable_result)
    assert "unpicklable_result.<locals>.<lambda>" in error.value
    assert isinstance(error.exc, str)
    assert "lambda" in error.exc
    assert "lambda" in str(error)


def test_error_that_does_not_pickle(pool: Pool) -> None:
    error = error_of(MaybeEncodingError, pool.apply, workers.unpicklable_error)
    assert "lambda" in error.exc
    assert isinstance(error.value, str)
    assert pool.apply(tasks.square, (3,)) == 9


# Iterators


def test_imap_keeps_the_order_and_imap_unordered_does_not(pool: Pool, gate: MakeGate) -> None:
    arrived, go = gate("arrived"), gate("go")
    go_at_once = gate("at once")
    go_at_once.open()
    work = [(arrived, go, "held"), (arrived, go_at_once, "quick")]
    unordered = pool.imap_unordered(_meet, work)
    assert next(unordered) == "quick"
    ordered = pool.imap(_meet, work)
    with pytest.raises(mp.TimeoutError):
        ordered.next(0.05)
    go.open()
    assert list(unordered) == ["held"]
    assert list(ordered) == ["held", "quick"]


def _meet(item: tuple[Gate, Gate, str]) -> str:
    tasks.meet(*item)
    return item[2]


@pytest.mark.parametrize("method", ["imap", "imap_unordered"])
def test_next_with_a_timeout_loses_nothing(pool: Pool, method: str, gate: MakeGate) -> None:
    arrived, go = gate("arrived"), gate("go")
    iterator = getattr(pool, method)(_meet, [(arrived, go, "held")])
    for _ in range(3):
        with pytest.raises(mp.TimeoutError):
            iterator.next(timeout=0.01)
    go.open()
    assert iterator.next(LONG) == "held"
    for _ in range(2):
        with pytest.raises(StopIteration):
            iterator.next(timeout=LONG)


def test_imap_begins_by_itself(pool: Pool, tally: Tally) -> None:
    iterator = pool.imap(_record, [(tally, i) for i in range(5)])
    assert sorted(tally.wait(5)) == list("01234")
    assert list(iterator) == [None] * 5


def _record(item: tuple[Tally, int]) -> None:
    item[0].add(item[1])


@pytest.mark.parametrize("method", ["imap", "imap_unordered"])
def test_iteration_goes_on_after_an_error(pool: Pool, method: str) -> None:
    iterator = getattr(pool, method)(workers.square_unless_odd, range(5))
    seen: list[Any] = []
    for _ in range(5):
        try:
            seen.append(next(iterator))
        except ValueError as error:
            seen.append(str(error))
    expected = [0, "1 is odd", 4, "3 is odd", 16]
    assert seen == expected or (method == "imap_unordered" and sorted(seen, key=str) == sorted(expected, key=str))
    with pytest.raises(StopIteration):
        next(iterator)


def test_an_error_of_the_input_ends_the_iteration_where_it_came(pool: Pool) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise workers.TwoPartError(1, "no more")

    iterator = pool.imap(tasks.square, items())
    assert [next(iterator) for _ in range(3)] == [0, 1, 4]
    error = error_of(workers.TwoPartError, next, iterator)
    assert error.__cause__ is None
    with pytest.raises(StopIteration):
        next(iterator)
    assert error_of(workers.TwoPartError, pool.map, tasks.square, items()).__cause__ is None


def test_a_dropped_iterator_does_not_stop_the_pool(pool: Pool) -> None:
    iterator = pool.imap(tasks.square, range(1000))
    assert next(iterator) == 0
    del iterator
    assert pool.apply(tasks.square, (3,)) == 9
