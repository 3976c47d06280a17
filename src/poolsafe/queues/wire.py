"""What the owner of queues and its clients say to each other over a stream socket, and how each proves who it is.

Client to owner::

    nonce | proof                         once, see below
    REQUEST header | item                 PUT and PUT_WAIT carry an item, CALL what is to be called

Owner to client::

    nonce, then proof                     once
    REPLY header | items                  for every request but PUT, TAKEN, RETURN and CANCEL

Both sides know a secret that all processes of one program share (`multiprocessing.current_process().authkey`). Each
proves that it knows it by a keyed BLAKE2b hash (RFC 7693) of both nonces and of the address, so that nobody can pass
the proof on to another owner; the secret itself is never sent.

Used by: hub, link. What may go wrong: the other side talks garbage; whoever sees that closes the connection.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import struct
import sys
from collections.abc import Iterable
from multiprocessing import process
from typing import Any

from ..engine.fds import low_numbers_taken

#: operation, how (WAIT, SINGLE), queue, length of the item that follows
REQUEST = struct.Struct("<BBQQ")
WAIT, SINGLE = 1, 2  # until it can be done; no more than one item
PUT = 1  # add an item; no answer
PUT_WAIT = 2  # add an item once there is room, and say so
GET = 3
TAKEN = 4  # an item that came has been taken; no answer
RETURN = 5  # items that came and were not taken go back; no answer
SIZE = 6  # answered by two numbers: items that wait, and how many there may be
TASK_DONE = 7
JOIN = 8
SYNC = 9  # answered when everything sent before on this connection is done
CANCEL = 10  # the client waits no longer; answered instead of what it waited for, if that has not come
CALL = 11  # do something with what is carried: pickled (method, arguments); after `get` a TAKEN, which is answered

#: status, length of what follows
REPLY = struct.Struct("<BQ")
OK = 0
ITEMS = 1  # each as LENGTH and bytes
NOT_NOW = 2  # empty, full, or not done yet
GONE = 3  # there is no such queue any more
TOO_OFTEN = 4  # task_done was called more often than items were put
RAISED = 5  # the pickled exception of a CALL

LENGTH = struct.Struct("<Q")
SIZES = struct.Struct("<QQ")

NONCE = 16
PROOF = 32
#: Bytes that the kernel may hold for a connection: large items then need fewer turns.
BUFFER = 1 << 20

Address = Any  # str: an abstract AF_UNIX name; (host, port): loopback TCP


def _proof(who: bytes, where: Address, asked: bytes, answered: bytes) -> bytes:
    secret = hashlib.blake2b(bytes(process.current_process().authkey), digest_size=32).digest()
    return hashlib.blake2b(who + asked + answered + repr(where).encode(), key=secret, digest_size=PROOF).digest()


def client_proof(where: Address, owners_nonce: bytes, clients_nonce: bytes) -> bytes:
    """What a client answers to the nonce of the owner at an address; nobody else can pass it on to another owner."""
    return _proof(b"client", where, owners_nonce, clients_nonce)


def owner_proof(where: Address, owners_nonce: bytes, clients_nonce: bytes) -> bytes:
    """What the owner answers to the client's nonce."""
    return _proof(b"owner", where, owners_nonce, clients_nonce)


def equal(one: bytes, other: bytes) -> bool:
    """Whether two proofs are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)


def listen() -> tuple[socket.socket, Address]:
    """A listening socket for this process, and where it can be reached.

    On Linux an abstract AF_UNIX name (unix(7)): no file is left behind, no other machine can reach it. Elsewhere, and
    with POOLSAFE_TRANSPORT=pipe, TCP on the loopback interface.
    """
    where: Address
    if sys.platform == "linux" and os.environ.get("POOLSAFE_TRANSPORT") != "pipe":
        family, where = socket.AF_UNIX, "\0poolsafe-" + os.urandom(12).hex()
    else:
        family, where = socket.AF_INET, ("127.0.0.1", 0)
    with low_numbers_taken():
        listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.bind(where)
        listener.listen(4096)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener, where if isinstance(where, str) else listener.getsockname()


def tune(connected: socket.socket) -> None:
    """Sets what both ends of a connection want."""
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connected.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    if connected.family == socket.AF_INET:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def rest(parts: Iterable[bytes], sent: int) -> list[memoryview]:
    """What of the parts is left to send after so many bytes."""
    left = []
    for part in parts:
        if sent < len(part):
            left.append(memoryview(part)[sent:])
        sent = max(sent - len(part), 0)
    return left
