"""A pool in the states in which its end is hardest: work queued, running, half sent, workers stopped or deaf.

Who uses it: tests of endings, in the parent and in programs of their own. What may go wrong: a state is not reached
within its deadline.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from poolsafe import IsolatedPool
from tests.support import tasks
from tests.support.gates import Gate, Tally, process_state, wait_for
from tests.support.leaks import descendants
from tests.survival.support import chores
from tests.survival.support.chores import Chore, do
from tests.survival.support.ways import wait_for_rest


class State(NamedTuple):
    """What is pending: results of held tasks and of those that wait behind them, and the gate that lets all go."""

    held: list[Any]
    waiting: list[Any]
    go: Gate
    runs: Tally

    @property
    def results(self) -> list[Any]:
        return self.held + self.waiting


def _hold(pool: IsolatedPool, folder: Path, task: Callable[..., Any]) -> State:
    go, arrivals = Gate(folder / "go"), Tally(folder / "arrivals")
    held = [pool.apply_async(task, (go, arrivals)) for _ in range(pool._processes)]
    arrivals.wait(pool._processes)
    return State(held, [], go, Tally(folder / "runs"))


def idle(pool: IsolatedPool, folder: Path) -> State:
    """Every worker waits, also those that take the place of one that has ended with its task."""
    pool.apply(tasks.square, (1,))
    wait_for_rest(pool)
    return State([], [], Gate(folder / "go"), Tally(folder / "runs"))


def running(pool: IsolatedPool, folder: Path) -> State:
    return _hold(pool, folder, chores.wait_at)


def queued(pool: IsolatedPool, folder: Path) -> State:
    state = running(pool, folder)
    state.waiting.extend(pool.apply_async(do, (Chore(i, state.runs),)) for i in range(50))
    state.waiting.append(pool.map_async(do, [Chore(i, state.runs) for i in range(50, 100)]))
    return state


def half_sent(pool: IsolatedPool, folder: Path) -> State:
    """The workers are stopped with nothing to do, then sent far more than their channels take."""
    state = idle(pool, folder)
    stop_workers(pool)
    state.waiting.extend(pool.apply_async(chores.count_bytes, (bytes(20_000_000),)) for _ in range(3))
    state.waiting.append(pool.map_async(chores.count_bytes, [bytes(20_000)] * 200))
    return state


def stopped(pool: IsolatedPool, folder: Path) -> State:
    state = queued(pool, folder)
    stop_workers(pool)
    return state


def deaf(pool: IsolatedPool, folder: Path) -> State:
    """The tasks ignore SIGTERM."""
    return _hold(pool, folder, chores.wait_deaf_to_sigterm)


def deaf_and_stopped(pool: IsolatedPool, folder: Path) -> State:
    state = deaf(pool, folder)
    stop_workers(pool)
    return state


def stop_workers(pool: IsolatedPool) -> list[int]:
    """Have them do nothing at all, nor what they have forked for tasks; each is given before its own."""
    stopped = []
    for pid in _pids(pool):
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda pid=pid: process_state(pid) in "TZ", what="its stop")
        stopped.append(pid)
    return stopped


def continue_workers(pool: IsolatedPool) -> None:
    """Let all go on, a worker after those that it has forked: as long as it is stopped, it reaps none of them."""
    for pid in reversed([*_pids(pool)]):
        with contextlib.suppress(ProcessLookupError):  # a spare that a closed pool needs no more, killed by the pool
            os.kill(pid, signal.SIGCONT)


def _pids(pool: IsolatedPool) -> Iterator[int]:
    """The workers, each before the processes that it has forked for its tasks, so that it forks no more of them."""
    for process in pool._pool:
        yield process.pid
        for pid in descendants(process.pid):
            wait_for(lambda pid=pid: process_state(pid) in "STZ", what="its turn or its task, past its first steps")
            yield pid


STATES: dict[str, Callable[[IsolatedPool, Path], State]] = {
    state.__name__: state for state in (idle, running, queued, half_sent, stopped, deaf, deaf_and_stopped)
}
