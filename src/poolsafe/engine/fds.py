"""File descriptors that the engine makes for itself.

Used by: page, lifeline, channels, poller, offspring, starting. What may go wrong: OSError when the process is out of
descriptors or memory; nothing is left open then.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
from collections.abc import Iterator


def above_stdio(fd: int) -> int:
    """The same file under a number above 2.

    A parent that runs without standard streams (a daemon) would be given 0, 1 and 2 for its channels, and the worker's
    standard streams would then be put in their place.
    """
    if fd > 2:
        return fd
    try:
        import fcntl

        return int(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3))
    finally:
        os.close(fd)


def memory_file(name: str, size: int) -> int:
    """A descriptor of `size` bytes of memory that have no name in any file system.

    Raises:
        OSError: No memory or no descriptors left.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
    else:
        import tempfile

        fd, path = tempfile.mkstemp(prefix=name)
        os.unlink(path)
    fd = above_stdio(fd)
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


@contextlib.contextmanager
def low_numbers_taken() -> Iterator[None]:
    """What is opened meanwhile, by whomever, has a number above those of the standard streams."""
    taken: list[int] = []
    try:
        while not taken or taken[-1] <= 2:
            taken.append(os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
        os.close(taken.pop())
        yield
    finally:
        for one in taken:
            os.close(one)


class KeptSocket(socket.socket):
    """A socket that closes when the last user lets go of it, without a ResourceWarning.

    A submitting thread may hold it while the supervisor drops it. Closing it under that thread's hands could make its
    `send` hit a descriptor that was reused for something else.
    """

    def __del__(self) -> None:
        self.close()


def socket_pair(kind: socket.SocketKind = socket.SOCK_STREAM) -> tuple[KeptSocket, KeptSocket]:
    """A pair of connected sockets, above the standard streams, blocking whatever the default timeout is."""
    first, second = socket.socketpair(type=kind)
    fds = both_above_stdio(first.detach(), second.detach())
    kept = KeptSocket(fileno=fds[0]), KeptSocket(fileno=fds[1])
    for end in kept:
        end.setblocking(True)
    return kept


def pipe() -> tuple[int, int]:
    """The two ends of a pipe, above the standard streams."""
    return both_above_stdio(*os.pipe())


def both_above_stdio(first: int, second: int) -> tuple[int, int]:
    """Like `above_stdio`, for a pair: both are closed when one cannot be had."""
    try:
        first = above_stdio(first)
    except OSError:
        os.close(second)
        raise
    try:
        return first, above_stdio(second)
    except OSError:
        os.close(first)
        raise
