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
import socket
import threading
from _thread import get_ident
from collections import deque
from collections.abc import Sequence
from typing import Any

from ..errors import QueueGone
from . import dial, wire
from .dial import gone
from .wire import ITEMS, LENGTH, REPLY, REQUEST, Address

#: An item, pickled; it is sent as one.
Parts = Sequence[bytes]


class Link:
    """One connection to an owner.

    Args:
        address: Where the owner listens.

    Raises:
        QueueGone: Nobody listens there, or it is not who it should be.
    """

    def __init__(self, address: Address) -> None:
        self._socket = dial.connected(address)
        self._ahead: dict[int, deque[Any]] = {}
        self._unsure = False  # whether the owner may not know yet what was taken
        self.holds: int = 0  # how often what it is for is taken, when that is a lock
        self.busy: bool = False  # a question is on its way: who asks meanwhile, in a signal handler, needs another link

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

    def close_if_ended(self) -> None:
        """Closes it when the owner has; nobody else looks, once another owner is talked to."""
        if self.busy or self.closed or not dial.readable(self._socket, 0):
            return
        with contextlib.suppress(OSError):
            if self._socket.recv(1, socket.MSG_PEEK | getattr(socket, "MSG_DONTWAIT", 0)):
                return
        self.close()

    def tell(self, operation: int, ident: int, item: Parts = (), how: int = 0) -> None:
        """Sends a request whole.

        Raises:
            QueueGone: The owner is gone.
        """
        size = len(item[0]) if len(item) == 1 else sum(map(len, item))
        header = REQUEST.pack(operation, how, ident, size)
        try:
            sent = self._socket.sendmsg((header, *item)) if item else self._socket.send(header)
            if sent < len(header) + size:
                for part in wire.rest((header, *item), sent):
                    self._socket.sendall(part)
        except OSError:
            self.close()
            raise gone() from None
        except BaseException:
            self.close()  # half a request may have gone
            raise

    def ask(
        self, operation: int, ident: int, item: Parts = (), how: int = 0, timeout: float | None = None
    ) -> tuple[int, bytes]:
        """Sends a request and waits for the answer, for `timeout` seconds at most.

        Raises:
            QueueGone: The owner is gone.
        """
        self.busy = True
        try:
            self.tell(operation, ident, item, how)
            if timeout is not None and not dial.readable(self._socket, timeout):
                self.tell(wire.CANCEL, ident)
            return self._answer()
        except OSError:  # QueueGone, from `tell`, is one
            self.close()
            raise gone() from None
        except BaseException:
            self.close()
            raise
        finally:
            self.busy = False

    def _answer(self) -> tuple[int, bytes]:
        data = self._socket.recv(1 << 16)
        if len(data) < REPLY.size:
            data += dial.exactly(self._socket, REPLY.size - len(data))
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
        try:
            ahead = self._ahead.get(ident)
            if not ahead:
                # Only the main thread lives as long as the process does: it alone is sent items ahead.
                alone = get_ident() != threading.main_thread().ident
                status, content = self.ask(wire.GET, ident, (), wait * wire.WAIT + alone * wire.SINGLE, timeout)
                if status == wire.GONE:
                    raise gone()
                if status != ITEMS:
                    return None
                ahead = self._ahead[ident] = _split(content)
            item: bytes | memoryview = ahead.popleft()
            self._unsure = True
            self.tell(wire.TAKEN, ident)
            if get_ident() != threading.main_thread().ident:
                self.ask(wire.SYNC, 0)  # nobody will later, if this thread ends
            return item
        except BaseException as error:  # what came and was not returned goes back, with the connection
            if type(error) is not QueueGone:
                self.close()
            raise

    def fetch(self, ident: int, request: Parts) -> tuple[int, bytes]:
        """Asks for an item of what is carried; it is taken when this returns.

        Raises:
            QueueGone: The owner is gone.
        """
        try:
            status, content = self.ask(wire.CALL, ident, request)
            if status == wire.OK:
                self.ask(wire.TAKEN, ident)  # answered, or the task's result could be there before
        except BaseException:  # it goes back, with the connection
            self.close()
            raise
        return status, content

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


class Stream:
    """The connection by which one process puts, without waiting for answers."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.RLock()
        self._busy = False  # whether a message is on its way; a signal handler or finalizer may put in between
        self._link: Link | None = None
        self._unsure = False  # whether anything was put that the owner may not have yet

    def put(self, ident: int, item: Parts) -> None:
        """Sends an item on its way.

        Raises:
            QueueGone: The owner is gone.
        """
        with self._lock:
            if self._busy:
                self._put_aside(ident, item)
                return
            self._busy = True
            try:
                link = self._link
                if link is None or link.closed:
                    link = self._link = Link(self._address)
                self._unsure = True
                link.tell(wire.PUT, ident, item)
            finally:
                self._busy = False

    def _put_aside(self, ident: int, item: Parts) -> None:
        link = Link(self._address)
        link.tell(wire.PUT, ident, item)
        link.ask(wire.SYNC, 0)
        link.close()

    def flush(self) -> None:
        """Waits until the owner has everything that was put.

        Raises:
            QueueGone: The owner is gone.
        """
        if self._link is None:
            return
        with self._lock:
            if self._busy or not self._unsure:
                return
            self._busy = True
            try:
                if not self._link.closed:
                    self._link.ask(wire.SYNC, 0)
                self._unsure = False
            finally:
                self._busy = False

    def is_over(self) -> bool:
        """Whether the owner is gone, and the connection closed for that."""
        if self._link is not None and self._lock.acquire(False):
            try:
                if not self._busy:
                    self._link.close_if_ended()
            finally:
                self._lock.release()
        return self._link is not None and self._link.closed


_streams: dict[Address, Stream] = {}
_own = threading.local()


def stream_to(address: Address) -> Stream:
    """The connection by which this process puts into the queues of an owner."""
    stream = _streams.get(address)
    if stream is None:
        for where, one in list(_streams.items()):  # an owner that ended has another address when it begins anew
            if one.is_over():
                _streams.pop(where, None)
        stream = _streams.setdefault(address, Stream(address))
    return stream


def link_to(address: Address, lock: int = 0) -> Link:
    """The calling thread's connection to an owner, which has all that this process has put before.

    Args:
        address: Where the owner listens.
        lock: The number of a lock, for a connection of its own: for it and what it guards, by which it is held. So a
            call that is cut off, and loses its connection for that, costs no other lock that the thread has.
    """
    stream = _streams.get(address)
    if stream is not None:
        stream.flush()
    links: dict[Any, Link] = _own.__dict__
    link = links.get((address, lock))
    if link is not None and link.busy:
        return Link(address)
    if link is None or link.closed:
        for where, one in list(links.items()):
            one.close_if_ended()
            if one.closed:
                links.pop(where, None)
        link = links[address, lock] = Link(address)
    return link


def flush() -> None:
    """Waits until all owners have everything that this process has put; gives back what this thread did not take."""
    for stream in list(_streams.values()):
        with contextlib.suppress(QueueGone):  # nobody can have it any more, and nobody waits for it
            stream.flush()
    for key, link in list(_own.__dict__.items()):
        if key[1]:  # of a lock
            if link.holds <= 0:
                _own.__dict__.pop(key).close()
            continue
        with contextlib.suppress(QueueGone):
            link.settle()


def _forget() -> None:
    """In a forked child: the connections are the parent's; `dial` has closed them."""
    _streams.clear()
    _own.__dict__.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
