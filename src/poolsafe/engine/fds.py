"""File descriptors that we make for ourselves.

In a program without standard streams (a daemon), the next that is opened would be given the number of one of them: what
is printed would be written to it, and it would be closed when the program puts a stream in its place. So everything
that stays open has a number above those.

Used by: page, lifeline, channels, poller, offspring, starting, setup, workers; and by the queues. What may go wrong:
OSError when the process is out of descriptors or memory; nothing is left open then.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import threading
from collections.abc import Iterator


class _LowNumbers:
    """Keeps the numbers of absent standard streams from being given to anything, while anybody needs that.

    By ends of pipes whose other end is closed: nothing can be written to them, and nothing is there to be read. They
    come without opening a file, which a process in a sandbox of its initializer's may not be able to do.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """In a forked child: who needed them is not here. They stay taken, which harms nobody."""
        self._lock = threading.RLock()  # a signal's handler may make a pool in the middle of this
        self._users = 0
        self._taken: list[int] = []

    def take(self) -> None:
        with self._lock:
            self._users += 1
            try:
                while (fd := _dead_end()) <= 2:
                    self._taken.append(fd)
                os.close(fd)
            except BaseException:
                self.give_back()
                raise

    def give_back(self) -> None:
        with self._lock:
            self._users = max(self._users - 1, 0)
            if self._users:
                return
            taken, self._taken = self._taken, []
            for fd in taken:
                with contextlib.suppress(OSError):
                    # What `dup2` has put there is inheritable (POSIX): the program has a stream again.
                    if not os.get_inheritable(fd):
                        os.close(fd)


def _dead_end() -> int:
    reader, writer = os.pipe()
    os.close(writer)
    return reader


_low = _LowNumbers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_low.forget)


@contextlib.contextmanager
def low_numbers_taken() -> Iterator[None]:
    """What is opened meanwhile, by whomever, has a number above those of the standard streams."""
    _low.take()
    try:
        yield
    finally:
        _low.give_back()


def keep_low_numbers_taken() -> None:
    """In a process of our own: from now on."""
    with contextlib.suppress(OSError):  # out of descriptors, and so they are taken
        _low.take()


def memory_file(name: str, size: int) -> int:
    """A descriptor of `size` bytes of memory that have no name in any file system.

    Raises:
        OSError: No memory or no descriptors left.
    """
    with low_numbers_taken():
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create(name, os.MFD_CLOEXEC)
        else:
            import tempfile

            fd, path = tempfile.mkstemp(prefix=name)
            os.unlink(path)
    try:
        if size:
            os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def memory_map(fd: int, size: int, offset: int = 0) -> mmap.mmap:
    """Maps a file. `mmap` keeps a duplicate of the descriptor, and would take one of the standard streams' for it.

    Whatever is written there, by C code for instance, would be written to the memory.
    """
    with low_numbers_taken():
        return mmap.mmap(fd, size, offset=offset)


class KeptSocket(socket.socket):
    """A socket that closes when the last user lets go of it, without a ResourceWarning.

    A submitting thread may hold it while the supervisor drops it. Closing it under that thread's hands could make its
    `send` hit a descriptor that was reused for something else.
    """

    def __del__(self) -> None:
        with contextlib.suppress(OSError):  # the program has closed what is not its own
            self.close()


def socket_pair(kind: socket.SocketKind = socket.SOCK_STREAM) -> tuple[KeptSocket, KeptSocket]:
    """A pair of connected sockets, blocking whatever the default timeout is."""
    with low_numbers_taken():
        first, second = socket.socketpair(type=kind)
    kept = KeptSocket(fileno=first.detach()), KeptSocket(fileno=second.detach())
    for end in kept:
        end.setblocking(True)
    return kept


def pipe() -> tuple[int, int]:
    """The two ends of a pipe."""
    with low_numbers_taken():
        return os.pipe()
