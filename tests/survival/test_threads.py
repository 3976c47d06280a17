"""Pools among threads: made in a threaded parent, several at once, one for many, ended under their hands.

Who uses it: pytest. What may go wrong: one pool's descriptors leak into the workers of another, a lock is held at the
moment of a fork, a result goes to the wrong thread or to nobody.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, PoolTerminated, WorkerLost
from tests.support import tasks
from tests.support.gates import Tally, process_is_gone, wait_for
from tests.support.levels import LEVEL, many
from tests.support.scripts import run_python
from tests.survival.conftest import RESET, MakePool
from tests.survival.support import chores
from tests.survival.support.chores import Chore, do
from tests.survival.support.ways import LIMIT, assert_full_strength, fresh_tally, kill_idle, living, runs


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run *work* in *count* threads that begin together; the values, or the first error."""
    together = threading.Barrier(count)

    def begin(i: int) -> Any:
        together.wait(LIMIT)
        return work(i)

    with ThreadPoolExecutor(count) as threads:
        return [future.result(4 * LIMIT) for future in [threads.submit(begin, i) for i in range(count)]]


@pytest.fixture
def busy_parent() -> Iterator[None]:
    """Threads that hold all sorts of locks most of the time."""
    stop = threading.Event()
    logger = logging.getLogger("survival")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())

    def log() -> None:
        while not stop.is_set():
            logger.warning("busy")
            sys.stderr.write("")
            importlib.import_module("json")

    threads = [threading.Thread(target=log) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield
    stop.set()
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("busy_parent")
def test_a_pool_in_a_threaded_parent(make_pool: MakePool, start_method: str) -> None:
    for _ in range(3 if start_method == "fork" else 1):  # others begin with none of its locks
        pool = make_pool()
        assert pool.map(chores.log_and_import, range(20)) == list(range(20))
        with pytest.raises(WorkerLost):
            pool.apply(tasks.kill_self)
        assert pool.map(chores.log_and_import, range(20)) == list(range(20))
        pool.terminate()
        pool.join()


def test_several_pools_in_several_threads(ctx: BaseContext, tmp_path: Path) -> None:
    """Each notices the deaths of its own workers at once, whatever the others hold open."""

    def work(number: int) -> int:
        with IsolatedPool(2, context=ctx, reset=RESET, isolation=LEVEL) as pool:
            for _ in range(many(3, 3, 1)):
                assert pool.map(tasks.square, range(30)) == [i * i for i in range(30)]
                with pytest.raises(WorkerLost):
                    pool.apply_async(tasks.kill_self).get(LIMIT)
            assert_full_strength(pool, 2, tmp_path)
        return number

    assert in_threads(6, work) == list(range(6))


def test_one_pool_for_many_threads(pool: IsolatedPool, tally: Tally) -> None:
    numbers = itertools.count()
    threads = many(16, 6, 3)

    def work(thread: int) -> None:
        mine = [next(numbers) for _ in range(20)]
        for i in mine[:10]:
            assert pool.apply(do, (Chore(i, tally),)) == (i, i * i)
        todo = [Chore(i, tally) for i in mine[10:]]
        for got in (pool.map(do, todo[:5]), list(pool.imap(do, todo[5:]))):
            assert all(value == i * i for i, value in got)
        assert sorted(pool.imap_unordered(tasks.square, [thread, 100])) == [thread * thread, 10_000]

    in_threads(threads, work)
    assert runs(tally) == Counter(range(20 * threads))


def test_deaths_among_many_threads(pool: IsolatedPool, tally: Tally, tmp_path: Path) -> None:
    """Each thread gets the errors of its own tasks, and no others."""

    each = many(20, 20, 8)

    def work(thread: int) -> int:
        lost = 0
        for i in range(thread * each, thread * each + each):
            try:
                assert pool.apply(do, (Chore(i, tally, tasks.kill_self if i % 7 == 0 else None),)) == (i, i * i)
            except WorkerLost:
                assert i % 7 == 0
                lost += 1
        return lost

    assert sum(in_threads(8, work)) == len(range(0, 8 * each, 7))
    assert runs(tally) == Counter(range(8 * each))
    assert_full_strength(pool, 2, tmp_path)


def test_tasks_that_wait_for_each_other(pool: IsolatedPool, tmp_path: Path) -> None:
    """A task never waits behind a running one while another worker is idle, however it was submitted."""
    for _ in range(20):
        arrivals = fresh_tally(tmp_path)
        assert len(set(pool.starmap(chores.meet, [(arrivals, 2)] * 2, 1))) == 2
        arrivals = fresh_tally(tmp_path)
        results = [pool.apply_async(chores.meet, (arrivals, 2)) for _ in range(2)]
        assert len({result.get(LIMIT) for result in results}) == 2


def test_the_pool_is_ended_under_the_hands_of_many(make_pool: MakePool) -> None:
    pool = make_pool()
    started = threading.Semaphore(0)

    def work(_: int) -> str:
        started.release()
        try:
            while True:
                pool.apply(tasks.square, (3,))
                pool.map(tasks.square, range(5))
                list(pool.imap_unordered(tasks.square, range(5)))
        except PoolTerminated:
            return "terminated"
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(work, i) for i in range(8)]
        for _ in futures:
            assert started.acquire(timeout=LIMIT)
        pool.terminate()
        ends = {future.result(LIMIT) for future in futures}
    assert ends <= {"terminated", "Pool not running"}


