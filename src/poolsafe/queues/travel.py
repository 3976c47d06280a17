"""What is on its way with a task: queues that must stay alive until the task is done, though the sender forgets them.

Used by: face (says that it is being pickled), submission (asks what was). What may go wrong: nothing.
"""

from __future__ import annotations

import threading
from typing import Any


class _Luggage(threading.local):
    packing: list[Any] | None = None


_luggage = _Luggage()


def pack() -> None:
    """From now on, what this thread pickles is noted."""
    _luggage.packing = []


def packing() -> bool:
    """Whether what this thread pickles is noted."""
    return _luggage.packing is not None


def packed() -> list[Any]:
    """What was noted since `pack`; nothing more is."""
    items, _luggage.packing = _luggage.packing, None
    return items or []


def note(thing: Any) -> None:
    """This is being pickled."""
    if _luggage.packing is not None:
        _luggage.packing.append(thing)
