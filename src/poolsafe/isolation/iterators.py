"""Iterators that are made anew before each task, because they cannot be wound back: `itertools.count` and its like.

Used by: walk (finds those that a module, a class or an instance has under a name), snapshot (puts them back). All
names of one iterator get the same new one. What may go wrong: an iterator that is held otherwise (in a closure, in a
list, by a generator) goes on from where the last task left it, and so does a generator: nobody can copy one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from .kinds import Record
from .scopes import bind_in_class

_COUNT: Final = re.compile(r"count\((-?\d+)(?:, (-?\d+))?\)")
#: Iterators over sequences: their place in it can be read, and a new one be put there.
_OVER_SEQUENCES: Final = tuple(
    type(maker) for maker in (iter([]), iter(()), iter(""), iter(b""), iter(bytearray()), iter(range(0)), reversed([]))
)
_METHOD: Final = type(itertools.count().__next__)


def maker_of(value: Any) -> tuple[Any, Callable[[], Any]] | None:
    """Return the iterator that is or is behind a value, and what makes such a value anew; None for all other values."""
    kind = type(value)
    if kind is itertools.count:
        found = _COUNT.fullmatch(repr(value))
        if found is None:  # it counts in something else than ints
            return None
        return value, partial(itertools.count, int(found[1]), int(found[2] or 1))
    if kind is _METHOD and value.__name__ == "__next__" and type(value.__self__) is itertools.count:
        behind = maker_of(value.__self__)
        return None if behind is None else (value.__self__, behind[1])
    if kind in _OVER_SEQUENCES:
        make, arguments, *place = value.__reduce__()
        return value, partial(_wound, make, arguments, place)
    return None


def _wound(make: Callable[..., Any], arguments: Any, place: list[Any]) -> Any:
    made = make(*arguments)
    if place and place[0] is not None:  # the place of a range's iterator is in its arguments
        made.__setstate__(place[0])
    return made


class Iterators:
    """Those that one walk has found, each with all of its names."""

    def __init__(self, records: list[Record]) -> None:
        #: (iterator, maker, [(class or None, dictionary, copy of it, name, whether it is the bound __next__)])
        self._records = records
        self._found: dict[int, list[Any]] = {}

    def note(self, saved: dict[str, Any], space: Any, cls: type | None = None) -> None:
        """Look for iterators among the names of a module, an instance or (`cls`) a class."""
        for name, value in saved.items():
            known = maker_of(value) if type(value) in _LIKELY else None
            if known is None:
                continue
            iterator, maker = known
            if id(iterator) not in self._found:
                self._found[id(iterator)] = []
                self._records.append((iterator, maker, self._found[id(iterator)]))
            self._found[id(iterator)].append((cls, space, saved, name, value is not iterator))


_LIKELY: Final = frozenset({itertools.count, _METHOD, *_OVER_SEQUENCES})


def put_iterators(records: Iterable[Record]) -> None:
    """(iterator, maker, places). The copies of the names learn of the new one, which is pristine from now on."""
    for _, maker, places in records:
        fresh = maker()
        for cls, space, saved, name, bound in places:
            saved[name] = value = fresh.__next__ if bound else fresh
            if cls is None:
                space[name] = value
            else:
                bind_in_class(cls, name, value)
