"""Tasks that disturb each other, and some that do not, for the tests of `verify`.

Who uses it: tests, and the workers that import it, so it stays light. What may go wrong: that is what it is for.
"""

from __future__ import annotations

import os
import signal

seen: list[int] = []


class Opaque:
    """Equal to nothing but itself."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts


def square(item: int) -> int:
    return item * item


def grow(item: int) -> list[int]:
    seen.append(item)
    return list(seen)


def poisoned(item: int) -> int:
    """Give something else once 3 has been here."""
    seen.append(item)
    return -1 - item if 3 in seen[:-1] else item


def poisoned_by_two(item: int) -> int:
    """Give something else once both 1 and 2 have been here."""
    seen.append(item)
    return -1 - item if {1, 2} <= set(seen[:-1]) else item


def fail_later(item: int) -> int:
    seen.append(item)
    if len(seen) > 1:
        raise ValueError(f"{item} is not the first")
    return item


def fail(item: int) -> None:
    """Fail with an address in the text, as default reprs have it: another one in every process."""
    raise ValueError(f"{item}: <object at {id(Opaque()) + os.getpid():#x}>")


def which_process(item: int) -> int:
    """Give something else in each process."""
    return os.getpid()


def die(item: int) -> int:
    """Kill the worker when the item is 1; count on the rest."""
    seen.append(item)
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def opaque(item: int) -> Opaque:
    return Opaque(item, {"nan": float("nan")}, [Opaque()])


def rounded(item: int) -> float:
    """Hang on what was before, but only a little."""
    seen.append(item)
    return item + len(seen) / 100
