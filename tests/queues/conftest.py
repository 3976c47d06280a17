"""Pools for the tests of queues; see the fixtures of the survival tests."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.context import BaseContext
from typing import Any

import pytest

from poolsafe import IsolatedPool
from tests.survival.conftest import MakePool, _no_main_for_workers

__all__ = ["_no_main_for_workers", "make_pool", "pool"]


@pytest.fixture
def make_pool(ctx: BaseContext) -> Iterator[MakePool]:
    """Make pools under each start method. They are closed first, so that idle workers can tell what of them ran."""
    made: list[IsolatedPool] = []

    def make(processes: int = 2, *args: Any, **options: Any) -> IsolatedPool:
        options.setdefault("reset", ())
        made.append(IsolatedPool(processes, *args, context=ctx, **options))
        return made[-1]

    yield make
    for pool in made:
        pool.close()
        pool._own().finished.wait(3)
        pool.terminate()
        pool.join()
    made.clear()


@pytest.fixture
def pool(make_pool: MakePool) -> IsolatedPool:
    """Two workers, under each start method, that keep what tasks leave."""
    return make_pool(isolation=None)
