"""Tells quickly whether anything differs from a capture: one check per group of records, nearly all of it in C.

Used by `leaks.Detector` after every task. A check answers "nothing differs here" or "look closer"; it may cry wolf, and
then learns, but it never overlooks a change.

Values are compared by identity. No method of a user's class is called, with two exceptions where comparing item by item
would cost many times what putting back costs: long containers, and the parts of functions. There ``==`` is used when
what was captured compares in C; so only an object that a task itself puts into such a place may be asked whether it is
equal. What may go wrong: that one raises, which counts as a difference.
"""

from __future__ import annotations

import _abc  # type: ignore[import-not-found]
import gc
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain
from operator import is_
from types import WrapperDescriptorType
from typing import Any, Final

from .kinds import Record
from .shapes import mro_of, type_dict
from .walk import _dict_of_function as dict_of_function

#: Containers that are longer are compared by ``==`` where that runs no code of a user's.
_LONG: Final = 64
_CONTAINERS: Final = (list, tuple, dict, set, frozenset)
_name_of, _bases_of = type.__dict__["__name__"].__get__, type.__dict__["__bases__"].__get__
_flat = chain.from_iterable


class Check:
    """Whether the things of some records are as they were captured.

    Args:
        group: The group of the records.
        records: The records.

    Attributes:
        group: As given.
        records: As given.
    """

    def __init__(self, group: str, records: list[Record]) -> None:
        self.group = group
        self.records = records

    def same(self) -> bool:
        """Tell whether nothing differs; False may be wrong."""
        return False

    def learn(self) -> None:
        """Take the present state for the captured one: somebody looked closer, and found no difference."""


class _Held(Check):
    """Objects of which `gc.get_referents` tells, in one call, all that they hold.

    It does not tell where one object ends: this is for objects of which every one holds as much as before, or less.
    """

    def __init__(self, group: str, records: list[Record]) -> None:
        super().__init__(group, records)
        self._objects = [record[0] for record in records]
        self._held: list[Any] | None = None

    def same(self) -> bool:
        held = gc.get_referents(*self._objects)
        expected = self._held
        return expected is not None and len(held) == len(expected) and all(map(is_, held, expected))

    def learn(self) -> None:
        self._held = gc.get_referents(*self._objects)


class _Names(Check):
    """Dictionaries of names, of the builtin type. (Not by `gc`: those of instances may keep their values elsewhere.)"""

    def __init__(self, group: str, records: list[Record], objects: list[dict[str, Any]]) -> None:
        super().__init__(group, records)
        self._objects = objects
        self._names: list[tuple[str, ...]] = []
        self._values: list[Any] = []

    def same(self) -> bool:
        objects = self._objects
        return list(map(tuple, objects)) == self._names and all(
            map(is_, _flat(map(dict.values, objects)), self._values)
        )

    def learn(self) -> None:
        self._names = list(map(tuple, self._objects))
        self._values = list(_flat(map(dict.values, self._objects)))


class _Classes(_Names):
    """Classes: see `scopes.ClassWatch`."""

    def __init__(self, group: str, records: list[Record]) -> None:
        super().__init__(group, records, [gc.get_referents(record[1])[0] for record in records])
        self._classes = [record[0] for record in records]
        self._called = [record[4][0] for record in records]
        self._bases: list[Any] = []

    def same(self) -> bool:
        return (
            super().same()
            and list(map(_name_of, self._classes)) == self._called
            and list(map(id, map(_bases_of, self._classes))) == self._bases
        )

    def learn(self) -> None:
        super().learn()
        self._bases = list(map(id, map(_bases_of, self._classes)))


class _Sets(Check):
    """Sets, by the order of their tables: that is the same whenever the same content was put back."""

    def __init__(self, group: str, records: list[Record]) -> None:
        super().__init__(group, records)
        self._sizes: list[int] | None = None
        self._long = [record[0] for record in records if _compares_in_c(record[1])]
        self._short = [record[0] for record in records if not _compares_in_c(record[1])]
        self._items: list[Any] = []
        self._long_items: list[list[Any]] = []

    def same(self) -> bool:
        return (
            list(map(len, self._short)) == self._sizes
            and all(map(is_, _flat(self._short), self._items))
            and all(list(obj) == items for obj, items in zip(self._long, self._long_items, strict=True))
        )

    def learn(self) -> None:
        self._sizes = list(map(len, self._short))
        self._items = list(_flat(self._short))
        self._long_items = list(map(list, self._long))


