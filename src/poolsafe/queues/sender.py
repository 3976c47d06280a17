"""What is written to a connection that must never make its writer wait: what is not taken at once is kept for later.

Used by: clients. What may go wrong: the other side is gone, which its end of the connection tells; nothing is raised.
"""

from __future__ import annotations

import socket
from collections import deque

from . import wire
from .wire import REPLY


class Sender:
    """The writing half of a connection.

    Args:
        connected: The connection; it does not block.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.socket: socket.socket = connected
        self.unsent: deque[memoryview] = deque()
        self.broken: bool = False  # nothing more is to be sent

    def more_to_send(self) -> None:
        """Is called when there is something for `send_rest`."""

    def send(self, *parts: bytes) -> None:
        """Sends now what the socket takes, and the rest later. Never blocks."""
        sent = 0
        if self.broken:
            return
        if not self.unsent:
            try:
                sent = self.socket.sendmsg(parts)
            except BlockingIOError:
                pass
            except OSError:
                return  # it is gone, which its end of the connection will tell
            if sent == sum(map(len, parts)):
                return
            self.more_to_send()
        self.unsent.extend(wire.rest(parts, sent))

    def send_rest(self) -> bool:
        """Goes on sending; whether all is sent."""
        while self.unsent:
            try:
                sent = self.socket.send(self.unsent[0])
            except BlockingIOError:
                return False
            except OSError:
                self.unsent.clear()
                return True
            if sent < len(self.unsent[0]):
                self.unsent[0] = self.unsent[0][sent:]
            else:
                self.unsent.popleft()
        return True

    def reply(self, status: int, content: bytes = b"") -> None:
        """Answers a request."""
        self.send(REPLY.pack(status, len(content)), content)
