"""What the table of kinds is made of: classes and functions to be changed, and what changes them or looks at them.

Used by `test_kinds`. They look without changing, and change in every way that is known to leak.
"""

from __future__ import annotations

import abc
import collections
import configparser
import dataclasses
import datetime
import enum
import functools
import io
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np


class Plain:
    """An instance with a ``__dict__``."""

    def __init__(self) -> None:
        self.number = 1
        self.items = ["a"]
        self.__private = {"k": "v"}

    def look(self) -> Any:
        return list(vars(self).items())


class Slotted:
    __slots__ = ("__hidden", "items", "unset")

    def __init__(self) -> None:
        self.items = ["a"]
        self.__hidden = 1

    def hide(self, value: int) -> None:
        self.__hidden = value

    def look(self) -> Any:
        return getattr(self, "items", None), self.__hidden, hasattr(self, "unset")


class SlottedChild(Slotted):
    __slots__ = ("__hidden", "own")

    def __init__(self) -> None:
        super().__init__()
        self.own = {"k": [1]}
        self.__hidden = "child's"

    def hide_own(self, value: str) -> None:
        self.__hidden = value

    def look(self) -> Any:
        return super().look(), self.own, self.__hidden


class SlottedAndDict(Slotted):
    pass


class Stamp(datetime.date):
    """Unchanging in C, with attributes of its own."""


class Tags(list):  # type: ignore[type-arg]
    """A subclass of list with attributes, and overrides that must not run."""

    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError("an override was called")

    def clear(self) -> None:
        raise AssertionError("an override was called")

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("an override was called")


