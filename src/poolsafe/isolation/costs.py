"""Which globals cost most to put back, by their names: an estimate from how much each of them holds.

Used by: guard, once, when putting things back takes a noticeable share of a worker's time. What may go wrong: what
cannot be reached by a name is counted as "(others)".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sized

from .kinds import Record
from .modules import namespace_of, project_modules
from .routes import Routes

OTHERS = "(others)"


def dearest(records: Mapping[str, list[Record]], seconds: float, most: int = 5) -> list[tuple[str, float]]:
    """Return the globals that cost most, as targets, each with its share of the seconds."""
    routes = Routes(records)
    modules = sorted((str(namespace_of(module).get("__name__")) for module in project_modules()), key=len, reverse=True)
    weights: Counter[str] = Counter()
    for found in records.values():
        for record in found:
            path = routes.of(record[0]).path
            weights[_target(path, modules)] += 1 + sum(len(part) for part in record[1:2] if isinstance(part, Sized))
    total = sum(weights.values()) or 1
    return [(target, seconds * weight / total) for target, weight in weights.most_common(most)]


def _target(path: str | None, modules: list[str]) -> str:
    """Return the target that a path begins with: ``app:cache`` of ``app.cache['runs']``."""
    for module in modules if path is not None else ():
        assert path is not None
        if path == module:
            return module
        if path.startswith(module + "."):
            name = path[len(module) + 1 :]
            for mark in ".[<":
                name = name.partition(mark)[0]
            return f"{module}:{name}"
    return OTHERS
