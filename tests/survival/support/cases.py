"""Which cases run under which start method.

Who uses it: parametrised survival tests. Every line of what a pool must survive is tested under every start method;
where a line has many cases that have nothing to do with how a process was started, all of them run under the first
start method, and the telling ones under the others too. What may go wrong: nothing.
"""

from __future__ import annotations

import multiprocessing as mp
from collections.abc import Iterable
from typing import Any

import pytest

#: The cheapest one comes first.
METHODS = mp.get_all_start_methods()


def spread(everything: Iterable[Any], *telling: Any) -> list[Any]:
    """Pairs of start method and case, for ``parametrize(("start_method", ...), ...)``."""
    first, *others = METHODS
    pairs = [(first, case) for case in everything] + [(method, case) for method in others for case in telling]
    return [pytest.param(method, case, id=f"{method}-{_name(case)}") for method, case in pairs]


def _name(case: Any) -> str:
    if isinstance(case, tuple):
        return "-".join(map(_name, case))
    return str(getattr(case, "__name__", None) or getattr(case, "name", None) or case)
