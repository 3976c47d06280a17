"""How the content of containers and other plain values is put back, in place: one tight loop per kind.

`walk` files what it finds as records, plain tuples in one list per kind; `Snapshot.restore` runs the loops below over
them (`scopes` has those of modules, classes, instances and functions). A record holds the object and a shallow copy of
its content. Since everything reachable that can change has a record of its own, putting back shallow content restores
nested, shared and cyclic structures with all identities.

Rules of the loops:

- Only C-level methods of the builtin base are called (`dict.update`, never ``obj.update``), so no override of a user's
  class runs. Where hashing cannot be avoided, the hash stored with the copy is used.
- A loop takes any iterable of records. When a record raises, the caller runs everything again and passes iterators: a
  loop that is called again with the same iterator goes on with the next record.
- What a loop drops may have a finalizer, and that may change something that was already put back. Therefore all
  loops run a second time (`again`), many of them as a mere check.
"""

from __future__ import annotations

import collections
import functools
import gc
import io
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Final, TypeAlias

Record: TypeAlias = tuple[Any, ...]
Put: TypeAlias = Callable[[Iterable[Record]], None]

#: Stands for "there was nothing here": an unset name, slot or cell.
ABSENT: Final = type("Absent", (), {"__slots__": (), "__repr__": lambda self: "<nothing>"})()
#: How long, in seconds, a lock that another living thread may hold for good reasons is waited for.
LOCK_GRACE: Final = 0.1

_ALL: Final = slice(None)
_lru = functools._lru_cache_wrapper
_set_factory = collections.defaultdict.__dict__["default_factory"].__set__


def put_lists(records: Iterable[Record]) -> None:
    """(list, items)"""
    for obj, saved in records:
        obj[:] = saved


def check_lists(records: Iterable[Record]) -> None:
    """(list, items): like `put_lists`, but much faster for long lists that are as they should be."""
    for obj, saved in records:
        try:
            same = obj == saved
        except BaseException:  # an item that a finalizer left, with an __eq__ of its own
            same = False
        if not same:
            obj[:] = saved


def put_list_likes(records: Iterable[Record]) -> None:
    """(instance of a subclass of list, items)"""
    put = list.__setitem__
    for obj, saved in records:
        put(obj, _ALL, saved)


def put_dicts(records: Iterable[Record]) -> None:
    """(dict or instance of a subclass, copy). Clearing first keeps the order, and lets C copy the whole table."""
    clear, update = dict.clear, dict.update
    for obj, saved in records:
        clear(obj)
        update(obj, saved)


def put_ordered_dicts(records: Iterable[Record]) -> None:
    """(OrderedDict, tuple of (key, value) pairs)"""
    clear, put = collections.OrderedDict.clear, collections.OrderedDict.__setitem__
    for obj, saved in records:
        clear(obj)
        for key, value in saved:
            put(obj, key, value)


def put_default_factories(records: Iterable[Record]) -> None:
    """(defaultdict, default_factory)"""
    for obj, saved in records:
        _set_factory(obj, saved)


def put_sets(records: Iterable[Record]) -> None:
    """(set, copy)"""
    clear, update = set.clear, set.update
    for obj, saved in records:
        clear(obj)
        update(obj, saved)


def put_bytearrays(records: Iterable[Record]) -> None:
    """(bytearray, bytes)"""
    put = bytearray.__setitem__
    for obj, saved in records:
        put(obj, _ALL, saved)


def put_deques(records: Iterable[Record]) -> None:
    """(deque, items)"""
    clear, extend = collections.deque.clear, collections.deque.extend
    for obj, saved in records:
        clear(obj)
        extend(obj, saved)


def put_arrays(records: Iterable[Record]) -> None:
    """(array.array, copy)"""
    put = sys.modules["array"].array.__setitem__
    for obj, saved in records:
        put(obj, _ALL, saved)


def put_string_ios(records: Iterable[Record]) -> None:
    """(StringIO, content, newline, position). Initialising again also reopens one that the task closed."""
    for obj, text, newline, position in records:
        io.StringIO.__init__(obj, "", newline)
        io.StringIO.__setstate__(obj, (text, newline, position, None))  # type: ignore[attr-defined]


def put_bytes_ios(records: Iterable[Record]) -> None:
    """(BytesIO, content, position)"""
    for obj, content, position in records:
        io.BytesIO.__init__(obj, content)
        io.BytesIO.seek(obj, position)


