"""The owner's end of one client's connection: proof of identity, requests, answers, and what the client has on lease.

Used by: hub (its thread reads; any thread of the owner may write, under the hub's lock). What may go wrong: the other
side is a stranger, talks garbage or dies: `receive` says so, and `dismiss` puts everything back as if it had never
asked.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from . import wire
from .actor import Actor
from .carried import Carried
from .sender import Sender
from .store import Store
from .wire import GONE, ITEMS, LENGTH, NOT_NOW, OK, REPLY, REQUEST, SIZES, TOO_OFTEN

#: Bytes that are read at a time, and of an item that is given memory of its own before all of it has come.
BULK, _LARGE = 1 << 18, 1 << 16
#: A client that comes back for the next item sooner than this, in seconds, is sent several at a time ...
_QUICK = 0.001
#: ... up to so many, and so many bytes.
_MOST, _MOST_BYTES = 32, 1 << 16


class Hub(Protocol):
    """What a client needs of the hub."""

    address: wire.Address
    scratch: memoryview  # what is read is put there first

    lock: Any

    def store(self, ident: int) -> Any:
        """The queue of this number, if it is held by anybody; or what is carried by it."""

    def buffer(self, length: int) -> bytearray:
        """Memory for a large item."""

    def write_later(self, client: Client) -> None:
        """Has `send_rest` called when the client can take more."""


class Misbehaved(Exception):
    """The other side is nobody we know, or has lost its mind."""


class _Waiting:
    """A request of a client that waits."""

    __slots__ = ("_client", "_ident", "store")

    def __init__(self, client: Client, store: Store, ident: int) -> None:
        self._client = client
        self._ident = ident
        self.store: Store = store

    def give(self, item: bytes) -> None:
        client = self._client
        try:
            client.waiting = None
            client.lend(self.store, self._ident, [item])
        except BaseException:  # out of a signal handler of the owner's: half of it may be done
            client.give_up()
            raise

    def answer(self, status: int) -> None:
        client = self._client
        try:
            client.waiting = None
            client.reply(status)
        except BaseException:
            client.give_up()
            raise


class Client(Sender):
    """See the module.

    Args:
        hub: Whose client it is.
        connected: The connection.
    """

    def __init__(self, hub: Hub, connected: socket.socket) -> None:
        super().__init__(connected)
        self.since: float = monotonic()
        self.waiting: _Waiting | None = None
        self._hub = hub
        self._nonce: bytes = os.urandom(wire.NONCE)
        self.known: bool = False  # whether it has proved who it is
        self._buffer = bytearray()
        self._large: tuple[int, int, bytearray, int] | None = None
        self._leased: dict[int, tuple[Store, deque[bytes]]] = {}
        self._actor: Actor | None = None
        self._lent = (0, 0.0)  # how many items at once, and when
        self.send(self._nonce)

    # -- writing -------------------------------------------------------------------------------------------------
    def more_to_send(self) -> None:
        self._hub.write_later(self)

    def give_up(self) -> None:
        """Nobody knows what was sent: the connection is to end, and what the client has not taken comes back."""
        self.broken = True
        self._hub.write_later(self)

    def hang_up(self) -> None:
        """Says nothing more. What the client has got and taken it can still tell; then it ends the connection."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.store.forget(waiting)
        self.unsent.clear()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def lend(self, store: Store, ident: int, items: list[bytes]) -> None:
        """Gives items, which come back should the client die before it has taken them."""
        store.lease(len(items))
        self._leased.setdefault(ident, (store, deque()))[1].extend(items)
        self._lent = len(items), monotonic()
        parts = [part for item in items for part in (LENGTH.pack(len(item)), item)]
        self.send(REPLY.pack(ITEMS, sum(map(len, parts))), *parts)

    # -- reading -------------------------------------------------------------------------------------------------
    def receive(self) -> bool:
        """Reads once and does what was asked for; False at the end.

        Raises:
            Misbehaved: It is to be dismissed at once.
        """
        try:
            if self._large is not None:
                return self._receive_large()
            count = self.socket.recv_into(self._hub.scratch)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not count:
            return False
        came = self._hub.scratch[:count]
        if self._buffer:  # the beginning of a request has come before
            self._buffer += came
            came = memoryview(bytes(self._buffer))
            self._buffer.clear()
        used = 0 if self.known else self._prove(came)
        if self.known:
            used += self._serve(came[used:])
        self._buffer += came[used:]
        return True

    def _prove(self, came: memoryview) -> int:
        size = wire.NONCE + wire.PROOF
        if len(came) < size:
            return 0
        nonce, proof = bytes(came[: wire.NONCE]), bytes(came[wire.NONCE : size])
        if not wire.equal(proof, wire.client_proof(self._hub.address, self._nonce, nonce)):
            raise Misbehaved
        self.known = True
        self.send(wire.owner_proof(self._hub.address, self._nonce, nonce))
        return size

    def _serve(self, came: memoryview) -> int:
        """Does what was asked for; returns how many bytes were whole requests."""
        at, end = 0, len(came)
        while end - at >= REQUEST.size:
            operation, how, ident, length = REQUEST.unpack_from(came, at)
            begin = at + REQUEST.size
            if end - begin < length:
                if length > _LARGE and operation in (wire.PUT, wire.PUT_WAIT, wire.CALL):
                    self._begin_large(operation << 8 | how, ident, length, came[begin:])
                    return end
                break
            at = begin + length
            store = self._hub.store(ident)
            if operation == wire.PUT:  # first, for there are many
                if store is not None:
                    store.put(bytes(came[begin:at]))
            else:
                self._do(operation, how, store, ident, bytes(came[begin:at]))
        return at

    def _begin_large(self, asked: int, ident: int, length: int, came: memoryview) -> None:
        try:
            item = self._hub.buffer(length)
        except (MemoryError, OverflowError):
            raise Misbehaved from None
        item[: len(came)] = came
        self._large = ident, asked, item, len(came)

    def _receive_large(self) -> bool:
        assert self._large is not None
        ident, asked, item, have = self._large
        with memoryview(item) as view:
            got = self.socket.recv_into(view[have:])
        have += got
        if have < len(item):
            self._large = ident, asked, item, have
            return got > 0
        self._large = None
        whole: bytes = item  # type: ignore[assignment]  # nobody changes it, and a copy would cost as much as the way
        store = self._hub.store(ident)
        if asked >> 8 == wire.PUT:
            if store is not None:
                store.put(whole)
        else:
            self._do(asked >> 8, asked & 0xFF, store, ident, whole)
        return True

    # -- what is asked for ---------------------------------------------------------------------------------------
    def _do(self, operation: int, how: int, store: Any, ident: int, item: bytes) -> None:
        if operation == wire.CANCEL:
            self._cancel()
        elif isinstance(store, Carried):
            self._call(operation, store, item)
        elif operation == wire.SYNC:
            self.reply(OK)
        elif operation == wire.TAKEN:
            self._taken(ident)
        elif operation == wire.RETURN:
            self._give_back(ident)
        elif store is None:
            self.reply(GONE)
        elif operation == wire.GET:
            self._get(store, ident, how)
        elif operation == wire.PUT_WAIT:
            self._put(store, ident, item, how)
        elif operation == wire.SIZE:
            self.reply(OK, SIZES.pack(store.size, store.maxsize))
        elif operation == wire.TASK_DONE:
            self.reply(OK if store.task_done() else TOO_OFTEN)
        elif operation == wire.JOIN:
            self._wait(store, ident, store.join_later)
        else:
            raise Misbehaved

    def _call(self, operation: int, carried: Carried, content: bytes) -> None:
        if operation not in (wire.CALL, wire.TAKEN):
            raise Misbehaved
        if self._actor is None:
            try:
                self._actor = Actor(self._answer)
            except RuntimeError:  # no thread can be had
                raise Misbehaved from None
        self._actor.ask(operation, carried, content)

    def _answer(self, status: int, content: bytes) -> bool:
        with self._hub.lock:
            if self.known:
                self.reply(status, content)
            return self.known

    def _wait(self, store: Store, ident: int, begin: Callable[[_Waiting], None]) -> None:
        self.waiting = waiting = _Waiting(self, store, ident)
        begin(waiting)

    def _put(self, store: Store, ident: int, item: bytes, how: int) -> None:
        if how & wire.WAIT:
            self._wait(store, ident, lambda waiting: store.put_later(item, waiting))
        else:
            self.reply(OK if store.put(item) else NOT_NOW)

    def _get(self, store: Store, ident: int, how: int) -> None:
        store.note_consumer(self)
        if store.items:
            count = 1 if how & wire.SINGLE else self._portion(store)
            self.lend(store, ident, [store.items.popleft() for _ in range(count)])
        elif how & wire.WAIT:
            self._wait(store, ident, store.take_later)
        else:
            self.reply(NOT_NOW)

    def _portion(self, store: Store) -> int:
        """How many items to send at once: more and more to a client that comes back at once, as long as many wait.

        A single one when others take items, too: what is sent ahead waits for this client, whatever it does meanwhile,
        and the others might wait for just that.
        """
        count, when = self._lent
        if store.shared or monotonic() - when > _QUICK * max(count, 1):
            return 1
        count = min(2 * count, _MOST, len(store.items) // 4)
        size = 0
        for at in range(count):
            size += len(store.items[at])
            if size > _MOST_BYTES:
                return max(at, 1)
        return max(count, 1)

    def _taken(self, ident: int) -> None:
        store, items = self._leased.get(ident, (None, None))
        if store is None or not items:
            raise Misbehaved
        items.popleft()
        store.taken()
        if not items:
            del self._leased[ident]

    def _give_back(self, ident: int) -> None:
        store, items = self._leased.pop(ident, (None, None))
        if store is not None and items:
            store.give_back([*items])

    def _cancel(self) -> None:
        waiting = self.waiting
        if waiting is not None and waiting.store.forget(waiting):
            self.waiting = None
            self.reply(NOT_NOW)

    def dismiss(self) -> None:
        """The connection has ended: what it waits for is off, what it has not taken goes back."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.store.forget(waiting)
        self.known = False
        if self._actor is not None:
            self._actor.leave()
        self.unsent.clear()
        self.socket.close()
        for ident in [*self._leased]:
            self._give_back(ident)
