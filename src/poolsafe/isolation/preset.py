"""What every preset is: a named piece of state that is no global of the project, and how to put it back.

Used by: the modules with the presets themselves (interpreter, library, patches, packages) and `process_state`, which
restores many of them together.

A preset reads its state as plain values by path, ``{"sys.getrecursionlimit()": 1000, ...}``. What was captured carries
two cheap means along, so that nothing is read where nothing changed:

- *fixed*: names of a module that are simply bound again, by one ``dict.update`` per module. No comparison, so no
  ``__eq__`` of what a task put there is asked;
- *probes*: calls into C, each with what it must return. The first other answer makes the preset read everything and
  put back what differs.

State of a module that is not loaded yet has no values: when it is found loaded later, what its import would have made
is the pristine state (`Preset.defaults`), not what the task that imported it left.

What may go wrong: something cannot be undone (`ResetError`); the caller replaces the worker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from operator import eq
from typing import Any, ClassVar, Final, TypeAlias

from ..errors import ResetError

#: What a preset read: path -> value. A path that ends in ``[:]`` stands for a copy of what is in a container.
Values: TypeAlias = dict[str, Any]
#: A call, and what it returns as long as nothing changed.
Probe: TypeAlias = tuple[Callable[[], Any], Any]
#: Names to bind again: (globals of a module, {name: value}).
Fixed: TypeAlias = tuple[dict[str, Any], dict[str, Any]]

ABSENT: Final = type("Absent", (), {"__repr__": lambda _: "<absent>", "__slots__": ()})()
_PLAIN: Final = frozenset({str, bytes, int, float, bool, type(None)})


class State:
    """What was captured; made by a preset, and its alone."""

    __slots__ = ("fixed", "probes", "values")

    def __init__(self, values: Values | None, fixed: list[Fixed], probes: list[Probe]) -> None:
        self.values: Values | None = values
        self.fixed: list[Fixed] = fixed
        self.probes: list[Probe] = probes


class Preset:
    """A piece of process-wide or package state that can be put back before every task.

    Pass it in `reset=`. It is a resetter: it has ``capture()`` and ``restore(state)``.
    """

    #: How the preset is called in `poolsafe.presets`.
    name: ClassVar[str] = ""
    #: The module that holds the state; nothing is done until it is loaded.
    module: ClassVar[str] = "sys"
    #: What users call that module.
    label: ClassVar[str] = ""
    #: Names of the module that are bound again.
    bound: ClassVar[tuple[str, ...]] = ()
    #: Names of the module whose list, dict or set gets its content back, in place.
    contents: ClassVar[tuple[str, ...]] = ()
    #: Functions of the module: what reads a value, and what puts it back.
    calls: ClassVar[Mapping[str, str]] = {}
    #: What the module's import makes, where it is known: path -> value.
    pristine: ClassVar[Mapping[str, Any]] = {}

    # -- a resetter -----------------------------------------------------------------------------------------------

    def capture(self) -> State:
        """Return the state as it is now."""
        return self.state_of(self.read() if self.loaded else None)

    def restore(self, state: State) -> None:
        """Put the state back.

        Raises:
            ResetError: It cannot be undone.
        """
        if not is_quiet(state.fixed, state.probes):
            self.put_back(state)

    def differences(self, state: State) -> list[tuple[str, object, object]]:
        """Tell what differs now from a captured state: path, before, after."""
        if not self.loaded:
            return []
        now = self.read()
        values = self.used(self.defaults() if state.values is None else state.values, now)
        found: list[tuple[str, object, object]] = []
        for path in [*values, *(path for path in now if path not in values)]:
            before, after = values.get(path, ABSENT), now.get(path, ABSENT)
            if not same(before, after):
                found += _inside(path, before, after)
        return found

    def put_back(self, state: State) -> None:
        """Read everything, and put back what differs."""
        if state.values is None:
            if not self.loaded:
                return
            state.values = self.defaults()
        now = self.read()
        self.write(state.values, now)
        self.arm(state)

    def arm(self, state: State) -> None:
        """Prepare the cheap means anew, after the values or what holds them changed."""
        fresh = self.state_of(state.values)
        state.fixed, state.probes = fresh.fixed, fresh.probes

    def state_of(self, values: Values | None) -> State:
        """Return a state of these values."""
        if values is None:
            return State(None, [], [(partial(sys.modules.get, self.module), None)])
        return State(values, list(self.fixed(values)), list(self.probes(values)))

    # -- what the kinds of presets define ---------------------------------------------------------------------------

    @property
    def loaded(self) -> bool:
        """Whether the module that holds the state is there, whole."""
        return self.module in sys.modules and all(hasattr(sys.modules[self.module], name) for name in self.contents)

    @property
    def space(self) -> dict[str, Any]:
        """The module's globals."""
        return vars(sys.modules[self.module])

    def read(self) -> Values:
        """Return everything as it is now."""
        space = self.space
        values = {self.path(name): space[name] for name in (*self.bound, *self.contents) if name in space}
        values.update((self.path(name, "[:]"), space[name].copy()) for name in self.contents)
        values.update((self.path(name, "()"), space[name]()) for name in self.calls if name in space)
        return values

    def write(self, values: Values, now: Values) -> None:
        """Put back what differs between the captured values and those of now."""
        space = self.space
        for known, saved in self.fixed(values):
            known.update(saved)
        for name in self.contents:
            path = self.path(name, "[:]")
            if not same(values[path], now.get(path, ABSENT)) or space[name] is not now[self.path(name)]:
                refill(space[name], values[path])
        for name, setter in self.calls.items():
            path = self.path(name, "()")
            if path in values and not same(values[path], now[path]):
                self.call_setter(setter, values[path])

    def call_setter(self, setter: str, value: Any) -> None:
        """Put one value back that is behind a function."""
        self.space[setter](value)

    def fixed(self, values: Values) -> Iterator[Fixed]:
        """Yield the names that are bound again without looking."""
        names = {name: values[path] for name in (*self.bound, *self.contents) if (path := self.path(name)) in values}
        if names:
            yield self.space, names

    def probes(self, values: Values) -> Iterator[Probe]:
        """Yield the calls that tell whether anything else changed."""
        for name in self.contents:
            yield partial(eq, values[self.path(name)], values[self.path(name, "[:]")]), True
        for name in self.calls:
            if self.path(name, "()") in values:
                yield self.space[name], values[self.path(name, "()")]

    def looks(self, state: State) -> list[Probe]:
        """Return the probes of a state, none of which puts anything back."""
        return state.probes

    def defaults(self) -> Values:
        """Return the values of a freshly started program, for a module that a task imported."""
        return {**self.read(), **self.pristine}

    def used(self, values: Values, now: Values) -> Values:
        """Return captured values as the module itself makes them when it is used, if by `now` it was.

        What a module fills in at its first use, the same for everybody, is put back like all else, but is no leak.
        """
        return values

    def path(self, name: str, end: str = "") -> str:
        """Return how a global of the module is called."""
        return f"{self.label or self.module}.{name}{end}"

    def __repr__(self) -> str:
        return f"<preset {self.name}: {(type(self).__doc__ or '').partition('.')[0].strip()}>"

    def __reduce__(self) -> str:
        return self.name  # pickled as the global of this name in the module of its class: there is one of each


