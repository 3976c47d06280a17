"""A pool of one worker, with what ends its processes, a clock and a page of the test's own.

Who uses it: tests of deadlines, of the watchdog, and of what becomes of answers. What may go wrong: nothing.
"""

from __future__ import annotations

import signal

from poolsafe.engine.core import Engine
from poolsafe.engine.deadlines import Deadlines
from poolsafe.engine.page import IDLE, RUNNING, Begun
from poolsafe.engine.state import Job, Terms
from poolsafe.engine.timers import Timers


class FakeWorker:
    serving = 77

    def __init__(self) -> None:
        self.page = Begun(0, 0, IDLE)
        self.since_when = 0.0
        self.dooms: list[int] = []
        self.signals: list[int] = []
        self.looks = 0
        self.next_page: Begun | None = None
        self.stack = ""

    def begun(self) -> Begun:
        self.looks += 1
        return self.page

    def since(self) -> float:
        return self.since_when

    def doom(self, number: int) -> None:
        self.dooms.append(number)
        if number and self.next_page is not None:  # the worker was quicker
            self.page = self.next_page

    def take_stack(self) -> str:
        stack, self.stack = self.stack, ""
        return stack

    def said(self) -> str:
        return "words"

    def end_item(self, attempt: int) -> None:
        self.signals.append((signal.SIGTERM, signal.SIGKILL, signal.SIGKILL)[attempt])


class FakeCrew:
    def __init__(self) -> None:
        self.workers: dict[int, FakeWorker] = {}


class Desk:
    def __init__(self) -> None:
        self.now = 100.0
        self.timers = Timers(lambda: self.now)
        self.engine = Engine(1)
        self.crew = FakeCrew()
        self.lane = self.engine.adopt()
        self.engine.ready(self.lane)
        self.worker = self.crew.workers[self.lane] = FakeWorker()
        self.deadlines = Deadlines(self.engine, self.crew, self.timers)  # type: ignore[arg-type]

    def send(self, ident: int, limit: float | None, count: int = 1) -> None:
        self.engine.submitted(Job(ident, b"", count, lambda *outcome: None, terms=Terms(limit)))
        self.engine.step()
        if limit is not None:
            self.deadlines.watch(self.lane, limit)

    def begin(self, job: int, index: int = 0, phase: int = RUNNING) -> None:
        self.worker.page = Begun(job, index, phase)
        self.worker.since_when = self.now

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (left := self.timers.timeout()) is not None and self.now + left <= end:
            self.now += left
            self.timers.run_due()
        self.now = end
