"""Short texts for values, to be shown in reports of leaks: bounded, deterministic, and safe for a bad ``__repr__``.

Used by `sameness`, `routes` and `leaks`, in a worker, and only when something has changed. Containers of builtin types
are written out by this module, as far as there is room, so that a huge one costs no more than a small one; addresses
are left out, because they differ from run to run. What may go wrong: the ``__repr__`` of a user's class raises, which
is told in place of the text.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final, cast

from .kinds import ABSENT
from .shapes import mro_of, type_dict

#: Characters of a text, at most.
LIMIT: Final = 80
#: What is told of a name, key or item that is not there.
MISSING: Final = "absent"

_DEPTH: Final = 3
_ITEMS: Final = 12
_SORTABLE: Final = 100
_BITS: Final = 512
_PLAIN: Final = frozenset({type(None), bool, float, complex, type(...), type(NotImplemented), range})
_BRACKETS: Final[dict[type, tuple[str, str]]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    dict: ("{", "}"),
    collections.deque: ("deque([", "])"),
    collections.OrderedDict: ("OrderedDict({", "})"),
    collections.defaultdict: ("defaultdict({", "})"),
    collections.Counter: ("Counter({", "})"),
}
_NOTHING: Final[Mapping[int, Any]] = {}


class Said(str):
    """A text that stands for itself."""

    __slots__ = ()


def short(value: object, pristine: Mapping[int, Any] = _NOTHING, limit: int = LIMIT) -> str:
    """Return a short text for a value.

    Args:
        value: Anything; ABSENT is "absent", a `Said` is taken as it is.
        pristine: What containers held when they were captured, by id: written in place of what they hold now.
        limit: Characters, at most.
    """
    if type(value) is Said:
        return cut(str.__str__(value), limit)
    if value is ABSENT:
        return MISSING
    try:
        return cut(_write(value, pristine, _DEPTH, limit), limit)
    except BaseException as error:  # a repr is user code; even a KeyboardInterrupt from it must not end a worker
        name = type.__dict__["__name__"].__get__(type(value))
        return cut(f"<{name} object whose repr() raised {type(error).__name__}>", limit)


def cut(text: str, limit: int = LIMIT) -> str:
    """Shorten a text."""
    return text if len(text) <= limit else text[: max(limit - 3, 0)] + "..."


def _write(value: Any, pristine: Mapping[int, Any], depth: int, room: int) -> str:
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if kind is int:
        return repr(value) if value.bit_length() <= _BITS else f"<an int of {value.bit_length()} bits>"
    if kind in (str, bytes, bytearray):
        piece = value[: room + 1]
        return repr(piece) if len(value) <= room else repr(value[: max(room - 8, 1)]) + "..."
    if kind in _BRACKETS:
        return _write_container(value, pristine, depth, room)
    if issubclass(kind, type):
        return f"<class {_name_of(value)}>"
    if kind in (FunctionType, BuiltinFunctionType):
        return f"<function {value.__module__}.{value.__qualname__}>"
    if issubclass(kind, ModuleType):
        return f"<module {ModuleType.__getattribute__(value, '__name__')}>"
    if _has_default_repr(kind):
        return f"<{_name_of(kind)} object>"
    text = str.__str__(repr(value))  # what came may be of a subclass, which has methods of its own
    return _without_addresses(text[: 4 * LIMIT])


def _write_container(value: Any, pristine: Mapping[int, Any], depth: int, room: int) -> str:
    opening, closing = _BRACKETS[type(value)]
    content = pristine.get(id(value), value)
    size = len(content)
    if not size and type(value) is set:
        return "set()"
    if not depth and size:
        return f"{opening}...{closing}"
    # The container on its way to itself, by way of others, comes to an end with the depth.
    if type(content) in (set, frozenset):
        if size > _SORTABLE:  # they have no order of their own that would be the same in another process
            return f"{opening}...{closing} ({size} items)"
        parts: Iterable[str] = sorted(_write(item, pristine, depth - 1, room // 2) for item in content)
    elif issubclass(type(content), dict):
        pairs = dict.items(cast("dict[Any, Any]", content))
        deeper = (pristine, depth - 1, room // 2)
        parts = (f"{_write(key, *deeper)}: {_write(item, *deeper)}" for key, item in pairs)
    else:
        parts = (_write(item, pristine, depth - 1, room // 2) for item in content)
    found: list[str] = []
    for part in parts:
        full = len(found) == _ITEMS or sum(map(len, found)) + 2 * len(found) + len(part) > room - 24
        if full and size > 1:
            return f"{opening}{', '.join([*found, '...'])}{closing} ({size} items)"
        found.append(part)
    comma = "," if type(value) is tuple and size == 1 else ""
    return opening + ", ".join(found) + comma + closing


def _name_of(cls: type) -> str:
    module = type_dict(cls).get("__module__")
    name: str = type.__dict__["__qualname__"].__get__(cls)
    return f"{module}.{name}" if type(module) is str and module != "builtins" else name


def _has_default_repr(cls: type) -> bool:
    for base in mro_of(cls):
        if "__repr__" in type_dict(base):
            return base is object
    return True


def _without_addresses(text: str) -> str:
    """Leave out what `object.__repr__` and its like say of where an object is."""
    parts = text.split(" at 0x")
    return parts[0] + "".join(part.lstrip("0123456789abcdefABCDEF") for part in parts[1:])
