"""Where the walk found an object, and what is said of one that cannot be captured.

Used by: walk. What may go wrong: nothing; no code of the objects is called.
"""

from __future__ import annotations

import types
from typing import Any, Final, TypeAlias

from ..errors import CaptureError

#: Where an object was found: (link of its holder, form, label). None stands for: reached leniently.
Link: TypeAlias = tuple[Any, str, object]

_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes, types.ModuleType})


def opaque(obj: object, link: Link) -> CaptureError:
    """Make the error for a value that holds state which nobody but its C code can see."""
    path = render(link)
    name = f"{type(obj).__module__}.{type(obj).__qualname__}".removeprefix("builtins.")
    return CaptureError(
        f"{path} is an instance of {name}, whose state can neither be copied nor put back",
        cause="It is an open file, a socket, an iterator or another object that keeps its state in C code.",
        remedy=(
            "Let a factory make it anew for each task (reset={target: factory}), write a resetter (an object with "
            "capture() and restore(state)), exempt it (keep=target), or declare its whole module, which leaves such "
            "objects alone."
        ),
        target=root_of(link),
        path=path,
    )


def render(link: Link) -> str:
    """Write a place out, as in ``app:CACHE['conn']``."""
    parts = []
    step: Link | None = link
    while step is not None:
        step, form, label = step
        parts.append(form.format(_plain(label)))
    return "".join(reversed(parts))


def root_of(link: Link) -> str:
    """Return the target that the walk to a place started from."""
    while link[0] is not None:
        link = link[0]
    return str(link[2])


def _plain(label: object) -> object:
    """Return a label that is safe to format: no repr of a user's class is called."""
    return label if type(label) in _PLAIN else _Unnamed(type(label).__name__)


class _Unnamed(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{self}>"
