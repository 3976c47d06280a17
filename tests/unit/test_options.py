"""Options: the stdlib's checks with the stdlib's words, and complaints that say what to do."""

from __future__ import annotations

import os
import sys
from multiprocessing import get_context, process
from multiprocessing import pool as stdlib
from typing import Any

import pytest

from poolsafe import IsolatedPool, TargetError, options
from poolsafe.isolation.guard import Guard


def stdlib_complaint(**arguments: Any) -> Exception:
    """What multiprocessing.Pool raises for the same mistake."""
    with pytest.raises((ValueError, TypeError)) as caught:
        stdlib.Pool(context=get_context("spawn"), **arguments)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("processes", [0, -1])
def test_too_few_workers(processes: int) -> None:
    wanted = stdlib_complaint(processes=processes)
    with pytest.raises(type(wanted)) as caught:
        options.worker_count(processes)
    assert str(caught.value) == str(wanted)


def test_as_many_workers_as_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert options.worker_count(3) == 3
    assert options.worker_count(None) >= 1
    monkeypatch.setattr(os, "process_cpu_count", lambda: 5, raising=False)
    assert options.worker_count(None) == 5
    monkeypatch.delattr(os, "process_cpu_count")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert options.worker_count(None) == 1


@pytest.mark.parametrize("budget", [0, -1, 1.5, "1"])
def test_a_senseless_budget(budget: Any) -> None:
    wanted = stdlib_complaint(processes=1, maxtasksperchild=budget)
    with pytest.raises(type(wanted)) as caught:
        options.task_budget(budget)
    assert str(caught.value) == str(wanted)


@pytest.mark.parametrize("budget", [None, 1, 1000])
def test_a_budget(budget: int | None) -> None:
    assert options.task_budget(budget) == budget


def test_what_cannot_be_called() -> None:
    wanted = stdlib_complaint(processes=1, initializer=5)
    with pytest.raises(type(wanted)) as caught:
        options.check_callables(before_task=None, initializer=5)
    assert str(caught.value).startswith(str(wanted))
    assert "int" in str(caught.value)
    options.check_callables(initializer=None, before_task=print)


def made(
    isolation: str | None = "globals",
    reset: Any = "tests.support.tasks:haha",
    seed: Any = None,
    on_leak: str = "ignore",
) -> Guard:
    return options.guard(isolation, reset, (), seed, on_leak, has_initializer=False)


def test_a_level_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="not a level") as caught:
        made("x")
    assert "'globals'" in str(caught.value), "says what to use"


def test_a_platform_that_cannot_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    assert made("fork") is not None
    monkeypatch.delattr(os, "fork")
    with pytest.raises(ValueError, match=r"needs os\.fork\(\).*use isolation='process'"):
        made("fork")


def test_a_way_with_leaks_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="on_leak='print' is none of 'ignore', 'watch', 'warn', 'raise'"):
        made(on_leak="print")


@pytest.mark.parametrize("reset", [None, (), []])
def test_nothing_to_put_back_is_no_plan(reset: Any) -> None:
    guard = made(reset=reset, on_leak="warn")
    assert guard.baseline() is None
    assert not guard.watches


def test_no_isolation_is_no_plan_but_mistakes_are_told() -> None:
    assert made(None).baseline() is None
    assert made(None, on_leak="watch").baseline() is not None, "there is something to compare with"
    with pytest.raises(TargetError):
        made(None, "tests.support.tasks:not_there")


@pytest.mark.parametrize(
    ("on_leak", "watches", "refuses"),
    [("ignore", False, False), ("watch", True, False), ("warn", True, False), ("raise", True, True)],
)
def test_a_plan(on_leak: str, watches: bool, refuses: bool) -> None:
    guard = made(on_leak=on_leak)
    assert guard.baseline() is not None
    assert (guard.watches, guard.refuses) == (watches, refuses)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("items", [0, 1, 7, 8, 9, 100, 1001])
def test_chunks_are_as_big_as_the_stdlibs(items: int, workers: int) -> None:
    size, rest = divmod(items, workers * 4)
    assert options.chunk_size(None, items, workers) == max(size + bool(rest), 1)
    assert options.chunk_size(5, items, workers) == 5


@pytest.mark.parametrize("size", [0, -1])
def test_a_senseless_chunk_size(size: int) -> None:
    with pytest.raises(ValueError, match=rf"Chunksize must be 1\+, not {size}"):
        options.check_chunk_size(size)
    with pytest.raises(ValueError, match=r"Chunksize must be 1\+"):
        options.chunk_size(size, 10, 2)


@pytest.mark.parametrize(
    ("inheriting", "method", "name", "code"),
    [
        (True, "spawn", "SpawnPoolWorker-2", 1),
        (True, "forkserver", "ForkServerPoolWorker-7", options.UNGUARDED_CODE),
        (True, "spawn", "SpawnPoolWorker-1", None),  # the first one brings the stdlib's explanation
        (True, "fork", "ForkPoolWorker-2", None),
        (True, "spawn", "SpawnProcess-2", None),
        (False, "spawn", "SpawnPoolWorker-2", None),
    ],
)
def test_a_main_module_without_a_guard_is_explained_once(
    monkeypatch: pytest.MonkeyPatch, inheriting: bool, method: str, name: str, code: int | None
) -> None:
    class Me:
        _inheriting = inheriting

    me: Any = Me()
    me.name = name
    monkeypatch.setattr(process, "current_process", lambda: me)
    monkeypatch.setattr(options, "_SILENCE", 0)
    monkeypatch.setattr(options, "_HINT", 0)
    monkeypatch.setattr(os, "_exit", sys.exit)
    if code is None:
        options.refuse_in_unguarded_main(get_context(method))
    else:
        with pytest.raises(SystemExit) as caught:
            options.refuse_in_unguarded_main(get_context(method))
        assert caught.value.code == code


@pytest.mark.parametrize("nothing", [{}, set()])
def test_a_reset_that_names_nothing_is_refused(nothing: object) -> None:
    """Most likely a global was passed that is empty now, instead of its name."""
    with pytest.raises(TargetError, match="names nothing") as caught:
        IsolatedPool(1, reset=nothing)
    assert "reset=None" in str(caught.value)
