"""Pools for the tests of queues; see the fixtures of the survival tests."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.context import BaseContext

import pytest

from poolsafe import IsolatedPool
from tests.survival.conftest import MakePool, _no_main_for_workers, pools

pytest.register_assert_rewrite("tests.queues.storms")

__all__ = ["_no_main_for_workers", "make_pool", "pool"]


@pytest.fixture
def make_pool(ctx: BaseContext) -> Iterator[MakePool]:
    """Make pools under each start method. They are closed first, so that idle workers can tell what of them ran."""
    yield from pools(ctx, (), patience=3)


@pytest.fixture
def pool(make_pool: MakePool) -> IsolatedPool:
    """Two workers, under each start method, that keep what tasks leave."""
    return make_pool(isolation=None)
