"""The words of every failure: fact, cause and remedy, the facts as attributes, and all of it after pickling."""

from __future__ import annotations

import pickle
import signal
import threading
from typing import Any, NoReturn

import pytest

from poolsafe import errors, failures
from poolsafe.engine import messages
from poolsafe.engine.messages import dumps
from poolsafe.engine.state import BROKEN, LOST, TERMINATED, UNCLEAN, Fate, Lost
from poolsafe.failures import MADE, Outcome, decode, describe_exit, pickling_failure

from .fakes import error, report, value

TRACEBACK = "Traceback: here\n"


def broken(what: str, may_have_run: bool = False, pid: int | None = 77, **facts: Any) -> tuple[int, Any]:
    return BROKEN, (((what, facts), pid), may_have_run)


def unclean(what: str, **facts: Any) -> tuple[int, Any]:
    return UNCLEAN, dumps((what, facts))


def lost(exitcode: int | None, may_have_run: bool = True, **more: Any) -> tuple[int, Any]:
    return LOST, Lost(Fate(77, exitcode, **more), may_have_run, None)


RAISED = {"type": "ValueError", "text": "words", "traceback": TRACEBACK}

#: kind and data, the error's type, words in its message, its facts
CASES: dict[str, tuple[tuple[int, Any], type[errors.PoolsafeError], list[str], dict[str, Any]]] = {
    "killed": (
        lost(-9), errors.WorkerLost, ["process 77", "SIGKILL", "may have run", "out of memory"],
        {"pid": 77, "exitcode": -9, "signal": 9, "may_have_run": True},
    ),
    "killed before it ran": (
        lost(-9, may_have_run=False), errors.WorkerLost, ["did not run"], {"may_have_run": False},
    ),
    "crashed": (lost(-signal.SIGSEGV), errors.WorkerLost, ["SIGSEGV", "Native code"], {"signal": signal.SIGSEGV}),
    "killed with the process that forked it": (
        lost(-signal.SIGSEGV, host=76), errors.WorkerLost,
        ["the worker process 76 was killed by SIGSEGV", "took its process 77 along", "Somebody sent"], {"pid": 77},
    ),
    "lost with the process that forked it": (
        lost(-9, host=76), errors.WorkerLost, ["process 76 was killed by SIGKILL", "process 77", "out of memory"], {},
    ),
    "illegal": (lost(-signal.SIGILL), errors.WorkerLost, ["SIGILL", "Native code"], {"signal": signal.SIGILL}),
    "aborted": (lost(-signal.SIGABRT), errors.WorkerLost, ["SIGABRT", "Native code"], {"signal": signal.SIGABRT}),
    "signalled": (lost(-signal.SIGTERM), errors.WorkerLost, ["SIGTERM", "Somebody sent"], {"signal": signal.SIGTERM}),
    "exited": (lost(0), errors.WorkerLost, ["exited with code 0", "os._exit"], {"exitcode": 0, "signal": None}),
    "exited before it ran": (
        lost(7, may_have_run=False), errors.WorkerLost, ["did not run", "What runs before it (a factory"], {},
    ),
    "exited with a code": (lost(7), errors.WorkerLost, ["exited with code 7", "os._exit"], {"exitcode": 7}),
    "stolen": (lost(None), errors.WorkerLost, ["nobody could tell", "SIGCHLD"], {"exitcode": None, "signal": None}),
    "cut off": (lost(-9, cut_off=True), errors.WorkerLost, ["closed the file descriptors"], {"exitcode": -9}),
    "terminated": (
        (TERMINATED, (None, True)), errors.PoolTerminated, ["terminated", "close() and join()"], {"may_have_run": True},
    ),
    "terminated before it ran": (
        (TERMINATED, (None, False)), errors.PoolTerminated, ["terminated"], {"may_have_run": False},
    ),
    "initializer": (
        broken("raised", **RAISED), errors.InitializerError, ["worker 77", "ValueError: words", "did not run"],
        {"pid": 77, "exitcode": None, "may_have_run": False, "traceback_text": TRACEBACK},
    ),
    "initializer of a replacement": (
        broken("raised", True, **RAISED), errors.InitializerError, ["may have run"], {"may_have_run": True},
    ),
    "died early": (
        broken("died", exitcode=1, said="", cut_off=False), errors.InitializerError,
        ["pid 77", "exited with code 1", "__main__"], {"exitcode": 1, "pid": 77},
    ),
    "killed early": (
        broken("died", exitcode=-9, said="", cut_off=False), errors.InitializerError,
        ["killed by SIGKILL", "Several in a row", "fewer workers"], {"exitcode": -9},
    ),
    "crashed early": (
        broken("died", exitcode=-11, said="", cut_off=False), errors.InitializerError,
        ["killed by SIGSEGV", "Native code crashed", "Mend the initializer"], {"exitcode": -11},
    ),
    "cut off early": (
        broken("died", exitcode=112, said="", cut_off=True), errors.InitializerError,
        ["pid 77", "could not be heard", "closed the file descriptors"], {"exitcode": 112, "pid": 77},
    ),
    "cannot fork": (
        broken("forkless", **RAISED), errors.InitializerError,
        ["worker 77 cannot start the processes of its tasks: ValueError: words", "limits or hooks"], {"pid": 77},
    ),
    "cannot start": (
        broken("start", pid=None, type="TypeError", text="words"), errors.InitializerError,
        ["could not be started: TypeError: words"], {"pid": None},
    ),
    "cannot start any more": (
        broken("start", pid=None, type="RuntimeError", text="can't fork at interpreter shutdown"),
        errors.InitializerError, ["main thread has ended", "Have the main thread wait"], {"pid": None},
    ),
    "reset": (
        unclean("reset", **RAISED), errors.ResetError, ["ValueError: words", "keep="],
        {"traceback_text": TRACEBACK, "may_have_run": False},
    ),
    "no room for the arguments": (
        unclean("receive", text="out of memory"), errors.TaskUnpicklingError, ["out of memory", "Send less"],
        {"may_have_run": False},
    ),
    "arguments do not load": (
        report("unpickle-task"), errors.TaskUnpicklingError, ["ValueError: words", "__reduce__"],
        {"traceback_text": TRACEBACK, "may_have_run": False},
    ),
    "result does not pickle": (
        report("pickle-result", value="<it>"), failures.ResultPicklingError,
        ["<it>", "ValueError: words", "plain data"],
        {"exc": "ValueError('words')", "value": "<it>", "may_have_run": True, "traceback_text": TRACEBACK},
    ),
    "exception does not pickle": (
        report("pickle-exception", problem="TypeError: arguments"), failures.ExceptionPicklingError,
        ["raised ValueError: words", "TypeError: arguments", "super().__init__"],
        {"exc": "TypeError: arguments", "value": "ValueError('words')", "type_name": "ValueError", "text": "words"},
    ),
    "task exits": (
        report("exited", type="SystemExit", text="3", code=3), errors.TaskExited, ["SystemExit: 3", "Return a value"],
        {"type_name": "SystemExit", "code": 3, "traceback_text": TRACEBACK},
    ),
    "task is interrupted": (
        report("exited", type="KeyboardInterrupt", text=""), errors.TaskExited, ["raised KeyboardInterrupt"],
        {"type_name": "KeyboardInterrupt", "code": None},
    ),
    "result does not load": (
        (messages.VALUE, b"nonsense"), errors.ResultUnpicklingError, ["the result", "could not be unpickled"],
        {"may_have_run": True},
    ),
    "exception does not load": (
        (messages.ERROR, dumps((b"nonsense", ""))), errors.ResultUnpicklingError, ["the exception", "unpickled"], {},
    ),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Any:
    return CASES[request.param]


def test_the_error_has_its_type_its_words_and_its_facts(case: Any) -> None:
    (kind, data), cls, words, facts = case
    success, made = decode(Outcome(kind, data))
    assert not success
    assert type(made) is cls
    for word in words:
        assert word in str(made)
    assert {name: getattr(made, name) for name in facts} == facts


def test_the_message_has_three_parts(case: Any) -> None:
    (kind, data), *_ = case
    _, made = decode(Outcome(kind, data))
    assert made.fact
    assert made.cause
    assert made.remedy
    assert str(made) == f"{made.fact}\n{made.cause}\n{made.remedy}"
    assert not made.fact.endswith((":", " "))
    assert made.cause.endswith((".", "?")) or "ValueError: words" in made.cause
    assert made.remedy.endswith(".")
    assert "  " not in str(made)


def test_the_message_names_the_item(case: Any) -> None:
    (kind, data), *_ = case
    _, made = decode(Outcome(kind, data, 41))
    if not isinstance(made, errors.InitializerError):  # which is the pool's, not the item's
        assert "item 41" in made.fact
    if hasattr(type(made), "item"):
        assert made.item == 41


def test_it_survives_pickling(case: Any) -> None:
    (kind, data), *_ = case
    _, made = decode(Outcome(kind, data, 41))
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is type(made)
    assert str(again) == str(made)
    assert again.__dict__ == made.__dict__


def test_the_workers_traceback_is_the_cause(case: Any) -> None:
    (kind, data), *_ = case
    _, made = decode(Outcome(kind, data))
    if getattr(made, "traceback_text", ""):
        assert type(made.__cause__).__name__ == "RemoteTraceback"
        assert TRACEBACK in str(made.__cause__)
    else:
        assert made.__cause__ is None or isinstance(made, errors.ResultUnpicklingError)


def test_a_value_is_a_value() -> None:
    assert decode(Outcome(*value({"a": 1}))) == (True, {"a": 1})
    success, returned = decode(Outcome(*value(ValueError("returned, not raised"))))
    assert success
    assert isinstance(returned, ValueError)


def test_an_error_of_the_parents_own_is_given_as_it_is() -> None:
    problem = ValueError("from the iterable")
    assert decode(Outcome(MADE, problem)) == (False, problem)


def test_a_remote_traceback_reads_as_multiprocessings() -> None:
    _, made = decode(Outcome(*error(ValueError("x"), "Traceback\nline")))
    assert str(made.__cause__) == '\n"""\nTraceback\nline"""'


@pytest.mark.parametrize(
    ("exitcode", "words"),
    [
        (None, "ended, and nobody could tell how"),
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (-9, "was killed by SIGKILL (Killed)"),
        (-11, "was killed by SIGSEGV (Segmentation fault)"),
        (-63, "was killed by signal 63"),
    ],
)
def test_an_exit_in_words(exitcode: int | None, words: str) -> None:
    assert describe_exit(exitcode) == words


# -- what does not load here -------------------------------------------------------------------------------------------
def raise_on_load(error: BaseException) -> NoReturn:
    raise error


class Raises:
    """Raises when it is loaded."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return raise_on_load, (self.error,)


class Pretends(Exception):
    """Loads to something that is no exception."""

    def __reduce__(self) -> Any:
        return Plain, ()


class Plain:
    """Anything with attributes."""


@pytest.mark.parametrize("problem", [ValueError("x"), SystemExit(1), RecursionError(), MemoryError()])
def test_whatever_loading_raises_is_the_items_error(problem: BaseException) -> None:
    _, made = decode(Outcome(*value(Raises(problem))))
    assert type(made) is errors.ResultUnpicklingError
    assert type(problem).__name__ in str(made)
    assert type(made.__cause__) is type(problem)


def test_an_interrupt_in_another_thread_is_the_items_error() -> None:
    made: list[Any] = []
    outcome = Outcome(*value(Raises(KeyboardInterrupt())))
    thread = threading.Thread(target=lambda: made.append(decode(outcome)))
    thread.start()
    thread.join()
    assert type(made[0][1]) is errors.ResultUnpicklingError
    with pytest.raises(KeyboardInterrupt):
        decode(outcome)


def test_an_exception_that_loads_to_something_else_is_told() -> None:
    _, made = decode(Outcome(*error(Pretends())))
    assert type(made) is errors.ResultUnpicklingError


# -- what does not pickle ----------------------------------------------------------------------------------------------
class Fussy(Exception):
    """Cannot be made with the arguments of another."""

    def __new__(cls, one: int, two: int) -> Fussy:
        return super().__new__(cls)

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one, two)


class Childless(Exception):
    """Wants no subclasses."""

    def __init_subclass__(cls) -> None:
        raise RuntimeError("no subclasses")


@pytest.mark.parametrize(
    "original",
    [
        TypeError("cannot pickle a lock"), AttributeError("local object"), pickle.PicklingError("x"), ValueError("x"),
        RecursionError("deep"), OSError(5, "io"), KeyError("k"), UnicodeDecodeError("utf-8", b"", 0, 1, "x"),
        StopIteration(), ImportError("x"), Exception("plain"),
    ],
    ids=lambda original: type(original).__name__,
)  # fmt: skip
def test_a_pickling_failure_is_also_of_the_originals_type(original: Exception) -> None:
    made = pickling_failure(original, 4)
    assert isinstance(made, errors.TaskPicklingError)
    assert isinstance(made, type(original)), "which is what existing code catches"
    assert made.__cause__ is original
    assert made.item == 4
    assert made.may_have_run is False
    assert type(original).__name__ in made.fact
    assert "item 4" in made.fact
    assert made.cause
    assert made.remedy
    assert type(made).__name__ == "TaskPicklingError"
    assert type(made).__module__ == "poolsafe"


@pytest.mark.parametrize("original", [TypeError("x"), OSError(5, "io"), KeyError("k")])
def test_a_pickling_failure_survives_pickling(original: Exception) -> None:
    made = pickling_failure(original, 4)
    again = pickle.loads(pickle.dumps(made))
    assert str(again) == str(made)
    assert again.item == 4
    assert isinstance(again, errors.TaskPicklingError)
    assert isinstance(again, type(original))
    assert str(pickle.loads(pickle.dumps(again))) == str(made), "and once more"


@pytest.mark.parametrize("original", [Fussy(1, 2), Childless()])
def test_an_original_that_does_not_mix_leaves_an_error_of_ours(original: Exception) -> None:
    made = pickling_failure(original)
    assert isinstance(made, errors.TaskPicklingError)
    assert made.item is None
    assert made.__cause__ is original
    assert str(pickle.loads(pickle.dumps(made))) == str(made)


def test_an_original_that_cannot_travel_leaves_an_error_of_ours() -> None:
    class Local(Exception):
        pass

    made = pickling_failure(Local("x"), 4)
    assert isinstance(made, Local)
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is errors.TaskPicklingError
    assert (str(again), again.item) == (str(made), 4)


def test_an_original_whose_words_raise() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    assert "Mute" in pickling_failure(Mute()).fact
