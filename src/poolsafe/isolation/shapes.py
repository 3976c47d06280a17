"""What the instances of a type consist of: the table of the kinds of values that the capture understands.

Used by `walk`. A `Shape` says, for one exact type, which *kind* of content its instances have (that of the first known
base), where their attributes are (``__dict__`` descriptor, slots), and whether C code keeps state in them that nobody
can see (`hidden`). All of it comes from the types' real dictionaries; no attribute of a user's object is ever asked
for, so a lying ``__class__``, ``__getattr__`` or metaclass changes nothing.
"""

from __future__ import annotations

import collections
import functools
import io
import sys
import types
from collections.abc import Callable
from typing import Any, Final

from .modules import is_project_module

_TYPE_DICT: Final = type.__dict__["__dict__"].__get__
_TYPE_MRO: Final = type.__dict__["__mro__"].__get__
_WORD: Final = tuple.__itemsize__
#: Kinds that the walk passes by: they cannot change, or are not ours to touch.
PASSED_BY: Final = frozenset({"atomic", "leave"})

#: The kind of a type is that of the first of these in its method resolution order.
_KINDS: Final[dict[type, str]] = {
    object: "object",
    type: "class",
    list: "list",
    dict: "dict",
    set: "set",
    tuple: "tuple",
    frozenset: "frozenset",
    bytearray: "bytearray",
    memoryview: "memoryview",
    BaseException: "exception",
    collections.OrderedDict: "odict",
    collections.defaultdict: "defaultdict",
    collections.deque: "deque",
    io.StringIO: "stringio",
    io.BytesIO: "bytesio",
    types.MappingProxyType: "proxy",
    types.FunctionType: "function",
    types.MethodType: "method",
    types.BuiltinFunctionType: "builtin",
    types.CellType: "cell",
    staticmethod: "wrapper",
    classmethod: "wrapper",
    property: "property",
    functools.partial: "partial",
    functools._lru_cache_wrapper: "lru",
}
_KINDS.update(
    dict.fromkeys(
        (type(None), bool, int, float, complex, str, bytes, range, slice, type(...), type(NotImplemented)), "atomic"
    )
)
_KINDS.update(
    dict.fromkeys(
        (
            types.ModuleType, types.CodeType, types.FrameType, types.TracebackType, types.GenericAlias,
            types.WrapperDescriptorType, types.MethodWrapperType, types.MethodDescriptorType,
            types.ClassMethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType,
        ),
        "leave",
    )
)  # fmt: skip

#: More of them, by the module that must be loaded for such a value to exist; nothing is imported for their sake.
_KINDS_WHEN_LOADED: Final = {
    ("array", "array"): "array",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "memmap"): "leave",
    ("weakref", "ref"): "leave",
    ("weakref", "WeakKeyDictionary"): "weakdict",
    ("weakref", "WeakValueDictionary"): "weakdict",
    ("_weakrefset", "WeakSet"): "weakset",
    ("_thread", "LockType"): "lock",
    ("_thread", "RLock"): "rlock",
    ("_thread", "_local"): "local",
    ("_random", "Random"): "random",
    ("os", "_Environ"): "environ",
    ("threading", "Thread"): "leave",
    ("threading", "Condition"): "fields",
    ("threading", "Event"): "fields",
    ("threading", "Semaphore"): "fields",
    ("threading", "Barrier"): "leave",
    ("queue", "Queue"): "fields",
    ("_contextvars", "ContextVar"): "contextvar",
    ("_contextvars", "Context"): "leave",
    ("_contextvars", "Token"): "leave",
}

#: Of some classes only these attributes are put back: the others belong to threads that may be waiting right now.
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "Condition": ("_lock",),
    "Event": ("_flag", "_cond"),
    "Semaphore": ("_value", "_cond"),
    "Queue": ("queue", "unfinished_tasks", "maxsize", "is_shutdown", "mutex"),
}

#: Instances of any class from these packages, and of their subclasses, are left alone.
_LEFT_PACKAGES: Final = frozenset({"multiprocessing", "poolsafe", "concurrent"})
#: The same, for instances of exactly these packages' classes: subclasses of them may hold a project's own state.
_LEFT_EXACT: Final = frozenset({"logging", "importlib", "_frozen_importlib", "_frozen_importlib_external", "zipimport"})
#: C types whose instances cannot change although they are compared by identity.
_UNCHANGING: Final = frozenset(
    {
        "operator.itemgetter", "operator.attrgetter", "operator.methodcaller", "_struct.Struct", "re.Match",
        "zoneinfo.ZoneInfo", "_abc._abc_data", "typing.TypeVar", "typing.ParamSpec", "typing.TypeVarTuple",
        "typing.TypeAliasType", "_json.Scanner", "_json.Encoder",
    }
)  # fmt: skip
#: Foreign classes, written in Python, whose instances are captured also where nobody named them.
_UNDERSTOOD: Final = frozenset(
    {
        "collections.ChainMap", "collections.UserDict", "collections.UserList", "collections.UserString",
        "collections.Counter", "types.SimpleNamespace", "argparse.Namespace", "functools.cached_property",
        "functools.partialmethod", "functools.singledispatchmethod", "configparser.ConfigParser",
        "configparser.RawConfigParser", "configparser.SectionProxy", "queue.PriorityQueue", "queue.LifoQueue",
        "threading.BoundedSemaphore", "weakref.WeakValueDictionary", "weakref.WeakKeyDictionary",
        "numpy.matrix", "numpy.recarray", "numpy.rec.recarray", "numpy.ma.MaskedArray",
        "types.DynamicClassAttribute", "enum.property", "enum.nonmember", "enum.member",
    }
)  # fmt: skip


