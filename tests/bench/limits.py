"""``python -m tests.bench.limits``: how late time limits strike, and what a pool costs in which a thousand are pending.

Who calls it: humans, by hand or by ``nox -s bench``. Late is an error that comes to the caller of ``get()`` more than
the limit after the first statement of the task, so that to end the process and to fetch its stack count as well. Two
kinds of tasks: one that waits, and one that keeps the GIL for itself, in C.

The cost of what is pending is the processor time of the program, and of each process below it, while two tasks of two
workers wait and the others stand behind them; beside the same tasks without limits and a pool without tasks. It is
asked of Linux, in nanoseconds; elsewhere that part is left out. What may go wrong: other work on the machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from poolsafe import IsolatedPool, TaskTimeout
from tests.support import leaks
from tests.survival.support import limits

LEVELS: Final = ("globals", "fork", "process")
#: Seconds that a task may run, and for which the others wait.
LIMIT, FOREVER = 0.2, 60
#: Seconds by which a limit may be late.
LATE: Final = 0.05
#: Seconds of processor time in each second that may be measured for pending limits: a thousandth of one processor.
DEAR: Final = 0.001
#: Limits that are pending; the seconds of each, and those for which the pool is watched.
PENDING, FAR, WATCHED = 1_000, 3_600, 5.0
#: Where Linux says for how many nanoseconds a process has been running; there is one such file for each thread.
TASKS: Final = "/proc/{}/task"


def overrun(begun: str, deed: Callable[[], object]) -> None:
    """Say when it began, and do what does not end."""
    Path(begun).write_text(repr(time.monotonic()))
    deed()


def lateness(pool: Any, deed: Callable[[], object], begun: Path) -> float:
    """Seconds from the moment of the limit to the error; the clock is the same for all processes."""
    result = pool.apply_async(overrun, (str(begun), deed), timeout=LIMIT)
    try:
        result.get(FOREVER / 2)
    except TaskTimeout:
        return time.monotonic() - float(begun.read_text()) - LIMIT
    raise AssertionError("the task came to its end")


def tell_lateness(level: str, method: str, count: int) -> bool:
    """Prints how late limits were; whether one was too late."""
    found: dict[str, list[float]] = {}
    context: Any = multiprocessing.get_context(method)
    with tempfile.TemporaryDirectory() as folder, IsolatedPool(2, isolation=level, context=context) as pool:
        for deed in (limits.wait_for_ever, limits.hold_the_gil):
            found[deed.__name__] = [lateness(pool, deed, Path(folder) / "begun") for _ in range(count)]
    for name, late in found.items():
        print(
            f"{level:9}{method:12}{name:14}{statistics.median(late) * 1e3:8.1f} {max(late) * 1e3:8.1f} ms late"
            f"  wanted: at most {LATE * 1e3:.0f}",
            flush=True,
        )
    return max(max(late) for late in found.values()) > LATE


def spent() -> int:
    """Nanoseconds of processor time of this process and all below it, up to now."""
    return sum(
        int(thread.joinpath("schedstat").read_text().split()[0])
        for pid in {os.getpid(), *leaks.descendants(os.getpid())}
        for thread in Path(TASKS.format(pid)).iterdir()
    )


def cost(level: str, pending: int, timeout: float | None) -> float:
    """Seconds of processor time in each second, of a pool in which so many tasks are pending."""
    context: Any = multiprocessing.get_context("fork")
    with IsolatedPool(2, isolation=level, context=context) as pool:
        results = [pool.apply_async(time.sleep, (FOREVER,), timeout=timeout) for _ in range(pending)]
        time.sleep(1)  # until all is sent that can be sent
        before = spent()
        time.sleep(WATCHED)
        after = spent()
        assert not any(result.ready() for result in results)
    return (after - before) / 1e9 / WATCHED


def tell_cost(level: str, repeats: int) -> bool:
    """Prints what pending limits cost, beside the same without limits and without tasks; whether that is too much."""
    kinds = {"no task": (0, None), "no limit": (PENDING, None), "limits": (PENDING, FAR)}
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(repeats):  # taking turns
        for name, (pending, timeout) in kinds.items():
            found[name].append(cost(level, pending, timeout))
    for name, costs in found.items():
        print(
            f"{level:9}{name:12}{statistics.median(costs) * 1e6:8.0f} {max(costs) * 1e6:8.0f} "
            "microseconds of processor time a second",
            flush=True,
        )
    return statistics.median(found["limits"]) - statistics.median(found["no limit"]) > DEAR


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.limits", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="how often the cost is measured")
    parser.add_argument("--count", type=int, default=20, help="limits of each kind")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when limits are late or dear")
    options = parser.parse_args(argv)
    print(f"{'':35}{'median':>8} {'worst':>8}")
    late = [
        tell_lateness(level, method, options.count)
        for level in LEVELS
        for method in multiprocessing.get_all_start_methods()
    ]
    dear: list[bool] = []
    if Path(TASKS.format(os.getpid())).exists():
        print(f"\n{f'{PENDING} pending':21}{'median':>8} {'worst':>8}")
        dear = [tell_cost(level, options.repeats) for level in LEVELS]
    return int(options.check and any((*late, *dear)))


if __name__ == "__main__":
    sys.exit(main())
