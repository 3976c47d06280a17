"""What a template hears from outside: signals, which end its poll.

A signal is pending, which `/proc` tells, until the kernel has Python's handler in C run. That notes the number in the
socket that wakes the template, and the handler in Python runs when the interpreter comes to it, which may be much later
where the machine is busy. So each child looks in that socket, too, before it begins anything.

Used by: template. What may go wrong: the initializer blocks or handles these signals; what it did is put aside, and
given back in each child, before anything of a task runs.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from . import signals
from .fds import socket_pair

try:  # the same without the enums, whose memory each child would copy for it
    from _signal import signal as set_handler  # type: ignore[import-not-found]
except ImportError:
    from signal import signal as set_handler


#: More signals than can have come at a time.
_MOST = 4096


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
        self._wake, self._waker = socket_pair()
        self._waker.setblocking(False)

    def fileno(self) -> int:
        """What becomes readable when a signal has come, the end of a child among them."""
        return self._wake.fileno()

    def drain(self) -> None:
        """It has been noticed."""
        heard = self._noted()
        if heard:
            # Not taken, where children look, before the handlers for all of it have run; CPython does that when a call
            # returns, such as the one above.
            self._wake.recv(len(heard))

    def open(self) -> None:
        """Begins to listen."""
        for number, handler in (
            (signal.SIGCHLD, _nothing),  # a signal that is ignored wakes nobody
            (signal.SIGTERM, self._on_term),
            (self._cut_signal, self._on_cut),
        ):
            before = signal.signal(number, handler)
            self._handlers[number] = before if callable(before) else int(before or signal.SIG_DFL)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._mask = signals.current_mask()
        if self._mask & self._handlers.keys():
            signals.set_mask(self._mask - self._handlers.keys())

    def close(self) -> None:
        """Everything is as it was before."""
        self.shed()
        self._wake.close()

    def shed(self) -> None:
        """In a child: everything is as it was before, but for what `owner_ends` looks at."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            set_handler(number, handler)
        if self._mask & self._handlers.keys():
            signals.set_mask(self._mask)
        self._waker.close()

    def owner_ends(self) -> bool:
        """In a child, once: whether the template has ended, or was sent what ends it, in whichever state that is.

        Asked in the order in which these follow upon each other, so that none is passed over while another is asked
        for: the signal is pending, it is noted or the template is ending, there is none. The page's doom follows upon
        what is noted.
        """
        try:
            return signals.is_being_ended(self._pid) or signal.SIGTERM in self._noted() or os.getppid() != self._pid
        finally:
            self._wake.close()

    def _noted(self) -> bytes:
        """The signals that have come, without taking them out."""
        try:
            return self._wake.recv(_MOST, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:  # none; or the initializer has closed everything, which shows elsewhere
            return b""

    def _on_term(self, *_: object) -> None:
        if os.getpid() == self._pid:  # and not a process that was forked just now, and has the same handler
            self.terminated = True
            self._tell()

    def _on_cut(self, *_: object) -> None:
        self.cut_asked = True


def _nothing(*_: object) -> None:
    """Handles a signal that is only to wake."""
