"""Nothing grows: descriptors, threads, processes, semaphores and memory are as they were, whatever happened.

Who uses it: pytest; every other test also goes through the leak fixture. What may go wrong: something is kept for each
pool, each task, each death or each result.
"""

from __future__ import annotations

import errno
import gc
import itertools
import os
import threading
import warnings
import weakref
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, PoolsafeWarning, WorkerLost
from tests.support import leaks, tasks
from tests.support.gates import wait_for
from tests.support.levels import FRESH, LEVEL, many
from tests.survival.conftest import RESET, MakePool
from tests.survival.support import chores, deeds, hostile
from tests.survival.support.cases import spread
from tests.survival.support.ways import LIMIT, assert_full_strength, kill_idle, rests, wait_for_rest


@pytest.mark.parametrize(("start_method", "end"), spread(["terminate", "close", "with", "del"], "terminate", "del"))
@pytest.mark.filterwarnings("ignore:unclosed running:ResourceWarning")
def test_many_cycles(ctx: BaseContext, end: str) -> None:
    cycles = 30 if ctx.get_start_method() == "fork" and not FRESH else 10 if end == "terminate" else 5
    before: leaks.Footprint | None = None
    for _ in range(cycles):
        pool: Any = IsolatedPool(2, context=ctx, reset=RESET, isolation=LEVEL)
        assert pool.map(tasks.square, range(5)) == [0, 1, 4, 9, 16]
        pool.apply_async(tasks.square, (2,), callback=lambda _: None).get(LIMIT)
        list(pool.imap(len, [bytes(100_000)] * 3))
        if end == "with":
            with pool:
                pass
        elif end != "del":
            getattr(pool, end)()
            pool.join()
        del pool
        before = before or leaks.footprint()
    assert before is not None
    assert leaks.wait_until_clean(before) == []


def test_deaths_leave_nothing(pool: IsolatedPool, tmp_path: Path) -> None:
    assert_full_strength(pool, 2, tmp_path)
    before = _descriptors_at_rest(pool)
    bad = [tasks.kill_self, tasks.exit_hard, deeds.close_every_descriptor, tasks.exit_softly, hostile.DoesNotPickle]
    for _ in range(4):
        for deed in bad:
            with pytest.raises(Exception, match="task"):
                pool.apply(deed)
    assert_full_strength(pool, 2, tmp_path)
    wait_for(lambda: _descriptors() == before, LIMIT, "as many descriptors as before")
    assert len(pool._cache) == 0


def test_descriptors_of_an_idle_pool_do_not_grow_with_tasks(pool: IsolatedPool, tmp_path: Path) -> None:
    def work() -> None:
        assert pool.map(chores.count_bytes, [bytes(200_000)] * 20) == [200_000] * 20
        assert [len(value) for value in pool.imap(bytes, [200_000] * 20)] == [200_000] * 20
        assert_full_strength(pool, 2, tmp_path)

    def counts() -> set[tuple[int, int]]:
        pairs = pool.map(chores.descriptors, range(20), 1)
        return {(0 if FRESH else pid, count) for pid, count in pairs}

    work()
    here = _descriptors_at_rest(pool)
    there = counts()
    for _ in range(3):
        work()
    assert _descriptors_at_rest(pool) == here
    assert counts() <= there


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _descriptors_at_rest(pool: Any) -> int:
    """How many there are while no worker starts or ends: at two looks in a row, for a dead one's are closed last."""
    seen = [-1]

    def settled() -> bool:
        seen.append(_descriptors() if rests(pool) else -1)
        return seen[-1] == seen[-2] >= 0

    wait_for(settled, LIMIT, "workers that are all ready")
    return seen[-1]


def test_workers_hold_nothing_of_their_siblings_for_long(make_pool: MakePool, tmp_path: Path) -> None:
    """A worker's death frees its descriptors everywhere: the replacement has no more than the first one had."""
    pool = make_pool()
    assert_full_strength(pool, 2, tmp_path)
    first = max(count for _, count in pool.map(chores.descriptors, range(20), 1))
    for _ in range(8):
        kill_idle(pool, 1)
        assert_full_strength(pool, 2, tmp_path)
    assert max(count for _, count in pool.map(chores.descriptors, range(20), 1)) <= first


