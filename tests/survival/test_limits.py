"""Tasks that take too long are ended, whatever they do, and lost ones are tried again; no other task is touched."""

from __future__ import annotations

import math
import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, TaskTimeout, WorkerLost, presets
from tests.support import tasks
from tests.support.gates import Gate, Tally
from tests.survival.conftest import MakePool
from tests.survival.support import chores, limits
from tests.survival.support.ways import FEW_WAYS, LIMIT, OF_ITEMS, WAYS, assert_full_strength, survive

SOON = 0.3
#: What a task that has nothing to do needs much less than, on a busy machine as well.
LATER = 1.0


def test_a_task_that_takes_too_long(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(timeout=LATER)

    def expect(error: BaseException) -> None:
        assert isinstance(error, TaskTimeout)
        assert isinstance(error, TimeoutError)
        assert error.limit == LATER
        assert error.may_have_run
        assert "in wait_for_ever" in error.stack
        assert error.stack.rstrip() in str(error)

    for way in FEW_WAYS:
        survive(pool, way, tmp_path, limits.wait_for_ever, expect)
    assert pool.stats().lost == len(FEW_WAYS)


@pytest.mark.parametrize(
    "deed", [limits.burn, limits.hold_the_gil, limits.be_deaf, limits.stop, limits.close_everything]
)
def test_whatever_it_does(make_pool: MakePool, tmp_path: Path, deed: Callable[[], Any]) -> None:
    pool = make_pool()
    with pytest.raises(TaskTimeout):
        pool.apply(deed, timeout=SOON)
    assert_full_strength(pool, 2, tmp_path)


def test_where_it_was_is_told_of_c_code_as_well(make_pool: MakePool) -> None:
    with pytest.raises(TaskTimeout) as caught:
        make_pool(1, timeout=SOON).apply(limits.hold_the_gil)
    assert "in hold_the_gil" in caught.value.stack


def test_the_limit_of_a_call_goes_before_the_pools(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(timeout=SOON)
    gate = Gate(tmp_path / "gate")
    long = pool.apply_async(chores.give_after, ((gate, "done"),), timeout=math.inf)
    with pytest.raises(TaskTimeout) as caught:
        pool.apply(limits.wait_for_ever, timeout=0.1)
    assert caught.value.limit == 0.1
    with pytest.raises(TaskTimeout):
        pool.apply(limits.wait_for_ever)  # which takes longer than that of the pool
    gate.open()
    assert long.get(LIMIT) == "done"


@pytest.mark.parametrize("way", ["map", "imap", "imap_unordered", "starmap_async"])
def test_a_limit_for_each_item(make_pool: MakePool, way: str) -> None:
    pool = make_pool(1)
    items: Any = [0.0, 0.0, 60.0, 0.0]
    if "star" in way:
        items = [(i,) for i in items]
    if "imap" in way:
        results = getattr(pool, way)(limits.wait, items, 4, timeout=LATER)
        assert sorted(map(str, (limits.outcome(results) for _ in items))) == ["0.0", "0.0", "0.0", "TaskTimeout"]
        return
    with pytest.raises(TaskTimeout) as caught:
        results = getattr(pool, way)(limits.wait, items, 4, timeout=LATER)
        results.get(LIMIT)
    assert caught.value.item == 2


@pytest.mark.parametrize("wrong", [0, -1, math.nan])
def test_a_limit_that_makes_no_sense(pool: IsolatedPool, wrong: float) -> None:
    for call in (
        lambda: pool.apply(abs, (1,), timeout=wrong),
        lambda: pool.map(abs, [1], timeout=wrong),
        lambda: pool.imap(abs, [1], timeout=wrong),
    ):
        with pytest.raises(ValueError, match="positive"):
            call()
    with pytest.raises(TypeError, match="number"):
        pool.apply(abs, (1,), timeout="1")  # type: ignore[arg-type]
    assert pool.apply(abs, (-1,)) == 1


@pytest.mark.parametrize("short", [1e-9, 1e-6, 1e-4])
def test_a_very_short_limit(make_pool: MakePool, tmp_path: Path, short: float) -> None:
    """Each is in time or is not; and the others, and the pool's end, wait for nobody."""
    pool = make_pool(4)
    results = pool.imap(abs, range(16), timeout=short)
    for i in range(16):
        assert limits.outcome(results) in (i, "TaskTimeout")
    assert_full_strength(pool, 4, tmp_path)


def test_tasks_that_are_just_in_time(make_pool: MakePool, tmp_path: Path) -> None:
    """Some are ended, some are not: each is one or the other, and no other task is ever ended for it."""
    pool = make_pool(2, timeout=0.25)
    tally = Tally(tmp_path / "tally")
    results = pool.imap(limits.around, [(tally, i, 0.2498 if i % 4 == 0 else 0.0) for i in range(32)], 8)
    outcomes = [limits.outcome(results) for _ in range(32)]
    for i, outcome in enumerate(outcomes):
        assert outcome == i if i % 4 else outcome in (i, "TaskTimeout")
    assert sorted(map(int, tally.entries())) == list(range(32)), "none ran twice"


def test_tasks_that_tidy_up_when_they_are_ended_harm_nobody(make_pool: MakePool) -> None:
    pool = make_pool(2, timeout=SOON)
    results = [pool.apply_async(limits.even_ones_tidy_up, (i,)) for i in range(16)]
    for i, result in enumerate(results):
        if i % 2:
            assert result.get(LIMIT) == i
        else:
            with pytest.raises(TaskTimeout):
                result.get(LIMIT)


@pytest.mark.parametrize("deed", [limits.raise_when_told, limits.exit_when_told, limits.return_a_lock_when_told])
def test_how_it_fails_when_it_is_told_to_end_is_not_its_error(
    make_pool: MakePool, tmp_path: Path, deed: Callable[[Tally], Any]
) -> None:
    pool = make_pool(1, timeout=LATER, retries=1)
    tally = Tally(tmp_path / "tally")
    with pytest.raises(TaskTimeout) as caught:
        pool.apply(deed, (tally,))
    for error in (caught.value, *caught.value.attempts):
        assert isinstance(error, TaskTimeout)
        assert error.limit == LATER
        assert error.may_have_run
        assert str(error.pid) in tally.entries()
        assert error.stack.rstrip() in str(error)
    if deed is not limits.return_a_lock_when_told:
        assert "in wait_for_ever" in caught.value.stack
    assert len(tally.entries()) == 2
    stats = pool.stats()
    assert (stats.lost, stats.retried) == (1, 1)
    assert_full_strength(pool, 1, tmp_path)


def test_an_item_that_fails_when_it_is_told_to_end_takes_no_other_with_it(make_pool: MakePool) -> None:
    pool = make_pool(1, timeout=LATER)
    results = pool.imap(limits.raise_at_one_when_told, range(4), 4)
    assert [limits.outcome(results) for _ in range(4)] == [0, "TaskTimeout", 2, 3]
    assert pool.stats().lost == 1


def test_what_it_returns_when_it_is_told_to_end_is_its_result(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(1, timeout=LATER, retries=1)
    assert pool.apply(limits.return_when_told, (3,)) == 3
    assert pool.stats().retried == 0
    assert_full_strength(pool, 1, tmp_path)


def test_putting_back_what_another_one_left_does_not_count(make_pool: MakePool) -> None:
    pool = make_pool(1, timeout=LATER, reset="tests.survival.support.limits:left")
    first = pool.apply_async(limits.leave_what_lingers)
    second = pool.apply_async(tasks.square, (3,))
    assert (first.get(LIMIT), second.get(LIMIT)) == ("done", 9)


def test_sending_a_result_does_not_count(make_pool: MakePool) -> None:
    pool = make_pool(1, timeout=LATER)
    assert len(pool.apply(limits.large_after, (0.0,))) == 10_000_000
    result = pool.apply_async(limits.large_after, (0.1,))
    limits.hold_the_gil_for(2.0)  # so nobody here reads it
    assert len(result.get(LIMIT)) == 10_000_000


def test_the_stack_is_that_of_this_task(make_pool: MakePool) -> None:
    pool = make_pool(1, reset=[presets.signals])
    pool.apply(limits.fork_one_that_is_terminated, timeout=LIMIT)
    pool.apply(limits.set_a_handler)
    with pytest.raises(TaskTimeout) as caught:
        pool.apply(limits.wait_for_ever, timeout=SOON)
    assert "in wait_for_ever" in caught.value.stack
    assert "a_child_of_a_task" not in caught.value.stack


@pytest.mark.parametrize("long", [3e6, 1e18, 10**400])
def test_a_very_long_limit(make_pool: MakePool, long: float) -> None:
    pool = make_pool(1)
    assert pool.apply(tasks.square, (3,), timeout=long) == 9
    assert pool.apply(tasks.square, (4,), timeout=long) == 16


# -- trying again ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", [way for way in WAYS if "callbacks" not in way])
def test_a_task_that_comes_through_the_second_time(make_pool: MakePool, tmp_path: Path, way: str) -> None:
    pool = make_pool(retries=1)
    tally = Tally(tmp_path / "tally")
    harvest = WAYS[way](pool, [(tally, i, i == 3) for i in range(6)], limits.die_once)
    assert not harvest.errors
    assert harvest.values == {i: i * i for i in range(6)}
    assert sorted(tally.entries()) == sorted(map(str, [*range(6), 3]))
    assert pool.stats().retried == 1


def test_one_that_does_not(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(retries=2)
    tally = Tally(tmp_path / "tally")
    with pytest.raises(WorkerLost) as caught:
        pool.apply(limits.die_always, (tally,))
    error = caught.value
    assert len(tally.entries()) == 3
    assert len(set(tally.entries())) == 3, "each time in another worker"
    assert "attempt 3" in str(error)
    assert [type(one) for one in error.attempts] == [WorkerLost] * 2
    assert [one.pid for one in (*error.attempts, error)] == [int(pid) for pid in tally.entries()]  # type: ignore[attr-defined]
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert [str(one) for one in again.attempts] == [str(one) for one in error.attempts]
    assert_full_strength(pool, 2, tmp_path)


def test_what_takes_too_long_is_tried_again(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(timeout=LATER, retries=1)
    tally = Tally(tmp_path / "tally")
    assert pool.map(limits.wait_once, [(tally, i, i == 1) for i in range(3)], 3) == [0, 1, 2]
    with pytest.raises(TaskTimeout) as caught:
        pool.apply(limits.wait_for_ever)
    assert [type(one) for one in caught.value.attempts] == [TaskTimeout]


@pytest.mark.parametrize("deed", [limits.raise_value_error, tasks.exit_softly])
def test_what_raises_is_not_tried_again(make_pool: MakePool, tmp_path: Path, deed: Callable[[], Any]) -> None:
    pool = make_pool(retries=3)
    tally = Tally(tmp_path / "tally")
    with pytest.raises(Exception):  # noqa: B017 - of either kind
        pool.apply(limits.note_and, (tally, deed))
    assert len(tally.entries()) == 1


def test_a_storm_with_retries(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(3, retries=1)
    tally = Tally(tmp_path / "tally")
    results = pool.imap_unordered(limits.die_once, [(tally, i, i % 10 == 0) for i in range(100)], 5)
    assert sorted(results) == [(i, i * i) for i in range(100)]
    assert len(tally.entries()) == 110


def test_items_tell_which_they_are(make_pool: MakePool) -> None:
    pool = make_pool(1, retries=1)
    for way in sorted(OF_ITEMS - {"map_callbacks"}):
        harvest = WAYS[way](pool, [0, 1, 2], limits.die_at_one)
        [error] = harvest.errors
        assert isinstance(error, WorkerLost)
        assert error.item == 1
        assert [one.item for one in error.attempts] == [1]  # type: ignore[attr-defined]


def test_a_worker_that_is_killed_while_it_waits_uses_up_no_attempt(make_pool: MakePool) -> None:
    pool = make_pool(1, retries=1)
    os.kill(pool._pool[0].pid, signal.SIGKILL)
    assert pool.apply(tasks.square, (3,)) == 9
    assert pool.stats().retried == 0
