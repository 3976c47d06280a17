"""A client's side: how a process that does not own a queue talks to the one that does.

Items that need not wait for room go over one connection per process and owner, one after another, and nobody waits for
an answer; so they arrive in the order of the puts, whichever thread made them. Everything else is question and answer
over a connection of the thread's own, and comes after what this process has put before. `flush` waits until the owner
has everything that was put; a worker calls it before it answers for a task.

A connection on which anything went wrong half-way (an exception out of a signal handler, a dead owner) is closed: the
owner then forgets the question, and takes back what was on its way.

Used by: face, and the worker's loop (`flush`). What may go wrong: the owner is gone (`QueueGone`); the process was
forked (connections of the parent are closed in the child, at once).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any
from weakref import WeakSet

from ..engine.fds import above_stdio
from ..errors import QueueGone
from . import wire
from .wire import ITEMS, LENGTH, REPLY, REQUEST, Address

#: An item, pickled; it is sent as one.
Parts = Sequence[bytes]
#: Seconds for which an owner may keep a client waiting that introduces itself.
_PATIENCE = 30.0


def gone() -> QueueGone:
    """The error for a queue that is not there any more."""
    return QueueGone(
        "the queue is gone",
        cause="The process that made it has ended, or holds it no longer.",
        remedy="Keep a reference to the queue where it was made for as long as anybody uses it.",
    )


class Link:
    """One connection to an owner.

    Args:
        address: Where the owner listens.

    Raises:
        QueueGone: Nobody listens there, or it is not who it should be.
    """

    def __init__(self, address: Address) -> None:
        self._socket = _connected(address)
        self._ahead: dict[int, deque[bytes]] = {}
        self._unsure = False  # whether the owner may not know yet what was taken
        _links.add(self)

    def close(self) -> None:
        """Lets go of the connection."""
        self._ahead.clear()
        self._socket.close()

    def __del__(self) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()  # its thread has ended, and would otherwise leave a ResourceWarning

    @property
    def closed(self) -> bool:
        """Whether it is of no use any more."""
        return self._socket.fileno() < 0

    def tell(self, operation: int, ident: int, item: Parts = (), wait: bool = False) -> None:
        """Sends a request whole.

        Raises:
            QueueGone: The owner is gone.
        """
        size = len(item[0]) if len(item) == 1 else sum(map(len, item))
        header = REQUEST.pack(operation, wait, ident, size)
        try:
            sent = self._socket.sendmsg((header, *item)) if item else self._socket.send(header)
            if sent < len(header) + size:
                self._send_rest([header, *item], sent)
        except OSError:
            self.close()
            raise gone() from None
        except BaseException:
            self.close()  # half a request may have gone
            raise

    def _send_rest(self, parts: list[bytes], sent: int) -> None:
        for part in parts:
            if sent < len(part):
                self._socket.sendall(memoryview(part)[sent:])
            sent = max(sent - len(part), 0)

    def ask(
        self, operation: int, ident: int, item: Parts = (), wait: bool = False, timeout: float | None = None
    ) -> tuple[int, bytes]:
        """Sends a request and waits for the answer, for `timeout` seconds at most.

        Raises:
            QueueGone: The owner is gone.
        """
        self.tell(operation, ident, item, wait)
        try:
            if timeout is not None and not _readable(self._socket, timeout):
                self.tell(wire.CANCEL, ident)
            return self._answer()
        except OSError:
            self.close()
            raise gone() from None
        except BaseException:
            self.close()
            raise

    def _answer(self) -> tuple[int, bytes]:
        data = self._socket.recv(1 << 16)
        while len(data) < REPLY.size:
            data += _some(self._socket, data)
        status, length = REPLY.unpack_from(data)
        if len(data) - REPLY.size == length:
            return status, data[REPLY.size :]
        content = bytearray(length)
        done = len(data) - REPLY.size
        content[:done] = data[REPLY.size :]
        with memoryview(content) as view:
            while done < length:
                got = self._socket.recv_into(view[done:])
                if not got:
                    raise ConnectionError
                done += got
        return status, bytes(content) if length < 1 << 16 else content  # type: ignore[return-value]

    def get(self, ident: int, wait: bool, timeout: float | None) -> bytes | memoryview | None:
        """Takes an item, or None when there is none in time.

        Raises:
            QueueGone: There is no such queue any more.
        """
        ahead = self._ahead.get(ident)
        if not ahead:
            status, content = self.ask(wire.GET, ident, (), wait, timeout)
            if status == wire.GONE:
                raise gone()
            if status != ITEMS:
                return None
            ahead = _split(content)
            if len(ahead) > 1:
                self._ahead[ident] = ahead
        item = ahead[0]
        self._unsure = True
        self.tell(wire.TAKEN, ident)
        ahead.popleft()
        return item

    def settle(self) -> None:
        """What came ahead and was not taken goes back to the queue; the owner knows what was taken.

        Raises:
            QueueGone: The owner is gone.
        """
        if not self._unsure or self.closed:
            return
        for ident, ahead in self._ahead.items():
            if ahead:
                self.tell(wire.RETURN, ident)
        self._ahead.clear()
        self.ask(wire.SYNC, 0)
        self._unsure = False


def _split(content: bytes) -> deque[Any]:
    view, at, found = memoryview(content), 0, deque[Any]()
    while at < len(view):
        (length,) = LENGTH.unpack_from(view, at)
        at += LENGTH.size
        found.append(view[at : at + length])
        at += length
    return found


def _some(connected: socket.socket, before: bytes) -> bytes:
    data = connected.recv(1 << 16) if before else b""
    if not data:
        raise ConnectionError
    return data


def _exactly(connected: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = connected.recv(length - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


def _readable(connected: socket.socket, timeout: float) -> bool:
    poll = select.poll()
    poll.register(connected, select.POLLIN)
    until = monotonic() + timeout
    while True:
        left = max(until - monotonic(), 0)
        if poll.poll(min(left * 1000 + 0.5, 1e9) if left else 0):
            return True
        if left <= 0:
            return False


def _connected(address: Address) -> socket.socket:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected = socket.socket(fileno=above_stdio(connected.detach()))
        connected.settimeout(_PATIENCE)
        connected.connect(address)
        theirs, ours = _exactly(connected, wire.NONCE), os.urandom(wire.NONCE)
        connected.sendall(ours + wire.client_proof(theirs, ours))
        if not wire.equal(_exactly(connected, wire.PROOF), wire.owner_proof(theirs, ours)):
            raise ConnectionError
        wire.tune(connected)
        connected.settimeout(None)
    except OSError:
        connected.close()
        raise gone() from None
    except BaseException:
        connected.close()
        raise
    return connected


class Stream:
    """The connection by which one process puts, without waiting for answers."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._unsure = False  # whether anything was put that the owner may not have yet

    def put(self, ident: int, item: Parts) -> None:
        """Sends an item on its way.

        Raises:
            QueueGone: The owner is gone.
        """
        with self._lock:
            link = self._link
            if link is None or link.closed:
                link = self._link = Link(self._address)
            self._unsure = True
            link.tell(wire.PUT, ident, item)

    def flush(self) -> None:
        """Waits until the owner has everything that was put."""
        if not self._unsure:
            return
        with self._lock:
            self._unsure = False
            if self._link is not None and not self._link.closed:
                self._link.ask(wire.SYNC, 0)


