"""All presets together: `ProcessState` puts back whatever of them it is given, and looks once where nothing changed.

Used by `Plan` (`reset="auto"`), and by `poolsafe.presets`, the public face. The presets themselves are in `system` and
`interpreter` (the process), `library`, `registries`, `logs` and `patches` (the standard library), and `packages`.

`ProcessState.restore` binds the fixed names of all presets again, one ``dict.update`` a module, and asks all their
probes in one loop; only when one of them gives another answer is each preset restored by itself.

What may go wrong: something cannot be undone (`ResetError`, after everything else was put back); the caller replaces
the worker. What no preset can see or undo:

====================================================  ==================================================================
``os.putenv`` and C code that sets variables          not visible in ``os.environ``
``signal.siginterrupt``, handlers installed by C      cannot be read
``os.dup2`` onto 0, 1, 2; descriptors left open       not looked at: a system call for each, before every task
``sys.addaudithook``, ``os.register_at_fork``         cannot be taken back
``atexit.register``, ``codecs.register``              cannot be listed
``codecs.register_error``                             cannot be listed
``faulthandler.dump_traceback_later``                 cannot be read
caches (`re`, `linecache`, `functools` in libraries)  hold no state that results depend on
====================================================  ==================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from operator import is_
from typing import Any, Final

from . import interpreter, library, logs, packages, patches, registries, system
from .preset import ABSENT, Fixed, Preset, Probe, State, Values, is_quiet, same

#: All presets, in the order in which they are put back: patched functions first, which the others may need.
ALL: Final[tuple[Preset, ...]] = (
    patches.stdlib_patches,
    *(one for part in (system, interpreter, library, logs, registries, packages)
      for one in vars(part).values() if isinstance(one, Preset)),
)  # fmt: skip


#: Has a preset read everything, whatever it finds.
_DOUBT: Final[Probe] = (bool, True)


class _Together:
    """The states of several presets, and their cheap means in one."""

    __slots__ = ("fixed", "last", "loaded", "looks", "probes", "pure", "states")

    def __init__(self, states: list[tuple[Preset, State]]) -> None:
        self.states: list[tuple[Preset, State]] = states
        self.arrange()

    def arrange(self) -> None:
        """Join the cheap means of all states."""
        spaces: dict[int, Fixed] = {}
        for _, state in self.states:
            for space, names in state.fixed:
                spaces.setdefault(id(space), (space, {}))[1].update(names)
        self.fixed: list[Fixed] = list(spaces.values())
        #: The same, for looking without binding: what gives the values of a module's names, and what these are to be.
        self.looks: list[tuple[Callable[[], Any], tuple[Any, ...]]] = [
            (partial(_values_of, space, tuple(names)), tuple(names.values())) for space, names in self.fixed
        ]
        # Whether more modules are loaded is asked once for all.
        known = [(preset, state) for preset, state in self.states if state.values is not None]
        self.probes: list[Probe] = [one for _, state in known for one in state.probes if not _is_size(one)]
        self.pure: list[Probe] = [one for preset, state in known for one in preset.looks(state) if not _is_size(one)]
        self.loaded: int = len(sys.modules)
        self.last: str = next(reversed(sys.modules))

    def is_untouched(self) -> bool:
        """Tell by the cheap means whether everything is as it was captured, and put nothing back."""
        bound = all(all(map(is_, look(), values)) for look, values in self.looks)
        return bound and is_quiet((), self.pure) and self.nothing_imported()

    def nothing_imported(self) -> bool:
        """Tell whether the same modules are loaded as before, as far as a glance can tell."""
        return len(sys.modules) == self.loaded and next(reversed(sys.modules)) == self.last


def _values_of(space: dict[str, Any], names: tuple[str, ...]) -> list[Any]:
    return [space.get(name, ABSENT) for name in names]


def _is_size(probe: Probe) -> bool:
    return getattr(probe[0], "__self__", None) is sys.modules and getattr(probe[0], "__name__", "") == "__len__"


class ProcessState:
    """Several presets as one resetter.

    Args:
        presets: Which ones; all there are, unless given.
    """

    def __init__(self, presets: Iterable[Preset] | None = None) -> None:
        wanted = ALL if presets is None else tuple(presets)
        self.presets: tuple[Preset, ...] = tuple(
            sorted(wanted, key=lambda one: ALL.index(one) if one in ALL else len(ALL))
        )

    def capture(self) -> _Together:
        """Return the state of all as it is now."""
        return _Together([(preset, preset.capture()) for preset in self.presets])

    def restore(self, state: _Together) -> None:
        """Put back what differs.

        Raises:
            ResetError: Something cannot be undone; everything else was put back.
        """
        # The probes come first: the first of them tells of builtins, and what follows it may use them.
        if not (is_quiet(state.fixed, state.probes) and state.nothing_imported()):
            self._restore_each(state)

    def _restore_each(self, state: _Together) -> None:
        failed: BaseException | None = None
        for preset, one in state.states:
            try:
                preset.restore(one)
            except Exception as error:
                failed = failed or error
        state.arrange()
        if failed is not None:
            raise failed

    def differences(self, state: _Together) -> list[tuple[str, object, object]]:
        """Tell what differs now from a captured state: path, before, after."""
        if state.is_untouched():
            return []
        found: list[tuple[str, object, object]] = []
        for preset, one in state.states:
            try:
                found += preset.differences(one)
            except Exception as error:  # it was replaced by something that cannot even be read
                found.append((preset.name, "as captured", f"cannot be read: {type(error).__name__}"))
        return found

    # -- what an import does is part of the pristine state --------------------------------------------------------

    def imported(self, state: _Together) -> None:
        """Take in a module whose import has just ended: what it holds now is what tasks are to start from.

        Without this call a standard module that a task imports is taken by its known defaults.
        """
        for preset, one in state.states:
            if one.values is None and preset.loaded:
                one.values = preset.read()
                preset.arm(one)
        state.arrange()

    def loaded(self, state: _Together, names: Iterable[str]) -> None:
        """Take in standard modules that came with an import: tasks may patch them from now on."""
        for preset, one in state.states:
            if preset is patches.stdlib_patches:
                patches.stdlib_patches.take_in(one, names)

    def look(self) -> list[Values | None]:
        """Return what is there before the import of a module begins, for `absorb`."""
        return [preset.read() if preset.loaded else None for preset in self.presets]

    def absorb(self, state: _Together, before: list[Values | None]) -> None:
        """Make what changed since `look` part of the pristine state, except where the task had changed it before."""
        for (preset, one), was in zip(state.states, before, strict=True):
            if was is None or one.values is None or not preset.loaded:
                continue
            now = preset.read()
            changed = [path for path in {**was, **now} if not same(was.get(path, ABSENT), now.get(path, ABSENT))]
            for path in changed:
                value = _merged(one.values.get(path, ABSENT), was.get(path, ABSENT), now.get(path, ABSENT))
                if value is ABSENT:
                    one.values.pop(path, None)
                else:
                    one.values[path] = value
            if changed:  # what there is now is not the pristine state: the task may have changed something, too
                one.fixed, one.probes = [], [_DOUBT]
        state.arrange()


def _merged(first: Any, was: Any, now: Any) -> Any:
    """Return a pristine value with the change from `was` to `now`."""
    if same(first, was):
        return now
    if type(first) is type(was) is type(now) is list:
        new = [one for one in now if not any(one is other for other in was)]
        at_front = bool(new) and now[0] is new[0]
        return new + first if at_front else first + new
    if type(first) is type(was) is type(now) is dict:
        result = dict(first)
        for key in {**was, **now}:
            old, new = was.get(key, ABSENT), now.get(key, ABSENT)
            if same(old, new) or not same(first.get(key, ABSENT), old):
                continue
            if new is ABSENT:
                result.pop(key, None)
            else:
                result[key] = new
        return result
    return first
