"""The worker's loop, item by item: the order of things, and that nothing a user wrote escapes."""

from __future__ import annotations

import threading
from typing import Any, NoReturn

import pytest

from poolsafe.engine import messages
from poolsafe.engine.ends import ParentGone
from poolsafe.engine.messages import call_payload, loads
from poolsafe.engine.page import IDLE, Page
from tests.support.tasks import add, square

from .bench import Bench, Noting, events, fail, note


# -- one item ----------------------------------------------------------------------------------------------------------
def give_noting(_: Any) -> Noting:
    note("run")
    return Noting()


def test_the_order_around_an_item(page: Page) -> None:
    bench = Bench(page, before=lambda: note("before"), after=lambda: note("after"))
    payload = call_payload(give_noting, (Noting(),), {})
    events.clear()
    bench.ask(7, payload)
    with pytest.raises(ParentGone):
        bench.worker.serve()
    assert events == ["restore", "load", "before", "run", "after", "dump"]


@pytest.mark.parametrize("lives", [True, False])
def test_nothing_is_begun_once_whoever_forked_the_worker_is_dead(page: Page, lives: bool) -> None:
    """The item goes to another worker then; begun, it would be lost in a moment."""
    bench = Bench(page)
    bench.worker.begin_anew(lambda: not lives, renew=False)
    events.clear()
    bench.ask(7, call_payload(note, ("run",), {}))
    with pytest.raises(ParentGone):
        bench.worker.serve()
    assert events == (["restore", "run"] if lives else [])
    assert page.begun() == ((7, 1, IDLE) if lives else (0, 0, IDLE))


def test_a_value(bench: Bench) -> None:
    assert bench.call(add, 1, b=2) == (messages.VALUE, 3)
    assert bench.call(add, [1], [2]) == (messages.VALUE, [1, 2])


def test_an_exception_travels_with_its_traceback(bench: Bench) -> None:
    kind, (blob, text) = bench.call(fail, ValueError("words"))
    assert kind == messages.ERROR
    assert repr(loads(blob)) == "ValueError('words')"
    assert "in fail" in text
    assert "ValueError: words" in text
    assert "engine/child.py" not in text, "the worker's own frames tell a user nothing"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("base")])
def test_what_is_no_ordinary_exception_ends_no_worker(bench: Bench, error: BaseException) -> None:
    what, facts = bench.failure(fail, error)
    assert what == "exited"
    assert facts["type"] == type(error).__name__
    assert facts.get("code") == (3 if isinstance(error, SystemExit) else None)
    assert bench.call(square, 2) == (messages.VALUE, 4)


class OddExit(SystemExit):
    """An exit whose code cannot be asked for."""

    code = property(lambda self: fail(RuntimeError("no code")))  # type: ignore[assignment]


def exit_oddly() -> NoReturn:
    raise OddExit


def exit_with_object() -> NoReturn:
    raise SystemExit(threading.Lock())


def test_codes_of_exits_are_plain(bench: Bench) -> None:
    assert bench.failure(fail, SystemExit("words"))[1]["code"] == "words"
    assert bench.failure(fail, SystemExit(None))[1]["code"] is None
    assert "lock" in bench.failure(exit_with_object)[1]["code"]
    assert "RuntimeError" in bench.failure(exit_oddly)[1]["code"]


