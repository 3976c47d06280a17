"""Tasks that maltreat their own process without ending it: the pool copes, and loses at most their worker.

Who uses it: pytest. What may go wrong: a copy of a worker answers for it, a program that a task started keeps the
channel open, or a limit that a task set ends the worker's loop.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, WorkerLost
from tests.support import tasks
from tests.support.gates import Tally, process_is_gone, wait_for
from tests.support.levels import LEVEL
from tests.survival.conftest import RESET, MakePool
from tests.survival.support import chores, deeds
from tests.survival.support.cases import spread
from tests.survival.support.ways import (
    LIMIT,
    WAYS,
    assert_full_strength,
    assert_survives_pickling,
    assert_unreplaced,
    fresh_tally,
    kill_idle,
    living,
    pipe_transport,
    runs,
    survive,
    thrive,
)  # fmt: skip


def test_a_task_that_forks_and_returns_twice(pool: IsolatedPool, tmp_path: Path) -> None:
    """The copy neither answers nor takes another task, and goes."""
    for way in WAYS:
        copies, tally = fresh_tally(tmp_path), fresh_tally(tmp_path)
        deed = deeds.ForkTwice(copies)
        harvest = WAYS[way](pool, [chores.Chore(i, tally, deed if i == 2 else None) for i in range(6)])
        assert harvest.errors == [], f"by {way}"
        assert harvest.values == {i: "returned" if i == 2 else i * i for i in range(6)}, f"by {way}"
        assert runs(tally) == dict.fromkeys(range(6), 1), f"by {way}"
        [copy] = map(int, copies.wait(1))
        wait_for(lambda copy=copy: process_is_gone(copy), LIMIT, "the end of the copy")
    assert_full_strength(pool, 2, tmp_path)


def test_a_task_whose_fork_raises_exits_or_dies(pool: IsolatedPool, tmp_path: Path) -> None:
    """What becomes of the copy is no business of the pool's."""
    before = living(pool)
    for deed in (deeds.fork_and_raise, deeds.fork_and_exit, deeds.fork_and_die):
        thrive(pool, tmp_path, deed, lambda value: value == "parent")
    assert_full_strength(pool, 2, tmp_path)
    assert_unreplaced(pool, before)


