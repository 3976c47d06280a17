"""What a started process is told: the state in which the pool was made, and nobody else's processes hear of it."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import spawn
from typing import Any

import pytest

from poolsafe.engine.beginning import Beginning

ASK = spawn.get_preparation_data


class Process:
    _start_method = "spawn"


@contextmanager
def inheriting() -> Iterator[None]:
    """As while a process is being started: its secret pickles then."""
    from multiprocessing import context

    context.set_spawning_popen(object())  # type: ignore[attr-defined]
    try:
        yield
    finally:
        context.set_spawning_popen(None)  # type: ignore[attr-defined]


def told(beginning: Beginning, name: str) -> dict[str, Any]:
    with beginning.given_to(Process()):
        return spawn.get_preparation_data(name)


def test_what_is_told_is_what_was_there_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    beginning = Beginning()
    first = told(beginning, "first")
    assert first["name"] == "first"
    monkeypatch.setattr(sys, "path", ["/other"])
    monkeypatch.setattr(sys, "argv", ["other"])
    later = told(beginning, "later")
    assert later["name"] == "later"
    assert {**later, "name": 0, "poolsafe": 0} == {**first, "name": 0, "poolsafe": 0}
    assert "/other" not in later["sys_path"]
    assert "dir" not in later, "the process would end where it is gone"


def test_arguments_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["program"])
    beginning = Beginning()
    told(beginning, "first")
    sys.argv.append("more")
    assert told(beginning, "later")["sys_argv"] == ["program"]


def test_environment_and_umask_come_back_with_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLSAFE_TEST_BEGINNING", "first")
    beginning = Beginning()
    told(beginning, "first")
    monkeypatch.setenv("POOLSAFE_TEST_BEGINNING", "later")
    mask = os.umask(0o77)
    try:
        with inheriting():
            data = pickle.dumps(told(beginning, "later"))
        pickle.loads(data)
        assert os.environ["POOLSAFE_TEST_BEGINNING"] == "first"
        if sys.platform == "linux":
            assert os.umask(mask) == mask
    finally:
        os.umask(mask)


def test_variables_that_another_thread_deletes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    class Environ(dict[str, str]):
        tries = 0

        def keys(self) -> Any:
            self.tries += 1
            return [*super().keys(), *(["GONE"] if self.tries < 3 else [])]

    environ = Environ(HERE="1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", MappingView(environ))
        told(Beginning(), "first")
    assert environ.tries >= 3


class MappingView:
    """Has keys and items only, so that to copy it is to ask for each by name, as with `os.environ`."""

    def __init__(self, of: dict[str, str]) -> None:
        self._of = of

    def keys(self) -> Any:
        return self._of.keys()

    def __getitem__(self, name: str) -> str:
        return self._of[name]


def test_other_threads_and_forked_copies_ask_as_ever() -> None:
    answers: list[dict[str, Any]] = []
    with Beginning().given_to(Process()):
        assert "poolsafe" in spawn.get_preparation_data("ours")
        thread = threading.Thread(target=lambda: answers.append(spawn.get_preparation_data("theirs")))
        thread.start()
        thread.join()
        pid = os.fork() if hasattr(os, "fork") else -1
        if not pid:
            os._exit("poolsafe" in spawn.get_preparation_data("copy"))
        if pid > 0:
            assert os.waitpid(pid, 0)[1] == 0
    assert [(data["name"], "dir" in data, "poolsafe" in data) for data in answers] == [("theirs", True, False)]


def test_what_the_program_puts_around_it_stays() -> None:
    def wrapped(name: str) -> dict[str, Any]:
        return inner(name)

    with Beginning().given_to(Process()):
        inner = spawn.get_preparation_data
        spawn.get_preparation_data = wrapped
    try:
        assert spawn.get_preparation_data is wrapped
        assert "poolsafe" not in wrapped("the program's own")
    finally:
        spawn.get_preparation_data = ASK


def test_it_is_undone_when_the_start_fails() -> None:
    with pytest.raises(OSError), Beginning().given_to(Process()):
        raise OSError
    assert spawn.get_preparation_data is ASK
