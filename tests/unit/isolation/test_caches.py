"""A bounded `lru_cache` that holds results already: its entries are C's own, so it can be emptied, and only that."""

from __future__ import annotations

import pytest

from tests.unit.isolation.worlds import World, snapshot_of

SOURCE = """
import functools

task = None

@functools.lru_cache(maxsize=8)
def f(x):
    return [x, task]

@functools.lru_cache(maxsize=8)
def table(x):
    return {"x": x}

f(1), f(2), table(1)
"""

TASKS = {
    "more": "[X.f(i) for i in (3, 4)]",
    "more than it holds": "[X.f(i) for i in range(20)]",
    "as many": "[X.f(i) for i in (3, 4)]; X.f.cache_clear(); [X.f(i) for i in (5, 1)]",
    "as many, among them the same": "X.f.cache_clear(); [X.f(i) for i in (1, 2)]",
    "results changed": "X.f(1).append(3); X.f(3).append(4); X.table(1)['y'] = 2",
    "cleared": "X.f.cache_clear()",
    "nothing": "",
}


@pytest.mark.parametrize("first", TASKS)
@pytest.mark.parametrize("then", TASKS)
def test_no_task_gets_what_another_one_computed(world: World, first: str, then: str) -> None:
    app = world(SOURCE)
    captured = snapshot_of("app")
    for number, task in enumerate((first, then, first, first, then, then)):
        captured.restore()
        app.task = number
        found = [app.f(x) for x in (1, 2, 3, 5, 19)]
        assert [one[0] for one in found] == [1, 2, 3, 5, 19]
        assert all(one[1:] in ([None], [number]) for one in found), found
        assert app.table(1) == {"x": 1}
        captured.restore()
        app.task = number
        exec(TASKS[task], {"X": app})


def test_what_nobody_touches_stays(world: World) -> None:
    app = world(SOURCE)
    captured = snapshot_of("app")
    for _ in range(3):
        captured.restore()
        app.task = "task"
        assert (app.f(1), app.f(2)) == ([1, None], [2, None])
