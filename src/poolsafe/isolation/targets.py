"""What is to be put back, as the user declared it: `Plan`, and the protocol of resetters.

`Plan.make` runs in the parent, where every mistake is found: it imports the modules, looks the names up and captures
once on trial. A plan is small and picklable (names, factories, resetters); each worker captures by it once its
initializer ran. What may go wrong is a `TargetError`, or a `CaptureError` for a value that cannot be put back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import FunctionType, ModuleType
from typing import Any, Final, Protocol, runtime_checkable

from ..errors import CaptureError, TargetError
from .baseline import Baseline
from .kinds import Record
from .modules import MP_MAIN, namespace_of, namespaces_of, project_modules
from .places import Place, Target, locate
from .preset import Preset
from .process_state import ALL, ProcessState
from .snapshot import Snapshot, Step
from .surroundings import OF_THE_WORKER
from .walk import Exempt, Walk

AUTO: Final = "auto"
_ACCEPTED: Final = (
    "A target is a module, 'pkg.mod', 'pkg.mod:NAME', 'pkg.mod:Class.attr', a mapping {target: factory}, a resetter "
    '(an object with capture() and restore(state)), or "auto"; or several of them in a list.'
)


@runtime_checkable
class Resetter(Protocol):
    """Knows how to rewind something that only its author understands."""

    def capture(self) -> object:
        """Return the state that tasks are to start from. Called once in each worker, after the initializer."""

    def restore(self, state: Any) -> None:
        """Put the captured state back. Called before every task."""


Resetter.__module__ = "poolsafe"  # the name that users import


class Plan:
    """What is put back before every task. Made by `make` only."""

    def __init__(self) -> None:
        self._auto = False
        self._modules: list[Target] = []
        self._values: list[Target] = []
        #: Factories and resetters, in the order in which they were declared: (target, factory) or (None, resetter).
        self._extras: list[tuple[Target | None, Any]] = []
        self._keep: list[Target] = []
        self._presets: list[Preset] = []
        self._kept: list[Preset] = []
        self._has_initializer = False

    @classmethod
    def make(cls, reset: Any, keep: Any = (), *, has_initializer: bool = False) -> Plan:
        """Check what the user declared, and make the plan.

        Args:
            reset: A target or an iterable of targets; None or an empty one for nothing.
            keep: Targets to exempt, likewise.
            has_initializer: Whether an initializer will run in the workers, which may make what is missing here.

        Raises:
            TargetError: A target makes no sense, or does not exist.
            CaptureError: A declared value can neither be captured nor rebuilt.
        """
        plan = cls()
        plan._has_initializer = has_initializer
        for item in _items(reset):
            plan._declare(item)
        for item in _items(keep):
            if isinstance(item, Preset):
                plan._kept.append(item)
            else:
                plan._keep.append(_keepable(item))
        plan._check()
        return plan

    @property
    def empty(self) -> bool:
        """Whether there is nothing to put back, ever."""
        return not (self._auto or self._modules or self._values or self._extras or self._presets)

    @property
    def inert(self) -> bool:
        """Whether it means nothing to a process that runs one task: it names no value, and has none made."""
        return not (self._values or self._extras or self._keep)

    def presets(self, *, early: bool = False) -> list[Preset]:
        """Return the process-wide state to put back.

        Args:
            early: Only what a worker is to have as its parent had it.
        """
        wanted = dict.fromkeys((*(ALL if self._auto else ()), *self._presets))
        return [one for one in wanted if one not in self._kept and not (early and one.name in OF_THE_WORKER)]

    def named(self) -> set[int]:
        """Return the ids of the values that are named one by one, to be put back or to be kept."""
        found = [locate(target, tolerate=True) for target in (*self._values, *self._keep) if target.path]
        return {id(place.value) for place in found if place is not None}

    def capture(self) -> Snapshot:
        """Capture what is declared as it is now. Called in a worker, after its initializer.

        Raises:
            TargetError: A target is missing that the initializer did not make either.
            CaptureError: A declared value can neither be captured nor rebuilt.
        """
        walk, places = self._walk()
        steps = list(self._steps(places))
        return Snapshot(walk.records, steps, extend=self._extend if self._auto else None)

    def makers(self) -> list[Step]:
        """What binds the values of factories anew. Called in a worker, after its initializer.

        Raises:
            TargetError: A target is missing that the initializer did not make either.
        """
        made = [(locate(target), factory) for target, factory in self._extras if target is not None]
        return [partial(_make, place, factory) for place, factory in made if place is not None]

    def baseline(self) -> Baseline:
        """Capture what is declared as it is in the parent when the pool is made.

        A worker that is forked later puts this back before its initializer runs, and so begins like the first ones.
        What only the initializer makes is missing here, and no factory is called: it may need the initializer, too.
        """
        walk, _ = self._walk(early=True)
        steps = list(self._steps({}, early=True))
        presets = self.presets(early=True)
        if presets:
            process = ProcessState(presets)
            steps.append(partial(process.restore, process.capture()))
        return Baseline(Snapshot(walk.records, steps), complete=not self._has_initializer)

    # -- declaring --------------------------------------------------------------------------------------------------

    def _declare(self, item: Any) -> None:
        if isinstance(item, str):
            if item == AUTO:
                self._auto = True
            else:
                target = Target(item)
                (self._values if target.path else self._modules).append(target)
        elif isinstance(item, ModuleType):
            self._modules.append(_target_of(item))
        elif isinstance(item, Mapping):
            for text, factory in item.items():
                self._extras.append((_made_target(text, factory), factory))
        elif isinstance(item, Preset):
            self._presets.append(item)
        elif _is_resetter(item):
            self._extras.append((None, item))
        else:
            raise _no_target(item)

    def _check(self) -> None:
        """Look everything up once, and capture what is named one by one, for the errors."""
        for target in (*self._modules, *self._keep):
            target.load()
        self._walk(early=True, trial=True)

    # -- capturing --------------------------------------------------------------------------------------------------

    def _walk(self, *, early: bool = False, trial: bool = False) -> tuple[Walk, dict[str, Place]]:
        """Walk everything that is declared; return the walk, and where the factories' values are bound.

        Args:
            early: Before the initializer: what is missing may still come.
            trial: Only for the errors, which whole modules cannot give.
        """
        tolerate = early and self._has_initializer
        exempt = self._exempt(tolerate)
        kept = {target.module for target in self._keep if not target.path}
        made = [(target, locate(target, tolerate=tolerate)) for target, _ in self._extras if target is not None]
        places = {target.text: place for target, place in made if place is not None}
        for place in places.values():
            exempt.add(place.keys, place.name)
        walk = Walk(exempt, self._declared())
        for place in places.values():
            walk.add_record(*place.record(anew=not early))
        for target in self._values:
            found = locate(target, tolerate=tolerate)
            if found is not None and found.name not in exempt.of(found.keys[0]) and target.module not in kept:
                walk.add_record(*found.record())
                walk.add_value(found.value, target.text)
        walk.run()  # strictly first: what was visited then is not visited again, leniently
        if not trial:
            modules = [target.load() for target in self._modules] + (project_modules() if self._auto else [])
            if early:
                self._exempt_pools(exempt, modules)
            self._walk_modules(walk, modules)
        return walk, places

    def _walk_modules(self, walk: Walk, modules: list[ModuleType]) -> None:
        for module in modules:
            walk.add_module(module)
        walk.run()

    def _extend(self, modules: list[ModuleType] | None, captured: set[int]) -> Mapping[str, list[Record]]:
        """Capture again, or only from modules that were imported since; see `Snapshot.include_new_modules`."""
        if modules is None:
            return self._walk()[0].records
        walk = Walk(self._exempt(), self._declared(), captured)
        self._walk_modules(walk, modules)
        return walk.records

    def _declared(self) -> set[str]:
        names = {target.module for target in (*self._modules, *self._values)}
        return names | {MP_MAIN} if "__main__" in names else names

    def _exempt(self, tolerate: bool = False) -> Exempt:
        """Find what is kept, as it is now."""
        exempt = Exempt()
        for target in self._keep:
            if not target.path:
                exempt.objects.add(id(target.load()))
                continue
            place = locate(target, tolerate=tolerate)
            if place is not None:
                exempt.add(place.keys, place.name)
                exempt.objects.add(id(place.value))
        return exempt

    @staticmethod
    def _exempt_pools(exempt: Exempt, modules: list[ModuleType]) -> None:
        """Leave names of pools out: a pool whose baseline holds the one before it would keep that alive, and so on."""
        pool: Any = getattr(sys.modules.get("multiprocessing.pool"), "Pool", ())
        for module in modules:
            for space in namespaces_of(module):
                for name, value in list(space.items()):
                    if issubclass(type(value), pool):
                        exempt.add([space], name)

    def _steps(self, places: Mapping[str, Place], early: bool = False) -> Iterator[Step]:
        """Yield what is done after the records were put back: making values anew, restoring the resetters' states."""
        for target, extra in self._extras:
            if target is not None:
                if target.text in places:
                    yield partial(_make, places[target.text], extra)
                continue
            try:
                yield partial(extra.restore, extra.capture())
            except Exception as error:
                if not (early and self._has_initializer):
                    raise _failed_capture(extra, error) from error


