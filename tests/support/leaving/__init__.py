"""Kinds of state that a task may leave behind: how each is changed, and how the next task would see it.

Who uses it: tests that run the same tasks in the stdlib's pool, where every kind leaks, and in ours; the test that the
page of guarantees lists each of them. `KINDS` are put back by default, `OPEN` are not, and the page says so. What may
go wrong: a kind is not to be had on this Python or platform; it is left out there.
"""

from __future__ import annotations

from typing import Any

from . import in_globals, in_libraries, in_objects, in_process, left_open
from .kind import Kind

KINDS: dict[str, Kind] = {**in_globals.KINDS, **in_objects.KINDS, **in_process.KINDS, **in_libraries.KINDS}
OPEN: dict[str, Kind] = left_open.KINDS
#: Not on every platform or Python.
SOMETIMES = frozenset({"processors", "asyncio policy", "contextlib.chdir", "frozen objects"})


def be_imported() -> None:
    """An initializer: by its name it imports this package, once for all the processes that are forked after it."""


def visit(name: str) -> Any:
    """The task: look, and then leave something behind."""
    kind = KINDS[name] if name in KINDS else OPEN[name]
    seen = kind.look()
    kind.change()
    return seen
