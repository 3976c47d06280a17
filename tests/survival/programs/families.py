"""A program whose task has processes and pools of its own."""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
from pathlib import Path
from typing import Any

from poolsafe import IsolatedPool, WorkerLost
from tests.support.gates import Tally
from tests.survival.support import families
from tests.survival.support.programs import main


def at_work(method: str, folder: Path, level: str) -> None:
    """Waits for a task that does not end."""
    with IsolatedPool(1, context=mp.get_context(method), isolation=level, daemon=False) as pool:
        pool.apply(families.start_family, (Tally(folder / "arrivals"), method))


def shares(method: str, folder: Path, level: str, then: str) -> None:
    """A task makes shared memory, and ends without giving it back."""
    pool = IsolatedPool(1, context=mp.get_context(method), isolation=level, daemon=False)
    with pool, contextlib.suppress(WorkerLost):
        pool.apply(families.share, (str(folder / "name"), then))


def fails(method: str, folder: Path, which: str) -> None:
    """The second worker cannot be started when the first has processes already."""
    arrivals = Tally(folder / "arrivals")

    class Failing(IsolatedPool):
        made = 0

        @staticmethod
        def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:
            Failing.made += 1
            if Failing.made == 2:
                arrivals.wait(1)
                raise OSError(11, "no more processes")
            return ctx.Process(*args, **kwds)

    try:
        Failing(2, families.start_program, (arrivals,), daemon=False, context=mp.get_context(method))
    except OSError:
        return
    raise AssertionError("it was to fail")


def moves(method: str, folder: Path, transport: str) -> None:
    """A task moves its process to the program's own group, in which there is another process."""
    os.environ["POOLSAFE_TRANSPORT"] = transport
    arrivals = Tally(folder / "arrivals")
    with IsolatedPool(1, context=mp.get_context(method), daemon=False) as pool:
        pool.apply(families.move, (arrivals, os.getpgid(0)))


if __name__ == "__main__":
    main({"at_work": at_work, "shares": shares, "fails": fails, "moves": moves})
