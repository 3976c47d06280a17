"""The store: order, limits, who is woken when, and what comes back."""

from __future__ import annotations

import pytest

from poolsafe.queues.store import Store
from poolsafe.queues.wire import GONE, OK


class Waiter:
    def __init__(self) -> None:
        self.got: list[object] = []

    def give(self, item: bytes) -> None:
        self.got.append(item)

    def answer(self, status: int) -> None:
        self.got.append(status)


def test_first_in_first_out() -> None:
    store = Store()
    assert [store.put(item) for item in (b"1", b"2", b"3")] == [True] * 3
    assert [store.take() for _ in range(4)] == [b"1", b"2", b"3", None]


@pytest.mark.parametrize("maxsize", [0, -1])
def test_no_limit(maxsize: int) -> None:
    store = Store(maxsize)
    assert all(store.put(b"") for _ in range(100))
    assert not store.full


def test_a_limit_counts_what_is_leased() -> None:
    store = Store(2)
    taker = Waiter()
    store.put(b"1")
    store.take_later(taker)
    store.lease()
    assert (store.size, store.put(b"2"), store.put(b"3")) == (1, True, False)
    store.taken()
    assert store.put(b"3")
    assert taker.got == [b"1"]


def test_who_waits_longest_comes_first() -> None:
    store = Store()
    first, second = Waiter(), Waiter()
    store.take_later(first)
    store.take_later(second)
    store.put(b"1")
    store.put(b"2")
    assert (first.got, second.got) == ([b"1"], [b"2"])


def test_room_goes_to_who_waits_for_it() -> None:
    store = Store(1)
    first, second = Waiter(), Waiter()
    store.put_later(b"1", Waiter())
    store.put_later(b"2", first)
    store.put_later(b"3", second)
    assert store.take() == b"1"
    assert (first.got, second.got, store.size) == ([OK], [], 1)
    assert [store.take(), store.take()] == [b"2", b"3"]
    assert second.got == [OK]


def test_what_comes_back_is_next() -> None:
    store = Store()
    for item in (b"1", b"2", b"3", b"4"):
        store.put(item)
    leased = [store.items.popleft() for _ in range(3)]
    store.lease(3)
    store.taken()
    store.give_back(leased[1:])
    assert [store.take() for _ in range(3)] == [b"2", b"3", b"4"]
    assert store.size == 0


def test_what_comes_back_goes_to_who_waits() -> None:
    store = Store(1)
    taker, putter = Waiter(), Waiter()
    store.put(b"1")
    item = store.items.popleft()
    store.lease()
    store.take_later(taker)
    store.put_later(b"2", putter)
    store.give_back([item])
    assert taker.got == [b"1"]
    assert putter.got == [OK]


def test_join() -> None:
    store = Store()
    early, late = Waiter(), Waiter()
    store.join_later(early)
    assert early.got == [OK]
    store.put(b"")
    store.join_later(late)
    store.take()
    assert late.got == []
    assert store.task_done()
    assert late.got == [OK]
    assert not store.task_done()


def test_who_waits_no_longer_is_passed_over() -> None:
    store = Store(1)
    waiters = [Waiter() for _ in range(3)]
    store.take_later(waiters[0])
    assert store.forget(waiters[0])
    store.put(b"1")
    store.put_later(b"2", waiters[1])
    store.join_later(waiters[2])
    assert store.forget(waiters[1])
    assert store.forget(waiters[2])
    assert store.take() == b"1"
    assert (store.take(), [one.got for one in waiters]) == (None, [[], [], []])
    assert not store.forget(waiters[0])


def test_the_end_is_told_to_all() -> None:
    store = Store(1)
    taker, putter, joiner = Waiter(), Waiter(), Waiter()
    store.take_later(taker)
    store.close()
    store.closed = False
    store.put(b"1")
    store.put_later(b"2", putter)
    store.join_later(joiner)
    store.close()
    assert (taker.got, putter.got, joiner.got) == ([GONE], [GONE], [GONE])
    for begin in (store.take_later, store.join_later, lambda waiter: store.put_later(b"3", waiter)):
        begin(late := Waiter())
        assert late.got == [GONE]


def test_it_knows_whether_several_take_items() -> None:
    store = Store()
    for consumer, shared in (("a", False), ("a", False), ("b", True), ("b", True)):
        store.note_consumer(consumer)
        assert store.shared is shared
