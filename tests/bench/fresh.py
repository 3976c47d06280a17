"""``python -m tests.bench.fresh``: a fresh process for each task, beside the standard library's pool doing the same.

Who calls it: humans, by hand or by ``nox -s bench``. Two workers; ``isolation="fork"`` and ``"process"`` beside
`multiprocessing.Pool` with ``maxtasksperchild=1, chunksize=1``, taking turns; and a lone task beside one of a pool that
reuses its workers. Figures are medians. What may go wrong: other work on the machine.
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

#: Start method -> tasks of a burst, where each costs a start by that method; and where it costs a fork.
BURSTS: Final = {"fork": 200, "forkserver": 40, "spawn": 30}
MANY: Final = 400
#: Lone tasks, and the pause before each, in which a spare may be started.
LONE, PAUSE = 10, 0.2
#: Start method -> what is wanted of the rate under `"fork"`.
WANTED: Final = {"fork": 2, "forkserver": 10, "spawn": 25}


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
        "process": lambda: IsolatedPool(2, isolation="process", context=context),
        "fork": lambda: IsolatedPool(2, isolation="fork", context=context),
        "reused": lambda: context.Pool(2),
    }
    rates: dict[str, list[float]] = {name: [] for name in makers}
    lone: dict[str, list[float]] = {name: [] for name in makers}
    for _ in range(repeats):
        for name, make in makers.items():
            with make() as pool:
                pool.map(nothing, range(4), 1)
                rates[name].append(rate(pool, MANY if name in ("fork", "reused") else BURSTS[method]))
                lone[name].append(latency(pool))
    many = {name: statistics.median(found) for name, found in rates.items()}
    alone = {name: statistics.median(found) for name, found in lone.items()}
    for level, least, most, other in (("fork", WANTED[method], 1.5, "reused"), ("process", 1.3, 0.2, "stdlib")):
        print(
            f"{method:12}{level:9}{many['stdlib']:8.0f} {many[level]:8.0f} tasks/s {many[level] / many['stdlib']:6.2f}x"
            f"  wanted: at least {least}"
        )
        print(
            f"{'':21}{alone[other] * 1e3:8.2f} {alone[level] * 1e3:8.2f} ms, alone {alone[level] / alone[other]:4.2f}x"
            f"  wanted: at most {most}",
            flush=True,
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fresh", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(argv)
    print(f"{'':21}{'stdlib':>8} {'poolsafe':>8}")
    for method in BURSTS:
        measure(method, options.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