def put_exceptions(records: Iterable[Record]) -> None:
    """(exception, args, traceback, cause, context, suppress_context): raising one that is global hangs things on it."""
    own = BaseException.__dict__
    put_args, put_traceback = own["args"].__set__, own["__traceback__"].__set__
    put_cause, put_context = own["__cause__"].__set__, own["__context__"].__set__
    put_suppress = own["__suppress_context__"].__set__
    for obj, args, traceback, cause, context, suppress in records:
        put_args(obj, args)
        put_traceback(obj, traceback)
        put_cause(obj, cause)
        put_context(obj, context)
        put_suppress(obj, suppress)


def put_lru_empty(records: Iterable[Record]) -> None:
    """(`lru_cache` that was empty, its cache_clear)"""
    for _, clear in records:
        clear()


def put_lru_unbounded(records: Iterable[Record]) -> None:
    """(`lru_cache`, its cache_clear, the cache's dict, copy). Statistics begin at nothing again, before every task."""
    for _, clear, cache, saved in records:
        clear()
        cache.update(saved)


def put_lru_bounded(records: Iterable[Record]) -> None:
    """(`lru_cache`, its cache_clear, what it was filled with: see `filling`)

    The entries are in a list of C's own, so a cache that grew can only be emptied. That is right, for what is missing
    is computed again, but slower than a cache that the initializer filled may promise. From then on it is to be empty.
    """
    for cached, clear, filled in records:
        if _lru.cache_info(cached)[1] != filled[0] or frozenset(map(id, gc.get_referents(cached))) != filled[1]:
            clear()
            filled[:] = filling(cached)


def filling(cached: Any) -> list[Any]:
    """What tells whether a bounded cache holds the same as now: its misses, and the ids of all it holds; and these.

    The count alone would not do: a task may clear the cache, and fill it again by as many calls.
    """
    held = gc.get_referents(cached)
    return [_lru.cache_info(cached)[1], frozenset(map(id, held)), held]


def put_locks(records: Iterable[Record]) -> None:
    """(lock that was free,). One that a task left locked would stop the next task for ever."""
    for (lock,) in records:
        if lock.acquire(False) or _acquire_from_others(lock):
            lock.release()
        else:
            lock._at_fork_reinit()


def put_rlocks(records: Iterable[Record]) -> None:
    """(RLock that was free,)"""
    for (lock,) in records:
        if lock._is_owned():
            lock._release_save()  # however often it was acquired
        if lock.acquire(False) or _acquire_from_others(lock):
            lock.release()
        else:
            lock._at_fork_reinit()


def _acquire_from_others(lock: Any) -> bool:
    """Wait a little for a lock that is held, when another thread lives that may hold it; tell whether we got it."""
    threading = sys.modules.get("threading")
    others = threading is not None and threading.active_count() > 1
    return others and lock.acquire(timeout=LOCK_GRACE)


def put_random_states(records: Iterable[Record]) -> None:
    """(generator, state): only for generators that were named; see `walk`."""
    put = sys.modules["_random"].Random.setstate
    for obj, saved in records:
        put(obj, saved)


def put_environments(records: Iterable[Record]) -> None:
    """(os.environ, copy of what is behind it). Through its own methods: they tell the C library, too."""
    for env, saved in records:
        for key in [key for key in env._data if key not in saved]:
            del env[env.decodekey(key)]
        for key, value in saved.items():
            if env._data.get(key) != value:
                env[env.decodekey(key)] = env.decodevalue(value)


def put_weak(records: Iterable[Record]) -> None:
    """(weak dictionary or set, its class, items held strongly)"""
    for obj, cls, saved in records:
        obj.data.clear()
        obj._pending_removals.clear()
        put = cls.add if cls.__name__ == "WeakSet" else cls.__setitem__
        for item in saved:
            put(obj, *item)


def put_frozen_ndarrays(records: Iterable[Record]) -> None:
    """(numpy array that was read-only, copy)"""
    for obj, saved in records:
        if obj.flags.writeable:
            put_ndarrays(((obj, saved),))
            obj.flags.writeable = False


def put_ndarrays(records: Iterable[Record]) -> None:
    """(numpy array, copy). Shape, type of the items and writability are put back as far as numpy lets them."""
    np: ModuleType = sys.modules["numpy"]
    for obj, saved in records:
        if not obj.flags.writeable:
            obj.flags.writeable = True
        if obj.dtype != saved.dtype:
            obj.dtype = saved.dtype
        if obj.shape != saved.shape:
            np.ndarray.resize(obj, saved.shape, refcheck=False)
        np.ndarray.__setitem__(obj, ..., saved)
