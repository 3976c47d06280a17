"""Initializers that raise, exit, die, do not travel or take their time.

Who uses it: pytest. What may go wrong: workers are started again and again for ever, or somebody waits for a worker
that will never be ready.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from poolsafe import InitializerError, IsolatedPool, PoolTerminated
from tests.support import tasks
from tests.support.gates import Tally, process_is_gone, wait_for
from tests.support.levels import LEVEL
from tests.support.scripts import run_python
from tests.survival.conftest import MakePool
from tests.survival.support import chores, deeds, hostile, initializers
from tests.survival.support.cases import spread
from tests.survival.support.ways import (
    LIMIT,
    WAYS,
    assert_full_strength,
    assert_survives_pickling,
    assert_worded,
    living,
)  # fmt: skip

#: Where it runs once in each worker, and not for each task.
for_workers = pytest.mark.skipif(LEVEL == "process", reason="it runs for each task")

#: Ends of an initializer, and a word of the error.
ENDS: dict[str, tuple[Callable[[], Any], str]] = {
    "raises": (partial(chores.raise_, ValueError, "not today"), "ValueError: not today"),
    "raises-two-arguments": (hostile.two_arguments, "it failed because it had to"),
    "no-text": (partial(chores.raise_, hostile.NoText), "NoText"),
    "interrupted": (partial(chores.raise_, KeyboardInterrupt), "KeyboardInterrupt"),
    "sys-exit": (partial(tasks.exit_softly, 3), "SystemExit: 3"),
    "sys-exit-0": (partial(tasks.exit_softly, 0), "SystemExit"),
    "exit0": (partial(tasks.exit_hard, 0), "code 0"),
    "exit1": (partial(tasks.exit_hard, 1), "code 1"),
    "killed": (tasks.kill_self, "SIGKILL"),
    "segfault": (deeds.segfault, "SIGSEGV"),
    "execs": (deeds.exec_a_program_that_stays, "replaced the process by exec"),
    "closes": (deeds.close_every_descriptor, "closed the file descriptors"),
    "closes-stays": (initializers.close_everything_and_stay, "closed the file descriptors"),
}


def assert_broken(pool: IsolatedPool, text: str) -> None:
    """Nothing can be submitted any more, by any way, and the error says why."""
    for way in WAYS:
        [error] = _refusal(pool, way)
        assert_worded(error, InitializerError)
        assert text in str(error)


def _refusal(pool: IsolatedPool, way: str) -> list[BaseException]:
    try:
        return WAYS[way](pool, [0]).errors
    except InitializerError as error:  # raised by the submission itself
        return [error]


@pytest.mark.parametrize(("start_method", "end"), spread(ENDS, "raises", "sys-exit", "exit0", "killed"))
def test_an_initializer_that_fails(make_pool: MakePool, gate: Any, tally: Tally, end: str) -> None:
    deed, text = ENDS[end]
    go = gate("go")
    pool = make_pool(2, initializers.count_then, (tally, go, deed))
    result = pool.apply_async(tasks.square, (1,))
    whole = pool.map_async(tasks.square, range(10))
    iterator = pool.imap(tasks.square, range(10))
    start = time.monotonic()
    go.open()
    for wait in (result.get, whole.get, iterator.next):
        with pytest.raises(InitializerError) as caught:
            wait(LIMIT)
        assert_worded(caught.value, InitializerError)
        assert text in str(caught.value)
        assert not caught.value.may_have_run
        assert caught.value.pid in map(int, tally.entries())
        assert_survives_pickling(caught.value)
    assert time.monotonic() - start < LIMIT
    assert_broken(pool, text)
    # A death by a signal may be somebody else's doing: a few tries. Anything else is final.
    tries = 10 if end in ("killed", "segfault", "execs", "closes", "closes-stays") else 2
    assert len(tally.entries()) <= tries * (3 if LEVEL == "process" else 1)
    pool.close()
    pool.join()
    assert living(pool) == set()
    for pid in map(int, tally.entries()):
        wait_for(partial(process_is_gone, pid), what=f"the end of {pid}")


@pytest.mark.parametrize("end", ["close", "terminate", "with"])
def test_a_pool_whose_initializer_failed_can_be_ended(make_pool: MakePool, end: str) -> None:
    pool = make_pool(2, tasks.exit_softly)
    with pytest.raises(InitializerError):
        pool.apply(tasks.square, (1,))
    if end == "with":
        with pytest.raises(InitializerError), pool:
            raise AssertionError("a broken pool cannot be entered")
        pool.terminate()
    else:
        getattr(pool, end)()
    pool.join()
    assert living(pool) == set()


@pytest.mark.parametrize("make", [lambda: lambda: None, hostile.DoesNotPickle], ids=["lambda", "hostile"])
@pytest.mark.parametrize("place", ["initializer", "argument"])
def test_an_initializer_that_does_not_pickle(
    start_method: str, make_pool: MakePool, make: Callable[[], Any], place: str
) -> None:
    """Under fork it need not pickle. Else the constructor raises what pickling raises."""
    bad = make()
    options = {"initializer": tasks.identity, "initargs": (bad,)}
    if place == "initializer":
        options = {"initializer": bad if isinstance(bad, type(make)) else partial(tasks.call_with, bad), "initargs": ()}
    if start_method == "fork":
        assert make_pool(2, **options).apply(tasks.square, (3,)) == 9
    else:
        with pytest.raises(type(hostile.pickling_error_of(bad))):
            make_pool(2, **options)


def test_an_initializer_that_does_not_load(start_method: str, make_pool: MakePool) -> None:
    options = {"initializer": tasks.identity, "initargs": (hostile.DoesNotLoad(),)}
    pool = make_pool(2, **options)
    if start_method == "fork":
        assert pool.apply(tasks.square, (3,)) == 9
        return
    with pytest.raises(InitializerError, match="this does not load") as caught:
        pool.apply(tasks.square, (3,))
    assert_worded(caught.value, InitializerError)
    assert_broken(pool, "this does not load")


SELDOM = """\
import multiprocessing, os, sys
from poolsafe import IsolatedPool

