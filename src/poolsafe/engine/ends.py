"""The worker's end of its channel: requests come in, frames go out.

Made by the parent (`engine.channels`), handed to the worker while it is started, used by the child's loop alone. Each
worker has ends of its own, so a worker that dies in the middle of a read or a write damages nobody else's channel.

What may go wrong: the parent is gone (`ParentGone`, the worker has no reason to live on); the worker is out of
descriptors or memory when a big payload arrives (the request comes with no payload, and the worker retires).
"""

from __future__ import annotations

import array
import os
import socket
from multiprocessing import context, reduction
from typing import Any, Protocol

from . import messages
from .messages import REQUEST, Request

_DATAGRAM = REQUEST.size + messages.INLINE_MAX
_ANCILLARY = socket.CMSG_LEN(4) if hasattr(socket, "CMSG_LEN") else 0


class ParentGone(Exception):
    """The other end of the channel is closed."""


class End(Protocol):
    """What the child's loop needs of a channel."""

    def receive(self) -> tuple[Request, bool]:
        """The next request, and whether its payload came with it.

        Raises:
            ParentGone: There is nobody to send one.
        """

    def send(self, data: bytes | memoryview) -> None:
        """Writes whole frames; blocks while the parent is busy.

        Raises:
            ParentGone: There is nobody to read them.
        """

    def check(self) -> None:
        """Makes sure that what is sent will go where it should.

        Raises:
            ParentGone: A task has closed this end, or put another file in its place.
        """

    def close(self) -> None:
        """Lets go of it: where another process goes on using it."""

    def keep_private(self) -> None:
        """Makes sure that programs which a task starts do not inherit the channel."""


def _parse(data: bytes, payload: bytes | None = None) -> Request:
    kind, _, start, stop, job, _ = REQUEST.unpack_from(data)
    return Request(kind, start, stop, job, data[REQUEST.size :] if payload is None else payload)


class SocketEnd:
    """Requests over a SEQPACKET socket, frames over a stream socket.

    Args:
        requests: The worker's end of the one.
        replies: The worker's end of the other.
        parents: The parent's ends of both.
    """

    def __init__(
        self, requests: socket.socket, replies: socket.socket, parents: tuple[socket.socket, ...] = ()
    ) -> None:
        self._requests = requests
        self._replies = replies
        self._parents = parents
        for end in (requests, replies):
            end.setblocking(True)  # whatever socket.setdefaulttimeout() says

    def __getstate__(self) -> Any:
        context.assert_spawning(self)
        return reduction.DupFd(self._requests.fileno()), reduction.DupFd(self._replies.fileno())

    def __setstate__(self, state: Any) -> None:
        requests, replies = state
        self.__init__(socket.socket(fileno=requests.detach()), socket.socket(fileno=replies.detach()))  # type: ignore[misc]

    def close(self) -> None:
        """Closes both; the parent does, once the worker has its own, and what the worker forks."""
        try:
            self._requests.close()
        finally:
            self._replies.close()

    def keep_private(self) -> None:
        for end in (self._requests, self._replies):
            end.set_inheritable(False)  # spawn hands descriptors over as inheritable ones
        for end in self._parents:
            end.close()  # a forked worker has inherited the other ends, and would never see them closed

    def receive(self) -> tuple[Request, bool]:
        try:
            data, ancillary, _, _ = self._requests.recvmsg(_DATAGRAM, _ANCILLARY)
        except OSError as error:
            raise ParentGone from error
        if not data:
            raise ParentGone
        _, where, _, _, job, size = REQUEST.unpack_from(data)
        if where == messages.INLINE:
            return _parse(data), True
        if where == messages.WITHHELD:
            return self._ask_for(data, job, size)
        if not ancillary:  # the kernel drops a descriptor that the receiver has no slot for
            return _parse(data), False
        fd = array.array("i", ancillary[0][2])[0]
        try:
            return _parse(data, _read(fd, size)), True
        except (OSError, MemoryError):
            return _parse(data), False
        finally:
            os.close(fd)

    def _ask_for(self, data: bytes, job: int, size: int) -> tuple[Request, bool]:
        try:
            buffer = bytearray(size)
        except MemoryError:
            return _parse(data), False
        self.send(messages.frame(messages.WANTED, job, 0, b""))
        view = memoryview(buffer)
        try:
            while view:
                count = self._replies.recv_into(view)
                if not count:
                    raise ParentGone
                view = view[count:]
        except OSError as error:
            raise ParentGone from error
        return _parse(data, buffer), True  # type: ignore[arg-type]  # as in `_read`

    def check(self) -> None:
        try:
            self._replies.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        except OSError as error:
            raise ParentGone from error

    def send(self, data: bytes | memoryview) -> None:
        try:
            self._replies.sendall(data)
        except OSError as error:
            raise ParentGone from error


def _read(fd: int, size: int) -> bytes:
    # One allocation for the whole; a read() returns at most about 2 GiB, hence the loop.
    buffer = bytearray(size)
    view = memoryview(buffer)
    done = 0
    while done < size:
        count = os.preadv(fd, [view[done : done + (1 << 30)]], done)
        if not count:
            raise OSError("a memory file ended early")
        done += count
    return buffer  # type: ignore[return-value]  # pickle.loads takes any buffer; nothing else is done with it


class PipeEnd:
    """Both directions over one `multiprocessing.Pipe`: for platforms without SEQPACKET sockets or memory files."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection  # pickles itself while a process is being started
        self._file: tuple[int, int] | None = None

    def close(self) -> None:
        """Closes it; the parent does, once the worker has its own, and what the worker forks."""
        self._connection.close()

    def keep_private(self) -> None:
        if os.name == "posix":
            os.set_inheritable(self._connection.fileno(), False)
        self._file = self._identity()

    def _identity(self) -> tuple[int, int]:
        status = os.fstat(self._connection.fileno())
        return status.st_dev, status.st_ino

    def receive(self) -> tuple[Request, bool]:
        try:
            return _parse(self._connection.recv_bytes()), True
        except (EOFError, OSError) as error:
            raise ParentGone from error

    def check(self) -> None:
        try:
            if self._file != self._identity():  # it would swallow anything
                raise ParentGone
        except OSError as error:
            raise ParentGone from error

    def send(self, data: bytes | memoryview) -> None:
        self.check()
        try:
            self._connection.send_bytes(data)
        except OSError as error:
            raise ParentGone from error
