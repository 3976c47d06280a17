"""Calls and their results, as existing code knows them. Each test runs with the stdlib's Pool too.

What may go wrong: a test that fails for "stdlib" is wrong about the stdlib; one that fails for "ours" is a difference
that a user would meet.
"""

from __future__ import annotations

import multiprocessing as mp
import multiprocessing.pool
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.pool import AsyncResult, MapResult, Pool
from typing import Any

import pytest

from tests.conformance.common import LONG, MakeGate, error_of
from tests.support import tasks
from tests.support.gates import Gate

# Arguments


@pytest.mark.parametrize("args", [(1, 2), [1, 2], range(1, 3), "12", {1: 0, 2: 0}])
def test_apply_takes_any_iterable_of_arguments(pool: Pool, args: Any) -> None:
    assert pool.apply(tasks.call_with, args) == (tuple(args), {})


def test_apply_by_name(pool: Pool) -> None:
    assert pool.apply(func=tasks.call_with, args=(1,), kwds={"x": 2}) == ((1,), {"x": 2})
    assert pool.apply(tasks.call_with, kwds={"x": 2}) == ((), {"x": 2})
    seen: list[Any] = []
    result = pool.apply_async(
        func=tasks.call_with, args=(1,), kwds={"x": 2}, callback=seen.append, error_callback=seen.append
    )
    assert result.get(LONG) == ((1,), {"x": 2})
    assert seen == [((1,), {"x": 2})]


@pytest.mark.parametrize("args", [None, 5])
def test_apply_with_arguments_that_are_none(pool: Pool, args: Any) -> None:
    with pytest.raises(TypeError, match=r"argument after \* must be an iterable, not (NoneType|int)"):
        pool.apply(tasks.call_with, args)


@pytest.mark.parametrize("kwds", [None, 5, [1]])
def test_apply_with_keywords_that_are_none(pool: Pool, kwds: Any) -> None:
    with pytest.raises(TypeError, match=r"argument after \*\* must be a mapping, not (NoneType|int|list)"):
        pool.apply(tasks.call_with, (), kwds)


