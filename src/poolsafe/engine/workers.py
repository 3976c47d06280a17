"""One worker as the parent sees it: a process, its channel and its page.

The seam is narrow on purpose (`Worker`): a kind of worker that satisfies it and passes the contract suite can serve any
pool. Made by: recipe. Used by: supervisor. What may go wrong: a signal cannot be delivered because the process is gone
already (ignored).
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from multiprocessing import connection, process
from typing import Any, NamedTuple, Protocol

from . import template
from .channels import Channel
from .fds import low_numbers_taken
from .messages import Frame, frames_of
from .page import UNBORN, Begun, Page
from .pages import Pages
from .signals import is_being_ended, kill_group, parent_of
from .starting import KILL

#: Seconds for which the end of a dead worker's child is waited for; and if nobody but us can reap it.
CHILD_PATIENCE, ADOPTED_PATIENCE = 0.2, 2.0


class Worker(Protocol):
    """Parent-side handle of one worker. Never raises for a dead one: death is an exit code."""

    channel: Channel
    process: Any
    #: Whether it takes up what it is sent as soon as it has nothing else to do; else an initializer may come before.
    takes_up_at_once: bool

    @property
    def pid(self) -> int | None:
        """Its process id."""

    @property
    def serving(self) -> int | None:
        """The id of the process that runs its tasks, or ran the last one."""

    @property
    def initializing(self) -> int | None:
        """Before it is ready, the id of the process in which the initializer runs, or ran last."""

    @property
    def exitcode(self) -> int | None:
        """Its exit code, or None while it lives or when nobody can tell."""

    def was_hindered(self, code: int | None) -> bool:
        """Whether what ended it while it started may have been nothing of the program's, so that another try may do."""

    def lives(self) -> bool:
        """Whether it is certain that the process has not ended."""

    def is_ending(self) -> bool:
        """Whether it was sent what ends it and is on its way: it closes its files before that can be seen otherwise."""

    def waitables(self) -> list[Any]:
        """Descriptors that become readable when the process ends."""

    def send_signal(self, number: int) -> None:
        """Sends a signal, if the process is still there."""

    def last_words(self) -> tuple[list[Frame], frozenset[int], Begun]:
        """Of a dead one: the frames not yet received, the jobs it never read, and what it was at."""

    def begun(self) -> Begun:
        """What it has at hand."""

    def since(self) -> float:
        """Since when it is in that phase, by `time.monotonic`."""

    def doom(self, number: int) -> None:
        """Has it begin nothing more, by a number that is not 0, as its item is to be ended; or go on."""

    def end_item(self, attempt: int) -> None:
        """Ends the process that has the item at hand; with each attempt (0, 1, 2) by harsher means."""

    def take_stack(self) -> str:
        """Of a dead one: where it was, if it was asked, or crashed."""

    def said(self) -> str:
        """Of a dead one: the last lines that it wrote to stderr in its last item."""

    def times(self) -> tuple[float, float]:
        """Seconds at work, and of these in putting things back."""

    def release(self) -> None:
        """Lets go of everything that belongs to a dead one."""

    def abandon(self) -> None:
        """In a forked child: lets go of the parent's descriptors, and of the process as a child of ours."""


class Started(NamedTuple):
    """A process that was started, and what it shares with us."""

    process: Any
    channel: Channel
    page: Page