class _Lists(Check):
    """Lists of the builtin type: the copies are at hand, in their order."""

    def __init__(self, group: str, records: list[Record]) -> None:
        super().__init__(group, records)
        self._long = [record for record in records if _compares_in_c(record[1])]
        short = [record for record in records if not _compares_in_c(record[1])]
        self._objects = [record[0] for record in short]
        self._copies = [record[1] for record in short]
        self._sizes = list(map(len, self._copies))

    def same(self) -> bool:
        return (
            list(map(len, self._objects)) == self._sizes
            and all(map(is_, _flat(self._objects), _flat(self._copies)))
            and all(obj == saved for obj, saved in self._long)
        )


class _Dicts(Check):
    """Dictionaries of the builtin type, with the order of their keys."""

    def __init__(self, group: str, records: list[Record]) -> None:
        super().__init__(group, records)
        long = [record for record in records if _compares_in_c(record[1]) and _compares_in_c(record[1].values())]
        self._long = [(obj, list(saved), list(saved.values())) for obj, saved in long]
        known = {id(record[0]) for record in long}
        self._objects = [record[0] for record in records if id(record[0]) not in known]
        self._copies = [record[1] for record in records if id(record[0]) not in known]
        self._sizes = list(map(len, self._copies))

    def same(self) -> bool:
        objects, copies = self._objects, self._copies
        return (
            list(map(len, objects)) == self._sizes
            and all(map(is_, _flat(map(dict.values, objects)), _flat(map(dict.values, copies))))
            and all(map(is_, _flat(objects), _flat(copies)))
            and all(list(obj) == keys and list(obj.values()) == values for obj, keys, values in self._long)
        )


class _Functions(Check):
    """Functions: see `scopes.FunctionWatch`."""

    def __init__(self, group: str, records: list[Record]) -> None:
        super().__init__(group, records)
        self._functions = [record[0] for record in records]
        self._bare = [record[0] for record in records if record[4] is None]
        self._defaults = [(record[0], record[1]) for record in records if record[1]]
        self._keywords = [(record[0], record[2]) for record in records if record[2]]
        self._parts: list[Any] | None = None
        self._spaces: list[dict[str, Any]] = []

    def same(self) -> bool:
        if gc.get_referents(*self._functions) != self._parts or any(self._spaces):
            return False
        for function, defaults in self._defaults:
            if function.__defaults__ is not defaults:
                return False
        return all(function.__kwdefaults__ is keywords for function, keywords in self._keywords)

    def learn(self) -> None:
        # Dictionaries that came into being since: what is put in there later changes no reference.
        spaces = map(dict_of_function, self._bare)
        self._spaces = [space for space in spaces if space is not None]
        self._parts = gc.get_referents(*self._functions)


class _Registrations(Check):
    """Classes registered with abstract classes. A counter in C tells when one was."""

    _count: object = None

    def same(self) -> bool:
        return bool(_abc.get_cache_token() == self._count)

    def learn(self) -> None:
        self._count = _abc.get_cache_token()


class _EachByItself(Check):
    """Records of rarer kinds."""

    def __init__(self, group: str, records: list[Record], same: Callable[[Record], bool]) -> None:
        super().__init__(group, records)
        self._same = same

    def same(self) -> bool:
        return all(map(self._same, self.records))


class _Attached(Check):
    """Instances: of which class each is, and which dictionary it has."""

    def same(self) -> bool:
        for obj, cls, space, get, _ in self.records:
            if type(obj) is not cls or (get is not None and get(obj) is not space):
                return False
        return True


def _compares_in_c(items: Collection[Any]) -> bool:
    """Tell whether there are many items, and comparing them to others runs no Python code of their classes."""
    return len(items) > _LONG and _are_simple(items)


