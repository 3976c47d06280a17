"""Programs that end without ending their pool, or that use it while the interpreter exits."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import multiprocessing as mp
import os
import sys
import threading
from pathlib import Path
from typing import Any

from poolsafe import IsolatedPool, PoolsafeError
from tests.support import tasks
from tests.support.gates import Gate, Tally
from tests.support.levels import LEVEL
from tests.survival.support import chores
from tests.survival.support.programs import main
from tests.survival.support.states import STATES

pool: Any = None
kept: Any = None


def end_of_script(method: str, folder: Path, state: str, how: str) -> None:
    """Leave in a given state of the pool, which is a global until the very end."""
    global pool, kept
    pool = IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL)
    kept = STATES[state](pool, folder)
    _leave(how)


def _leave(how: str) -> None:
    print("leaving", flush=True)
    if how == "exit":
        sys.exit(3)
    if how == "raise":
        raise RuntimeError("the program's own error")
    if how == "close":
        pool.close()
    if how == "cycle":
        pool.me = pool
        pool.kept = kept
        globals().update(pool=None, kept=None)


def endless_input(method: str, folder: Path, how: str) -> None:
    """An imap over input that never ends."""
    global pool, kept
    pool = IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL)
    kept = pool.imap_unordered(tasks.square, itertools.count())
    next(kept)
    if how == "dropped":
        pool = kept = None
    print("leaving", flush=True)


def blocked_input(method: str, folder: Path) -> None:
    """An imap whose input waits for ever."""
    global pool, kept
    pool = IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL)
    entered = threading.Event()

    def block() -> Any:
        entered.set()
        threading.Event().wait()
        yield 1

    kept = pool.imap(tasks.square, block())
    entered.wait()
    print("leaving", flush=True)


def blocked_threads(method: str, folder: Path) -> None:
    """Daemon threads that wait for the pool in every way, and a callback that never returns."""
    global pool
    pool = IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL)
    gate, arrivals = Gate(folder / "never"), Tally(folder / "arrivals")
    held = [pool.apply_async(chores.wait_at, (gate, arrivals)) for _ in range(2)]
    entered = threading.Event()

    def block(_: object) -> None:
        entered.set()
        threading.Event().wait()

    def quietly(wait: Any) -> None:
        with contextlib.suppress(PoolsafeError):
            wait()

    waits = [held[0].get, pool.imap(tasks.square, [1]).next, lambda: pool.map(tasks.square, [1])]
    for wait in waits:
        threading.Thread(target=quietly, args=(wait,), daemon=True).start()
    arrivals.wait(2)
    os.kill(int(arrivals.entries()[0]), 9)
    pool.apply_async(tasks.square, (1,), callback=block)
    entered.wait(20)
    print("leaving", flush=True)


def at_exit(method: str, folder: Path, what: str) -> None:
    """An exit function that uses the pool: values or errors, never a wait for ever."""
    global pool
    pool = IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL)
    pool.apply(tasks.square, (2,))
    uses: dict[str, Any] = {
        "apply": lambda: pool.apply(tasks.square, (3,)),
        "map": lambda: pool.map(tasks.square, [3]),
        "imap": lambda: list(pool.imap(tasks.square, [3])),
        "callback": lambda: pool.apply_async(tasks.square, (3,), callback=print).get(20),
        "death": lambda: pool.apply(tasks.kill_self),
        "new-pool": lambda: IsolatedPool(1, context=mp.get_context(method)).apply(tasks.square, (3,)),
        "terminate": lambda: (pool.terminate(), pool.join()),
        "close": lambda: (pool.close(), pool.join()),
    }

    def use() -> None:
        try:
            print("value", uses[what](), flush=True)
        except (PoolsafeError, ValueError, RuntimeError) as error:
            print("error", type(error).__name__, flush=True)

    atexit.register(use)


def in_finalizers(method: str, folder: Path) -> None:
    """An object that outlives everything else, and whose finalizer ends or uses the pool."""

    class Holder:
        def __init__(self) -> None:
            self.pool = IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL)
            self.pool.apply(tasks.square, (2,))

        def __del__(self) -> None:
            try:
                self.pool.apply(tasks.square, (2,))
            except Exception as error:
                print("error", type(error).__name__, flush=True)
            self.pool.terminate()
            self.pool.join()

    sys.holder = Holder()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(globals())