def test_results_and_arguments_are_let_go(pool: IsolatedPool) -> None:
    class Value:
        def __reduce__(self) -> Any:
            return int, ()

    value = Value()
    known = weakref.ref(value)
    result = pool.apply_async(tasks.identity, (value,))
    assert result.get(LIMIT) == 0
    assert pool.map(tasks.identity, [value]) == [0]
    assert list(pool.imap(tasks.identity, [value])) == [0]
    with pytest.raises(WorkerLost):
        pool.apply_async(deeds.die_with, (value,)).get(LIMIT)
    gone = weakref.ref(result)
    del value, result
    gc.collect()
    wait_for(lambda: known() is None and gone() is None, LIMIT, "the end of what nobody needs")


def test_a_thousand_dropped_results(pool: IsolatedPool, tmp_path: Path) -> None:
    for i in range(many(1000, 100, 40)):
        pool.apply_async(tasks.square, (i,))
    wait_for(lambda: len(pool._cache) == 0, LIMIT, "an empty table")
    assert_full_strength(pool, 2, tmp_path)


# Workers that cannot be started


class Scarce(IsolatedPool):
    """Some of its workers cannot be started."""

    refusals: list[BaseException] = []

    @staticmethod
    def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:
        if Scarce.refusals:
            raise Scarce.refusals.pop()
        return ctx.Process(*args, **kwds)


@pytest.mark.parametrize(
    ("start_method", "case"),
    spread(itertools.product([errno.EAGAIN, errno.ENOMEM, errno.EMFILE], [0, 1, 2]), (errno.EAGAIN, 1)),
)
def test_a_constructor_that_fails_leaves_nothing(
    ctx: BaseContext, case: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    number, at = case
    before = leaks.footprint()
    asked = itertools.count()

    def process(ctx: Any, *args: Any, **kwds: Any) -> Any:
        if next(asked) == at:
            raise OSError(number, os.strerror(number))
        return ctx.Process(*args, **kwds)

    monkeypatch.setattr(Scarce, "Process", staticmethod(process))
    with pytest.raises(OSError, match=os.strerror(number)):
        Scarce(3, context=ctx, isolation=LEVEL)
    assert leaks.wait_until_clean(before) == []
    assert next(asked) == at + 1, "it was not tried again"


def test_replacements_that_cannot_be_started_for_a_while(ctx: BaseContext, tmp_path: Path) -> None:
    with Scarce(2, context=ctx, isolation=LEVEL) as pool, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert_full_strength(pool, 2, tmp_path)
        wait_for_rest(pool)  # later none of those that take a place could be started
        Scarce.refusals = [OSError(errno.EAGAIN, "no processes"), MemoryError("no memory"), OSError(errno.EMFILE, "-")]
        kill_idle(pool)
        assert pool.map(tasks.square, range(10)) == [i * i for i in range(10)]
        assert_full_strength(pool, 2, tmp_path)
    assert Scarce.refusals == []
    told = [str(warning.message) for warning in warned if issubclass(warning.category, PoolsafeWarning)]
    assert len(told) == 3
    assert any("no memory" in text for text in told)


def test_the_end_while_no_replacement_can_be_started(ctx: BaseContext, tmp_path: Path) -> None:
    pool = Scarce(2, context=ctx, isolation=LEVEL)
    try:
        assert_full_strength(pool, 2, tmp_path)
        wait_for_rest(pool)  # later none of those that take a place could be started
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Scarce.refusals = [OSError(errno.EAGAIN, "no processes")] * 1000
            kill_idle(pool)
            result = pool.apply_async(tasks.square, (1,))
            result.wait(0.1)
            ender = threading.Thread(target=pool.terminate)
            ender.start()
            ender.join(LIMIT)
            assert not ender.is_alive()
            pool.join()
            with pytest.raises(RuntimeError, match="terminated"):
                result.get(LIMIT)
    finally:
        Scarce.refusals = []
        pool.terminate()
