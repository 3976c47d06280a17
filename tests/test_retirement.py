"""Workers in which a task left what cannot be undone are replaced before their next task, and no task is lost by it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from multiprocessing import shared_memory
from multiprocessing.context import BaseContext

import pytest

from poolsafe import IsolatedPool
from tests.support.gates import wait_for

THREAD, CHILD = "a thread was left running", "a child process was left running"


def leave_a_thread(_: object) -> int:
    """One that never ends, and that an orderly exit would wait for."""
    threading.Thread(target=threading.Event().wait).start()
    return os.getpid()


def leave_a_raw_thread(_: object) -> int:
    import _thread

    begun = threading.Event()
    _thread.start_new_thread(lambda: begun.set() or threading.Event().wait(), ())  # type: ignore[func-returns-value]
    assert begun.wait(10)
    return os.getpid()


def leave_a_child(_: object) -> int:
    """One that lives as long as its worker, which holds the other end of its input."""
    reader, _writer = os.pipe()
    subprocess.Popen([sys.executable, "-S", "-c", "import sys; sys.stdin.read()"], stdin=reader)
    os.close(reader)
    return os.getpid()


def leave_a_dead_child(_: object) -> int:
    """Children that are over, but that nobody waited for, are no longer there for the next task."""
    try:
        os.waitpid(-1, os.WNOHANG)
        raise AssertionError("a child of another task is there")
    except ChildProcessError:
        pass
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return os.getpid()


def leave_and_raise(_: object) -> None:
    leave_a_thread(None)
    raise ValueError(os.getpid())


def tidy(_: object) -> int:
    """A thread and a child that are over when the task is."""
    thread = threading.Thread(target=len, args=("",))
    thread.start()
    thread.join()
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)
    return os.getpid()


def share_memory(_: object) -> int:
    """Starts multiprocessing's resource tracker in the worker, which serves until the worker's end."""
    memory = shared_memory.SharedMemory(create=True, size=10)
    memory.close()
    memory.unlink()
    return os.getpid()


@pytest.mark.parametrize(
    ("task", "reason"),
    [(leave_a_thread, THREAD), (leave_a_raw_thread, THREAD), (leave_a_child, CHILD)],
)
@pytest.mark.parametrize(
    ("start_method", "processes", "chunksize"),
    [("fork", 1, 1), ("fork", 1, 5), ("fork", 3, 2), ("spawn", 2, 3), ("forkserver", 2, 3)],
)
def test_every_task_has_a_worker_of_its_own(
    ctx: BaseContext, task: object, reason: str, processes: int, chunksize: int
) -> None:
    with IsolatedPool(processes, context=ctx) as pool:
        pids = pool.map(task, range(5), chunksize)  # type: ignore[arg-type]
        assert len(set(pids)) == 5
        wait_for(lambda: pool.stats().retired == {reason: 5}, what="the last worker's leave")
        assert (pool.stats().tasks, pool.stats().lost) == (5, 0)


def test_single_calls_and_tasks_that_raise(ctx: BaseContext) -> None:
    with IsolatedPool(1, context=ctx) as pool:
        with pytest.raises(ValueError) as caught:
            pool.apply(leave_and_raise, (0,))
        first = pool.apply(leave_a_thread, (0,))
        assert first != caught.value.args[0]
        assert pool.apply(os.getpid) not in (first, caught.value.args[0])
        wait_for(lambda: pool.stats().retired == {THREAD: 2}, what="the last worker's leave")


@pytest.mark.parametrize("task", [tidy, share_memory, leave_a_dead_child])
def test_what_is_over_with_the_task_is_no_reason(ctx: BaseContext, task: object) -> None:
    with IsolatedPool(1, context=ctx) as pool:
        assert len(set(pool.map(task, range(4), 2))) == 1  # type: ignore[arg-type]
        assert pool.stats().retired == {}


def open_stdout() -> None:
    """One that can be closed: that of the tests belongs to pytest."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - closed by the task


def close_stdout(_: object) -> bool:
    closed = sys.stdout.closed
    sys.stdout.close()
    return closed


def lower_hard_limit(_: object) -> tuple[int, int]:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1] - 1, limits[1] - 1))
    return limits


def give_up_priority(_: object) -> int:
    now = os.nice(0)
    os.nice(1)
    return now


@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("task", [close_stdout, lower_hard_limit, give_up_priority])
def test_what_cannot_be_put_back_costs_the_worker(ctx: BaseContext, task: object, chunksize: int) -> None:
    """The superuser gets limits and priority back, without a new worker; what tasks see is the same."""
    with IsolatedPool(1, open_stdout, context=ctx) as pool:
        assert len(set(pool.map(task, range(3), chunksize))) == 1  # type: ignore[arg-type]
        if task is close_stdout:
            assert pool.stats().retired == {"something could not be put back": 2}
        assert (pool.stats().tasks, pool.stats().lost) == (3, 0)


def start_a_thread() -> None:
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def test_what_the_initializer_started_is_no_reason(ctx: BaseContext) -> None:
    with IsolatedPool(1, start_a_thread, context=ctx) as pool:
        assert len(set(pool.map(tidy, range(3)))) == 1


def test_without_isolation_nothing_is_a_reason() -> None:
    with IsolatedPool(1, isolation=None) as pool:
        assert len(set(pool.map(leave_a_child, range(3)))) == 1
        assert pool.stats().retired == {}


def test_stats_count_seconds() -> None:
    with IsolatedPool(1) as pool:
        pool.map(tidy, range(2))
        stats = pool.stats()
        assert 0 < stats.seconds_in_resets < stats.seconds_in_tasks
    after = pool.stats()
    assert after.tasks == 2
    assert after.seconds_in_tasks >= stats.seconds_in_tasks
