"""The experiment that the project started from: what a task sees of a global never hangs on who ran where before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from multiprocessing.pool import Pool
from pathlib import Path

import pytest

from poolsafe import IsolatedPool
from tests.support import tasks
from tests.support.levels import FRESH, LEVEL
from tests.support.scripts import run_python

TASKS = 6 if FRESH else 12
EXPECTED = [["haha", i] for i in range(TASKS)]


def by_apply(pool: Pool, task: Callable[[int], list[object]]) -> list[list[object]]:
    return [pool.apply(task, (i,)) for i in range(TASKS)]


def by_apply_async(pool: Pool, task: Callable[[int], list[object]]) -> list[list[object]]:
    return [result.get(30) for result in [pool.apply_async(task, (i,)) for i in range(TASKS)]]


def by_map(pool: Pool, task: Callable[[int], list[object]]) -> list[list[object]]:
    return pool.map(task, range(TASKS))


def by_map_in_one_chunk(pool: Pool, task: Callable[[int], list[object]]) -> list[list[object]]:
    return pool.map(task, range(TASKS), chunksize=TASKS)


def by_map_in_single_items(pool: Pool, task: Callable[[int], list[object]]) -> list[list[object]]:
    return pool.map(task, range(TASKS), chunksize=1)


def by_starmap(pool: Pool, task: Callable[[int], list[object]]) -> list[list[object]]:
    return pool.starmap(task, [(i,) for i in range(TASKS)], chunksize=5)


def by_imap(pool: Pool, task: Callable[[int], list[object]]) -> list[list[object]]:
    return list(pool.imap(task, range(TASKS)))


def by_imap_in_chunks(pool: Pool, task: Callable[[int], list[object]]) -> list[list[object]]:
    return list(pool.imap(task, range(TASKS), chunksize=5))


def by_imap_unordered(pool: Pool, task: Callable[[int], list[object]]) -> list[list[object]]:
    return sorted(pool.imap_unordered(task, range(TASKS), chunksize=3), key=lambda seen: seen[-1])


WAYS = [
    by_apply,
    by_apply_async,
    by_map,
    by_map_in_one_chunk,
    by_map_in_single_items,
    by_starmap,
    by_imap,
    by_imap_in_chunks,
    by_imap_unordered,
]


@pytest.fixture(params=[1, 8], ids=["1 worker", "8 workers"])
def pool(request: pytest.FixtureRequest, ctx: BaseContext) -> Iterator[Pool]:
    with IsolatedPool(request.param, context=ctx, isolation=LEVEL) as pool:
        yield pool
        pool.close()
        pool.join()


def test_every_task_sees_the_pristine_global(pool: Pool) -> None:
    """Nothing declared; fast and slow; every way to submit, one after another on the same workers."""
    for task in (tasks.grow, tasks.grow_slowly):
        for way in WAYS:
            assert way(pool, task) == EXPECTED, f"{way.__name__}, {task.__name__}"


@pytest.mark.parametrize(
    "reset", ["tests.support.tasks", "tests.support.tasks:haha", tasks, {"tests.support.tasks:haha": list}]
)
def test_the_same_with_a_declared_target(reset: object, ctx: BaseContext) -> None:
    expected = [seen[1:] for seen in EXPECTED] if isinstance(reset, dict) else EXPECTED
    with IsolatedPool(2, context=ctx, reset=reset, isolation=LEVEL) as pool:
        assert by_map_in_one_chunk(pool, tasks.grow) == expected
        assert by_apply(pool, tasks.grow) == expected


def test_without_isolation_the_leak_is_there(ctx: BaseContext) -> None:
    """The control: the experiment can fail, and does when nothing is put back."""
    with IsolatedPool(1, context=ctx, isolation=None) as pool:
        assert by_map(pool, tasks.grow) == [["haha", *range(i + 1)] for i in range(TASKS)]


def test_a_task_that_raised_or_died_leaves_nothing_either(ctx: BaseContext) -> None:
    with IsolatedPool(1, context=ctx, isolation=LEVEL) as pool:
        failing = [pool.apply_async(tasks.grow_then, (i, end)) for i, end in enumerate(["raise", "die", "exit"])]
        for result in failing:
            with pytest.raises(RuntimeError):  # WorkerLost and TaskExited are RuntimeErrors, too
                result.get(30)
        assert by_map(pool, tasks.grow) == EXPECTED


def test_the_parent_keeps_its_own_state(ctx: BaseContext) -> None:
    with IsolatedPool(2, context=ctx, isolation=LEVEL) as pool:
        by_map(pool, tasks.grow)
    assert tasks.haha == ["haha"]


MAIN_SCRIPT = """
import sys
from multiprocessing import get_context
from poolsafe import IsolatedPool

n = 0
made = None
by_initializer = None

class Counter:
    value = 0

    def step(self):
        global n
        n += 1
        return n

def rebind(i):
    global n, added
    n += 1
    Counter.value += 1
    seen = n, Counter.value, "added" in globals(), made, by_initializer, Counter().step()
    added = i
    return seen

def make():
    return ["new"]

def initialize():
    global by_initializer
    by_initializer = "initialized"

def lose(i):
    global n
    seen = n
    del n
    return seen

if __name__ == "__main__":
    pristine = (1, 1, False, None, "initialized", 2)
    ctx = get_context(sys.argv[1])
    for reset in ["auto", "__main__", ["__main__:n", "__main__:Counter.value"]]:
        with IsolatedPool(1, initialize, context=ctx, reset=reset) as pool:
            seen = pool.map(rebind, range(4), chunksize=4)
            stays = [isinstance(reset, list) and i > 0 for i in range(4)]  # not named there, so not taken away
            wanted = [(*pristine[:2], left, *pristine[3:]) for left in stays]
            assert seen == wanted, (reset, seen)
            assert pool.map(lose, range(3)) == [0, 0, 0]
    with IsolatedPool(1, initialize, context=ctx, reset={"__main__:made": make}) as pool:
        assert [seen[3] for seen in pool.map(rebind, range(3))] == [["new"]] * 3
    with IsolatedPool(1, initialize, context=ctx, keep="__main__:n") as pool:
        assert [seen[0] for seen in pool.map(rebind, range(3))] == [1, 3, 5]
    print("ok")
"""


def test_names_of_main_that_a_task_rebinds(start_method: str, tmp_path: Path) -> None:
    """Under spawn the functions of `__main__` have other globals than the module of that name."""
    script = tmp_path / "script.py"
    script.write_text(MAIN_SCRIPT)
    done = run_python(script, start_method, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout == "ok\n"
