"""Fixtures of the engine's unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from poolsafe.engine.page import Page
from poolsafe.engine.pages import Pages

from .bench import Bench


@pytest.fixture
def page() -> Iterator[Page]:
    """A page as a worker has it."""
    pages = Pages(1)
    yield pages.take()
    pages.close_fd()
    pages.memory.close()


@pytest.fixture
def bench(page: Page) -> Bench:
    """A worker without hooks."""
    return Bench(page)
