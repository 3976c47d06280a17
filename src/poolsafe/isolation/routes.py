"""By which path a captured object is reached: a map from objects to names such as ``app.cache['runs']``.

Made by `leaks.Detector` when something has changed for the first time, from the captured contents, so it tells the
paths that were there before any task. Breadth first, hence each object has its shortest path; among equals the first by
order of import and then of definition, with `__main__` last, because it imports what others own. It calls no code of
the objects that it meets. What may go wrong: an object cannot be reached any more (it was declared by a name that is
gone); it is named by its type.
"""

from __future__ import annotations

import gc
import sys
import types
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from .contents import SAVERS
from .kinds import ABSENT, Record
from .modules import MP_MAIN, is_module, loaded_modules, namespaces_of
from .places import read_slot
from .sameness import attribute, item
from .shapes import PASSED_BY, Shapes, type_dict

#: (what to append to the path, object)
Step: TypeAlias = tuple[str, Any]

_ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_IMPORT_NAMES: Final = frozenset({"__builtins__", "__spec__", "__loader__"})
#: Attributes in which classes of the standard library keep what mere use fills: (kind of the owner, name).
_USED: Final = {
    "weakdict": frozenset({"data", "_pending_removals", "_iterating", "_dirty_len"}),
    "weakset": frozenset({"data", "_pending_removals", "_iterating"}),
    "enum_class": frozenset({"_value2member_map_", "_unhashable_values_", "_unhashable_values_map_"}),
    "singledispatch": frozenset({"_clear_cache"}),
}
_MAIN: Final = "__main__"
_MEMBER: Final = ".<member>"
#: How far from the globals of a module an object is looked for that was declared alone.
_NEAR: Final = 3


class Route:
    """Where an object is.

    Attributes:
        path: Its path; None for what is not to be reported.
        order: The place among all routes.
        dotted: Whether what is inside goes by attributes.
    """

    __slots__ = ("dotted", "order", "path")

    def __init__(self, path: str | None, order: int, dotted: bool) -> None:
        self.path: str | None = path
        self.order: int = order
        self.dotted: bool = dotted


