"""Every kind of value that is understood is put back in place: content, identity, aliases, however it was declared.

One table, `KINDS`: how a value is made, what a task does to it, and how to look at it.
"""

from __future__ import annotations

import argparse
import array
import collections
import functools
import io
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.unit.isolation import specimens
from tests.unit.isolation.specimens import (
    HELD,
    Attrs,
    Bag,
    Color,
    Data,
    Frozen,
    Kept,
    Plain,
    Point,
    Slotted,
    SlottedAndDict,
    SlottedChild,
    Sorted,
    Stamp,
    Table,
    Tags,
    Working,
    cache_content,
    cached,
    change_child_slots,
    change_class,
    change_config,
    change_local,
    change_ndarray,
    change_object_array,
    change_plain,
    change_slots,
    change_table,
    change_tags,
    change_weak_keys,
    config,
    empty_cell,
    exception_parts,
    exchange_code,
    exchange_parts,
    fifo,
    fill_cell,
    in_thread_local,
    look_at_class,
    look_at_function,
    look_at_tags,
    names_of,
    object_array,
    plain_function,
    raise_it,
    readers_of,
    semaphore_value,
    stream,
    tags,
    use_queue,
    weak_keys,
    weak_values,
    with_parts,
    write_and_seek,
)
from tests.unit.isolation.worlds import World, snapshot_of


class Kind(NamedTuple):
    make: Callable[[], Any]
    change: Callable[[Any], Any]
    look: Callable[[Any], Any]


def statements(code: str) -> Callable[[Any], None]:
    """What a task does to ``v``."""
    return lambda v: exec(code, {"v": v})


