"""The end of a pool whose supervisor has failed: nobody is left waiting, and no process running.

A program that closes descriptors which are not its own closes ours, too. Then the supervisor's loop fails at its next
turn; or it sleeps on for ever, because the kernel waits for what is closed, and who would wake it finds that out. In
that case another thread makes the end; should the supervisor wake all the same, it touches nothing any more.

Used by: supervisor. What may go wrong: everything, for what has failed may fail again. So each step is taken, whatever
has become of those before.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

from .crew import Crew
from .intake import Intake
from .latch import Latch
from .messages import safe_str
from .signals import start_deaf
from .starting import KILL, join_soon


class Owner(Protocol):
    """What is needed of the supervisor."""

    crew: Crew
    intake: Intake
    finished: Latch

    def settle_all(self, failure: str) -> None:
        """Everybody who waits is told that this is the end, and why."""

    def finish(self) -> None:
        """Lets go of everything."""


class Overtaken(BaseException):
    """The end is made by another thread."""


class Collapse:
    """See the module.

    Args:
        owner: Whose.
        name: Of the other thread.
    """

    def __init__(self, owner: Owner, name: str) -> None:
        self._owner = owner
        self._name = name
        self._turn = threading.Lock()
        self._begun = False

    def awake(self) -> None:
        """The supervisor has woken.

        Raises:
            Overtaken: Too late.
        """
        with self._turn:
            self._owner.intake.asleep = False
            if self._begun:
                raise Overtaken

    def beside(self) -> None:
        """In any thread, also in a signal's handler that has interrupted this: the supervisor cannot be woken."""
        if not self._turn.acquire(blocking=False):
            return  # it wakes by itself just now; or somebody else is here
        try:
            if self._begun or not self._owner.intake.asleep:
                return
            self._begun = True
        finally:
            self._turn.release()
        error = OSError(errno.EBADF, "descriptors of the pool were closed")
        start_deaf(threading.Thread(target=self._make, args=(error,), name=self._name, daemon=True))

    def come(self, error: BaseException) -> None:
        """In the supervisor's thread: its loop has failed with this."""
        with self._turn:
            if self._begun:
                return
            self._begun = True
        self._make(error)

    def _make(self, error: BaseException) -> None:
        owner = self._owner
        owner.crew.signal_all(KILL)
        steps: list[Callable[[], object]] = [lambda: owner.settle_all(f"{type(error).__name__}: {safe_str(error)}")]
        for worker in owner.crew.workers.values():
            steps += [partial(join_soon, worker.process), worker.release]
        for step in (*steps, owner.finish):
            with suppress(Exception):  # the first failure is the one to be told
                step()
        owner.finished.open()
