"""Tasks that are called off: one that has not begun never does, one that runs is ended, no other one is touched."""

from __future__ import annotations

import concurrent.futures
import itertools
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, TaskCancelled
from tests.support import tasks
from tests.support.gates import Gate, Tally, wait_for
from tests.support.levels import FRESH
from tests.survival.conftest import MakePool
from tests.survival.support import chores, limits
from tests.survival.support.ways import LIMIT, assert_full_strength, living

pytestmark = pytest.mark.turns


def begun(tally: Tally, count: int = 1) -> list[int]:
    return [int(pid) for pid in tally.wait(count, LIMIT)]


def test_one_that_runs_is_ended(pool: IsolatedPool, tmp_path: Path) -> None:
    gate, arrivals, seen = Gate(tmp_path / "gate"), Tally(tmp_path / "arrivals"), list[Any]()
    result = pool.apply_async(chores.wait_at, (gate, arrivals), error_callback=seen.append)
    [pid] = begun(arrivals)
    assert result.cancel() is True
    with pytest.raises(concurrent.futures.CancelledError) as caught:
        result.get(LIMIT)
    assert isinstance(caught.value, TaskCancelled)
    assert caught.value.may_have_run
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert seen == [caught.value]
    assert result.cancelled()
    assert not result.successful()
    assert result.cancel() is False
    wait_for(lambda: pid not in living(pool), LIMIT, "the worker's end")
    assert_full_strength(pool, 2, tmp_path)
    assert arrivals.entries() == [str(pid)]


@pytest.mark.parametrize("deed", [limits.be_deaf, limits.hold_the_gil, limits.stop])
def test_whatever_it_does(make_pool: MakePool, tmp_path: Path, deed: Any) -> None:
    pool = make_pool(1)
    arrivals = Tally(tmp_path / "arrivals")
    result = pool.apply_async(limits.note_and, (arrivals, deed))
    [pid] = begun(arrivals)
    result.cancel()
    with pytest.raises(TaskCancelled):
        result.get(LIMIT)
    wait_for(lambda: pid not in living(pool), LIMIT, "the worker's end")
    assert pool.apply(tasks.square, (3,)) == 9


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_one_that_is_done_cannot_be_though_its_callback_runs(pool: IsolatedPool, fails: bool, whole: bool) -> None:
    """What comes of it is known by then; only nobody may ask for it yet."""
    told, heard, go = list[Any](), threading.Event(), threading.Event()

    def call_back(_: Any) -> None:
        heard.set()
        go.wait(LIMIT)
        told.append(result.cancel())

    deed: Any = tasks.raise_ if fails else tasks.square
    items: list[Any] = [ValueError("on purpose")] * 2 if fails else [3, 4]
    submit: Any = pool.map_async if whole else pool.apply_async
    result = submit(deed, items if whole else items[:1], callback=call_back, error_callback=call_back)
    behind = pool.apply_async(tasks.square, (5,), callback=lambda _: None)
    assert heard.wait(LIMIT)
    wait_for(lambda: pool.stats().tasks == 1 + (2 if whole else 1), LIMIT, "the value of the one behind it")
    assert (result.cancel(), result.ready(), behind.cancel()) == (False, False, False)
    go.set()
    if fails:
        with pytest.raises(ValueError, match="on purpose"):
            result.get(LIMIT)
    else:
        assert result.get(LIMIT) == ([9, 16] if whole else 9)
    assert behind.get(LIMIT) == 25
    assert told == [False]
    assert not result.cancelled()


def test_one_that_waits_never_runs(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1)
    gate, arrivals, tally = Gate(tmp_path / "gate"), Tally(tmp_path / "arrivals"), Tally(tmp_path / "tally")
    first = pool.apply_async(chores.wait_at, (gate, arrivals))
    [pid] = begun(arrivals)
    others = [pool.apply_async(tasks.record, (tally, i, i)) for i in range(40)]  # some are with the worker already
    for i in range(0, 40, 2):
        others[i].cancel()
    gate.open()
    assert first.get(LIMIT) == pid, "the one before them is not touched"
    for i, other in enumerate(others):
        if i % 2:
            assert other.get(LIMIT) == i
        else:
            with pytest.raises(TaskCancelled):
                other.get(LIMIT)
    assert sorted(map(int, tally.entries())) == list(range(1, 40, 2))


