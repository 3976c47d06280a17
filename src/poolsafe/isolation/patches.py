"""The preset for names of standard modules and builtins that a task rebinds, adds or deletes (``os.getcwd = fake``).

Used by `process_state` and `poolsafe.presets`. Looked at are `builtins`, `sys`, and the standard modules that the
project's own modules refer to: by a global, by a name or a dotted string in their functions' code
(``mock.patch("time.sleep")``). Every value of their globals is compared in one call into C, about 4 ns a name.

Shallowly: which object a name stands for, not what is inside of it; but for classes that the project's modules refer
to, whose attributes are looked at in the same way (``json.JSONEncoder.default = ...``). Put back is what was a
function, a class or a constant. Left alone are

- names that the module's own functions bind by ``global``: its lazy state,
- values of other kinds (containers, instances, None): they are a module's own state, which it may rebind at any time,
- submodules and names like ``__warningregistry__``.

The same preset puts back entries of ``sys.modules`` that were exchanged or deleted, for these modules and the
project's own.

What may go wrong: a standard module that a task imports first and patches at once is taken as it is found, unless
`ProcessState.imported` is called at the end of the import.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from operator import itemgetter
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

from . import kinds
from .modules import is_module, namespace_of, project_modules
from .preset import ABSENT, Preset, Probe, State, Values, same
from .scopes import CLASS_INTERNALS, bind_in_class
from .shapes import type_dict

_KINDS: Final = (
    FunctionType, BuiltinFunctionType, MethodType, MethodWrapperType, MethodDescriptorType, WrapperDescriptorType,
    functools._lru_cache_wrapper, type, int, float, complex, str, bytes, tuple, frozenset,
)  # fmt: skip
#: Py_TPFLAGS_HEAPTYPE: of a class that was made by Python code.
_HEAP_TYPE: Final = 1 << 9
#: C's own ways to go through a tuple and a list.
_ITERATE: Final = (tuple.__iter__, list.__iter__)
#: So many objects are looked at for functions in tables; larger ones are data.
_TABLES: Final = 20_000
_ALWAYS: Final = ("builtins", "sys")
#: The import system's own, and names that C code binds (see the preset `environ`).
_NEVER: Final = ("importlib", "_frozen_importlib", "_frozen_importlib_external", "zipimport", "_imp")
_CHANGING: Final = frozenset({"time.tzname", "time.timezone", "time.altzone", "time.daylight"})
_INTERACTIVE: Final = ("sys.last_", "sys.ps", "builtins._")
#: By a module's id: the module, and what it was found to refer to. Of what is `known`, nobody looks again.
References = dict[int, tuple[ModuleType, set[str]]]
latest: References = {}
known: References = {}


class _Patched(State):
    """What was captured: all standard modules as tuples, those that are watched also by path."""

    __slots__ = ("builtins", "classes", "looked_at", "modules", "named", "saved")

    def __init__(self) -> None:
        super().__init__({}, [], [])
        #: Name of a module -> the module, the names of its globals, and their values.
        self.saved: dict[str, tuple[ModuleType, tuple[str, ...], tuple[Any, ...]]] = {}
        #: Names in `sys.modules` that are watched, with what they stand for.
        self.modules: dict[str, Any] = {}
        #: The builtins' globals, and what is put back there before anything else: this very code needs them.
        self.builtins: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        #: The project's modules whose references are known, and all that they refer to.
        self.looked_at: set[int] = set()
        self.named: set[str] = set()
        #: Path of a class that is watched -> the class, its own dictionary, and a copy of that.
        self.classes: dict[str, tuple[type, dict[str, Any], dict[str, Any]]] = {}


class _StdlibPatches(Preset):
    """Names of builtins and of standard modules that were rebound, added or deleted."""

    name = "stdlib_patches"

    def capture(self) -> State:
        state = _Patched()
        self.extend(state)
        self.arm(state)
        space = namespace_of(state.modules["builtins"])
        state.builtins = space, {name: value for name, value in space.items() if isinstance(value, _KINDS)}
        return state

    def extend(self, state: State) -> None:
        """Take in modules that were loaded since, and those that the project's modules have come to refer to."""
        assert isinstance(state, _Patched)
        self.take_in(state, sys.modules)
        mine = [module for module in project_modules() if id(module) not in state.looked_at]
        for module in mine:
            state.looked_at.add(id(module))
            state.named |= references(module)
            own = namespace_of(module).get("__name__")
            if isinstance(own, str) and sys.modules.get(own) is module:
                state.modules.setdefault(own, module)
        wanted = {name for name in state.saved if name in state.named or state.named.issuperset(name.split("."))}
        for name in sorted((wanted | {*_ALWAYS}) - state.modules.keys()):
            state.modules[name], names, values = state.saved[name]
            self._values(state).update({f"{name}.{one}": value for one, value in zip(names, values, strict=True)})
        for path, cls in _classes_of(state, mine):
            if path not in state.classes:
                space = gc.get_referents(type_dict(cls))[0]  # itself, behind the view
                state.classes[path] = cls, space, space.copy()

    def take_in(self, state: State, names: Iterable[str]) -> None:
        """Take the globals of standard modules as they are now, where an import has just left them."""
        assert isinstance(state, _Patched)
        for name in list(names):
            module = sys.modules.get(name)
            if name not in state.saved and _is_standard(name) and is_module(module):
                space = namespace_of(module)
                state.saved[name] = module, tuple(space), tuple(space.values())

    def read(self) -> Values:
        """Return all names of all standard modules, for finding out which of them an import patched."""
        found: Values = {}
        for name, module in list(sys.modules.items()):
            if _is_standard(name) and is_module(module):
                found.update({f"{name}.{one}": value for one, value in list(namespace_of(module).items())})
        return found

    def arm(self, state: State) -> None:
        assert isinstance(state, _Patched)
        spaces = [namespace_of(state.modules[name]) for name in self._standard(state)]
        spaces += [space for _, space, _ in state.classes.values()]
        ask = partial(gc.get_referents, *spaces)
        names = tuple(state.modules)
        pick = partial(itemgetter(*names), sys.modules)
        state.probes = [(ask, ask()), (pick, tuple(state.modules.values())), (sys.modules.__len__, len(sys.modules))]

    def put_back(self, state: State) -> None:
        space, saved = state.builtins  # type: ignore[attr-defined]
        space.update(saved)
        assert isinstance(state, _Patched)
        for name, module in state.modules.items():
            if sys.modules.get(name) is not module:
                sys.modules[name] = module
        self._put_names(state)
        self.extend(state)
        self._put_names(state)
        self.arm(state)

    def _put_names(self, state: _Patched) -> None:
        for module, one, before, _ in [*self._changed(state)]:
            space = namespace_of(state.modules[module])
            if before is ABSENT:
                space.pop(one, None)
            else:
                space[one] = before
        for _, cls, one, before, _ in [*self._changed_classes(state)]:
            bind_in_class(cls, one, kinds.ABSENT if before is ABSENT else before)

    def differences(self, state: State) -> list[tuple[str, object, object]]:
        assert isinstance(state, _Patched)
        found: list[tuple[str, object, object]] = []
        for name, module in state.modules.items():
            if sys.modules.get(name) is not module:
                found.append((f"sys.modules[{name!r}]", module, sys.modules.get(name, ABSENT)))
        found += [(f"{module}.{one}", before, after) for module, one, before, after in self._changed(state)]
        return found + [(f"{path}.{one}", was, now) for path, _, one, was, now in self._changed_classes(state)]

    @staticmethod
    def _changed_classes(state: _Patched) -> Iterator[tuple[str, type, str, Any, Any]]:
        """Yield what was patched in classes: path, class, name, before, after."""
        for path, (cls, space, saved) in state.classes.items():
            for one in dict.fromkeys((*saved, *space)):
                before, after = saved.get(one, ABSENT), space.get(one, ABSENT)
                if before is not after and one not in CLASS_INTERNALS:
                    yield path, cls, one, before, after

    def _changed(self, state: _Patched) -> Iterator[tuple[str, str, Any, Any]]:
        """Yield what was patched: module, name, before, after."""
        values = self._values(state)
        for module in self._standard(state):
            space = namespace_of(state.modules[module])
            names = (*state.saved[module][1], *space)
            for one in dict.fromkeys(names):
                path = f"{module}.{one}"
                before, after = values.get(path, ABSENT), space.get(one, ABSENT)
                if same(before, after, 1) or path in _CHANGING or (one.startswith("__") and one.endswith("__")):
                    continue
                if before is ABSENT:
                    lasting = is_module(after) or path.startswith(_INTERACTIVE[:2]) or path == "builtins._"
                    if (lasting and not _is_translation(after)) or one in _own_globals(state.modules[module]):
                        continue
                elif not isinstance(before, _KINDS) or one in _own_globals(state.modules[module]):
                    continue
                yield module, one, before, after

    def probes(self, values: Values) -> Iterator[Probe]:
        return iter(())

    @staticmethod
    def _values(state: State) -> Values:
        assert state.values is not None
        return state.values

    @staticmethod
    def _standard(state: _Patched) -> list[str]:
        return [name for name in state.modules if name in state.saved]


