"""Which cases of a test run under which start method, where there are many and the method has no part in them.

Who uses it: ``tests/conftest.py``, for modules with ``pytestmark = pytest.mark.turns``. Each such test runs under every
start method, each of its cases under one: the first case under the first, the second under the next, and so on. A test
with fewer cases than there are methods runs each under all. What may go wrong: nothing; what does not run is counted as
deselected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest


def method_of(item: Any) -> Any:
    """Its start method."""
    return item.callspec.params["start_method"]


def case_of(item: Any) -> tuple[str, ...]:
    """Which case of a test this is, but for the start method. By its name: pytest numbers each combination anew."""
    parts = item.callspec.id.split("-")
    if method_of(item) in parts:
        parts.remove(method_of(item))
    return tuple(parts)


def by_turns(items: Sequence[pytest.Item]) -> set[pytest.Item]:
    """Those that do not run, because it is not their turn."""
    tests: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        spec = getattr(item, "callspec", None)
        if item.get_closest_marker("turns") and spec is not None and "start_method" in spec.params:
            tests[item.nodeid.partition("[")[0]].append(item)
    idle: set[pytest.Item] = set()
    for found in tests.values():
        methods = list(dict.fromkeys(map(method_of, found)))
        cases = list(dict.fromkeys(map(case_of, found)))
        # Where not each case has each method, somebody has chosen already (`tests.survival.support.cases.spread`).
        if len(cases) >= len(methods) > 1 and len(found) == len(cases) * len(methods):
            idle.update(
                item for item in found if methods.index(method_of(item)) != cases.index(case_of(item)) % len(methods)
            )
    return idle
