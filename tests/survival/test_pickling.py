"""What does not pickle or does not load costs its own task, and nothing else.

Who uses it: pytest. What may go wrong: a worker or the parent's threads die of a user's `__reduce__`, `__repr__` or
constructor; an error that cannot travel hides what happened.
"""

from __future__ import annotations

import pickle
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing.pool import MaybeEncodingError, RemoteTraceback
from pathlib import Path
from typing import Any

import pytest

from poolsafe import (
    ExceptionPicklingError,
    IsolatedPool,
    PoolsafeError,
    ResultPicklingError,
    ResultUnpicklingError,
    TaskExited,
    TaskPicklingError,
    TaskUnpicklingError,
    WorkerLost,
)  # fmt: skip
from tests.support import tasks
from tests.support.gates import Tally, wait_for
from tests.survival.support import chores, hostile
from tests.survival.support.cases import spread
from tests.survival.support.chores import Chore
from tests.survival.support.ways import (
    LIMIT,
    OF_ITEMS,
    WAYS,
    assert_full_strength,
    assert_survives_pickling,
    assert_unreplaced,
    assert_worded,
    fresh_tally,
    living,
    runs,
    survive,
    thrive,
)  # fmt: skip

pytestmark = pytest.mark.turns


class Expect:
    """What the error of a task must be: its type, facts, and words in its text."""

    def __init__(self, kind: type[PoolsafeError], *words: str, **facts: Any) -> None:
        self.kind = kind
        self.words = words
        self.facts = facts

    def __call__(self, error: BaseException) -> None:
        assert_worded(error, self.kind)
        for word in self.words:
            assert word in str(error)
        for name, value in self.facts.items():
            assert getattr(error, name) == value, name


def check(pool: IsolatedPool, folder: Path, deed: Any, expect: Expect, *, begun: bool) -> None:
    """One bad task among good ones by every way; the workers themselves survive it."""
    assert_full_strength(pool, 2, folder)
    before = living(pool)
    for way in WAYS:
        survive(pool, way, folder, deed, expect, begun=begun)
    assert_full_strength(pool, 2, folder)
    assert_unreplaced(pool, before)


# Arguments and items


@pytest.mark.parametrize(
    ("start_method", "kind"),
    spread([TypeError, pickle.PicklingError, RecursionError, MemoryError, ZeroDivisionError], TypeError),
)
def test_an_argument_that_does_not_pickle(pool: IsolatedPool, kind: type[Exception], tmp_path: Path) -> None:
    def expect(error: BaseException) -> None:
        Expect(TaskPicklingError, "this does not pickle", kind.__name__, may_have_run=False)(error)
        assert isinstance(error, kind), "existing code catches what pickling raises"

    check(pool, tmp_path, hostile.DoesNotPickle(kind), expect, begun=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make", [threading.Lock, lambda: lambda: None, lambda: hostile.nested(100_000), hostile.NoRepr, lambda: sys],
    ids=["lock", "lambda", "nested", "no-repr", "module"],
)  # fmt: skip
def test_arguments_that_never_pickle(pool: IsolatedPool, make: Callable[[], Any], tmp_path: Path) -> None:
    value = make()
    kind = type(hostile.pickling_error_of(value))
    for way in WAYS:
        tally = fresh_tally(tmp_path)
        harvest = WAYS[way](pool, [Chore(0, tally), value, Chore(2, tally)])
        [error] = harvest.errors
        assert_worded(error, TaskPicklingError)
        assert isinstance(error, kind)
        assert_survives_pickling(error)
        assert runs(tally) == {0: 1, 2: 1}
        if way in OF_ITEMS:
            assert error.item == 1
    assert_full_strength(pool, 2, tmp_path)


@pytest.mark.parametrize(
    ("start_method", "kind"),
    spread([ValueError, ImportError, SystemExit, KeyboardInterrupt, hostile.Bare], ImportError, SystemExit),
)
def test_an_argument_that_does_not_load(pool: IsolatedPool, kind: type[BaseException], tmp_path: Path) -> None:
    expect = Expect(TaskUnpicklingError, "this does not load", kind.__name__, may_have_run=False)
    check(pool, tmp_path, hostile.DoesNotLoad(kind), expect, begun=False)


def test_an_argument_that_kills_where_it_is_loaded(pool: IsolatedPool, tmp_path: Path) -> None:
    for way in WAYS:
        expect = Expect(WorkerLost, "did not run", may_have_run=False, signal=9)
        survive(pool, way, tmp_path, hostile.KillsWhereLoaded(), expect, begun=False)
    assert_full_strength(pool, 2, tmp_path)


# Functions


