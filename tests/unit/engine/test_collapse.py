"""The end of a pool whose supervisor has failed: it comes once, in one thread, whatever fails of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from poolsafe.engine.collapse import Collapse, Overtaken
from poolsafe.engine.latch import Latch
from tests.support.gates import DEADLINE


class Process:
    exitcode = 0

    def join(self, timeout: float | None = None) -> None:
        pass


class Worker:
    process = Process()

    def __init__(self, told: list[Any], fails: bool) -> None:
        self._told = told
        self._fails = fails

    def release(self) -> None:
        self._told.append("released")
        if self._fails:
            raise OSError


class Owner:
    """A supervisor, its crew and its intake in one."""

    def __init__(self, *, fails: bool = False) -> None:
        self.told: list[Any] = []
        self.fails = fails
        self.crew: Any = self
        self.intake: Any = self
        self.workers = {1: Worker(self.told, fails), 2: Worker(self.told, fails)}
        self.asleep = True
        self.finished = Latch()
        self.collapse = Collapse(self, "the other thread")

    def signal_all(self, number: int) -> None:
        self.told.append("signalled")

    def settle_all(self, failure: str) -> None:
        self.told.append(failure)
        self.thread = threading.current_thread()
        if self.fails:
            raise OSError

    def finish(self) -> None:
        self.told.append("finished")
        if self.fails:
            raise OSError


@pytest.mark.parametrize("fails", [False, True])
def test_each_step_is_taken(fails: bool) -> None:
    owner = Owner(fails=fails)
    owner.collapse.come(ValueError("why"))
    assert owner.told == ["signalled", "ValueError: why", "released", "released", "finished"]
    assert owner.finished.is_open


def test_another_thread_makes_the_end_of_one_that_cannot_be_woken() -> None:
    owner = Owner()
    owner.collapse.beside()
    assert owner.finished.wait(DEADLINE)
    owner.thread.join(DEADLINE)
    assert owner.thread.name == "the other thread"
    assert len(owner.told) == 5
    assert "descriptor" in owner.told[1]
    owner.collapse.beside()
    owner.collapse.come(ValueError())
    assert len(owner.told) == 5
    with pytest.raises(Overtaken):
        owner.collapse.awake()


def test_one_that_has_woken_goes_on() -> None:
    owner = Owner()
    owner.collapse.awake()
    assert not owner.asleep
    owner.collapse.beside()
    assert owner.told == []
    owner.collapse.awake()


def test_one_that_is_about_to_wake_is_left_to_it() -> None:
    owner = Owner()
    with owner.collapse._turn:
        owner.collapse.beside()
    assert owner.told == []
