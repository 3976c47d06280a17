"""The level of isolation at which the suites of survival and isolation run: ``POOLSAFE_TEST_LEVEL=fork pytest ...``.

Who uses it: these tests and the programs that they run, which inherit the variable. What may go wrong: a test's subject
is a worker that serves many tasks; it has the mark `reused` and does not run where every task has a process of its own.
"""

from __future__ import annotations

import os

#: Of the pools that these tests make, where they ask for no other.
LEVEL = os.environ.get("POOLSAFE_TEST_LEVEL", "globals")
#: Whether every task has a process of its own there.
FRESH = LEVEL in ("fork", "process")


def many(reused: int, forked: int, started: int) -> int:
    """How much a test does: by workers that are reused, or with a process for each task, forked or started for it."""
    return reused if not FRESH else forked if LEVEL == "fork" else started


def lasting(start_method: str) -> bool:
    """Whether a worker outlives its tasks there; under fork it is what the processes of tasks are forked from."""
    return LEVEL != "process" or start_method == "fork"