@pytest.mark.parametrize("make", [lambda: lambda value: value, hostile.DoesNotPickle], ids=["lambda", "hostile"])
def test_a_function_that_does_not_pickle(pool: IsolatedPool, make: Callable[[], Any], tmp_path: Path) -> None:
    func = make()
    kind = type(hostile.pickling_error_of(func))
    for way in WAYS:
        harvest = WAYS[way](pool, range(4), func)
        assert harvest.values == {}
        assert len(harvest.errors) == (1 if way.startswith(("map", "starmap")) else 4)
        for error in harvest.errors:
            assert_worded(error, TaskPicklingError)
            assert isinstance(error, kind)
            assert_survives_pickling(error)
    assert_full_strength(pool, 2, tmp_path)


def _elsewhere(value: Any) -> Any:
    raise AssertionError("no worker can import this function")


@pytest.fixture
def here_alone(pool: IsolatedPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Any], Any]:
    """A function of a module that this process made after its workers had started."""
    assert_full_strength(pool, 2, tmp_path)
    module = types.ModuleType("only_in_the_parent")
    module._elsewhere = _elsewhere  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(_elsewhere, "__module__", module.__name__)
    return _elsewhere


def test_a_function_that_the_worker_cannot_import(
    pool: IsolatedPool, here_alone: Callable[[Any], Any], tmp_path: Path
) -> None:
    before = living(pool)
    for way in WAYS:
        harvest = WAYS[way](pool, range(4), here_alone)
        assert len(harvest.errors) == (1 if way.startswith(("map", "starmap")) else 4)
        for error in harvest.errors:
            Expect(TaskUnpicklingError, "only_in_the_parent", may_have_run=False)(error)
            assert_survives_pickling(error)
    assert_full_strength(pool, 2, tmp_path)
    assert_unreplaced(pool, before)


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_a_function_that_does_not_load(pool: IsolatedPool, kind: type[BaseException], tmp_path: Path) -> None:
    for way in WAYS:
        harvest = WAYS[way](pool, range(4), hostile.DoesNotLoad(kind))
        assert len(harvest.errors) == (1 if way.startswith(("map", "starmap")) else 4)
        for error in harvest.errors:
            Expect(TaskUnpicklingError, "this does not load", may_have_run=False)(error)
    assert_full_strength(pool, 2, tmp_path)


