"""What one kind of state is.

Used by: the tables beside this module. What may go wrong: nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """One kind of state.

    Attributes:
        look: What a task sees, as something that can be pickled and compared.
        change: What a task does.
    """

    look: Callable[[], Any]
    change: Callable[[], Any]


def patch(owner: Any, name: str) -> Kind:
    """A name of a module, as `unittest.mock.patch` would exchange it."""
    return Kind(
        lambda: getattr(getattr(owner, name), "__name__", "?"), lambda: setattr(owner, name, lambda *args, **kwds: None)
    )


def held(owner: Any, name: str, value: Any) -> Kind:
    """An attribute that a task gives a value that can be told from any other."""
    return Kind(lambda: getattr(owner, name, None) is value, lambda: setattr(owner, name, value))
