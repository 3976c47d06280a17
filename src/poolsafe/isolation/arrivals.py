"""Modules that are first imported while a task runs: pristine is the moment their import ended.

`Snapshot.watch_imports` puts an `ImportWatch` into `sys.meta_path` of a worker, which tells when the first of the
project's modules begins to be imported and when the last one that it imports in turn is done. Everything is captured at
both moments; `absorb` makes what changed in between part of the pristine state, and leaves out what the task itself had
changed by then. So a module that a task imports keeps what its import did (also to others: a plugin that registers
itself), and nothing of what the task does to it later.

What may go wrong: a module comes in past the import system, or by a finder that was put before the watch; then the
snapshot captures it before the next task, as the first task left it. An error while capturing is told to the snapshot,
never to the import.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import BuiltinFunctionType, MappingProxyType, ModuleType
from typing import Any, Final, TypeAlias

from .kinds import ABSENT, Record
from .modules import is_project_module, loaded_modules

#: Captured records by group, as a walk finds them.
Records: TypeAlias = Mapping[str, list[Record]]

#: Groups for objects of which a name or a part is put back: the part belongs to the record's key.
_NAMED: Final = frozenset({"binding", "class_binding", "made_binding", "made_class_binding"})
#: Groups that stand for the same thing in different states, such as a closure cell that was empty.
_FAMILY: Final = {
    "gapped_slots": "slots",
    "empty_cell": "cell",
    "partial_namespace": "namespace",
    "lru_empty": "lru",
    "lru_bounded": "lru",
    "lru_unbounded": "lru",
}


def bind_submodules(known: Mapping[str, ModuleType]) -> None:
    """Bind new modules in their packages, as importing does, but only after the module was executed.

    Names that are not there when a package is captured would be taken away before the next task, and never come back.
    """
    for name, module in loaded_modules().items():
        package, _, child = name.rpartition(".")
        imported = getattr(vars(module).get("__spec__"), "name", None) == name
        if imported and child and known.get(name) is not module and is_project_module(sys.modules.get(package)):
            setattr(sys.modules[package], child, module)


def absorb(pristine: dict[str, list[Record]], before: Records, after: Records) -> None:
    """Make what changed from `before` to `after` part of `pristine`, except where `before` differed from it already."""
    places = {key: (group, at) for group, found in pristine.items() for at, key in _keys(group, found)}
    was = {key: before[group][at] for group in before for at, key in _keys(group, before[group])}
    gone: list[tuple[str, int]] = []
    for group, found in after.items():
        for at, key in _keys(group, found):
            old, new = was.get(key), found[at]
            if key not in places:
                if old is None:
                    pristine.setdefault(group, []).append(new)
                continue
            home, place = places[key]
            first = pristine[home][place]
            if old is None or _same(old, new):
                continue
            if home == group and len(first) == len(old):
                pristine[group][place] = _merged(group, first, old, new)
            elif _same(first, old):
                gone.append((home, place))
                pristine.setdefault(group, []).append(new)
    for home, place in sorted(gone, reverse=True):
        del pristine[home][place]


def _merged(group: str, first: Record, old: Record, new: Record) -> Record:
    """Return the pristine record with the changes from `old` to `new`, part by part."""
    record = tuple(_merged_part(*parts) for parts in zip(first, old, new, strict=True))
    # The names of attributes are kept beside them, in their order.
    return (*record[:2], tuple(record[1])) if group in ("attributes", "quiet") else record


def _merged_part(first: Any, old: Any, new: Any) -> Any:
    if _same(old, new, 2):
        return first
    if _same(first, old, 2):
        return new
    kinds = {type(first), type(old), type(new)}
    if kinds == {dict}:
        changed = {name: value for name, value in new.items() if old.get(name, ABSENT) is not value}
        lost = old.keys() - new.keys()
        takes = {name for name in {*changed, *lost} if first.get(name, ABSENT) is old.get(name, ABSENT)}
        kept = {name: value for name, value in first.items() if name not in takes or name in changed}
        return {**kept, **{name: changed[name] for name in changed if name in takes}}
    return (first | (new - old)) - (old - new) if kinds == {set} else first


def _keys(group: str, found: list[Record]) -> list[tuple[int, tuple[Any, ...]]]:
    """Return the positions of records, each with what the record is about."""
    family = _FAMILY.get(group, group)
    if group in _NAMED:
        return [(at, (family, id(record[0]), record[1])) for at, record in enumerate(found)]
    return [(at, (family, id(record[0]))) for at, record in enumerate(found)]


def _same(one: Any, other: Any, depth: int = 3) -> bool:
    """Tell whether two records hold the very same things: a record has parts, a part may be a copy, a copy has items.

    No ``__eq__`` of a user's is called, and nothing below the items is looked at.
    """
    if one is other or not depth:
        return one is other
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is tuple or (kind is list and depth > 1):
        return len(one) == len(other) and all(_same(*pair, depth - 1) for pair in zip(one, other, strict=True))
    if kind is dict and depth > 1:
        return len(one) == len(other) and _same(tuple(one.items()), tuple(other.items()), depth)
    if kind in (set, frozenset) and depth > 1:
        return {id(item) for item in one} == {id(item) for item in other}
    if kind in (str, bytes, bytearray, int, float, complex, bool, BuiltinFunctionType):
        return bool(one == other)
    # A view of a class has no identity of its own; whatever else was copied (arrays) has a buffer.
    return kind is MappingProxyType or (hasattr(one, "tobytes") and bool(one.tobytes() == other.tobytes()))