class Table(dict):  # type: ignore[type-arg]
    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError("an override was called")

    def update(self, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("an override was called")

    clear = copy = items = keys = values = update  # type: ignore[assignment]


class Sorted(collections.OrderedDict):  # type: ignore[type-arg]
    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError("an override was called")


class Bag(set):  # type: ignore[type-arg]
    def add(self, item: Any) -> None:
        raise AssertionError("an override was called")

    update = clear = __iter__ = copy = add  # type: ignore[assignment]


class Attrs(dict):  # type: ignore[type-arg]
    """The AttrDict idiom: the instance is its own ``__dict__``."""

    def __init__(self) -> None:
        super().__init__(a=[1])
        self.__dict__ = self


@dataclasses.dataclass(frozen=True)
class Frozen:
    items: list[int]


@dataclasses.dataclass
class Data:
    name: str
    tags: dict[str, list[int]] = dataclasses.field(default_factory=dict)


class Point(NamedTuple):
    x: int
    ys: list[int]


class Color(enum.Enum):
    RED = 1
    GREEN = 2


class Base(abc.ABC):
    registry: ClassVar[list[str]] = []

    @abc.abstractmethod
    def run(self) -> str: ...


class Working(Base):
    hits = 0
    shared: ClassVar[dict[str, int]] = {"a": 1}

    def run(self) -> str:
        return "real"

    @staticmethod
    def helper(seen: list[int] = []) -> list[int]:  # noqa: B006 - the trap that is tested
        return seen

    @classmethod
    def make(cls) -> Working:
        return cls()

    @property
    def prop(self) -> str:
        return "real"


def with_parts() -> Any:
    """A function that has everything a function can have."""
    count = 0
    seen = ["s"]

    def function(a: int = 1, b: list[int] = [1], *, c: dict[str, int] = {"x": 1}) -> Any:  # noqa: B006
        nonlocal count
        count += 1
        seen.append(count)
        b.append(a)
        c["y"] = a
        return count, list(seen), list(b), dict(c)

    function.calls = [0]  # type: ignore[attr-defined]
    return function


def look_at_function(function: Any) -> Any:
    cells = {
        name: _cell(cell) for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    }
    return function.__defaults__, function.__kwdefaults__, dict(vars(function)), cells, function.__code__


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "empty"


def empty_cell() -> Any:
    def outer() -> Any:
        return late

    if not outer:
        late = None
    return outer


def fill_cell(function: Any) -> None:
    function.__closure__[0].cell_contents = 1


def exchange_parts(function: Any) -> None:
    function.__defaults__ = (2, [])
    function.__kwdefaults__ = {"c": {}}
    function.new = 1


def plain_function(a: int = 1) -> int:
    return a


def exchange_code(function: Any) -> None:
    function.__code__ = (lambda a=1: 42).__code__


def cached(size: int | None, *filled: int) -> Any:
    @functools.lru_cache(size)
    def square(x: int) -> list[int]:
        return [x * x]

    for x in filled:
        square(x)
    return square


def cache_content(square: Any) -> Any:
    """Look without changing: which results are there, and what they are."""
    return square.cache_info().currsize


def write_and_seek(stream: Any) -> None:
    stream.seek(1)
    stream.write("changed" if isinstance(stream, io.StringIO) else b"changed")
    stream.seek(2)


def stream(cls: Any, content: Any) -> Any:
    made = cls(content)
    made.seek(1)
    return made


def raise_it(error: BaseException) -> None:
    try:
        try:
            raise KeyError("context")
        except KeyError:
            raise error from OSError()
    except BaseException:
        error.args += (1,)


def exception_parts(error: BaseException) -> Any:
    return error.args, error.__traceback__, error.__cause__, error.__context__, vars(error).copy()


def look_at_class(cls: Any) -> Any:
    names = sorted(name for name in vars(cls) if not name.startswith("_abc"))  # their order cannot be put back
    return {name: vars(cls)[name] for name in names}, cls.registry[:], dict(cls.shared), cls.helper()[:]


def change_class(cls: Any) -> None:
    cls.hits += 1
    cls.hits = True  # equal to 1, and not the same
    cls.shared["b"] = 2
    cls.registry.append("x")
    cls.run = lambda self: "patched"
    cls.prop = property(lambda self: "patched")
    cls.helper().append(3)
    cls.added = 1
    del cls.make


def fifo(*items: Any) -> Any:
    made: queue.Queue[Any] = queue.Queue()
    for item in items:
        made.put(item)
    return made


def use_queue(made: Any) -> None:
    made.get()
    made.put("x")
    made.put("y")


def semaphore_value(made: Any) -> Any:
    return made._value


def config(*_: Any) -> Any:
    made = configparser.ConfigParser()
    made.read_string("[a]\nx = 1\n")
    return made


def change_config(made: Any) -> None:
    made["a"]["x"] = "2"
    made.add_section("b")


def readers_of(made: Any) -> Any:
    return {name: dict(made[name]) for name in made}


def in_thread_local() -> Any:
    made = threading.local()
    made.items = [1]
    return made


def change_local(made: Any) -> None:
    made.items.append(2)
    made.new = 1


class Kept:
    """Something that can be held weakly, and is held here."""

    def __init__(self, name: str) -> None:
        self.name = name


HELD = [Kept("a"), Kept("b")]


def weak_values() -> Any:
    return weakref.WeakValueDictionary({"a": HELD[0]})


def weak_keys() -> Any:
    return weakref.WeakKeyDictionary({HELD[0]: ["a"]})


def change_weak_keys(made: Any) -> None:
    made[HELD[0]].append("b")
    made[HELD[1]] = 1


def change_object_array(made: Any) -> None:
    made[0].append(1)
    made[1] = None


def object_array() -> Any:
    made = np.empty(2, dtype=object)
    made[0] = [0]
    made[1] = {"k": 1}
    return made


def change_ndarray(made: Any) -> None:
    made *= 2
    made.resize((3, 2), refcheck=False)


def names_of(made: Any) -> Any:
    return {name: member.note for name, member in Color.__members__.items() if hasattr(member, "note")}


def change_slots(made: Any) -> None:
    made.items.append("b")
    made.hide(2)
    made.unset = 1


def change_child_slots(made: Any) -> None:
    change_slots(made)
    made.own["k"].append(2)
    made.hide_own("changed")
    del made.items


def change_plain(made: Any) -> None:
    made.items.append("b")
    made.new = 1
    made._Plain__private.clear()
    del made.number
    made.number = 1  # now it is the last


def change_tags(made: Any) -> None:
    list.append(made, [3])
    made.note.append(1)
    made.extra = 1


def tags(cls: Any, *args: Any) -> Any:
    made = cls(*args)
    made.note = [0]
    return made


def look_at_tags(base: Any) -> Callable[[Any], Any]:
    return lambda made: ([*base.__iter__(made)], made.note[:], sorted(vars(made)))


def change_table(made: Any) -> None:
    dict.__setitem__(made, "b", 2)
    made.note.append(1)
