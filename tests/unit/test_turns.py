"""Cases that take turns: each runs under one start method, each test under all."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.turns import by_turns

METHODS = ["fork", "spawn", "forkserver"]


class Item:
    """A collected test, as far as turns are concerned."""

    def __init__(self, test: str, method: str, case: str, *, marked: bool = True) -> None:
        name = "-".join(filter(None, (method, case)))
        self.nodeid = f"{test}[{name}]"
        self.callspec = SimpleNamespace(id=name, params={"start_method": method})
        self.marked = marked

    def get_closest_marker(self, name: str) -> bool:
        return self.marked and name == "turns"


def idle(items: list[Item]) -> set[Any]:
    return by_turns(items)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("count", [3, 4, 7])
def test_each_case_runs_once_and_each_method_is_used(count: int) -> None:
    items = [Item("t", method, f"case{i}") for method, i in product(METHODS, range(count))]
    run = [item.callspec.id.split("-") for item in items if item not in idle(items)]
    assert sorted(case for _, case in run) == [f"case{i}" for i in range(count)]
    assert {method for method, _ in run} == set(METHODS)


def test_few_cases_run_under_all() -> None:
    assert idle([Item("t", method, case) for method, case in product(METHODS, ["a", "b"])]) == set()
    assert idle([Item("t", method, "") for method in METHODS]) == set()


def test_what_is_chosen_already_or_not_marked_is_left_alone() -> None:
    chosen = [Item("t", "fork", f"case{i}") for i in range(5)] + [Item("t", "spawn", "case1")]
    assert idle(chosen) == set()
    assert idle([Item("t", *both, marked=False) for both in product(METHODS, "abcd")]) == set()
