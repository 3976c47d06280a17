"""The last lines that a worker wrote to stderr, kept in its page, so that they can be told should it die.

What `sys.stderr` writes to is replaced, not `sys.stderr` itself: who has it already, as a handler of `logging`, is
heard too. Descriptor 2 stays what it is, so what a library in C writes there by itself is not kept.

Used by: setup (begins), template (ends it for a child whose task is done). What may go wrong: the program has put
something of its own in the place of `sys.stderr`; then nothing is kept.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any

from .page import SAID, Page

_STDERR = 2


class Kept(io.FileIO):
    """Writes to a descriptor, and keeps the end of it in the page.

    Attributes:
        owner: Process whose words are kept: not what a task has forked.
    """

    def __init__(self, fd: int, page: Page) -> None:
        super().__init__(fd, "wb", closefd=False)
        self.page: Page = page
        self.owner: int = os.getpid()

    def write(self, data: Any) -> Any:
        """As of any file."""
        if os.getpid() == self.owner:
            with suppress(Exception):  # whatever happens, it is no reason not to write
                self.page.say(bytes(memoryview(data)[-SAID:]))
        return super().write(data)


def keep(page: Page) -> None:
    """From now on what this process writes to stderr is kept in the page."""
    for stream in {id(stream): stream for stream in (sys.stderr, sys.__stderr__)}.values():
        if type(stream) is io.TextIOWrapper and not stream.closed:
            with suppress(OSError, ValueError, AttributeError):
                _put_under(stream, page)


def _put_under(stream: Any, page: Page) -> None:
    buffer: Any = stream.buffer
    raw = getattr(buffer, "raw", buffer)  # python -u has no buffer between the two
    if type(raw) not in (io.FileIO, Kept) or raw.fileno() != _STDERR:
        return
    kept = Kept(_STDERR, page)
    kept.name = raw.name
    if raw is not buffer:
        buffer.flush()
        buffer.__init__(kept)
        return
    stream.flush()
    stream.__init__(kept, stream.encoding, stream.errors, "\n", stream.line_buffering, stream.write_through)


def own(whether: bool) -> None:
    """In a forked process: whether it is this one whose words are kept now."""
    for stream in (sys.stderr, sys.__stderr__):
        buffer = getattr(stream, "buffer", None)
        raw = getattr(buffer, "raw", buffer)
        if type(raw) is Kept:
            raw.owner = os.getpid() if whether else 0
