"""`verify`: it finds what disturbs what, blames nobody else, and says so the same way each time."""

from __future__ import annotations

import array
import functools
import pickle
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

import numpy
import pytest

from poolsafe.alike import same, same_error
from poolsafe.errors import WorkerLost
from poolsafe.verdict import TRACED, Report
from poolsafe.verification import verify
from tests.support import disturbed
from tests.support.disturbed import Opaque

ITEMS = range(6)
check = functools.partial(verify, processes=2)


def test_the_pool_isolates(ctx: BaseContext) -> None:
    report = check(disturbed.grow, range(3), context=ctx)
    assert report
    assert report.ok
    assert (report.items, report.rounds, report.runs, report.differences) == (3, 3, 3 + 3 * 3, ())
    assert str(report) == (
        "tests.support.disturbed.grow, isolation='globals', seed=0: 3 items, 3 rounds, 12 calls\n"
        "Every result is the same as alone in a fresh process."
    )


def test_without_isolation_it_finds_the_pair(ctx: BaseContext) -> None:
    report = check(disturbed.poisoned, [2, 3], context=ctx, isolation=None, rounds=2)
    assert not report
    assert report.different == 1
    (found,) = report.differences
    assert (found.item, found.index, found.expected, found.got, found.after) == (2, 0, 2, -3, (3,))
    assert found.repeated
    assert [leak.path for leak in found.changed] == ["tests.support.disturbed.seen[0]"]
    assert "right after 3\n  which changed " in str(report)


def test_one_predecessor_out_of_many() -> None:
    report = check(disturbed.poisoned, range(12), isolation=None)
    assert report.different == 11
    assert len(report.differences) == TRACED
    assert {found.after for found in report.differences} == {(3,)}
    assert "... and 3 more" in str(report)


def test_two_predecessors_that_it_takes_together() -> None:
    report = check(disturbed.poisoned_by_two, ITEMS, isolation=None)
    assert sorted(found.item for found in report.differences) == [0, 3, 4, 5]
    assert {tuple(sorted(found.after)) for found in report.differences} == {(1, 2)}


def test_two_rounds_have_each_item_run_after_each_other() -> None:
    for seed in range(3):
        assert not check(disturbed.poisoned, [3, 0], isolation=None, rounds=2, seed=seed)


def test_a_single_item_runs_after_itself() -> None:
    report = check(disturbed.grow, [7], isolation=None)
    (found,) = report.differences
    assert (found.expected, found.got, found.after) == ([7], [7, 7], (7,))
    assert check(disturbed.grow, [7])


def test_an_error_is_a_result() -> None:
    assert check(disturbed.fail, ITEMS, isolation=None)
    report = check(disturbed.fail_later, [0, 1], isolation=None, rounds=2)
    assert [str(found.got) for found in report.differences] == ["0 is not the first", "1 is not the first"]
    assert "it gave     an error, ValueError(" in str(report)


def test_a_task_that_kills_its_worker_disturbs_nobody() -> None:
    assert check(disturbed.die, range(3), isolation=None)


def test_what_differs_even_alone_is_blamed_on_nobody() -> None:
    report = check(disturbed.which_process, [0, 1])
    assert not report
    assert (report.different, report.differences) == (0, ())
    assert [(found.index, found.after) for found in report.unsteady] == [(0, ()), (1, ())]
    assert "2 of 2 results differ even alone" in str(report)


def test_results_without_equality_are_compared_by_what_they_hold() -> None:
    assert check(disturbed.opaque, ITEMS, isolation=None)


def test_key_says_what_counts() -> None:
    assert check(disturbed.rounded, ITEMS, isolation=None, key=round)
    assert not check(disturbed.rounded, ITEMS, isolation=None)


def test_keep_and_reset_are_those_of_the_pool() -> None:
    assert not check(disturbed.grow, ITEMS, keep="tests.support.disturbed:seen")
    assert check(disturbed.grow, ITEMS, reset="tests.support.disturbed:seen")


def test_a_difference_that_does_not_come_again() -> None:
    """As of a function that hangs on timing: it is reported, with all that ran before, and marked."""
    from poolsafe import verification

    class Lab(verification._Lab):
        def lasts(self, befores: Any, index: int) -> list[Any]:
            return [verification._Outcome(0) for _ in befores]

    lab = Lab(disturbed.square, [0, 1, 2], None, 1, None, {})
    alone, got = verification._Outcome(0), verification._Outcome("else")
    (found,) = verification._trace(lab, [alone] * 3, {2: ([0, 1], got)})
    assert (found.after, found.got, found.repeated, found.changed) == ((0, 1), "else", False, ())
    assert "but not when tried again" in str(found)


def test_equal_seeds_give_equal_reports() -> None:
    def tell(seed: int) -> str:
        return str(check(disturbed.poisoned_by_two, ITEMS, isolation=None, seed=seed))

    assert tell(5) == tell(5)


def test_all_outcomes_come_of_the_order_that_is_named() -> None:
    """What the search builds on: an order runs as it is, in a worker of its own."""
    from poolsafe import verification

    lab = verification._Lab(disturbed.grow, [0, 1, 2], None, 2, None, {"isolation": None})
    orders = [[2, 1, 0], [0, 1, 2], [1, 1, 1], [0, 2, 0]]
    seen = [[outcome.value for outcome in outcomes] for outcomes in lab.run(orders)]
    assert seen == [[order[: end + 1] for end in range(3)] for order in orders]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"items": []}, ValueError, "there are no items"),
        ({"rounds": 0}, ValueError, "rounds must be at least 1"),
        ({"rounds": "3"}, TypeError, "rounds must be an int"),
        ({"seed": None}, TypeError, "seed must be an int"),
        ({"func": 3}, TypeError, "func must be a callable, not int"),
        ({"key": "x"}, TypeError, "key must be a callable, not str"),
        ({"func": lambda item: item}, TypeError, "func cannot be sent to a worker"),
        ({"items": [1, lambda: 2]}, TypeError, "item 1 cannot be sent to a worker"),
        ({"isolation": "nonsense"}, ValueError, "isolation='nonsense'"),
        ({"reset": "tests.support.disturbed:nothing"}, ValueError, "nothing"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], error: type[Exception], words: str) -> None:
    arguments: dict[str, Any] = {"func": disturbed.square, "items": [1], **change}
    with pytest.raises(error, match=words):
        verify(arguments.pop("func"), arguments.pop("items"), **arguments)