class PersistentWorker:
    """A process that serves many tasks."""

    takes_up_at_once: bool = True

    def __init__(self, started: Started, pages: Pages, *, pidfd: bool, leads: bool = False) -> None:
        self.process: Any = started.process
        self.channel: Channel = started.channel
        self._page = started.page
        self._pages = pages
        self._sentinel: Any = getattr(self.process, "sentinel", None)
        self._leads = leads  # a process group, in which are the processes of its tasks
        self._pidfd = -1
        if pidfd and hasattr(os, "pidfd_open"):
            # A descriptor of the process itself: no grandchild can keep it open, and the number cannot be reused.
            try:
                with low_numbers_taken():
                    self._pidfd = os.pidfd_open(self.process.pid)
            except OSError:
                self._pidfd = -1  # gone already, or not supported: the sentinel tells

    @property
    def pid(self) -> int | None:
        return getattr(self.process, "pid", None)

    @property
    def serving(self) -> int | None:
        return self.pid

    @property
    def initializing(self) -> int | None:
        return self.pid

    @property
    def exitcode(self) -> int | None:
        if self._leads and self._pidfd >= 0 and not self.lives():
            self._end_family()  # its number cannot be another's until its status is known
        code = self._code()
        # A fork server tells a status once. When two threads ask at the same moment, as by `active_children()`, the one
        # that comes too late makes `Process` say 255 for ever after.
        return None if code == 255 and self._by_server else code

    def was_hindered(self, code: int | None) -> bool:
        if self._method == "spawn":
            return code == 255  # it could not be executed: no memory, or the environment was being changed
        # By Ctrl-C, as long as it heeds that. Others begin with the mask of the thread that starts them.
        return code == 1 and self._by_server and not self._page.holder()

    @property
    def _by_server(self) -> bool:
        return self._method == "forkserver"

    @property
    def _method(self) -> str | None:
        return getattr(self.process, "_start_method", None)

    def _code(self) -> int | None:
        try:
            code: int | None = self.process.exitcode
        except (OSError, ValueError, AssertionError):
            return None
        return code

    def lives(self) -> bool:
        return self._pidfd >= 0 and not connection.wait([self._pidfd], 0)

    def is_ending(self) -> bool:
        return self.pid is not None and is_being_ended(self.pid)

    def waitables(self) -> list[Any]:
        return [item for item in (self._sentinel, self._pidfd if self._pidfd >= 0 else None) if item is not None]

    def send_signal(self, number: int) -> None:
        try:
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, number)
            elif self.pid is not None and self._code() is None:
                os.kill(self.pid, number)
        except OSError:
            return  # it is gone, which is what was wanted

    def last_words(self) -> tuple[list[Frame], frozenset[int], Begun]:
        frames = self.channel.drain() + frames_of(self._page.log())
        unread = iter(self.channel.recall, None)
        return frames, frozenset(unread), self._page.begun()

    def begun(self) -> Begun:
        return self._page.begun()

    def since(self) -> float:
        return self._page.since()

    def doom(self, number: int) -> None:
        self._page.doom(number)

    def end_item(self, attempt: int) -> None:
        self.send_signal(KILL if attempt else signal.SIGTERM)

    def take_stack(self) -> str:
        return self._page.take_stack()

    def said(self) -> str:
        return self._page.said()

    def times(self) -> tuple[float, float]:
        return self._page.times()

    def _end_family(self) -> None:
        self._leads = False
        if self.pid is not None:
            kill_group(self.pid)

    def release(self) -> None:
        if self._leads:
            self._end_family()
        self.channel.close()
        if self._code() is None and self.lives():
            self._pages.keep(self._page, self._pidfd)
        else:
            self._pages.give_back(self._page)
            if self._pidfd >= 0:
                os.close(self._pidfd)
        self._pidfd = -1
        # `join` forgets the process as a child of ours; a process whose status somebody else took never joins.
        if self._code() is not None:
            self.process.join()
        else:
            process._children.discard(self.process)  # type: ignore[attr-defined]

    def abandon(self) -> None:
        self.channel.abandon()
        process._children.discard(self.process)  # type: ignore[attr-defined]  # else our exit would terminate it
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


class ForkingWorker(PersistentWorker):
    """A process that has a child of its own for every task (`engine.template`)."""

    @property
    def serving(self) -> int | None:
        return self._page.holder() or self.pid

    @property
    def initializing(self) -> int | None:
        return self.pid  # although its first child may serve, and fail to tell that it is ready

    def end_item(self, attempt: int) -> None:
        # It knows for certain which process that is; unless it has been stopped, as by a debugger.
        self.send_signal(template.CUT_SIGNAL if attempt < 2 else KILL)

    def last_words(self) -> tuple[list[Frame], frozenset[int], Begun]:
        self._await_end_of_child()
        return super().last_words()

    def _await_end_of_child(self) -> None:
        """The child got SIGKILL when the worker ended, and is over in a moment: it must read and begin nothing then."""
        pid = self._page.holder()
        if pid:
            _await_end(pid, CHILD_PATIENCE)

    def release(self) -> None:
        if self._code() != 0:  # else it has reaped them all
            for pid in self._children():
                _reap_adopted(pid)
        super().release()

    def _children(self) -> list[int]:
        """What it was just forking when it was killed, says itself which process it is, in a moment."""
        until = time.monotonic() + CHILD_PATIENCE
        while UNBORN in (pids := self._page.children()) and time.monotonic() < until:
            time.sleep(0.001)
        return pids


class InitializingChildren(ForkingWorker):
    """The same, where each child runs the initializer for itself."""

    @property
    def initializing(self) -> int | None:
        return self.serving


def _await_end(pid: int, patience: float) -> None:
    if not hasattr(os, "pidfd_open"):
        return
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return  # it is over, and reaped
    try:
        connection.wait([fd], patience)
    finally:
        os.close(fd)


def _reap_adopted(pid: int) -> None:
    """What a worker that was killed has forked becomes a child of process 1, or of a subreaper: is that us?

    Nobody else would reap it, so its number cannot be another child's yet.
    """
    if parent_of(pid) == os.getpid():
        _await_end(pid, ADOPTED_PATIENCE)
        with suppress(OSError):  # somebody reaps whatever there is
            os.waitpid(pid, os.WNOHANG)
