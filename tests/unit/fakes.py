"""Stand-ins for what surrounds the results: a pool's home, callbacks that run when told, outcomes as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poolsafe.engine import messages
from poolsafe.engine.latch import Latch
from poolsafe.engine.messages import dumps
from poolsafe.engine.state import Job


class FakeHome:
    """The supervisor, as a result sees it."""

    def __init__(self) -> None:
        self.foreign = False
        self.roused = 0
        self.finished = Latch()
        self.meanwhile: Callable[[], Any] = int

    def rouse(self) -> None:
        self.roused += 1

    def inside(self) -> bool:
        return False

    def cancel(self, jobs: Any, then: Callable[[], object]) -> None:
        """Carried out at once, but something happens just before."""
        self.meanwhile()
        then()

    disown = cancel


class FakeCallbacks:
    """Callbacks that run when the test says so."""

    def __init__(self) -> None:
        self.posted: list[Callable[[], Any]] = []

    def post(self, call: Callable[[], Any]) -> None:
        self.posted.append(call)

    def run(self) -> None:
        while self.posted:
            self.posted.pop(0)()


class FakePool:
    """Something that can be kept alive."""


class FakeIntake:
    """Takes jobs and events, and keeps them."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.events: list[tuple[Any, ...]] = []

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def submit_all(self, jobs: Any) -> None:
        self.jobs.extend(jobs)

    def post(self, event: Callable[..., None], *args: Any) -> None:
        self.events.append((event.__name__, *args))
        event(*args)


class FakeEngine:
    """Settles at once what fails."""

    def submitted(self, job: Job) -> None: ...

    def failed(self, job: Job, kind: int, data: Any) -> None:
        job.sink(0, kind, data)

    def opened(self, job: Job) -> None: ...

    def exhausted(self, job: Job) -> None: ...


def value(thing: Any) -> tuple[int, bytes]:
    """Kind and data of an item that gave a value."""
    return messages.VALUE, dumps(thing)


def error(exception: Exception, text: str = "the worker's traceback") -> tuple[int, bytes]:
    """Kind and data of an item that raised."""
    return messages.ERROR, dumps((dumps(exception), text))


def report(what: str, **facts: Any) -> tuple[int, bytes]:
    """Kind and data of an item that failed in a way that the parent words."""
    known = {"type": "ValueError", "text": "words", "repr": "ValueError('words')", "traceback": "Traceback: here\n"}
    return messages.FAILED, dumps((what, {**known, **facts}))
