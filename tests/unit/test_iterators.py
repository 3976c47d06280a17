"""Iterators over results, without a pool: order, ends, timeouts, several consumers."""

from __future__ import annotations

import gc
import multiprocessing
import threading
import weakref
from multiprocessing import pool as stdlib
from typing import Any

import pytest

from poolsafe import errors
from poolsafe.engine.state import CANCELLED, EXHAUSTED, TERMINATED
from poolsafe.iterators import IMapIterator, IMapUnorderedIterator
from tests.support.gates import DEADLINE, wait_for

from .fakes import FakeHome, FakePool, error, value

TERMINATION = (TERMINATED, (None, True))


@pytest.fixture(params=[IMapIterator, IMapUnorderedIterator])
def either(request: pytest.FixtureRequest) -> Any:
    return request.param(FakePool(), FakeHome())


@pytest.fixture
def ordered() -> Any:
    return IMapIterator(FakePool(), FakeHome())


@pytest.fixture
def unordered() -> Any:
    return IMapUnorderedIterator(FakePool(), FakeHome())


def test_results_come_in_the_order_of_the_input(ordered: Any) -> None:
    ordered.arrive_at(2, 0, *value("c"))
    ordered.arrive_at(0, 1, *value("b"))
    with pytest.raises(multiprocessing.TimeoutError):
        ordered.next(0)
    ordered.arrive_at(0, 0, *value("a"))
    ordered.end_at(3)
    assert list(ordered) == ["a", "b", "c"]


def test_results_come_in_the_order_of_their_coming(unordered: Any) -> None:
    unordered.arrive_at(2, 0, *value("c"))
    assert next(unordered) == "c"
    unordered.arrive_at(0, 1, *value("b"))
    unordered.arrive_at(0, 0, *value("a"))
    unordered.end_at(3)
    assert list(unordered) == ["b", "a"]


def test_iterating_is_asking_for_the_next(either: Any) -> None:
    assert iter(either) is either
    either.end_at(0)
    assert list(either) == []
    for _ in range(2):
        with pytest.raises(StopIteration):
            either.next()


def test_an_error_costs_its_item_alone(either: Any) -> None:
    either.arrive_at(0, 0, *value("a"))
    either.arrive_at(1, 0, *error(KeyError("b"), "told by the worker"))
    either.arrive_at(2, 0, *value("c"))
    either.end_at(3)
    assert next(either) == "a"
    with pytest.raises(KeyError, match="b") as caught:
        next(either)
    assert "told by the worker" in str(caught.value.__cause__)
    assert next(either) == "c"
    with pytest.raises(StopIteration):
        next(either)


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_a_timeout_loses_nothing(either: Any, timeout: float) -> None:
    for _ in range(2):
        with pytest.raises(multiprocessing.TimeoutError):
            either.next(timeout)
    assert either._waiters._locks == []
    either.arrive_at(0, 0, *value("a"))
    assert either.next(timeout) == "a"


def test_a_result_wakes_who_waits(either: Any) -> None:
    threading.Timer(0.03, either.arrive_at, (0, 0, *value("a"))).start()
    assert either.next(DEADLINE) == "a"
    threading.Timer(0.03, either.end_at, (1,)).start()
    with pytest.raises(StopIteration):
        either.next()


def test_a_result_that_comes_while_the_consumer_registers(either: Any) -> None:
    registering = either._waiters.register

    def register() -> Any:
        either._waiters.register = registering
        either.arrive_at(0, 0, *value("a"))  # wakes those who registered before
        return registering()

    class Waiters:
        wake_all = either._waiters.wake_all
        forget = either._waiters.forget

    waiters: Any = Waiters()
    waiters.register = register
    either._waiters = waiters
    assert either.next(DEADLINE) == "a"


def test_two_consumers_share_it(either: Any) -> None:
    count = 500
    got: list[Any] = []

    def consume() -> None:
        got.extend(either)

    consumers = [threading.Thread(target=consume) for _ in range(3)]
    for thread in consumers:
        thread.start()
    for index in range(count):
        either.arrive_at(0, index, *value(index))
    either.end_at(count)
    for thread in consumers:
        thread.join(DEADLINE)
    assert sorted(got) == list(range(count))