def _make(place: Place, factory: Callable[[], object]) -> None:
    place.bind(factory())


def _items(declared: Any) -> list[Any]:
    """Return the single targets of what the user passed."""
    if declared is None:
        return []
    if isinstance(declared, (str, ModuleType, Mapping)) or _is_resetter(declared):
        return [declared]
    if isinstance(declared, type) or not isinstance(declared, Iterable):
        raise _no_target(declared)
    return list(declared)


def _is_resetter(item: Any) -> bool:
    return not isinstance(item, type) and isinstance(item, Resetter)


def _target_of(module: ModuleType) -> Target:
    name = namespace_of(module).get("__name__")
    if not isinstance(name, str) or sys.modules.get(name) is not module:
        raise TargetError(
            f"the module {name!r} cannot be found again by its name",
            cause="Workers import a module by its name, but sys.modules does not hold this one under it.",
            remedy="Pass a module that `import` finds, or name what should be put back through one that it finds.",
            target=str(name),
        )
    return Target(name)


def _made_target(text: Any, factory: Any) -> Target:
    if not isinstance(text, str) or not Target(text).path:
        raise TargetError(
            f"{text!r} cannot be made by a factory",
            cause="In {target: factory} a target is one global, written 'pkg.mod:NAME' or 'pkg.mod:Class.attr'.",
            remedy="Name the global, as in {'app:CACHE': dict}.",
            target=str(text),
        )
    if not callable(factory):
        raise TargetError(
            f"the factory of {text!r} cannot be called: it is an instance of {type(factory).__name__}",
            cause="In {target: factory} the factory is called before each task, and returns the new value.",
            remedy="Pass a function or a class, as in {'app:CACHE': dict}.",
            target=text,
        )
    return Target(text)


