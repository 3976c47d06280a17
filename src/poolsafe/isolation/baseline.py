"""What a forked worker puts back before its initializer: the state in which its pool was made, whenever it is forked.

Between the making of the pool and the fork of a replacement the parent has gone on. To put the state back is then to
drop what the parent has made since; but these objects are the parent's. A temporary directory that is dropped here is
deleted, a file's buffer is written a second time. So whatever the restore may drop is held for the worker's whole life:
a worker ends without finalizers.

Used by: `Plan` (makes it in the parent), the worker (calls `restore` once). What may go wrong: as in
`Snapshot.restore`. Not put back are the thread-locals of the thread that made the pool: a replacement is forked by
another one.
"""

from __future__ import annotations

import _thread
import contextvars
import gc
import sys
from collections.abc import Iterator
from typing import Any

from . import patches
from .modules import is_project_module, loaded_modules
from .snapshot import Snapshot


class Baseline:
    """See the module.

    Args:
        snapshot: Captured just now, in the parent.
        complete: Whether this is all that workers begin with: no initializer adds to it.
    """

    def __init__(self, snapshot: Snapshot, *, complete: bool) -> None:
        self._snapshot = snapshot
        self._modules = frozenset(sys.modules)
        self._context = contextvars.copy_context()
        self._references: patches.References = {**patches.latest} if complete else {}
        patches.latest.clear()
        self._held: list[Any] = []

    def restore(self) -> None:
        """Put everything back, in a worker that was just forked."""
        self._held = self._present()
        self._held += self._unload_newcomers()
        renewed = [*self._renewed_locks()]
        self._snapshot.restore()
        for space, name, lock in renewed:
            space[name] = lock
        for variable, value in self._context.items():
            if variable.get(None) is not value:
                variable.set(value)
        patches.known.update(self._references)  # the same code again, which takes long to read

    def _present(self) -> list[Any]:
        """What is in the captured objects now, one step deep; dictionaries of instances and classes are no step."""
        objects = [record[0] for found in self._snapshot.records.values() for record in found]
        inside = gc.get_referents(*objects)
        return inside + gc.get_referents(*[held for held in inside if type(held) is dict])

    def _unload_newcomers(self) -> list[Any]:
        """Have modules of the project that the parent has imported since imported anew, as in the first workers."""
        if sys.modules.keys() <= self._modules:  # to look at the modules would copy a page of memory for each
            return []
        loaded = loaded_modules()
        names = [name for name in loaded if name not in self._modules and is_project_module(loaded[name])]
        return [sys.modules.pop(name, None) for name in names]

    def _renewed_locks(self) -> Iterator[tuple[dict[str, Any], str, Any]]:
        """Locks that functions which run after a fork have bound in place of one that nobody here can release."""
        for group in ("namespace", "partial_namespace"):
            for space, saved, *_ in self._snapshot.records.get(group, ()):
                for name, lock in saved.items():
                    now = space.get(name)
                    if type(lock) in _LOCKS and type(now) in _LOCKS and now is not lock and not _is_free(lock):
                        yield space, name, now


_LOCKS = (_thread.LockType, _thread.RLock)


def _is_free(lock: Any) -> bool:
    if lock.acquire(False):
        lock.release()
        return True
    return False