def test_one_consumer_moves_on_what_another_looks_at(ordered: Any) -> None:
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.append(ordered.next()))
    ordered.arrive_at(1, 0, *value("b"))
    waiting.start()
    wait_for(lambda: len(ordered._waiters._locks) == 1, what="the other consumer")
    # The other one waits for item 0; when we take that, it must look at item 1.
    ordered._arrived[0] = ordered._arrived[1]._replace(data=value("a")[1])
    assert ordered.next() == "a"
    waiting.join(DEADLINE)
    assert got == ["b"]


def test_the_pools_end_comes_after_what_had_come(either: Any) -> None:
    either.arrive_at(0, 0, *value("a"))
    assert not either.is_cut
    either.ended(0, *TERMINATION)
    assert either.is_cut
    assert next(either) == "a"
    with pytest.raises(errors.PoolTerminated):
        next(either)
    assert list(either) == [], "it is told once, as by a generator"


def test_the_pools_end_wakes_who_waits(either: Any) -> None:
    threading.Timer(0.03, either.ended, (0, *TERMINATION)).start()
    with pytest.raises(errors.PoolTerminated):
        either.next(DEADLINE)


def test_an_input_that_ended_is_not_cut(either: Any) -> None:
    either.end_at(0)
    either.ended(0, EXHAUSTED, None)
    either.ended(0, *TERMINATION)
    assert not either.is_cut
    assert list(either) == []


def test_the_pool_lives_as_long_as_results_may_come(either: Any) -> None:
    alive = weakref.ref(either._pool)
    either.arrive_at(0, 0, *value("a"))
    assert next(either) == "a"
    gc.collect()
    assert alive() is not None
    either.end_at(1)
    assert list(either) == []
    gc.collect()
    assert alive() is None


def test_a_pool_that_ended_is_let_go(either: Any) -> None:
    alive = weakref.ref(either._pool)
    either.ended(0, *TERMINATION)
    gc.collect()
    assert alive() is None


def test_in_a_forked_child_nothing_can_come(either: Any) -> None:
    either.arrive_at(0, 0, *value("a"))
    either._home.foreign = True
    assert next(either) == "a", "what had come before the fork can be used"
    with pytest.raises(errors.WrongProcess, match="iterator"):
        next(either)


def test_there_is_room_until_too_much_is_unsettled(either: Any) -> None:
    either.wait_for_room(given=3, ahead=4)
    waiting = threading.Thread(target=either.wait_for_room, args=(4, 4))
    waiting.start()
    wait_for(lambda: len(either._room._locks) == 1, what="the feeder to wait")
    either.arrive_at(0, 0, *value("a"))
    waiting.join(DEADLINE)
    assert not waiting.is_alive()


def test_the_pools_end_makes_room(either: Any) -> None:
    waiting = threading.Thread(target=either.wait_for_room, args=(9, 4))
    waiting.start()
    wait_for(lambda: len(either._room._locks) == 1, what="the feeder to wait")
    either.ended(0, *TERMINATION)
    waiting.join(DEADLINE)
    assert not waiting.is_alive()


def test_room_that_is_made_while_the_feeder_registers(either: Any) -> None:
    registering = either._room.register

    class Room:
        wake_all = either._room.wake_all
        forget = either._room.forget

        def register(self) -> Any:
            either.arrive_at(0, 0, *value("a"))
            return registering()

    either._room = Room()
    either.wait_for_room(given=1, ahead=1)


def test_they_are_multiprocessings() -> None:
    assert issubclass(IMapIterator, stdlib.IMapIterator)
    assert issubclass(IMapUnorderedIterator, stdlib.IMapUnorderedIterator)


def test_what_is_called_off_says_so(either: Any) -> None:
    either._home.meanwhile = lambda: either.arrive_at(0, 0, CANCELLED, True)
    either.end_at(1)
    assert either.cancel() is True
    assert either.cancelled()
    assert either.cancel() is False


def test_what_is_done_just_then_is_not_called_off(either: Any) -> None:
    either._home.meanwhile = lambda: either.arrive_at(0, 0, *value("a"))
    either.end_at(1)
    assert either.cancel() is False
    assert not either.cancelled()
    assert list(either) == ["a"]
