"""``python -m tests.bench.fresh``: a fresh process for each task, beside the standard library's pool doing the same.

Who calls it: humans, by hand or by ``nox -s bench``. Two workers; ``isolation="fork"`` and ``"process"`` beside
`multiprocessing.Pool` with ``maxtasksperchild=1, chunksize=1``, taking turns; and a lone task beside one of a pool that
reuses its workers. Each is measured in a program of its own, because the processes of one share a fork server, and what
it has imported. Figures are medians. What may go wrong: other work on the machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

#: The standard library's part. Its workers import this module, as ours do, and need nothing of ours.
THEIRS: Final = ("stdlib", "reused")
if not set(THEIRS) & set(sys.argv):
    from poolsafe import IsolatedPool  # at the top, as programs do: so workers that start afresh import it as well

#: Start method -> tasks of a burst, where each costs a start by that method; and where it costs a fork.
BURSTS: Final = {"fork": 200, "forkserver": 60, "spawn": 40}
MANY: Final = 400
#: Lone tasks, and the pause before each, in which a spare may be started.
LONE, PAUSE = 10, 0.2
#: Start method -> what is wanted of the rate under `"fork"`.
WANTED: Final = {"fork": 2, "forkserver": 10, "spawn": 25}
#: Who takes part: the standard library's pool with a process for each task, and with workers that it reuses; ours.
CONTENDERS: Final = ("stdlib", "process", "fork", "reused")


def nothing(i: int) -> int:
    return i


def make(name: str, method: str) -> Any:
    """A pool of two workers."""
    context = multiprocessing.get_context(method)
    if name == "reused":
        return context.Pool(2)
    if name == "stdlib":
        return context.Pool(2, maxtasksperchild=1)
    return IsolatedPool(2, isolation=name, context=context)


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


def measure(name: str, method: str) -> tuple[float, float]:
    """Tasks a second, and seconds of a lone one, in this program."""
    with make(name, method) as pool:
        pool.map(nothing, range(4), 1)
        return rate(pool, MANY if name in ("fork", "reused") else BURSTS[method]), latency(pool)


def measured(name: str, method: str) -> tuple[float, float]:
    """The same in a program of its own."""
    command = [sys.executable, "-m", "tests.bench.fresh", "--one", name, method]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    many, alone = json.loads(done.stdout)
    return many, alone


def compare(method: str, repeats: int) -> None:
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    lone: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(repeats):
        for name in CONTENDERS:
            many, alone = measured(name, method)
            rates[name].append(many)
            lone[name].append(alone)
    tell(
        method,
        {name: statistics.median(found) for name, found in rates.items()},
        {name: statistics.median(found) for name, found in lone.items()},
    )


def tell(method: str, many: dict[str, float], alone: dict[str, float]) -> None:
    """Prints the ratios of both levels."""
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
    parser.add_argument("--one", nargs=2, metavar=("NAME", "METHOD"), help="measure one of them here, as JSON")
    options = parser.parse_args(argv)
    if options.one:
        print(json.dumps(measure(*options.one)))
        return 0
    print(f"{'':21}{'stdlib':>8} {'poolsafe':>8}")
    for method in BURSTS:
        compare(method, options.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
