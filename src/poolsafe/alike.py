"""Whether two results are the same, for values that have no useful ``==`` of their own, too.

Used by: verification. Both values have come from workers, so both can be pickled, and neither is changed by looking.
NaN is the same as NaN, arrays are compared element by element, and objects that are equal to nothing but themselves
are compared by what pickle would save of them.

What may go wrong: an ``__eq__`` that raises, or gives something else than a truth value (its answer does not count);
structures deeper than the recursion limit (they are compared by their pickles).
"""

from __future__ import annotations

import pickle
import re
from typing import Any, Final

from .errors import PoolsafeError

#: Sets of objects without a useful ``==`` are matched pairwise, up to so many.
_MATCHED: Final = 300
#: Facts of an error of the pool that are another each time, and the words that tell them.
_FLEETING: Final = frozenset({"pid", "item", "traceback_text"})
_ITEM: Final = re.compile(r" ?\bitem \d+")
_ADDRESS: Final = re.compile(r"\bat 0x[0-9A-Fa-f]+")


def same(one: Any, other: Any) -> bool:
    """Tell whether two results are the same."""
    try:
        return _Comparison().alike(one, other)
    except RecursionError:
        return _pickled(one) == _pickled(other) is not None


def same_error(one: BaseException, other: BaseException) -> bool:
    """Tell whether two exceptions are the same: by type and text, without addresses in memory and process ids."""
    if type(one) is not type(other):
        return False
    if isinstance(one, PoolsafeError):
        return _facts(one) == _facts(other)
    return _text(one) == _text(other)


def _facts(error: BaseException) -> dict[str, Any]:
    facts = {name: value for name, value in vars(error).items() if name not in _FLEETING}
    if getattr(error, "pid", None) is not None:
        del facts["fact"]  # says no more than the others, and the process id
    return {name: _ITEM.sub("", value) if isinstance(value, str) else value for name, value in facts.items()}


def _text(error: BaseException) -> str:
    try:
        return _ADDRESS.sub("at ...", str(error))
    except Exception:  # an exception's __str__ is user code
        return ""


def _pickled(value: Any) -> bytes | None:
    try:
        return pickle.dumps(value)
    except Exception:
        return None


class _Comparison:
    """One comparison; knows the pairs that are being compared, for structures that contain themselves."""

    def __init__(self) -> None:
        # The objects are held, so that no id is used twice: what pickle would save is often made for the occasion.
        self._pairs: dict[tuple[int, int], tuple[Any, Any]] = {}

    def alike(self, one: Any, other: Any) -> bool:
        if one is other:
            return True
        kind = type(one)
        if kind is not type(other):
            return _equal(one, other)
        if kind in (float, complex):
            return bool(one == other) or (one != one and other != other)
        if kind in (str, bytes, int, bool):
            return bool(one == other)
        if (id(one), id(other)) in self._pairs:
            return True
        self._pairs[id(one), id(other)] = one, other
        if kind in (list, tuple):
            return len(one) == len(other) and all(map(self.alike, one, other))
        if kind is dict:
            return self._dicts(one, other)
        if kind in (set, frozenset):
            return _equal(one, other) or self._sets(one, other)
        if _is_array(one):
            return self._arrays(one, other)
        return _equal(one, other) or self._parts(one, other)

    def _dicts(self, one: dict[Any, Any], other: dict[Any, Any]) -> bool:
        if len(one) != len(other):
            return False
        if all(key in other for key in one):
            return all(self.alike(value, other[key]) for key, value in one.items())
        return all(map(self.alike, one.items(), other.items()))  # keys without a useful ==: in their order

    def _sets(self, one: Any, other: Any) -> bool:
        if len(one) != len(other) or len(one) > _MATCHED:
            return False
        left = list(other - one)
        for item in one - other:
            # A comparison of its own: a pair that turns out to be different must not be taken for known.
            match = next((i for i, candidate in enumerate(left) if same(item, candidate)), None)
            if match is None:
                return False
            del left[match]
        return True

    def _arrays(self, one: Any, other: Any) -> bool:
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        if one.dtype.hasobject:
            return self.alike(one.tolist(), other.tolist())
        if one.tobytes() == other.tobytes():
            return True
        try:
            return bool(((one == other) | ((one != one) & (other != other))).all())
        except Exception:  # records with fields that cannot be compared
            return False

    def _parts(self, one: Any, other: Any) -> bool:
        try:
            parts, others = one.__reduce_ex__(4), other.__reduce_ex__(4)
        except Exception:  # cannot be taken apart, and is not equal
            return False
        if isinstance(parts, str) or isinstance(others, str):
            return bool(parts == others)
        # The items of lists and dicts come as iterators.
        return self.alike(_listed(parts), _listed(others))


def _listed(parts: Any) -> list[Any]:
    return [list(part) if at in (3, 4) and part is not None else part for at, part in enumerate(parts)]


def _equal(one: Any, other: Any) -> bool:
    try:
        answer = one == other
        return bool(answer) if type(answer).__name__ in ("bool", "bool_") else False
    except Exception:
        return False


def _is_array(value: Any) -> bool:
    return type(value).__module__ == "numpy" and hasattr(type(value), "tobytes") and hasattr(value, "shape")
