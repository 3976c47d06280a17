"""What is saved of a container or another plain value, and what is found inside.

Called by `walk`, once for each object of a kind in `SAVERS`. A saver files the records that `kinds` knows how to put
back, and returns what is inside: a dict (the walk follows keys and values) or a sequence. Like the loops in `kinds` it
uses C-level methods of the builtin base only.
"""

from __future__ import annotations

import collections
import functools
import gc
import io
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from .kinds import Record

Records: TypeAlias = dict[str, list[Record]]
Inside: TypeAlias = "Mapping[Any, Any] | Sequence[Any]"
#: (where to file, the object, whether it is of the builtin type itself and not of a subclass) -> what is inside
Saver: TypeAlias = Callable[[Records, Any, bool], Inside]

_ALL: Final = slice(None)
_FACTORY: Final = type("Label", (), {"__repr__": lambda self: "default_factory"})()


def _save_list(records: Records, obj: Any, exact: bool) -> Inside:
    saved = list.copy(obj)
    records["list" if exact else "list_like"].append((obj, saved))
    return saved


def _save_dict(records: Records, obj: Any, exact: bool) -> Inside:
    saved: dict[Any, Any] = dict.copy(obj)
    if "__builtins__" in saved:  # globals of code that was run by exec(): names are looked up in there at any moment
        records["namespace"].append((obj, saved))
        return {name: value for name, value in saved.items() if name != "__builtins__"}
    records["dict"].append((obj, saved))
    return saved


def _save_defaultdict(records: Records, obj: Any, exact: bool) -> Inside:
    factory = collections.defaultdict.__dict__["default_factory"].__get__(obj)
    records["default_factory"].append((obj, factory))
    _save_dict(records, obj, exact)
    return {**dict.copy(obj), _FACTORY: factory}


def _save_ordered_dict(records: Records, obj: Any, exact: bool) -> Inside:
    saved = tuple(collections.OrderedDict.items(obj))
    records["ordered_dict"].append((obj, saved))
    return dict.copy(obj)


def _save_set(records: Records, obj: Any, exact: bool) -> Inside:
    saved: set[Any] = set()
    saved.update(obj)  # not copy(): it would make an instance of the subclass, with whatever finalizer that has
    records["set"].append((obj, saved))
    return tuple(saved)


def _inside_tuple(records: Records, obj: Any, exact: bool) -> Inside:
    return obj if exact else tuple.__getitem__(obj, _ALL)


def _inside_frozenset(records: Records, obj: Any, exact: bool) -> Inside:
    return tuple(frozenset.__iter__(obj))


def _save_bytearray(records: Records, obj: Any, exact: bool) -> Inside:
    records["bytearray"].append((obj, bytearray.__getitem__(obj, _ALL)))
    return ()


def _save_deque(records: Records, obj: Any, exact: bool) -> Inside:
    saved = tuple(collections.deque.__iter__(obj))
    records["deque"].append((obj, saved))
    return saved


def _save_array(records: Records, obj: Any, exact: bool) -> Inside:
    records["array"].append((obj, sys.modules["array"].array.__getitem__(obj, _ALL)))
    return ()


def _save_string_io(records: Records, obj: Any, exact: bool) -> Inside:
    try:
        text, newline, position, _ = io.StringIO.__getstate__(obj)  # type: ignore[attr-defined]
    except ValueError:  # closed; the task that opens it again has yet to be written
        return ()
    records["string_io"].append((obj, text, newline, position))
    return ()


def _save_bytes_io(records: Records, obj: Any, exact: bool) -> Inside:
    try:  # noqa: SIM105 - what may be missing is not worth an import
        records["bytes_io"].append((obj, io.BytesIO.getvalue(obj), io.BytesIO.tell(obj)))
    except ValueError:  # closed
        pass
    return ()


def _save_exception(records: Records, obj: Any, exact: bool) -> Inside:
    own = BaseException.__dict__
    names = ("args", "__traceback__", "__cause__", "__context__", "__suppress_context__")
    parts = [own[name].__get__(obj) for name in names]
    records["exception"].append((obj, *parts))
    return [parts[0], parts[2], parts[3]]


#: Read-only numpy arrays of up to so many bytes are copied, in case that a task makes them writable.
FROZEN_MAX = 1 << 20


def _save_ndarray(records: Records, obj: Any, exact: bool) -> Inside:
    if not obj.flags.writeable:
        if obj.flags.owndata and not obj.dtype.hasobject and obj.nbytes <= FROZEN_MAX:
            records["frozen_ndarray"].append((obj, obj.copy()))
        return ()
    saved = sys.modules["numpy"].array(obj, copy=True, subok=False)
    if saved.dtype.hasobject:
        records["ndarray_of_objects"].append((obj, saved))
        return saved.ravel().tolist() if saved.dtype.kind == "O" else ()
    records["ndarray"].append((obj, saved))
    return ()