class TwoArguments(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fail_with_two_arguments() -> NoReturn:
    raise TwoArguments(1, 2)


def fail_with_local_class() -> NoReturn:
    class Text(str):
        __slots__ = ()

    class Local(Exception):
        def __str__(self) -> str:
            return Text("words")

    raise Local


class LoadsToNothing(Exception):
    def __reduce__(self) -> Any:
        return dict, ()


def fail_with_what_loads_to_nothing() -> NoReturn:
    raise LoadsToNothing("words")


@pytest.mark.parametrize(
    ("func", "words", "problem"),
    [
        (fail_with_two_arguments, "1 and 2", "TypeError"),
        (fail_with_local_class, "words", ""),
        (fail_with_what_loads_to_nothing, "words", "no exception"),
    ],
)
def test_an_exception_that_cannot_travel_is_told(bench: Bench, func: Any, words: str, problem: str) -> None:
    what, facts = bench.failure(func)
    assert what == "pickle-exception"
    assert facts["text"] == words
    assert problem in facts["problem"]
    assert {type(fact) for fact in facts.values()} == {str}, "plain data, which loads anywhere"
    assert "Traceback" in facts["traceback"]


def give_local() -> Any:
    return lambda: None


def give_deep() -> Any:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


class Refuses:
    def __reduce__(self) -> NoReturn:
        raise KeyboardInterrupt

    def __repr__(self) -> NoReturn:
        raise SystemExit


@pytest.mark.parametrize(
    ("func", "kind"), [(give_local, ""), (give_deep, "RecursionError"), (Refuses, "KeyboardInterrupt")]
)
def test_a_result_that_does_not_pickle_is_told(bench: Bench, func: Any, kind: str) -> None:
    what, facts = bench.failure(func)
    assert what == "pickle-result"
    assert kind in facts["type"]
    assert facts["value"]


class Unloadable:
    """Pickles, and raises when it is loaded."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return fail, (self.error,)


@pytest.mark.parametrize("error", [ValueError("words"), SystemExit(1), KeyboardInterrupt()])
def test_an_argument_that_does_not_load_is_told(bench: Bench, error: BaseException) -> None:
    what, facts = bench.failure(square, Unloadable(error))
    assert what == "unpickle-task"
    assert facts["type"] == type(error).__name__


def test_a_payload_of_nonsense_is_told(bench: Bench) -> None:
    bench.ask(7, messages.SINGLE + bytes(messages.NUMBER.size) + b"nonsense")
    with pytest.raises(ParentGone):
        bench.worker.serve()
    [(kind, _, _, data)] = bench.end.frames
    assert kind == messages.FAILED
    assert loads(data)[0] == "unpickle-task"


class Unprintable(Exception):
    def __str__(self) -> NoReturn:
        raise RuntimeError("no words")

    __repr__ = __str__


def test_an_exception_that_cannot_be_printed_travels(bench: Bench) -> None:
    kind, (blob, text) = bench.call(fail, Unprintable())
    assert kind == messages.ERROR
    assert isinstance(loads(blob), Unprintable)
    assert "in fail" in text or "Unprintable" in text


def test_a_traceback_that_cannot_be_formatted_is_told_plainly(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setattr("traceback.format_exception", lambda *_: fail(RuntimeError("no")))
    _, (_, text) = bench.call(fail, ValueError("words"))
    first, *frames, last = text.splitlines()
    assert first == "Traceback (most recent call last):"
    assert [line.rpartition(", ")[2] for line in frames] == ["in fail"]
    assert last == "ValueError: words"


# -- hooks -------------------------------------------------------------------------------------------------------------
def test_after_task_runs_when_the_task_raised(page: Page) -> None:
    bench = Bench(page, after=lambda: note("after"))
    assert bench.call(fail, ValueError())[0] == messages.ERROR
    assert events == ["restore", "after"]


@pytest.mark.parametrize("hook", ["before", "after"])
def test_a_hook_that_raises_is_the_tasks_error(page: Page, hook: str) -> None:
    bench = Bench(page, **{hook: lambda: fail(KeyError("of the hook"))})
    kind, (blob, _) = bench.call(square, 3)
    assert kind == messages.ERROR
    assert isinstance(loads(blob), KeyError)


def test_a_failing_before_task_runs_no_task(page: Page) -> None:
    bench = Bench(page, before=lambda: fail(KeyError()), after=lambda: note("after"))
    bench.call(note, "task")
    assert "task" not in events


def test_when_task_and_hook_raise_the_tasks_error_counts(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(page, after=lambda: fail(KeyError("of the hook")))
    kind, (blob, _) = bench.call(fail, ValueError("of the task"))
    assert kind == messages.ERROR
    assert isinstance(loads(blob), ValueError)
    assert "of the hook" in capsys.readouterr().err
