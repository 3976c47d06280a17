"""Driving the engine by hand: events in, commands out as plain tuples.

Used by: the tests of `poolsafe.engine.core`.
"""

from __future__ import annotations

from typing import Any

from poolsafe.engine import messages
from poolsafe.engine.core import Engine
from poolsafe.engine.page import IDLE
from poolsafe.engine.state import Command, Death, Fate, Job, Send, Settle, Start

VALUE = messages.VALUE
NOBODY: frozenset[int] = frozenset()


def job(ident: int, count: int = 1) -> Job:
    return Job(ident, b"", count, lambda *outcome: None)


def started(processes: int = 1, **options: Any) -> Engine:
    """An engine whose workers, lanes 0 and up, are ready."""
    engine = Engine(processes, **options)
    for command in engine.step():
        assert isinstance(command, Start)
        engine.ready(command.lane)
    return engine


def told(commands: list[Command]) -> list[tuple[Any, ...]]:
    """Commands as plain tuples: what is compared is what they are about."""
    plain: list[tuple[Any, ...]] = []
    for command in commands:
        if isinstance(command, Settle):
            plain.append(("settle", command.job.ident, command.index, command.kind))
        elif isinstance(command, Send):
            plain.append(("send", command.lane, command.part.job.ident, command.start, command.stop))
        else:
            plain.append((type(command).__name__.lower(), *command))
    return plain


def death(job: int = 0, index: int = 0, phase: int = IDLE, unread: frozenset[int] = NOBODY, code: Any = -9) -> Death:
    return Death(Fate(77, code), job, index, phase, unread)


def settled(commands: list[Command]) -> list[Any]:
    return [(c.job.ident, c.index, c.kind, c.data) for c in commands if isinstance(c, Settle)]
