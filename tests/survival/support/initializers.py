"""Initializers: some count, some wait, some fail. Imported by workers: light.

Who uses it: survival tests of starting workers. What may go wrong: a gate is never opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tests.support.gates import Gate, Tally


def count_then(starts: Tally, go: Gate, end: Callable[[], Any]) -> None:
    starts.add(os.getpid())
    go.wait()
    end()


def slow_for_the_second(starts: Tally, go: Gate) -> None:
    starts.add(os.getpid())
    if starts.entries()[0] != str(os.getpid()):
        go.wait()


def end_the_second(starts: Tally, go: Gate) -> None:
    starts.add(os.getpid())
    if starts.entries()[0] != str(os.getpid()):
        os._exit(3)
    go.wait()


def fail_after_two(starts: Tally) -> None:
    starts.add(os.getpid())
    if len(starts.entries()) > 2:
        raise RuntimeError("only two may start")
