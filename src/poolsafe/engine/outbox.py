"""How answers leave a worker: a single call's at once, those of a chunk together.

Answers of a chunk are kept in the shared page first: should the worker die, its parent finds them there.

And what an answer is made of, when a result or an exception does not pickle.

Used by: child. What may go wrong: the parent is gone (`ParentGone`).
"""

from __future__ import annotations

from typing import Any

from . import messages
from .ends import End
from .messages import dumps, frame, loads, safe_repr, safe_str
from .page import LOG_SIZE, Page
from .telling import facts_of


class Outbox:
    """See the module.

    Args:
        end: The worker's end of the channel.
        page: The shared page.
    """

    def __init__(self, end: End, page: Page) -> None:
        self._end = end
        self._page = page
        self._logged = 0

    def send(self, answer: bytes) -> None:
        """Sends a frame now."""
        self._end.send(answer)

    def log(self, answer: bytes) -> None:
        """Keeps an answer in the page, to be sent with others."""
        size = len(answer)
        if self._logged + size > LOG_SIZE:
            self.flush()
            if size > LOG_SIZE:
                self._end.send(answer)
                return
        self._page.write(self._logged, answer)
        self._logged += size
        self._page.commit(self._logged)

    def flush(self) -> None:
        """Sends what is logged. Sent first, forgotten after: a frame that arrives twice is known by its index."""
        if self._logged:
            self._end.send(self._page.log())
            self._logged = 0
            self._page.commit(0)

    def retire(self, job: int, index: int, what: tuple[str, dict[str, Any]]) -> None:
        """The worker cannot go on, and has not begun this item."""
        self.flush()
        self._end.send(frame(messages.RETIRE, job, index, dumps(what)))

    def leave(self, job: int, index: int, reason: str) -> None:
        """The worker ends before this item, for what cannot be undone."""
        self.flush()
        self._end.send(frame(messages.LEAVING, job, index, dumps(reason)))


def value_of(job: int, index: int, value: Any) -> bytes:
    """The answer of a task that returned."""
    try:
        return frame(messages.VALUE, job, index, dumps(value))
    except BaseException as error:  # __reduce__ is user code; RecursionError and MemoryError are the task's too
        facts = facts_of(error)[1]
        facts["value"] = safe_repr(value)
        return frame(messages.FAILED, job, index, dumps(("pickle-result", facts)))


def error_of(job: int, index: int, error: Exception) -> bytes:
    """The answer of a task that raised."""
    facts = facts_of(error)[1]
    try:
        blob = dumps(error)
        if not isinstance(loads(blob), BaseException):  # tried here, because the parent could only fail later
            raise TypeError("the exception unpickles to something that is no exception")
    except BaseException as problem:
        facts["problem"] = f"{type(problem).__name__}: {safe_str(problem)}"
        return frame(messages.FAILED, job, index, dumps(("pickle-exception", facts)))
    return frame(messages.ERROR, job, index, dumps((blob, facts["traceback"])))