class Routes:
    """The routes to everything that was captured.

    Args:
        records: The captured structure.
    """

    def __init__(self, records: Mapping[str, list[Record]]) -> None:
        self._found: dict[int, Route] = {}
        self._shapes = Shapes()
        self._alive: list[Any] = []  # ids must not be given to others meanwhile
        self._captured: defaultdict[int, list[tuple[str, Record]]] = defaultdict(list)
        self._owners: dict[int, str] = {}  # kinds of objects, by the id of their __dict__
        self._queue: deque[tuple[str | None, Any, bool]] = deque()
        for group, listed in records.items():
            for record in listed:
                self._captured[id(record[0])].append((group, record))
        self._start(records)
        self._run()
        missing = self._captured.keys() - self._found.keys()
        if missing:
            self._search(missing)
        self._queue.clear()
        self._alive.clear()

    def of(self, obj: object) -> Route:
        """Return the route to a captured object; one that is nowhere any more goes by its type."""
        route = self._found.get(id(obj))
        return route or Route(f"<{type(obj).__name__}>", len(self._found), False)

    # -- where to start -----------------------------------------------------------------------------------------------

    def _start(self, records: Mapping[str, list[Record]]) -> None:
        names = _modules_by_globals()
        roots: list[tuple[str, Any, dict[str, Any]]] = []
        for space, saved, *_ in (*records.get("namespace", ()), *records.get("partial_namespace", ())):
            name = names.get(id(space)) or (saved.get("__name__") if "__spec__" in saved else None)
            if type(name) is str:
                roots.append((_MAIN if name == MP_MAIN else name, space, saved))
        roots.sort(key=lambda root: root[0] == _MAIN)
        homes = {name for name, _, _ in roots}
        later: list[tuple[str | None, Any, bool]] = []
        for name, space, saved in roots:
            self._place(space, name, dotted=True)
            for label, value in saved.items():
                if type(value) not in _ATOMS and label not in _IMPORT_NAMES:
                    entry = (name + attribute(label), value, False)
                    (later if _home_of(value, name) in homes - {name} else self._queue).append(entry)
        self._queue.extend(later)
        for group in ("binding", "class_binding", "made_binding", "made_class_binding"):
            for owner, label, value in records.get(group, ()):
                path = _path_of_class(owner) if issubclass(type(owner), type) else names.get(id(owner))
                if path is not None and id(owner) not in self._found:
                    self._place(owner, path, dotted=True)
                if path is not None:
                    self._queue.append((path + attribute(label), value, False))

    def _place(self, obj: Any, path: str | None, *, dotted: bool) -> None:
        self._found[id(obj)] = Route(path, len(self._found), dotted)

    # -- the way on ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        queue, found = self._queue, self._found
        while queue:
            path, obj, dotted = queue.popleft()
            if id(obj) in found or type(obj) in _ATOMS or is_module(obj):
                continue
            self._place(obj, path, dotted=dotted)
            self._alive.append(obj)
            for suffix, inside in self._inside(obj, dotted):
                if type(inside) not in _ATOMS:
                    deeper = None if path is None or suffix is None else path + suffix
                    # A dictionary of attributes is at the same path as its owner.
                    queue.append((deeper, inside, suffix == "" and type(inside) is dict))

    def _inside(self, obj: Any, dotted: bool) -> Iterator[tuple[str | None, Any]]:
        shape = self._shapes[type(obj)]
        captured = self._captured.get(id(obj), ())
        for group, record in captured:
            if group == "dict" and dotted:
                group = "attributes"
            if group in _INSIDE:
                yield from self._shown(obj, shape.kind, _INSIDE[group](record))
        if shape.kind == "function" and captured:
            cells = zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True)
            yield from ((f".<locals>.{name}", cell) for name, cell in cells)
        elif shape.kind in _FORMS:
            inside = SAVERS[shape.kind](defaultdict(list), obj, type(obj) is shape.base)
            labels = _FORMS[shape.kind]
            if isinstance(inside, Mapping):
                yield from _items(inside.items())
            else:
                named = [*labels, *map("[{}]".format, range(len(labels), len(inside)))]
                named = [_MEMBER] * len(inside) if shape.kind == "frozenset" else named[: len(inside)]
                yield from zip(named, inside, strict=True)
        if shape.kind == "local":
            yield "", sys.modules["_thread"]._local.__getattribute__(obj, "__dict__")
        elif shape.dict_of is not None and shape.kind not in (*PASSED_BY, "class", "function"):
            space = shape.dict_of(obj)
            self._owners[id(space)] = shape.kind
            yield "", space

    def _shown(self, obj: Any, kind: str, steps: Iterable[Step]) -> Iterator[tuple[str | None, Any]]:
        """Pass steps on, without the paths to what mere use fills."""
        hidden = _USED.get(self._owners.get(id(obj), ""), frozenset())
        enum = sys.modules.get("enum")
        if kind == "class" and enum is not None and issubclass(type(obj), enum.EnumMeta):
            hidden = _USED["enum_class"]
        elif type(obj) is dict and "_clear_cache" in obj and "registry" in obj:
            hidden = _USED["singledispatch"]
        for suffix, inside in steps:
            yield (None if suffix[1:] in hidden else suffix), inside

    def _search(self, missing: Iterable[int]) -> None:
        """Look near the globals of all modules, as they are now, for objects of which an attribute was declared."""
        wanted = set(missing)
        near: deque[tuple[str, Any, int]] = deque()
        for name, module in loaded_modules().items():
            space = namespaces_of(module)[0]
            near.extend((f"{name}.{label}", value, 1) for label, value in list(space.items()))
        seen: set[int] = set()
        while near and wanted:
            path, obj, depth = near.popleft()
            shape = self._shapes[type(obj)]
            if shape.kind in (*PASSED_BY, "class", "function") or is_module(obj) or id(obj) in seen:
                continue
            seen.add(id(obj))
            space = shape.dict_of(obj) if shape.dict_of else {}
            for place in (obj, space):
                if id(place) in wanted:
                    wanted.remove(id(place))
                    self._place(place, path, dotted=place is space)
                    self._queue.extend(
                        (path + (suffix or ""), one, False) for suffix, one in self._inside(place, place is space)
                    )
            if depth < _NEAR and type(space) is dict:
                inside = [*space.items(), *((slot.__name__, read_slot(slot, obj)) for slot in shape.slots)]
                near.extend((path + attribute(label), value, depth + 1) for label, value in inside)
        self._run()


