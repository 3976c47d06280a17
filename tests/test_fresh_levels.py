"""`isolation="process"` and `"fork"`: every task has a fresh process in which nothing but the initializer has run."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from poolsafe import InitializerError, IsolatedPool, ResetError, TaskExited, WorkerLost
from tests.queues import deeds as queue_deeds
from tests.support import fresh, tasks
from tests.support.gates import Tally, wait_for
from tests.support.scripts import run_python
from tests.survival.conftest import RESET, MakePool, _no_main_for_workers, pools
from tests.survival.support import chores, deeds, initializers
from tests.survival.support.cases import spread
from tests.survival.support.ways import FEW_WAYS, WAYS, fresh_tally, living, survive

__all__ = ["_no_main_for_workers"]

LIMIT = 20

SHARING = """\
import multiprocessing, sys
from multiprocessing.shared_memory import SharedMemory
from poolsafe import IsolatedPool

def make(value):
    memory = SharedMemory(create=True, size=1)
    memory.buf[0] = value
    memory.close()
    return memory.name

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with IsolatedPool(1, context=context, isolation=sys.argv[2]) as pool:
        name = pool.apply(make, (5,))
        pool.close()
        pool.join()
    memory = SharedMemory(name)
    print(memory.buf[0])
    memory.close()
    memory.unlink()
"""


@pytest.fixture(params=["process", "fork"])
def level(request: pytest.FixtureRequest) -> str:
    """Each of the levels in turn."""
    return str(request.param)


@pytest.fixture
def make_pool(ctx: BaseContext, level: str) -> Iterator[MakePool]:
    for make in pools(ctx, RESET):
        yield partial(make, isolation=level)


@pytest.fixture
def pool(make_pool: MakePool) -> IsolatedPool:
    return make_pool()


def assert_full_strength(pool: IsolatedPool, folder: Path) -> None:
    """Two tasks run at the same time, and two more processes are ready for others."""
    arrivals = fresh_tally(folder)
    results = [pool.apply_async(chores.meet, (arrivals, 2)) for _ in range(2)]
    gone = {result.get(LIMIT) for result in results}
    assert len(gone) == 2
    wait_for(lambda: len(living(pool)) == 2 and not living(pool) & gone, LIMIT, "two live processes")


@pytest.mark.parametrize(("start_method", "way"), spread(list(WAYS), *FEW_WAYS))
def test_every_task_has_a_process_of_its_own(pool: IsolatedPool, way: str) -> None:
    harvest = WAYS[way](pool, list(range(12)), fresh.numbered_pid)
    assert sorted(harvest.values) == list(range(12))
    assert len(set(harvest.values.values())) == 12
    assert os.getpid() not in harvest.values.values()


def test_nothing_is_left_of_another_task(pool: IsolatedPool) -> None:
    assert pool.map(tasks.grow, range(8), 4) == [["haha", i] for i in range(8)]
    before = pool.apply(fresh.state_of_the_process)
    assert pool.apply(fresh.change_the_process) != os.getpid()
    for _ in range(4):
        assert pool.apply(fresh.state_of_the_process) == before


def test_what_the_parent_changes_later_is_not_seen(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some workers were started before, some will be after: they must not differ."""
    pool = make_pool(1)
    monkeypatch.setattr(tasks, "haha", ["later"])
    assert [pool.apply(tasks.grow, (i,)) for i in range(4)] == [["haha", i] for i in range(4)]


@pytest.mark.parametrize(
    "end",
    [partial(chores.raise_, ValueError), tasks.exit_hard, tasks.exit_softly, tasks.kill_self],
    ids=["raises", "exits", "sys-exit", "killed"],
)
def test_an_initializer_that_fails(make_pool: MakePool, gate: Any, tally: Tally, end: Callable[[], Any]) -> None:
    go = gate("go")
    go.open()
    pool = make_pool(2, initializers.count_then, (tally, go, end))
    with pytest.raises(InitializerError) as caught:
        pool.apply_async(tasks.square, (1,)).get(LIMIT)
    assert caught.value.pid in map(int, tally.entries())
    assert not caught.value.may_have_run


