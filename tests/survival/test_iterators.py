"""Input that raises, blocks, never ends or uses the pool; consumers that stop early, share or time out.

Who uses it: pytest. What may go wrong: a user's iterator ends a thread of the pool, a result is lost with a timeout,
or a pool lives for ever because somebody dropped an iterator.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing as mp
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, PoolTerminated
from tests.support import tasks
from tests.support.gates import Tally, wait_for
from tests.support.levels import LEVEL, many
from tests.survival.conftest import RESET, MakePool
from tests.survival.support import chores, hostile
from tests.survival.support.cases import spread
from tests.survival.support.chores import Chore, do
from tests.survival.support.ways import LIMIT, assert_full_strength, runs

pytestmark = pytest.mark.turns

KINDS = [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, hostile.Bare, MemoryError]
IMAPS = ["imap", "imap_unordered"]
#: Tasks, where it takes a lot of them: a process for each has its price.
MANY = many(500, 100, 30)


class FailsAt:
    """An input of ten numbers that raises when the given one is asked for; -1: when iteration begins."""

    def __init__(self, where: int, kind: type[BaseException] = ValueError) -> None:
        self.where = where
        self.kind = kind

    def __iter__(self) -> Iterator[int]:
        if self.where < 0:
            raise self.kind("at the start")
        return self._numbers()

    def _numbers(self) -> Iterator[int]:
        for i in range(10):
            if i == self.where:
                raise self.kind("on the way")
            yield i
        if self.where == 10:
            raise self.kind("at the end")


class SizedFailsAt(FailsAt):
    def __len__(self) -> int:
        return 10


class LiesAboutItsLength(FailsAt):
    def __len__(self) -> int:
        raise RuntimeError("no length")


def drain(iterator: Any) -> tuple[list[Any], list[BaseException]]:
    values: list[Any] = []
    errors: list[BaseException] = []
    while True:
        try:
            values.append(iterator.next(LIMIT))
        except StopIteration:
            return values, errors
        except BaseException as error:
            errors.append(error)


@pytest.mark.parametrize(
    ("start_method", "case"),
    spread(itertools.product(IMAPS, [1, 3], [-1, 0, 1, 5, 10]), ("imap", 3, 5), ("imap_unordered", 1, 5)),
)
def test_input_that_raises(pool: IsolatedPool, case: tuple[str, int, int]) -> None:
    way, chunksize, where = case
    values, errors = drain(getattr(pool, way)(tasks.square, FailsAt(where), chunksize))
    whole = max(where, 0) // chunksize * chunksize
    assert sorted(values)[:whole] == [i * i for i in range(whole)], "all that were read in whole chunks"
    assert sorted(values) == [i * i for i in range(len(values))]
    assert len(values) <= max(where, 0)
    [error] = errors
    assert type(error) is ValueError
    assert pool.map(tasks.square, range(4)) == [0, 1, 4, 9]


@pytest.mark.parametrize(("start_method", "kind"), spread(KINDS, KeyboardInterrupt))
def test_input_that_raises_anything(pool: IsolatedPool, kind: type[BaseException], tmp_path: Path) -> None:
    for way in IMAPS:
        values, errors = drain(getattr(pool, way)(tasks.square, FailsAt(3, kind)))
        assert sorted(values) == [0, 1, 4], way
        assert [type(error) for error in errors] == [kind], way
    for call in (pool.map, pool.starmap, pool.map_async, pool.starmap_async):
        with pytest.raises(kind):
            call(tasks.square, FailsAt(3, kind))
    for call in (pool.map, pool.starmap):
        with pytest.raises((kind, RuntimeError)):
            call(tasks.square, LiesAboutItsLength(3, kind))
    assert_full_strength(pool, 2, tmp_path)


@pytest.mark.parametrize(("start_method", "where"), spread([-1, 0, 5, 10], 5))
def test_sized_input_that_raises(pool: IsolatedPool, where: int) -> None:
    for call in (pool.map, pool.starmap):
        with pytest.raises(ValueError, match=r"at the|on the way"):
            call(tasks.square, SizedFailsAt(where))
    called: list[BaseException] = []
    result = pool.map_async(tasks.square, SizedFailsAt(where), error_callback=called.append)
    with pytest.raises(ValueError):
        result.get(LIMIT)
    assert [type(error) for error in called] == [ValueError]
    assert pool.map(tasks.square, range(4)) == [0, 1, 4, 9]


@pytest.mark.parametrize("way", IMAPS)
def test_input_that_never_ends(make_pool: MakePool, way: str) -> None:
    pool = make_pool()
    iterator = getattr(pool, way)(tasks.square, itertools.count())
    first = [iterator.next(LIMIT) for _ in range(100)]
    if way == "imap":
        assert first == [i * i for i in range(100)]
    assert len(set(first)) == 100
    assert pool.apply(tasks.square, (3,)) == 9, "others get their turn"
    pool.terminate()
    pool.join()
    errors = []
    with pytest.raises(PoolTerminated) as caught:
        for _ in range(1_000_000):
            errors.append(iterator.next(LIMIT))
    assert caught.value.fact


@pytest.mark.parametrize("way", IMAPS)
def test_input_that_never_ends_is_not_read_far_ahead(pool: IsolatedPool, way: str, gate: Any, tally: Tally) -> None:
    """While the workers are busy, reading pauses."""
    go = gate("go")
    held = [pool.apply_async(chores.wait_at, (go, tally)) for _ in range(2)]
    tally.wait(2)
    read = itertools.count()
    counted = (next(read) for _ in itertools.count())
    iterator = getattr(pool, way)(tasks.square, counted)
    with pytest.raises(mp.TimeoutError):
        iterator.next(0.2)
    assert next(read) < 1000
    go.open()
    for result in held:
        result.get(LIMIT)
    assert len({iterator.next(LIMIT) for _ in range(MANY)}) == MANY
    pool.terminate()


@pytest.mark.parametrize("way", IMAPS)
@pytest.mark.parametrize("end", ["terminate", "with"])
def test_input_that_blocks_does_not_hold_up_the_end(make_pool: MakePool, way: str, end: str) -> None:
    pool = make_pool()
    release, blocked = threading.Event(), threading.Event()

    def blocking() -> Iterator[int]:
        yield from range(5)
        blocked.set()
        release.wait(30)
        yield 5

    try:
        iterator = getattr(pool, way)(tasks.square, blocking())
        assert [iterator.next(LIMIT) for _ in range(3)]
        assert blocked.wait(LIMIT)
        start = time.monotonic()
        if end == "with":
            with pool:
                pass
        else:
            pool.terminate()
        pool.join()
        assert time.monotonic() - start < LIMIT
        values, errors = [], []
        try:
            while True:
                values.append(iterator.next(LIMIT))
        except PoolTerminated as error:
            errors.append(error)
        assert len(values) <= 2
        assert errors
    finally:
        release.set()


@pytest.mark.parametrize("way", IMAPS)
def test_input_that_uses_the_pool(pool: IsolatedPool, way: str) -> None:
    def busy() -> Iterator[int]:
        for i in range(10):
            yield pool.apply(tasks.square, (i,))
            yield from pool.imap(tasks.square, range(2))

    values, errors = drain(getattr(pool, way)(tasks.identity, busy()))
    assert errors == []
    assert Counter(values) == Counter([i * i for i in range(10)] + [0, 1] * 10)
    assert pool.map(tasks.square, (pool.apply(tasks.square, (i,)) for i in range(3))) == [0, 1, 16]


@pytest.mark.parametrize("way", IMAPS)
@pytest.mark.parametrize("end", ["close", "terminate"])
def test_input_that_ends_the_pool(make_pool: MakePool, way: str, end: str) -> None:
    pool = make_pool()

    def ending() -> Iterator[int]:
        yield from range(5)
        getattr(pool, end)()
        yield from range(5, 10)

    iterator = getattr(pool, way)(tasks.square, ending())
    if end == "close":
        values, errors = drain(iterator)
        assert sorted(values) == [i * i for i in range(10)], "what was handed over before the close is finished"
        assert errors == []
    else:
        with pytest.raises((PoolTerminated, StopIteration)):
            for _ in range(20):
                iterator.next(LIMIT)
    pool.join()


@pytest.mark.parametrize("way", IMAPS)
def test_input_is_advanced_by_one_thread(pool: IsolatedPool, way: str) -> None:
    """However many consume the results; a generator that was entered twice would raise."""
    readers: set[int] = set()

    def numbers() -> Iterator[int]:
        for i in range(MANY):
            readers.add(threading.get_ident())
            yield i

    iterator = getattr(pool, way)(tasks.identity, numbers())
    values: list[int] = []
    consumers = [threading.Thread(target=values.extend, args=(iterator,)) for _ in range(3)]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join(3 * LIMIT)
        assert not consumer.is_alive()
    assert sorted(values) == list(range(MANY))
    assert len(readers) == 1
    assert threading.get_ident() not in readers


# Consumers


@pytest.mark.parametrize(
    ("start_method", "case"), spread(itertools.product(IMAPS, [0, 1, MANY]), *itertools.product(IMAPS, [1]))
)
def test_a_consumer_that_stops_early(pool: IsolatedPool, case: tuple[str, int], tally: Tally, tmp_path: Path) -> None:
    way, left = case
    iterator = getattr(pool, way)(do, (Chore(i, tally) for i in range(MANY)))
    for _ in range(left):
        iterator.next(LIMIT)
    del iterator
    gc.collect()
    assert_full_strength(pool, 2, tmp_path)
    assert pool.map(tasks.square, range(4)) == [0, 1, 4, 9]
    pool.close()
    pool.join()
    assert runs(tally) == Counter(range(MANY)), "what was submitted runs, whether anybody looks or not"


@pytest.mark.parametrize("way", IMAPS)
def test_a_timeout_loses_nothing(pool: IsolatedPool, way: str, gate: Any, tally: Tally) -> None:
    go = gate("go")
    iterator = getattr(pool, way)(chores.give_after, [(go, i) for i in range(6)])
    for timeout in (0, 0.01, 0.05, -1):
        with pytest.raises(mp.TimeoutError):
            iterator.next(timeout)
    go.open()
    values, errors = drain(iterator)
    assert errors == []
    assert sorted(values) == list(range(6))
    with pytest.raises(StopIteration):
        next(iterator)


@pytest.mark.parametrize("way", IMAPS)
def test_threads_that_share_an_iterator(pool: IsolatedPool, way: str) -> None:
    count = many(2000, 200, 60)
    iterator = getattr(pool, way)(tasks.identity, range(count), 7)
    taken: list[list[int]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=mine.extend, args=(iterator,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * LIMIT)
        assert not thread.is_alive()
    assert sorted(itertools.chain(*taken)) == list(range(count))
    if way == "imap":
        assert all(mine == sorted(mine) for mine in taken)


@pytest.mark.parametrize("way", IMAPS)
def test_results_outlive_the_pool(make_pool: MakePool, way: str) -> None:
    pool = make_pool()
    iterator = getattr(pool, way)(tasks.square, range(100))
    result = pool.map_async(tasks.square, range(100))
    pool.close()
    pool.join()
    assert sorted(iterator) == [i * i for i in range(100)]
    assert result.get(0) == [i * i for i in range(100)]
    assert list(iterator) == []


@pytest.mark.parametrize("take", [lambda kept: list(kept), lambda kept: kept.get(LIMIT)], ids=["iterator", "result"])
@pytest.mark.filterwarnings("ignore:unclosed running:ResourceWarning")
def test_what_is_kept_keeps_the_pool_alive_as_long_as_it_needs_it(
    ctx: BaseContext, take: Callable[[Any], Any], request: pytest.FixtureRequest, gate: Any
) -> None:
    pool = IsolatedPool(2, context=ctx, reset=RESET, isolation=LEVEL)
    go = gate("go")
    items = [(go, i) for i in range(100)]
    submit = pool.imap if "iterator" in request.node.callspec.id else pool.map_async
    kept = submit(chores.give_after, items)
    known = weakref.ref(pool)
    del pool, submit
    gc.collect()
    go.open()
    assert take(kept) == list(range(100))
    wait_for(lambda: gc.collect() >= 0 and known() is None, LIMIT, "the end of a pool that nobody needs")