if __name__ == "__main__":
    multiprocessing.set_executable(os.path.abspath("python"))
    with IsolatedPool(1, context=multiprocessing.get_context("spawn"), isolation=sys.argv[1]) as pool:
        print(pool.map(abs, range(-3, 0)))
"""


@pytest.mark.parametrize("start_method", ["spawn"])
def test_a_process_that_cannot_be_executed_is_tried_again(start_method: str, tmp_path: Path) -> None:
    """Exec fails when memory is short, or when another thread changes the environment meanwhile; the code is 255."""
    program, interpreter = tmp_path / "program.py", tmp_path / "python"
    program.write_text(SELDOM)
    once = 'case "$*" in *spawn_main*) if mkdir tried 2>/dev/null; then exit 255; fi; esac'
    interpreter.write_text(f'#!/bin/sh\n{once}\nexec "{sys.executable}" "$@"\n')
    interpreter.chmod(0o755)
    done = run_python(program, LEVEL, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "[3, 2, 1]\n"), done.stderr
    assert (tmp_path / "tried").exists()


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_arguments_that_cannot_be_handed_over_any_more(make_pool: MakePool, tally: Tally) -> None:
    """An end of a pipe that the program closes once the workers have it: for their replacements nothing is there."""
    reader, writer = mp.Pipe(duplex=False)
    with reader:
        pool = make_pool(1, initializers.count_beside, (tally, writer))
        tally.wait(1)
        writer.close()
        for pid in living(pool):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(InitializerError, match="handle is closed"):
            pool.apply_async(tasks.square, (1,)).get(LIMIT)
        with pytest.raises(OSError, match="handle is closed"):
            make_pool(1, initializers.count_beside, (tally, writer))


def test_a_slow_initializer_is_waited_for(make_pool: MakePool, gate: Any, tally: Tally, tmp_path: Path) -> None:
    go = gate("go")
    pool = make_pool(2, chores.wait_at, (go, tally))
    result = pool.apply_async(tasks.square, (3,))
    with pytest.raises(mp.TimeoutError):
        result.get(0.05)
    tally.wait(2)
    go.open()
    assert result.get(LIMIT) == 9
    assert_full_strength(pool, 2, tmp_path)
    assert len(tally.entries()) == 2 or LEVEL == "process"


@pytest.mark.parametrize("deaf", [False, True])
def test_terminate_does_not_wait_for_a_slow_initializer(
    make_pool: MakePool, gate: Any, tally: Tally, deaf: bool
) -> None:
    pool = make_pool(2, chores.wait_deaf_to_sigterm if deaf else chores.wait_at, (gate("never"), tally))
    result = pool.apply_async(tasks.square, (3,))
    tally.wait(2)
    start = time.monotonic()
    pool.terminate()
    pool.join()
    assert time.monotonic() - start < LIMIT
    with pytest.raises(PoolTerminated) as caught:
        result.get(LIMIT)
    assert not caught.value.may_have_run


@for_workers
def test_one_slow_initializer_does_not_hold_up_the_others(make_pool: MakePool, gate: Any, tally: Tally) -> None:
    go = gate("go")
    pool = make_pool(2, initializers.slow_for_the_second, (tally, go))
    assert pool.map(tasks.square, range(50)) == [i * i for i in range(50)]
    tally.wait(2)
    assert not go.is_open()
    go.open()


@for_workers
def test_it_runs_in_every_replacement(make_pool: MakePool, tally: Tally, tmp_path: Path) -> None:
    pool = make_pool(2, chores.count_start, (tally,))
    assert_full_strength(pool, 2, tmp_path)
    assert set(map(int, tally.entries())) == living(pool)
    for deaths in range(1, 4):
        os.kill(min(living(pool)), signal.SIGKILL)
        tally.wait(2 + deaths)
        assert_full_strength(pool, 2, tmp_path)
        assert living(pool) <= set(map(int, tally.entries()))
    assert len(tally.entries()) == 5


@pytest.mark.reused
def test_it_runs_in_workers_that_replace_spent_ones(make_pool: MakePool, tally: Tally) -> None:
    pool = make_pool(1, chores.count_start, (tally,), 1)
    pids = [pool.apply(os.getpid) for _ in range(3)]
    assert len(set(pids)) == 3
    assert tally.entries()[:3] == [str(pid) for pid in pids]


@for_workers
def test_one_that_fails_in_a_replacement_alone(make_pool: MakePool, gate: Any, tally: Tally, tmp_path: Path) -> None:
    """The pool worked until then; nobody waits for what cannot come."""
    pool = make_pool(2, initializers.fail_after_two, (tally,))
    assert_full_strength(pool, 2, tmp_path)
    held = Tally(tmp_path / "held")
    running = [pool.apply_async(chores.wait_at, (gate("never"), held)) for _ in range(2)]
    queued = [pool.apply_async(tasks.square, (i,)) for i in range(10)]
    held.wait(2)
    os.kill(min(living(pool)), signal.SIGKILL)
    errors = []
    for result in [*running, *queued]:
        with pytest.raises(RuntimeError) as caught:
            result.get(LIMIT)
        errors.append(caught.value)
    assert sum(isinstance(error, InitializerError) for error in errors) >= len(queued) + 1
    assert_broken(pool, "only two may start")
    assert len(tally.entries()) == 3


def test_errors_of_initializers_reach_a_waiter_that_came_before(make_pool: MakePool, gate: Any, tally: Tally) -> None:
    go = gate("go")
    pool = make_pool(1, initializers.count_then, (tally, go, partial(chores.raise_, ValueError, "not today")))
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            pool.apply(tasks.square, (2,))
        except InitializerError as error:
            caught.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    tally.wait(1)
    go.open()
    waiter.join(LIMIT)
    assert not waiter.is_alive()
    assert "not today" in str(caught[0])
