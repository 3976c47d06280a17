"""``python -m tests.bench.fresh``: a fresh process for each task, beside the standard library's pool doing the same.

Who calls it: humans, by hand or by ``nox -s bench``. Two workers; ``isolation="process"`` beside `multiprocessing.Pool`
with ``maxtasksperchild=1, chunksize=1``, taking turns; figures are medians. What may go wrong: other work on the
machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import BaseContext
from typing import Any, Final

from poolsafe import IsolatedPool

#: Start method -> tasks of a burst.
BURSTS: Final = {"fork": 200, "forkserver": 40, "spawn": 30}
#: Lone tasks, and the pause before each, in which a spare may be started.
LONE, PAUSE = 10, 0.2


def nothing(i: int) -> int:
    return i


def rate(pool: Any, count: int) -> float:
    """Tasks a second, of so many at once."""
    begun = time.perf_counter()
    pool.map(nothing, range(count), 1)
    return count / (time.perf_counter() - begun)


def latency(pool: Any) -> float:
    """Seconds that a lone task takes."""
    took = []
    for _ in range(LONE):
        time.sleep(PAUSE)
        begun = time.perf_counter()
        pool.apply(nothing, (1,))
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


def measure(method: str, repeats: int) -> None:
    context: BaseContext = multiprocessing.get_context(method)
    makers: dict[str, Callable[[], Any]] = {
        "stdlib": lambda: context.Pool(2, maxtasksperchild=1),
        "poolsafe": lambda: IsolatedPool(2, isolation="process", context=context),
    }
    rates: dict[str, list[float]] = {name: [] for name in makers}
    lone: dict[str, list[float]] = {name: [] for name in makers}
    for _ in range(repeats):
        for name, make in makers.items():
            with make() as pool:
                pool.map(nothing, range(4), 1)
                rates[name].append(rate(pool, BURSTS[method]))
                lone[name].append(latency(pool))
    fast, slow = (statistics.median(rates[name]) for name in ("poolsafe", "stdlib"))
    soon, late = (statistics.median(lone[name]) for name in ("poolsafe", "stdlib"))
    print(f"{method:12}{slow:9.0f} {fast:9.0f} tasks/s {fast / slow:6.2f}x  wanted: at least 1.3")
    print(f"{'':12}{late * 1e3:9.2f} {soon * 1e3:9.2f} ms, alone {soon / late:4.2f}x  wanted: at most 0.2", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fresh", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(argv)
    print(f"{'':12}{'stdlib':>9} {'poolsafe':>9}")
    for method in BURSTS:
        measure(method, options.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
