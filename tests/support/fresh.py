"""What tests of a fresh process per task run in workers; importable there, and without pytest.

Who uses it: tests of the levels of isolation. What may go wrong: nothing of its own.
"""

from __future__ import annotations

import glob
import locale
import os
import random
import signal
import threading
import time
from typing import Any

from tests.support.gates import Tally


def numbered_pid(i: int) -> tuple[int, int]:
    return i, os.getpid()


def change_the_process() -> int:
    """Change what no reset could put back, or does not know."""
    os.environ["POOLSAFE_TEST"] = "changed"
    os.chdir("/")
    os.umask(0o111)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    os.open("/dev/zero", os.O_RDONLY)
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    return os.getpid()


def state_of_the_process() -> tuple[Any, ...]:
    umask = os.umask(0)
    os.umask(umask)
    return (
        os.environ.get("POOLSAFE_TEST"),
        os.getcwd(),
        umask,
        signal.getsignal(signal.SIGUSR1),
        locale.setlocale(locale.LC_ALL),
        [*map(os.path.realpath, glob.glob("/proc/self/fd/*"))].count("/dev/zero"),
        threading.active_count(),
    )


def draw(_: object = None) -> float:
    return random.random()


class Note:
    """A hook that leaves a note."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def __call__(self) -> None:
        self.tally.add(os.getpid())


def running_together(entries: list[str]) -> int:
    """From notes of beginnings and ends to how many ran at the same time at most."""
    now = most = 0
    for entry in entries:
        now += 1 if entry.startswith("begin") else -1
        most = max(most, now)
    return most


def begin_and_end(tally: Tally, i: int) -> None:
    tally.add(f"begin {i}")
    os.sched_yield()
    tally.add(f"end {i}")


def parent_of_the_process(_: object) -> int:
    return os.getppid()


def unique_things(_: object) -> tuple[Any, ...]:
    """What two processes must never have in common."""
    import tempfile
    import uuid

    return random.random(), uuid.uuid4(), uuid.uuid1(), next(tempfile._get_candidate_names()), os.urandom(8)
