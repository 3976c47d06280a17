"""A worker's loop within the test's process, with everything around it in the test's hands.

Used by: the tests of `poolsafe.engine.child`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from poolsafe.engine import messages
from poolsafe.engine.child import Worker
from poolsafe.engine.ends import ParentGone
from poolsafe.engine.messages import Request, call_payload, frames_of, loads
from poolsafe.engine.page import IDLE, Page

#: What happened in the current test, in its order.
events: list[str] = []


class FakeEnd:
    """Gives the requests that a test has prepared, then says that the parent is gone; keeps what is sent."""

    def __init__(self) -> None:
        self.requests: deque[tuple[Request, bool]] = deque()
        self.sent: list[bytes] = []

    def receive(self) -> tuple[Request, bool]:
        if not self.requests:
            raise ParentGone
        return self.requests.popleft()

    def send(self, data: bytes | memoryview) -> None:
        self.sent.append(bytes(data))

    def check(self) -> None: ...

    def keep_private(self) -> None: ...

    @property
    def frames(self) -> list[Any]:
        return frames_of(b"".join(self.sent))


class FakeGuard:
    """Says when it is asked for something; fails when told so."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.left: str | None = None
        self.numbers: list[tuple[int, int]] = []
        self.seconds = 0.0
        self.watches = self.refuses = False
        self.changed: list[tuple[str, str, str]] = []
        self.dear: Any = None

    def prepare(self) -> None:
        events.append("prepare")

    def capture(self) -> None:
        events.append("capture")

    def begin(self, stream: int, index: int) -> None:
        self.numbers.append((stream, index))
        events.append("restore")
        if self.failure is not None:
            raise self.failure

    def run(self, func: Callable[..., Any], args: Any, kwds: Any) -> Any:
        return func(*args, **kwds)

    def changes(self) -> list[tuple[str, str, str]]:
        return self.changed

    def costs(self, busy: float) -> Any:
        return self.dear

    def leftover(self) -> str | None:
        return self.left


class Bench:
    """A worker with everything around it in the test's hands."""

    def __init__(self, page: Page, **hooks: Any) -> None:
        events.clear()
        self.end = FakeEnd()
        self.page = page
        self.guard = FakeGuard()
        self.worker = Worker(self.end, page, self.guard, hooks.get("before"), hooks.get("after"))

    def ask(self, job: int, payload: bytes, start: int = 0, stop: int = 1, *, whole: bool = True) -> None:
        self.end.requests.append((Request(messages.TASK, start, stop, job, payload), whole))

    def call(self, func: Callable[..., Any], *args: Any, **kwds: Any) -> Any:
        """The outcome of one call, in which the last item was marked as done."""
        self.ask(7, call_payload(func, args, kwds))
        before = len(self.end.frames)
        with pytest.raises(ParentGone):
            self.worker.serve()
        [(kind, job, index, data)] = self.end.frames[before:]
        assert (job, index) == (7, 0)
        assert self.page.begun() == (7, 1, IDLE)
        return kind, loads(data)

    def failure(self, func: Callable[..., Any], *args: Any) -> tuple[str, dict[str, Any]]:
        """What and facts of a call that the parent words."""
        kind, (what, facts) = self.call(func, *args)
        assert kind == messages.FAILED
        return what, facts


def note(what: str) -> str:
    events.append(what)
    return what


class Noting:
    """Says when it is loaded and when it is pickled."""

    def __reduce__(self) -> Any:
        note("dump")
        return note, ("load",)


def fail(error: BaseException) -> NoReturn:
    raise error
