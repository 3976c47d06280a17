"""The owner of queues: one per process that makes any, with a thread that serves other processes.

The hub begins with the first queue and ends, with its thread, socket and connections, when nobody in this process holds
a queue any more. A queue is held by its faces here, and by tasks that it was sent with.

One lock guards all stores. Whoever waits for an item in this process waits for a lock of its own, without polling;
clients in other processes are served by the hub's thread, and written to by whichever thread has something for them.

Used by: face. What may go wrong: no descriptors or threads are left (OSError, RuntimeError from `create`, and nothing
is left behind); a stranger connects (it is sent away, or has its connection closed after a while).
"""

from __future__ import annotations

import errno
import itertools
import os
import selectors
import socket
import threading
from collections import deque
from time import monotonic
from typing import Any
from weakref import WeakSet, ref

from ..engine.fds import low_numbers_taken, socket_pair
from ..engine.signals import Retractable, deferred_interrupt, start_deaf
from . import wire
from .clients import BULK, Client, Misbehaved
from .forks import hold_during_forks

#: Seconds in which a client must have proved who it is; and for those beyond so many that are at it at the same time.
PATIENCE, STRANGERS, CROWD_PATIENCE = 5.0, 32, 1.0
#: Seconds for which nobody is let in when the process is out of descriptors.
DEAF = 0.1
#: Turns of reading in which all that a dead client has left behind is read.
_ROUNDS = 8
#: Buffers that are kept for the next large item, and the bytes of the largest that is.
SPARES, LARGEST_SPARE = 2, 1 << 22
THREAD_NAME = "poolsafe-queues"

_numbers = itertools.count(1)


class Held:
    """Keeps one queue alive, in its owner."""

    __slots__ = ("__weakref__", "hub", "ident", "store")

    def __init__(self, hub: Hub, ident: int, store: Any) -> None:
        self.hub: Hub = hub
        self.ident: int = ident
        self.store: Any = store  # a Store, or a Carried


