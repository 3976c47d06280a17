"""The supervisor when what it relies on fails: starts, its thread, its own loop, workers that cannot be ended."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poolsafe import InitializerError, IsolatedPool, PoolsafeWarning, PoolTerminated, TaskTimeout, WorkerLost
from poolsafe.engine import crew, deadlines, supervisor, workers
from poolsafe.engine.channels import PipeChannel, SocketChannel
from poolsafe.engine.child import CUT_OFF_CODE
from poolsafe.engine.recipe import Recipe
from poolsafe.engine.signals import Retractable
from tests.support import leaks
from tests.support.gates import DEADLINE, Gate, wait_for
from tests.support.tasks import exit_hard, meet, pid, square


@pytest.fixture(params=["socket", "pipe"])
def make_pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes pools of forked workers over each transport, and ends them."""
    monkeypatch.setenv("POOLSAFE_TRANSPORT", request.param)
    made: list[IsolatedPool] = []

    def make(processes: int = 2, **options: Any) -> IsolatedPool:
        made.append(IsolatedPool(processes, context=mp.get_context("fork"), isolation=None, **options))
        return made[-1]

    yield make
    for pool in made:
        pool.terminate()
        pool.join()


class Starts:
    """Recipe.start, failing when told so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failures: list[BaseException] = []
        self.passes = 0
        self.failed = 0
        start = Recipe.start

        def failing(recipe: Recipe, announce: Any) -> Any:
            if self.failures and not self.passes:
                self.failed += 1
                raise self.failures.pop(0)
            self.passes = max(self.passes - 1, 0)
            return start(recipe, announce)

        monkeypatch.setattr(Recipe, "start", failing)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    return Starts(monkeypatch)


# -- constructors that fail --------------------------------------------------------------------------------------------
def test_a_worker_that_cannot_be_started_fails_the_constructor(make_pool: Any, starts: Starts) -> None:
    starts.passes, starts.failures = 1, [OSError(11, "no more processes")]
    before = leaks.footprint()
    with pytest.raises(OSError, match="no more processes"):
        make_pool(3)
    assert leaks.wait_until_clean(before) == []


def test_without_a_thread_there_is_no_pool(make_pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if "supervisor" in thread.name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    before = leaks.footprint()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        make_pool(2)
    assert leaks.wait_until_clean(before) == []


@pytest.mark.parametrize("moment", ["before it runs", "while it runs"])
def test_a_signal_whose_handler_raises_while_the_thread_starts(
    make_pool: Any, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The constructor fails with what was raised; what was started is ended by one of the two threads, and once."""
    decided, threads, failures = threading.Event(), list[threading.Thread](), list[Any]()
    seen: list[None] = []
    run, sleep = Retractable.run, supervisor.Supervisor._sleep

    def late(thread: Retractable) -> None:
        assert decided.wait(DEADLINE)
        run(thread)

    def start(thread: threading.Thread) -> None:
        threads.append(thread)
        thread.start()
        if moment == "while it runs":
            decided.set()
            wait_for(lambda: seen)
        raise KeyboardInterrupt

    def noted(self: supervisor.Supervisor) -> None:
        seen.append(None)
        sleep(self)

    monkeypatch.setattr(Retractable, "run", late)
    monkeypatch.setattr(supervisor.Supervisor, "_sleep", noted)
    monkeypatch.setattr(supervisor, "start_deaf", start)
    monkeypatch.setattr(threading, "excepthook", failures.append)
    before = leaks.footprint()
    with pytest.raises(KeyboardInterrupt):
        make_pool(2)
    decided.set()
    threads[0].join(DEADLINE)
    assert not threads[0].is_alive()
    assert failures == []
    assert bool(seen) == (moment == "while it runs")
    assert leaks.wait_until_clean(before) == []


