"""What a worker is given at its start, and what it undoes of what it has inherited, before anything else runs.

Used by: workers (makes a `Setup`), child. What may go wrong: nothing; what a platform does not have is left out.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import signal
import sys
import threading
from collections.abc import Iterable
from types import FrameType
from typing import Any

from . import signals, stderr
from .ends import End
from .fds import keep_low_numbers_taken
from .imports import forget_dead_importers
from .lifeline import Lifeline
from .messages import Sealed
from .page import Page

#: The descriptor to which crashes are written, when that is by us.
_crashes_to = -1


class Setup:
    """All that a worker is given at its start.

    Args:
        end: Its end of the channel.
        page: The shared page.
        lifeline: Ends the worker when the parent is gone.
        initializer: Sealed `(initializer, initargs)`.
        options: Sealed `(guard, before_task, after_task)`.
        baseline: What the parent captured when the pool was made; only a forked worker has a use for it.
        mask: The signals that the program blocked when the pool was made.
        importing: The modules in whose import the pool was made.
        forks: Whether tasks run in forked processes, so that this one is to have a single thread.
        each: Whether the initializer runs in each of these, and not before they are forked.
        max_memory: Bytes of memory beyond which the worker is replaced after a task.
        daemon: Whether tasks may have no processes of their own. Else these end with it: they are of its group.
    """

    def __init__(
        self,
        end: End,
        page: Page,
        lifeline: Lifeline,
        initializer: Sealed,
        options: Sealed,
        baseline: Any,
        mask: signals.Mask,
        importing: frozenset[str],
        forks: bool = False,
        each: bool = False,
        max_memory: int | None = None,
        daemon: bool = True,
    ) -> None:
        self.end = end
        self.page = page
        self.lifeline = lifeline
        self.initializer = initializer
        self.options = options
        self.baseline = baseline
        self.mask = mask
        self.importing = importing
        self.forks = forks
        self.each = each
        self.max_memory = max_memory
        self.daemon = daemon
        self.inherited = True  # by a fork, for as long as it is not pickled

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "baseline": None, "inherited": False}


def harden(setup: Setup) -> None:
    """Undoes what a worker inherits of the parent's arrangements."""
    keep_low_numbers_taken()
    signal.set_wakeup_fd(-1)  # an asyncio parent's descriptor would wake the parent's loop
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C is the parent's to handle. SIG_IGN would be inherited, through exec, by programs that tasks start.
    signal.signal(signal.SIGINT, _heed_not)
    if hasattr(signal, "siginterrupt"):
        signal.siginterrupt(signal.SIGINT, False)
    signals.set_mask(setup.mask - {signal.SIGINT, signal.SIGTERM})  # the thread that started us may block everything
    if setup.inherited:
        renew_streams()
        become_main_thread()
    forget_dead_importers(setup.importing)
    stderr.keep(setup.page)
    setup.end.keep_private()
    leads = not setup.daemon and lead_group()
    setup.lifeline.arm(threadless=setup.forks, group=leads)


def become_main_thread() -> None:
    """Makes the one thread of a forked process like the main thread of any other.

    CPython keeps the object of the thread that forked: for a replacement that is the supervisor's, a daemon, and so
    would be each thread that a task starts there, but not in the first workers.
    """
    thread = threading.current_thread()
    thread.name = "MainThread"
    thread._daemonic = False  # type: ignore[attr-defined]  # as `daemon` cannot be set of one that runs


def lead_group() -> bool:
    """Gives this process a process group of its own, in which what it starts will be; False where there is none."""
    if not hasattr(os, "setpgid"):
        return False
    os.setpgid(0, 0)
    return True


def renew_streams() -> None:
    """Frees the locks of the standard streams and of what `logging` writes to, and drops what is in their buffers.

    A thread of the parent that was writing at the moment of the fork does not exist here, and would hold the lock for
    ever; CPython renews the locks of `logging`'s handlers, but not those of the buffers below. To initialise a buffer
    again gives it a new one. What is in it is the parent's to write, and would be written twice.
    """
    streams = [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__]
    logging = sys.modules.get("logging")
    handlers = [reference() for reference in getattr(logging, "_handlerList", ())]
    streams += [getattr(handler, "stream", None) for handler in handlers]
    buffers: dict[int, Any] = {id(found): found for found in (getattr(stream, "buffer", None) for stream in streams)}
    for buffer in buffers.values():
        if type(buffer) in (io.BufferedWriter, io.BufferedRandom) and not buffer.raw.closed:
            with contextlib.suppress(OSError, ValueError):
                buffer.__init__(buffer.raw)


def tell_where_it_crashes(fd: int) -> None:
    """From now on a crash in native code writes down where it was.

    Unless the program has that done by itself, or has handlers of its own for such signals: a library may use them for
    what it does (guard pages), and `faulthandler` would hand them on without their facts.
    """
    global _crashes_to
    if fd >= 0 and not faulthandler.is_enabled() and not _catches(signals.FAULTS):
        faulthandler.enable(fd, all_threads=False)
        _crashes_to = fd


def tell_again_where_it_crashes() -> None:
    """In a process that was forked to serve: `tell_nothing` was called there."""
    if _crashes_to >= 0:
        faulthandler.enable(_crashes_to, all_threads=False)


def _catches(numbers: Iterable[int]) -> bool:
    """Whether any of these signals has a handler, be it of a library; where nobody can tell, yes."""
    caught = signals.sets_of("self", "SigCgt")
    return caught is None or bool(caught[0] & signals.bits(numbers))


def tell_where_it_ends(fd: int) -> None:
    """From now on SIGTERM writes down where the process is, before it does what it did: also within C code.

    `faulthandler` does not notice when its handler is replaced. So it is taken out, the handler of Python's put back,
    whichever it is now, and it is put before that one.
    """
    if fd < 0 or not hasattr(faulthandler, "register"):
        return
    handler = signal.getsignal(signal.SIGTERM)
    faulthandler.unregister(signal.SIGTERM)
    if handler is not None:
        signal.signal(signal.SIGTERM, handler)
    faulthandler.register(signal.SIGTERM, fd, all_threads=False, chain=True)


def tell_nothing() -> None:
    """In a process that a task has forked, and in one whose task is done: its end is not the worker's."""
    if hasattr(faulthandler, "unregister"):
        faulthandler.unregister(signal.SIGTERM)
    if _crashes_to >= 0:
        faulthandler.disable()


def _heed_not(number: int, frame: FrameType | None) -> None:
    """Handles a signal that is for somebody else."""
