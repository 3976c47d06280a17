"""The experiment that the project started from, run live: a global that grows, and a worker that dies.

Who calls it: ``python -m poolsafe``. Everything here runs under every start method, so the tasks are functions of this
module, which any worker can import. What may go wrong: on a very busy machine the standard library's pool may need
longer to get its five workers up than the demo waits; its columns then show that its results hang on timing.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import signal
import textwrap
import time
from collections.abc import Callable, Iterable
from itertools import zip_longest
from multiprocessing import synchronize
from multiprocessing.pool import Pool
from typing import Any

from poolsafe import IsolatedPool, WorkerLost

#: The global that every task below grows.
x: list[object] = ["haha"]

TASKS = 5
#: Seconds that a slow task takes; long enough for every worker to take one task.
SLOW = 0.4
#: Seconds that the demo waits for a task whose worker died under the standard library's pool.
PATIENCE = 3.0
#: How often the fast tasks are tried: whether they show the leak hangs on timing, which is the point.
TRIES = 5

_SOURCE = """\
    x = ['haha']
    def t(i):
        x.append(i)
        return list(x)
"""

Maker = Callable[[], Pool]


def t(i: int) -> list[object]:
    """Grow a global and return what this task sees of it."""
    x.append(i)
    return list(x)


def slow_t(i: int) -> list[object]:
    """The same, but slow, so that no worker gets round to a second task."""
    seen = t(i)
    time.sleep(SLOW)
    return seen


def die(_: int) -> None:
    """Be killed, as by the kernel when memory runs out."""
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def run(start_method: str | None = None) -> int:
    """Run both experiments and print what came of them; the exit status is 0 when poolsafe kept its promises."""
    context = multiprocessing.get_context(start_method)
    name = context.get_start_method()

    print(f"1. Five tasks share a global ({name}):\n\n{_SOURCE}")
    columns = experiment(context)
    print(table(columns))
    isolated = list(columns.values())[-1]
    clean = isolated == [["haha", i] for i in range(TASKS)]
    print(
        "\nPool reuses its workers: what a task sees hangs on timing. IsolatedPool puts the global back\n"
        'before every task (here: reset="poolsafe.demo:x"; globals of your own modules need no naming).\n'
    )

    print("2. A task whose worker is killed:\n")
    told = dict(deaths(context))
    for pool_name, message in told.items():
        lines = [part for line in message.splitlines() for part in textwrap.wrap(line, 90)]
        for label, line in zip_longest([pool_name], lines, fillvalue=""):
            print(f"    {label:<13} {line}")
    return 0 if clean and "WorkerLost" in told["IsolatedPool"] else 1


def experiment(context: multiprocessing.context.BaseContext) -> dict[str, list[list[object]]]:
    """What the five tasks saw: on the stdlib's pool fast and slow, on IsolatedPool fast."""

    def stdlib() -> Pool:
        return context.Pool(TASKS)

    def isolated() -> Pool:
        return IsolatedPool(TASKS, context=context, reset="poolsafe.demo:x")

    fast: list[list[object]] = []
    for _ in range(TRIES):
        fast = gather(stdlib, t)
        if fast != [["haha", i] for i in range(TASKS)]:
            break
    return {
        "Pool, fast tasks": fast,
        "Pool, slow tasks": gather_when_ready(context, slow_t),
        "IsolatedPool": gather(isolated, t),
    }


def gather(make: Maker, task: Callable[[int], list[object]]) -> list[list[object]]:
    """Run the five tasks in a new pool and return their results in order."""
    with make() as pool:
        return [result.get(60) for result in [pool.apply_async(task, (i,)) for i in range(TASKS)]]


def gather_when_ready(
    context: multiprocessing.context.BaseContext, task: Callable[[int], list[object]]
) -> list[list[object]]:
    """The same on the stdlib's pool, once all of its workers are up: only then does each get one slow task."""
    up = context.Semaphore(0)

    def make() -> Pool:
        pool = context.Pool(TASKS, initializer=_report, initargs=(up,))
        for _ in range(TASKS):
            up.acquire(timeout=5)
        return pool

    return gather(make, task)


def _report(up: synchronize.Semaphore) -> None:
    up.release()


def deaths(context: multiprocessing.context.BaseContext) -> Iterable[tuple[str, str]]:
    """What each pool tells a caller whose task died with its worker."""
    with context.Pool(2) as pool:
        yield "Pool", outcome_of(pool)
    with IsolatedPool(2, context=context) as isolated:
        yield "IsolatedPool", outcome_of(isolated)


def outcome_of(pool: Pool) -> str:
    """Send a task that kills its worker; return what the caller gets to know."""
    begin = time.monotonic()
    lost: Any = pool.apply_async(die, (0,))
    try:
        lost.get(timeout=PATIENCE)
    except multiprocessing.TimeoutError:
        return f"still waiting after {PATIENCE:.0f} s, and would wait for ever."
    except WorkerLost as error:
        after = time.monotonic() - begin
        answer = pool.apply(len, ("works",))
        return f"WorkerLost after {after:.2f} s:\n{error}\nThe pool goes on: apply(len, ('works',)) gives {answer}."
    return "the task came back; that cannot be."


def table(columns: dict[str, list[list[object]]]) -> str:
    """The columns side by side, one line per task, wrong results marked."""
    shown = {head: [_mark(seen, i) for i, seen in enumerate(rows)] for head, rows in columns.items()}
    widths = [max(len(head), *map(len, rows)) for head, rows in shown.items()]

    def line(label: str, cells: Iterable[str]) -> str:
        return f"    {label:<8}" + "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))

    body = [line(f"task {i}", row) for i, row in enumerate(zip(*shown.values(), strict=True))]
    return "\n".join(text.rstrip() for text in [line("", shown), line("", ["-" * width for width in widths]), *body])


def _mark(seen: list[object], i: int) -> str:
    return f"{seen}" if seen == ["haha", i] else f"{seen} <- leaked"
