"""One queue, pure: its items, who waits for them, and what happens when anything comes, goes, or dies.

No thread, socket or clock: whoever calls holds the hub's lock. Items are pickled bytes. An item that was given to a
client counts as *leased* until the client says that it has taken it; the lease of a client that died goes back to the
front of the queue. So an item is taken whole or not at all, and at most once.

Used by: hub (for clients), face (in the owner). What may go wrong: nothing; a closed store answers GONE.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from .wire import GONE, OK


class Waiter(Protocol):
    """Somebody who waits. Is called once, by one of the two."""

    def give(self, item: bytes) -> None:
        """Here is an item."""

    def answer(self, status: int) -> None:
        """What was waited for has happened (OK), or never will (GONE)."""


class Store:
    """See the module.

    Args:
        maxsize: How many items there may be; 0 or less for any number.
    """

    __slots__ = ("_consumer", "_joiners", "_putters", "_takers", "closed", "items", "leased", "maxsize", "shared",
                 "unfinished")  # fmt: skip

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize: int = max(maxsize, 0)
        self.items: deque[bytes] = deque()
        self.leased: int = 0
        self.unfinished: int = 0
        self.closed: bool = False
        #: Whether more than one has ever taken items.
        self.shared: bool = False
        self._consumer: object = None
        self._takers: deque[Waiter] = deque()
        self._putters: deque[tuple[Waiter, bytes]] = deque()
        self._joiners: list[Waiter] = []

    @property
    def size(self) -> int:
        """Items that nobody has taken."""
        return len(self.items) + self.leased

    @property
    def full(self) -> bool:
        """Whether a put would have to wait."""
        return 0 < self.maxsize <= self.size

    # -- putting -------------------------------------------------------------------------------------------------
    def put(self, item: bytes) -> bool:
        """Adds an item, unless the queue is full; whether it did."""
        if self.full:
            return False
        self._add(item)
        return True

    def put_later(self, item: bytes, waiter: Waiter) -> None:
        """Adds an item as soon as there is room, and then answers OK."""
        if self.closed:
            waiter.answer(GONE)
        elif self.put(item):
            waiter.answer(OK)
        else:
            self._putters.append((waiter, item))

    def _add(self, item: bytes) -> None:
        self.unfinished += 1
        self.items.append(item)
        self._serve()

    def _serve(self) -> None:
        while self._takers and self.items:
            self._takers.popleft().give(self.items.popleft())

    def _make_use_of_room(self) -> None:
        while self._putters and not self.full:
            waiter, item = self._putters.popleft()
            self._add(item)
            waiter.answer(OK)

    def note_consumer(self, consumer: object) -> None:
        """Somebody comes to take items."""
        if self._consumer is not consumer:
            self.shared = self.shared or self._consumer is not None
            self._consumer = consumer

    # -- taking --------------------------------------------------------------------------------------------------
    def take(self) -> bytes | None:
        """Takes the first item, or None."""
        if not self.items:
            return None
        item = self.items.popleft()
        self._make_use_of_room()
        return item

    def take_later(self, waiter: Waiter) -> None:
        """Gives the waiter the first item as soon as there is one. For a client: `lease` follows."""
        if self.closed:
            waiter.answer(GONE)
        else:
            self._takers.append(waiter)
            self._serve()

    def lease(self, count: int = 1) -> None:
        """So many items were given to a client."""
        self.leased += count

    def taken(self, count: int = 1) -> None:
        """So many leased items were taken."""
        self.leased -= count
        self._make_use_of_room()

    def give_back(self, items: list[bytes]) -> None:
        """Leased items come back, oldest first: they are the next ones to be given."""
        self.leased -= len(items)
        self.items.extendleft(reversed(items))
        self._serve()
        self._make_use_of_room()

    # -- the rest ------------------------------------------------------------------------------------------------
    def task_done(self) -> bool:
        """One item has been dealt with; False when that cannot be."""
        if self.unfinished <= 0:
            return False
        self.unfinished -= 1
        if not self.unfinished:
            joiners, self._joiners = self._joiners, []
            for waiter in joiners:
                waiter.answer(OK)
        return True

    def join_later(self, waiter: Waiter) -> None:
        """Answers OK once every item has been dealt with."""
        if self.closed:
            waiter.answer(GONE)
        elif self.unfinished:
            self._joiners.append(waiter)
        else:
            waiter.answer(OK)

    def forget(self, waiter: Waiter) -> bool:
        """The waiter waits no longer; False when it has been given or answered something."""
        if waiter in self._takers:
            self._takers.remove(waiter)
        elif waiter in self._joiners:
            self._joiners.remove(waiter)
        else:
            mine = [entry for entry in self._putters if entry[0] is waiter]
            for entry in mine:
                self._putters.remove(entry)
            return bool(mine)
        return True

    def close(self) -> None:
        """Nobody holds the queue any more."""
        self.closed = True
        waiting = [*self._takers, *self._joiners, *(waiter for waiter, _ in self._putters)]
        self._takers.clear()
        self._joiners.clear()
        self._putters.clear()
        self.items.clear()
        for waiter in waiting:
            waiter.answer(GONE)