def test_a_whole_map(pool: IsolatedPool, tmp_path: Path) -> None:
    gate, arrivals, tally = Gate(tmp_path / "gate"), Tally(tmp_path / "arrivals"), Tally(tmp_path / "tally")
    whole = pool.map_async(chores.wait_at_pair, [(gate, arrivals)] * 50, chunksize=5)
    other = pool.starmap_async(tasks.record, [(tally, i, i) for i in range(20)], chunksize=3)
    begun(arrivals, 2)
    whole.cancel()
    with pytest.raises(TaskCancelled):
        whole.get(LIMIT)
    assert other.get(LIMIT) == list(range(20))
    assert sorted(map(int, tally.entries())) == list(range(20))
    assert len(arrivals.entries()) == 2
    assert whole.cancelled()
    assert_full_strength(pool, 2, tmp_path)


def test_a_map_of_which_an_item_has_failed(pool: IsolatedPool, tmp_path: Path) -> None:
    arrivals = Tally(tmp_path / "arrivals")
    deeds = [limits.raise_value_error, limits.be_deaf]
    result = pool.starmap_async(limits.note_and, [(arrivals, deed) for deed in deeds], 1)
    begun(arrivals, 2)
    wait_for(lambda: result._number_left == 1, LIMIT, "the failure")
    assert result.cancel()
    with pytest.raises(TaskCancelled):
        result.get(LIMIT)
    assert result.cancelled()
    assert_full_strength(pool, 2, tmp_path)


def test_one_that_is_done_stays_so(pool: IsolatedPool) -> None:
    result = pool.apply_async(tasks.square, (4,))
    assert result.get(LIMIT) == 16
    assert result.cancel() is False
    assert not result.cancelled()
    assert result.get() == 16
    mapped = pool.map_async(tasks.square, [])
    assert mapped.cancel() is False
    assert pool.apply_async(limits.raise_value_error).cancelled() is False


def test_it_is_not_tried_again(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1, retries=5)
    gate, arrivals = Gate(tmp_path / "gate"), Tally(tmp_path / "arrivals")
    result = pool.apply_async(chores.wait_at, (gate, arrivals))
    begun(arrivals)
    result.cancel()
    with pytest.raises(TaskCancelled):
        result.get(LIMIT)
    assert pool.apply(tasks.square, (3,)) == 9
    assert len(arrivals.entries()) == 1
    assert pool.stats().retried == 0


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_the_pool_ends(make_pool: MakePool, tmp_path: Path, end: str) -> None:
    pool = make_pool(2)
    gate, arrivals = Gate(tmp_path / "gate"), Tally(tmp_path / "arrivals")
    results = [pool.apply_async(chores.wait_at, (gate, arrivals)) for _ in range(6)]
    begun(arrivals, 2)
    for result in results:
        result.cancel()
    getattr(pool, end)()
    pool.join()
    assert all(result.ready() for result in results)


def test_many_at_random_moments(make_pool: MakePool, tmp_path: Path) -> None:
    """Each comes through or is called off, none both, and none runs twice."""
    pool = make_pool(3)
    tally = Tally(tmp_path / "tally")
    results = [pool.apply_async(tasks.record, (tally, i, i)) for i in range(200)]
    for result in results[::3]:
        result.cancel()
    outcomes: list[Any] = []
    for result in results:
        try:
            outcomes.append(result.get(LIMIT))
        except TaskCancelled:
            outcomes.append(None)
    assert all(outcome == i for i, outcome in enumerate(outcomes) if outcome is not None or i % 3)
    entries = list(map(int, tally.entries()))
    assert len(entries) == len(set(entries))
    assert {i for i, outcome in enumerate(outcomes) if outcome is not None} <= set(entries)
    assert_full_strength(pool, 3, tmp_path)


