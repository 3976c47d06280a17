"""Kinds of state in a project's globals: containers, names, classes, functions, what is only reached by iterating.

Used by: the table of all kinds in this package.
"""

from __future__ import annotations

import array
import collections
import contextvars
import dataclasses
import enum
import functools
import io
import itertools
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

from .kind import Kind


class Plain:
    items: list[int] = []
    count = 0

    def __init__(self) -> None:
        self.mine: list[int] = []

    def method(self) -> str:
        return "method"


class Slotted:
    __slots__ = ("a",)


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Data:
    items: list[int] = dataclasses.field(default_factory=list)


class Tags(list):  # type: ignore[type-arg]
    note = ""


def default(items: list[int] = []) -> int:  # noqa: B006 - that is what leaks
    items.append(1)
    return len(items)


def function() -> str:
    return "function"


def make_counter() -> Callable[[], int]:
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return count

    return step


@functools.cache
def cached(x: int) -> list[int]:
    return []


@functools.singledispatch
def dispatch(x: object) -> str:
    return "object"


LIST: list[Any] = [1]
DICT: dict[Any, Any] = {"a": [1]}
SET = {1}
NUMBER = 1
GONE = 1
BYTES = bytearray(b"a")
ARRAY = array.array("i", [1])
DEQUE = collections.deque([1], 5)
ORDERED = collections.OrderedDict(a=1, b=2)
DEFAULT: collections.defaultdict[str, list[int]] = collections.defaultdict(list)
COUNTER = collections.Counter("a")
CHAIN = collections.ChainMap({"a": 1})
PLAIN, SLOTTED, DATA, TAGS = Plain(), Slotted(), Data(), Tags([1])
SLOTTED.a = [1]
TEXT, BINARY = io.StringIO("text"), io.BytesIO(b"text")
LOCAL = threading.local()
LOCK = threading.Lock()
EVENT = threading.Event()
WEAK: weakref.WeakValueDictionary[str, Plain] = weakref.WeakValueDictionary()
IDS = itertools.count()
ITERATOR = iter([1, 2, 3, 4, 5, 6, 7, 8])
NEXT_ID = itertools.count().__next__
STEP = make_counter()
CONTENT: contextvars.ContextVar[list[int]] = contextvars.ContextVar("CONTENT", default=[])  # noqa: B039
VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("VARIABLE", default=0)
ERROR = ValueError("global")
LOGGER = logging.getLogger("poolsafe.tests.leaving")


def rebind() -> None:
    global NUMBER
    NUMBER += 1


def delete() -> None:
    globals().pop("GONE", None)


def add_name() -> None:
    globals()["ADDED"] = 1


def raise_global() -> None:
    try:
        raise ERROR
    except ValueError:
        pass


def patch_method() -> None:
    Plain.method = lambda self: "patched"  # type: ignore[method-assign]


def change_order() -> None:
    ORDERED.move_to_end("a")


def subclass_dispatch() -> None:
    dispatch.register(int, lambda x: "int")


KINDS: dict[str, Kind] = {
    "list": Kind(lambda: len(LIST), lambda: LIST.append(1)),
    "dict": Kind(lambda: sorted(map(str, DICT)), lambda: DICT.update({len(DICT): 1})),
    "nested": Kind(lambda: len(DICT["a"]), lambda: DICT["a"].append(1)),
    "set": Kind(lambda: len(SET), lambda: SET.add(len(SET) + 1)),
    "bytearray": Kind(lambda: len(BYTES), lambda: BYTES.append(1)),
    "array": Kind(lambda: len(ARRAY), lambda: ARRAY.append(1)),
    "deque": Kind(lambda: list(DEQUE), lambda: DEQUE.append(2)),
    "OrderedDict": Kind(lambda: list(ORDERED), change_order),
    "defaultdict": Kind(lambda: len(DEFAULT), lambda: DEFAULT[str(len(DEFAULT))]),
    "Counter": Kind(lambda: COUNTER["a"], lambda: COUNTER.update("a")),
    "ChainMap": Kind(lambda: CHAIN["a"], lambda: CHAIN.update(a=CHAIN["a"] + 1)),
    "rebound name": Kind(lambda: NUMBER, rebind),
    "deleted name": Kind(lambda: "GONE" in globals(), delete),
    "added name": Kind(lambda: "ADDED" in globals(), add_name),
    "instance": Kind(lambda: len(PLAIN.mine), lambda: PLAIN.mine.append(1)),
    "new attribute": Kind(lambda: len(vars(PLAIN)), lambda: setattr(PLAIN, f"n{len(vars(PLAIN))}", 1)),
    "slots": Kind(lambda: SLOTTED.a, lambda: setattr(SLOTTED, "a", [*SLOTTED.a, 1])),
    "dataclass": Kind(lambda: len(DATA.items), lambda: DATA.items.append(1)),
    "subclass of list": Kind(lambda: (len(TAGS), TAGS.note), lambda: (TAGS.append(1), setattr(TAGS, "note", "x"))),
    "class attribute": Kind(lambda: Plain.count, lambda: setattr(Plain, "count", Plain.count + 1)),
    "list of a class": Kind(lambda: len(Plain.items), lambda: Plain.items.append(1)),
    "patched method": Kind(lambda: PLAIN.method(), patch_method),
    "class of an instance": Kind(lambda: type(DATA).__name__, lambda: setattr(DATA, "__class__", Plain)),
    "name of a class": Kind(lambda: Slotted.__name__, lambda: setattr(Slotted, "__name__", "Other")),
    "mutable default": Kind(lambda: len(default.__defaults__[0]), default),  # type: ignore[index]
    "function attribute": Kind(lambda: vars(function).get("calls", 0), lambda: setattr(function, "calls", 1)),
    "function code": Kind(lambda: function(), lambda: setattr(function, "__code__", (lambda: "other").__code__)),
    "closure": Kind(lambda: STEP.__closure__[0].cell_contents, STEP),  # type: ignore[index]
    "lru_cache": Kind(lambda: cached.cache_info().currsize, lambda: cached(cached.cache_info().currsize)),
    "singledispatch": Kind(lambda: dispatch(1), subclass_dispatch),
    "StringIO": Kind(lambda: TEXT.getvalue(), lambda: TEXT.write("x")),
    "BytesIO": Kind(lambda: BINARY.tell(), lambda: BINARY.read(1)),
    "thread-local": Kind(lambda: vars(LOCAL).get("x", 0), lambda: setattr(LOCAL, "x", 1)),
    "lock": Kind(lambda: LOCK.locked(), lambda: LOCK.acquire(blocking=False)),
    "Event": Kind(lambda: EVENT.is_set(), EVENT.set),
    "weak dictionary": Kind(lambda: len(WEAK), lambda: WEAK.update(a=PLAIN)),
    "count": Kind(lambda: repr(IDS), lambda: next(IDS)),
    "iterator": Kind(lambda: ITERATOR.__length_hint__(), lambda: next(ITERATOR)),  # type: ignore[attr-defined]
    "bound next": Kind(lambda: repr(NEXT_ID.__self__), lambda: NEXT_ID()),
    "content of a context variable": Kind(lambda: len(CONTENT.get()), lambda: CONTENT.get().append(1)),
    "context variable": Kind(VARIABLE.get, lambda: VARIABLE.set(VARIABLE.get() + 1)),
    "exception": Kind(lambda: ERROR.__traceback__ is None, raise_global),
    "logger of the project": Kind(lambda: len(LOGGER.handlers), lambda: LOGGER.addHandler(logging.NullHandler())),
}
