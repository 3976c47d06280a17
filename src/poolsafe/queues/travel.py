"""What is on its way with a task: queues that must stay alive until the task is done, though the sender forgets them.

Used by: face (says that it is being pickled), submission (asks what was). What may go wrong: nothing.
"""

from __future__ import annotations

import threading
from typing import Any


class _Luggage(threading.local):
    notes: list[Any] | None = None


_luggage = _Luggage()


class Packing:
    """A context in which what this thread pickles is noted; gives the list of notes.

    A signal handler or a `__reduce__` may submit something else meanwhile: that has a list of its own.
    """

    def __enter__(self) -> list[Any]:
        self._outer = _luggage.notes
        notes: list[Any] = []
        _luggage.notes = notes
        return notes

    def __exit__(self, *_: object) -> None:
        _luggage.notes = self._outer


def packing() -> bool:
    """Whether what this thread pickles is noted."""
    return _luggage.notes is not None


def note(thing: Any) -> None:
    """This is being pickled."""
    if _luggage.notes is not None:
        _luggage.notes.append(thing)