def _save_lock(records: Records, obj: Any, exact: bool) -> Inside:
    if not obj.locked():
        records["lock"].append((obj,))
    return ()


def _save_rlock(records: Records, obj: Any, exact: bool) -> Inside:
    if obj.acquire(False):
        obj.release()
        if not obj._is_owned():
            records["rlock"].append((obj,))
    return ()


def _save_local(records: Records, obj: Any, exact: bool) -> Inside:
    try:
        space = sys.modules["_thread"]._local.__getattribute__(obj, "__dict__")
    except Exception:  # a subclass's __init__, run for a thread that has not used the object yet
        return ()
    saved = space.copy()
    records["attributes"].append((space, saved, tuple(saved)))
    return saved  # type: ignore[no-any-return]


def _save_random(records: Records, obj: Any, exact: bool) -> Inside:
    records["random"].append((obj, sys.modules["_random"].Random.getstate(obj)))
    return ()


def _save_environ(records: Records, obj: Any, exact: bool) -> Inside:
    records["environ"].append((obj, obj._data.copy()))
    return ()


def _save_weak_dict(records: Records, obj: Any, exact: bool) -> Inside:
    weakref = sys.modules["weakref"]
    cls = weakref.WeakKeyDictionary if issubclass(type(obj), weakref.WeakKeyDictionary) else weakref.WeakValueDictionary
    saved = tuple(cls.items(obj))
    records["weak"].append((obj, cls, saved))
    return [part for pair in saved for part in pair]


def _save_weak_set(records: Records, obj: Any, exact: bool) -> Inside:
    cls = sys.modules["_weakrefset"].WeakSet
    saved = tuple(cls.__iter__(obj))
    records["weak"].append((obj, cls, tuple((item,) for item in saved)))
    return saved


def _inside_memoryview(records: Records, obj: Any, exact: bool) -> Inside:
    try:
        return (obj.obj,)
    except ValueError:  # released
        return ()


def _inside_context_variable(records: Records, obj: Any, exact: bool) -> Inside:
    # Each task runs in a copy of the pristine context; the copies share the values, and all contexts the default.
    return gc.get_referents(obj) + [sys.modules["_contextvars"].ContextVar.get(obj, None)]


def _inside_proxy(records: Records, obj: Any, exact: bool) -> Inside:
    return [held for held in gc.get_referents(obj) if not (type(held) is dict and _of_a_class(held))]


def _of_a_class(space: dict[Any, Any]) -> bool:
    """Tell whether a dictionary is a class's: those may be changed through the class only."""
    return "__module__" in space and "__doc__" in space


def _inside_method(records: Records, obj: Any, exact: bool) -> Inside:
    return (obj.__func__, obj.__self__)


def _inside_builtin(records: Records, obj: Any, exact: bool) -> Inside:
    return (obj.__self__,)


def _inside_property(records: Records, obj: Any, exact: bool) -> Inside:
    return [property.__dict__[name].__get__(obj) for name in ("fget", "fset", "fdel")]


def _inside_partial(records: Records, obj: Any, exact: bool) -> Inside:
    own = functools.partial.__dict__
    return [own[name].__get__(obj) for name in ("func", "args", "keywords")]


def _inside_wrapper(records: Records, obj: Any, exact: bool) -> Inside:
    base = staticmethod if issubclass(type(obj), staticmethod) else classmethod
    return (base.__dict__["__func__"].__get__(obj),)


def _save_cell(records: Records, obj: types.CellType, exact: bool) -> Inside:
    try:
        content = obj.cell_contents
    except ValueError:
        records["empty_cell"].append((obj,))
        return ()
    records["cell"].append((obj, content))
    return (content,)


SAVERS: Final[dict[str, Saver]] = {
    "list": _save_list,
    "dict": _save_dict,
    "defaultdict": _save_defaultdict,
    "odict": _save_ordered_dict,
    "set": _save_set,
    "tuple": _inside_tuple,
    "frozenset": _inside_frozenset,
    "bytearray": _save_bytearray,
    "deque": _save_deque,
    "array": _save_array,
    "stringio": _save_string_io,
    "bytesio": _save_bytes_io,
    "exception": _save_exception,
    "ndarray": _save_ndarray,
    "lock": _save_lock,
    "rlock": _save_rlock,
    "local": _save_local,
    "random": _save_random,
    "environ": _save_environ,
    "weakdict": _save_weak_dict,
    "contextvar": _inside_context_variable,
    "weakset": _save_weak_set,
    "memoryview": _inside_memoryview,
    "proxy": _inside_proxy,
    "method": _inside_method,
    "builtin": _inside_builtin,
    "property": _inside_property,
    "partial": _inside_partial,
    "wrapper": _inside_wrapper,
    "cell": _save_cell,
}