@pytest.mark.parametrize(("start_method", "level"), [("fork", "process")])  # elsewhere it does not run in two at once
def test_an_initializer_that_fails_first_in_the_process_that_waits(
    make_pool: MakePool, gate: Any, tally: Tally
) -> None:
    """Its end is told as its own, not as that of the process whose turn it is."""
    go = gate("go")
    pool = make_pool(1, initializers.end_the_second, (tally, go))
    with pytest.raises(InitializerError) as caught:
        pool.apply_async(tasks.square, (1,)).get(LIMIT)
    assert caught.value.exitcode == 3
    assert str(caught.value.pid) in tally.entries()[1:]
    go.open()


@pytest.mark.parametrize(("start_method", "level"), [("fork", "process")])
def test_an_initializer_that_ends_all_processes_that_wait(
    make_pool: MakePool, gate: Any, tally: Tally, tmp_path: Path
) -> None:
    """The task that runs meanwhile is finished; after that, the end of the initializer is told as what it is."""
    failing, arrivals = gate("failing"), Tally(tmp_path / "arrivals")
    pool = make_pool(1, initializers.exit_when, (failing, tally))
    first, second = gate("first"), gate("second")
    one = pool.apply_async(chores.wait_at, (first, arrivals))
    arrivals.wait(1)
    tally.wait(2)
    failing.open()
    first.open()  # the process that waits has begun already, and has its turn now
    two = pool.apply_async(chores.wait_at, (second, arrivals))
    arrivals.wait(2)
    tally.wait(2 + 11)
    second.open()
    assert [one.get(LIMIT), two.get(LIMIT)] == [int(pid) for pid in arrivals.entries()]
    with pytest.raises(InitializerError, match="exited with code 3") as caught:
        pool.apply_async(tasks.square, (1,)).get(LIMIT)
    assert str(caught.value.pid) in tally.entries()


@pytest.mark.parametrize("level", ["fork", "process"])
@pytest.mark.parametrize("start_method", ["fork"])  # the others have a tracker by then
def test_shared_memory_that_a_task_makes_outlives_its_process(start_method: str, level: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SHARING)
    done = run_python(program, start_method, level)
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")


def test_an_initializer_that_fails_later(make_pool: MakePool, tally: Tally) -> None:
    """In a process that takes the place of another: that ends the pool, and what was done stays so."""
    pool = make_pool(1, initializers.fail_after_two, (tally,), maxtasksperchild=1)
    results = [pool.apply_async(tasks.square, (i,)) for i in range(6)]
    outcomes = []
    for result in results:
        try:
            outcomes.append(result.get(LIMIT))
        except InitializerError:
            outcomes.append(None)
    assert outcomes[:1] == [0]
    assert outcomes[-1] is None


def test_the_initializer_runs_in_each(make_pool: MakePool) -> None:
    pool = make_pool(2, initializer=tasks.remember_initializer, initargs=("model",))
    assert pool.map(tasks.initializer_args, range(5)) == [("model",)] * 5


def test_hooks_and_seeds(make_pool: MakePool, tmp_path: Path) -> None:
    before, after = Tally(tmp_path / "before"), Tally(tmp_path / "after")
    pool = make_pool(2, seed=3, before_task=fresh.Note(before), after_task=fresh.Note(after))
    drawn = pool.map(fresh.draw, range(6), 2)
    assert len(set(drawn)) == 6
    assert (len(before.entries()), len(after.entries())) == (6, 6)
    assert make_pool(1, seed=3).map(fresh.draw, range(6), 3) == drawn
    assert not set(make_pool(1).map(fresh.draw, range(6))) & {*drawn, random.random()}


def test_no_more_than_so_many_at_a_time(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2)
    running = Tally(tmp_path / "running")
    pool.starmap(fresh.begin_and_end, [(running, i) for i in range(12)], 1)
    assert fresh.running_together(running.entries()) <= 2


@pytest.mark.parametrize(
    ("start_method", "deed"), spread([tasks.kill_self, tasks.exit_hard, tasks.exit_softly], tasks.kill_self)
)
def test_a_task_that_ends_its_process(pool: IsolatedPool, tmp_path: Path, deed: Callable[[], Any]) -> None:
    def expect(error: BaseException) -> None:
        assert type(error) is (TaskExited if deed is tasks.exit_softly else WorkerLost)

    for way in WAYS if pool._ctx.get_start_method() == "fork" else FEW_WAYS[1:3]:
        survive(pool, way, tmp_path, deed, expect)
    assert_full_strength(pool, tmp_path)


