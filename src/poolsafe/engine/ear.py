"""What a template hears from outside: signals, which end its poll.

Used by: template. What may go wrong: the initializer blocks or handles these signals; what it did is put aside, and
given back in each child, before anything of a task runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

from . import signals
from .fds import pipe

try:  # the same without the enums, whose memory each child would copy for it
    from _signal import signal as set_handler  # type: ignore[import-not-found]
except ImportError:
    from signal import signal as set_handler


class Ear:
    """See the module.

    Args:
        cut_signal: By which the parent asks for the end of an item.
        on_term: Called when SIGTERM has come, at once.

    Attributes:
        terminated: Whether SIGTERM has come.
        cut_asked: Whether the other one has.
    """

    def __init__(self, cut_signal: int, on_term: Callable[[], object]) -> None:
        self.terminated: bool = False
        self.cut_asked: bool = False
        self._cut_signal = cut_signal
        self._tell = on_term
        self._pid = os.getpid()
        self._handlers: dict[int, Any] = {}
        self._mask: signals.Mask = frozenset()
        self._wake, self._waker = pipe()
        for fd in (self._wake, self._waker):
            os.set_blocking(fd, False)

    def fileno(self) -> int:
        """What becomes readable when a signal has come, the end of a child among them."""
        return self._wake

    def drain(self) -> None:
        """It has been noticed."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def open(self) -> None:
        """Begins to listen."""
        for number, handler in (
            (signal.SIGCHLD, _nothing),  # a signal that is ignored wakes nobody
            (signal.SIGTERM, self._on_term),
            (self._cut_signal, self._on_cut),
        ):
            before = signal.signal(number, handler)
            self._handlers[number] = before if callable(before) else int(before or signal.SIG_DFL)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._mask = signals.current_mask()
        if self._mask & self._handlers.keys():
            signals.set_mask(self._mask - self._handlers.keys())

    def close(self) -> None:
        """Everything is as it was before: in a child, and in the end."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            set_handler(number, handler)
        if self._mask & self._handlers.keys():
            signals.set_mask(self._mask)
        for fd in (self._wake, self._waker):
            os.close(fd)

    def _on_term(self, *_: object) -> None:
        if os.getpid() == self._pid:  # and not a process that was forked just now, and has the same handler
            self.terminated = True
            self._tell()

    def _on_cut(self, *_: object) -> None:
        self.cut_asked = True


def _nothing(*_: object) -> None:
    """Handles a signal that is only to wake."""
