"""The recipe by which the workers of one pool are made.

Used by: pool (makes it), crew. What may go wrong: a process cannot be started: the exception of `Process.start()` comes
through, and nothing is left behind.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from multiprocessing import process
from typing import Any

from . import boot, signals, template
from .beginning import Beginning
from .channels import Channel, PipeChannel, SocketChannel
from .imports import importing_here
from .lifeline import Lifeline
from .messages import Sealed
from .pages import Pages
from .setup import Setup
from .starting import join_soon, start_quietly
from .workers import ForkingWorker, InitializingChildren, PersistentWorker, Started

# Two threads that start workers at the same time would leak each other's descriptors into the children.
_start_lock = threading.Lock()


def _renew_lock() -> None:
    global _start_lock
    _start_lock = threading.Lock()  # the thread that held it does not exist in a forked child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)

#: Beyond this many workers a pool does not open a pidfd for each, so that 200 workers fit into 1024 descriptors.
PIDFD_WORKERS = 64


class Recipe:
    """How the workers of one pool are made.

    Args:
        make_process: Called with keyword arguments `target` and `args`, gives an unstarted process.
        processes: How many workers there may be at a time.
        initializer, initargs: As the user gave them.
        options: `(guard, before_task, after_task)`.
        baseline: What forked workers put back before their initializer, or None.
        transport: `"socket"` or `"pipe"`.
        pidfd: Whether to watch workers by pidfd as well.
        forks: Whether each task has a process of its own, forked by its worker.
        each: Whether the initializer runs in each of these.
        max_memory: Bytes of memory that a worker may have after a task, or None.
        daemon: Whether tasks may have no processes of their own.
    """

    def __init__(
        self,
        make_process: Callable[..., Any],
        processes: int,
        *,
        initializer: Callable[..., Any] | None,
        initargs: Any,
        options: tuple[Any, Any, Any],
        baseline: Any,
        transport: str,
        pidfd: bool,
        forks: bool = False,
        each: bool = False,
        max_memory: int | None = None,
        daemon: bool = True,
    ) -> None:
        self._forks = forks
        self._each = each
        self._daemon = daemon
        self.max_memory: int | None = max_memory
        self._make_process = make_process
        self._initializer = Sealed((initializer, initargs))
        self._initializer_is_none = initializer is None
        self._options: Sealed | None = Sealed(options)
        self._baseline = baseline
        self.transport = transport
        self._pidfd = pidfd
        self._mask = signals.current_mask()
        self._importing = importing_here()
        self._beginning = Beginning()
        self.lifeline: Lifeline = Lifeline(use_thread=transport == "pipe")
        try:
            self.pages: Pages = Pages(2 * processes)  # some may be on their way out
        except BaseException:
            self.lifeline.close()
            raise

    @property
    def depth(self) -> int:
        """How many messages a worker may have at once."""
        return PipeChannel.depth if self.transport == "pipe" else SocketChannel.depth

    def start(self, announce: Callable[[PipeChannel], None]) -> Started:
        """Starts a process; whatever hinders it comes through, and nothing is left behind then."""
        channel: Channel = SocketChannel() if self.transport != "pipe" else PipeChannel(announce)
        page = self.pages.take()
        assert self._options is not None
        try:
            setup = Setup(
                channel.end,
                page,
                self.lifeline,
                self._initializer,
                self._options,
                self._baseline,
                self._mask,
                self._importing,
                self._forks,
                self._each,
                self.max_memory,
                self._daemon,
            )
            proc = self._make_process(target=template.main if self._forks else boot.main, args=(setup,))
            proc.name = proc.name.replace("Process", "PoolWorker")
            proc.daemon = self._daemon
            with _start_lock, self._beginning.given_to(proc):
                start_quietly(proc, self._mask, tracked=self._forks or not self._daemon)
                channel.started()
        except BaseException:
            self.pages.give_back(page)
            channel.close()
            channel.abandon()  # now, not when the last traceback is gone
            raise
        return Started(proc, channel, page)

    def worker(self, started: Started) -> PersistentWorker:
        """The handle of a started process. Apart from `start`, because a pool starts all before it looks at any."""
        forking = InitializingChildren if self._each else ForkingWorker
        kind = forking if self._forks else PersistentWorker
        worker = kind(started, self.pages, pidfd=self._pidfd, leads=not self._daemon)
        worker.takes_up_at_once = kind is not InitializingChildren or self._initializer_is_none
        return worker

    def refused(self) -> bool:
        """Whether the initializer, its arguments or the options did not pickle."""
        return self._initializer.refused or (self._options is not None and self._options.refused)

    def check(self) -> None:
        """Raises OSError when the program itself has cut off the workers, by closing what ties them to it."""
        self.lifeline.check()

    def close(self) -> None:
        """No worker will be started any more, and none is there."""
        self._baseline = self._options = None  # it holds what the program's globals held when the pool was made
        self.lifeline.close()
        self.pages.close()

    def abandon(self) -> None:
        """In a forked child: lets go of what is the parent's. A forked worker keeps what it is about to use."""
        self.lifeline.close_writer()
        self.pages.close_fd()


def transport_for(name: str | None) -> str:
    """The transport to use: `name` when given, else the best that the platform has."""
    if name in ("socket", "pipe"):
        return name
    return "socket" if sys.platform == "linux" else "pipe"


def end_started(started: list[Started]) -> None:
    """Ends processes that a constructor started before it failed. All is closed now, not with the last traceback."""
    for proc, _, _ in started:
        proc.terminate()
    for proc, channel, _ in started:
        join_soon(proc)
        if not getattr(proc, "daemon", True):
            signals.kill_group(proc.pid)
        channel.close()
        channel.abandon()
        if isinstance(proc, process.BaseProcess) and proc.exitcode is not None:
            proc.close()
