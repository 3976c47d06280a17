"""Throw-away modules for the tests of the isolation package: a module is made from source text, and taken away again.

Used through the fixture `world`. What may go wrong: two modules of one name at a time, which is refused.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from poolsafe.isolation.snapshot import Snapshot
from poolsafe.isolation.targets import Plan

World = Callable[..., ModuleType]


def make_module(name: str, source: str, file: Path, **names: Any) -> ModuleType:
    """Make a module, run its source, and put it into `sys.modules`."""
    assert name not in sys.modules, f"there is a module {name!r} already"
    module = ModuleType(name)
    module.__file__ = str(file)
    vars(module).update(names)
    sys.modules[name] = module
    exec(compile(textwrap.dedent(source), str(file), "exec"), vars(module))
    return module


def snapshot_of(*reset: Any, keep: Any = ()) -> Snapshot:
    """Declare and capture."""
    return Plan.make(list(reset), keep).capture()