def _are_simple(items: Iterable[Any], depth: int = 3) -> bool:
    kinds = set(map(type, items))
    if tuple in kinds:
        kinds.remove(tuple)
        if not depth or not all(_are_simple(one, depth - 1) for one in items if type(one) is tuple):
            return False
    return not any(issubclass(kind, _CONTAINERS) or not _has_c_equality(kind) for kind in kinds)


def _has_c_equality(cls: type) -> bool:
    for base in mro_of(cls):
        found = type_dict(base).get("__eq__")
        if found is not None:
            return type(found) is WrapperDescriptorType
    return False


def checks_of(records: Mapping[str, list[Record]], each: Mapping[str, Callable[[Record], bool]]) -> list[Check]:
    """Lay out the checks for captured records.

    Args:
        records: By group.
        each: How to tell of one record whether it is the same, for groups that no check here knows.
    """
    found: list[Check] = []
    for group, listed in records.items():
        if listed:
            found += _checks_of_group(group, listed, each)
    return found


def _checks_of_group(
    group: str, records: list[Record], each: Mapping[str, Callable[[Record], bool]]
) -> Iterable[Check]:
    if group in ("namespace", "partial_namespace", "attributes", "quiet"):
        exact = [record for record in records if type(record[0]) is dict]
        others = [record for record in records if type(record[0]) is not dict]
        names = _Names(group, exact, [record[0] for record in exact])
        return [names] * bool(exact) + _one_by_one(group, others, each)
    if group == "class":
        return [_Classes(group, records)]
    if group == "cell":
        return [_Held(group, records)]
    if group == "slots":  # together with a dictionary, what is held does not tell a slot from an attribute
        bare = [record for record in records if not type.__dict__["__dictoffset__"].__get__(type(record[0]))]
        others = [record for record in records if type.__dict__["__dictoffset__"].__get__(type(record[0]))]
        return [_Held(group, bare)] * bool(bare) + _one_by_one(group, others, each)
    if group in _OF_EXACT_TYPE:
        kind, make = _OF_EXACT_TYPE[group]
        exact = [record for record in records if type(record[0]) is kind]
        others = [record for record in records if type(record[0]) is not kind]
        return [make(group, exact)] * bool(exact) + _one_by_one(group, others, each)
    if group in _WHOLE:
        return [_WHOLE[group](group, records)]
    return _one_by_one(group, records, each)


def is_as_saved(group: str, record: Record) -> bool:
    """Tell of one record with names whether they hold the very same in the same order; False may be wrong."""
    return group in ("namespace", "attributes", "quiet") and _same_dict(record)


def _one_by_one(group: str, records: list[Record], each: Mapping[str, Callable[[Record], bool]]) -> list[Check]:
    if not records or group not in each:
        return []
    return [_EachByItself(group, records, _QUICK.get(group, each[group]))]


def _same_dict(record: Record) -> bool:
    values, keys = dict.values(record[0]), dict.keys(record[0])
    saved: dict[Any, Any] = record[1]
    return len(keys) == len(saved) and all(map(is_, values, saved.values())) and all(map(is_, keys, saved))


def _same_deque(record: Record) -> bool:
    obj, saved = record
    return deque.__len__(obj) == len(saved) and all(map(is_, deque.__iter__(obj), saved))


_factory_of: Any = defaultdict.__dict__["default_factory"].__get__
_QUICK: Final[dict[str, Callable[[Record], bool]]] = {
    "dict": _same_dict,
    "deque": _same_deque,
    "default_factory": lambda record: _factory_of(record[0]) is record[1],
}


_WHOLE: Final[dict[str, Callable[[str, list[Record]], Check]]] = {
    "function": _Functions,
    "registration": _Registrations,
    "attached": _Attached,
}
_OF_EXACT_TYPE: Final[dict[str, tuple[type, Callable[[str, list[Record]], Check]]]] = {
    "list": (list, _Lists),
    "dict": (dict, _Dicts),
    "set": (set, _Sets),
}
