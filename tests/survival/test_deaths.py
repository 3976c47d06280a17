"""A worker dies with a task: one task's error, nobody else's, and the pool goes on.

Who uses it: pytest. What may go wrong: a task is lost, run twice or blamed for another's end; the pool shrinks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, TaskExited, WorkerLost
from poolsafe.engine import mortuary, template
from tests.support import tasks
from tests.support.gates import Tally, process_is_gone, wait_for
from tests.support.levels import FRESH, LEVEL, many
from tests.survival.conftest import MakePool
from tests.survival.support import chores, deeds, hostile
from tests.survival.support.cases import spread
from tests.survival.support.chores import Chore, do
from tests.survival.support.states import idle, stop_workers
from tests.survival.support.ways import (
    LIMIT,
    WAYS,
    assert_full_strength,
    assert_unreplaced,
    assert_worded,
    fresh_tally,
    kill_idle,
    living,
    runs,
    survive,
    ways_under,
)  # fmt: skip

#: What kills a worker: its deed, the exit code and the signal that the error tells.
DEATHS: dict[str, tuple[Callable[[], Any], int, int | None]] = {
    "killed": (tasks.kill_self, -signal.SIGKILL, signal.SIGKILL),
    "terminated": (partial(tasks.kill_self, signal.SIGTERM), -signal.SIGTERM, signal.SIGTERM),
    "segfault": (deeds.segfault, -signal.SIGSEGV, signal.SIGSEGV),
    "abort": (deeds.abort, -signal.SIGABRT, signal.SIGABRT),
    "exit0": (partial(tasks.exit_hard, 0), 0, None),
    "exit1": (partial(tasks.exit_hard, 1), 1, None),
}


@pytest.mark.parametrize("death", DEATHS)
def test_the_task_that_ends_its_worker_gets_the_error(pool: IsolatedPool, death: str, tmp_path: Path) -> None:
    deed, exitcode, signum = DEATHS[death]
    pids: set[int] = set()

    def expect(error: BaseException) -> None:
        assert_worded(error, WorkerLost)
        assert isinstance(error, WorkerLost)
        assert isinstance(error, RuntimeError)
        assert (error.exitcode, error.signal, error.may_have_run) == (exitcode, signum, True)
        assert error.pid in pids or FRESH
        assert str(error.pid) in error.fact

    for way in ways_under(pool):
        wait_for(lambda: len(living(pool)) == 2, LIMIT, "the replacement of the last one that died")
        pids |= living(pool)
        survive(pool, way, tmp_path, deed, expect)
    assert_full_strength(pool, 2, tmp_path)


@pytest.mark.parametrize(("start_method", "status"), spread([0, 1, "a reason"], 1))
def test_sys_exit_costs_the_task_and_not_the_worker(pool: IsolatedPool, status: int | str, tmp_path: Path) -> None:
    assert_full_strength(pool, 2, tmp_path)
    before = living(pool)

    def expect(error: BaseException) -> None:
        assert_worded(error, TaskExited)
        assert isinstance(error, TaskExited)
        assert (error.type_name, error.code) == ("SystemExit", status)

    for way in ways_under(pool):
        survive(pool, way, tmp_path, partial(tasks.exit_softly, status), expect)
    assert_full_strength(pool, 2, tmp_path)
    assert_unreplaced(pool, before)


@pytest.mark.parametrize(
    ("start_method", "signum"), spread([signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGQUIT], signal.SIGKILL)
)
def test_a_worker_killed_while_idle_costs_nothing(pool: IsolatedPool, signum: int, tmp_path: Path) -> None:
    for way in ways_under(pool):
        assert_full_strength(pool, 2, tmp_path)
        kill_idle(pool, 1, signum)
        tally = fresh_tally(tmp_path)
        harvest = WAYS[way](pool, [Chore(i, tally) for i in range(8)])
        assert harvest.errors == [], f"by {way}"
        assert harvest.values == {i: i * i for i in range(8)}, f"by {way}"
        assert runs(tally) == Counter(range(8)), f"by {way}"
    assert_full_strength(pool, 2, tmp_path)


def test_a_worker_killed_at_start_up_is_replaced(make_pool: MakePool, gate: Any, tally: Tally, tmp_path: Path) -> None:
    go = gate("go")
    pool = make_pool(2, chores.wait_at, (go, tally))
    results = [pool.apply_async(tasks.square, (i,)) for i in range(8)]
    os.kill(int(tally.wait(2)[0]), signal.SIGKILL)
    tally.wait(3)
    go.open()
    assert [result.get(LIMIT) for result in results] == [i * i for i in range(8)]
    assert_full_strength(pool, 2, tmp_path)


class Held:
    """Where it is loaded, it waits."""

    def __init__(self, gate: Any, arrivals: Tally) -> None:
        self._wait = gate, arrivals

    def __reduce__(self) -> Any:
        return chores.wait_at, self._wait


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_ctrl_c_that_comes_to_workers_before_they_can_ignore_it(
    ctx: BaseContext, gate: Any, tally: Tally, tmp_path: Path
) -> None:
    go = gate("go")

    class Slow(IsolatedPool):
        @staticmethod
        def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:
            process = ctx.Process(*args, **kwds)
            process.held = Held(go, tally)
            return process

    with Slow(2, context=ctx, isolation=LEVEL) as pool:
        result = pool.map_async(tasks.square, range(8))
        for pid in tally.wait(2)[:2]:
            os.kill(int(pid), signal.SIGINT)
        go.open()
        assert result.get(LIMIT) == [i * i for i in range(8)]
        assert_full_strength(pool, 2, tmp_path)


def test_all_workers_killed_at_once(make_pool: MakePool, gate: Any, tally: Tally, tmp_path: Path) -> None:
    pool = make_pool(4)
    held = gate("never")
    running = [pool.apply_async(chores.wait_at, (held, tally)) for _ in range(4)]
    counts = fresh_tally(tmp_path)
    queued = [pool.apply_async(do, (Chore(i, counts),)) for i in range(40)]
    pids = [int(pid) for pid in tally.wait(4)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    blamed = set()
    for result in running:
        with pytest.raises(WorkerLost) as caught:
            result.get(LIMIT)
        assert caught.value.may_have_run
        blamed.add(caught.value.pid)
    assert blamed == set(pids)
    assert [result.get(LIMIT) for result in queued] == [(i, i * i) for i in range(40)]
    assert runs(counts) == Counter(range(40))
    assert_full_strength(pool, 4, tmp_path)


def test_ten_deaths_in_a_row(pool: IsolatedPool, tmp_path: Path) -> None:
    start = time.monotonic()
    pids = set()
    for i in range(10):
        with pytest.raises(WorkerLost) as caught:
            pool.apply(tasks.kill_self)
        pids.add(caught.value.pid)
        assert pool.apply(tasks.square, (i,)) == i * i
    assert len(pids) == 10
    assert_full_strength(pool, 2, tmp_path)
    assert time.monotonic() - start < 3 * LIMIT


@pytest.mark.parametrize(
    ("start_method", "way"),
    spread(["apply_async", "callbacks", "imap", "imap_unordered", "map"], "callbacks", "imap_unordered"),
)
def test_a_storm_of_deaths(make_pool: MakePool, way: str, tmp_path: Path) -> None:
    pool = make_pool(2)
    tally = fresh_tally(tmp_path)
    count = many(200, 200, 80)
    doomed = set(range(3, count, 10))
    harvest = WAYS[way](pool, [Chore(i, tally, tasks.kill_self if i in doomed else None) for i in range(count)])
    assert runs(tally) == Counter(range(count))
    if way == "map":
        [error] = harvest.errors
        assert isinstance(error, WorkerLost)
        assert error.item == min(doomed)
    else:
        assert harvest.values == {i: i * i for i in range(count) if i not in doomed}
        assert len(harvest.errors) == len(doomed)
        assert all(isinstance(error, WorkerLost) and error.may_have_run for error in harvest.errors)
    assert_full_strength(pool, 2, tmp_path)


# Large arguments and results on their way


def test_killed_before_a_large_argument_was_read(pool: IsolatedPool, tmp_path: Path) -> None:
    """Both workers are stopped, so that what is sent stays in their channels; then they are killed."""
    idle(pool, tmp_path)
    pids = stop_workers(pool)
    results = [pool.apply_async(len, (bytes(20_000_000),)) for _ in range(4)]
    for pid in reversed(pids):  # a worker after those that it has forked: their numbers are theirs until it ends
        os.kill(pid, signal.SIGKILL)
    assert [result.get(LIMIT) for result in results] == [20_000_000] * 4
    assert_full_strength(pool, 2, tmp_path)


def test_killed_while_reading_a_large_argument(pool: IsolatedPool, tmp_path: Path) -> None:
    def expect(error: BaseException) -> None:
        assert_worded(error, WorkerLost)
        assert isinstance(error, WorkerLost)
        assert (error.signal, error.may_have_run) == (signal.SIGKILL, False)
        assert "did not run" in error.fact

    for way in ways_under(pool):
        survive(pool, way, tmp_path, hostile.KillsWhenLoaded(), expect, begun=False)  # type: ignore[arg-type]
    assert_full_strength(pool, 2, tmp_path)


def test_killed_while_writing_a_large_result(pool: IsolatedPool, tmp_path: Path) -> None:
    def expect(error: BaseException) -> None:
        assert_worded(error, WorkerLost)
        assert isinstance(error, WorkerLost)
        assert (error.signal, error.may_have_run) == (signal.SIGKILL, True)

    for way in ways_under(pool):
        survive(pool, way, tmp_path, deeds.die_in_the_middle_of_the_answer, expect)
    assert_full_strength(pool, 2, tmp_path)


# Deaths that are hard to notice


@pytest.mark.parametrize("death", [deeds.die_with_a_grandchild, deeds.die_with_a_fork])
def test_a_death_is_noticed_while_a_grandchild_lives(pool: IsolatedPool, death: Any, tmp_path: Path) -> None:
    pids = fresh_tally(tmp_path)
    try:
        with pytest.raises(WorkerLost) as caught:
            pool.apply_async(death, (pids,)).get(LIMIT)
        assert caught.value.signal == signal.SIGKILL
        assert_full_strength(pool, 2, tmp_path)
        assert not process_is_gone(int(pids.entries()[0])), "the test proves nothing unless the grandchild lives"
    finally:
        for pid in pids.entries():
            os.kill(int(pid), signal.SIGKILL)
    wait_for(lambda: all(process_is_gone(int(pid)) for pid in pids.entries()))


@pytest.mark.parametrize("deed", [deeds.exec_a_program, deeds.exec_a_program_that_stays, deeds.close_every_descriptor])
def test_a_task_that_cuts_its_worker_off(pool: IsolatedPool, deed: Any, tmp_path: Path) -> None:
    """The process lives on without a channel: it is ended, and the error does not guess at a lack of memory."""

    def expect(error: BaseException) -> None:
        assert_worded(error, WorkerLost)
        assert isinstance(error, WorkerLost)
        assert error.may_have_run
        assert "memory" not in error.cause
        assert "descriptor" in error.cause
        assert error.pid is not None
        assert process_is_gone(error.pid), "not even a zombie is left"

    for way in ("apply", "apply_async", "callbacks"):
        survive(pool, way, tmp_path, deed, expect)
    assert_full_strength(pool, 2, tmp_path)


@pytest.mark.parametrize("start_method", ["fork"])  # whose workers find what is patched here
def test_a_task_that_is_killed_has_not_cut_its_worker_off(
    monkeypatch: pytest.MonkeyPatch, make_pool: MakePool, tmp_path: Path
) -> None:
    """Its files are closed before its status is there; long before on a busy machine, and here nobody waits at all."""
    monkeypatch.setattr(template, "CUT_OFF_PATIENCE", 0.0)
    monkeypatch.setattr(mortuary, "CUT_OFF_PATIENCE", 0.0)
    pool = make_pool()
    for _ in range(many(reused=40, forked=40, started=10)):
        with pytest.raises(WorkerLost) as caught:
            pool.apply(tasks.kill_self)
        assert "descriptor" not in caught.value.cause
        assert caught.value.signal == signal.SIGKILL
    assert_full_strength(pool, 2, tmp_path)


def test_a_task_that_becomes_another_program_and_leaves_a_fork(pool: IsolatedPool, tmp_path: Path) -> None:
    """What it has forked must not keep open what tells of that."""
    pids = fresh_tally(tmp_path)
    try:
        with pytest.raises(WorkerLost) as caught:
            pool.apply_async(deeds.exec_beside_a_fork, (pids,)).get(LIMIT)
        assert "descriptor" in caught.value.cause
        assert_full_strength(pool, 2, tmp_path)
        assert not process_is_gone(int(pids.entries()[0])), "the test proves nothing unless the fork lives"
    finally:
        for pid in pids.entries():
            os.kill(int(pid), signal.SIGKILL)


def test_items_beside_one_that_closes_every_descriptor(pool: IsolatedPool, tmp_path: Path) -> None:
    """What such a worker had finished is not lost, no other item is begun there, and nothing runs twice.

    The worker cannot tell at once that it is cut off: the item itself may get its value all the same.
    """
    for way in ("map", "imap_chunks", "imap_unordered"):
        tally = fresh_tally(tmp_path)
        todo = [Chore(i, tally, deeds.close_every_descriptor if i == 1 else None) for i in range(9)]
        harvest = WAYS[way](pool, todo)
        lost = {error.item for error in harvest.errors if isinstance(error, WorkerLost)}
        assert len(harvest.errors) == len(lost) <= 1, f"by {way}"
        assert lost <= {1}, f"by {way}"
        assert runs(tally) == dict.fromkeys(range(9), 1), f"by {way}"
        if way != "map" or not lost:
            right = {i: None if i == 1 else i * i for i in range(9) if i not in lost}
            assert harvest.values == right, f"by {way}"
    assert_full_strength(pool, 2, tmp_path)


def test_a_large_result_beside_an_item_that_closes_every_descriptor(pool: IsolatedPool) -> None:
    """It could not be sent from there, so it must not be made there."""
    large = 1_000_000
    results = pool.imap(deeds.close_or_give, [0, -1, large, large], chunksize=4)
    assert results.next(LIMIT) == b""
    with contextlib.suppress(WorkerLost):
        assert results.next(LIMIT) == b"closed"
    assert [len(results.next(LIMIT)) for _ in range(2)] == [large, large]
