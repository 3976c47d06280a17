"""A long run at a level with fresh processes, with crashes and time limits in it: everything is accounted for, and
nothing grows.

``python -m tests.bench.soak [--tasks N] [--level fork|process|globals] [--start-method METHOD] [--seed N]``

Of the tasks 2 % end their process (SIGKILL, a segmentation fault, `os._exit`) and 1 % never end, for which there is a
time limit; which ones, the seed decides. Each writes down that it was begun, so that one that runs twice shows. Counted
are processes, descriptors of this process, and the memory of this process and its workers, after the first tenth and
in the end. What may go wrong: an outcome is not the one it must be, or something grew; then the exit status is 1.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from poolsafe import IsolatedPool, TaskTimeout, WorkerLost
from poolsafe.engine.memory import resident
from tests.support import leaks

CRASHES, HANGS = 0.02, 0.01
#: Seconds that a task may take; the others need a thousandth of it.
LIMIT = 0.5
#: Tasks that are submitted at a time.
BATCH = 250
#: Bytes by which the memory of a process may differ: what the allocators keep.
SLACK = 8 << 20

deeds = 0


def work(begun: str, number: int, deed: str) -> int:
    """Note that the task was begun, and do what it is to do."""
    global deeds
    deeds += 1
    fd = os.open(begun, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"%d\n" % number)
    os.close(fd)
    if deed == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif deed == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif deed == "exit":
        os._exit(3)
    elif deed == "hang":
        time.sleep(600)
    return number * deeds


class Holdings(NamedTuple):
    """What there is at a quiet moment."""

    processes: int
    descriptors: int
    memory: int
    memory_of_workers: int


def holdings(pool: IsolatedPool) -> Holdings:
    """Counted when nothing ends any more."""
    deadline = time.monotonic() + 10
    seen: list[int] = []
    while time.monotonic() < deadline and (len(seen) < 5 or len({*seen[-5:]}) > 1):
        time.sleep(0.1)
        seen.append(len(leaks.descendants(os.getpid())))
    workers = [resident(process.pid) or 0 for process in pool._pool]
    return Holdings(seen[-1], len(os.listdir("/proc/self/fd")), resident() or 0, max(workers))


def plan(tasks: int, seed: int) -> list[str]:
    """What each task does."""
    chance = random.Random(seed)
    return [
        chance.choice(["kill", "crash", "exit"]) if dice < CRASHES else "hang" if dice < CRASHES + HANGS else ""
        for dice in (chance.random() for _ in range(tasks))
    ]


def outcome(get: Any) -> Any:
    """A value, or the name of what was raised."""
    try:
        return get()
    except (WorkerLost, TaskTimeout) as error:
        return type(error).__name__


def run(pool: IsolatedPool, deeds: list[str], begun: str) -> list[str]:
    """Give all tasks to the pool; return what is not as it must be."""
    wrong: list[str] = []
    first: Holdings | None = None
    for start in range(0, len(deeds), BATCH):
        batch = list(enumerate(deeds))[start : start + BATCH]
        results = [(i, deed, pool.apply_async(work, (begun, i, deed))) for i, deed in batch]
        for i, deed, result in results:
            wanted = "TaskTimeout" if deed == "hang" else "WorkerLost" if deed else i
            found = outcome(lambda result=result: result.get(60))
            if found != wanted:
                wrong.append(f"task {i} ({deed or 'calm'}): {found} instead of {wanted}")
        del results, result
        if first is None and start >= len(deeds) // 10:
            first = holdings(pool)
    last = holdings(pool)
    print(f"after a tenth: {first}\nin the end:    {last}")
    if first is None or last.processes > first.processes or last.descriptors > first.descriptors:
        wrong.append("there are more processes or descriptors than before")
    elif max(last.memory - first.memory, last.memory_of_workers - first.memory_of_workers) > SLACK:
        wrong.append("there is more memory than before")
    return wrong


def main() -> int:
    """Run it as the command line says; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--level", default="fork", choices=["fork", "process", "globals"])
    parser.add_argument("--start-method", default="fork", choices=mp.get_all_start_methods())
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    deeds = plan(options.tasks, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        begun = Path(folder) / "begun"
        begun.touch()
        start = time.monotonic()
        context: Any = mp.get_context(options.start_method)
        with IsolatedPool(2, context=context, isolation=options.level, timeout=LIMIT) as pool:
            wrong = run(pool, deeds, str(begun))
        runs = Counter(map(int, begun.read_text().split()))
    wrong += [f"task {i} was begun {runs[i]} times" for i in range(len(deeds)) if runs[i] != 1]
    left = leaks.descendants(os.getpid()) - leaks._machinery()
    wrong += [f"process {pid} is left" for pid in left]
    kinds = Counter(deed or "calm" for deed in deeds)
    print(f"{len(deeds)} tasks in {time.monotonic() - start:.0f} s: {dict(kinds)}")
    print("\n".join(wrong) or "each with the outcome that it must have, begun once; nothing grew, nothing is left")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
