"""The tree of errors: what catches what, and that every error survives pickling with all its facts."""

from __future__ import annotations

import concurrent.futures
import copy
import multiprocessing.pool
import pickle
import warnings
from typing import Any

import pytest

import poolsafe
from poolsafe import errors, failures

#: Every error with facts of its own, and the types by which existing code catches it.
TREE: list[tuple[type[errors.PoolsafeError], dict[str, Any], tuple[type[BaseException], ...]]] = [
    (errors.PoolsafeError, {}, (Exception,)),
    (errors.TargetError, {"target": "app:X"}, (ValueError,)),
    (errors.CaptureError, {"target": "app:X", "path": "app:X['y']"}, (errors.TargetError, ValueError, TypeError)),
    (errors.ResetError, {"traceback_text": "here", "may_have_run": False}, (RuntimeError,)),
    (errors.InitializerError, {"pid": 5, "exitcode": 1, "traceback_text": "here"}, (RuntimeError,)),
    (errors.WorkerLost, {"pid": 5, "exitcode": -9, "signal": 9, "may_have_run": True, "item": 3}, (RuntimeError,)),
    (errors.TaskExited, {"type_name": "SystemExit", "code": 3, "traceback_text": "here"}, (RuntimeError,)),
    (errors.TaskPicklingError, {"item": 3}, (pickle.PicklingError,)),
    (errors.TaskUnpicklingError, {"item": 3, "traceback_text": "here"}, (pickle.UnpicklingError,)),
    (errors.ResultUnpicklingError, {"item": 3, "may_have_run": True}, (pickle.UnpicklingError,)),
    (errors.LeakError, {"paths": ("app.X",), "may_have_run": True, "item": 3}, (RuntimeError,)),
    (
        errors.TaskTimeout,
        {"limit": 0.5, "stack": "here", "pid": 7, "may_have_run": True, "item": 3, "attempts": ()},
        (TimeoutError,),
    ),
    (
        errors.TaskMemoryExceeded,
        {"used": 5, "stack": "here", "stderr": "words", "pid": 7, "may_have_run": True, "item": 3, "attempts": ()},
        (MemoryError,),
    ),
    (errors.PoolTerminated, {"may_have_run": False}, (RuntimeError,)),
    (errors.QueueGone, {}, (ConnectionError,)),
    (errors.WrongProcess, {}, (RuntimeError,)),
    (failures.TaskCancelled, {"may_have_run": False, "item": 3}, (concurrent.futures.CancelledError,)),
    (
        failures.ResultPicklingError,
        {"exc": "TypeError()", "value": "<it>", "item": 3, "traceback_text": "here"},
        (multiprocessing.pool.MaybeEncodingError,),  # type: ignore[attr-defined]
    ),
    (
        failures.ExceptionPicklingError,
        {"exc": "TypeError()", "value": "E()", "type_name": "E", "text": "x", "item": None},
        (multiprocessing.pool.MaybeEncodingError,),  # type: ignore[attr-defined]
    ),
]


def subclasses(cls: type) -> set[type]:
    found = {cls}
    for sub in cls.__subclasses__():
        found |= subclasses(sub)
    return found


def test_the_table_is_complete() -> None:
    ours = {cls for cls in subclasses(errors.PoolsafeError) if not cls.__name__.startswith("_")}
    made_by_tests = {cls for cls in ours if issubclass(cls, failures._Combined)}
    assert {cls for cls, _, _ in TREE} == ours - made_by_tests


@pytest.mark.parametrize(("cls", "facts", "bases"), TREE)
def test_an_error_is_what_existing_code_catches(cls: Any, facts: dict[str, Any], bases: tuple[type, ...]) -> None:
    made = cls("fact", cause="cause", remedy="remedy", **facts)
    for base in (*bases, errors.PoolsafeError):
        with pytest.raises(base):
            raise made


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(("cls", "facts", "bases"), TREE)
def test_an_error_survives_pickling(cls: Any, facts: dict[str, Any], bases: Any, protocol: int) -> None:
    made = cls("fact", cause="cause", remedy="remedy", **facts)
    again = pickle.loads(pickle.dumps(made, protocol))
    assert type(again) is cls
    assert str(again) == "fact\ncause\nremedy" == str(made)
    assert (again.fact, again.cause, again.remedy) == ("fact", "cause", "remedy")
    assert {name: getattr(again, name) for name in facts} == facts
    assert again.args == made.args


@pytest.mark.parametrize(("cls", "facts", "bases"), TREE)
def test_an_error_can_be_copied(cls: Any, facts: dict[str, Any], bases: Any) -> None:
    made = cls("fact", **facts)
    again = copy.copy(made)
    assert type(again) is cls
    assert again.__dict__ == made.__dict__


@pytest.mark.parametrize(("cls", "facts", "bases"), TREE)
def test_facts_have_defaults_and_documentation(cls: Any, facts: dict[str, Any], bases: Any) -> None:
    made = cls()
    assert str(made) == ""
    for name in facts:
        assert hasattr(made, name), f"{cls.__name__}.{name} has no default"
    assert cls.__doc__


@pytest.mark.parametrize(("cls", "facts", "bases"), TREE)
def test_an_error_names_itself_as_users_import_it(cls: Any, facts: dict[str, Any], bases: Any) -> None:
    assert cls.__module__ == "poolsafe"
    assert cls.__name__ in repr(cls("fact"))


def test_what_a_user_added_survives_too() -> None:
    made = errors.WorkerLost("fact", pid=5)
    made.note = "mine"  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(made)).note == "mine"


def test_a_warning_can_be_filtered_by_its_type() -> None:
    assert issubclass(poolsafe.PoolsafeWarning, UserWarning)
    with pytest.warns(UserWarning, match="words"):
        warnings.warn("words", poolsafe.PoolsafeWarning, stacklevel=1)