def test_in_a_fresh_process_for_each(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1, isolation="process")
    gate, arrivals = Gate(tmp_path / "gate"), Tally(tmp_path / "arrivals")
    results = [pool.apply_async(chores.wait_at, (gate, arrivals)) for _ in range(3)]
    begun(arrivals)
    results[0].cancel()
    results[1].cancel()
    gate.open()
    assert isinstance(results[2].get(LIMIT), int)
    assert [result.cancelled() for result in results] == [True, True, False]


# -- iterators ---------------------------------------------------------------------------------------------------------
WAYS = ["imap", "imap_unordered"]


def drain(iterator: Any) -> list[Any]:
    """Values as they come, and the name of each error."""
    seen: list[Any] = []
    while True:
        try:
            seen.append(iterator.next(LIMIT))
        except StopIteration:
            return seen
        except Exception as error:
            seen.append(type(error).__name__)


@pytest.mark.parametrize("way", WAYS)
def test_an_iterator(make_pool: MakePool, tmp_path: Path, way: str) -> None:
    pool = make_pool(1)
    gate, arrivals = Gate(tmp_path / "gate"), Tally(tmp_path / "arrivals")
    read: list[int] = []

    def endless() -> Any:
        for i in itertools.count():
            read.append(i)
            yield (arrivals, i, None if i < 3 else gate)

    results = getattr(pool, way)(limits.note_and_wait, endless())
    assert [results.next(LIMIT) for _ in range(2)] == [0, 1]
    arrivals.wait(4)
    wait_for(lambda: results._settled == 3, LIMIT, "the answers of those before it")
    assert results.cancel() is True
    known = len(read)
    assert results.cancel() is False, "there is nothing more to be called off"
    seen = drain(results)
    assert seen[0] == 2, "what was done still comes"
    assert set(seen[1:]) == {"TaskCancelled"}
    assert known - 2 <= len(seen) <= known, "one for each item, and one for the rest"
    assert results.cancelled()
    assert pool.apply(tasks.square, (3,)) == 9
    assert len(arrivals.entries()) == 4
    assert len(read) <= known + 1


@pytest.mark.parametrize("way", WAYS)
def test_an_iterator_whose_input_blocks(make_pool: MakePool, tmp_path: Path, way: str) -> None:
    pool = make_pool(1)
    gate = Gate(tmp_path / "gate")

    def blocked() -> Any:
        yield 5
        gate.wait()
        yield 6

    results = getattr(pool, way)(tasks.square, blocked())
    assert results.next(LIMIT) == 25
    assert results.cancel() is True
    assert drain(results) == ["TaskCancelled"], "whoever waits is not to wait for the input"
    pool.close()
    pool.join()
    gate.open()
    assert drain(results) == []


@pytest.mark.parametrize("way", WAYS)
def test_an_iterator_whose_input_is_read(make_pool: MakePool, tmp_path: Path, way: str) -> None:
    pool = make_pool(1)
    gate, arrivals = Gate(tmp_path / "gate"), Tally(tmp_path / "arrivals")
    results = getattr(pool, way)(limits.note_and_wait, [(arrivals, i, gate if i else None) for i in range(5)])
    other = pool.imap(tasks.square, range(5))
    arrivals.wait(2)
    wait_for(lambda: results._length is not None and results._settled == 1, LIMIT, "the end of the input")
    assert results.cancel() is True
    assert sorted(map(str, drain(results))) == ["0", *["TaskCancelled"] * 4]
    assert drain(other) == [0, 1, 4, 9, 16], "no other one is touched"
    assert not other.cancelled()
    assert other.cancel() is False


@pytest.mark.parametrize("way", WAYS)
def test_iterators_at_random_moments(make_pool: MakePool, tmp_path: Path, way: str) -> None:
    pool = make_pool(2)
    tally = Tally(tmp_path / "tally")
    for count in range(0, 30, 5 if FRESH else 1):
        results = getattr(pool, way)(
            limits.note_and_wait, ((tally, i, None) for i in range(count * 100, count * 100 + 40))
        )
        first = [results.next(LIMIT) for _ in range(count)]
        results.cancel()
        seen = drain(results)
        values = first + [value for value in seen if value != "TaskCancelled"]
        entries = list(map(int, tally.entries()))
        assert len(entries) == len(set(entries))
        assert set(values) <= set(entries)
    assert_full_strength(pool, 2, tmp_path)