def _is_standard(name: str) -> bool:
    top = name.partition(".")[0]
    return top in sys.stdlib_module_names and top not in _NEVER


def _classes_of(state: _Patched, mine: Iterable[ModuleType]) -> Iterator[tuple[str, type]]:
    """Yield the standard library's classes that the project refers to, with their paths; built-in ones never change."""
    found: list[Any] = [value for module in mine for value in list(namespace_of(module).values())]
    for name in list(state.modules):
        if name in state.saved:
            space = namespace_of(state.modules[name])
            found += [space[one] for one in state.named & space.keys()]
    for value in found:
        if issubclass(type(value), type) and value.__flags__ & _HEAP_TYPE:
            home = type_dict(value).get("__module__")
            if isinstance(home, str) and home in state.saved:
                yield f"{home}.{value.__qualname__}", value


def _is_translation(value: Any) -> bool:
    """Whether a ``_`` among the builtins is what ``gettext.install`` put there, and not the last result of a shell."""
    return isinstance(value, (MethodType, FunctionType))


def references(module: ModuleType) -> set[str]:
    """Return the names of modules, or what may be some, that a module's globals and code refer to."""
    found = known.get(id(module))
    if found is None or found[0] is not module:
        found = latest[id(module)] = module, _references(module)
    return found[1]


