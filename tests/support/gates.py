"""Gates: events that work across processes, whatever the start method, and never wait for ever.

Who uses it: tests that need to know that a task has begun, or that hold a task until the test says go. A gate is a file
name in a directory: it pickles as a string, costs no descriptor, and survives the death of every process that used it.
What may go wrong: a deadline passes, then `GateTimeout` names the gate.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from pathlib import Path

#: Seconds after which a wait is a failed test. Generous: a loaded machine must not fail honest tests.
DEADLINE = 20.0


class GateTimeout(AssertionError):
    """Something a test waited for did not happen in time."""


class Gate:
    """An event shared by processes; picklable, may be passed to tasks as an argument or a closure's value."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def open(self) -> None:
        """Let everybody through, now and from now on."""
        Path(self.path).touch()

    def is_open(self) -> bool:
        return os.path.exists(self.path)

    def wait(self, deadline: float = DEADLINE) -> None:
        """Return once the gate is open.

        Raises:
            GateTimeout: it did not open within *deadline* seconds.
        """
        wait_for(self.is_open, deadline, f"gate {self.path}")

    def __repr__(self) -> str:
        return f"Gate({self.path!r})"


class Tally:
    """Counts and records across processes: one line per `add`, appended atomically."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def add(self, entry: object = "") -> None:
        line = f"{entry}\n".encode()
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(fd, line)  # a single short append: whole or not at all, also when the writer is killed
        finally:
            os.close(fd)

    def entries(self) -> list[str]:
        try:
            return Path(self.path).read_text().splitlines()
        except FileNotFoundError:
            return []

    def wait(self, count: int, deadline: float = DEADLINE) -> list[str]:
        """Return the entries once there are *count* of them or more."""
        wait_for(lambda: len(self.entries()) >= count, deadline, f"{count} entries in {self.path}")
        return self.entries()


def wait_for(condition: Callable[[], bool], deadline: float = DEADLINE, what: str = "the condition") -> None:
    """Return once *condition* holds; look every few milliseconds.

    Raises:
        GateTimeout: it did not hold within *deadline* seconds.
    """
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise GateTimeout(f"waited {deadline:g} s in vain for {what}")
        select.select([], [], [], 0.003)


def process_is_gone(pid: int) -> bool:
    """Whether *pid* has ended; a zombie that nobody reaped yet counts as gone."""
    try:
        return process_state(pid) in "ZX"
    except OSError:
        return True


def process_state(pid: int) -> str:
    """The letter in ``/proc``: after the name, which is in parentheses and may hold anything.

    Raises:
        OSError: It has ended and was reaped.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
