"""``python -m tests.bench.compare``: poolsafe beside the standard library's pool, in one run, as ratios.

Who calls it: humans, by hand or by ``nox -s bench``. Both pools do the same work on two workers under fork; ours with
one declared global that is put back before every task, the standard library's without any isolation. The repeats of
both are interleaved, so that a machine that slows down slows down both; figures are medians. What may go wrong: other
work on the machine. Ratios bear that better than times, and ``--check`` is therefore no part of the test suite.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Sequence
from multiprocessing.pool import Pool
from typing import NamedTuple

from poolsafe import IsolatedPool
from tests.bench import works

WORKERS = 2
RESET = "tests.bench.works:declared"


class Bench(NamedTuple):
    """One line of the table."""

    name: str
    #: Takes a fresh pool of the kind to measure (or what makes one) and returns a figure in *unit*.
    measure: Callable[[Callable[[], Pool]], float]
    unit: str
    #: What the ratio ours / stdlib should be: ("at most" | "at least", figure); None: shown only.
    wanted: tuple[str, float] | None = None
    #: "ratio", or "difference" for figures where only the distance means something.
    compare: str = "ratio"


BENCHES = [
    Bench("apply, one task's latency", works.latency, "us", ("at most", 0.6)),
    Bench("apply_async burst", works.burst, "tasks/s", ("at least", 1.0)),
    Bench("imap_unordered, chunksize 1", works.imap_unordered, "tasks/s"),
    Bench("map, chunksize 1", works.map_single, "tasks/s"),
    Bench("map, default chunks", works.map_chunks, "tasks/s"),
    Bench("1 MiB argument", works.big_argument, "MB/s"),
    Bench("1 MiB result", works.big_result, "MB/s"),
    Bench("start, one task, close", works.life, "ms"),
    Bench("idle worker's memory (Uss)", works.memory, "MiB", ("at most", 2.0), "difference"),
]


def stdlib() -> Pool:
    return multiprocessing.get_context("fork").Pool(WORKERS)


def ours() -> Pool:
    return IsolatedPool(WORKERS, context=multiprocessing.get_context("fork"), reset=RESET)


def measure(bench: Bench, repeats: int) -> tuple[float, float]:
    """Medians of *repeats* interleaved measurements: the stdlib's, ours."""
    figures: dict[Callable[[], Pool], list[float]] = {stdlib: [], ours: []}
    for turn in range(repeats):
        for make in (stdlib, ours) if turn % 2 == 0 else (ours, stdlib):
            gc.collect()
            figures[make].append(bench.measure(make))
    return statistics.median(figures[stdlib]), statistics.median(figures[ours])


def judge(bench: Bench, theirs: float, mine: float) -> tuple[float, bool]:
    """The compared figure, and whether it is as wanted."""
    figure = mine - theirs if bench.compare == "difference" else mine / theirs
    if bench.wanted is None:
        return figure, True
    kind, limit = bench.wanted
    return figure, figure <= limit if kind == "at most" else figure >= limit


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compare", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each kind (default: %(default)s)")
    parser.add_argument("--only", default="", help="only lines whose name contains this text")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a declared figure is missed")
    options = parser.parse_args(argv)

    print(f"{'':30} {'stdlib':>12} {'poolsafe':>12} {'unit':8} {'compared':>9}  wanted")
    missed = []
    for bench in BENCHES:
        if options.only not in bench.name:
            continue
        theirs, mine = measure(bench, options.repeats)
        figure, good = judge(bench, theirs, mine)
        sign = "+" if bench.compare == "difference" else "x"
        wanted = f"{bench.wanted[0]} {bench.wanted[1]:g}{'' if good else '   MISSED'}" if bench.wanted else ""
        print(f"{bench.name:30} {theirs:12,.1f} {mine:12,.1f} {bench.unit:8} {figure:8.2f}{sign}  {wanted}", flush=True)
        if not good:
            missed.append(bench.name)
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