class Hub:
    """See the module."""

    def __init__(self) -> None:
        self.lock: Any = threading.RLock()
        self.pid: int = os.getpid()
        self.over: bool = False
        self._held: dict[int, ref[Held]] = {}
        self.scratch: memoryview = memoryview(bytearray(BULK))
        self._stores: dict[int, Any] = {}
        self._clients: dict[int, Client] = {}
        self._dropped: deque[int] = deque()
        self._late: deque[Client] = deque()
        self._spares: deque[bytearray] = deque(maxlen=SPARES)
        self.address: wire.Address
        self._listener, self.address = wire.listen()
        try:
            self._alarm, self._ringer = socket_pair(socket.SOCK_STREAM)
        except BaseException:
            self._listener.close()
            raise
        with low_numbers_taken():
            self._selector = selectors.DefaultSelector()
        for end in (self._alarm, self._ringer):
            end.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._alarm, selectors.EVENT_READ)
        self._deaf_until: float = 0.0
        self._thread: threading.Thread | None = None

    # -- any thread ----------------------------------------------------------------------------------------------
    def create(self, store: Any) -> Held | None:
        """Takes in a queue, or what is carried; None when the hub is over."""
        with self.lock:
            if self.over:
                return None
            ident = next(_numbers)
            held = Held(self, ident, store)
            self._stores[ident] = held.store
            # Not by __del__: while that runs, another thread could find what is held, and hold it again.
            self._held[ident] = ref(held, lambda _: self.drop(ident))
            if self._thread is None:  # only now: without any queue it would end at once
                self._begin()
            return held

    def _begin(self) -> None:
        thread = self._thread = Retractable(self._run, THREAD_NAME)
        try:
            start_deaf(thread)
        except BaseException:  # out of a signal's handler, perhaps, when it runs: then it ends with what is held
            if thread.retract():
                self._close()
            raise

    def drop(self, ident: int) -> None:
        """Nobody holds the queue any more. Called by the garbage collector, anywhere: takes no lock."""
        if self.pid == os.getpid():
            self._dropped.append(ident)
            self._ring()

    def find(self, ident: int) -> Held | None:
        """What holds the queue of this number, if anything does."""
        found = self._held.get(ident)
        return None if found is None else found()

    def store(self, ident: int) -> Any:
        """The queue of this number, if it is held by anybody."""
        return self._stores.get(ident)

    def serves(self) -> bool:
        """Whether what is held here can be reached."""
        return not self.over and self.pid == os.getpid()

    def write_later(self, client: Client) -> None:
        """Has the rest sent when the client can take it."""
        self._late.append(client)
        self._ring()

    def buffer(self, length: int) -> bytearray:
        """Memory for a large item; of one that is done with, if there is any as long.

        Fresh memory costs more than the item's whole way here: the kernel clears each page when it is first used.
        """
        for spare in [*self._spares]:
            if len(spare) == length:
                self._spares.remove(spare)
                return spare
        return bytearray(length)

    def recycle(self, item: object) -> None:
        """An item has been unpickled: nobody needs its bytes any more."""
        if type(item) is bytearray and len(item) <= LARGEST_SPARE:
            with self.lock:
                self._spares.append(item)

    def _ring(self) -> None:
        try:
            self._ringer.send(b"\0")
        except OSError:
            return  # full: it is awake already; closed: there is nobody to wake

    # -- the thread ----------------------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            while not self._done():
                events = self._selector.select(self._patience())
                with self.lock:
                    for key, event in events:
                        self._attend(key, event)
                    self._send_away_strangers()
                    self._listen_again()
        finally:
            self._close()

    def _done(self) -> bool:
        with self.lock:
            if self._dropped:
                self._look_round()
            while self._dropped:
                ident = self._dropped.popleft()
                self._held.pop(ident, None)
                store = self._stores.pop(ident, None)
                if store is not None:
                    store.close()
            while self._late:
                client = self._late.popleft()
                if client.socket.fileno() < 0:
                    continue
                if client.broken:
                    client.hang_up()
                elif client.unsent:
                    self._selector.modify(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
            self.over = not self._stores
            return self.over

    def _look_round(self) -> None:
        """Takes in what has come so far: a client that has died since must be known to have, when what it used goes.

        A worker's end shows here before its task is lost. There may be some requests of it to be read before.
        """
        for _ in range(_ROUNDS):
            events = [(key, event) for key, event in self._selector.select(0) if key.fileobj is not self._alarm]
            if not events:
                return
            for key, event in events:
                self._attend(key, event)

    def _attend(self, key: selectors.SelectorKey, event: int) -> None:
        if key.fileobj is self._listener:
            self._accept()
            return
        if key.fileobj is self._alarm:
            try:
                self._alarm.recv(4096)
            except OSError:
                return  # nothing there
            return
        client = self._clients.get(key.fd)
        if client is None or client.socket is not key.fileobj:
            return  # dismissed a moment ago
        if event & selectors.EVENT_WRITE and client.send_rest():
            self._selector.modify(client.socket, selectors.EVENT_READ)
        if event & selectors.EVENT_READ:
            try:
                stays = client.receive()
            except (Misbehaved, MemoryError):  # of no other client's concern
                stays = False
            if not stays:
                self._dismiss(client)

    def _accept(self) -> None:
        try:
            with low_numbers_taken():
                connected, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # else the listener would be ready again and again
                self._selector.unregister(self._listener)
                self._deaf_until = monotonic() + DEAF
            return
        try:
            connected.setblocking(False)
            wire.tune(connected)
            client = Client(self, connected)
            self._selector.register(connected, selectors.EVENT_READ)
        except OSError:
            connected.close()
            return
        self._clients[connected.fileno()] = client

    def _dismiss(self, client: Client) -> None:
        self._clients.pop(client.socket.fileno(), None)
        self._selector.unregister(client.socket)
        client.dismiss()

    def _listen_again(self) -> None:
        if self._deaf_until and monotonic() >= self._deaf_until:
            self._deaf_until = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _strangers(self) -> list[Client]:
        return [client for client in self._clients.values() if not client.known]

    def _patience(self) -> float | None:
        strangers = self._strangers()
        patience = PATIENCE if len(strangers) <= STRANGERS else CROWD_PATIENCE
        moments = [client.since + patience for client in strangers]
        if self._deaf_until:
            moments.append(self._deaf_until)
        return max(min(moments) - monotonic(), 0) if moments else None

    def _send_away_strangers(self) -> None:
        strangers = self._strangers()  # oldest first, as a dictionary keeps its order
        now = monotonic()
        for at, client in enumerate(strangers):
            if client.since < now - (PATIENCE if at >= len(strangers) - STRANGERS else CROWD_PATIENCE):
                self._dismiss(client)

    def _close(self) -> None:
        with self.lock:
            self.over = True
            for client in list(self._clients.values()):
                client.dismiss()
            self._clients.clear()
            for store in self._stores.values():
                store.close()
            self._let_go()

    def _let_go(self) -> None:
        self._selector.close()
        self._listener.close()
        self._alarm.close()
        self._ringer.close()

    def abandon(self) -> None:
        """In a forked child: the parent alone owns the queues, and its end must show on every connection."""
        self._let_go()
        for client in list(self._clients.values()):
            client.socket.close()


_hub: Hub | None = None
_hubs: WeakSet[Hub] = WeakSet()
_guard: Any = threading.RLock()


def create(store: Any) -> Held:
    """Has a queue of this process served, or what is carried."""
    global _hub
    with deferred_interrupt():
        while True:
            with _guard:
                if _hub is None or _hub.over or _hub.pid != os.getpid():
                    made = Hub()
                    if _hub is None or _hub.over:  # else a signal handler has just made one
                        _hub = made
                        _hubs.add(made)
                    else:
                        made._let_go()
                held = _hub.create(store)
            if held is not None:
                return held


def owned(address: wire.Address) -> bool:
    """Whether this process is, or was, the owner of what is found at an address."""
    hub = _hub
    return hub is not None and hub.pid == os.getpid() and hub.address == address


def find(address: wire.Address, ident: int) -> Held | None:
    """A queue that this process owns, if it does."""
    hub = _hub
    return hub.find(ident) if hub is not None and owned(address) else None


def _after_in_child() -> None:
    global _hub, _guard
    _hub, _guard = None, threading.RLock()
    for hub in list(_hubs):
        hub.abandon()
    _hubs.clear()


# While a connection is taken in, the child would inherit a socket that nobody there knows of.
hold_during_forks(lambda: _hub and _hub.lock, _after_in_child)
