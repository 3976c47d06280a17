"""Pools that are dropped: with nothing to do, closed, with work at hand, by whatever thread lets go last.

Who uses it: pytest. What may go wrong: workers outlive a pool that nobody has any more, or the garbage collector waits
for a thread that waits for it.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections import Counter
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool
from tests.support import tasks
from tests.support.gates import process_is_gone, wait_for
from tests.support.levels import LEVEL, lasting
from tests.survival.conftest import RESET
from tests.survival.support.states import queued
from tests.survival.support.ways import LIMIT, living, runs


def drop(box: list[Any]) -> None:
    """Let go of what is in the box, cycles too."""
    box.clear()
    gc.collect()


@pytest.mark.parametrize("cyclic", [False, True])
def test_a_dropped_pool_ends(ctx: BaseContext, cyclic: bool) -> None:
    pool = IsolatedPool(2, context=ctx, reset=RESET, isolation=LEVEL)
    assert pool.apply(tasks.square, (3,)) == 9
    pids = living(pool)
    if cyclic:
        pool.me = pool  # type: ignore[attr-defined]
    box = [pool]
    del pool
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        drop(box)
    wait_for(lambda: all(map(process_is_gone, pids)), LIMIT, "the end of a dropped pool's workers")


def test_a_closed_pool_is_dropped_in_silence(ctx: BaseContext, recwarn: pytest.WarningsRecorder) -> None:
    pool = IsolatedPool(2, context=ctx, reset=RESET, isolation=LEVEL)
    result = pool.map_async(tasks.square, range(100))
    pids = living(pool)
    pool.close()
    del pool
    gc.collect()
    assert result.get(LIMIT) == [i * i for i in range(100)]
    wait_for(lambda: all(map(process_is_gone, pids)), LIMIT)
    assert not [warning for warning in recwarn if issubclass(warning.category, ResourceWarning)]


@pytest.mark.filterwarnings("ignore:unclosed running:ResourceWarning")
def test_a_pool_dropped_with_its_results_while_tasks_run(ctx: BaseContext, tmp_path: Path) -> None:
    """What was submitted is finished, as with the stdlib's; then the pool goes, in whatever thread that is."""
    pool = IsolatedPool(2, context=ctx, reset=RESET, isolation=LEVEL)
    state = queued(pool, tmp_path)
    pids = living(pool)
    known = weakref.ref(pool)
    go, tally = state.go, state.runs
    del pool, state
    gc.collect()
    go.open()
    wait_for(lambda: all(map(process_is_gone, pids)), LIMIT, "the end of the workers")
    wait_for(lambda: known() is None, LIMIT, "the end of the pool")
    assert runs(tally) == Counter(range(100))


@pytest.mark.filterwarnings("ignore:unclosed running:ResourceWarning")
def test_a_pool_whose_last_holder_is_a_callback(ctx: BaseContext) -> None:
    """The callback's thread lets go of it last, and must not wait for itself."""
    release, called = threading.Event(), threading.Event()
    box = [IsolatedPool(2, context=ctx, reset=RESET, isolation=LEVEL)]
    pids = living(box[0])

    def last(_: object) -> None:
        called.set()
        release.wait(30)
        drop(box)

    box[0].apply_async(tasks.square, (1,), callback=last)
    assert called.wait(LIMIT)
    release.set()
    wait_for(lambda: all(map(process_is_gone, pids)), LIMIT, "the end of the workers")


@pytest.mark.filterwarnings("ignore:unclosed running:ResourceWarning")
def test_a_pool_whose_last_holder_is_a_thread(ctx: BaseContext) -> None:
    box = [IsolatedPool(2, context=ctx, reset=RESET, isolation=LEVEL)]
    pids = living(box[0])
    thread = threading.Thread(target=drop, args=(box,))
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive()
    wait_for(lambda: all(map(process_is_gone, pids)), LIMIT, "the end of the workers")


@pytest.mark.filterwarnings("ignore:unclosed running:ResourceWarning")
def test_pool_result_and_iterator_are_dropped_in_any_order(ctx: BaseContext) -> None:
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        pool: Any = IsolatedPool(2, context=ctx, reset=RESET, isolation=LEVEL)
        pids = living(pool)
        work = range(50 if lasting(str(ctx.get_start_method())) else 5)
        box: list[Any] = [pool, pool.map_async(tasks.square, work), pool.imap(tasks.square, work)]
        gone = weakref.ref(pool)
        del pool
        for i in order:
            box[i] = None
            gc.collect()
        wait_for(lambda gone=gone: gone() is None, LIMIT, "the end of the pool")
        wait_for(lambda pids=pids: all(map(process_is_gone, pids)), LIMIT, "the end of the workers")
