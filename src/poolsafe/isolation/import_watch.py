"""Tells when modules are imported: a finder that has those of the project loaded by a loader that tells.

Used by: seeds, snapshot, surroundings (each for what it wants to know). In every worker, so this module is light. What
may go wrong: a module comes in past the import system, or by a finder that was put before the watch; then nobody tells.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .modules import is_project_path


class ImportWatch:
    """A finder that finds nothing by itself: it asks the others, and has the project's modules loaded by `_Watched`.

    Args:
        begin: Called with a module of the project before it is executed, unless it is while another one is.
        end: Called after the last one, with the module whose execution failed, or None.
        wanted: Tells by name and spec which modules to watch: the project's, unless it is given.
    """

    def __init__(
        self,
        begin: Callable[[ModuleType], None],
        end: Callable[[ModuleType | None], None],
        wanted: Callable[[str, Any], bool] | None = None,
    ) -> None:
        self._begin = begin
        self._end = end
        self._wanted = wanted or _is_project_spec
        self._depth = 0
        self._asked: set[tuple[int, str]] = set()

    def install(self) -> None:
        """Begin to watch."""
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Watch no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> Any:
        """Return the spec of a module that is about to be imported, or None to have the other finders asked."""
        # Reloading (that is when there is a target) is what a task does to a module, not the module's beginning.
        if target is not None or not self._looks_at(name):
            return None
        asked = get_ident(), name
        if asked in self._asked:  # by a finder that asks all others, as we do
            return None
        self._asked.add(asked)
        try:
            spec = self._ask_others(name, path)
        finally:
            self._asked.discard(asked)
        loader = getattr(spec, "loader", None)
        if hasattr(loader, "exec_module") and self._wanted(name, spec):
            spec.loader = _Watched(loader, self)
        return spec

    def _looks_at(self, name: str) -> bool:
        """Tell whether the module may be wanted at all, which spares asking for the standard library's."""
        return self._wanted is not _is_project_spec or name.partition(".")[0] not in sys.stdlib_module_names

    def _ask_others(self, name: str, path: Any) -> Any:
        finders: list[Any] = list(sys.meta_path)
        # Only those behind it: there may be another watch before it, which is asking just now.
        for finder in finders[finders.index(self) + 1 :] if self in finders else ():
            if isinstance(finder, ImportWatch) and finder._looks_at(name):
                return finder.find_spec(name, path)  # asks all that are behind it; asking these again doubles the work
            find = getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path)
            if spec is not None:
                return spec
        return None

    def execute(self, loader: Any, module: ModuleType) -> None:
        """Execute a module, and tell about the first and the last of those that are under way."""
        if not self._depth:
            self._begin(module)
        self._depth += 1
        failed: ModuleType | None = module
        try:
            loader.exec_module(module)
            failed = None
        finally:
            self._depth -= 1
            if not self._depth:
                self._end(failed)


def _is_project_spec(_: str, spec: Any) -> bool:
    origin = getattr(spec, "origin", None)
    return type(origin) is str and is_project_path(origin)


class _Watched:
    """Stands in for a module's loader until the module is executed; nobody sees it afterwards."""

    def __init__(self, loader: Any, watch: ImportWatch) -> None:
        self._loader = loader
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        """As the loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its real loader, and have it executed."""
        for holder, name in ((module.__spec__, "loader"), (module, "__loader__")):
            if getattr(holder, name, None) is self:
                setattr(holder, name, self._loader)
        self._watch.execute(self._loader, module)