def test_function_that_is_none(pool: Pool) -> None:
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        pool.apply(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'int' object is not callable"):
        pool.map(5, [1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [list, tuple, iter, set, lambda items: (i for i in items), lambda items: dict.fromkeys(items), lambda items: items],
    ids=["list", "tuple", "iterator", "set", "generator", "dict", "range"],
)
@pytest.mark.parametrize("chunksize", [None, 1, 3, 100])
def test_map_takes_any_iterable(pool: Pool, make: Callable[[range], Iterable[int]], chunksize: int | None) -> None:
    squares = [i * i for i in range(10)]
    assert pool.map(tasks.square, make(range(10)), chunksize) == squares
    assert pool.map_async(tasks.square, make(range(10)), chunksize=chunksize).get(LONG) == squares
    assert list(pool.imap(tasks.square, make(range(10)), chunksize or 1)) == squares
    assert sorted(pool.imap_unordered(tasks.square, make(range(10)), chunksize or 1)) == squares


class Lengthless:
    """An iterable by the old protocol alone."""

    def __getitem__(self, index: int) -> int:
        if index > 4:
            raise IndexError
        return index


def test_map_takes_a_sequence_of_the_old_protocol(pool: Pool) -> None:
    assert pool.map(tasks.square, Lengthless()) == [0, 1, 4, 9, 16]  # type: ignore[arg-type]
    assert list(pool.imap(tasks.square, Lengthless())) == [0, 1, 4, 9, 16]  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["map", "map_async", "starmap", "starmap_async"])
def test_map_over_what_is_no_iterable(pool: Pool, method: str) -> None:
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        getattr(pool, method)(tasks.square, 5)


@pytest.mark.parametrize("method", ["imap", "imap_unordered"])
@pytest.mark.parametrize("chunksize", [1, 2])
def test_imap_over_what_is_no_iterable_tells_at_the_first_item(pool: Pool, method: str, chunksize: int) -> None:
    iterator = getattr(pool, method)(tasks.square, 5, chunksize)
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        next(iterator)


@pytest.mark.parametrize("method", ["imap", "imap_unordered"])
@pytest.mark.parametrize("chunksize", [0, -1])
def test_imap_checks_its_chunksize(pool: Pool, method: str, chunksize: int) -> None:
    with pytest.raises(ValueError, match=f"^Chunksize must be 1\\+, not {chunksize}$"):
        getattr(pool, method)(tasks.square, [1], chunksize)


def test_starmap_unpacks(pool: Pool) -> None:
    assert pool.starmap(tasks.add, [(1, 2), [3, 4], "ab", range(2)]) == [3, 7, "ab", 1]
    assert pool.starmap(tasks.add, ((i, i) for i in range(3)), chunksize=2) == [0, 2, 4]
    assert pool.starmap(func=tasks.add, iterable=iter([(1, 2)]), chunksize=1) == [3]


@pytest.mark.parametrize(("item", "text"), [(5, "iterable"), ((1,), "missing 1 required"), ((), "missing 2")])
def test_starmap_with_an_item_that_does_not_fit(pool: Pool, item: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        pool.starmap(tasks.add, [item])


def test_argument_that_does_not_pickle(pool: Pool) -> None:
    seen: list[BaseException] = []
    result = pool.apply_async(tasks.identity, (lambda: None,), error_callback=seen.append)
    with pytest.raises(Exception, match="lambda") as raised:
        result.get(LONG)
    assert seen == [raised.value]
    with pytest.raises(Exception, match="lambda"):
        pool.map(tasks.identity, [1, lambda: None, 3], chunksize=1)
    assert pool.apply(tasks.square, (3,)) == 9


# Results


def test_types(pool: Pool) -> None:
    assert isinstance(pool.apply_async(tasks.square, (3,)), AsyncResult)
    assert isinstance(pool.map_async(tasks.square, [3]), MapResult)
    assert isinstance(pool.starmap_async(tasks.add, [(3, 4)]), MapResult)
    ordered, unordered = pool.imap(tasks.square, [3]), pool.imap_unordered(tasks.square, [3])
    assert isinstance(ordered, multiprocessing.pool.IMapIterator)
    assert isinstance(unordered, multiprocessing.pool.IMapUnorderedIterator)
    for iterator in (ordered, unordered, pool.imap(tasks.square, [3], 2), pool.imap_unordered(tasks.square, [3], 2)):
        assert isinstance(iterator, Iterator)
        assert iter(iterator) is iterator
        assert next(iterator) == 9


def test_result_types_may_be_subscripted(pool: Pool) -> None:
    assert type(pool.apply_async(tasks.square, (3,)))[int].__args__ == (int,)  # type: ignore[index]


def test_states_of_a_result(pool: Pool, gate: MakeGate) -> None:
    arrived, go = gate("arrived"), gate("go")
    result = pool.apply_async(tasks.meet, (arrived, go, "done"))
    arrived.wait()
    assert result.ready() is False
    with pytest.raises(ValueError, match=r"not ready$"):
        result.successful()
    assert result.wait(0.01) is None  # type: ignore[func-returns-value]
    for timeout in (0, 0.01, -1):
        with pytest.raises(mp.TimeoutError):
            result.get(timeout)
    go.open()
    result.wait()
    assert (result.ready(), result.successful(), result.get(timeout=0)) == (True, True, "done")


def test_a_timed_out_map_is_not_lost(pool: Pool, gate: MakeGate) -> None:
    arrived, go = gate("arrived"), gate("go")
    result = pool.starmap_async(tasks.meet, [(arrived, go, i) for i in range(3)], chunksize=1)
    with pytest.raises(mp.TimeoutError):
        result.get(0.01)
    assert not result.ready()
    go.open()
    assert result.get(LONG) == [0, 1, 2]


def test_a_result_may_be_had_often(pool: Pool) -> None:
    result = pool.apply_async(tasks.identity, ([1],))
    assert result.get(LONG) == [1]
    assert result.get() is result.get()
    failed = pool.apply_async(tasks.raise_, (ValueError("mine"),))
    errors = [error_of(ValueError, failed.get, LONG) for _ in range(2)]
    assert errors[0] is errors[1]
    assert failed.ready()
    assert not failed.successful()


@pytest.mark.parametrize(
    "value", [None, ValueError("a value"), b"x" * 300_000, {"a": [{}]}], ids=lambda v: type(v).__name__
)
def test_any_value_comes_back(pool: Pool, value: Any) -> None:
    for back in (pool.apply(tasks.identity, (value,)), *pool.map(tasks.identity, [value])):
        assert type(back) is type(value)
        assert repr(back) == repr(value)


@pytest.mark.parametrize("chunksize", [None, 1])
def test_empty_iterable(pool: Pool, chunksize: int | None) -> None:
    seen: list[Any] = []
    result = pool.map_async(tasks.square, [], chunksize, seen.append, seen.append)
    assert (result.ready(), result.successful(), result.get(LONG)) == (True, True, [])
    assert pool.map(tasks.square, iter(())) == []
    assert list(pool.imap(tasks.square, [])) == []
    assert list(pool.imap_unordered(tasks.square, [], 3)) == []
    pool.close()
    pool.join()
    assert seen == []


# Callbacks


def test_callbacks_come_before_the_result_is_ready(pool: Pool, gate: MakeGate) -> None:
    states: list[bool] = []
    results: list[AsyncResult[Any]] = []
    submissions = (
        lambda look: pool.apply_async(tasks.square, (3,), {}, look),
        lambda look: pool.map_async(tasks.square, [3], None, look),
        lambda look: pool.apply_async(tasks.raise_, (ValueError(),), {}, None, look),
        lambda look: pool.map_async(tasks.raise_, [ValueError()], None, None, look),
    )
    for number, submit in enumerate(submissions):
        known = gate(f"result-{number}")

        def look(_: Any, known: Gate = known) -> None:
            known.wait()  # or it would look at the result before
            states.append(results[-1].ready())

        results.append(submit(look))
        known.open()
        results[-1].wait(LONG)
        assert results[-1].ready()
    assert states == [False] * 4


def test_which_callback_is_called(pool: Pool) -> None:
    calls: list[tuple[str, Any]] = []
    both: dict[str, Any] = {
        "callback": lambda value: calls.append(("value", value)),
        "error_callback": lambda error: calls.append(("error", repr(error))),
    }
    for submit, *args in (
        (pool.apply_async, tasks.square, (3,)),
        (pool.apply_async, tasks.raise_, (KeyError("one"),)),
        (pool.map_async, tasks.square, [1, 2]),
        (pool.map_async, tasks.raise_, [KeyError("two")]),
        (pool.starmap_async, tasks.add, [(1, 2)]),
        (pool.starmap_async, tasks.raise_, [(KeyError("three"),)]),
    ):
        submit(*args, **both).wait(LONG)
    assert calls == [
        ("value", 9),
        ("error", "KeyError('one')"),
        ("value", [1, 4]),
        ("error", "KeyError('two')"),
        ("value", [3]),
        ("error", "KeyError('three')"),
    ]


def test_callback_gets_the_object_that_get_returns(pool: Pool) -> None:
    seen: list[Any] = []
    result = pool.apply_async(tasks.identity, ([1],), callback=seen.append)
    assert result.get(LONG) is seen[0]
    failed = pool.apply_async(tasks.raise_, (ValueError("mine"),), error_callback=seen.append)
    assert error_of(ValueError, failed.get, LONG) is seen[1]


def test_a_callback_may_submit(pool: Pool, gate: MakeGate) -> None:
    done = gate("done")
    got: list[int] = []

    def save(n: int) -> None:
        got.append(n)
        done.open()

    pool.apply_async(tasks.square, (3,), callback=lambda n: pool.apply_async(tasks.square, (n,), callback=save))
    done.wait()
    assert got == [81]