KINDS: dict[str, Kind] = {
    "list": Kind(lambda: [1, [2], 3], statements("v[1].append(9); v.append(4); del v[0]"), list),
    "list: equal but other items": Kind(lambda: [1, 0.0], statements("v[:] = [True, -0.0]"), repr),
    "dict": Kind(
        lambda: {"a": [1], 2: 3},
        statements("v['a'].append(2); v['n'] = 1; del v[2]"),
        lambda v: [*v.items()],
    ),
    "dict: order": Kind(lambda: {"a": 1, "b": 2}, statements("v['a'] = v.pop('a')"), list),
    "dict: equal but other key": Kind(lambda: {1: 1}, statements("v.clear(); v[True] = 1"), repr),
    "set": Kind(lambda: {1, 2}, statements("v.add(3); v.discard(1)"), sorted),
    "bytearray": Kind(lambda: bytearray(b"abc"), statements("v[0] = 0; v.extend(b'xyz')"), bytes),
    "array": Kind(lambda: array.array("i", [1, 2]), statements("v[0] = 5; v.append(3)"), list),
    "deque": Kind(lambda: collections.deque([1, [2]], 3), statements("v[1].append(1); v.append(3); v.rotate()"), list),
    "OrderedDict": Kind(
        lambda: collections.OrderedDict(a=[1], b=2),
        statements("v['a'].append(2); v.move_to_end('a')"),
        lambda v: [*v.items()],
    ),
    "defaultdict": Kind(
        lambda: collections.defaultdict(list, a=[1]),
        statements("v['a'].append(2); v['b']; v.default_factory = None"),
        lambda v: (dict(v), v.default_factory),
    ),
    "Counter": Kind(
        lambda: collections.Counter("aab"),
        statements("v.update('abc'); v.note = 1"),
        lambda v: (dict(v), vars(v).copy()),
    ),
    "subclass of list": Kind(lambda: tags(Tags, [1, [2]]), change_tags, look_at_tags(list)),
    "subclass of dict": Kind(lambda: tags(Table, {"a": 1}), change_table, look_at_tags(dict)),
    "subclass of set": Kind(
        lambda: tags(Bag, [1]), lambda v: (set.add(v, 2), v.note.append(1)), lambda v: (set.__len__(v), v.note[:])
    ),
    "subclass of OrderedDict": Kind(
        Sorted,
        lambda v: collections.OrderedDict.__setitem__(v, "a", 1),
        lambda v: list(collections.OrderedDict.items(v)),
    ),
    "AttrDict": Kind(Attrs, statements("v.a.append(2); v.b = 1"), lambda v: repr(dict(v))),
    "ChainMap": Kind(
        lambda: collections.ChainMap({"a": 1}, {"b": 2}),
        statements("v['a'] = 2; v.maps.append({})"),
        lambda v: repr(v.maps),
    ),
    "UserDict": Kind(lambda: collections.UserDict(a=[1]), statements("v['a'].append(2); v['b'] = 1"), repr),
    "UserList": Kind(lambda: collections.UserList([1]), statements("v.append(2)"), repr),
    "SimpleNamespace": Kind(lambda: types.SimpleNamespace(a=[1]), statements("v.a.append(2); v.b = 1"), repr),
    "argparse.Namespace": Kind(lambda: argparse.Namespace(a=[1]), statements("v.a.append(2); v.b = 1"), repr),
    "ConfigParser": Kind(config, change_config, readers_of),
    "instance": Kind(Plain, change_plain, Plain.look),
    "instance: other __dict__": Kind(Plain, statements("v.__dict__ = {'number': 2}"), Plain.look),
    "instance: other class": Kind(Plain, lambda v: setattr(v, "__class__", Kept), lambda v: type(v)),
    "instance with slots": Kind(Slotted, change_slots, Slotted.look),
    "instance with inherited slots": Kind(SlottedChild, change_child_slots, SlottedChild.look),
    "instance with slots and __dict__": Kind(
        SlottedAndDict, statements("v.items.append(1); v.free = 1"), lambda v: (v.look(), dict(vars(v)))
    ),
    "dataclass": Kind(lambda: Data("x", {"a": [1]}), statements("v.name = 'y'; v.tags['a'].append(2)"), repr),
    "frozen dataclass": Kind(
        lambda: Frozen([1]),
        statements("v.items.append(2); object.__setattr__(v, 'x', 1)"),
        lambda v: (repr(v), dict(vars(v))),
    ),
    "named tuple": Kind(lambda: Point(1, [1]), statements("v.ys.append(2)"), repr),
    "tuple": Kind(lambda: (1, ([2],)), statements("v[1][0].append(3)"), repr),
    "frozenset": Kind(
        lambda: frozenset([Kept("a")]),
        statements("next(iter(v)).name = 'b'"),
        lambda v: next(iter(v)).name,
    ),
    "key of a dict": Kind(lambda: {Kept("a"): 1}, statements("next(iter(v)).name = 'b'"), lambda v: next(iter(v)).name),
    "enum class": Kind(lambda: Color, statements("v.RED.note = 1"), names_of),
    "enum member": Kind(lambda: Color.RED, statements("v.note = 1"), names_of),
    "class": Kind(lambda: Working, change_class, look_at_class),
    "function": Kind(with_parts, lambda v: (v(2), v.calls.append(1)), look_at_function),
    "function: other parts": Kind(with_parts, exchange_parts, look_at_function),
    "function: other code": Kind(lambda: plain_function, exchange_code, lambda v: v()),
    "function: equal but other defaults": Kind(
        lambda: plain_function,
        statements("v.__defaults__ = (True,)"),
        lambda v: repr(v()),
    ),
    "function: new attribute": Kind(lambda: plain_function, statements("v.note = 1"), lambda v: dict(vars(v))),
    "function: empty cell": Kind(empty_cell, fill_cell, look_at_function),
    "bound method": Kind(lambda: Plain().look, statements("v.__self__.items.append(1)"), lambda v: repr(v())),
    "bound builtin method": Kind(lambda: [1].append, statements("v(2)"), lambda v: list(v.__self__)),
    "partial": Kind(
        lambda: functools.partial(print, [1], sep=[2]),
        statements("v.args[0].append(2); v.keywords['end'] = 1; v.note = 1"),
        lambda v: (repr(v.args), repr(v.keywords), dict(vars(v))),
    ),
    "lru_cache": Kind(lambda: cached(8), statements("v(1).append(2)"), cache_content),
    "cache": Kind(lambda: cached(None), statements("v(1).append(2)"), cache_content),
    "lru_cache: used before": Kind(lambda: cached(8, 1), statements("v(1).append(2)"), lambda v: repr(v(1))),
    "cache: used before": Kind(
        lambda: cached(None, 1),
        statements("v(1).append(2); v(2)"),
        lambda v: (repr(v(1)), cache_content(v)),
    ),
    "StringIO": Kind(lambda: stream(io.StringIO, "a\r\nbc"), write_and_seek, lambda v: (v.getvalue(), v.tell())),
    "BytesIO": Kind(lambda: stream(io.BytesIO, b"abc"), write_and_seek, lambda v: (v.getvalue(), v.tell())),
    "StringIO: closed": Kind(lambda: io.StringIO("abc"), lambda v: v.close(), lambda v: v.closed),
    "BytesIO: closed": Kind(lambda: io.BytesIO(b"abc"), lambda v: v.close(), lambda v: v.closed),
    "instance with a __dict__ over C": Kind(
        lambda: Stamp(2020, 1, 1), statements("v.note = [1]"), lambda v: (v, dict(vars(v)))
    ),
    "exception": Kind(lambda: ValueError("a", [1]), raise_it, exception_parts),
    "mappingproxy": Kind(lambda: types.MappingProxyType({"a": [1]}), statements("v['a'].append(2)"), repr),
    "memoryview": Kind(lambda: memoryview(bytearray(b"abc")), statements("v[0] = 0"), bytes),
    "numpy array": Kind(lambda: np.arange(6).reshape(2, 3), change_ndarray, lambda v: (v.shape, v.tolist())),
    "numpy array: resized": Kind(lambda: np.arange(6), lambda v: v.resize(3, refcheck=False), np.ndarray.tolist),
    "numpy array: made read-only": Kind(
        lambda: np.arange(3),
        lambda v: v.setflags(write=False),
        lambda v: v.flags.writeable,
    ),
    "numpy array of objects": Kind(object_array, change_object_array, lambda v: repr(v.tolist())),
    "masked array": Kind(lambda: np.ma.array([1, 2], mask=[0, 1]), statements("v[1] = 5; v[0] = 7"), lambda v: repr(v)),
    "Lock": Kind(threading.Lock, lambda v: v.acquire(), lambda v: v.locked()),
    "RLock": Kind(threading.RLock, lambda v: (v.acquire(), v.acquire()), lambda v: v._is_owned()),
    "Event": Kind(threading.Event, threading.Event.set, threading.Event.is_set),
    "Semaphore": Kind(lambda: threading.Semaphore(2), lambda v: v.acquire(), semaphore_value),
    "BoundedSemaphore": Kind(lambda: threading.BoundedSemaphore(2), lambda v: v.acquire(), semaphore_value),
    "Condition": Kind(threading.Condition, lambda v: v.acquire(), lambda v: v._is_owned()),
    "Queue": Kind(lambda: fifo(1, [2]), use_queue, lambda v: (list(v.queue), v.unfinished_tasks)),
    "threading.local": Kind(in_thread_local, change_local, lambda v: repr(v.__dict__)),
    "WeakValueDictionary": Kind(weak_values, lambda v: v.update(b=HELD[1]), lambda v: sorted(v)),
    "WeakKeyDictionary": Kind(weak_keys, change_weak_keys, lambda v: list(v.values())),
    "WeakSet": Kind(lambda: weakref.WeakSet(HELD[:1]), lambda v: v.add(HELD[1]), len),
}  # fmt: skip

WAYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "by name": ("app:X", lambda v: v),
    "in a module": ("app", lambda v: v),
    "nested": ("app:X", lambda v: {"deep": [(Frozen([v]),)]}),
    "nested in a module": ("app", lambda v: [types.SimpleNamespace(inner={"v": v})]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_is_put_back(world: World, kind: str, way: str) -> None:
    make, change, look = KINDS[kind]
    target, wrap = WAYS[way]
    value = make()
    app = world(X=wrap(value), V=None)
    other = world("", name="other", alias=value)
    held = app.X
    pristine = repr(look(value))
    snapshot = snapshot_of(target)
    snapshot.restore()
    assert repr(look(value)) == pristine, "nothing had changed"
    for _ in range(2):  # twice: a reset must not wear out
        change(value)
        assert repr(look(value)) != pristine, "bug in the test: the change cannot be seen"
        snapshot.restore()
        assert repr(look(value)) == pristine
        assert app.X is held
        assert other.alias is value


#: What only a finalizer out of its mind would do is put back when it was done by a task, and not when by one of these.
ABSURD = (
    "other __dict__",
    "other class",
    "other parts",
    "other code",
    "other items",
    "other defaults",
    "new attribute",
)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.endswith(ABSURD)])
def test_is_put_back_after_a_finalizer_changed_it(world: World, kind: str) -> None:
    """What a task left behind is dropped while the state is put back, and may change what was put back already."""
    make, change, look = KINDS[kind]
    value = make()
    pristine = repr(look(value))
    app = world(X=[value], ERROR=ValueError(), NAME=None)
    snapshot = snapshot_of("app")
    ran: list[str] = []

    class Finalizing:
        def __del__(self) -> None:
            ran.append(repr(look(value)))
            change(value)

    for _ in range(2):
        app.ERROR.args = (Finalizing(),)  # exceptions are put back late
        snapshot.restore()
        assert ran == [pristine]
        assert repr(look(value)) == pristine
        ran.clear()


def test_a_weak_container_holds_what_it_held(world: World) -> None:
    """A task that drops the last reference to an object must not take it away from the next task."""
    kept = [specimens.Kept("a"), specimens.Kept("b"), specimens.Kept("c")]
    app = world(
        V=weakref.WeakValueDictionary(a=kept[0]), K=weakref.WeakKeyDictionary({kept[1]: 1}), S=weakref.WeakSet(kept[2:])
    )
    snapshot = snapshot_of("app")
    kept.clear()
    for _ in range(2):
        snapshot.restore()
        assert [app.V["a"].name, *(key.name for key in app.K), *(item.name for item in app.S)] == ["a", "b", "c"]
