"""What isolation costs, measured in one process without a pool: the guard of a worker, used as the worker's loop does.

Who calls it: ``tests.bench.isolation`` runs it in an interpreter of its own for each case, copied to where installed
packages are, so that it is no part of the project that it measures. It prints one figure per line and repeat, as JSON.
What may go wrong: the order of the calls must stay that of `poolsafe.engine.child`.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from poolsafe import presets
from poolsafe.isolation.guard import Guard
from poolsafe.isolation.targets import Plan

#: Seconds that one measurement takes, about.
LONG_ENOUGH = 0.04
_ARGS, _NO_KWDS = (1,), dict[str, Any]()


def nothing(value: object) -> object:
    return value


def bare(func: Callable[..., Any], count: int) -> None:
    """The tasks alone."""
    args, kwds = _ARGS, _NO_KWDS
    for _ in range(count):
        func(*args, **kwds)


def around(guard: Guard, func: Callable[..., Any], count: int) -> None:
    """The tasks, with all that a worker does around them."""
    begin, run, leftover = guard.begin, guard.run, guard.leftover
    for index in range(count):
        begin(0, index)
        run(func, _ARGS, _NO_KWDS)
        leftover()


def resets(guard: Guard, func: Callable[..., Any], count: int) -> None:
    """The tasks, with nothing but putting things back before them."""
    begin, args, kwds = guard.begin, _ARGS, _NO_KWDS
    for index in range(count):
        begin(0, index)
        func(*args, **kwds)


def watched(guard: Guard, func: Callable[..., Any], count: int) -> None:
    """The tasks, with putting things back before them, and looking what they changed after them."""
    begin, changes, args, kwds = guard.begin, guard.changes, _ARGS, _NO_KWDS
    for index in range(count):
        begin(0, index)
        func(*args, **kwds)
        changes()


def seconds(loop: Callable[..., None], *args: Any, count: int) -> float:
    """How long one task takes: of the processor's time, which other work on the machine disturbs less."""
    start = time.process_time()
    loop(*args, count)
    return (time.process_time() - start) / count


def guard_for(reset: Any, *, watches: bool = False) -> Guard:
    """A guard that is ready, as after a worker's initializer; ``"presets"`` stands for all process-wide state."""
    guard = Guard(Plan.make(presets.ALL if reset == "presets" else reset), None, watches=watches)
    guard.prepare()
    guard.capture()
    return guard


def figures(reset: Any, func: Callable[..., Any], repeats: int, *, watches: bool) -> Iterator[dict[str, float]]:
    """Microseconds a task over the bare call, once for each repeat; the loops take turns."""
    guard = guard_for(reset, watches=watches)
    loops = {"around": around, "resets": resets, **({"watched": watched} if watches else {})}
    counts = {}
    for name, loop in loops.items():
        loop(guard, func, 40)  # past the first tasks, which are measured one by one
        counts[name] = max(int(LONG_ENOUGH / seconds(loop, guard, func, count=20)), 5)
    for _ in range(repeats):
        alone = seconds(bare, func, count=max(counts.values()))
        yield {name: (seconds(loop, guard, func, count=counts[name]) - alone) * 1e6 for name, loop in loops.items()}


def main() -> None:
    """Arguments: what to reset, as JSON; ``module:function`` of the task, or nothing; repeats; whether to watch."""
    reset, task, repeats, watches, *modules = sys.argv[1:]
    for module in modules:
        importlib.import_module(module)
    func = nothing
    if task:
        module, _, name = task.partition(":")
        func = getattr(importlib.import_module(module), name)
    for found in figures(json.loads(reset), func, int(repeats), watches=watches == "watch"):
        print(json.dumps(found), flush=True)
