"""Pools for the tests of queues; see the fixtures of the survival tests."""

from __future__ import annotations

import pytest

from poolsafe import IsolatedPool
from tests.survival.conftest import MakePool, _no_main_for_workers, make_pool

__all__ = ["_no_main_for_workers", "make_pool", "pool"]


@pytest.fixture
def pool(make_pool: MakePool) -> IsolatedPool:
    """Two workers, under each start method, that keep what tasks leave."""
    return make_pool(isolation=None, reset=())
