"""Signals: who gets them, in what state workers start, and handlers that use the pool they interrupted.

Who uses it: pytest. What may go wrong: a signal is taken by a thread or a worker that it was not meant for; a handler
waits for a lock that its own thread holds.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing import util
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, WorkerLost
from tests.support import tasks
from tests.support.gates import Tally, wait_for
from tests.support.levels import FRESH
from tests.survival.conftest import MakePool
from tests.survival.support import chores, deeds
from tests.survival.support.cases import METHODS, spread
from tests.survival.support.ways import LIMIT, assert_full_strength, kill_idle, living, thrive


@pytest.fixture
def handle() -> Iterator[Callable[[int, Any], None]]:
    """Install handlers; what was there before is put back."""
    before: dict[int, Any] = {}

    def install(number: int, handler: Any) -> None:
        before.setdefault(number, signal.signal(number, handler))

    yield install
    for number, handler in before.items():
        signal.signal(number, handler)


def blocked(status: Path) -> set[int]:
    """The signals that a thread blocks, by its ``/proc`` entry."""
    line = next(line for line in status.read_text().splitlines() if line.startswith("SigBlk:"))
    mask = int(line.split()[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_no_thread_of_the_pool_takes_signals(pool: IsolatedPool, gate: Any) -> None:
    """A signal that such a thread took would not interrupt the main thread's sleep: Ctrl-C would seem to be ignored."""
    tids = {int(name) for name in os.listdir("/proc/self/task")}
    iterator = pool.imap(tasks.identity, iter([1, 2]))
    pool.apply_async(tasks.square, (2,), callback=lambda _: None).wait(LIMIT)
    pool.apply_async(tasks.kill_self).wait(LIMIT)
    assert list(iterator) == [1, 2]
    assert pool.apply(tasks.square, (2,)) == 4
    named = {thread.native_id: thread.name for thread in threading.enumerate() if thread.name.startswith("poolsafe")}
    assert named, "the pool has threads of its own"
    assert set(named) & tids
    must = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGHUP}
    for tid, name in named.items():
        assert must <= blocked(Path(f"/proc/self/task/{tid}/status")), name


def test_an_interrupt_is_for_the_parent_and_for_the_programs_of_tasks(pool: IsolatedPool) -> None:
    """A worker goes on; what its task started gets its usual way to end (SIG_IGN would be inherited through exec)."""
    assert pool.apply(chores.interrupt_self) == "not interrupted"
    assert pool.apply(chores.interrupt_kills_a_program) == -signal.SIGINT


@pytest.mark.parametrize("mine", [set(), {signal.SIGUSR2, signal.SIGHUP}])
def test_workers_start_with_the_signal_mask_of_the_maker(
    make_pool: MakePool, mine: set[signal.Signals], tmp_path: Path
) -> None:
    """The first ones, and replacements, which are started by another thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, mine)
    try:
        pool = make_pool()
        expected = (before | mine) - {signal.SIGINT, signal.SIGTERM}
        assert set(pool.apply(chores.signal_mask)) == expected
        for _ in range(2):
            with pytest.raises(WorkerLost):
                pool.apply(tasks.kill_self)
        assert_full_strength(pool, 2, tmp_path)
        assert {tuple(mask) for mask in pool.map(chores.signal_mask, range(4), 1)} == {tuple(sorted(expected))}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_workers_start_with_sigterm_as_it_is_and_without_ctrl_c(
    make_pool: MakePool, handle: Callable[[int, Any], None]
) -> None:
    handle(signal.SIGTERM, lambda *_: None)
    handle(signal.SIGINT, lambda *_: None)
    pool = make_pool()
    on_term, on_interrupt = pool.apply(chores.handlers)
    assert on_term == signal.SIG_DFL
    assert on_interrupt(signal.SIGINT, None) is None
    assert "lambda" not in on_interrupt.__name__


@pytest.mark.parametrize(
    ("start_method", "number"), spread([signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD, signal.SIGWINCH], signal.SIGINT)
)
def test_signals_that_do_not_concern_a_worker(pool: IsolatedPool, number: int, gate: Any, tally: Tally) -> None:
    go = gate("go")
    held = pool.apply_async(chores.wait_at, (go, tally))
    pid = int(tally.wait(1)[0])
    os.kill(pid, number)
    go.open()
    assert held.get(LIMIT) == pid
    assert pid in living(pool) or FRESH


@pytest.mark.parametrize("deed", [deeds.change_every_signal_handler, deeds.take_the_default_of_every_signal])
def test_a_task_that_changes_every_signal_handler(
    make_pool: MakePool, deed: Callable[[], None], tmp_path: Path
) -> None:
    pool = make_pool()
    thrive(pool, tmp_path, deed, lambda value: value is None)
    assert_full_strength(pool, 2, tmp_path)
    with pytest.raises(WorkerLost):
        pool.apply(tasks.kill_self)
    pool.terminate()
    pool.join()


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_an_asyncio_parent_is_not_woken_by_the_signals_of_workers(make_pool: MakePool) -> None:
    """A forked worker inherits the descriptor by which signals wake the parent's loop."""
    woken: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, woken.append, 1)
        try:
            pool = make_pool()
            assert await loop.run_in_executor(None, pool.apply, tasks.square, (3,)) == 9
            kill_idle(pool, signum=signal.SIGUSR1)
            values = await loop.run_in_executor(None, pool.map, tasks.square, range(20))
            assert values == [i * i for i in range(20)]
            assert woken == []
            os.kill(os.getpid(), signal.SIGUSR1)
            await loop.run_in_executor(None, pool.terminate)
            await asyncio.wait_for(_until(lambda: bool(woken)), LIMIT)
            assert woken == [1]
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)

    asyncio.run(main())


