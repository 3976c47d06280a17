"""The supervisors of this process, and what a forked child does with them.

A child of `os.fork()` inherits the pools of its parent without their threads. It must not hold the parent's
descriptors (a lifeline or channel held open there keeps workers from noticing an end), must not use the pools, and its
exit must not terminate the parent's workers, which multiprocessing's exit function would do for every process that it
takes for a child of its own. Forked workers are such children too.

Used by: supervisor. What may go wrong: the child was forked in the middle of a change of the table (a dict's own
operations are atomic), or a C extension forks without telling Python (the child then keeps descriptors, no more).
"""

from __future__ import annotations

import os
from typing import Protocol


class Abandonable(Protocol):
    """What the registry holds."""

    def abandon(self) -> None:
        """Lets go of everything that belongs to the parent."""


_members: dict[int, Abandonable] = {}


def add(member: Abandonable) -> None:
    """From now on forked children abandon it."""
    _members[id(member)] = member


def discard(member: Abandonable) -> None:
    """It holds nothing any more."""
    _members.pop(id(member), None)


def _abandon_all() -> None:
    while _members:
        _members.popitem()[1].abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
