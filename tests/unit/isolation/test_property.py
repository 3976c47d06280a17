"""Any structure, changed in any way, is given back with the same content, the same objects, the same sharing."""

from __future__ import annotations

import array
import collections
import types
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolsafe.isolation.targets import Plan
from tests.unit.isolation.worlds import World


class Thing:
    pass


class Slots:
    __slots__ = ("a", "b")


class Lists(list):  # type: ignore[type-arg]
    pass


MAKERS: list[Callable[[], Any]] = [
    list, dict, set, collections.deque, Thing, Slots, Lists, collections.OrderedDict, types.SimpleNamespace, bytearray,
    lambda: collections.defaultdict(list), lambda: array.array("b"), collections.Counter,
]  # fmt: skip
ATOMS = [0, 1, True, 1.0, "x", None, b"y", (), -0.0]


def put_in(holder: Any, value: Any, key: Any) -> None:
    """Put a value into a holder of any kind."""
    if isinstance(holder, (list, collections.deque)):
        holder.append(value)
    elif isinstance(holder, dict):
        holder[key] = value
    elif isinstance(holder, set):
        holder.add(key)
    elif isinstance(holder, Slots):
        setattr(holder, "ab"[len(str(key)) % 2], value)
    elif isinstance(holder, (bytearray, array.array)):
        holder.append(7)
    else:
        setattr(holder, f"k{key}", value)
    if isinstance(holder, (Lists, collections.Counter)):
        holder.note = value  # type: ignore[union-attr]


def change(holder: Any, how: int, value: Any, key: Any) -> None:
    """Change a holder of any kind in some way."""
    inside: Any = holder
    if isinstance(holder, (Thing, types.SimpleNamespace)):
        inside = vars(holder)
    if how == 0:
        put_in(holder, value, key)
    elif isinstance(holder, Slots):
        for name in "ab"[: how % 3]:
            if hasattr(holder, name):
                delattr(holder, name)
    elif how == 1 and len(inside):
        inside.pop() if not isinstance(inside, dict) else inside.pop(next(iter(inside)))
    elif how == 2:
        inside.clear() if not isinstance(inside, array.array) else inside.__setitem__(slice(None), array.array("b"))
    elif how == 3 and isinstance(inside, dict):
        for name in list(inside)[:1]:
            inside[name] = inside.pop(name)
    elif how == 3 and isinstance(inside, (list, collections.deque, bytearray, array.array)):
        inside.extend([1, 2])
        inside.reverse()
    elif how == 4 and isinstance(inside, dict):
        for name in inside:
            inside[name] = value


def picture(value: Any, seen: dict[int, Any]) -> Any:
    """Describe a structure by the identity of each object and, once for each, its content in its order."""
    if value is None or isinstance(value, (int, float, str, bytes)):
        return repr(value)
    if id(value) in seen:
        return id(value)
    seen[id(value)] = value
    content: list[Any] = []
    if isinstance(value, dict):
        content += [(picture(k, seen), picture(v, seen)) for k, v in value.items()]
    elif isinstance(value, set):
        content += sorted(repr(item) for item in value)
    elif isinstance(value, (list, tuple, collections.deque, bytearray, array.array)):
        content += [picture(item, seen) for item in value]
    for name in getattr(type(value), "__slots__", ()):
        content.append((name, picture(getattr(value, name, "unset"), seen)))
    for name, item in getattr(value, "__dict__", {}).items():
        content.append((name, picture(item, seen)))
    if isinstance(value, collections.defaultdict):
        content.append(value.default_factory)
    return id(value), type(value), tuple(content)


keys = st.sampled_from(["a", "b", 1, True, 2.5, None, (1, "t")])
parts = st.tuples(st.integers(0, 40), st.integers(0, 40), st.booleans(), keys)
changes = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4), st.integers(0, 40), keys), min_size=1, max_size=12)


@pytest.mark.parametrize("reset", ["app:X", "app"])
def test_any_structure_any_change(world: World, reset: str) -> None:
    app = world()

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        makers=st.lists(st.sampled_from(MAKERS), min_size=1, max_size=8),
        links=st.lists(parts, max_size=20),
        rounds=st.lists(changes, min_size=1, max_size=3),
    )
    def check(makers: list[Callable[[], Any]], links: list[Any], rounds: list[Any]) -> None:
        holders = [make() for make in makers]
        values: list[Any] = [*holders, *ATOMS]
        for holder, value, wrapped, key in links:
            found = values[value % len(values)]
            put_in(holders[holder % len(holders)], (found, [found]) if wrapped else found, key)
        app.X = holders
        snapshot = Plan.make(reset).capture()
        snapshot.restore()
        pristine = picture(holders, {})
        for steps in rounds:
            for holder, how, value, key in steps:
                change(holders[holder % len(holders)], how, values[value % len(values)], key)
            snapshot.restore()
            assert picture(holders, {}) == pristine

    check()
