"""The thread, in the owner's process, that makes the calls of one client on what is carried to it.

One for each connection: a client's thread has a connection of its own, so a lock that it takes is held by one thread
here, too, and that thread releases it should the client be killed.

Used by: clients. What may go wrong: the client ends while a call waits (the call is given up within a moment, an item
that it has got goes back); the call raises (the error is the answer).
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from time import monotonic

from ..engine.messages import dumps, loads, safe_repr
from ..engine.signals import start_deaf
from . import wire
from .carried import Carried, Loan

#: Seconds after which a call that waits looks whether anybody waits for it.
MOMENT = 0.05

#: Called with a status and what follows it; whether the client is still there.
Reply = Callable[[int, bytes], bool]


class _NobodyWaits(Exception):
    """The client has ended, or nobody holds any more what it asks for."""


class Actor:
    """See the module.

    Args:
        reply: Answers the client, if it is still there; any thread.

    Raises:
        RuntimeError: No thread can be started.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._asked: queue.SimpleQueue[tuple[int, Carried, bytes] | None] = queue.SimpleQueue()
        self.over: bool = False
        self._serving: Carried | None = None
        self._loan: Loan | None = None
        self._holding: set[Carried] = set()
        start_deaf(threading.Thread(target=self._run, name="poolsafe-carried", daemon=True))

    def ask(self, operation: int, carried: Carried, content: bytes) -> None:
        """Has a call made, after those before; or, by TAKEN, tells that the item of the last one has been taken."""
        self._asked.put((operation, carried, content))

    def leave(self) -> None:
        """The client has ended."""
        self.over = True
        self._asked.put(None)

    def moments(self, block: bool, timeout: float | None) -> Iterator[float]:
        """See `carried.Actor`."""
        if not block:
            yield 0.0
            return
        until = None if timeout is None else monotonic() + max(timeout, 0)
        while True:
            left = MOMENT if until is None else until - monotonic()
            yield max(min(left, MOMENT), 0)
            if left <= 0:
                return
            if self.over or (self._serving is not None and self._serving.closed):
                raise _NobodyWaits

    def _run(self) -> None:
        for operation, carried, content in iter(self._asked.get, None):
            loan, self._loan = self._loan, None
            if operation == wire.TAKEN:
                if loan is not None:
                    loan.taken()
                self._reply(wire.OK, b"")
            else:
                if loan is not None:
                    loan.put_back()
                self._serve(carried, content)
            del carried, content  # while nobody asks, nothing of the user's is kept alive
        for holding in self._holding:
            holding.left(self)
        if self._loan is not None:
            self._loan.put_back()

    def _serve(self, carried: Carried, content: bytes) -> None:
        self._serving = carried
        method, value = "", None
        try:
            method, args = loads(content)
            value = carried.call(self, method, args)
            if isinstance(value, Loan):
                self._loan = value
                status, content = wire.OK, value.data
            else:
                status, content = wire.OK, dumps(value)
        except _NobodyWaits:
            status, content = wire.GONE, b""
        except BaseException as error:  # the object's own, or its item's
            status, content = wire.RAISED, _told(error)
        if not self._reply(status, content) and status == wire.OK:
            carried.unheard(method, value)
        self._serving = None
        (self._holding.add if carried.holds(self) else self._holding.discard)(carried)


def _told(error: BaseException) -> bytes:
    with contextlib.suppress(Exception):
        told = dumps(error)
        if isinstance(loads(told), Exception):
            return told
    return dumps(RuntimeError(safe_repr(error)))
