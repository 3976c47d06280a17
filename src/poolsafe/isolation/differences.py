"""What exactly differs between one captured object and what it is now: one differ per group of records.

Used by `leaks.Detector` on records that the checks of `compare` doubt. A differ yields (suffix, before, after): what to
append to the object's path, and two values, or `Said` texts. Only shallow content is compared, because whatever can
change has a record of its own; see `sameness` for how.

What may go wrong: an object that refuses to be read (a buffer that was released), as an exception; its record then
counts as changed.
"""

from __future__ import annotations

import collections
import functools
import io
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from .kinds import ABSENT, Record
from .places import read_slot
from .sameness import Difference, Pristine, attribute, is_same, item, of_mapping, of_members, of_names, of_sequence
from .scopes import identity_of, registered_with
from .shapes import type_dict
from .texts import Said
from .walk import _dict_of_function as dict_of_function

Differ: TypeAlias = Callable[[Record, Pristine], Iterable[Difference]]

_SHOWN: Final = 200
_PARTS: Final = ("__defaults__", "__kwdefaults__", "__code__", "__name__", "__qualname__", "__doc__")


def _namespace(record: Record, pristine: Pristine) -> Iterable[Difference]:
    return of_names(record[1], record[0], pristine, record[2] if len(record) > 2 else ())


def _binding(record: Record, pristine: Pristine) -> Iterable[Difference]:
    owner, name, before = record
    is_class = issubclass(type(owner), type)
    after = type_dict(owner).get(name, ABSENT) if is_class else dict.get(owner, name, ABSENT)
    return [] if is_same(before, after, pristine) else [(attribute(name), before, after)]


def _class(record: Record, pristine: Pristine) -> Iterable[Difference]:
    cls, view, saved, others, identity = record
    now = identity_of(cls)
    for name, before, after in zip(("__name__", "__qualname__", "__bases__"), identity, now, strict=True):
        if not is_same(before, after, pristine):
            yield f".{name}", before, after
    yield from of_names(saved, {name: value for name, value in view.items() if name not in others}, pristine)


def _registration(record: Record, pristine: Pristine) -> Iterable[Difference]:
    cls, saved = record
    return of_members(saved, registered_with(cls), "registered")


def _attributes(record: Record, pristine: Pristine) -> Iterable[Difference]:
    return of_mapping(record[1].items(), list(dict.items(record[0])), pristine, form=attribute)


def _attached(record: Record, pristine: Pristine) -> Iterable[Difference]:
    obj, cls, space, get, _ = record
    if type(obj) is not cls:
        yield ".__class__", cls, type(obj)
        return  # nothing that belongs to the one class can be read from the other
    now = space if get is None else get(obj)
    if now is not space and (now or space is not None):
        before = [] if space is None else pristine.get(id(space), space).items()
        yield from of_mapping(before, list(dict.items(now or {})), pristine, form=attribute)


def _fields(record: Record, pristine: Pristine) -> Iterable[Difference]:
    space, saved = record
    return of_mapping(saved.items(), [(n, dict.get(space, n, ABSENT)) for n in saved], pristine, form=attribute)


def _slots(record: Record, pristine: Pristine) -> Iterable[Difference]:
    obj, setters, values = record
    return _slot_values(obj, [setter.__self__ for setter in setters], values, pristine)


def _gapped_slots(record: Record, pristine: Pristine) -> Iterable[Difference]:
    obj, slots, values = record
    return _slot_values(obj, slots, values, pristine)


def _slot_values(obj: Any, slots: Sequence[Any], values: Sequence[Any], pristine: Pristine) -> Iterable[Difference]:
    for slot, before in zip(slots, values, strict=True):
        if not issubclass(type(obj), slot.__objclass__):
            return  # of another class now, which is told of the object itself
        after = read_slot(slot, obj)
        if not is_same(before, after, pristine):
            yield f".{slot.__name__}", before, after


def _function(record: Record, pristine: Pristine) -> Iterable[Difference]:
    function, *parts, space, names = record
    for name, before in zip(_PARTS, (*parts, *names), strict=True):
        after = getattr(function, name)
        if not is_same(before, after, pristine):
            yield f".{name}", before, after
    now = dict_of_function(function)
    if now is not space:
        saved = {} if space is None else pristine.get(id(space), space)
        yield from of_mapping(saved.items(), list(dict.items(now or {})), pristine, form=attribute)


def _cell(record: Record, pristine: Pristine) -> Iterable[Difference]:
    before = record[1] if len(record) > 1 else ABSENT
    try:
        after = record[0].cell_contents
    except ValueError:
        after = ABSENT
    return [] if is_same(before, after, pristine) else [("", before, after)]


