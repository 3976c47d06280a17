"""The one walk that finds everything to put back, and files it as records.

Called by `Plan.capture` (and by a snapshot when modules were imported later). Starting from the declared names it
follows whatever can be reached and changed, each object once, iteratively, so depth does not matter. It calls no code
of the objects it walks: attributes are read from the real dictionaries and slots.

How far it goes depends on how an object was reached:

- *strictly*, from a target that names one global: also into instances of foreign classes; what can neither be captured
  nor ignored is a `CaptureError` that says where it was found;
- *leniently*, from a whole module or `"auto"`: builtin containers, instances of the project's own classes, its classes
  and functions. Whatever else is met there keeps its binding, and is left alone.

Never entered by either: modules, loggers, threads, multiprocessing's and our own objects, other people's classes and
functions.
"""

from __future__ import annotations

import functools
import gc
import sys
import types
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Final, cast

from .contents import SAVERS, Inside
from .iterators import Iterators
from .kinds import ABSENT, Record, filling
from .links import Link, opaque
from .modules import is_project_module, loaded_modules, namespaces_of
from .places import read_slot
from .scopes import CLASS_INTERNALS, identity_of, names_of, registered_with
from .shapes import PASSED_BY, Shape, Shapes, type_dict

#: Types of which most values are: not worth a visit.
_ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes, types.ModuleType})
#: Globals that belong to the import system: their binding is put back, their value is not entered.
_IMPORT_NAMES: Final = frozenset({"__builtins__", "__spec__", "__loader__"})
#: How what is inside is named in messages, where it is not by index or key.
_FORMS: Final = {
    "cell": "", "wrapper": ".__func__", "memoryview": ".obj", "builtin": ".__self__", "set": " (a member)",
    "frozenset": " (a member)", "method": " (bound)", "partial": " (partial)", "property": " (property)",
    "exception": ".args",
}  # fmt: skip
#: Put back only by who names them: a rewound generator would give every task the same draws, and the environment
#: belongs to the process.
_NAMED_ONLY: Final = frozenset({"random", "environ"})
_NOTHING: Final[frozenset[str]] = frozenset()
_lru = functools._lru_cache_wrapper


class Exempt:
    """What is kept, or made by a factory: names that nobody else may bind, and objects that nobody may enter.

    Attributes:
        names: Names by the id of what they are names in: a module's globals, a class, an instance.
        objects: Ids of objects.
    """

    def __init__(self) -> None:
        self.names: defaultdict[int, set[str]] = defaultdict(set)
        self.objects: set[int] = set()

    def add(self, owners: Iterable[object], name: str) -> None:
        """Exempt a name of what goes by several keys."""
        for owner in owners:
            self.names[id(owner)].add(name)

    def of(self, owner: object) -> frozenset[str]:
        """Return the exempt names of an owner."""
        return frozenset(self.names[id(owner)]) if id(owner) in self.names else _NOTHING