def test_a_report_is_what_it_says() -> None:
    report = Report("f", 1, 1, 2, None, 0)
    assert report
    assert str(report).startswith("f, isolation=None, seed=0: 1 item, 1 round, 2 calls\n")
    with pytest.raises(AttributeError):
        report.different = 1  # type: ignore[misc]


# -- when two results are the same -------------------------------------------------------------------------------------
@dataclass(eq=False)
class Plain:
    value: Any


class Rude:
    def __init__(self, value: int = 0) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = object.__hash__


class Vague:
    """Like arrays and frames, it compares its parts, and gives no truth value."""

    def __init__(self, *parts: int) -> None:
        self.parts = parts

    def __eq__(self, other: object) -> Any:
        return [True, False]

    __hash__ = object.__hash__


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Loose(list[Any]):
    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]


def knot(value: Any) -> list[Any]:
    loop: list[Any] = [value]
    loop.append({"self": loop, "more": Plain(loop)})
    return loop


def deep(value: Any) -> Any:
    for _ in range(100_000):
        value = [value]
    return value


NAN = float("nan")
#: What makes a value, and what makes another one.
KINDS: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
    (lambda: 1, lambda: 2),
    (lambda: "text", lambda: b"text"),
    (lambda: float("nan"), lambda: 0.0),
    (lambda: complex(float("nan"), 1), lambda: 1j),
    (lambda: [1, float("nan"), (2, [])], lambda: [1, float("nan"), (2, [0])]),
    (lambda: [1, 2], lambda: [1]),
    (lambda: {"a": float("nan"), "b": Plain(1)}, lambda: {"a": float("nan"), "b": Plain(2)}),
    (lambda: {"a": 1}, lambda: {"b": 1}),
    (lambda: {1: 2, 3: 4}, lambda: {1: 2}),
    (lambda: {Rude(1): 1}, lambda: {Rude(2): 1}),
    (lambda: {1, 2, 3}, lambda: {1, 2}),
    (lambda: {Opaque(1), Opaque(2)}, lambda: {Opaque(1), Opaque(1)}),
    (lambda: frozenset({float("inf")}), lambda: frozenset({1.0})),
    (lambda: Plain([1]), lambda: Plain([2])),
    (lambda: Plain(Plain(float("nan"))), lambda: Plain(Plain(1.0))),
    (lambda: Slotted([1]), lambda: Slotted([2])),
    (lambda: Loose([1, 2]), lambda: Loose([2, 1])),
    (lambda: Rude(1), lambda: Rude(2)),
    (lambda: Vague(1, 2), lambda: Vague(1, 3)),
    (lambda: knot(1), lambda: knot(2)),
    (lambda: deque([Plain(1)]), lambda: deque([Plain(2)])),
    (lambda: OrderedDict(a=Plain(1)), lambda: OrderedDict(a=Plain(2))),
    (lambda: array.array("d", [NAN]), lambda: array.array("d", [1.0])),
    (lambda: numpy.array([1.0, NAN]), lambda: numpy.array([1.0, 2.0])),
    (lambda: numpy.array([1.0, 2.0]), lambda: numpy.array([1, 2])),
    (lambda: numpy.zeros((2, 3)), lambda: numpy.zeros((3, 2))),
    (lambda: numpy.array([Plain(1), None]), lambda: numpy.array([Plain(2), None])),
    (lambda: numpy.array(["a", "b"]), lambda: numpy.array(["a", "c"])),
    (lambda: numpy.float64("nan"), lambda: numpy.float64(1)),
    (lambda: (len, int), lambda: (max, int)),
]


@pytest.mark.parametrize(("make", "other"), KINDS, ids=[repr(type(make()).__name__) for make, _ in KINDS])
def test_same(make: Callable[[], Any], other: Callable[[], Any]) -> None:
    assert same(make(), make())
    assert same(make(), pickle.loads(pickle.dumps(make())))
    assert not same(make(), other())
    assert not same([make()], [other()])


def test_numbers_that_are_equal_are_the_same() -> None:
    assert same(1, 1.0)
    assert same([True], [1])
    assert same(numpy.array([0.0]), numpy.array([-0.0]))
    assert not same(1, "1")


def test_what_cannot_be_taken_apart_is_the_same_as_itself_alone() -> None:
    one = (i for i in ())
    assert same(one, one)
    assert not same(one, (i for i in ()))


def test_too_deep_for_words() -> None:
    assert not same(deep(1), deep(2))


def test_errors_are_compared_by_type_and_text() -> None:
    assert same_error(ValueError("a at 0x12ab"), ValueError("a at 0x99ff"))
    assert not same_error(ValueError("a"), ValueError("b"))
    assert not same_error(ValueError("a"), TypeError("a"))
    lost = WorkerLost("worker 12 was killed", pid=12, signal=9), WorkerLost("worker 13 was killed", pid=13, signal=9)
    assert same_error(*lost)
    assert not same_error(lost[0], WorkerLost("worker 13 was killed", pid=13, signal=11))
