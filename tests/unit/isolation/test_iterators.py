"""Counters and other iterators begin anew for each task, under all of their names."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from poolsafe.isolation.iterators import maker_of
from tests.unit.isolation.worlds import World, snapshot_of


def take(iterator: Any) -> list[Any]:
    return [next(iterator), next(iterator)]


@pytest.mark.parametrize("reset", ["auto", "app"])
@pytest.mark.parametrize(
    "source",
    [
        "itertools.count()",
        "itertools.count(5)",
        "itertools.count(5, -2)",
        "iter([1, 2, 3])",
        "iter((1, 2, 3))",
        "iter('abc')",
        "iter(b'abc')",
        "iter(bytearray(b'abc'))",
        "iter(range(7))",
        "reversed([1, 2, 3])",
    ],
)
def test_begins_anew(world: World, source: str, reset: str) -> None:
    app = world(f"import itertools\nI = {source}")
    begun = world(f"import itertools\nI = {source}\nnext(I)", name="begun")
    snapshot = snapshot_of(reset, *(["begun"] if reset != "auto" else []))
    expected, later = None, None
    for _ in range(3):
        snapshot.restore()
        seen, seen_later = take(app.I), take(begun.I)
        assert seen_later[0] == seen[1], "one that had begun goes on from there"
        assert seen == (expected or seen)
        assert seen_later == (later or seen_later)
        expected, later = seen, seen_later
        list(itertools.islice(app.I, 100))  # also when it is exhausted


def test_all_names_share_one(world: World) -> None:
    app = world("import itertools\nI = itertools.count()\nnew = I.__next__\nclass C: ids = I\nc = C()\nc.mine = I")
    other = world("from app import I", name="other")
    snapshot = snapshot_of("auto")
    for _ in range(3):
        snapshot.restore()
        assert app.I is other.I is app.C.ids is app.c.mine
        assert [next(app.I), app.new(), next(other.I), next(app.C.ids), next(app.c.mine)] == [0, 1, 2, 3, 4]


def test_names_that_a_task_exchanged(world: World) -> None:
    app = world("import itertools\nI = itertools.count()")
    snapshot = snapshot_of("auto")
    app.I = None
    snapshot.restore()
    assert take(app.I) == [0, 1]
    del app.I
    snapshot.restore()
    assert take(app.I) == [0, 1]


def test_the_many_that_cannot_be_made_anew_are_left_alone(world: World) -> None:
    app = world("import itertools\nG = (i for i in range(9))\nF = itertools.count(0.5)\nM = map(abs, [1, 2, 3])")
    assert [maker_of(value) for value in (app.G, app.F, app.M, 1, None, [].__len__)] == [None] * 6
    snapshot = snapshot_of("auto")
    assert (next(app.G), next(app.F)) == (0, 0.5)
    snapshot.restore()
    assert (next(app.G), next(app.F)) == (1, 1.5)
