"""Imports that were going on in the parent when a worker was forked.

A thread of the parent that is importing a module at the moment of the fork holds that module's lock for ever in the
worker, and an import of the same module there would wait for it (importlib keeps a lock for each module; `os.fork`
renews the global one alone). What is in `sys.modules` by then is half a module.

Used by: workers (what the pool's own thread is importing, when the pool is made), child (forgets what nobody will ever
finish). What may go wrong: another Python keeps its locks elsewhere; then nothing is done.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from typing import Any


def _locks() -> dict[str, Any]:
    found: dict[str, Any] = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})
    return found


def _owner(reference: Any) -> int | None:
    lock = reference()
    owner: int | None = None if lock is None else getattr(lock, "owner", None)
    return owner


def importing_here() -> frozenset[str]:
    """The modules that the calling thread is importing just now."""
    me = get_ident()
    return frozenset(name for name, reference in list(_locks().items()) if _owner(reference) == me)


def forget_dead_importers(keep: frozenset[str]) -> None:
    """Lets half-imported modules be imported again, in a process that was forked.

    Args:
        keep: Modules in whose import the pool was made. Importing them again would make the pool again; what is there
            of them will have to do, as in the stdlib.
    """
    for name, reference in list(_locks().items()):
        owner = _owner(reference)
        if owner == get_ident():
            continue
        # Without an owner, too: a thread that was just taking it, or giving it back, holds the lock within the lock.
        _locks().pop(name, None)
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if owner is not None and name not in keep and getattr(spec, "_initializing", False):
            sys.modules.pop(name, None)