def is_quiet(fixed: Iterable[Fixed], probes: Iterable[Probe]) -> bool:
    """Bind the fixed names again, and tell whether all probes give the answers of the captured state."""
    for space, names in fixed:
        space.update(names)
    try:
        for probe, was in probes:
            if probe() != was:
                return False
    except Exception:  # what is asked is not there any more, or something has an __eq__ of its own
        return False
    return True


def refill(container: Any, saved: Any) -> None:
    """Give a list, dict or set its content back."""
    if isinstance(container, list):
        container[:] = saved
    else:
        container.clear()
        container.update(saved)


def same(one: Any, other: Any, depth: int = 4) -> bool:
    """Tell whether two values are the same: plain ones by value, containers by what is inside, else by identity."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other) or not depth:
        return False
    if kind in _PLAIN:
        return bool(one == other)
    if kind in (list, tuple):
        return len(one) == len(other) and all(same(*pair, depth - 1) for pair in zip(one, other, strict=True))
    if kind is dict:
        return one.keys() == other.keys() and all(same(one[key], other[key], depth - 1) for key in one)
    return bool(one == other) if kind in (set, frozenset) else False


def cannot_undo(what: str, why: str) -> ResetError:
    """Return the error for what stays changed for as long as the process lives."""
    return ResetError(f"{what} cannot be put back", cause=why, remedy="The worker is replaced before its next task.")


def _inside(path: str, before: Any, after: Any) -> Iterator[tuple[str, object, object]]:
    """Yield the differences in a container one by one, where they have a name."""
    if path.endswith("[:]"):
        path = path[:-3]
        if type(before) is dict and type(after) is dict:
            for key in [*before, *(key for key in after if key not in before)]:
                one, other = before.get(key, ABSENT), after.get(key, ABSENT)
                if not same(one, other):
                    yield f"{path}[{key!r}]", one, other
            return
    yield path, before, after
