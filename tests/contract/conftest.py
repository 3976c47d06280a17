"""Fixtures of the contract suite: a recipe for each transport and start method, and the workers made by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from typing import Any

import pytest

from .handle import Handle, Maker


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under forkserver a worker that forks is one that was started by spawn, and costs the same time again."""

    def repeats(item: pytest.Item) -> bool:
        params = getattr(getattr(item, "callspec", None), "params", {})
        return params.get("forks") == "forking" and params.get("start_method") == "forkserver"

    items[:] = [item for item in items if not repeats(item)]


@pytest.fixture(params=["socket", "pipe"])
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport in turn."""
    return str(request.param)


@pytest.fixture(params=["lasting", "forking"])
def forks(request: pytest.FixtureRequest) -> bool:
    """Each kind of worker in turn."""
    return bool(request.param == "forking")


@pytest.fixture
def maker(ctx: BaseContext, transport: str, forks: bool) -> Iterator[Maker]:
    """Makes workers of one recipe, and ends those that the test left."""
    made = Maker(ctx, transport, forks=forks)
    yield made
    made.close()


@pytest.fixture
def worker(maker: Maker) -> Handle:
    """A worker that is ready."""
    return maker.ready()


@pytest.fixture
def make_maker(ctx: BaseContext, transport: str, forks: bool) -> Iterator[Callable[..., Maker]]:
    """Makes makers with options of the test's own."""
    made: list[Maker] = []

    def make(**options: Any) -> Maker:
        made.append(Maker(ctx, transport, forks=forks, **options))
        return made[-1]

    yield make
    for maker in made:
        maker.close()
