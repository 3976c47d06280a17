"""Pools that are wrong on purpose, each in one way, to prove that the suite notices.

Who uses it: `tests.conformance.test_harness`, through the hook. They derive from the stdlib's Pool, so everything else
about them is right. What may go wrong: nothing but what is meant to.
"""

from __future__ import annotations

import subprocess
import sys
import time
import unittest
from multiprocessing.pool import Pool
from typing import Any


class Right(Pool):
    """Not wrong at all: what the others are compared with."""


class Reversing(Right):
    """Gives the results of `map` in the wrong order."""

    def map(self, *args: Any, **kwds: Any) -> list[Any]:
        """As the base class, backwards."""
        return super().map(*args, **kwds)[::-1]


class Skipping(Right):
    """Skips where the stdlib does not."""

    def map(self, *args: Any, **kwds: Any) -> list[Any]:
        """Pretend that the test does not apply."""
        raise unittest.SkipTest("not today")


class Hanging(Right):
    """Never comes back from `map`."""

    def map(self, *args: Any, **kwds: Any) -> list[Any]:
        """Block for longer than any limit."""
        time.sleep(1000)
        return []


class Leaving(Right):
    """Leaves a process behind."""

    def map(self, *args: Any, **kwds: Any) -> list[Any]:
        """Start a process that nobody ends."""
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        return super().map(*args, **kwds)


class Dangling(Right):
    """Leaves a started worker that nobody joined, which the stdlib's tests report as a changed environment."""

    def map(self, *args: Any, **kwds: Any) -> list[Any]:
        """Keep a process object for ever."""
        kept.append(self._ctx.Process(target=time.time))  # type: ignore[attr-defined]
        kept[-1].start()
        return super().map(*args, **kwds)


kept: list[Any] = []
