"""Modules that are imported when something in them is first asked for, and not by whoever imports the pool's class.

A worker that multiprocessing starts afresh imports the main module, and with it, in most programs, `IsolatedPool`:
without ever making a pool. What pools are made of would be half of all that such a worker does.

Used by: pool, calls, queues.maker. What may go wrong: the first pool is made when nothing can be imported any more, as
at the end of the interpreter (ImportError), or by a signal handler that interrupts the making of the first one
(AttributeError).
"""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any

# Held while such a module is imported, and by whoever forks: its lock would be held for ever in a process that was
# forked in the middle of the import by another thread.
_importing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release
    )


class Later:
    """A module of the package. Its names, once one was asked for, are attributes like any other.

    Args:
        name: Below the package.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # somebody only looks, as inspection does
            raise AttributeError(name)
        with _importing:
            module = importlib.import_module(f"{__package__}.{self.__name__}")
        vars(self).update((key, value) for key, value in vars(module).items() if not key.startswith("__"))
        return object.__getattribute__(self, name)
