"""`daemon=False`: tasks have processes and pools of their own, and none of these outlives its worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from poolsafe import TaskCancelled, WorkerLost
from tests.support.gates import Tally, process_is_gone, wait_for
from tests.survival.conftest import MakePool
from tests.survival.support import families
from tests.survival.support.cases import spread
from tests.survival.support.programs import Program
from tests.survival.support.ways import LIMIT, assert_full_strength

LEVELS = ["globals", "fork", "process"]


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    return Tally(tmp_path / "family")


def members(tally: Tally) -> list[int]:
    """The processes of a task that has started them all, its own last."""
    return [int(entry) for entry in tally.wait(families.SIZE)]


def assert_gone(pids: list[int]) -> None:
    wait_for(lambda: all(map(process_is_gone, pids)), LIMIT, f"the end of {pids}")


@pytest.mark.parametrize("level", LEVELS)
def test_pools_and_processes_of_a_task(make_pool: MakePool, start_method: str, level: str, tally: Tally) -> None:
    pool = make_pool(daemon=False, isolation=level)
    results = [pool.apply_async(families.nested_map, (start_method, 5)) for _ in range(2)]
    for result in results:
        assert result.get(LIMIT) == [0, 1, 4, 9, 16] * 2
    assert pool.apply(families.own_process, (start_method, tally)) == 0
    assert tally.entries() == ["was here"]


@pytest.mark.parametrize(("start_method", "case"), spread(product(LEVELS, ["die", "exit"]), *product(LEVELS, ["die"])))
def test_they_end_with_a_task_that_ends_its_process(
    make_pool: MakePool, start_method: str, case: tuple[str, str], tally: Tally
) -> None:
    level, then = case
    pool = make_pool(1, daemon=False, isolation=level)
    with pytest.raises(WorkerLost):
        pool.apply_async(families.start_family, (tally, start_method, then)).get(LIMIT)
    assert_gone(members(tally))
    assert pool.apply_async(families.nested_map, (start_method, 2)).get(LIMIT) == [0, 1, 0, 1]


@pytest.mark.parametrize("level", LEVELS)
def test_they_end_with_a_task_that_is_called_off(
    make_pool: MakePool, start_method: str, level: str, tally: Tally
) -> None:
    result = make_pool(1, daemon=False, isolation=level).apply_async(families.start_family, (tally, start_method))
    pids = members(tally)
    assert result.cancel()
    with pytest.raises(TaskCancelled):
        result.get(LIMIT)
    assert_gone(pids)


@pytest.mark.parametrize(("start_method", "level"), spread(LEVELS, "globals"))
def test_they_end_with_a_worker_that_is_killed(
    make_pool: MakePool, start_method: str, level: str, tally: Tally
) -> None:
    pool = make_pool(1, daemon=False, isolation=level)
    result = pool.apply_async(families.start_family, (tally, start_method))
    pids = members(tally)
    os.kill(pids[-1], signal.SIGKILL)
    with pytest.raises(WorkerLost):
        result.get(LIMIT)
    assert_gone(pids)


@pytest.mark.parametrize(("start_method", "level"), spread(LEVELS, "globals"))
def test_they_end_with_the_pool(make_pool: MakePool, start_method: str, level: str, tally: Tally) -> None:
    pool = make_pool(1, daemon=False, isolation=level)
    pool.apply_async(families.start_family, (tally, start_method))
    pids = members(tally)
    pool.terminate()
    pool.join()
    assert_gone(pids)


@pytest.mark.parametrize(("start_method", "level"), spread(["globals", "fork"], "globals"))
def test_what_a_task_leaves_ends_with_its_worker(
    make_pool: MakePool, start_method: str, level: str, tally: Tally, tmp_path: Path
) -> None:
    pool = make_pool(1, daemon=False, isolation=level)
    pid = pool.apply_async(families.start_family, (tally, start_method, "return")).get(LIMIT)
    assert pool.apply_async(families.group).get(LIMIT)[0] != pid, "it is not given another task"
    assert_gone(members(tally))


@pytest.mark.parametrize(
    ("start_method", "case"),
    spread(product(LEVELS, [signal.SIGKILL, signal.SIGTERM]), *product(LEVELS, [signal.SIGKILL])),
)
def test_they_end_with_the_program(start_method: str, case: tuple[str, int], tmp_path: Path) -> None:
    level, signum = case
    with Program("families", start_method, tmp_path, "at_work", level) as program:
        program.reach(families.SIZE)
        program.signal(signum)
        assert program.end() == -signum
        program.leaves_nothing()


def test_a_worker_has_a_group_of_its_own_only_then(make_pool: MakePool) -> None:
    pid, group = make_pool(1, daemon=False).apply(families.group)
    assert pid == group
    pid, group = make_pool(1).apply(families.group)
    assert pid != group


@pytest.mark.parametrize("meet", [assert_full_strength])
def test_the_pool_is_as_any_other(make_pool: MakePool, meet: Callable[..., None], tmp_path: Path) -> None:
    meet(make_pool(daemon=False), 2, tmp_path)


@pytest.mark.parametrize(("start_method", "case"), spread(product(LEVELS, ["die", "return"]), ("globals", "die")))
def test_shared_memory_of_a_task_is_cleaned_up(start_method: str, case: tuple[str, str], tmp_path: Path) -> None:
    """By the resource tracker, which is no member of the family."""
    with Program("families", start_method, tmp_path, "shares", *case) as program:
        assert program.end() == 0
        name = (tmp_path / "name").read_text()
        wait_for(lambda: not Path("/dev/shm", name.lstrip("/")).exists(), LIMIT, f"the end of {name}")


@pytest.mark.parametrize(("start_method", "failing"), spread(["second"], "second"))
def test_a_constructor_that_fails_leaves_no_family(start_method: str, failing: str, tmp_path: Path) -> None:
    with Program("families", start_method, tmp_path, "fails", failing) as program:
        assert program.end() == 0
        program.leaves_nothing()


@pytest.mark.parametrize("transport", ["socket", "pipe"])
def test_a_task_that_moves_to_another_group(start_method: str, transport: str, tmp_path: Path) -> None:
    """It ends with the program, and nothing of that group does."""
    with Program("families", start_method, tmp_path, "moves", transport) as program:
        worker, bystander = program.reach(2)
        program.signal(signal.SIGKILL)
        program.end()
        wait_for(lambda: process_is_gone(worker), LIMIT, "the worker's end")
        assert not process_is_gone(bystander)
        os.kill(bystander, signal.SIGKILL)
        program.leaves_nothing()
