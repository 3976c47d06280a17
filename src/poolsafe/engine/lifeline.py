"""How a worker notices that its parent is gone, whatever the worker is doing at that moment.

The parent holds the write end of one pipe for all its workers and never writes. When it dies, in whatever way, the
kernel closes that end. On Linux the worker asks the kernel to answer the closing with SIGKILL (`fcntl(2)`, F_SETSIG and
O_ASYNC; the signal cannot be caught, blocked or ignored by a task, and needs no thread). Elsewhere a thread waits for
end-of-file.

`O_ASYNC` and the owner belong to the *open file description*, which forked workers share; so each worker opens the
pipe anew through /proc/self/fd. Where that fails, the thread serves.

Used by: recipe (makes it), setup and template (arm it), mortuary (checks it). What may go wrong: the parent may die
while the worker arms; therefore the worker looks for end-of-file once more after arming. Or the program closes the
write end, among others that are not its own, which ends the workers, too; `check` tells.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import threading
from multiprocessing import context, reduction
from typing import Any, NoReturn

from .fds import pipe
from .signals import kill_group


class Lifeline:
    """One per pool. The read end goes to every worker; the write end stays with the parent alone."""

    def __init__(self, *, use_thread: bool = False) -> None:
        self._reader, self._writer = pipe()
        self._made = os.fstat(self._writer)
        self.use_thread: bool = use_thread
        self.armed: bool = False
        self._group = 0
        self._second = -1

    def __getstate__(self) -> Any:
        context.assert_spawning(self)
        return reduction.DupFd(self._reader), self.use_thread

    def __setstate__(self, state: Any) -> None:
        fd, self.use_thread = state
        self._reader = fd.detach()
        self._writer = -1
        self.armed = False
        self._group = 0
        self._second = -1

    def fileno(self) -> int:
        """The read end; where `arm` found no other way, its owner polls it."""
        return self._reader

    def check(self) -> None:
        """In the parent: makes sure that it was not its own doing that ended workers.

        Raises:
            OSError: The program has closed our end (and may have opened something else in its place).
        """
        if not os.path.samestat(os.fstat(self._writer), self._made):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def close_writer(self) -> None:
        """Lets go of the parent's end: in the parent when the pool is over, in any forked child at once."""
        fd, self._writer = self._writer, -1
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """Closes both ends, in the parent."""
        self.close_writer()
        fd, self._reader = self._reader, -1
        if fd >= 0:
            os.close(fd)

    def arm(self, *, threadless: bool = False, group: bool = False) -> None:
        """Ties the life of this process to the parent's. Called once, in the worker.

        Args:
            threadless: Start no thread; where one is needed, `armed` stays False.
            group: Have the whole process group end, of which this process is the leader.
        """
        self._group = os.getpid() if group else 0
        self.close_writer()  # a forked worker has inherited it, and would keep itself and others alive
        os.set_inheritable(self._reader, False)
        self.armed = not self.use_thread and self._arm_signal()
        if not self.armed and not threadless:
            threading.Thread(target=self._watch, name="poolsafe-lifeline", daemon=True).start()
            self.armed = True

    def _arm_signal(self) -> bool:
        try:
            fd = self._owned_by(os.getpid())
            if self._group:  # as well: a task may move its process to another group
                self._second = self._owned_by(-self._group)
        except (ImportError, OSError, AttributeError):
            return False
        os.close(self._reader)
        self._reader = fd
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if poll.poll(0):  # nothing is ever written: an event means that the other end is closed
            self.end()
        return True

    def _owned_by(self, owner: int) -> int:
        """The pipe, opened anew: its closing ends a process, or, negative, a group."""
        import fcntl

        fd = os.open(f"/proc/self/fd/{self._reader}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(fd, fcntl.F_SETOWN, owner)
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _watch(self) -> None:
        try:
            os.read(self._reader, 1)
        except OSError:
            return  # a task closed every descriptor; the parent notices by the channel
        self.end()

    def end(self) -> NoReturn:
        """The parent is gone."""
        if self._group:
            kill_group(self._group)
        os._exit(1)
