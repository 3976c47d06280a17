"""What a program is told of its leaks: as data, as a table, and what to do about them."""

from __future__ import annotations

import json
import pickle
import sys
import threading
from collections.abc import Sequence

import pytest

from poolsafe.leaks import Leak, Leaks


def leaks(*found: tuple[int, str, str, str]) -> Leaks:
    """Make leaks from (index, path, before, after)."""
    made = Leaks()
    for index, path, before, after in found:
        made.add(Leak("work", index, "(x,)", path, before, after))
    return made


def test_nothing_was_found() -> None:
    none = Leaks()
    assert not none
    assert list(none) == []
    assert str(none) == "no leaks"
    assert none.advice() == none.as_data() == []
    assert none.by_path() == {}


def test_as_a_sequence() -> None:
    found = leaks((0, "a.x", "1", "2"), (1, "a.y", "1", "2"), (2, "a.x", "1", "3"))
    assert isinstance(found, Sequence)
    assert len(found) == 3
    assert found[0].path == "a.x"
    assert [leak.index for leak in found] == [0, 1, 2]
    assert [leak.index for leak in found[1:]] == [1, 2]
    assert found[-1] in found
    assert {path: len(listed) for path, listed in found.by_path().items()} == {"a.x": 2, "a.y": 1}
    assert "3 leaks" in repr(found)


def test_as_data_that_can_travel() -> None:
    found = leaks((7, "app.x", "1", "2"))
    data = json.loads(json.dumps(found.as_data()))
    assert data == [{"function": "work", "index": 7, "arguments": "(x,)", "path": "app.x", "before": "1", "after": "2"}]
    assert Leak(**data[0]) == found[0] == pickle.loads(pickle.dumps(found[0]))


def test_only_so_many_are_kept() -> None:
    made = Leaks(limit=3)
    for index in range(5):
        made.add(Leak("work", index, "()", "a.x", "1", "2"))
    assert [leak.index for leak in made] == [0, 1, 2]
    assert made.dropped == 2
    assert "2 more" in str(made)
    assert "5 leaks" in repr(made)


def test_threads_may_add() -> None:
    made = Leaks(limit=500)
    leak = Leak("work", 0, "()", "a.x", "1", "2")
    threads = [threading.Thread(target=lambda: [made.add(leak) for _ in range(300)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 500
    assert made.dropped == 700


# -- the table --------------------------------------------------------------------------------------------------------


def test_the_table_groups_by_path() -> None:
    found = leaks((0, "app.cache['a']", "absent", "1"), (0, "app.n", "0", "1"), (1, "app.n", "0", "1"))
    assert str(found).splitlines() == [
        "app.cache['a']   1 task  absent -> 1  by work(x,), task 0",
        "app.n           2 tasks  0 -> 1  by work(x,), task 0",
    ]


def test_several_changes_by_one_task_count_once() -> None:
    found = leaks((0, "app.s", "with 1", "without 1"), (0, "app.s", "with 2", "without 2"))
    assert "  1 task  " in str(found)


@pytest.mark.parametrize("path", ["app.x", "app." + "x" * 60, "app." + "x" * 110])
def test_long_rows_are_wrapped(path: str) -> None:
    text = str(leaks((0, path, "b" * 80, "a " * 40), (0, "app.y", "1", "2")))
    assert all(len(line) <= 130 for line in text.splitlines())
    assert "".join(text.split()).count("b" * 80) == 1
    assert "by work(x,), task 0" in text


def test_the_table_has_an_end() -> None:
    text = str(leaks(*((0, f"app.d[{at}]", "absent", "1") for at in range(150))))
    assert text.splitlines()[-1] == "... and 50 more paths"
    assert "app.d[99]" in text
    assert "app.d[100]" not in text


def test_what_is_only_counted_has_no_arrow() -> None:
    assert "app.x  1 task  ... and 5 more  by" in str(leaks((0, "app.x", "", "... and 5 more")))


# -- advice -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["None", "absent"])
def test_an_object_that_every_task_builds_again(before: str) -> None:
    built = "<app.Client object>"
    (sentence,) = leaks((0, "app._client", before, built), (4, "app._client", before, built)).advice()
    assert 'keep="app:_client"' in sentence
    assert "initializer=" in sentence
    assert "2 so far" in sentence


@pytest.mark.parametrize(
    "found",
    [
        [(0, "app._client", "None", "<C object>")],  # once is no habit
        [(0, "app.a", "None", "<C object>"), (1, "app.b", "None", "<C object>")],
        [(0, "app.a", "<C object>", "None"), (1, "app.a", "<C object>", "None")],
        [(0, "app.a", "None", "<C object>"), (1, "app.a", "<C object>", "another <C object>")],
        [(0, "app.a", "1", "2"), (1, "app.a", "1", "2")],
        [(0, "app.a[0]", "1", "absent"), (1, "app.a[1]", "absent", "2")],  # a container that shrinks, too
    ],
)
def test_nothing_to_advise(found: list[tuple[int, str, str, str]]) -> None:
    assert leaks(*found).advice() == []


@pytest.mark.parametrize(
    ("paths", "target"),
    [
        (["app.cache['a']", "app.cache['b']"], "app:cache"),
        (["app.x[1]", "app.x[1]"], "app:x"),
        (["app.cache['runs'][0]", "app.cache['runs'][1]"], "app:cache"),
        (["app.cache['a]b']", "app.cache['[\\'']"], "app:cache"),
        (["app.f.__defaults__[0][0]", "app.f.__defaults__[0][0]"], "app:f"),
        (["app.f.<locals>.seen[0]", "app.f.<locals>.seen[0]"], "app:f"),
        (["app.cache[(1, 'a')]", "app.cache[(2, 'b')]"], "app:cache"),
    ],
)
def test_a_container_that_grows(paths: list[str], target: str) -> None:
    found = leaks(*((at, path, "absent", "1") for at, path in enumerate(paths)))
    (sentence,) = found.advice()
    assert f'keep="{target}"' in sentence
    assert "grew in 2 tasks" in sentence


@pytest.mark.parametrize(("before", "after"), [("without 1", "with 1"), ("a cache of 0 entries", "a cache of 1 entry")])
def test_sets_and_caches_that_grow(before: str, after: str) -> None:
    (sentence,) = leaks((0, "app.f", before, after), (1, "app.f", before, after)).advice()
    assert 'keep="app:f"' in sentence


def test_targets_know_where_the_module_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pkg", "pkg.mod"):
        monkeypatch.setitem(sys.modules, name, sys)
    found = leaks(*((at, "pkg.mod.Class.cache[1]", "absent", "1") for at in range(2)))
    assert 'keep="pkg.mod:Class.cache"' in found.advice()[0]


def test_no_target_no_advice() -> None:
    assert leaks(*((at, "<list>[1]", "absent", "1") for at in range(2))).advice() == []