def type_dict(cls: type) -> types.MappingProxyType[str, Any]:
    """Return a class's own dictionary (read-only), whatever its metaclass says."""
    return _TYPE_DICT(cls)  # type: ignore[no-any-return]


def mro_of(cls: type) -> tuple[type, ...]:
    """Return a class's real method resolution order."""
    return _TYPE_MRO(cls)  # type: ignore[no-any-return]


class Shape:
    """What the instances of one type consist of."""

    __slots__ = (
        "base", "dict_of", "fields", "hidden", "kind", "known", "put_dict", "setters", "slots", "type", "unchanging",
    )  # fmt: skip

    def __init__(self, cls: type, kind: str, base: type) -> None:
        self.type: type = cls
        self.base: type = base
        self.kind: str = kind
        #: Understood wherever it is met, in a module that nobody named, too: builtin, or listed above.
        self.known: bool = (
            (cls is base and kind not in ("object", "enum"))
            or (kind == "exception" and _package(cls) in ("", "builtins"))
            or _full_name(cls) in _UNDERSTOOD
        )
        self.fields: tuple[str, ...] = FIELDS.get(base.__name__, ()) if kind == "fields" else ()
        access = _dict_access(cls)
        self.dict_of: Callable[[Any], Any] | None = access[0]
        self.put_dict: Callable[[Any, Any], None] | None = access[1]
        self.slots: tuple[Any, ...] = _slots_of(cls, base)
        self.setters: tuple[Any, ...] = tuple(slot.__set__ for slot in self.slots)
        self.hidden: bool = kind != "exception" and cls is not base and _hidden_size(cls, base, len(self.slots)) > 0
        self.unchanging: bool = self.hidden and (_full_name(cls) in _UNCHANGING or _hashed_by_value(cls))

    @property
    def has_attributes(self) -> bool:
        """Whether instances have a ``__dict__`` or slots."""
        return self.dict_of is not None or bool(self.slots)


class Shapes(dict[type, Shape]):
    """The shapes of types, each made when first asked for. One serves one capture: modules may be loaded later."""

    def __init__(self) -> None:
        self.kinds: dict[type, str] = dict(_KINDS)
        self._enum = getattr(sys.modules.get("enum"), "Enum", None)
        for (module, name), kind in _KINDS_WHEN_LOADED.items():
            found = sys.modules.get(module)
            if found is not None and not is_project_module(found):  # a project may have a `queue` module of its own
                self.kinds[getattr(found, name)] = kind

    def __missing__(self, cls: type) -> Shape:
        kind, base = self._kind(cls)
        shape = self[cls] = Shape(cls, kind, base)
        return shape

    def _kind(self, cls: type) -> tuple[str, type]:
        mro = mro_of(cls)
        packages = [_package(k) for k in mro]
        if packages[0] in _LEFT_EXACT or not _LEFT_PACKAGES.isdisjoint(packages):
            return "leave", cls
        if self._enum in mro:
            return "enum", cls
        for k in mro:
            kind = self.kinds.get(k)
            if kind is None or (kind == "fields" and k is not cls and packages[0] not in ("threading", "queue")):
                continue  # a project's own subclass of Event, Queue, ... has state of its own: a common instance
            return kind, k
        return "leave", cls  # not reached: every type derives from object


def _package(cls: type) -> str:
    module = type_dict(cls).get("__module__")
    return module.partition(".")[0] if isinstance(module, str) else ""


def _full_name(cls: type) -> str:
    module = type_dict(cls).get("__module__")
    if not isinstance(module, str):  # static C types: the name is "module.name" as the C code wrote it
        module = type.__dict__["__module__"].__get__(cls)
    return f"{module}.{type.__dict__['__qualname__'].__get__(cls)}"


def _dict_access(cls: type) -> tuple[Callable[[Any], Any] | None, Callable[[Any, Any], None] | None]:
    """Return the C-level getter and setter of the instances' ``__dict__``, passing by what a class puts over it."""
    for k in mro_of(cls):
        found: Any = type_dict(k).get("__dict__")
        if type(found) in (types.GetSetDescriptorType, types.MemberDescriptorType):
            return found.__get__, found.__set__
    return None, None


def _slots_of(cls: type, base: type) -> tuple[Any, ...]:
    """Return the descriptors of the slots of a Python class and its bases, shadowed ones included."""
    found = []
    for k in mro_of(cls):
        if k is base:
            break
        own = type_dict(k)
        if "__slots__" in own:
            found += [value for value in own.values() if type(value) is types.MemberDescriptorType]
    return tuple(found)


def _hidden_size(cls: type, base: type, slots: int) -> int:
    """Return how many bytes of an instance no known base, slot, ``__dict__`` or list of weak references accounts for.

    More than none means that C code keeps something in there.
    """

    def size(name: str, of: type) -> int:
        return type.__dict__[name].__get__(of)  # type: ignore[no-any-return]

    words = slots
    words += bool(size("__dictoffset__", cls)) and not size("__dictoffset__", base)
    words += bool(size("__weakrefoffset__", cls)) and not size("__weakrefoffset__", base)
    return size("__basicsize__", cls) - size("__basicsize__", base) - words * _WORD


def _hashed_by_value(cls: type) -> bool:
    """Tell whether instances have a hash of their own, as C types have only when they cannot change."""
    for k in mro_of(cls):
        own = type_dict(k)
        if "__hash__" in own:
            return k is not object and own["__hash__"] is not None
    return False