_links: WeakSet[Link] = WeakSet()
_streams: dict[Address, Stream] = {}
_own = threading.local()


def stream_to(address: Address) -> Stream:
    """The connection by which this process puts into the queues of an owner."""
    stream = _streams.get(address)
    if stream is None:
        stream = _streams.setdefault(address, Stream(address))
    return stream


def link_to(address: Address) -> Link:
    """The calling thread's connection to an owner, which has all that this process has put before."""
    stream = _streams.get(address)
    if stream is not None:
        stream.flush()
    links: dict[Address, Link] = _own.__dict__
    link = links.get(address)
    if link is None or link.closed:
        for known in [where for where, one in links.items() if one.closed]:
            del links[known]
        link = links[address] = Link(address)
    return link


def flush() -> None:
    """Waits until all owners have everything that this process has put; gives back what this thread did not take."""
    for stream in list(_streams.values()):
        with contextlib.suppress(QueueGone):  # nobody can have it any more, and nobody waits for it
            stream.flush()
    for link in list(_own.__dict__.values()):
        with contextlib.suppress(QueueGone):
            link.settle()


def _forget() -> None:
    """In a forked child: the connections are the parent's, whose end must show on them."""
    for link in list(_links):
        link.close()
    _streams.clear()
    _own.__dict__.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
