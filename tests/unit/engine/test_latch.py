"""Latches and waiters: nobody is left waiting, and a signal handler may use what it interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from poolsafe.engine.latch import Latch, Waiters
from tests.support.gates import DEADLINE, wait_for


@pytest.fixture
def on_alarm() -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Has a function called by a signal handler, in the middle of what the main thread does then."""
    before = signal.getsignal(signal.SIGUSR1)

    def arrange(call: Callable[[], Any]) -> None:
        signal.signal(signal.SIGUSR1, lambda *_: call())

    yield arrange
    signal.signal(signal.SIGUSR1, before)


def test_an_open_latch_lets_through_at_once() -> None:
    latch = Latch()
    assert not latch.is_open
    latch.open()
    assert latch.is_open
    assert latch.wait()
    assert latch.wait(0)


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_waiting_ends_with_the_time(timeout: float) -> None:
    assert Latch().wait(timeout) is False


def test_everybody_is_let_through() -> None:
    latch = Latch()
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(latch.wait(DEADLINE))) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(latch._waiters._locks) == 5, what="five waiters")
    latch.open()
    for thread in threads:
        thread.join()
    assert results == [True] * 5


def test_opening_between_the_look_and_the_wait() -> None:
    latch = Latch()
    registering = latch._waiters.register

    class Late(Waiters):
        def register(self) -> Any:
            lock = registering()
            latch.open()
            return lock

    latch._waiters = Late()
    assert latch.wait()  # would wait for ever if it did not look again


def test_a_waiter_that_gave_up_is_forgotten() -> None:
    latch = Latch()
    latch.wait(0)
    assert latch._waiters._locks == []
    latch.open()


def test_a_handler_opens_the_latch_that_it_interrupted(on_alarm: Callable[[Callable[[], Any]], None]) -> None:
    latch = Latch()
    on_alarm(latch.open)
    timer = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1))
    timer.start()
    assert latch.wait(DEADLINE)
    timer.join()


def test_a_handler_waits_for_the_latch_that_it_interrupted(on_alarm: Callable[[Callable[[], Any]], None]) -> None:
    latch = Latch()
    inner: list[bool] = []
    on_alarm(lambda: inner.append(latch.wait(DEADLINE)))
    main = threading.main_thread().ident
    assert main is not None

    def opening() -> None:
        wait_for(lambda: len(latch._waiters._locks) == 1, what="the main thread to wait")
        signal.pthread_kill(main, signal.SIGUSR1)
        wait_for(lambda: len(latch._waiters._locks) == 2, what="the handler to wait")
        latch.open()

    thread = threading.Thread(target=opening)
    thread.start()
    assert latch.wait(DEADLINE)
    assert inner == [True]
    thread.join()


def test_an_interrupted_wait_leaves_the_latch_usable(on_alarm: Callable[[Callable[[], Any]], None]) -> None:
    latch = Latch()

    def interrupt() -> None:
        raise InterruptedError("on purpose")

    on_alarm(interrupt)
    timer = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1))
    timer.start()
    with pytest.raises(InterruptedError, match="on purpose"):
        latch.wait(DEADLINE)
    timer.join()
    latch.open()
    assert latch.wait(0)


def test_waking_twice_is_waking_once() -> None:
    waiters = Waiters()
    lock = waiters.register()
    lock.release()  # as if somebody woke it while it was being registered
    waiters.wake_all()
    assert lock.acquire(timeout=0)
    waiters.forget(lock)


def test_waking_empties_the_list_even_when_others_do_so_too() -> None:
    class Contended(list[Any]):
        def __bool__(self) -> bool:
            return True  # as it was when somebody looked, before another thread took the last one

    waiters = Waiters()
    waiters._locks = Contended()
    lock = waiters.register()
    waiters.wake_all()
    assert lock.acquire(timeout=0)
