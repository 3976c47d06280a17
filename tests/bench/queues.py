"""``python -m tests.bench.queues``: queues of the pool beside `Manager().Queue` and an inherited one, in one run.

Who calls it: humans, by hand or by ``nox -s bench``. Two workers under fork; the same tasks put and get the same items
by each kind of queue, taking turns; figures are medians. What may go wrong: other work on the machine.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkContext
from typing import Any, NamedTuple

from poolsafe import IsolatedPool, make_queue

MIB = 1 << 20


def put_all(q: Any, count: int, size: int) -> None:
    for i in range(count):
        q.put(bytes(size) if size else i)


def get_all(q: Any, count: int) -> None:
    for _ in range(count):
        q.get()


def worker_to_parent(pool: Any, q: Any, count: int, size: int = 0, producers: int = 1) -> float:
    """Items a second."""
    results = [pool.apply_async(put_all, (q, count // producers, size)) for _ in range(producers)]
    q.get()
    begin = time.perf_counter()
    get_all(q, count // producers * producers - 1)
    seconds = time.perf_counter() - begin
    for result in results:
        result.get()
    return (count - 1) / seconds


def parent_to_worker(pool: Any, q: Any, count: int) -> float:
    """Items a second."""
    result = pool.apply_async(get_all, (q, count))
    begin = time.perf_counter()
    put_all(q, count, 0)
    result.get()
    return count / (time.perf_counter() - begin)


def two_producers(pool: Any, q: Any, count: int) -> float:
    return worker_to_parent(pool, q, count, producers=2)


def large(pool: Any, q: Any, count: int) -> float:
    """Items a second, once both processes have the memory that it takes: getting that is slower than all the rest."""
    few = max(count // 100, 20)
    worker_to_parent(pool, q, few, MIB)
    return worker_to_parent(pool, q, few, MIB)


class Bench(NamedTuple):
    name: str
    measure: Callable[[Any, Any, int], float]
    wanted: float


BENCHES = [
    Bench("worker to parent", worker_to_parent, 8),
    Bench("parent to worker", parent_to_worker, 4),
    Bench("two producers", two_producers, 6),
    Bench("1 MiB items", large, 5),
]


def start_up(make: Callable[[], Any]) -> float:
    """Seconds until the first queue has passed an item."""
    begin = time.perf_counter()
    q = make()
    q.put(1)
    q.get()
    return time.perf_counter() - begin


def inherited(ctx: ForkContext, count: int) -> float:
    """Items a second from a process that has inherited a plain queue."""
    q = ctx.Queue()
    process = ctx.Process(target=put_all, args=(q, count, 0))
    process.start()
    q.get()
    begin = time.perf_counter()
    get_all(q, count - 1)
    seconds = time.perf_counter() - begin
    process.join()
    return (count - 1) / seconds


def row(name: str, theirs: list[float], mine: list[float], unit: str, wanted: tuple[str, float]) -> bool:
    one, other = statistics.median(theirs), statistics.median(mine)
    ratio = other / one
    good = ratio >= wanted[1] if wanted[0] == "at least" else ratio <= wanted[1]
    print(
        f"{name:36} {one:12,.1f} {other:12,.1f} {unit:8} {ratio:8.2f}x  {wanted[0]} {wanted[1]:g}"
        f"{'' if good else '   MISSED'}",
        flush=True,
    )
    return good


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.queues", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each kind (default: %(default)s)")
    parser.add_argument("--items", type=int, default=10_000, help="small items to pass (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a declared figure is missed")
    options = parser.parse_args(argv)
    ctx = multiprocessing.get_context("fork")
    good = []
    print(f"{'':36} {'other':>12} {'poolsafe':>12} {'unit':8} {'compared':>9}  wanted")
    with ctx.Manager() as manager, IsolatedPool(2, context=ctx, reset=()) as pool, ctx.Pool(2) as plain:
        for bench in BENCHES:
            theirs, mine = [], []
            for _ in range(options.repeats):
                gc.collect()
                theirs.append(bench.measure(plain, manager.Queue(), options.items))
                mine.append(bench.measure(pool, pool.Queue(), options.items))
            good.append(row(f"{bench.name} / Manager", theirs, mine, "items/s", ("at least", bench.wanted)))
        theirs, mine = [], []
        for _ in range(options.repeats):
            theirs.append(inherited(ctx, options.items))
            mine.append(worker_to_parent(pool, pool.Queue(), options.items))
        good.append(row("worker to parent / inherited Queue", theirs, mine, "items/s", ("at least", 0.5)))
    theirs, mine = [], []
    for _ in range(options.repeats):
        mine.append(1e3 * start_up(lambda: make_queue(consumer=IsolatedPool)))
        begin = time.perf_counter()
        with ctx.Manager() as manager:
            start_up(manager.Queue)
            theirs.append(1e3 * (time.perf_counter() - begin))
    good.append(row("first queue: start / Manager", theirs, mine, "ms", ("at most", 0.1)))
    return 1 if options.check and not all(good) else 0


if __name__ == "__main__":
    sys.exit(main())
