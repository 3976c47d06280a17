"""Programs that are interrupted, terminated or killed while their pool is at work.

Each says on standard output what happened to it; its tasks leave their process ids in the folder's tally.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import sys
from pathlib import Path
from typing import Any

from poolsafe import IsolatedPool
from tests.support import tasks
from tests.support.gates import Gate, Tally
from tests.support.levels import FRESH, LEVEL
from tests.survival.support import chores
from tests.survival.support.programs import main


def blocked_in(pool: IsolatedPool, where: str, gate: Gate, arrivals: Tally) -> None:
    """Keep both workers busy for ever, and wait in the way that is named."""
    items = [(gate, arrivals)] * 2
    if where == "apply":
        pool.apply_async(chores.wait_at, (gate, arrivals))
        pool.apply(chores.wait_at, (gate, arrivals))
    elif where == "map":
        pool.starmap(chores.wait_at, items, 1)
    elif where == "imap":
        next(pool.imap(chores.wait_at_pair, items))
    elif where == "join":
        pool.starmap_async(chores.wait_at, items, 1)
        pool.close()
        pool.join()
    elif where == "get-with-queue":
        held = pool.starmap_async(chores.wait_at, items, 1)
        rest = [pool.apply_async(tasks.square, (i,)) for i in range(1000)]
        held.get()
        print(rest)


def caught(method: str, folder: Path, where: str) -> None:
    """Ctrl-C meets a program that handles it."""
    gate, arrivals = Gate(folder / "never"), Tally(folder / "arrivals")
    try:
        with IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL) as pool:
            blocked_in(pool, where, gate, arrivals)
    except KeyboardInterrupt:
        print("interrupted")


def uncaught(method: str, folder: Path, where: str) -> None:
    """Ctrl-C meets a program that does not, and that has not ended its pool either."""
    pool = IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL)
    blocked_in(pool, where, Gate(folder / "never"), Tally(folder / "arrivals"))


def goes_on(method: str, folder: Path) -> None:
    """Ctrl-C costs the wait, not the pool: the tasks go on, their results come."""
    gate, arrivals = Gate(folder / "go"), Tally(folder / "arrivals")
    with IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL) as pool:
        results = [pool.apply_async(chores.wait_at, (gate, arrivals)) for _ in range(2)]
        try:
            results[0].get()
        except KeyboardInterrupt:
            gate.open()
        pids = {result.get(20) for result in results}
        assert pids == {process.pid for process in pool._pool} or FRESH
        print("went on", pool.map(tasks.square, range(4)))


def starting(method: str, folder: Path) -> None:
    """Ctrl-C while workers are in their initializer."""
    gate, arrivals = Gate(folder / "never"), Tally(folder / "arrivals")
    try:
        with IsolatedPool(2, chores.wait_at, (gate, arrivals), context=mp.get_context(method), isolation=LEVEL) as pool:
            pool.apply(tasks.square, (1,))
    except KeyboardInterrupt:
        print("interrupted")


def at_work(method: str, folder: Path, work: str) -> None:
    """Wait for a signal that nobody handles, with workers that are idle, busy, deaf, or in an endless call."""
    gate, arrivals = Gate(folder / "never"), Tally(folder / "arrivals")
    if work == "initializing":
        _keep = IsolatedPool(2, chores.wait_at, (gate, arrivals), context=mp.get_context(method), isolation=LEVEL)
    else:
        _keep = IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL)
    if work == "idle":
        for _ in range(2):
            _keep.apply_async(chores.meet, (arrivals, 2))
    elif work == "large-result":
        for _ in range(2):
            _keep.apply_async(chores.large_result_after_stopping, (os.getpid(), arrivals))
    elif work != "initializing":
        for _ in range(2):
            _keep.apply_async(WORK[work], (gate, arrivals))
    while True:
        signal.pause()


WORK: dict[str, Any] = {
    "waiting": chores.wait_at,
    "deaf": chores.wait_deaf_to_sigterm,
    "busy": chores.burn_for_ever,
    "holds-the-gil": chores.hold_the_gil,
    "every-signal-ignored": chores.wait_deaf_to_all,
}


def leaves_by_exception(method: str, folder: Path) -> None:
    """A handler of SIGTERM that ends the program in an orderly way."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    gate, arrivals = Gate(folder / "never"), Tally(folder / "arrivals")
    with IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL) as pool:
        for _ in range(2):
            pool.apply_async(chores.wait_at, (gate, arrivals))
        gate.wait(60)  # which looks again and again: a signal that comes just before a wait does not interrupt it


if __name__ == "__main__":
    main(globals())
