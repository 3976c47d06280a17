"""A lock that is held while this process forks, so that the child finds nothing half made that the lock guards.

Used by: dial (sockets that clients make), hub (connections that the owner takes in). What may go wrong: the lock cannot
be had in time; then the fork goes ahead all the same, for one socket too many in a child is better than no child.
"""

from __future__ import annotations

import os
from _thread import get_ident
from collections.abc import Callable
from typing import Any

#: Seconds that a fork waits at most.
PATIENCE = 1.0


def hold_during_forks(lock: Callable[[], Any], in_child: Callable[[], None]) -> None:
    """Registers both for every fork from now on.

    Args:
        lock: Gives the lock of the moment, or None.
        in_child: Called in the child, where nobody holds the lock, and nobody ever will: it is to be made anew.
    """
    held: dict[int, Any] = {}  # by thread, for several may be forking

    def acquire() -> None:
        found = lock()
        if found is not None and found.acquire(timeout=PATIENCE):
            held[get_ident()] = found

    def release() -> None:
        found = held.pop(get_ident(), None)
        if found is not None:
            found.release()

    def forget() -> None:
        held.clear()
        in_child()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=acquire, after_in_parent=release, after_in_child=forget)
