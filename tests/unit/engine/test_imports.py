"""Imports that were going on when a worker was forked: nobody waits for them, and nobody gets half a module."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from poolsafe.engine import imports
from poolsafe.engine.imports import forget_dead_importers, importing_here
from tests.support.gates import DEADLINE

#: What the module of the test does when it is imported.
on_import: Any = None


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that calls `on_import` in the middle of its import."""
    name = "module_of_this_test"
    (tmp_path / f"{name}.py").write_text(f"import {__name__}\n{__name__}.on_import()\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)
    globals()["on_import"] = None


class Importing:
    """Another thread is in the middle of importing the module."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.arrived, self.go = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=import_module, args=(name,))

    def __enter__(self) -> None:
        globals()["on_import"] = lambda: (self.arrived.set(), self.go.wait(DEADLINE))
        self.thread.start()
        assert self.arrived.wait(DEADLINE)

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self.thread.join()


def in_a_fork(call: Any) -> int:
    """The exit code of a forked child that does it: 0 when it gives True."""
    child = os.fork()
    if not child:
        status = 2
        try:
            globals()["on_import"] = lambda: None
            status = 0 if call() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_child_imports_anew_what_a_thread_had_half_imported(module: str) -> None:
    def whole() -> bool:
        forget_dead_importers(frozenset())
        return bool(import_module(module).whole)

    with Importing(module):
        assert in_a_fork(whole) == 0


def test_what_is_to_be_kept_is_not_imported_again_and_nobody_waits_for_it(module: str) -> None:
    def half() -> bool:
        forget_dead_importers(frozenset({module}))
        return module in sys.modules and not hasattr(sys.modules[module], "whole")

    with Importing(module):
        assert in_a_fork(half) == 0


def test_a_module_whose_import_ended_stays(module: str) -> None:
    globals()["on_import"] = lambda: None
    made = import_module(module)
    forget_dead_importers(frozenset())
    assert sys.modules[module] is made


def test_what_the_forking_thread_imports_itself_is_left_alone(module: str) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.append(importing_here())
        forget_dead_importers(frozenset())
        seen.append(module in imports._locks() and isinstance(sys.modules.get(module), ModuleType))

    globals()["on_import"] = look
    import_module(module)
    assert module in seen[0]
    assert seen[1]
    assert module not in importing_here()


def test_a_lock_without_an_owner_is_forgotten_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    locks: dict[str, Any] = {"gone": lambda: None, "free": lambda: threading.Lock()}
    monkeypatch.setattr(imports, "_locks", lambda: locks)
    assert importing_here() == frozenset()
    forget_dead_importers(frozenset())
    assert locks == {}


def test_another_python_without_these_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "_frozen_importlib")
    assert importing_here() == frozenset()
    forget_dead_importers(frozenset())


def test_a_thread_that_is_just_taking_a_modules_lock(module: str) -> None:
    """It has no owner yet, or no more, and yet nobody else can take it."""
    globals()["on_import"] = lambda: None
    taken = import_module("_frozen_importlib")._get_module_lock(module)
    arrived, go = threading.Event(), threading.Event()

    def take() -> None:
        with taken.lock:
            arrived.set()
            go.wait(DEADLINE)

    thread = threading.Thread(target=take)
    thread.start()
    assert arrived.wait(DEADLINE)

    def whole() -> bool:
        forget_dead_importers(frozenset())
        return bool(import_module(module).whole)

    try:
        assert in_a_fork(whole) == 0
    finally:
        go.set()
        thread.join()
