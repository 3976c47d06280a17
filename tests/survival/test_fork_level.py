"""`isolation="fork"`: the process of a task dies, is ended or left in any state; no other is touched, nothing is left.

Who uses it: pytest. What may go wrong: a worker that waits for a child that is gone, a task run twice or by two, a
process that nobody ends.
"""

from __future__ import annotations

import gc
import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from poolsafe import InitializerError, IsolatedPool, PoolsafeWarning, TaskCancelled, TaskTimeout, WorkerLost
from poolsafe.engine import template
from tests.support import fresh, tasks
from tests.support.gates import Gate, Tally, process_is_gone, wait_for
from tests.support.leaks import descendants
from tests.support.scripts import ROOT, run_python
from tests.survival.conftest import RESET, MakePool, pools
from tests.survival.support import chores, deeds, initializers, limits
from tests.survival.support.cases import spread
from tests.survival.support.ways import LIMIT, living, pipe_transport, survive, ways_under


@pytest.fixture
def make_pool(ctx: BaseContext) -> Iterator[MakePool]:
    for make in pools(ctx, RESET):
        yield partial(make, isolation="fork")


@pytest.fixture
def pool(make_pool: MakePool) -> IsolatedPool:
    return make_pool()


DEATHS: dict[str, Any] = {
    "segfault": deeds.segfault,
    "abort": deeds.abort,
    "exit": partial(tasks.exit_hard, 0),
    "terminated": partial(tasks.kill_self, signal.SIGTERM),
}


@pytest.mark.parametrize(("start_method", "death"), spread(list(DEATHS), "segfault"))
def test_a_task_that_dies_costs_no_worker(pool: IsolatedPool, death: str, tmp_path: Path) -> None:
    deed = DEATHS[death]
    pool.map(tasks.square, range(4))
    before = living(pool)

    def expect(error: BaseException) -> None:
        assert isinstance(error, WorkerLost)
        assert error.may_have_run
        assert error.pid not in before

    for way in ways_under(pool):
        survive(pool, way, tmp_path, deed, expect)
    assert living(pool) == before
    assert len(before) == 2


def test_a_storm(make_pool: MakePool, tmp_path: Path) -> None:
    """Every fifth dies, every seventh takes too long, every eleventh is called off; the rest comes through, once."""
    pool = make_pool(3, timeout=1.0)
    tally = Tally(tmp_path / "tally")
    results = []
    for i in range(150):
        if i % 5 == 1:
            results.append(pool.apply_async(tasks.kill_self))
        elif i % 35 == 0:
            results.append(pool.apply_async(limits.wait_for_ever, timeout=0.1))
        else:
            results.append(pool.apply_async(tasks.record, (tally, i, i)))
    called_off = {i for i in range(150) if i % 11 == 3 and results[i].cancel()}
    came: set[int] = set()
    for i, result in enumerate(results):
        try:
            assert result.get(LIMIT) == i
            came.add(i)
        except WorkerLost:
            assert i % 5 == 1
        except TaskTimeout:
            assert i % 35 == 0
        except TaskCancelled:
            assert i in called_off
    ran = [int(entry) for entry in tally.entries()]
    assert len(ran) == len(set(ran))
    assert came <= set(ran)
    assert len(living(pool)) == 3


@pytest.mark.parametrize("deed", [limits.burn, limits.hold_the_gil, limits.be_deaf, limits.stop])
def test_one_that_takes_too_long_is_ended(make_pool: MakePool, deed: Any) -> None:
    pool = make_pool(1)
    pool.apply(tasks.square, (1,))
    before = living(pool)
    ahead = pool.apply_async(deed, timeout=0.3)
    behind = [pool.apply_async(tasks.square, (i,), timeout=20) for i in range(5)]
    with pytest.raises(TaskTimeout) as caught:
        ahead.get(LIMIT)
    assert caught.value.limit == 0.3
    assert [result.get(LIMIT) for result in behind] == [i * i for i in range(5)]
    assert living(pool) == before


def test_one_that_is_called_off(pool: IsolatedPool, tmp_path: Path) -> None:
    gate, arrivals = Gate(tmp_path / "gate"), Tally(tmp_path / "arrivals")
    whole = pool.map_async(chores.wait_at_pair, [(gate, arrivals)] * 40)
    arrivals.wait(2)
    before = living(pool)
    assert whole.cancel()
    with pytest.raises(TaskCancelled):
        whole.get(LIMIT)
    assert pool.map(tasks.square, range(6)) == [i * i for i in range(6)]
    assert len(arrivals.entries()) == 2, "none of those that waited has begun"
    assert living(pool) == before


