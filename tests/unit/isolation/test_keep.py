"""What is kept is neither bound anew nor entered; what a factory makes is made anew; resetters are asked."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

from poolsafe.errors import CaptureError
from poolsafe.isolation.targets import Plan, Resetter
from tests.unit.isolation.worlds import World, snapshot_of

SOURCE = """
    MODEL = [1]
    CACHE = {"k": [1]}
    COUNT = 0
    class Config:
        level = 1
        kept = [1]
        other = [1]
        __hash__ = None
    class Slotted:
        __slots__ = ("a", "b")
    CONFIG = Config()
    CONFIG.mine = [1]
    CONFIG.yours = [1]
    SLOTTED = Slotted()
    SLOTTED.a = [1]
    SLOTTED.b = [1]
"""


def test_the_object_and_the_binding_are_kept(world: World) -> None:
    app = world(SOURCE)
    snapshot = snapshot_of("app", keep=["app:MODEL", "app:COUNT"])
    app.MODEL.append(2)
    app.CACHE["k"].append(2)
    app.COUNT += 1
    snapshot.restore()
    assert (app.MODEL, app.CACHE, app.COUNT) == ([1, 2], {"k": [1]}, 1)
    app.MODEL = "other"
    snapshot.restore()
    assert app.MODEL == "other"
    del app.MODEL
    app.NEW = 1
    snapshot.restore()
    assert not hasattr(app, "MODEL")
    assert not hasattr(app, "NEW")


def test_what_is_kept_is_not_entered_from_elsewhere_either(world: World) -> None:
    app = world(SOURCE)
    other = world("", name="other", alias=app.MODEL, both=[app.MODEL])
    snapshot = snapshot_of("app", "other", keep=["app:MODEL"])
    app.MODEL.append(2)
    other.alias = None
    other.both.clear()
    snapshot.restore()
    assert app.MODEL == [1, 2]
    assert other.alias is app.MODEL
    assert other.both == [app.MODEL]


def test_what_is_inside_but_declared_by_another_path_is_put_back(world: World) -> None:
    app = world("INNER = [1]\nKEPT = [INNER, [1]]")
    snapshot = snapshot_of("app", keep=["app:KEPT"])
    app.KEPT[1].append(2)
    app.KEPT.append(3)
    app.INNER.append(2)
    snapshot.restore()
    assert app.KEPT == [[1], [1, 2], 3]


@pytest.mark.parametrize("reset", [("app",), ("app:Config", "app:CONFIG", "app:SLOTTED"), ("auto",)])
def test_attributes_are_kept(world: World, reset: tuple[str, ...]) -> None:
    app = world(SOURCE)
    snapshot = snapshot_of(*reset, keep=["app:Config.kept", "app:Config.level", "app:CONFIG.mine", "app:SLOTTED.a"])
    app.Config.kept.append(2)
    app.Config.level = 2
    app.Config.other.append(2)
    app.CONFIG.mine = "other"
    app.CONFIG.yours = "other"
    app.CONFIG.new = "new"
    app.SLOTTED.a = app.SLOTTED.b = "other"
    snapshot.restore()
    assert (app.Config.kept, app.Config.level, app.Config.other) == ([1, 2], 2, [1])
    assert vars(app.CONFIG) == {"mine": "other", "yours": [1]}
    assert (app.SLOTTED.a, app.SLOTTED.b) == ("other", [1])


def test_a_kept_module_is_left_alone(world: World) -> None:
    app = world(SOURCE)
    other = world("X = [1]", name="other")
    shared = world("", name="shared", alias=app.CACHE)
    snapshot = snapshot_of("auto", "app:MODEL", keep=[app, "app:MODEL"])
    app.MODEL.append(2)
    app.COUNT = 5
    other.X.append(2)
    app.CACHE["new"] = 1  # also declared by the module `shared`, which is not kept
    snapshot.restore()
    assert (app.MODEL, app.COUNT, other.X, shared.alias) == ([1, 2], 5, [1], {"k": [1]})


def test_keeping_what_nothing_resets_is_fine(world: World) -> None:
    app = world(SOURCE)
    snapshot = snapshot_of("app:CACHE", keep=["app:MODEL", "sys:path", "json"])
    app.MODEL.append(2)
    snapshot.restore()
    assert app.MODEL == [1, 2]


# -- factories -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "get"),
    [
        ("app:CACHE", lambda app: app.CACHE),
        ("app:Config.other", lambda app: app.Config.other),
        ("app:CONFIG.mine", lambda app: app.CONFIG.mine),
        ("app:SLOTTED.a", lambda app: app.SLOTTED.a),
    ],
)
@pytest.mark.parametrize("more", [(), ("app",), ("auto",)])
def test_a_factory_makes_the_value_anew(
    world: World, target: str, get: Callable[[Any], Any], more: tuple[str, ...]
) -> None:
    app = world(SOURCE)
    first = get(app)
    snapshot = snapshot_of({target: lambda: {"made": []}}, *more)
    seen = [first]
    for _ in range(3):
        snapshot.restore()
        assert get(app) == {"made": []}
        assert not any(get(app) is other for other in seen)
        seen.append(get(app))
        get(app)["made"].append(1)


@pytest.mark.parametrize("more", ["app", "auto", "app:CONFIG"])
def test_what_a_factory_replaces_is_not_entered(world: World, more: str) -> None:
    app = world(SOURCE)
    replaced = [app.CACHE, app.CONFIG.mine]
    snapshot = snapshot_of({"app:CACHE": dict, "app:CONFIG.mine": list}, more)
    app.CACHE["new"] = 1
    app.CONFIG.mine.append(2)
    snapshot.restore()
    assert replaced == [{"k": [1], "new": 1}, [1, 2]]
    assert (app.CACHE, app.CONFIG.mine) == ({}, [])


def test_a_factory_sees_what_was_put_back(world: World) -> None:
    app = world("NEXT = [1]\nVALUE = 0")
    snapshot = snapshot_of({"app:VALUE": lambda: app.NEXT.pop()}, "app:NEXT")
    for _ in range(2):
        snapshot.restore()
        assert (app.VALUE, app.NEXT) == (1, [])


def test_a_factory_that_raises_comes_out_of_restore_and_the_rest_is_put_back(world: World) -> None:
    app = world("A = [1]\nB = [1]\nC = [1]")

    def fail() -> Any:
        raise LookupError("no value today")

    snapshot = snapshot_of({"app:A": fail, "app:B": lambda: "made"}, "app:C")
    app.C.append(2)
    with pytest.raises(LookupError, match="no value today"):
        snapshot.restore()
    assert (app.B, app.C) == ("made", [1])


def test_no_factory_runs_for_the_baseline(world: World) -> None:
    """A forked worker puts the baseline back before its initializer, which the factory may need."""
    app = world("A = [1]\nB = [1]")
    calls: list[int] = []
    plan = Plan.make({"app:A": lambda: calls.append(1)})
    baseline = plan.baseline()
    app.A = "changed in the parent later"
    baseline.restore()
    assert (app.A, calls) == ([1], [])


# -- resetters -------------------------------------------------------------------------------------------------------


class Counter:
    """Rewinds a number that it finds by itself."""

    def __init__(self, app: types.ModuleType) -> None:
        self.app = app

    def capture(self) -> object:
        return self.app.COUNT

    def restore(self, state: Any) -> None:
        self.app.COUNT = state


def test_a_resetter_gets_back_what_it_captured(world: World) -> None:
    app = world("COUNT = 7")
    resetter = Counter(app)
    assert isinstance(resetter, Resetter)
    for snapshot in (snapshot_of(resetter), Plan.make(resetter).baseline()):
        app.COUNT = 8
        snapshot.restore()
        assert app.COUNT == 7


def test_extras_run_in_the_order_of_their_declaration(world: World) -> None:
    world("A = 0\nB = 0")
    order: list[str] = []

    class Noting:
        def __init__(self, name: str) -> None:
            self.name = name

        def capture(self) -> object:
            return self.name

        def restore(self, state: Any) -> None:
            order.append(state)

    snapshot_of(
        Noting("1"), {"app:A": lambda: order.append("2")}, Noting("3"), {"app:B": lambda: order.append("4")}
    ).restore()
    assert order == ["1", "2", "3", "4"]


def test_a_resetter_that_cannot_capture_is_a_capture_error() -> None:
    class Broken:
        def capture(self) -> object:
            raise OSError("gone")

        def restore(self, state: Any) -> None: ...

    plan = Plan.make(Broken())
    with pytest.raises(CaptureError, match="the resetter Broken raised OSError") as caught:
        plan.capture()
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(CaptureError):
        plan.baseline()
    # With an initializer the parent may be too early; the worker will tell.
    Plan.make(Broken(), has_initializer=True).baseline().restore()
