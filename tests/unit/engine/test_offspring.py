"""Processes that are forked for one task each: who knows of them when the one that forked them is killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from multiprocessing import connection

import pytest

from poolsafe.engine import offspring, workers
from poolsafe.engine.page import UNBORN, Page

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


class Gates:
    """Each process that is forked waits at a gate of its own before it can do anything."""

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.forked: Callable[[], None] = lambda: None
        self._pipes = [os.pipe() for _ in range(2)]
        self._fork = os.fork

    def fork(self) -> int:
        """In the place of `os.fork`."""
        leave, _ = self._pipes[len(self.pids)]
        pid = self._fork()
        if pid:
            self.pids.append(pid)
            self.forked()
        else:
            os.read(leave, 1)
        return pid

    def open(self, number: int) -> None:
        """Lets one go on, to its end, and does not take its status."""
        os.write(self._pipes[number][1], b"g")
        os.waitid(os.P_PID, self.pids[number], os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        """Lets all go on, and reaps them."""
        for reader, writer in self._pipes:
            os.close(reader)
            os.close(writer)
        for pid in self.pids:
            os.waitpid(pid, 0)


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gates]:
    made = Gates()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", made.fork)
        yield made
    made.close()


def _born(page: Page) -> offspring.Child:
    """Forks; the new process ends when it has said that it is there."""
    child = offspring.fork(page)
    if not child.pid:
        os._exit(0)
    os.close(child.giver)
    os.close(child.words)
    return child


def test_a_child_that_is_late_to_say_that_it_is_there_hides_no_younger_one(page: Page, gates: Gates) -> None:
    told: list[list[int]] = []

    def forked() -> None:
        """What is known if the process that forks were killed in the moment after the second fork."""
        if len(gates.pids) == 2:
            gates.open(0)
            told.append(page.children())
            gates.open(1)
            told.append(page.children())

    gates.forked = forked
    elder, younger = _born(page), _born(page)
    assert told == [[elder.pid, UNBORN], [elder.pid, younger.pid]]
    assert page.children() == [elder.pid, younger.pid]


def test_a_fork_that_fails_leaves_nothing_to_be_reaped(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        assert page.children() == [UNBORN]
        raise BlockingIOError("no process is left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", fork)
        with pytest.raises(BlockingIOError, match="no process is left"):
            offspring.fork(page)
    assert page.children() == []


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="nobody can wait for what is not a child")
def test_an_adopted_child_is_reaped_though_it_takes_its_time(
    page: Page, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = _born(page)
    wait = connection.wait

    def slow(fds: list[int], patience: float) -> list[object]:
        """As when the child gets its turn of the processor after a second."""
        if patience >= 1:
            gates.open(0)
        return wait(fds, 0)

    monkeypatch.setattr(connection, "wait", slow)
    workers._reap_adopted(child.pid)
    gates.pids.remove(child.pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)