def test_a_task_that_forks_when_it_has_closed_everything(
    capfd: pytest.CaptureFixture[str], make_pool: MakePool, tmp_path: Path
) -> None:
    """The copy has nothing to let go of, and says nothing of that."""
    pool = make_pool()
    with pytest.raises(WorkerLost):
        pool.apply(deeds.close_every_descriptor_and_fork)
    assert_full_strength(pool, 2, tmp_path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("close_fds", [True, False])
def test_a_program_that_a_task_leaves_running(make_pool: MakePool, close_fds: bool, tmp_path: Path) -> None:
    """It may inherit what can be inherited, and outlive worker and pool."""
    pool = make_pool()
    pids = Tally(tmp_path / "programs")
    for _ in range(2):
        pool.apply(deeds.leave_a_program, (pids, close_fds))
    try:
        assert_full_strength(pool, 2, tmp_path)  # the workers that left the programs have been replaced
        kill_idle(pool, 1)
        assert_full_strength(pool, 2, tmp_path)
        pool.terminate()
        pool.join()
        assert not any(process_is_gone(int(pid)) for pid in pids.entries())
    finally:
        for pid in pids.entries():
            os.kill(int(pid), signal.SIGKILL)
    wait_for(lambda: all(process_is_gone(int(pid)) for pid in pids.entries()), LIMIT)


@pytest.mark.parametrize(
    ("start_method", "deed"), spread([
        deeds.print_and_close_the_streams, deeds.leave_a_thread, deeds.shorten_socket_timeouts,
        deeds.set_alarm_for_later, deeds.replace_the_streams, deeds.break_the_builtins, deeds.leave_garbage,
    ], deeds.print_and_close_the_streams)
)  # fmt: skip
def test_what_a_task_leaves_behind_ends_nothing(pool: IsolatedPool, deed: Callable[[], Any], tmp_path: Path) -> None:
    thrive(pool, tmp_path, deed, lambda value: value == "done")
    assert_full_strength(pool, 2, tmp_path)


@pytest.mark.skipif(pipe_transport, reason="over pipes a large argument needs no descriptor")
def test_a_task_that_takes_away_its_descriptors_for_large_arguments(make_pool: MakePool, tmp_path: Path) -> None:
    """The worker cannot receive what comes in a descriptor any more: it retires, the task goes to another."""
    pool = make_pool(1)
    pid = pool.apply(deeds.no_more_descriptors)
    assert pool.apply(len, (bytes(1_000_000),)) == 1_000_000
    assert pool.map(len, [bytes(1_000_000)] * 3) == [1_000_000] * 3
    wait_for(lambda: pid not in living(pool), what="the end of the worker that retired")
    assert_full_strength(pool, 1, tmp_path)


@pytest.mark.reused
def test_a_worker_without_descriptors_tells_the_errors_of_its_tasks(make_pool: MakePool, tmp_path: Path) -> None:
    """No module can be imported and no source be read to describe them."""
    pool = make_pool(1)
    pid = pool.apply(deeds.no_more_descriptors)
    with pytest.raises(OSError, match="Too many open files") as caught:
        pool.apply(open, (tmp_path / "file", "w"))
    assert "Too many open files" in str(caught.value.__cause__)
    assert living(pool) == {pid}


def test_a_task_that_runs_out_of_memory(pool: IsolatedPool, tmp_path: Path) -> None:
    before = living(pool)

    def expect(error: BaseException) -> None:
        assert type(error) is MemoryError

    for way in WAYS:
        survive(pool, way, tmp_path, deeds.run_out_of_memory, expect)
    assert_full_strength(pool, 2, tmp_path)
    assert_unreplaced(pool, before)


def test_a_task_that_never_stops_recursing(pool: IsolatedPool, tmp_path: Path) -> None:
    def expect(error: BaseException) -> None:
        assert type(error) is RecursionError
        assert_survives_pickling(error)

    for way in WAYS:
        survive(pool, way, tmp_path, deeds.recurse, expect)
    assert_full_strength(pool, 2, tmp_path)


def test_a_task_that_makes_a_pool_of_its_own(pool: IsolatedPool, start_method: str) -> None:
    """Workers are daemons, as the stdlib's are: they may not have children, and say so."""
    with pytest.raises(AssertionError, match="daemonic processes are not allowed to have children"):
        pool.apply(deeds.nested_pool, (start_method,))
    assert pool.apply(tasks.square, (3,)) == 9


@pytest.mark.parametrize(
    ("start_method", "signum"), spread([signal.SIGKILL, signal.SIGTERM, signal.SIGABRT], signal.SIGKILL)
)
def test_workers_killed_from_outside_while_they_run(
    pool: IsolatedPool, signum: int, gate: Any, tally: Tally, tmp_path: Path
) -> None:
    held = [pool.apply_async(chores.wait_without_noise, (gate("never"), tally)) for _ in range(2)]
    behind = [pool.apply_async(tasks.square, (i,)) for i in range(20)]
    for pid in map(int, tally.wait(2)):
        os.kill(pid, signum)
    for result in held:
        with pytest.raises(WorkerLost) as caught:
            result.get(LIMIT)
        assert caught.value.signal == signum
    assert [result.get(LIMIT) for result in behind] == [i * i for i in range(20)]
    assert_full_strength(pool, 2, tmp_path)


def test_a_worker_that_is_replaced_after_its_share(ctx: BaseContext, tmp_path: Path) -> None:
    """Deaths among replacements by plan: nothing is lost, and no worker does more than its share."""
    with IsolatedPool(2, maxtasksperchild=3, context=ctx, reset=RESET, isolation=LEVEL) as pool:
        for way in ("apply_async", "imap", "imap_unordered"):
            tally = fresh_tally(tmp_path)
            todo = [chores.Chore(i, tally, tasks.kill_self if i % 5 == 1 else os.getpid) for i in range(20)]
            harvest = WAYS[way](pool, todo)
            assert len(harvest.errors) == 4
            assert set(harvest.values) == {i for i in range(20) if i % 5 != 1}
            assert runs(tally) == dict.fromkeys(range(20), 1)
            served = list(harvest.values.values())
            assert max(served.count(pid) for pid in served) <= 3
        wait_for(lambda: len(living(pool)) == 2, LIMIT, "full strength")
