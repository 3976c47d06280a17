"""Fixtures of the survival tests: pools that are ended whatever happens, and workers that start fast.

Who uses it: pytest. What may go wrong: nothing of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.survival.support.ways", "tests.survival.support.programs")

from poolsafe import IsolatedPool, presets  # noqa: E402 - nothing may import support modules earlier
from tests.support.levels import LEVEL  # noqa: E402

#: What these pools put back. With "auto" it would be all tests' modules, which pytest has loaded: hundreds of pools
#: would spend more time with these than with surviving.
RESET = ["tests.support.tasks", "tests.survival.support.chores", "tests.survival.support.deeds", presets.cwd]

MakePool = Callable[..., IsolatedPool]


@pytest.fixture(scope="session", autouse=True)
def _no_main_for_workers() -> Iterator[None]:
    """Keep workers under spawn from importing pytest, which they would take for the program's main module."""
    main = sys.modules["__main__"]
    kept = {name: main.__dict__.pop(name) for name in ("__spec__", "__file__") if name in main.__dict__}
    main.__spec__ = None
    yield
    main.__dict__.update(kept)


def pools(ctx: BaseContext, reset: Any, *, patience: float = 0) -> Iterator[MakePool]:
    """Make pools; end them in the end, after they had so many seconds to finish what they do and end by themselves."""
    made: list[IsolatedPool] = []

    def make(processes: int = 2, *args: Any, **options: Any) -> IsolatedPool:
        options.setdefault("reset", reset)
        options.setdefault("isolation", LEVEL)
        made.append(IsolatedPool(processes, *args, context=ctx, **options))
        return made[-1]

    yield make
    for pool in made:
        if patience:
            pool.close()
            pool._own().finished.wait(patience)
        pool.terminate()
        pool.join()
    made.clear()


@pytest.fixture
def make_pool(ctx: BaseContext) -> Iterator[MakePool]:
    """Make pools of two workers under each start method; they are terminated and joined after the test."""
    yield from pools(ctx, RESET)


@pytest.fixture
def pool(make_pool: MakePool) -> IsolatedPool:
    """A pool of two workers, under each start method."""
    return make_pool()
