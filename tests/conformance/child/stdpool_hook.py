"""Makes `multiprocessing.pool.Pool` another class, in every process of a conformance run.

Who calls it: a ``.pth`` file of the interpreter that `tests.conformance.interpreter` builds, at every start of that
interpreter: the test run itself, spawned workers, servers of managers, scripts that the tests start (also with ``-I``).
`multiprocessing.Pool`, ``ctx.Pool`` and the registry of `SyncManager` all look the class up in `multiprocessing.pool`,
so this one name is enough. The thread pools of that module stay what they are.

What may go wrong: `multiprocessing.pool` may be imported by the module of the replacement itself, which is then only
half there; the name is set when that module is complete. Light on purpose: one test asserts that multiprocessing is not
imported yet when its script begins.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import os
import sys
from types import ModuleType
from typing import Any

#: ``module:Class`` that takes the place of the stdlib's Pool; without it nothing is changed.
REPLACEMENT = "POOLSAFE_CONFORMANCE_POOL"
#: A file to which every construction of a pool appends one line, whatever process it happens in.
LOG = "POOLSAFE_CONFORMANCE_LOG"

STDLIB = "multiprocessing.pool"


class Finder:
    """Finds the modules named in `watched` as usual, and calls back when one of them has been executed."""

    def __init__(self, watched: set[str], executed: Any) -> None:
        self.watched = watched
        self.executed = executed

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> Any:
        """Answer as the other finders would, with the loader's last step extended."""
        if name not in self.watched:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                self._extend(spec.loader)
                return spec
        return None

    def _extend(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self.executed(module)

        loader.exec_module = exec_module


class Replacement:
    """The class to put in place of the stdlib's Pool, and the doing of it."""

    def __init__(self, where: str) -> None:
        self.module, _, self.name = where.partition(":")
        self.stdlib: type | None = None

    def put_in_place(self, module: ModuleType) -> None:
        """Set the name as soon as both modules are complete."""
        if module.__name__ == STDLIB:
            self.stdlib = module.Pool
            log_constructions(module.Pool, "stdlib", only_itself=True)
        ours = getattr(importlib.import_module(self.module), self.name, None)
        if ours is None or self.stdlib is None:
            return  # imported in a circle: the other module calls when it is done
        if sys.modules[STDLIB].Pool is not ours:  # type: ignore[attr-defined]
            log_constructions(ours, "ours", only_itself=False)
            show(sys.modules[STDLIB], ours)


def show(module: ModuleType, pool: type) -> None:
    """Have `module.Pool` give `pool`, while the module's own code goes on seeing the class that it defined.

    ThreadPool is defined there and calls its base class as the global `Pool`; it must stay what it is. A property of
    the module's type comes before the module's dictionary for those who look from outside, and only for them.
    """
    module.__class__ = type("ModuleWithOtherPool", (ModuleType,), {"Pool": property(lambda _: pool)})


def log_constructions(cls: Any, label: str, *, only_itself: bool) -> None:
    """Have every construction of `cls` (of subclasses, too, unless `only_itself`) write `label` to the log."""
    construct = cls.__init__

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **kwds: Any) -> None:
        if type(self) is cls or not only_itself:
            note(label)
        construct(self, *args, **kwds)

    cls.__init__ = __init__


def note(label: str) -> None:
    """Append a line to the log; one short O_APPEND write is whole, whoever else writes."""
    fd = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{label} {os.getpid()}\n".encode())
    finally:
        os.close(fd)


def install() -> None:
    """Watch for the import of `multiprocessing.pool`, when the environment names a replacement."""
    where = os.environ.get(REPLACEMENT)
    if where:
        replacement = Replacement(where)
        sys.meta_path.insert(0, Finder({STDLIB, replacement.module}, replacement.put_in_place))


install()
