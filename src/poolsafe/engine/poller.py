"""Waiting for many things at once, and being woken from another thread.

`EpollPoller` on Linux; `WaitPoller` over `multiprocessing.connection.wait` elsewhere. Used by: supervisor. What may go
wrong: no descriptors left (OSError from the constructor).
"""

from __future__ import annotations

import errno
import select
from multiprocessing.connection import wait
from typing import Any, Protocol

from .fds import KeptSocket, low_numbers_taken, socket_pair


class Poller(Protocol):
    """What the supervisor needs."""

    def register(self, waitable: Any, key: Any) -> None:
        """From now on `wait` reports `key` when `waitable` is readable."""

    def unregister(self, waitable: Any) -> None:
        """Forgets it; to be called before it is closed."""

    def wait(self, timeout: float | None) -> list[Any]:
        """Keys of what is readable, empty when woken or after `timeout` seconds."""

    def wake(self) -> bool:
        """Ends a `wait`, now or the next. Any thread, any signal handler; never blocks or raises.

        False when it cannot: the program has closed what is not its own, and a `wait` that was on may go on for ever.
        """

    def close(self) -> None:
        """Lets go of everything; also in a forked child."""


class _Alarm:
    """What a poller is woken by. The writing end is a socket that outlives the poller for as long as somebody uses it:
    a thread that is late in waking must not write into a descriptor that was closed and reused.
    """

    def __init__(self) -> None:
        self.reader, writer = socket_pair()
        self._writer: KeptSocket | None = writer
        self.reader.setblocking(False)
        writer.setblocking(False)

    def ring(self) -> bool:
        writer = self._writer
        if writer is None:
            return True  # closed: there is nobody to wake
        try:
            writer.send(b"\0")
        except BlockingIOError:
            return True  # full: it is awake already
        except OSError as error:  # closed by us meanwhile, or the kernel is short of memory, which passes
            return self._writer is None or error.errno in (errno.ENOBUFS, errno.ENOMEM)
        return True

    def silence(self) -> None:
        try:
            self.reader.recv(4096)
        except OSError:
            return  # nothing there

    def close(self) -> None:
        self._writer = None
        self.reader.close()


class EpollPoller:
    """See the module."""

    def __init__(self) -> None:
        self._alarm = _Alarm()
        try:
            with low_numbers_taken():
                self._epoll = select.epoll()
        except OSError:
            self._alarm.close()
            raise
        self._keys: dict[int, Any] = {}
        self._epoll.register(self._alarm.reader, select.EPOLLIN)

    def register(self, waitable: Any, key: Any) -> None:
        fd = waitable if isinstance(waitable, int) else waitable.fileno()
        self._keys[fd] = key
        self._epoll.register(fd, select.EPOLLIN)

    def unregister(self, waitable: Any) -> None:
        fd = waitable if isinstance(waitable, int) else waitable.fileno()
        if self._keys.pop(fd, None) is not None:
            self._epoll.unregister(fd)  # closing does not: a forked process may hold the same file open

    def wait(self, timeout: float | None) -> list[Any]:
        alarm = self._alarm.reader.fileno()
        keys = []
        for fd, _ in self._epoll.poll(-1 if timeout is None else timeout):
            if fd == alarm:
                self._alarm.silence()
            elif fd in self._keys:
                keys.append(self._keys[fd])
        return keys

    def wake(self) -> bool:
        return self._alarm.ring()

    def close(self) -> None:
        self._epoll.close()
        self._alarm.close()


class WaitPoller:
    """See the module."""

    def __init__(self) -> None:
        self._alarm = _Alarm()
        self._keys: dict[Any, Any] = {}

    def register(self, waitable: Any, key: Any) -> None:
        self._keys[waitable] = key

    def unregister(self, waitable: Any) -> None:
        self._keys.pop(waitable, None)

    def wait(self, timeout: float | None) -> list[Any]:
        ready = wait([*self._keys, self._alarm.reader], timeout)
        self._alarm.silence()
        return [self._keys[item] for item in ready if item is not self._alarm.reader]

    def wake(self) -> bool:
        return self._alarm.ring()

    def close(self) -> None:
        self._alarm.close()