class _Marked:
    """What `multiprocessing` finds in a forked process, before it does anything there."""


def _hit(_: _Marked) -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.parametrize("start_method", [method for method in METHODS if method == "fork"])
def test_an_asyncio_parent_is_not_woken_by_a_signal_to_a_worker_that_has_just_been_forked(
    make_pool: MakePool,
) -> None:
    """As SIGTERM when the pool ends at once: the parent would take it for its own."""
    woken: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, woken.append, 1)
        marked = _Marked()
        util.register_after_fork(marked, _hit)
        try:
            pool = make_pool()
            assert await loop.run_in_executor(None, pool.map, tasks.square, range(20)) == [i * i for i in range(20)]
            assert woken == []
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.wait_for(_until(lambda: bool(woken)), LIMIT)
            assert woken == [1]
            await loop.run_in_executor(None, pool.terminate)
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)

    asyncio.run(main())


# Handlers and finalizers that use the pool in the middle of its own methods

#: How workers were started has no part in it.
in_the_parent = pytest.mark.parametrize("start_method", METHODS[:1])


@in_the_parent
def test_a_handler_that_submits_to_the_pool_it_interrupted(
    pool: IsolatedPool, handle: Callable[[int, Any], None]
) -> None:
    inner: list[Any] = []
    enough = 20 if FRESH else 100
    numbers = itertools.count()  # a handler may itself be interrupted by the next signal

    def submit(*_: object) -> None:
        if len(inner) < 3 * enough:
            i = next(numbers)
            inner.append((i, pool.apply_async(tasks.square, (i,))))

    handle(signal.SIGPROF, submit)
    signal.setitimer(signal.ITIMER_PROF, 0.0005, 0.0005)
    try:
        outer = []
        while len(inner) < enough:
            outer += [pool.apply_async(tasks.identity, (i,)) for i in range(50)]
            outer[-1].get(LIMIT)
            assert pool.map(tasks.square, range(20)) == [i * i for i in range(20)]
            assert list(pool.imap(tasks.square, range(5))) == [0, 1, 4, 9, 16]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    assert [result.get(LIMIT) for result in outer] == [i % 50 for i in range(len(outer))]
    assert all(result.get(LIMIT) == i * i for i, result in inner)


@in_the_parent
def test_a_handler_that_waits_for_the_pool_it_interrupted(
    pool: IsolatedPool, handle: Callable[[int, Any], None]
) -> None:
    inner: list[Any] = []
    enough = 4 if FRESH else 40  # the timer counts the parent's own time, and it mostly waits there

    def ask(*_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        inner.append(pool.apply(tasks.square, (7,)))
        inner.extend(pool.map(tasks.square, [8]))
        signal.setitimer(signal.ITIMER_PROF, 0.0005)

    handle(signal.SIGPROF, ask)
    signal.setitimer(signal.ITIMER_PROF, 0.0005)
    try:
        wait_for(
            lambda: pool.map(tasks.square, range(50)) == [i * i for i in range(50)] and len(inner) > enough, 3 * LIMIT
        )
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    assert set(inner) == {49, 64}


@in_the_parent
def test_a_handler_that_raises_in_the_middle_of_submitting(
    pool: IsolatedPool, handle: Callable[[int, Any], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An interrupted submission may be lost, as one that was never made; the pool and all other tasks are not."""

    class Interrupted(BaseException):  # as KeyboardInterrupt is; an Exception would be taken for the pickling's own
        pass

    armed = False

    def interrupt(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Interrupted

    # What is raised while a finalizer runs cannot come through; a hook in C cannot be interrupted itself.
    monkeypatch.setattr(sys, "unraisablehook", deque(maxlen=1).append)
    handle(signal.SIGPROF, interrupt)
    results: list[Any] = []
    interruptions = 0
    enough = 8 if FRESH else 40
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    while interruptions < enough:
        try:
            armed = True
            results.append((len(results), pool.apply_async(tasks.square, (len(results),))))
            results[-1][1].wait(0.0001)
            armed = False
        except Interrupted:
            interruptions += 1
    signal.setitimer(signal.ITIMER_PROF, 0)
    assert all(result.get(LIMIT) == i * i for i, result in results)
    assert_full_strength(pool, 2, tmp_path)


@in_the_parent
def test_terminate_from_a_handler_in_the_middle_of_submitting(
    make_pool: MakePool, handle: Callable[[int, Any], None]
) -> None:
    pool = make_pool()
    handle(signal.SIGPROF, lambda *_: pool.terminate())
    signal.setitimer(signal.ITIMER_PROF, 0.01)
    try:
        with pytest.raises(ValueError, match="Pool not running"):
            while True:
                pool.apply_async(tasks.square, (1,))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    pool.join()
    assert living(pool) == set()


@in_the_parent
def test_finalizers_that_use_the_pool(pool: IsolatedPool) -> None:
    """The garbage collector runs them at any allocation, in the middle of anything, in any thread."""
    results: list[Any] = []
    rounds = 6 if FRESH else 30

    class Submits:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            if len(results) < 20 * rounds:
                results.append(pool.apply_async(tasks.square, (3,)))

    before = gc.get_threshold()
    gc.set_threshold(20)
    try:
        for _ in range(rounds):
            for _ in range(10):
                Submits()
            assert pool.map(tasks.identity, [[i] for i in range(20)]) == [[i] for i in range(20)]
            assert [result.get(LIMIT) for result in [pool.apply_async(tasks.square, (i,)) for i in range(20)]]
    finally:
        gc.set_threshold(*before)
        gc.collect()
    assert len(results) >= 10 * rounds
    assert {result.get(LIMIT) for result in results} == {9}
