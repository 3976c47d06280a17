"""What a pool is made of and what its methods use, in one place, so that it can be imported with the first pool.

Used by: pool, calls, by way of later. What may go wrong: nothing of its own.
"""

from __future__ import annotations

from . import failures, options
from .callbacks import Callbacks
from .engine.messages import MAP, STARMAP
from .engine.recipe import PIDFD_WORKERS, Recipe, transport_for
from .engine.signals import deferred_interrupt
from .engine.state import BROKEN
from .engine.supervisor import END_PATIENCE, Supervisor
from .iterators import IMapIterator, IMapUnorderedIterator
from .leaks import Leaks
from .results import AsyncResult, MapResult, wrong_process
from .stats import Stats, gather, wait_for_turn
from .submission import Submitter
from .watching import Listener

__all__ = [
    "BROKEN",
    "END_PATIENCE",
    "MAP",
    "PIDFD_WORKERS",
    "STARMAP",
    "AsyncResult",
    "Callbacks",
    "IMapIterator",
    "IMapUnorderedIterator",
    "Leaks",
    "Listener",
    "MapResult",
    "Recipe",
    "Stats",
    "Submitter",
    "Supervisor",
    "deferred_interrupt",
    "failures",
    "gather",
    "options",
    "transport_for",
    "wait_for_turn",
    "wrong_process",
]
