"""A program whose task has processes and pools of its own."""

from __future__ import annotations

import multiprocessing as mp
from pathlib import Path

from poolsafe import IsolatedPool
from tests.support.gates import Tally
from tests.survival.support import families
from tests.survival.support.programs import main


def at_work(method: str, folder: Path, level: str) -> None:
    """Waits for a task that does not end."""
    with IsolatedPool(1, context=mp.get_context(method), isolation=level, daemon=False) as pool:
        pool.apply(families.start_family, (Tally(folder / "arrivals"), method))


if __name__ == "__main__":
    main({"at_work": at_work})
