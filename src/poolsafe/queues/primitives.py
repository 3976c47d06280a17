"""Locks, semaphores, events, values and arrays of `multiprocessing` that are carried to tasks, where they are.

Used by: carry. What may go wrong: whatever the object's own methods raise; that is the client's. A task that reads a
value whose lock is held by somebody else waits, as it would at home.
"""

from __future__ import annotations

import contextlib
from typing import Any

from .carried import Actor, Carried


class Semaphore(Carried):
    """A `multiprocessing.Semaphore` or `BoundedSemaphore`: what a task has taken, it alone can say."""

    def do_acquire(self, actor: Actor, block: bool = True, timeout: float | None = None) -> bool:
        return any(self.original.acquire(True, seconds) for seconds in actor.moments(block, timeout))

    def unheard(self, method: str, value: Any) -> None:
        if method == "acquire" and value:
            self.original.release()

    def do_release(self, _: Actor) -> None:
        self.original.release()

    def do_get_value(self, _: Actor) -> Any:
        return self.original.get_value()


class Lock(Semaphore):
    """A `multiprocessing.Lock` or `RLock`. One that a task holds when it is killed is released.

    One that a task has left taken when it is done stays so.
    """

    def __init__(self, original: Any) -> None:
        super().__init__(original)
        self._holders: dict[Actor, int] = {}

    def do_acquire(self, actor: Actor, block: bool = True, timeout: float | None = None) -> bool:
        done = super().do_acquire(actor, block, timeout)
        if done:
            self._holders[actor] = self._holders.get(actor, 0) + 1
        return done

    def unheard(self, method: str, value: Any) -> None:
        """Nothing: `left` follows."""

    def do_release(self, actor: Actor) -> None:
        super().do_release(actor)
        holder = actor if actor in self._holders else next(iter(self._holders), actor)
        count = self._holders.pop(holder, 0) - 1
        if count > 0:
            self._holders[holder] = count

    def close(self) -> None:
        super().close()
        for actor in [*self._holders]:
            if not actor.over:  # its task is done, and has left it taken: that is for somebody else to release
                self._holders.pop(actor, None)

    def holds(self, actor: Actor) -> bool:
        return actor in self._holders

    def left(self, actor: Actor) -> None:
        for _ in range(self._holders.pop(actor, 0)):
            if not self.original._semlock._is_mine():
                return  # this process has released it by itself, and perhaps taken it again
            with contextlib.suppress(ValueError, AssertionError):
                self.original.release()


class Event(Carried):
    """A `multiprocessing.Event`."""

    def do_wait(self, actor: Actor, timeout: float | None = None) -> bool:
        return any(self.original.wait(seconds) for seconds in actor.moments(True, timeout))

    def do_is_set(self, _: Actor) -> Any:
        return self.original.is_set()

    def do_set(self, _: Actor) -> None:
        self.original.set()

    def do_clear(self, _: Actor) -> None:
        self.original.clear()


class Shared(Carried):
    """A `multiprocessing.Value` or `Array`. Its lock is carried by itself."""

    def do_read(self, _: Actor, name: str) -> Any:
        return getattr(self.original, name)

    def do_write(self, _: Actor, name: str, value: Any) -> None:
        setattr(self.original, name, value)

    def do_len(self, _: Actor) -> int:
        return len(self.original)

    def do_read_item(self, _: Actor, at: Any) -> Any:
        return self.original[at]

    def do_write_item(self, _: Actor, at: Any, value: Any) -> None:
        self.original[at] = value