def test_retries(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(2, retries=2)
    tally = Tally(tmp_path / "tally")
    assert pool.map(limits.die_once, [(tally, i, i % 3 == 0) for i in range(9)]) == [(i, i * i) for i in range(9)]
    assert pool.stats().retried == 3


def collections_of_everything() -> int:
    return int(gc.get_stats()[-1]["collections"])


@pytest.mark.parametrize("start_method", ["fork"])  # by the others a worker has nothing of the program's
def test_what_the_program_has_is_not_gone_through_by_the_collector(make_pool: MakePool) -> None:
    """Else each worker would copy all of it, and start late where there is much."""
    gc.disable()
    try:
        before = collections_of_everything()
        assert make_pool(1).apply(collections_of_everything) == before
    finally:
        gc.enable()


def test_workers_are_replaced_after_so_many(make_pool: MakePool) -> None:
    pool = make_pool(1, maxtasksperchild=3)
    parents = pool.map(fresh.parent_of_the_process, range(9))
    assert [parents.count(parent) for parent in sorted(set(parents))] == [3, 3, 3]


def test_the_initializer_has_run_once_in_each_worker(make_pool: MakePool, tally: Tally) -> None:
    pool = make_pool(2, chores.count_start, (tally,))
    tally.wait(2)
    assert pool.map(tasks.square, range(20)) == [i * i for i in range(20)]
    assert set(map(int, tally.entries())) == living(pool)
    assert len(tally.entries()) == 2


FORKLESS: dict[str, tuple[Any, str]] = {
    "a hook raises": (initializers.audit_forks, "RuntimeError: no processes here"),
    "it is replaced": (initializers.replace_fork, "RuntimeError: no processes here"),
    "no descriptors": (initializers.leave_no_descriptors, "OSError"),
    "a hook ends the new one": (initializers.exit_after_forks, "code 7"),
}


@pytest.mark.parametrize(("start_method", "case"), spread(list(FORKLESS), "a hook raises", "a hook ends the new one"))
def test_an_initializer_after_which_no_process_can_be_forked(make_pool: MakePool, case: str) -> None:
    """Workers that begin, cannot serve and are replaced would do so for ever."""
    initializer, text = FORKLESS[case]
    with pytest.raises(InitializerError) as caught:
        make_pool(2, initializer).apply_async(tasks.square, (1,)).get(LIMIT)
    assert text in str(caught.value)
    assert not caught.value.may_have_run


def test_a_fork_that_fails_once_is_tried_again(make_pool: MakePool) -> None:
    assert make_pool(1, initializers.refuse_one_fork).map_async(tasks.square, range(4)).get(LIMIT) == [0, 1, 4, 9]


@pytest.mark.parametrize("start_method", ["fork"])  # whose workers find what is patched here
def test_a_worker_that_lacks_processes_is_waited_for(
    make_pool: MakePool, gate: Any, tally: Tally, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It took the place of one that had them; the task of another worker is not touched."""
    monkeypatch.setattr(template, "_TRIES", 2)
    go, scarce = gate("go"), gate("scarce")
    pool = make_pool(2, initializers.allow_no_forks_when, (scarce, tally))
    arrivals = Tally(tmp_path / "arrivals")
    held = pool.apply_async(chores.wait_at, (go, arrivals))
    at_work = int(arrivals.wait(1)[0])
    tally.wait(2)
    pool.map(tasks.square, range(4))
    scarce.open()
    [idle] = [pid for pid in living(pool) if at_work not in descendants(pid)]
    os.kill(idle, signal.SIGKILL)
    with pytest.warns(PoolsafeWarning, match="trying again"):
        tally.wait(4)  # two have taken its place, one after the other
    os.remove(scarce.path)
    assert pool.map(tasks.square, range(4)) == [0, 1, 4, 9], "by the next one; the other worker is held"
    go.open()
    assert held.get(LIMIT) == at_work


@pytest.mark.parametrize("start_method", ["fork"])
@pytest.mark.parametrize("level", ["fork", "process"])
def test_processes_that_are_killed_while_they_wait_cost_no_task(
    ctx: BaseContext, level: str, gate: Any, tally: Tally
) -> None:
    """However many, while a task runs."""
    go = gate("go")
    with IsolatedPool(1, context=ctx, isolation=level) as pool:
        held = pool.apply_async(chores.wait_at, (go, tally))
        at_work = int(tally.wait(1)[0])
        [worker] = living(pool)
        dead: set[int] = set()
        for _ in range(11):
            wait_for(lambda: bool(descendants(worker) - {at_work} - dead), what="one that waits")
            spare = min(descendants(worker) - {at_work} - dead)
            os.kill(spare, signal.SIGKILL)
            dead.add(spare)
        go.open()
        assert held.get(LIMIT) == at_work
        assert pool.map(tasks.square, range(4)) == [0, 1, 4, 9]
        pool.close()
        pool.join()


@pytest.mark.parametrize("start_method", ["fork"])
@pytest.mark.parametrize("level", ["fork", "process"])
def test_a_pool_that_a_thread_of_an_executor_makes(
    ctx: BaseContext, level: str, gate: Any, tally: Tally, capfd: pytest.CaptureFixture[str]
) -> None:
    """The thread is the main one of what it forks, and the executor would have it waited for there: by itself."""
    go = gate("go")
    with ThreadPoolExecutor(1) as executor:
        pool = executor.submit(IsolatedPool, 1, context=ctx, isolation=level).result(LIMIT)
        pool.apply(deeds.leave_a_thread_that_works, (go, tally))
        go.open()  # its process waits for it
        tally.wait(1)
        pool.close()
        pool.join()
    assert capfd.readouterr().err == ""


def test_what_must_differ_does(pool: IsolatedPool) -> None:
    drawn = pool.map(fresh.unique_things, range(12))
    for kind in zip(*drawn, strict=True):
        assert len(set(kind)) == 12
    assert random.random() not in {one[0] for one in drawn}


def test_a_worker_that_is_killed_takes_its_task_along_and_no_other(pool: IsolatedPool, tmp_path: Path) -> None:
    gate, arrivals, tally = Gate(tmp_path / "gate"), Tally(tmp_path / "arrivals"), Tally(tmp_path / "tally")
    running = [pool.apply_async(chores.wait_at, (gate, arrivals)) for _ in range(2)]
    children = set(map(int, arrivals.wait(2)))
    behind = [pool.apply_async(tasks.record, (tally, i, i)) for i in range(20)]
    killed = living(pool)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    for result in running:
        with pytest.raises(WorkerLost) as caught:
            result.get(LIMIT)
        assert caught.value.pid in children
        assert any(f"worker process {pid} was killed by SIGKILL" in str(caught.value) for pid in killed)
    assert [result.get(LIMIT) for result in behind] == list(range(20))
    assert sorted(map(int, tally.entries())) == list(range(20))
    wait_for(lambda: all(map(process_is_gone, children)), LIMIT, "the end of what they ran")


@pytest.mark.parametrize("end", ["terminate", "close"])
def test_nothing_is_left_of_a_pool(make_pool: MakePool, ctx: BaseContext, tmp_path: Path, end: str) -> None:
    gate, arrivals = Gate(tmp_path / "gate"), Tally(tmp_path / "arrivals")
    pool = IsolatedPool(2, context=ctx, reset=RESET, isolation="fork")
    results = [pool.apply_async(chores.wait_at, (gate, arrivals)) for _ in range(4)]
    pids = {*living(pool), *map(int, arrivals.wait(2))}
    if end == "close":
        pool.close()
        gate.open()
        pool.join()
        assert len({result.get(LIMIT) for result in results}) == 4
    else:
        pool.terminate()
        pool.join()
    pids |= set(map(int, arrivals.entries()))
    wait_for(lambda: all(map(process_is_gone, pids)), LIMIT, "the end of workers and children")


PROGRAM = """
import os, signal, sys, time
from multiprocessing import get_context
from pathlib import Path
from poolsafe import IsolatedPool
from tests.support.gates import Gate, Tally
from tests.survival.support import chores

if __name__ == "__main__":
    method, folder, state = sys.argv[1:]
    gate, arrivals = Gate(Path(folder, "gate")), Tally(Path(folder, "arrivals"))
    pool = IsolatedPool(2, context=get_context(method), isolation="fork", reset=None)
    if state != "idle":
        func = chores.wait_deaf_to_sigterm if state == "deaf" else chores.wait_at
        results = [pool.apply_async(func, (gate, arrivals)) for _ in range(6)]
        pids = arrivals.wait(2)
    else:
        pids = [pool.apply(os.getppid) for _ in range(2)]
    Path(folder, "pids").write_text(" ".join(map(str, [*pids, *[worker.pid for worker in pool._pool]])))
    if state == "stopped":
        for worker in pool._pool:
            os.kill(worker.pid, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("start_method", "state"), spread(["idle", "busy", "deaf", "stopped"], "busy"))
def test_nothing_outlives_the_program(start_method: str, state: str, tmp_path: Path) -> None:
    if state == "stopped" and pipe_transport:
        pytest.skip("only the kernel can end a stopped process, which takes Linux and its sockets")
    (tmp_path / "program.py").write_text(PROGRAM)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    run_python(tmp_path / "program.py", start_method, tmp_path, state, env={"PYTHONPATH": path})
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 4
    wait_for(lambda: all(map(process_is_gone, pids)), LIMIT, "the end of workers and children")
