"""What is done on the originals of carried queues."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

from poolsafe.engine.messages import loads
from poolsafe.queues.carried import ThreadQueue


class Contended:
    """A SimpleQueue of which others are quicker for a while; its own waiting may never end, and is not to be used."""

    def __init__(self, looks: int) -> None:
        self.answers: Iterator[Any] = iter([queue.Empty] * looks + ["item"])
        self.put_items: list[Any] = []

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        assert not block, "with a timeout, CPython's may wait for ever"
        answer = next(self.answers)
        if answer is queue.Empty:
            raise queue.Empty
        return answer

    def put(self, item: Any) -> None:
        self.put_items.append(item)


@pytest.mark.parametrize("looks", [0, 1, 5])
def test_a_simple_queue_is_looked_into_again_and_again(looks: int) -> None:
    original = Contended(looks)
    loan = ThreadQueue(original).take(60)
    assert loan is not None
    assert loads(loan.data) == "item"
    loan.put_back()
    assert original.put_items == ["item"]


def test_a_simple_queue_that_stays_empty() -> None:
    carried = ThreadQueue(queue.SimpleQueue())
    assert carried.take(0) is None
    assert carried.take(0.002) is None


def test_a_queue_that_can_be_waited_for() -> None:
    original: queue.Queue[int] = queue.Queue()
    carried = ThreadQueue(original)
    assert carried.take(0.002) is None
    original.put(3)
    loan = carried.take(60)
    assert loan is not None
    assert loads(loan.data) == 3
    loan.put_back()
    assert original.get_nowait() == 3
