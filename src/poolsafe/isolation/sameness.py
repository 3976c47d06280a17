"""How captured and present content are compared, and what differs: values, sequences, names, members.

Used by `differences`. Values are compared by identity, except for atoms and plain containers that were made anew with
the same content. Nothing of a user's class is called (no ``__eq__``, no ``__hash__``, no attribute), so keys and
members are found again by their value only when that is an atom. What may go wrong: nothing that is known.
"""

from __future__ import annotations

import collections
import sys
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress, count
from operator import is_not
from typing import Any, Final, TypeAlias

from .kinds import ABSENT
from .modules import is_module
from .texts import Said, short

#: (what to append to the path, before, after)
Difference: TypeAlias = tuple[str, object, object]
#: What containers held when they were captured, by id.
Pristine: TypeAlias = Mapping[int, Any]

_DEPTH: Final = 8
_ATOMS: Final = frozenset({int, bool, str, bytes})
#: Names that the interpreter and the standard library add by themselves, in mere use.
_MACHINERY: Final = frozenset({"__builtins__", "__warningregistry__", "__annotations__", "__slotnames__"})


def is_same(old: Any, new: Any, pristine: Pristine, depth: int = _DEPTH) -> bool:
    """Tell whether a value in place of a captured one makes no difference."""
    if old is new:
        return True
    kind = type(old)
    if kind is not type(new) or not depth:
        return False
    if kind in _ATOMS:
        return bool(old == new)
    if kind in (float, complex):
        return repr(old) == repr(new)
    old = pristine.get(id(old), old)
    if kind in (tuple, list):
        return len(old) == len(new) and all(is_same(*pair, pristine, depth - 1) for pair in zip(old, new, strict=True))
    if kind is dict:
        same_keys = len(old) == len(new) and all(token(a) == token(b) for a, b in zip(old, new, strict=True))
        return same_keys and all(
            is_same(*pair, pristine, depth - 1) for pair in zip(old.values(), new.values(), strict=True)
        )
    if kind in (set, frozenset):
        return {token(item) for item in old} == {token(item) for item in new}
    if kind is bytearray:
        return bool(old == new)
    if kind is types.MethodType:  # made anew whenever it is asked for
        return old.__func__ is new.__func__ and old.__self__ is new.__self__
    return False


def token(key: Any) -> object:
    """Return something that is equal for keys which are the same, without asking the keys."""
    kind = type(key)
    if kind in _ATOMS:
        return kind, key
    if kind in (float, complex):
        return kind, repr(key)
    if kind is tuple:
        return kind, tuple(map(token, key))
    return None, id(key)


def of_sequence(saved: Sequence[Any], now: Sequence[Any], pristine: Pristine) -> Iterator[Difference]:
    """Differences of lists and their like: what was replaced, came in between, or went."""
    first, last = _common_ends(((saved, now),), pristine)
    old, new = saved[first : len(saved) - last], now[first : len(now) - last]
    if len(old) == len(new) > 1 and _counted(old) == _counted(new):
        yield "", Said(f"order {short(list(saved), pristine)}"), Said(f"order {short(list(now), pristine)}")
        return
    for at in range(max(len(old), len(new))):
        before = old[at] if at < len(old) else ABSENT
        after = new[at] if at < len(new) else ABSENT
        if not is_same(before, after, pristine):
            yield f"[{first + at}]", before, after


def _common_ends(columns: Iterable[tuple[Sequence[Any], Sequence[Any]]], pristine: Pristine) -> tuple[int, int]:
    """Return how many items two sequences have in common at their beginnings, and at their ends behind that.

    There may be several columns, pairs of sequences of the same lengths: then an item is all that is in one row.
    """
    columns = list(columns)
    first = min(_common_start(old, new, pristine) for old, new in columns)
    tails = [(old[first:][::-1], new[first:][::-1]) for old, new in columns]
    return first, min(_common_start(old, new, pristine) for old, new in tails)


def _common_start(old: Sequence[Any], new: Sequence[Any], pristine: Pristine) -> int:
    for at in compress(count(), map(is_not, old, new)):
        if not is_same(old[at], new[at], pristine):
            return at
    return min(len(old), len(new))


def _counted(items: Iterable[Any]) -> dict[object, int]:
    return collections.Counter(map(token, items))


def of_mapping(
    saved: Iterable[tuple[Any, Any]],
    now: Iterable[tuple[Any, Any]],
    pristine: Pristine,
    *,
    form: Callable[[Any], str],
    ordered: bool = True,
) -> Iterator[Difference]:
    """Differences of what has keys or names: values replaced or gone, new ones, and the order if nothing else."""
    was, is_now = list(saved), list(now)
    keys = [key for key, _ in was], [key for key, _ in is_now]
    values = [value for _, value in was], [value for _, value in is_now]
    first, last = _common_ends((keys, values), pristine)
    old = {token(pair[0]): pair for pair in was[first : len(was) - last]}
    new = {token(pair[0]): pair for pair in is_now[first : len(is_now) - last]}
    found = False
    for sign, (key, before) in old.items():
        after = new[sign][1] if sign in new else ABSENT
        if not is_same(before, after, pristine):
            found = True
            yield form(key), before, after
    for sign, (key, after) in new.items():
        if sign not in old:
            found = True
            yield form(key), ABSENT, after
    if ordered and not found and list(old) != list(new):
        yield "", Said(f"order {short(keys[0])}"), Said(f"order {short(keys[1])}")


def item(key: Any) -> str:
    """Write an item as part of a path."""
    return f"[{short(key, limit=40)}]"


def attribute(name: Any) -> str:
    """Write an attribute as part of a path."""
    return f".{name}" if type(name) is str else item(name)


def of_names(
    saved: Mapping[str, Any], now: dict[str, Any], pristine: Pristine, others: Collection[str] = ()
) -> Iterator[Difference]:
    """Differences of names whose order does not matter, but for those that nobody gave."""
    package = saved.get("__name__")
    after = []
    for name, value in list(dict.items(now)):
        if name not in saved:
            if name in _MACHINERY or name in others:
                continue
            if is_module(value) and sys.modules.get(f"{package}.{name}") is value:
                continue  # importing a submodule binds it in its package
        after.append((name, value))
    return of_mapping(saved.items(), after, pristine, form=attribute, ordered=False)


def of_members(saved: Iterable[Any], now: Iterable[Any], word: str) -> Iterable[Difference]:
    """What has no keys and no order: what came and what went."""
    old, new = {token(one): one for one in saved}, {token(one): one for one in now}
    lost = sorted(short(one) for sign, one in old.items() if sign not in new)
    won = sorted(short(one) for sign, one in new.items() if sign not in old)
    yes, no = word, "without" if word == "with" else f"not {word}"
    yield from (("", Said(f"{yes} {text}"), Said(f"{no} {text}")) for text in lost)
    yield from (("", Said(f"{no} {text}"), Said(f"{yes} {text}")) for text in won)