def _modules_by_globals() -> dict[int, str]:
    modules = loaded_modules().items()
    return {
        id(space): _MAIN if name == MP_MAIN else name for name, module in modules for space in namespaces_of(module)
    }


def _home_of(value: Any, name: str) -> str:
    """Return the name of the module that a class or a function says it is from."""
    home = None
    if issubclass(type(value), type):
        home = type_dict(value).get("__module__")
    elif type(value) is types.FunctionType:
        home = value.__module__
    return home if type(home) is str else name


def _path_of_class(cls: type) -> str:
    home = type_dict(cls).get("__module__")
    name = type.__dict__["__qualname__"].__get__(cls)
    return f"{_MAIN if home == MP_MAIN else home}.{name}"


# -- what is inside, by group of records ------------------------------------------------------------------------------


def _items(pairs: Iterable[tuple[Any, Any]]) -> Iterator[Step]:
    for at, (key, value) in enumerate(pairs):
        yield item(key), value
        if type(key) not in _ATOMS:
            yield f".<key {at}>", key


def _attributes(record: Record) -> Iterator[Step]:
    return ((attribute(name), value) for name, value in record[1].items())


def _class(record: Record) -> Iterator[Step]:
    yield from ((attribute(name), value) for name, value in record[2].items())
    yield from ((f".__bases__[{at}]", base) for at, base in enumerate(record[4][2]))


def _function(record: Record) -> Iterator[Step]:
    _, defaults, keywords, _, space, _ = record
    yield from ((f".__defaults__[{at}]", value) for at, value in enumerate(defaults or ()))
    yield ".__kwdefaults__", keywords
    if space is not None:
        yield "", space


def _slots(record: Record) -> Iterator[Step]:
    return ((f".{setter.__self__.__name__}", value) for setter, value in zip(*record[1:], strict=True))


def _gapped_slots(record: Record) -> Iterator[Step]:
    return ((f".{slot.__name__}", value) for slot, value in zip(*record[1:], strict=True) if value is not ABSENT)


def _sequence(record: Record) -> Iterator[Step]:
    return ((f"[{at}]", value) for at, value in enumerate(record[1]))


def _exception(record: Record) -> Iterator[Step]:
    yield from ((f".args[{at}]", value) for at, value in enumerate(record[1]))
    yield from ((".__cause__", record[3]), (".__context__", record[4]))


def _weak(record: Record) -> Iterator[Step]:
    pairs = [one for one in record[2] if len(one) == 2]
    yield from _items(pairs)
    yield from ((_MEMBER, one[0]) for one in record[2] if len(one) == 1)


def _bounded(record: Record) -> Iterator[Step]:
    return ((".<cached>", value) for value in gc.get_referents(record[0]))


_INSIDE: Final[dict[str, Callable[[Record], Iterator[Step]]]] = {
    "attributes": _attributes,
    "quiet": _attributes,
    "fields": _attributes,
    "namespace": _attributes,
    "partial_namespace": _attributes,
    "attached": lambda record: iter([("", record[2])]),
    "class": _class,
    "function": _function,
    "slots": _slots,
    "gapped_slots": _gapped_slots,
    "cell": lambda record: iter([("", record[1])]),
    "lru_unbounded": lambda record: ((".<cached>", value) for value in record[3].values()),
    "lru_bounded": _bounded,
    "default_factory": lambda record: iter([(".default_factory", record[1])]),
    "list": _sequence,
    "list_like": _sequence,
    "deque": _sequence,
    "dict": lambda record: _items(record[1].items()),
    "ordered_dict": lambda record: _items(record[1]),
    "set": lambda record: ((_MEMBER, value) for value in record[1]),
    "weak": _weak,
    "exception": _exception,
    "ndarray_of_objects": lambda record: ((f"[{at}]", one) for at, one in enumerate(record[1].ravel().tolist())),
}
#: Kinds that have no records of their own, and how what is inside is named, where it is not by index.
_FORMS: Final[dict[str, tuple[str, ...]]] = {
    "tuple": (),
    "frozenset": (),
    "memoryview": (".obj",),
    "proxy": ("",),
    "method": (".__func__", ".__self__"),
    "builtin": (".__self__",),
    "property": (".fget", ".fset", ".fdel"),
    "partial": (".func", ".args", ".keywords"),
    "wrapper": ("",),
}
