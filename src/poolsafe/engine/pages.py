"""The memory of which each worker of a pool has a page.

Used by: recipe (makes it), workers (take a page, and give it back). What may go wrong: no memory (OSError at creation);
so many workers cannot be ended that no page is left.
"""

from __future__ import annotations

import mmap
import os
from multiprocessing import connection

from .fds import memory_file, memory_map
from .page import SIZE, STACK, Page, identity_of


class Pages:
    """The pages of a pool's workers: one piece of memory, so that a worker does not cost a descriptor for it.

    Args:
        count: How many workers there may be at a time.
    """

    fd: int
    memory: mmap.mmap

    def __init__(self, count: int) -> None:
        self.count: int = count
        self.fd = memory_file("poolsafe-pages", count * (SIZE + STACK))  # what is not touched takes no memory
        self.identity: tuple[int, int] = identity_of(self.fd)
        try:
            self.memory = memory_map(self.fd, count * (SIZE + STACK))
        except BaseException:
            self.close_fd()
            raise
        self._free = list(range(count))
        self._kept: list[tuple[Page, int]] = []

    def take(self) -> Page:
        """A clean page.

        Raises:
            RuntimeError: All are in use by workers that nobody has been able to end.
        """
        if not self._free:
            self._reclaim()
        if not self._free:
            raise RuntimeError("there are too many processes already that cannot be ended")
        return Page(self, self._free.pop())

    def give_back(self, page: Page) -> None:
        """The page's worker is gone."""
        self._free.append(page.slot)

    def keep(self, page: Page, process: int) -> None:
        """The page's worker is not gone, and may write to it. `process`: a pidfd, to be closed here."""
        self._kept.append((page, process))

    def _reclaim(self) -> None:
        kept, self._kept = self._kept, []
        for page, process in kept:
            if connection.wait([process], 0):
                os.close(process)
                self.give_back(page)
            else:
                self.keep(page, process)

    def close_fd(self) -> None:
        """Closes the descriptor: no more workers will be started from here. The memory stays."""
        fd = self.fd
        self.fd = -1
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """Closes all: no page is in use any more."""
        self.close_fd()
        for _, process in self._kept:
            os.close(process)
        self._kept.clear()
        self.memory.close()