def test_without_a_poller_there_is_no_pool(make_pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(crew, "EpollPoller", refuse)
    monkeypatch.setattr(crew, "WaitPoller", refuse)
    before = leaks.footprint()
    with pytest.raises(OSError, match="too many open files"):
        make_pool(2)
    assert leaks.wait_until_clean(before) == []


def test_a_worker_that_ignores_its_end_does_not_hold_up_a_failing_constructor(
    make_pool: Any, starts: Starts, tmp_path: Any
) -> None:
    gate = Gate(tmp_path / "stubborn")

    class Second(OSError):
        def __init__(self) -> None:
            gate.wait()
            super().__init__("no more processes")

    start = Recipe.start

    def failing(recipe: Recipe, announce: Any) -> Any:
        if starts.failed:
            raise Second
        starts.failed += 1
        return start(recipe, announce)

    Recipe.start = failing  # type: ignore[method-assign]  # undone by `starts`
    before = leaks.footprint()
    with pytest.raises(OSError, match="no more processes"):
        make_pool(2, initializer=ignore_the_end, initargs=(gate.path,))
    assert leaks.wait_until_clean(before) == []


def ignore_the_end(gate: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Gate(gate).open()
    threading.Event().wait()


# -- replacements that fail --------------------------------------------------------------------------------------------
def test_a_replacement_that_cannot_be_started_is_tried_again(make_pool: Any, starts: Starts) -> None:
    pool = make_pool(2)
    assert pool.map(square, range(10), 1) == [number * number for number in range(10)]
    starts.failures = [OSError(11, "no more processes"), MemoryError(), OSError(24, "too many open files")]

    def lose_one() -> None:
        with pytest.raises(WorkerLost):
            pool.apply(exit_hard, (1,))
        wait_for(lambda: starts.failed == 3 and len(pool._pool) == 2, what="the replacement")

    with pytest.warns(PoolsafeWarning, match="could not be started"):
        lose_one()
    assert pool.map(square, range(10), 1) == [number * number for number in range(10)]


def test_a_warning_that_is_an_error_is_printed(
    make_pool: Any, starts: Starts, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = make_pool(1)
    assert pool.apply(square, (2,)) == 4
    starts.failures = [OSError(11, "no more processes")]
    with pytest.raises(WorkerLost):
        pool.apply(exit_hard, (1,))  # the tests' filters turn the warning into an error
    assert pool.apply(square, (3,)) == 9
    assert (
        "poolsafe: a worker could not be started (BlockingIOError: [Errno 11] no more processes)"
        in capfd.readouterr().err
    )


def test_a_replacement_that_can_never_be_started_breaks_the_pool(make_pool: Any, starts: Starts, tmp_path: Any) -> None:
    pool = make_pool(2)
    arrived, never = Gate(tmp_path / "arrived"), Gate(tmp_path / "never")
    running = pool.apply_async(meet, (arrived, never))
    arrived.wait()
    starts.failures = [TypeError("cannot pickle the initializer")]
    lost = pool.apply_async(exit_hard, (1,))
    with pytest.raises(WorkerLost):
        lost.get(DEADLINE)
    with pytest.raises(InitializerError, match="TypeError: cannot pickle the initializer") as caught:
        running.get(DEADLINE)
    assert caught.value.may_have_run
    assert caught.value.pid is None
    with pytest.raises(InitializerError, match="cannot pickle"):
        pool.apply_async(square, (1,))


def test_a_task_whose_submitter_is_held_up_beyond_the_end_is_lost_for_its_own_reason(
    make_pool: Any, starts: Starts, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """It has sent the task past the supervisor, and tells of that when the worker is dead and the pool is over."""
    pool = make_pool(2)
    arrived, never = Gate(tmp_path / "arrived"), Gate(tmp_path / "never")
    running = pool.apply_async(meet, (arrived, never))
    arrived.wait()
    starts.failures = [TypeError("cannot pickle the initializer")]
    wait_for(lambda: len(pool._supervisor.intake._offers) == 1, what="an idle worker on offer")
    held_up = []
    for kind in (SocketChannel, PipeChannel):

        def try_send(channel: Any, *args: Any, send: Any = kind.try_send) -> bool:
            sent = send(channel, *args)
            if threading.current_thread() is threading.main_thread():
                held_up.append(sent)
                with pytest.raises(InitializerError):
                    running.get(DEADLINE)
                pool._supervisor.finished.wait(DEADLINE)
            return bool(sent)

        monkeypatch.setattr(kind, "try_send", try_send)
    lost = pool.apply_async(exit_hard, (1,))
    assert held_up == [True]
    with pytest.raises(WorkerLost):
        lost.get(DEADLINE)


def test_deaths_without_work_do_not_spin(make_pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[Any] = []
    pause = supervisor.Supervisor._pause
    monkeypatch.setattr(
        supervisor.Supervisor, "_pause", lambda self, command: (paused.append(command), pause(self, command))
    )
    pool = make_pool(1)
    pool._supervisor._commands[supervisor.Pause] = pool._supervisor._pause
    pids = {pool.apply(pid)}
    killed: set[int] = set()

    def kill_the_next() -> bool:
        for process in pool._pool:
            ready = any(lane.state == "ready" for lane in pool._supervisor.engine.lanes.values())
            if ready and process.pid not in killed:
                killed.add(process.pid)
                os.kill(process.pid, signal.SIGKILL)
        return len(killed) > 11

    wait_for(kill_the_next, what="a dozen deaths")
    assert pool.apply(pid) not in pids | killed
    assert paused, "after so many deaths in a row starting waits a little"


# -- the loop itself ---------------------------------------------------------------------------------------------------
class Bug(Exception):
    """Of the engine itself."""


@pytest.mark.parametrize("where", ["step", "nudge", "outcome", "event"])
def test_a_loop_that_fails_leaves_nobody_waiting(
    make_pool: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, where: str
) -> None:
    hooked: list[type[BaseException] | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: hooked.append(args.exc_type))
    pool = make_pool(2)
    arrived, go = Gate(tmp_path / "arrived"), Gate(tmp_path / "go")
    results = [pool.apply_async(meet, (arrived, go)) for _ in range(40)]
    arrived.wait()
    processes = pool._pool
    fail_once(pool._supervisor, where)
    if where == "outcome":
        go.open()
    for result in results:
        with pytest.raises(PoolTerminated):
            result.get(DEADLINE)
    assert pool._supervisor.finished.wait(DEADLINE)
    assert all(process.exitcode is not None for process in processes)
    assert hooked == [Bug]
    with pytest.raises(PoolTerminated):
        pool.apply(square, (2,))


def fail_once(made: supervisor.Supervisor, where: str) -> None:
    """The next call of a method of the engine, or an event of our own, raises."""
    engine: Any = made.engine

    def fail(*_: Any) -> Any:
        if where != "event":
            delattr(engine, where)
        raise Bug

    if where != "event":
        setattr(engine, where, fail)
    made.intake.post(fail if where == "event" else lambda: None)


# -- workers that cannot be ended --------------------------------------------------------------------------------------
def test_workers_that_not_even_killing_ends_are_given_up(make_pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "TERM_GRACE", 0.05)
    monkeypatch.setattr(supervisor, "STOP_GRACE", 0.05)
    pool = make_pool(2)
    assert pool.apply(square, (2,)) == 4
    processes = pool._pool
    send = workers.PersistentWorker.send_signal
    monkeypatch.setattr(workers.PersistentWorker, "send_signal", lambda *_: None)
    pool._supervisor.terminate()
    assert pool._supervisor.finished.wait(DEADLINE)
    assert pool._pool == []
    monkeypatch.setattr(workers.PersistentWorker, "send_signal", send)
    for process in processes:
        process.kill()
        process.join()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="nobody can tell whether a process lives")
def test_a_task_whose_process_cannot_be_ended_holds_up_nobody(
    make_pool: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is in an uninterruptible system call, or of another user since the program has dropped its privileges."""
    monkeypatch.setattr(deadlines, "TERM_GRACE", 0.01)
    monkeypatch.setattr(deadlines, "ENDLESS", 0.01)
    pool = make_pool(1)
    arrived, go = Gate(tmp_path / "arrived"), Gate(tmp_path / "go")
    [process] = pool._pool
    send = workers.PersistentWorker.send_signal
    monkeypatch.setattr(workers.PersistentWorker, "send_signal", lambda *_: None)
    with pytest.raises(TaskTimeout, match="could not be ended: it may run on"):
        pool.apply_async(meet, (arrived, go), timeout=0.1).get(DEADLINE)
    assert pool.apply(square, (2,)) == 4
    [other] = pool._pool
    assert other.pid != process.pid
    go.open()
    process.join(DEADLINE)
    assert process.exitcode == CUT_OFF_CODE, "nobody listens to it any more"
    second, third = Gate(tmp_path / "second"), Gate(tmp_path / "third")
    with pytest.raises(TaskTimeout):  # the second place of two, and the first is free again
        pool.apply_async(meet, (arrived, second), timeout=0.1).get(DEADLINE)
    assert pool.apply(square, (3,)) == 9
    [last] = pool._pool
    with pytest.raises(TaskTimeout):
        pool.apply_async(meet, (arrived, third), timeout=0.1).get(DEADLINE)
    with pytest.raises(InitializerError, match="too many processes already"):
        pool.apply_async(square, (4,)).get(DEADLINE)
    monkeypatch.setattr(workers.PersistentWorker, "send_signal", send)
    for gate, left in ((second, other), (third, last)):
        gate.open()
        left.join(DEADLINE)


def test_workers_that_ignore_the_first_signal_are_killed_together(
    make_pool: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    gates = [Gate(tmp_path / str(number)) for number in range(3)]
    pool = make_pool(3)
    for gate in gates:
        pool.apply_async(ignore_the_end, (gate.path,))
    for gate in gates:
        gate.wait()
    pool._supervisor.terminate()
    assert pool._supervisor.finished.wait(5 * supervisor.TERM_GRACE)
