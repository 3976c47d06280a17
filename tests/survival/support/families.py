"""Tasks that have processes and pools of their own; importable in a worker, and without pytest.

Who uses it: the tests of `daemon=False`.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import subprocess
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

from poolsafe import IsolatedPool
from tests.support import tasks
from tests.support.gates import Tally

#: How many processes `start_family` makes known, the one of the task included.
SIZE = 5


def arrive(tally: Tally) -> None:
    """Make this process known, and stay, whoever asks it to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tally.add(os.getpid())
    while True:
        time.sleep(60)


def start_family(tally: Tally, method: str, then: str = "stay") -> Any:
    """Start processes of all sorts, and go on in one of several ways when they are there."""
    ctx: Any = mp.get_context(method)
    process = ctx.Process(target=arrive, args=(tally,))
    process.start()
    program = subprocess.Popen(["sleep", "600"])
    tally.add(program.pid)
    # A plain pool is killed with its semaphores, which the resource tracker unlinks when the program ends.
    pools = [IsolatedPool(1, context=ctx), IsolatedPool(1, context=ctx, daemon=False)]
    for pool in pools:
        pool.apply_async(arrive, (tally,))
    tally.wait(SIZE - 1)
    tally.add(os.getpid())
    if then == "stay":
        time.sleep(600)
    elif then == "die":
        tasks.kill_self()
    elif then == "exit":
        os._exit(3)
    kept.extend([process, program, *pools])
    return os.getpid()


kept: list[Any] = []


def nested_map(method: str, count: int) -> list[int]:
    ctx: Any = mp.get_context(method)
    with IsolatedPool(2, context=ctx) as ours, ctx.Pool(1) as theirs:
        return [*ours.map(tasks.square, range(count)), *theirs.map(tasks.square, range(count))]


def own_process(method: str, tally: Tally) -> Any:
    process: Any = mp.get_context(method).Process(target=tally.add, args=("was here",))
    process.start()
    process.join()
    return process.exitcode


def group() -> tuple[int, int]:
    return os.getpid(), os.getpgid(0)


def share(path: str, then: str) -> None:
    """Make shared memory that nobody gives back, and write its name down."""
    shared = SharedMemory(create=True, size=1000)
    Path(path).write_text(shared.name)
    kept.append(shared)
    if then == "die":
        os._exit(3)


def start_program(tally: Tally) -> None:
    """An initializer that starts a program."""
    tally.add(subprocess.Popen(["sleep", "600"]).pid)


def move(tally: Tally, group: int) -> None:
    """Go to a process group in which there is another process, and stay."""
    os.setpgid(0, group)
    bystander = subprocess.Popen(["sleep", "600"])
    tally.add(os.getpid())
    tally.add(bystander.pid)
    time.sleep(600)
