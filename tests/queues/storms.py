"""What must be true after a storm in which workers were killed while they used a queue.

Who uses it: the tests of queues. What may go wrong: an item is missing, doubled or torn, and the assertion says so.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

from tests.support.gates import Tally


def all_there(q: Any, patience: float = 0.5) -> list[Any]:
    """What is in the queue, and what is on its way there from processes that are dead."""
    found = []
    while True:
        try:
            found.append(q.get(timeout=patience))
        except queue.Empty:
            return found


def assert_whole(got: Sequence[Any], tallies: Sequence[Tally]) -> None:
    """Of each producer (`deeds.put_until_killed`) everything has come that it says it put, once, whole, in order."""
    for number, done in enumerate(tallies):
        mine = [item for item in got if item[0] == number]
        put = len(done.entries())
        assert [i for _, i, _ in mine] == list(range(len(mine))), "in order, none missing, none doubled"
        assert put <= len(mine) <= put + 1
        assert all(content == bytes([i % 256]) * (i * 7 % 3000) for _, i, content in mine)
