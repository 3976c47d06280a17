"""Kinds of state in objects that a project's globals hold: of the standard library's classes, of NumPy, of its own.

Used by: the table of all kinds in this package. What may go wrong: NumPy is not installed; its kinds are left out.
"""

from __future__ import annotations

import abc
import argparse
import collections
import configparser
import dataclasses
import enum
import functools
import itertools
import logging
import queue
import threading
import types
import weakref
from typing import Any, NamedTuple

from .kind import Kind

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]


class Pair(NamedTuple):
    items: list[int]


class Table(dict):  # type: ignore[type-arg]
    pass


class Jobs(queue.Queue):  # type: ignore[type-arg]
    pass


class Collecting(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.got.append(record.getMessage())


class Lazy:
    made = 0

    @functools.cached_property
    def value(self) -> int:
        Lazy.made += 1
        return Lazy.made

    @functools.singledispatchmethod
    def name(self, _: object) -> str:
        return "object"

    @functools.lru_cache  # noqa: B019 - that is what leaks
    def items(self) -> list[int]:
        return []


class Level(enum.Enum):
    LOW = 1


class Registering(type):
    known: list[str] = []

    def __init__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> None:
        Registering.known.append(name)


class Registered(metaclass=Registering):
    pass


class Plugin:
    names: list[str] = []

    def __init_subclass__(cls) -> None:
        Plugin.names.append(cls.__name__)


class Interface(abc.ABC):  # noqa: B024 - others are registered with it
    pass


class Apart:
    pass


class Described:
    """A descriptor that keeps something."""

    def __init__(self) -> None:
        self.value = 0

    def __get__(self, owner: object, cls: type) -> int:
        return self.value


class Holder:
    described = Described()
    ids = itertools.count()


@dataclasses.dataclass(frozen=True)
class Frozen:
    items: list[int]


def listed(items: list[int]) -> list[int]:
    return items


CONFIG = configparser.ConfigParser()
CONFIG.read_dict({"a": {"x": "1"}})
QUEUE: queue.Queue[int] = queue.Queue()
HEAP: queue.PriorityQueue[int] = queue.PriorityQueue()
STACK: queue.LifoQueue[int] = queue.LifoQueue()
JOBS = Jobs()
SEMAPHORE = threading.Semaphore(9)
SPACE, ARGUMENTS = types.SimpleNamespace(a=1), argparse.Namespace(a=1)
USER: collections.UserDict[int, int] = collections.UserDict()
PAIR, FROZEN, TABLE, LAZY, APART = Pair([]), Frozen([]), Table(), Lazy(), Apart()
HANDLER = Collecting()
logging.getLogger("poolsafe.tests.collecting").addHandler(HANDLER)
WEAK: weakref.WeakSet[Apart] = weakref.WeakSet()
VIEW, BEHIND = memoryview(bytearray(b"a")), {"a": 1}
PROXY = types.MappingProxyType(BEHIND)
PARTIAL = functools.partial(listed, [])
METHOD = Pair([]).items.append


def move_on(view: memoryview) -> None:
    view[0] += 1


def use_config() -> None:
    CONFIG["a"]["x"] += "1"


KINDS: dict[str, Kind] = {
    "ConfigParser": Kind(lambda: CONFIG["a"]["x"], use_config),
    "Queue": Kind(QUEUE.qsize, lambda: QUEUE.put(1)),
    "PriorityQueue": Kind(HEAP.qsize, lambda: HEAP.put(1)),
    "LifoQueue": Kind(STACK.qsize, lambda: STACK.put(1)),
    "subclass of Queue": Kind(JOBS.qsize, lambda: JOBS.put(1)),
    "Semaphore": Kind(lambda: SEMAPHORE._value, SEMAPHORE.acquire),
    "SimpleNamespace": Kind(lambda: SPACE.a, lambda: setattr(SPACE, "a", SPACE.a + 1)),
    "argparse.Namespace": Kind(lambda: ARGUMENTS.a, lambda: setattr(ARGUMENTS, "a", ARGUMENTS.a + 1)),
    "UserDict": Kind(lambda: len(USER), lambda: USER.update({len(USER): 1})),
    "list in a named tuple": Kind(lambda: len(PAIR.items), lambda: PAIR.items.append(1)),
    "frozen dataclass": Kind(lambda: len(vars(FROZEN)), lambda: object.__setattr__(FROZEN, "new", 1)),
    "subclass of dict": Kind(lambda: len(TABLE), lambda: TABLE.update({len(TABLE): 1})),
    "logging handler of the project": Kind(
        lambda: len(HANDLER.got), lambda: logging.getLogger("poolsafe.tests.collecting").error("x")
    ),
    "cached_property": Kind(lambda: "value" in vars(LAZY), lambda: LAZY.value),
    "singledispatchmethod": Kind(
        lambda: LAZY.name(1), lambda: vars(Lazy)["name"].register(int, lambda self, _: "number")
    ),
    "lru_cache of a method": Kind(lambda: Lazy.items.cache_info().currsize, LAZY.items),
    "enum member": Kind(lambda: hasattr(Level.LOW, "note"), lambda: setattr(Level.LOW, "note", 1)),
    "registry of a metaclass": Kind(lambda: len(Registering.known), lambda: Registering("New", (), {})),
    "registry of subclasses": Kind(lambda: len(Plugin.names), lambda: type("New", (Plugin,), {})),
    "ABC registration": Kind(lambda: isinstance(APART, Interface), lambda: Interface.register(Apart)),
    "descriptor": Kind(
        lambda: Holder.described,
        lambda: setattr(vars(Holder)["described"], "value", vars(Holder)["described"].value + 1),
    ),
    "count of a class": Kind(lambda: repr(Holder.ids), lambda: next(Holder.ids)),
    "weak set": Kind(lambda: len(WEAK), lambda: WEAK.add(APART)),
    "memoryview": Kind(lambda: VIEW[0], lambda: move_on(VIEW)),
    "mapping proxy": Kind(lambda: len(PROXY), lambda: BEHIND.update({str(len(BEHIND)): 1})),
    "partial": Kind(lambda: len(PARTIAL()), lambda: PARTIAL().append(1)),
    "bound method": Kind(lambda: len(METHOD.__self__), lambda: METHOD(1)),  # type: ignore[attr-defined]
}

if np is not None:
    ARRAY, RECORDS = np.zeros(3), np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
    STRUCTURED, OBJECTS = np.zeros(2, dtype=[("a", "i4")]), np.array([[1], None], dtype=object)
    MASKED, GROWING = np.ma.masked_array([1, 2, 3], [0, 0, 1]), np.zeros(3)

    def step(array: Any) -> None:
        array += 1

    KINDS.update(
        {
            "numpy array": Kind(ARRAY.tolist, lambda: step(ARRAY)),
            "numpy record array": Kind(lambda: int(RECORDS.a[0]), lambda: step(RECORDS.a)),
            "numpy structured array": Kind(STRUCTURED.tolist, lambda: step(STRUCTURED["a"])),
            "numpy array of objects": Kind(lambda: len(OBJECTS[0]), lambda: OBJECTS[0].append(1)),
            "numpy mask": Kind(lambda: MASKED.mask.tolist(), lambda: MASKED.__setitem__(0, np.ma.masked)),
            "numpy shape": Kind(lambda: GROWING.shape, lambda: GROWING.resize(len(GROWING) + 1, refcheck=False)),
        }
    )
