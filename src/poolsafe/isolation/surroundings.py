"""The process-wide state around the project's globals, in one worker: captured once, put back before every task.

Used by: guard. What an import does to it is part of the pristine state, for it happens once: a package that a task
imports first may add warning filters or a path. So everything is looked at before and after such an import, and what
changed in between is taken in.

What may go wrong: something cannot be undone (`ResetError`; the caller replaces the worker). An error while an import
is looked at is told by `restore`, never to the import.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from .import_watch import ImportWatch
from .patches import stdlib_patches
from .preset import Preset
from .process_state import ProcessState

_BUILTINS = vars(builtins)
#: What a worker has of its own, and must not get from its parent.
OF_THE_WORKER = frozenset({"signals", "streams", "asyncio_policy", "threading_hooks"})


class Surroundings:
    """See the module.

    Args:
        presets: What to put back.
    """

    def __init__(self, presets: Iterable[Preset]) -> None:
        self._process = ProcessState(presets)
        self._modules = {preset.module for preset in self._process.presets}
        self._before: Any = None
        self._failure: BaseException | None = None
        ImportWatch(self._before_import, self._after_import, _any).install()  # first, for it is to be captured
        self._known = frozenset(self._modules & sys.modules.keys())
        self._state = self._process.capture()
        self._builtins = _BUILTINS.copy() if stdlib_patches in self._process.presets else None

    def shield(self) -> None:
        """Put builtins back, with which everything else is put back."""
        if self._builtins is not None:
            _BUILTINS.update(self._builtins)

    def restore(self) -> None:
        """Put everything back.

        Raises:
            ResetError: Something cannot be undone.
        """
        if self._failure is not None:
            raise self._failure
        self._process.restore(self._state)

    def differences(self) -> list[tuple[str, object, object]]:
        """Tell what differs now: path, before, after."""
        return self._process.differences(self._state)

    def rebase(self) -> None:
        """Take the state of now for the one to compare with."""
        self._state = self._process.capture()

    def _before_import(self, _: ModuleType) -> None:
        try:
            self._before = self._process.look()
        except Exception as error:
            self._failure = error

    def _after_import(self, _: ModuleType | None) -> None:
        if self._failure is not None:
            return
        try:
            self._process.absorb(self._state, self._before)
            loaded = frozenset(self._modules & sys.modules.keys())
            if loaded - self._known:
                self._process.imported(self._state)
            self._known = loaded
            self._process.loaded(self._state, sys.modules)
        except Exception as error:
            self._failure = error


def _any(name: str, spec: Any) -> bool:
    return True