def test_pools_made_and_ended_in_many_threads(ctx: BaseContext) -> None:
    def work(_: int) -> set[int]:
        pids = set()
        for _ in range(3):
            pool = IsolatedPool(2, context=ctx, reset=RESET, isolation=LEVEL)
            pids |= living(pool)
            pool.apply_async(tasks.square, (1,))
            pool.terminate()
            pool.join()
        return pids

    pids = set().union(*in_threads(4, work))
    assert len(pids) == 4 * 3 * 2
    wait_for(lambda: all(map(process_is_gone, pids)), LIMIT)


def test_a_pool_is_ended_in_another_thread_than_it_was_made(make_pool: MakePool, tmp_path: Path) -> None:
    made: list[IsolatedPool] = []
    maker = threading.Thread(target=lambda: made.append(make_pool()))
    maker.start()
    maker.join()
    [pool] = made
    os.kill(min(living(pool)), signal.SIGKILL)
    assert_full_strength(pool, 2, tmp_path)
    ender = threading.Thread(target=pool.terminate)
    ender.start()
    ender.join(LIMIT)
    assert not ender.is_alive()


def test_an_import_in_progress_at_the_moment_of_a_fork(
    pool: IsolatedPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Any
) -> None:
    """A replacement must not wait for a lock that only a thread of the parent could release."""
    go, entered = gate("go"), gate("entered")
    (tmp_path / "slow_module.py").write_text(
        "from tests.support.gates import Gate\n"
        f"Gate({entered.path!r}).open()\nGate({go.path!r}).wait()\ndef answer(): return 42\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importing = threading.Thread(target=importlib.import_module, args=("slow_module",))
    importing.start()
    try:
        entered.wait()
        pool.map(tasks.square, range(4))
        kill_idle(pool)
        assert_full_strength(pool, 2, tmp_path)
        result = pool.apply_async(chores.call_by_name, (str(tmp_path), "slow_module", "answer"))
        result.wait(0.2)
    finally:
        go.open()
        importing.join()
    try:
        assert result.get(LIMIT) == 42
    finally:
        sys.modules.pop("slow_module", None)


FIRST_POOLS = """\
import importlib.abc, multiprocessing, sys, threading
from poolsafe import IsolatedPool

begun, forked = threading.Event(), threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "poolsafe.submission" and not begun.is_set():
            begun.set()
            forked.wait(0.5)

def use():
    with IsolatedPool(1) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]

if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    sys.meta_path.insert(0, Slow())
    thread = threading.Thread(target=use)
    thread.start()
    begun.wait()
    child = multiprocessing.Process(target=use)
    child.start()
    forked.set()
    child.join(20)
    print(child.exitcode)
    child.kill()
    thread.join()
"""


def test_a_fork_while_another_thread_makes_the_first_pool(tmp_path: Path) -> None:
    """What pools are made of is being imported then, under locks that nobody in the forked process would open."""
    program = tmp_path / "program.py"
    program.write_text(FIRST_POOLS)
    done = run_python(program)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


LATE_IMPORTS = """\
import multiprocessing, os, sys
from poolsafe import IsolatedPool
from poolsafe.later import _importing

program = os.getpid()
late = []

class Watch:
    def find_spec(self, name, path, target=None):
        if os.getpid() == program and not _importing._is_owned():
            late.append(name)

if __name__ == "__main__":
    sys.meta_path.insert(0, Watch())
    with IsolatedPool(1, context=multiprocessing.get_context(sys.argv[1])) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        queue = pool.Queue()
        pool.apply(queue.put, (1,))
        assert queue.get() == 1
    print(late)
"""


def test_all_that_a_first_pool_imports_holds_up_forks(start_method: str, tmp_path: Path) -> None:
    """Another thread may fork at any time: a lock of an import under way would never be opened in that process."""
    program = tmp_path / "program.py"
    program.write_text(LATE_IMPORTS)
    done = run_python(program, start_method)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_main_thread_of_a_worker_is_like_any_other(make_pool: MakePool) -> None:
    """Under fork it goes on as the thread that forked it: the program's, or the supervisor's, which is a daemon."""
    [pool] = in_threads(1, lambda _: make_pool(1))
    for _ in range(2):
        assert pool.apply(chores.main_thread) == ("MainThread", False, False, True)
        kill_idle(pool)
