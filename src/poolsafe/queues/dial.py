"""How a client gets a connection to an owner of queues, and what becomes of all of them in a forked child.

Used by: link. What may go wrong: nobody listens there any more, or somebody else does (`QueueGone`); the owner is busy,
or so many others ask at the same time that it closes on us (asked again, for a while).
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import threading
from time import monotonic
from typing import Any
from weakref import WeakSet

from ..engine.fds import low_numbers_taken
from ..errors import QueueGone
from . import wire
from .forks import hold_during_forks
from .wire import Address

#: Seconds for which an owner may keep a client waiting that introduces itself, and how often it is asked.
_PATIENCE, _TURNS = 30.0, 100
#: Every socket from the moment on at which it is made: a fork may happen in another thread at any time.
_sockets: WeakSet[socket.socket] = WeakSet()
_making: Any = threading.RLock()


def gone() -> QueueGone:
    """The error for a queue that is not there any more."""
    return QueueGone(
        "the queue is gone",
        cause="The process that made it has ended, or holds it no longer.",
        remedy="Keep a reference to the queue where it was made for as long as anybody uses it.",
    )


def exactly(connected: socket.socket, length: int) -> bytes:
    """So many bytes.

    Raises:
        ConnectionError: The other side has closed before.
    """
    data = b""
    while len(data) < length:
        more = connected.recv(length - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


def readable(connected: socket.socket, timeout: float) -> bool:
    """Whether there is anything to read, or the end, within so many seconds."""
    poll = select.poll()
    poll.register(connected, select.POLLIN)
    until = monotonic() + timeout
    while True:
        left = max(until - monotonic(), 0)
        if poll.poll(min(left * 1000 + 0.5, 1e9) if left else 0):
            return True
        if left <= 0:
            return False


def connected(address: Address) -> socket.socket:
    """A connection to an owner. One that is busy, or crowded, is asked again for a while."""
    until = monotonic() + _PATIENCE
    for turn in itertools.count():
        try:
            return _introduced(address)
        except (ConnectionRefusedError, FileNotFoundError):
            break  # nobody listens there any more
        except OSError:  # EAGAIN: as many are waiting as may; or it was closed before the owner had said who it is
            if monotonic() > until or turn >= _TURNS:
                break
            select.select([], [], [], min(0.002 * 2 ** min(turn, 6), 0.1))
    raise gone()


def _introduced(address: Address) -> socket.socket:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with _making, low_numbers_taken():
        connected = socket.socket(family, socket.SOCK_STREAM)
        _sockets.add(connected)
    try:
        connected.settimeout(_PATIENCE)
        connected.connect(address)
        theirs, ours = exactly(connected, wire.NONCE), os.urandom(wire.NONCE)
        connected.sendall(ours + wire.client_proof(address, theirs, ours))
        if not wire.equal(exactly(connected, wire.PROOF), wire.owner_proof(address, theirs, ours)):
            raise ConnectionRefusedError  # somebody else
        wire.tune(connected)
        connected.settimeout(None)
    except BaseException:
        connected.close()
        raise
    return connected


def _close_all() -> None:
    """In a forked child: the parent's end must show on its connections."""
    global _making
    _making = threading.RLock()
    for one in list(_sockets):
        one.close()
    _sockets.clear()


hold_during_forks(lambda: _making, _close_all)
