"""Running callbacks: in order, in a thread of their own, and whoever does not return holds up nobody for long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from poolsafe.callbacks import PATIENCE, Callbacks
from tests.support.gates import DEADLINE, wait_for


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """Callbacks with a clock, and a callback that blocks until it is let go."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.callbacks = Callbacks(self.clock)
        self.made: list[Any] = []
        self.entered = threading.Event()
        self.go = threading.Event()

    def note(self, what: Any) -> None:
        self.callbacks.post(lambda: self.made.append(what))

    def block(self) -> None:
        def blocking() -> None:
            self.entered.set()
            self.go.wait(DEADLINE)
            self.made.append("unblocked")

        self.callbacks.post(blocking)
        assert self.entered.wait(DEADLINE)

    def wait(self, count: int) -> list[Any]:
        wait_for(lambda: len(self.made) >= count, what=f"{count} callbacks")
        return self.made


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.go.set()
    made.callbacks.close()
    assert made.callbacks.done.wait(DEADLINE)
    made.callbacks.join(DEADLINE)


def test_callbacks_run_in_order_in_one_thread_that_is_not_ours(bench: Bench) -> None:
    threads = set()
    for number in range(50):
        bench.callbacks.post(lambda: threads.add(threading.current_thread()))
        bench.note(number)
    assert bench.wait(50) == list(range(50))
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_no_callback_no_thread() -> None:
    callbacks = Callbacks()
    callbacks.close()
    assert callbacks.done.is_open
    callbacks.join(0)


def test_a_callback_knows_that_it_is_one(bench: Bench) -> None:
    bench.callbacks.post(lambda: bench.made.append((bench.callbacks.inside(), Callbacks().inside())))
    assert bench.wait(1) == [(True, False)]
    assert not bench.callbacks.inside()


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt()])
def test_a_callback_that_raises_ends_nothing(
    bench: Bench, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: hooked.append(args.exc_value))

    def fail() -> None:
        raise error

    bench.callbacks.post(fail)
    bench.note("next")
    assert bench.wait(1) == ["next"]
    assert hooked == [error]


def test_a_hook_that_raises_ends_nothing_either(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("of the hook")

    monkeypatch.setattr(threading, "excepthook", fail)
    bench.callbacks.post(lambda: fail())
    bench.note("next")
    assert bench.wait(1) == ["next"]
    assert "of the hook" in capsys.readouterr().err


def test_a_callback_may_post_another(bench: Bench) -> None:
    bench.callbacks.post(lambda: bench.note("inner"))
    assert bench.wait(1) == ["inner"]


def test_who_does_not_return_is_relieved(bench: Bench) -> None:
    bench.block()
    bench.note("waits")
    assert bench.callbacks.waiting
    bench.clock.now += PATIENCE
    bench.callbacks.relieve()
    assert bench.made == [], "not yet"
    bench.clock.now += 0.01
    bench.callbacks.relieve()
    assert bench.wait(1) == ["waits"]
    bench.note("after")
    assert bench.wait(2) == ["waits", "after"]
    bench.go.set()
    assert bench.wait(3) == ["waits", "after", "unblocked"]
    bench.note("last")
    assert bench.wait(4)[-1] == "last"


def test_nobody_waits_nobody_is_relieved(bench: Bench) -> None:
    bench.block()
    bench.clock.now += 10 * PATIENCE
    before = threading.active_count()
    bench.callbacks.relieve()
    assert threading.active_count() == before
    assert not bench.callbacks.waiting


def test_the_relieved_one_that_returns_leaves_the_queue_to_its_successor(bench: Bench) -> None:
    second = threading.Event()
    bench.block()
    bench.callbacks.post(lambda: (second.wait(DEADLINE), bench.made.append("second")))
    bench.clock.now += 2 * PATIENCE
    bench.callbacks.relieve()
    wait_for(lambda: not bench.callbacks._queue, what="the successor to take over")
    bench.note("third")
    bench.go.set()
    assert bench.wait(1) == ["unblocked"]
    second.set()
    assert bench.wait(3) == ["unblocked", "second", "third"]


def test_done_is_when_the_last_one_has_run(bench: Bench) -> None:
    bench.block()
    bench.note("last")
    bench.callbacks.close()
    assert not bench.callbacks.done.is_open
    bench.go.set()
    assert bench.callbacks.done.wait(DEADLINE)
    assert bench.made == ["unblocked", "last"]


def test_what_is_posted_after_the_end_runs_at_once(bench: Bench) -> None:
    bench.note("before")
    bench.callbacks.close()
    assert bench.callbacks.done.wait(DEADLINE)
    bench.note("after")
    assert bench.made == ["before", "after"]


def test_where_no_thread_can_be_started_the_posting_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    made: list[str] = []
    callbacks = Callbacks()
    callbacks.post(lambda: made.append("one"))
    callbacks.post(lambda: made.append("two"))
    assert made == ["one", "two"]
    callbacks.close()
    assert callbacks.done.is_open


def test_a_callback_keeps_nothing_alive_when_it_is_done(bench: Bench) -> None:
    import weakref

    class Result:
        def call(self) -> None:
            bench.made.append("called")

    result = Result()
    alive = weakref.ref(result)
    bench.callbacks.post(result.call)
    del result
    bench.wait(1)
    wait_for(lambda: alive() is None, what="the result to go")


def test_a_call_that_comes_while_the_runner_ends_is_run() -> None:
    class Late(Callbacks):
        """Closes, and posts once more, in the moment between the runner's last look at the queue and its end."""

        made: list[str] = []

        @property
        def _closed(self) -> bool:
            if threading.current_thread() is self._runner and self.__dict__.get("closed") and not self.made:
                self.made.append("posted")
                self._queue.append(lambda: self.made.append("run"))
            return bool(self.__dict__.get("closed"))

        @_closed.setter
        def _closed(self, value: bool) -> None:
            self.__dict__["closed"] = value

    callbacks = Late()
    first = threading.Event()
    callbacks.post(first.set)
    assert first.wait(DEADLINE)
    callbacks.close()
    assert callbacks.done.wait(DEADLINE)
    wait_for(lambda: callbacks.made == ["posted", "run"], what="the late call")
    callbacks.join(DEADLINE)


def test_two_threads_that_empty_the_queue_run_each_call_once() -> None:
    class Contended(list[Any]):
        def __bool__(self) -> bool:
            return True  # as it was when this thread looked

        def popleft(self) -> Any:
            raise IndexError  # the other one has taken it

    callbacks = Callbacks()
    callbacks._queue = Contended()  # type: ignore[assignment]
    callbacks.close()
    callbacks.post(lambda: None)
    assert len(callbacks._queue) == 1, "left to the thread that has it"