def _keepable(item: Any) -> Target:
    if isinstance(item, ModuleType):
        return _target_of(item)
    if isinstance(item, str) and item != AUTO:
        return Target(item)
    raise TargetError(
        f"keep= cannot take an instance of {type(item).__name__}" if item != AUTO else 'keep= cannot take "auto"',
        cause="What is kept is named: a module, 'pkg.mod', 'pkg.mod:NAME' or 'pkg.mod:Class.attr'.",
        remedy="Name what is to be exempted from the reset, or leave keep= out.",
        target=str(item) if isinstance(item, str) else "",
    )


def _no_target(item: Any) -> TargetError:
    named = isinstance(item, (type, FunctionType))
    if named:
        fact, way = f"{item.__qualname__} itself is not a target", f"Name it: '{item.__module__}:{item.__qualname__}'."
    else:
        fact, way = f"an instance of {type(item).__name__} is not a target", "Name the global that holds it."
    return TargetError(fact, cause=_ACCEPTED, remedy=way)


def _failed_capture(resetter: object, error: BaseException) -> CaptureError:
    name = type(resetter).__name__
    return CaptureError(
        f"capture() of the resetter {name} raised {type(error).__name__}",
        cause="The resetter could not read the state that tasks are to start from; its traceback is above.",
        remedy="Mend the resetter, or leave it out.",
        target=name,
    )