class Walk:
    """One walk: say where to start, then `run`; what was found is in `records`, by group.

    Args:
        exempt: What not to touch.
        declared: Names of modules whose classes and functions count as the project's own.
        seen: Ids of objects that were captured before.
    """

    def __init__(self, exempt: Exempt, declared: Collection[str], seen: Iterable[int] = ()) -> None:
        self.records: defaultdict[str, list[Record]] = defaultdict(list)
        self._iterators = Iterators(self.records["iterator"])
        self._exempt = exempt
        self._shapes = Shapes()
        self._ours = dict.fromkeys(declared, True)
        self._seen = exempt.objects.union(seen)
        self._stack: list[tuple[Any, Link | None]] = []
        self._named: set[int] = set()  # classes and functions that were named: entered though they may be foreign
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}  # attribute names, one tuple for all instances alike
        streams = (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__)
        self._untouched = {id(thing) for thing in (sys.modules, *streams)}
        self._spaces: set[int] | None = None

    def add_module(self, module: types.ModuleType) -> None:
        """Put back every global of a module, and leniently what can be reached from there."""
        for space in namespaces_of(module):
            if id(space) in self._seen or id(module) in self._seen:
                return
            self._seen.add(id(space))
            self._iterators.note(saved := self._file_names("namespace", space, space), space)
            self._push({name: value for name, value in saved.items() if name not in _IMPORT_NAMES}, None)

    def add_record(self, group: str, record: Record) -> None:
        """File a record that needs no walk."""
        self.records[group].append(record)

    def add_value(self, value: object, path: str) -> None:
        """Walk strictly from the value of a target that names one global."""
        self._named.add(id(value))
        self._stack.append((value, (None, "{}", path)))

    def run(self) -> None:
        """Walk until nothing is left to visit."""
        stack, seen, shapes = self._stack, self._seen, self._shapes
        while stack:
            obj, link = stack.pop()
            key = id(obj)
            if key in seen:
                continue
            shape = shapes[type(obj)]
            if shape.kind in PASSED_BY and not shape.has_attributes:
                continue
            seen.add(key)
            if key not in self._untouched and not (shape.kind == "dict" and self._is_of_a_module(obj)):
                self._visit(obj, shape, link)

    def _is_of_a_module(self, space: dict[Any, Any]) -> bool:
        """Tell whether a dictionary is some module's globals."""
        if not (type(space) is dict and "__name__" in space and "__spec__" in space):
            return False
        if self._spaces is None:  # only now: to look at every module takes time, and memory in a forked process
            self._spaces = {id(one) for module in loaded_modules().values() for one in namespaces_of(module)}
        return id(space) in self._spaces

    # -- one object -------------------------------------------------------------------------------------------------

    def _visit(self, obj: Any, shape: Shape, link: Link | None) -> None:
        kind = shape.kind
        if kind == "class":
            self._visit_class(obj, link)
        elif kind == "function":
            self._visit_function(obj, link)
        elif kind == "lru":
            self._visit_lru(obj, shape, link)
        elif kind != "leave" and (link or shape.known or self._is_ours(type_dict(shape.type).get("__module__"))):
            self._visit_value(obj, shape, link)

    def _visit_value(self, obj: Any, shape: Shape, link: Link | None) -> None:
        if shape.hidden and link and not shape.unchanging:
            raise opaque(obj, link)
        if shape.kind in _NAMED_ONLY and not link:
            return
        save = SAVERS.get(shape.kind)
        if save is not None:
            inside = save(self.records, obj, shape.type is shape.base)
            self._push(inside, link, _FORMS.get(shape.kind, "[{!r}]"))
        if shape.fields:
            self._visit_fields(obj, shape, link)
        elif shape.has_attributes and shape.kind != "environ":
            self._visit_attributes(obj, shape, link)

    def _visit_attributes(self, obj: Any, shape: Shape, link: Link | None) -> None:
        space = shape.dict_of(obj) if shape.dict_of else None
        quiet = shape.kind in ("enum", "wrapper")  # many, and hardly ever changed: a check must do
        if not quiet and "__module__" in type_dict(shape.type):
            self.records["attached"].append((obj, shape.type, space, shape.dict_of, shape.put_dict))
        if shape.slots:
            self._visit_slots(obj, shape, link)
        if space is None or id(space) in self._seen:
            return
        self._seen.add(id(space))
        if self._exempt.of(obj) or type(space) is not dict:
            saved = self._file_names("namespace", space, obj)
        else:
            saved = space.copy()
            names = self._names.setdefault(tuple(saved), tuple(saved))
            self.records["quiet" if quiet else "attributes"].append((space, saved, names))
            self._iterators.note(saved, space)
        self._push(saved, link, ".{}")

    def _visit_slots(self, obj: Any, shape: Shape, link: Link | None) -> None:
        others = self._exempt.of(obj)
        slots, setters = shape.slots, shape.setters
        if others:
            slots = tuple(slot for slot in slots if slot.__name__ not in others)
            setters = tuple(slot.__set__ for slot in slots)
        values = tuple(read_slot(slot, obj) for slot in slots)
        if any(value is ABSENT for value in values):
            self.records["gapped_slots"].append((obj, slots, values))
        else:
            self.records["slots"].append((obj, setters, values))
        self._push_pairs([(slot.__name__, value) for slot, value in zip(slots, values, strict=True)], link, ".{}")

    def _visit_fields(self, obj: Any, shape: Shape, link: Link | None) -> None:
        space = shape.dict_of(obj) if shape.dict_of else {}
        if id(space) not in self._seen:
            self._seen.add(id(space))
            saved = {name: space[name] for name in shape.fields if name in space}
            self.records["fields"].append((space, saved))
            self._push(saved, link, ".{}")

    # -- code -------------------------------------------------------------------------------------------------------

    def _visit_class(self, cls: type, link: Link | None) -> None:
        view = type_dict(cls)
        if not (id(cls) in self._named or self._is_ours(view.get("__module__"))):
            return
        others = CLASS_INTERNALS | self._exempt.of(cls)
        saved = {name: value for name, value in view.copy().items() if name not in others}
        self._iterators.note(saved, view, cls)
        self.records["class"].append((cls, view, saved, others, identity_of(cls)))
        if "_abc_impl" in view:
            self.records["registration"].append((cls, registered_with(cls)))
        self._push(saved, link, ".{}")
        self._push(identity_of(cls)[2], link, ".__bases__[{}]")

    def _visit_function(self, function: types.FunctionType, link: Link | None) -> None:
        ours = self._is_ours(function.__module__) or self._is_ours(function.__globals__.get("__name__"))
        if not (ours or id(function) in self._named):
            return
        defaults, keywords = function.__defaults__, function.__kwdefaults__
        space = _dict_of_function(function)
        self.records["function"].append((function, defaults, keywords, function.__code__, space, names_of(function)))
        self._push(defaults or (), link, ".__defaults__[{}]")
        self._push_pairs([("__kwdefaults__", keywords), ("__dict__", space)], link, ".{}")
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        self._push_pairs(list(cells), link, ".<locals>.{}")

    def _visit_lru(self, cached: Any, shape: Shape, link: Link | None) -> None:
        space = shape.dict_of(cached) if shape.dict_of else {}
        wrapped = space.get("__wrapped__")
        ours = self._is_ours(space.get("__module__")) or self._is_ours(_module_of(wrapped))
        if not (ours or id(cached) in self._named):
            return
        clear = _lru.cache_clear.__get__(cached)
        _, _, limit, size = _lru.cache_info(cached)
        inside = gc.get_referents(cached)
        if not size:
            self.records["lru_empty"].append((cached, clear))
        elif limit is None:
            cache = next(held for held in inside if type(held) is dict and held is not space)
            self.records["lru_unbounded"].append((cached, clear, cache, cache.copy()))
            inside = [*cache, *cache.values()]
        else:
            self.records["lru_bounded"].append((cached, clear, filling(cached)))
            # Not the table that leads to the entries: they are C's own, with pointers that nobody else may put back.
            inside = [held for held in inside if not _is_table_of_entries(held)]
        if size:  # results that were computed already are handed to every task: they are put back like other values
            self._push(inside, None)
        self._visit_attributes(cached, shape, link)

    # -- what belongs to whom ---------------------------------------------------------------------------------------

    def _is_ours(self, module: object) -> bool:
        """Tell whether what says it is of this module is the project's own."""
        if type(module) is not str:
            return False
        ours = self._ours.get(module)
        if ours is None:
            found = sys.modules.get(module)
            ours = self._ours[module] = found is None or is_project_module(found)  # None: by means of the project's own
        return ours

    def _file_names(self, group: str, space: dict[str, Any], owner: object) -> dict[str, Any]:
        """File the names of a module or an instance, without the exempt ones; return what is filed."""
        others = self._exempt.of(owner)
        saved = dict.copy(space)
        if others:
            group = "partial_namespace"
            saved = {name: value for name, value in saved.items() if name not in others}
        self.records[group].append((space, saved, others) if others else (space, saved))
        return saved

    # -- what comes next --------------------------------------------------------------------------------------------

    def _push(self, inside: Inside, link: Link | None, form: str = "[{!r}]") -> None:
        """Note what is inside an object, to be visited."""
        if link is None:
            values: Iterable[Any] = inside
            if type(inside) is dict:
                self._stack.extend([(key, None) for key in inside if type(key) not in _ATOMS])
                values = inside.values()
            self._stack.extend([(value, None) for value in values if type(value) not in _ATOMS])
        elif type(inside) is dict:
            self._push_pairs([("a key", key) for key in inside], link, " ({})")
            self._push_pairs(inside.items(), link, form)
        else:
            self._push_pairs(enumerate(inside), link, form)

    def _push_pairs(self, pairs: Iterable[tuple[object, object]], link: Link | None, form: str) -> None:
        for label, value in pairs:
            if type(value) not in _ATOMS:
                self._stack.append((value, link and (link, form, label)))


def _dict_of_function(function: Any) -> dict[str, Any] | None:
    """Return the function's ``__dict__`` when it has one; merely asking for it would make one for every function."""
    others = (function.__globals__, function.__kwdefaults__, function.__builtins__)
    for held in gc.get_referents(function):
        if type(held) is dict and not any(held is other for other in others):
            return cast("dict[str, Any]", function.__dict__)
    return None


def _is_table_of_entries(held: object) -> bool:
    """Tell whether this is by what a bounded `lru_cache` finds its entries."""
    return type(held) is dict and type(next(iter(held.values()), None)).__name__ == "_lru_list_elem"


def _module_of(function: object) -> object:
    return function.__globals__.get("__name__") if type(function) is types.FunctionType else None