def _references(module: ModuleType) -> set[str]:
    found: set[str] = set()
    for value in list(namespace_of(module).values()):
        if is_module(value):
            name = namespace_of(value).get("__name__")
            found.update({name} if isinstance(name, str) else ())
    for code in _codes_of(module):
        found.update(code.co_names)
        for text in code.co_consts:
            if type(text) is str and len(text) < 100 and "." in text and " " not in text:
                parts = text.split(".")
                found.update(".".join(parts[:end]) for end in range(1, len(parts)))
    return found


def _codes_of(module: ModuleType) -> Iterator[CodeType]:
    """Yield the code of everything that is defined in a module."""
    own = namespace_of(module)
    todo: list[Any] = list(own.values())
    seen: set[int] = set()
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        kind = type(thing)  # its real one: what `isinstance` asks may be anybody's code
        if kind is CodeType:
            yield thing
            todo += thing.co_consts
        elif kind in (staticmethod, classmethod):
            todo.append(thing.__func__)
        elif kind is property:
            todo += [thing.fget, thing.fset, thing.fdel]
        elif kind is functools._lru_cache_wrapper:
            todo.append(vars(thing).get("__wrapped__"))
        elif kind is FunctionType and thing.__globals__ is own:
            todo += [thing.__code__, vars(thing).get("__wrapped__")]
        elif issubclass(kind, (tuple, list, dict)) and len(seen) < _TABLES:  # a table of functions
            todo += dict.values(thing) if issubclass(kind, dict) else _ITERATE[issubclass(kind, list)](thing)
        elif issubclass(kind, type) and type_dict(thing).get("__module__") == own.get("__name__"):
            todo += list(type_dict(thing).values())


@functools.cache
def _own_globals(module: ModuleType) -> frozenset[str]:
    """Return the names that a module's own functions bind: ``global NAME``."""
    from opcode import opmap

    binding = {opmap["STORE_GLOBAL"], opmap["DELETE_GLOBAL"]}
    return frozenset(_bound_by(_codes_of(module), binding, opmap["EXTENDED_ARG"]))


def _bound_by(codes: Iterable[CodeType], binding: set[int], extended: int) -> Iterator[str]:
    for code in codes:
        raw, high = code.co_code, 0
        for at in range(0, len(raw), 2):
            operation, argument = raw[at], raw[at + 1] | high
            high = argument << 8 if operation == extended else 0
            if operation in binding:
                yield code.co_names[argument]


stdlib_patches: Final = _StdlibPatches()
