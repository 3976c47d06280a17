"""Replaces `multiprocessing.Pool`, however a program names it, in this process and in those that it spawns.

Used by: sitecustomize (beside this file). The class `multiprocessing.pool.Pool` itself is changed to make another kind
of pool, so it makes no difference how and when a program came by it: `from multiprocessing import Pool`, a context's
`Pool`, a subclass. Forked children have the change by themselves, spawned ones and those of a fork server make it anew:
their preparation data carries it.

What may go wrong: a subclass that cannot be combined with ours (it makes what it always made, and is not watched).
`ThreadPool`, and pools that are an `IsolatedPool` already, are left alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

_SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sitecustomize.py")


def install(settings: dict[str, Any]) -> None:
    """Watch the pools of this process, from now on or as soon as it imports what makes them."""

    def prepare(spawn: Any) -> None:
        original = spawn.get_preparation_data

        def get_preparation_data(name: str) -> dict[str, Any]:
            # First, so that it is done before the child runs the program's main module.
            return {"poolsafe_audit": _Carrier(settings), **original(name)}

        spawn.get_preparation_data = get_preparation_data

    _when_imported("multiprocessing.pool", lambda module: _replace(module, settings))
    _when_imported("multiprocessing.spawn", prepare)


class _Carrier:
    """Unpickled in a child, it begins to watch there."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings

    def __reduce__(self) -> Any:
        import runpy  # here, because not every program has it

        return runpy.run_path, (_SITE, {"_settings": self._settings}, "_poolsafe_audited")


def _replace(module: Any, settings: dict[str, Any]) -> None:
    """Have `multiprocessing.pool.Pool` make pools that watch."""
    pool, thread_pool, original = module.Pool, module.ThreadPool, module.Pool.__init__
    if getattr(original, "_poolsafe", False):
        return

    def __new__(cls: type, *_: Any, **__: Any) -> Any:
        if issubclass(cls, thread_pool):
            return object.__new__(cls)
        from .pools import watching

        return object.__new__(watching(pool, cls, settings))

    def __init__(self: Any, *args: Any, **kwds: Any) -> None:
        if isinstance(self, thread_pool):
            original(self, *args, **kwds)
            return
        from .pools import WatchingPool

        # A subclass may call Pool.__init__ by its name.
        (WatchingPool.__init__ if isinstance(self, WatchingPool) else original)(self, *args, **kwds)

    __init__._poolsafe = True  # type: ignore[attr-defined]
    pool.__new__ = __new__
    pool.__init__ = __init__


def _when_imported(name: str, action: Callable[[ModuleType], None]) -> None:
    if name in sys.modules:
        action(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Finder(name, action))


class _Finder:
    """Finds one module, by asking the other finders, and has something done once it is loaded."""

    def __init__(self, name: str, action: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._action = action
        self._loader: Any = None

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> Any:
        """Return the spec of that module, or None."""
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec: Any = finder.find_spec(name, path, target)
            if spec is not None:
                self._loader, spec.loader = spec.loader, self
                return spec
        return None

    def create_module(self, spec: Any) -> Any:
        """As the module's own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """Load the module, and do what is to be done."""
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._action(module)
