"""Results without a pool: what arrives, in which order who hears of it, and what keeps what alive."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import threading
import weakref
from functools import partial
from multiprocessing import pool as stdlib
from typing import Any

import pytest

from poolsafe import errors, results
from poolsafe.engine.state import BROKEN, CANCELLED, LOST, TERMINATED, Fate, Lost
from poolsafe.failures import TaskCancelled
from poolsafe.results import AsyncResult, MapResult
from tests.support.gates import DEADLINE, wait_for

from .fakes import FakeCallbacks, FakeHome, FakePool, error, report, value


class Case:
    """One result and what surrounds it."""

    def __init__(self, length: int | None = None, **callbacks: Any) -> None:
        self.home = FakeHome()
        self.callbacks = FakeCallbacks()
        self.pool = FakePool()
        both = (callbacks.get("callback"), callbacks.get("error_callback"))
        rest: Any = (self.pool, self.home, self.callbacks, *both)
        self.result: Any = AsyncResult(*rest) if length is None else MapResult(length, *rest)


TERMINATION = (TERMINATED, (None, True))
BREAK = (BROKEN, ((("raised", {"type": "ValueError", "text": "x"}), 5), False))


def test_a_value_arrives() -> None:
    case = Case()
    assert not case.result.ready()
    with pytest.raises(ValueError, match="not ready"):
        case.result.successful()
    case.result.arrive(0, *value([1, 2]))
    assert case.result.ready()
    assert case.result.successful()
    assert case.result.get() == [1, 2]
    assert case.result.get(0) is case.result.get(), "decoded once"
    case.result.wait()


def test_an_exception_arrives() -> None:
    case = Case()
    case.result.arrive(0, *error(KeyError("missing"), "told by the worker"))
    assert not case.result.successful()
    with pytest.raises(KeyError, match="missing") as caught:
        case.result.get()
    assert isinstance(caught.value.__cause__, stdlib.RemoteTraceback)  # type: ignore[attr-defined]
    assert "told by the worker" in str(caught.value.__cause__)


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_what_is_not_there_in_time(timeout: float) -> None:
    case = Case()
    with pytest.raises(multiprocessing.TimeoutError):
        case.result.get(timeout)
    assert case.result.wait(timeout) is None
    assert case.result._waiters._locks == [], "nobody is left registered"


def test_who_waits_for_long_has_the_supervisor_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "PATIENCE", 0.01)
    case = Case()
    case.result.wait(0.005)
    assert case.home.roused <= 1
    case.result.wait(0.05)
    assert case.home.roused >= 1
    threading.Timer(0.05, case.result.arrive, (0, *value(1))).start()
    assert case.result.get() == 1


def test_many_threads_get_the_same_object() -> None:
    case = Case()
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(case.result.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(case.result._waiters._locks) == 8, what="eight waiters")
    case.result.arrive(0, *value(["the one"]))
    for thread in threads:
        thread.join(DEADLINE)
    assert len(got) == 8
    assert len(set(map(id, got))) == 1


def test_the_callback_comes_first_then_the_result_is_ready() -> None:
    seen: list[Any] = []
    case = Case(callback=lambda value: seen.append((value, case.result.ready())))
    case.result.arrive(0, *value(5))
    assert not case.result.ready()
    case.callbacks.run()
    assert seen == [(5, False)]
    assert case.result.get() == 5


def test_the_error_callback_gets_the_exception() -> None:
    seen: list[Any] = []
    case = Case(callback=lambda _: seen.append("wrong"), error_callback=seen.append)
    case.result.arrive(0, *error(ValueError("x")))
    case.callbacks.run()
    assert len(seen) == 1
    with pytest.raises(ValueError, match="x") as caught:
        case.result.get()
    assert caught.value is seen[0]


@pytest.mark.parametrize("which", ["callback", "error_callback"])
def test_the_other_callback_is_not_called(which: str) -> None:
    seen: list[Any] = []
    case = Case(**{which: seen.append})
    case.result.arrive(0, *(error(ValueError()) if which == "callback" else value(1)))
    case.callbacks.run()
    assert case.result.ready()
    assert seen == []


def test_a_callback_that_raises_leaves_the_result_ready() -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("of the callback")

    case = Case(callback=fail)
    case.result.arrive(0, *value(1))
    with pytest.raises(RuntimeError, match="of the callback"):
        case.callbacks.run()
    assert case.result.get() == 1


@pytest.mark.parametrize(
    ("outcome", "expected"), [(TERMINATION, errors.PoolTerminated), (BREAK, errors.InitializerError)]
)
def test_when_the_pool_ends_nobody_waits_for_callbacks(outcome: Any, expected: Any) -> None:
    seen: list[Any] = []
    case = Case(error_callback=seen.append)
    case.result.arrive(0, *outcome)
    assert case.result.ready()
    with pytest.raises(expected):
        case.result.get()
    assert seen == []
    case.callbacks.run()
    assert isinstance(seen[0], expected)


def test_a_result_keeps_the_pool_only_while_it_is_pending() -> None:
    case = Case(callback=print)
    alive = weakref.ref(case.pool)
    del case.pool
    gc.collect()
    assert alive() is not None
    case.result.arrive(0, *error(ValueError()))
    case.callbacks.run()
    gc.collect()
    assert alive() is None


def test_in_a_forked_child_it_can_never_come() -> None:
    case = Case()
    case.home.foreign = True
    with pytest.raises(errors.WrongProcess, match="result"):
        case.result.get()
    case.result.arrive(0, *value(1))
    assert case.result.get() == 1, "what had come before the fork can be used"


class Slow:
    """Takes its time, or is interrupted, when it is unpickled."""

    hook: Any = None

    def __reduce__(self) -> Any:
        return rebuild_slow, ()


def rebuild_slow() -> str:
    hook, Slow.hook = Slow.hook, None
    if hook is not None:
        hook()
    return "slow"


def test_two_threads_that_decode_at_once_agree() -> None:
    case = Case()
    case.result.arrive(0, *value(Slow()))
    inner: list[Any] = []
    Slow.hook = lambda: inner.append(case.result.get())
    assert case.result.get() is inner[0]


def test_ctrl_c_while_unpickling_is_the_users() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    case = Case()
    case.result.arrive(0, *value(Slow()))
    Slow.hook = interrupt
    with pytest.raises(KeyboardInterrupt):
        case.result.get()
    assert case.result.get() == "slow", "nothing is lost by it"


def test_the_result_is_one_of_multiprocessings() -> None:
    assert isinstance(Case().result, stdlib.AsyncResult)
    assert isinstance(Case(2).result, stdlib.MapResult)


# -- maps --------------------------------------------------------------------------------------------------------------
def test_a_map_is_ready_when_all_is_there() -> None:
    case = Case(3)
    case.result.arrive_at(1, 1, *value("c"))
    case.result.arrive_at(1, 0, *value("b"))
    assert not case.result.ready()
    case.result.arrive_at(0, 0, *value("a"))
    assert case.result.get() == ["a", "b", "c"]
    assert case.result.successful()


def test_an_empty_map_is_ready_at_once_and_calls_nobody() -> None:
    case = Case(0, callback=lambda _: pytest.fail("called"))
    assert case.result.ready()
    assert case.result.successful()
    assert case.result.get() == []
    assert case.callbacks.posted == []


def test_a_map_raises_the_error_of_its_first_item_that_failed() -> None:
    seen: list[Any] = []
    case = Case(3, error_callback=seen.append)
    case.result.arrive_at(2, 0, *error(KeyError("third")))
    case.result.arrive_at(1, 0, *error(ValueError("second")))
    assert not case.result.ready()
    case.result.arrive_at(0, 0, *value("a"))
    case.callbacks.run()
    with pytest.raises(ValueError, match="second"):
        case.result.get()
    assert [str(one) for one in seen] == ["second"]


def test_an_error_of_a_map_names_its_item() -> None:
    case = Case(3)
    case.result.arrive_at(0, 0, *value(1))
    case.result.arrive_at(1, 0, *value(2))
    case.result.arrive_at(1, 1, LOST, Lost(Fate(77, -9), True, 1))
    with pytest.raises(errors.WorkerLost, match=r"item 2") as caught:
        case.result.get()
    assert caught.value.item == 2


def test_a_value_of_a_map_that_does_not_load_names_its_item() -> None:
    case = Case(2)
    case.result.arrive_at(0, 0, *value(1))
    case.result.arrive_at(1, 0, value(1)[0], b"nonsense")
    with pytest.raises(errors.ResultUnpicklingError) as caught:
        case.result.get()
    assert caught.value.item == 1


@pytest.mark.parametrize("outcome", [TERMINATION, BREAK])
def test_a_map_that_the_pools_end_cuts_short_waits_for_no_callback(outcome: Any) -> None:
    case = Case(2, error_callback=print)
    case.result.arrive_at(0, 0, *value(1))
    case.result.arrive_at(1, 0, *outcome)
    assert case.result.ready()
    assert len(case.callbacks.posted) == 1


def test_a_map_with_an_ordinary_error_waits_for_its_callback() -> None:
    case = Case(1, error_callback=lambda _: None)
    case.result.arrive_at(0, 0, *report("exited", type="SystemExit", code=3))
    assert not case.result.ready()
    case.callbacks.run()
    assert case.result.ready()


def test_arrivals_in_many_threads_are_counted() -> None:
    count = 2000
    case = Case(count)
    parts = [range(start, count, 4) for start in range(4)]

    def arrive(part: range) -> None:
        for index in part:
            case.result.arrive_at(0, index, *value(index))

    threads = [threading.Thread(target=arrive, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert case.result.get(DEADLINE) == list(range(count))


def test_wrong_process_says_what_and_what_to_do() -> None:
    made = results.wrong_process("pool")
    assert made.fact == "this pool belongs to another process"
    assert made.cause
    assert made.remedy
    assert str(pickle.loads(pickle.dumps(made))) == str(made)


def test_chunks_that_are_left_can_be_counted() -> None:
    case = Case(5)
    case.result._chunksize = 2
    left = [case.result._number_left]
    for index in range(5):
        case.result.arrive_at(0, index, *value(index))
        left.append(case.result._number_left)
    assert left == [3, 2, 2, 1, 1, 0]


def test_a_thread_that_comes_late_to_the_decoding_gets_what_another_made() -> None:
    class Late(AsyncResult[Any]):
        @property
        def _outcome(self) -> Any:  # asked for after the look at what is decoded: another thread was faster
            self.__dict__["_decoded"] = (True, "made by another")

        @_outcome.setter
        def _outcome(self, _: Any) -> None: ...

    rest: Any = (FakePool(), FakeHome(), FakeCallbacks(), None, None)
    result = Late(*rest)
    result._become_ready()
    assert result.get() == "made by another"


# -- calling off -------------------------------------------------------------------------------------------------------
OFF = CANCELLED, True


@pytest.mark.parametrize("length", [None, 1])
@pytest.mark.parametrize("heard", [False, True])
def test_what_is_called_off_is(length: int | None, heard: bool) -> None:
    case = Case(length, **({"error_callback": repr} if heard else {}))
    arrive = case.result.arrive if length is None else partial(case.result.arrive_at, 0)  # type: ignore[attr-defined]
    case.home.meanwhile = lambda: arrive(0, *OFF)
    assert case.result.cancel() is True
    assert case.result.cancel() is False
    case.callbacks.run()
    assert case.result.cancelled()
    with pytest.raises(TaskCancelled):
        case.result.get(0)


@pytest.mark.parametrize("length", [None, 1])
@pytest.mark.parametrize("heard", [False, True])
def test_what_is_done_just_then_is_not(length: int | None, heard: bool) -> None:
    case = Case(length, **({"callback": repr} if heard else {}))
    arrive = case.result.arrive if length is None else partial(case.result.arrive_at, 0)  # type: ignore[attr-defined]
    case.home.meanwhile = lambda: arrive(0, *value(3))
    assert case.result.cancel() is False
    case.callbacks.run()
    assert not case.result.cancelled()
    assert case.result.get(0) == (3 if length is None else [3])


def test_what_nobody_has_carried_out_yet_is_believed_to_be() -> None:
    assert Case().result.cancel() is True


@pytest.mark.parametrize("outcome", [value, error])
def test_the_error_of_another_task_that_was_called_off_is_nothing(outcome: Any) -> None:
    """A task may have a pool of its own, and give back what became of a task there."""
    case = Case()
    case.home.meanwhile = lambda: case.result.arrive(0, *outcome(TaskCancelled("fact", cause="", remedy="")))
    assert case.result.cancel() is False
    assert not case.result.cancelled()
