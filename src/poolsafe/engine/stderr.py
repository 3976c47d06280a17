"""The last lines that a worker wrote to stderr, kept in its page, so that they can be told should it die.

`sys.stderr` stays what it is, down to its descriptor; its method `write` alone is hidden by one that keeps the text
once it is written. So who has the stream already, as a handler of `logging`, is heard too; what is written past it, by
a library in C or to `sys.stderr.buffer`, is not. The layers below are no place for this: Python code that runs there
holds the buffer's lock, and an exception in it, as from a signal's handler, has the buffer write everything again.

Used by: setup (begins), template (ends it for a child whose task is done). What may go wrong: the program has put
something of its own in the place of `sys.stderr`; then nothing is kept.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any

from .page import SAID, Page

_kept: list[Kept] = []


class Kept:
    """Takes the place of a stream's `write`.

    Args:
        write: The stream's own.
        page: Where the end of what is written is kept.

    Attributes:
        owner: Process whose words are kept: not what a task has forked.
    """

    __slots__ = ("owner", "page", "write")

    def __init__(self, write: Callable[[str], int], page: Page) -> None:
        self.write: Callable[[str], int] = write
        self.page: Page = page
        self.owner: int = os.getpid()

    def __call__(self, text: Any) -> int:
        count = self.write(text)
        # Nothing here fails by itself, so nothing is suppressed: an exception is that of a signal's handler.
        if type(text) is str and os.getpid() == self.owner:
            self.page.say(text[-SAID:].encode("utf-8", "backslashreplace"))
        return count


def keep(page: Page) -> None:
    """From now on what this process writes to stderr is kept in the page."""
    _kept.clear()
    for stream in {id(stream): stream for stream in (sys.stderr, sys.__stderr__)}.values():
        if type(stream) is io.TextIOWrapper:
            hidden = stream.__dict__.get("write")
            write = hidden.write if type(hidden) is Kept else stream.write  # we were forked from such a process
            kept = Kept(write, page)
            stream.write = kept  # type: ignore[method-assign]
            _kept.append(kept)


def own(whether: bool) -> None:
    """In a forked process: whether it is this one whose words are kept now."""
    for kept in _kept:
        kept.owner = os.getpid() if whether else 0