# Results


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        (hostile.DoesNotPickle, ["this does not pickle"]),
        (partial(hostile.DoesNotPickle, SystemExit), ["SystemExit"]),
        (partial(hostile.DoesNotPickle, MemoryError), ["MemoryError"]),
        (threading.Lock, ["lock"]),
        (hostile.unpicklable_function, ["lambda"]),
        (partial(hostile.nested, 100_000), ["RecursionError"]),
        (hostile.NoRepr, ["repr() raised RuntimeError"]),
        (partial(hostile.NoRepr, KeyboardInterrupt), ["repr() raised KeyboardInterrupt"]),
    ],
    ids=["type-error", "exit", "memory", "lock", "lambda", "nested", "no-repr", "repr-interrupts"],
)  # fmt: skip
def test_a_result_that_does_not_pickle(pool: IsolatedPool, deed: Any, words: list[str], tmp_path: Path) -> None:
    def expect(error: BaseException) -> None:
        Expect(ResultPicklingError, *words, may_have_run=True)(error)
        assert isinstance(error, MaybeEncodingError)
        assert isinstance(error.exc, str)
        assert isinstance(error.value, str)

    check(pool, tmp_path, deed, expect, begun=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(("start_method", "kind"), spread([ValueError, SystemExit, hostile.Bare], SystemExit))
def test_a_result_that_does_not_load(pool: IsolatedPool, kind: type[BaseException], tmp_path: Path) -> None:
    expect = Expect(ResultUnpicklingError, "this does not load", kind.__name__, may_have_run=True)
    check(pool, tmp_path, partial(hostile.DoesNotLoad, kind), expect, begun=True)


def test_a_result_that_kills_where_it_is_pickled(pool: IsolatedPool, tmp_path: Path) -> None:
    for way in WAYS:
        survive(pool, way, tmp_path, hostile.KillsWherePickled, Expect(WorkerLost, may_have_run=True, signal=9))
    assert_full_strength(pool, 2, tmp_path)


def test_results_are_loaded_here_and_not_in_a_thread_that_serves_others(pool: IsolatedPool, tmp_path: Path) -> None:
    thrive(pool, tmp_path, hostile.pid_where_loaded, lambda value: value not in living(pool))


def test_results_with_hostile_methods_are_just_values(pool: IsolatedPool, tmp_path: Path) -> None:
    thrive(pool, tmp_path, hostile.EqualToNothing, lambda value: type(value) is hostile.EqualToNothing)


def test_results_whose_finalizers_raise(pool: IsolatedPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the worker and here, in whatever thread drops them."""
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append(args.exc_value))
    thrive(pool, tmp_path, hostile.RaisesWhenDropped, lambda value: type(value) is hostile.RaisesWhenDropped)
    for _ in range(20):
        pool.apply_async(hostile.RaisesWhenDropped)
        pool.imap(tasks.identity, [hostile.RaisesWhenDropped()])
    wait_for(lambda: not pool._cache, LIMIT)
    assert_full_strength(pool, 2, tmp_path)
    assert told
    assert all(type(error) is RuntimeError for error in told)


# Exceptions


@pytest.mark.parametrize(
    ("deed", "type_name", "text"),
    [
        (hostile.two_arguments, "TwoArguments", "it failed because it had to"),
        (hostile.keyword_only, "KeywordOnly", "on purpose"),
        (partial(chores.raise_, hostile.HoldsALock), "HoldsALock", "with a lock"),
        (partial(chores.raise_, hostile.NoText), "NoText", "raised RuntimeError"),
        (partial(chores.raise_, hostile.LoadsAsSomethingElse), "LoadsAsSomethingElse", ""),
        (partial(hostile.nested_error, 100_000), "ValueError", ""),
    ],
    ids=["two-arguments", "keyword-only", "lock", "no-text", "no-exception", "nested"],
)  # fmt: skip
def test_an_exception_that_cannot_travel(
    pool: IsolatedPool, deed: Any, type_name: str, text: str, tmp_path: Path
) -> None:
    def expect(error: BaseException) -> None:
        Expect(ExceptionPicklingError, type_name, type_name=type_name, may_have_run=True)(error)
        assert isinstance(error, MaybeEncodingError)
        assert text in str(error)
        assert isinstance(error.__cause__, RemoteTraceback)
        assert type_name in str(error.__cause__)

    check(pool, tmp_path, deed, expect, begun=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("start_method", "kind"), spread([KeyboardInterrupt, SystemExit, GeneratorExit, hostile.Bare], KeyboardInterrupt)
)
def test_an_exception_outside_exception(pool: IsolatedPool, kind: type[BaseException], tmp_path: Path) -> None:
    expect = Expect(TaskExited, kind.__name__, "why", type_name=kind.__name__)
    check(pool, tmp_path, partial(chores.raise_, kind, "why"), expect, begun=True)


def test_an_ordinary_exception_comes_as_itself_with_its_traceback(pool: IsolatedPool, tmp_path: Path) -> None:
    def expect(error: BaseException) -> None:
        assert type(error) is LookupError
        assert error.args == ("one", 2)
        assert isinstance(error.__cause__, RemoteTraceback)
        assert "in raise_" in str(error.__cause__)
        assert "LookupError: ('one', 2)" in str(error.__cause__)

    check(pool, tmp_path, partial(chores.raise_, LookupError, "one", 2), expect, begun=True)  # type: ignore[arg-type]


def test_an_exception_that_is_returned_stays_a_value(pool: IsolatedPool, tmp_path: Path) -> None:
    def right(value: Any) -> bool:
        return type(value) is ValueError and value.args == ("not raised",)

    thrive(pool, tmp_path, partial(chores.give, ValueError("not raised")), right)


def test_everything_hostile_at_once(pool: IsolatedPool, tally: Tally, tmp_path: Path) -> None:
    """Good tasks among all kinds of bad ones, all at the same time."""
    bad = [
        hostile.DoesNotPickle(), hostile.DoesNotLoad(), hostile.DoesNotPickle, hostile.DoesNotLoad,
        hostile.two_arguments, partial(hostile.nested, 100_000), partial(chores.raise_, KeyboardInterrupt),
        partial(tasks.exit_softly, 3), hostile.KillsWhereLoaded(), hostile.KillsWherePickled,
        tasks.kill_self, partial(tasks.exit_hard, 0), hostile.NoRepr, partial(chores.raise_, hostile.NoText),
    ]  # fmt: skip
    todo = [Chore(i, tally, bad[i // 2] if i % 2 else None) for i in range(2 * len(bad))]
    good = {i: i * i for i in range(0, len(todo), 2)}
    for way in ("apply_async", "callbacks", "imap", "imap_chunks", "imap_unordered"):
        harvest = WAYS[way](pool, todo)
        assert harvest.values == good, f"by {way}"
        assert len(harvest.errors) == len(bad), f"by {way}"
        assert all(isinstance(error, PoolsafeError) for error in harvest.errors), f"by {way}"
    begun = Counter(range(len(todo)))
    for i, deed in enumerate(bad):
        if type(deed) in (hostile.DoesNotPickle, hostile.DoesNotLoad, hostile.KillsWhereLoaded):
            del begun[2 * i + 1]
    assert runs(tally) == Counter(dict.fromkeys(begun, 5))
    assert_full_strength(pool, 2, tmp_path)