def test_many_that_die(pool: IsolatedPool) -> None:
    count = 25 if pool._ctx.get_start_method() == "fork" else 12
    results = [
        pool.apply_async(tasks.kill_self) if i % 5 == 1 else pool.apply_async(tasks.square, (i,)) for i in range(count)
    ]
    for i, result in enumerate(results):
        if i % 5 == 1:
            with pytest.raises(WorkerLost):
                result.get(LIMIT)
        else:
            assert result.get(LIMIT) == i * i


def test_a_thread_that_is_left_delays_nobody(pool: IsolatedPool, tmp_path: Path) -> None:
    results = pool.imap(chores.do, [chores.Chore(i, fresh_tally(tmp_path), deeds.leave_a_thread) for i in range(6)])
    for i in range(6):
        assert results.next(4) == (i, "done"), "each thread holds up its own process for five seconds"
    assert_full_strength(pool, tmp_path)


def test_workers_that_are_killed_while_they_wait(pool: IsolatedPool, tmp_path: Path) -> None:
    for worker in pool._pool:
        os.kill(worker.pid, signal.SIGKILL)
    assert pool.map(tasks.square, range(6)) == [i * i for i in range(6)]
    assert_full_strength(pool, tmp_path)


def test_large_payloads_queues_and_errors(pool: IsolatedPool) -> None:
    assert pool.map(tasks.identity, [bytes(2_000_000)] * 3) == [bytes(2_000_000)] * 3
    q = pool.Queue()
    assert pool.starmap(queue_deeds.put_all, [(q, [i]) for i in range(6)]) == [1] * 6
    assert sorted(q.get_nowait() for _ in range(6)) == list(range(6))
    with pytest.raises(TypeError):
        pool.apply(tasks.square, ("x", "y"))


def test_it_closes_and_leaves_nothing(make_pool: MakePool) -> None:
    pool = make_pool(2)
    result = pool.map_async(tasks.square, range(9))
    pool.close()
    pool.join()
    assert result.get(LIMIT) == [i * i for i in range(9)]
    assert pool._pool == []
    assert pool.stats().tasks == 9


def test_factories_make_values_anew_for_each_task(make_pool: MakePool) -> None:
    pool = make_pool(2, reset=["auto", {"tests.support.tasks:haha": list}])
    assert pool.map(tasks.grow, range(6), 3) == [[i] for i in range(6)]


def test_a_factory_that_raises(make_pool: MakePool) -> None:
    pool = make_pool(1, reset={"tests.support.tasks:haha": partial(chores.raise_, ValueError, "not today")})
    with pytest.raises(ResetError, match="not today"):
        pool.apply_async(tasks.grow, (1,)).get(LIMIT)


def test_what_a_factory_makes_is_no_leak(make_pool: MakePool) -> None:
    pool = make_pool(1, on_leak="watch", reset={"tests.support.tasks:haha": list})
    assert pool.apply(tasks.square, (1,)) == 1
    assert pool.apply(tasks.grow, (1,)) == [1]
    pool.close()
    pool.join()
    assert [leak.path for leak in pool.leaks if leak.function != "tests.support.tasks.grow"] == []


def test_leaks_are_told(make_pool: MakePool) -> None:
    pool = make_pool(1, on_leak="watch", reset="tests.support.tasks:haha")
    pool.apply(tasks.grow, (1,))
    wait_for(lambda: len(pool.leaks) == 1, LIMIT, "the leak")
    assert pool.leaks[0].path == "tests.support.tasks.haha[1]"


def test_what_a_level_does_to_its_processes_is_no_leak(make_pool: MakePool) -> None:
    pool = make_pool(1, on_leak="raise", reset="auto")
    assert pool.map(abs, range(-3, 0), 1) == [3, 2, 1]
    assert list(pool.leaks) == []


def test_the_submitting_threads_do_not_matter(pool: IsolatedPool) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.extend(pool.map(tasks.pid, range(5)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 15
