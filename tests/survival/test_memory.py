"""`max_memory=`: workers that have grown are replaced, tasks that take far too much are ended, and nobody else is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from poolsafe import InitializerError, IsolatedPool, TaskMemoryExceeded
from poolsafe.engine import memory as own_memory
from tests.survival.conftest import MakePool
from tests.survival.support import memory
from tests.survival.support.cases import spread
from tests.survival.support.memory import MIB
from tests.survival.support.ways import FEW_WAYS, LIMIT, assert_full_strength, assert_worded, survive

LEVELS = ["globals", "fork", "process"]


def most(spare: int) -> int:
    """What a worker may have, so that a fresh one has so many mebibytes to spare: a forked one begins with ours."""
    used = own_memory.resident()
    assert used is not None
    return used + spare * MIB


def test_a_worker_that_has_grown_is_replaced(make_pool: MakePool, tmp_path: Path) -> None:
    limit = most(30)
    pool = make_pool(1, isolation=None, max_memory=limit)
    first = pool.apply(memory.hoard, (1,))
    assert pool.apply(memory.hoard, (1,)) == first
    grown = pool.apply(memory.hoard, (limit // MIB - 10,))
    assert grown == first, "it is replaced after the task, not before"
    assert pool.apply(memory.hoard, (1,)) != first
    assert pool.stats().lost == 0
    assert pool.stats().retired == {"it had more memory than max_memory": 1}


def test_the_rest_of_a_chunk_runs_elsewhere(make_pool: MakePool) -> None:
    pool = make_pool(1, isolation=None, max_memory=(limit := most(30)))
    pids = pool.map(memory.hoard, [1, limit // MIB - 10, 1, 1], 4)
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_items_are_not_held_to_account_for_each_other(make_pool: MakePool) -> None:
    pool = make_pool(1, max_memory=(limit := most(40)))
    size, count = 10 * MIB, limit // (10 * MIB) + 10  # together more than the worker has left until twice the limit
    assert pool.map(len, [bytes([i % 256]) * size for i in range(count)], count) == [size] * count
    assert (pool.stats().lost, pool.stats().retired) == (0, {})


@pytest.mark.reused
def test_memory_that_a_task_gives_back_does_not_count(make_pool: MakePool) -> None:
    pool = make_pool(1, max_memory=(limit := most(30)))
    pids = set(pool.map(memory.hoard, [0] * 4, 1))
    for _ in range(3):
        pool.apply(memory.hold_for_a_while, (limit // MIB - 10,))
    assert set(pool.map(memory.hoard, [0] * 4, 1)) == pids, "it was given back, and what was put back with it"


@pytest.mark.parametrize(("start_method", "level"), spread(LEVELS, "globals"))
def test_a_task_that_takes_far_too_much_is_ended(make_pool: MakePool, tmp_path: Path, level: str) -> None:
    pool = make_pool(isolation=level, max_memory=most(10))

    def expect(error: BaseException) -> None:
        assert_worded(error, TaskMemoryExceeded)
        assert isinstance(error, TaskMemoryExceeded)
        assert isinstance(error, MemoryError)
        assert error.used > 2 * most(0) - 40 * MIB
        assert error.may_have_run
        assert "in devour" in error.stack
        assert "max_memory" in str(error)

    for way in FEW_WAYS if level == "globals" else FEW_WAYS[1:3]:
        survive(pool, way, tmp_path, memory.devour, expect)
    if level == "globals":
        assert_full_strength(pool, 2, tmp_path)
    else:
        assert pool.map(memory.hold_for_a_while, range(6)) == list(range(6))


def test_what_is_lost_for_its_memory_is_tried_again(make_pool: MakePool) -> None:
    pool = make_pool(1, max_memory=most(10), retries=1)
    with pytest.raises(TaskMemoryExceeded) as caught:
        pool.apply(memory.devour)
    [before] = caught.value.attempts
    assert isinstance(before, TaskMemoryExceeded)
    assert before.pid != caught.value.pid


@pytest.mark.parametrize(("start_method", "level"), spread(LEVELS, "globals"))
def test_a_fresh_worker_that_has_too_much_already(make_pool: MakePool, level: str) -> None:
    pool = make_pool(1, isolation=level, max_memory=MIB)
    with pytest.raises(InitializerError, match="max_memory=1048576") as caught:
        pool.apply_async(memory.hoard, (1,)).get(LIMIT)
    assert "before its first task" in str(caught.value)
    assert "Raise max_memory=" in str(caught.value)


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_limit_that_is_none(wrong: int) -> None:
    with pytest.raises(ValueError, match="positive number of bytes"):
        IsolatedPool(1, max_memory=wrong)


@pytest.mark.parametrize("wrong", [1.5, "1G", True])
def test_a_limit_of_another_type(wrong: object) -> None:
    with pytest.raises(TypeError, match="whole number of bytes"):
        IsolatedPool(1, max_memory=wrong)  # type: ignore[arg-type]


def test_where_nobody_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolsafe.options.resident", lambda: None)
    with pytest.raises(ValueError, match="maxtasksperchild"):
        IsolatedPool(1, max_memory=1 << 40)
    assert sys.platform
