"""The fixture `world`: makes modules that are the project's own (by where their file would be), for one test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.isolation.worlds import World, make_module


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Return ``make(source, name="app", **names) -> module``."""
    made: list[str] = []

    def make(source: str = "", name: str = "app", file: Path | None = None, **names: Any) -> Any:
        made.append(name)
        return make_module(name, source, file or tmp_path / f"{name.replace('.', '/')}.py", **names)

    yield make
    for name in made:
        sys.modules.pop(name, None)
