"""Initializers: some count, some wait, some fail. Imported by workers: light.

Who uses it: survival tests of starting workers. What may go wrong: a gate is never opened.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from tests.support.gates import Gate, Tally


def count_then(starts: Tally, go: Gate, end: Callable[[], Any]) -> None:
    starts.add(os.getpid())
    go.wait()
    end()


def count_beside(starts: Tally, _: object) -> None:
    starts.add(os.getpid())


def slow_for_the_second(starts: Tally, go: Gate) -> None:
    starts.add(os.getpid())
    if starts.entries()[0] != str(os.getpid()):
        go.wait()


def end_the_second(starts: Tally, go: Gate) -> None:
    starts.add(os.getpid())
    if starts.entries()[0] != str(os.getpid()):
        os._exit(3)
    go.wait()


def linger(gate: Gate) -> None:
    """The process does not end by itself before the gate is open."""
    warnings.filterwarnings("ignore", message=".*left threads running", category=RuntimeWarning)  # where tasks fork
    threading.Thread(target=gate.wait, args=(600,)).start()


def fail_after_two(starts: Tally) -> None:
    starts.add(os.getpid())
    if len(starts.entries()) > 2:
        raise RuntimeError("only two may start")


def exit_when(failing: Gate, starts: Tally) -> None:
    starts.add(os.getpid())
    if failing.is_open():
        os._exit(3)


def close_everything_and_stay() -> None:
    os.closerange(0, 2048)
    while True:
        signal.pause()


def _forbid(*_: object) -> NoReturn:
    raise RuntimeError("no processes here")


def audit_forks() -> None:
    sys.addaudithook(lambda event, _: _forbid() if event == "os.fork" else None)


def replace_fork() -> None:
    os.fork = _forbid


def leave_no_descriptors() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))


def exit_after_forks() -> None:
    os.register_at_fork(after_in_child=lambda: os._exit(7))


def refuse_one_fork() -> None:
    left = [BlockingIOError(11, "no more processes")]

    def look(event: str, _: object) -> None:
        if event == "os.fork" and left:
            raise left.pop()

    sys.addaudithook(look)


def allow_no_forks_when(scarce: Gate, starts: Tally) -> None:
    starts.add(os.getpid())

    def look(event: str, _: object) -> None:
        if event == "os.fork" and scarce.is_open():
            raise BlockingIOError(11, "no more processes")

    sys.addaudithook(look)