def _lru(record: Record, pristine: Pristine) -> Iterable[Difference]:
    """An `lru_cache`: its statistics alone make no difference."""
    _, _, _, now = _lru_info(record[0])
    if len(record) == 2:  # was empty
        return [("", _entries(0), _entries(now))] if now else []
    if len(record) == 3:  # bounded: what it held is not known
        misses = _lru_info(record[0])[1]
        return [("", _calls(record[2][0]), _calls(misses))] if misses != record[2][0] else []
    cache, saved = record[2:]
    if list(map(id, cache.values())) == list(map(id, saved.values())):
        return []
    return [("", _entries(len(saved)), _entries(len(cache)))]


def _lru_info(cached: Any) -> tuple[int, int, int | None, int]:
    return _cache_info(cached)  # type: ignore[no-any-return]


_cache_info: Any = functools._lru_cache_wrapper.cache_info


def _entries(count: int) -> Said:
    return Said("a cache of 1 entry" if count == 1 else f"a cache of {count} entries")


def _calls(count: int) -> Said:
    return Said(f"a cache filled by {count} call{'s' * (count != 1)}")


def _default_factory(record: Record, pristine: Pristine) -> Iterable[Difference]:
    after = collections.defaultdict.__dict__["default_factory"].__get__(record[0])
    return [] if after is record[1] else [(".default_factory", record[1], after)]


def _list(record: Record, pristine: Pristine) -> Iterable[Difference]:
    return of_sequence(record[1], list.copy(record[0]), pristine)


def _deque(record: Record, pristine: Pristine) -> Iterable[Difference]:
    return of_sequence(record[1], tuple(collections.deque.__iter__(record[0])), pristine)


def _dict(record: Record, pristine: Pristine) -> Iterable[Difference]:
    return of_mapping(record[1].items(), list(dict.items(record[0])), pristine, form=item)


def _ordered_dict(record: Record, pristine: Pristine) -> Iterable[Difference]:
    return of_mapping(record[1], list(collections.OrderedDict.items(record[0])), pristine, form=item)


def _set(record: Record, pristine: Pristine) -> Iterable[Difference]:
    return of_members(record[1], list(set.__iter__(record[0])), "with")


def _weak(record: Record, pristine: Pristine) -> Iterable[Difference]:
    obj, cls, saved = record
    if cls.__name__ == "WeakSet":
        return of_members([one for (one,) in saved], list(cls.__iter__(obj)), "with")
    return of_mapping(saved, list(cls.items(obj)), pristine, form=item, ordered=False)


def _exception(record: Record, pristine: Pristine) -> Iterable[Difference]:
    own = BaseException.__dict__
    names = ("args", "__traceback__", "__cause__", "__context__", "__suppress_context__")
    for name, before in zip(names, record[1:], strict=True):
        after = own[name].__get__(record[0])
        if not is_same(before, after, pristine):
            yield f".{name}", before, after


def _bytearray(record: Record, pristine: Pristine) -> Iterable[Difference]:
    same = bytearray.__eq__(record[0], record[1])
    return [] if same is True else [("", record[1][:_SHOWN], bytearray.__getitem__(record[0], slice(_SHOWN)))]


def _array(record: Record, pristine: Pristine) -> Iterable[Difference]:
    obj, saved = record
    own = sys.modules["array"].array
    if own.tobytes(obj) == own.tobytes(saved):
        return []
    return of_sequence(own.tolist(saved), own.tolist(obj), pristine)


def _string_io(record: Record, pristine: Pristine) -> Iterable[Difference]:
    obj, text, _, position = record
    try:
        now, _, at, _ = io.StringIO.__getstate__(obj)  # type: ignore[attr-defined]
    except ValueError:
        return [("", text, Said("closed"))]
    return _stream(text, now, position, at)


def _bytes_io(record: Record, pristine: Pristine) -> Iterable[Difference]:
    obj, content, position = record
    try:
        now, at = io.BytesIO.getvalue(obj), io.BytesIO.tell(obj)
    except ValueError:
        return [("", content, Said("closed"))]
    return _stream(content, now, position, at)


def _stream(before: Any, after: Any, position: int, at: int) -> Iterable[Difference]:
    if before != after:
        yield "", before[:_SHOWN], after[:_SHOWN]
    elif position != at:
        yield ".tell()", position, at


def _iterator(record: Record, pristine: Pristine) -> Iterable[Difference]:
    _, make, places = record
    _, _, saved, name, bound = places[0]
    now = saved[name].__self__ if bound else saved[name]
    before, after = _place_of(make()), _place_of(now)
    return [] if before == after else [(attribute(name), before, after)]


def _place_of(iterator: Any) -> Said:
    if type(iterator).__name__ == "count":
        return Said(repr(iterator))
    over = iterator.__reduce__()
    return Said(f"{type(iterator).__name__} at {over[2]}" if len(over) > 2 else f"{type(iterator).__name__} at its end")


def owner_of(group: str, record: Record) -> Any:
    """Return the object whose path leads to what a record is about."""
    if group == "iterator":  # an iterator is made anew each time; its first name is what stays
        cls, space, *_ = record[2][0]
        return space if cls is None else cls
    return record[0]


def _lock(record: Record, pristine: Pristine) -> Iterable[Difference]:
    if record[0].locked():
        yield "", Said("unlocked"), Said("locked")


def _rlock(record: Record, pristine: Pristine) -> Iterable[Difference]:
    lock = record[0]
    if lock._is_owned() or not lock.acquire(False):
        yield "", Said("unlocked"), Said("locked")
    else:
        lock.release()


def _random(record: Record, pristine: Pristine) -> Iterable[Difference]:
    if sys.modules["_random"].Random.getstate(record[0]) != record[1]:
        yield "", Said("the state as captured"), Said("another state")


def _environ(record: Record, pristine: Pristine) -> Iterable[Difference]:
    env, saved = record
    decode, value_of = env.decodekey, env.decodevalue
    old = [(decode(key), value_of(value)) for key, value in saved.items()]
    new = [(decode(key), value_of(value)) for key, value in env._data.items()]
    return of_mapping(old, new, pristine, form=item, ordered=False)


def _ndarray(record: Record, pristine: Pristine) -> Iterable[Difference]:
    np: Any = sys.modules["numpy"]
    obj, saved = np.ndarray.view(record[0], np.ndarray), record[1]
    for name in ("dtype", "shape"):
        before, after = getattr(saved, name), getattr(obj, name)
        if before != after:
            yield f".{name}", Said(before), Said(after)
            return
    if not record[0].flags.writeable:
        yield ".flags.writeable", True, False
    if _same_items(np, obj, saved):
        return
    other = np.atleast_1d(obj != saved) if saved.dtype.kind not in "OV" else np.ones(saved.shape, bool)
    for place in zip(*map(np.ndarray.tolist, np.nonzero(other)), strict=True):
        before, after = saved.item(*place), obj.item(*place)
        if not is_same(before, after, pristine):
            yield f"[{', '.join(map(str, place))}]", before, after


def _frozen_ndarray(record: Record, pristine: Pristine) -> Iterable[Difference]:
    if record[0].flags.writeable:
        yield ".flags.writeable", False, True
        yield from _ndarray(record, pristine)


def _same_items(np: Any, obj: Any, saved: Any) -> bool:
    """Compare the bytes of two arrays alike; those of objects are their identities."""
    if obj.dtype.hasobject or not (obj.flags.c_contiguous and saved.flags.c_contiguous and obj.ndim):
        return bool(obj.tobytes() == saved.tobytes())
    return bool(np.array_equal(obj.view(np.uint8), saved.view(np.uint8)))


#: Groups of which nothing is compared: a factory makes the value anew, whatever a task did with it.
MADE_ANEW: Final = frozenset({"made_binding", "made_class_binding"})
DIFFERS: Final[dict[str, Differ]] = {
    "namespace": _namespace,
    "partial_namespace": _namespace,
    "binding": _binding,
    "class_binding": _binding,
    "class": _class,
    "registration": _registration,
    "attributes": _attributes,
    "quiet": _attributes,
    "attached": _attached,
    "fields": _fields,
    "slots": _slots,
    "gapped_slots": _gapped_slots,
    "function": _function,
    "cell": _cell,
    "empty_cell": _cell,
    "lru_empty": _lru,
    "lru_unbounded": _lru,
    "lru_bounded": _lru,
    "default_factory": _default_factory,
    "list": _list,
    "list_like": _list,
    "dict": _dict,
    "ordered_dict": _ordered_dict,
    "set": _set,
    "deque": _deque,
    "weak": _weak,
    "exception": _exception,
    "bytearray": _bytearray,
    "array": _array,
    "ndarray": _ndarray,
    "ndarray_of_objects": _ndarray,
    "frozen_ndarray": _frozen_ndarray,
    "iterator": _iterator,
    "string_io": _string_io,
    "bytes_io": _bytes_io,
    "lock": _lock,
    "rlock": _rlock,
    "random": _random,
    "environ": _environ,
}
