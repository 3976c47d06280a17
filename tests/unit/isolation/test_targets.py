"""What may be declared, and what a mistake is told: `Plan.make`."""

from __future__ import annotations

import pickle
import sys
import types
from typing import Any

import pytest

from poolsafe.errors import CaptureError, TargetError
from poolsafe.isolation.targets import Plan
from tests.unit.isolation.worlds import World, snapshot_of

SOURCE = """
    import collections
    ITEMS = [1]
    class Config:
        level = 1
        tags = ["a"]
        class Inner:
            depth = [0]
        def __init__(self):
            self.own = {"k": 1}
    class Slotted:
        __slots__ = ("part",)
    CONFIG = Config()
    SLOTTED = Slotted()
    SLOTTED.part = [1]
    def helper(): return ITEMS
"""


class Recorder:
    """A resetter that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def capture(self) -> object:
        self.asked.append("capture")
        return "state"

    def restore(self, state: Any) -> None:
        self.asked.append(state)


@pytest.mark.parametrize("nothing", [None, (), [], {}, set(), iter(())])
def test_nothing_declared_is_an_empty_plan(nothing: Any) -> None:
    assert Plan.make(nothing).empty


@pytest.mark.parametrize("reset", ["auto", "sys", sys, [sys], "app:ITEMS", {"app:ITEMS": list}, Recorder()])
def test_something_declared_is_not_empty(world: World, reset: Any) -> None:
    world(SOURCE)
    assert not Plan.make(reset).empty


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("app:ITEMS", "app.ITEMS.append(2)"),
        ("app:ITEMS", "app.ITEMS = 3"),
        ("app:ITEMS", "del app.ITEMS"),
        ("app", "app.ITEMS.append(2)"),
        ("app", "app.NEW = 1"),
        ("app", "del app.helper"),
        ("app:Config", "app.Config.level = 2"),
        ("app:Config", "app.Config.tags.append(2)"),
        ("app:Config.level", "app.Config.level = 2"),
        ("app:Config.level", "del app.Config.level"),
        ("app:Config.tags", "app.Config.tags.append(2)"),
        ("app:Config.Inner.depth", "app.Config.Inner.depth.append(2)"),
        ("app:Config.Inner.depth", "app.Config.Inner.depth = 2"),
        ("app:CONFIG", "app.CONFIG.own['k'] = 2"),
        ("app:CONFIG.own", "app.CONFIG.own['k'] = 2"),
        ("app:CONFIG.own", "app.CONFIG.own = 2"),
        ("app:CONFIG.own", "del app.CONFIG.own"),
        ("app:CONFIG.level", "app.CONFIG.level = 2"),
        ("app:SLOTTED.part", "app.SLOTTED.part = 2"),
        ("app:SLOTTED.part", "app.SLOTTED.part.append(2)"),
        ("app:SLOTTED.part", "del app.SLOTTED.part"),
    ],
)
def test_each_form_of_target_is_put_back(world: World, target: str, code: str) -> None:
    app = world(SOURCE)

    def look() -> Any:
        config = vars(app.Config)
        names = sorted(name for name in vars(app) if name != "__warningregistry__")
        return repr((names, app.__dict__.get("ITEMS"), config.get("level"), config["tags"], app.Config.Inner.depth,
                     vars(app.CONFIG), getattr(app.SLOTTED, "part", "unset")))  # fmt: skip

    snapshot = snapshot_of(target)
    pristine = look()
    exec(code, {"app": app})
    assert look() != pristine
    snapshot.restore()
    assert look() == pristine


def test_only_what_is_declared_is_put_back(world: World) -> None:
    app = world("A = [1]\nB = [1]")
    snapshot = snapshot_of("app:A")
    app.A.append(2)
    app.B.append(2)
    app.C = 3
    snapshot.restore()
    assert (app.A, app.B, app.C) == ([1], [1, 2], 3)


def test_an_inherited_attribute_gets_no_shadow(world: World) -> None:
    app = world("class A:\n    items = [1]\nclass B(A):\n    pass")
    snapshot = snapshot_of("app:B.items")
    app.B.items.append(2)
    app.B.items = []
    snapshot.restore()
    assert app.B.items is app.A.items
    assert app.A.items == [1]
    assert "items" not in vars(app.B)


def test_a_target_behind_a_lazy_module_attribute(world: World) -> None:
    app = world(
        "_made = [1]\ndef __getattr__(name):\n    if name == 'LAZY': return _made\n    raise AttributeError(name)"
    )
    snapshot = snapshot_of("app:LAZY")
    app.LAZY.append(2)
    app.LAZY = None
    snapshot.restore()
    assert app.LAZY == [1]
    assert "LAZY" not in vars(app)


def test_an_attribute_of_a_static_method(world: World) -> None:
    app = world("class C:\n    @staticmethod\n    def f(): pass\nC.f.seen = [1]")
    snapshot = snapshot_of("app:C.f.seen")
    app.C.f.seen.append(2)
    app.C.f.seen = None
    snapshot.restore()
    assert app.C.f.seen == [1]


def test_a_mixture_of_targets(world: World) -> None:
    app = world("A = [1]\nB = 2\nC = 3")
    other = world("X = [1]", name="other")
    recorder = Recorder()
    snapshot = Plan.make(["app:A", other, {"app:B": lambda: "made"}, recorder]).capture()
    app.A.append(2)
    other.X.append(2)
    app.C = 4
    snapshot.restore()
    assert (app.A, app.B, app.C, other.X) == ([1], "made", 4, [1])
    assert recorder.asked == ["capture", "state"]


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "fact", "way"),
    [
        ("no_such_module", "no module 'no_such_module'", "can be imported"),
        ("no_such_module:X", "no module 'no_such_module'", "can be imported"),
        ("app.ITEMS", "no module 'app.ITEMS'", "Write 'app:ITEMS'"),
        ("app:ITEM", "module 'app' has no 'ITEM'", "exists when the pool is made"),
        ("app:Config.levle", "class 'Config' has no 'levle'", "exists when the pool is made"),
        ("app:CONFIG.nothing", "instance of 'Config' has no 'nothing'", "exists when the pool is made"),
        ("app:Nothing.level", "module 'app' has no 'Nothing'", "exists when the pool is made"),
        ("app:ITEMS.x", "an instance of list, which has none", "what is inside it"),
        ("", "'' is not a target", "'pkg.mod:NAME'"),
        ("app:", "'app:' is not a target", "'pkg.mod:NAME'"),
        (":X", "':X' is not a target", "'pkg.mod:NAME'"),
        ("app:A:B", "'app:A:B' is not a target", "'pkg.mod:NAME'"),
        ("app: ITEMS", "'app: ITEMS' is not a target", "'pkg.mod:NAME'"),
        ("app..x", "'app..x' is not a target", "'pkg.mod:NAME'"),
    ],
)
def test_a_wrong_name_is_told_with_the_way_out(world: World, target: str, fact: str, way: str) -> None:
    world(SOURCE)
    for make in (lambda: Plan.make(target), lambda: Plan.make("auto", [target])):
        with pytest.raises(TargetError) as caught:
            make()
        assert fact in caught.value.fact
        assert way in caught.value.remedy
        assert caught.value.target == target
        assert isinstance(caught.value, ValueError)


def test_a_misspelt_name_gets_a_guess(world: World) -> None:
    world(SOURCE)
    with pytest.raises(TargetError, match="Did you mean 'ITEMS'"):
        Plan.make("app:ITEM")


@pytest.mark.parametrize("item", [3, None, 1.5, [1], object(), b"app:X", len, dict, Recorder, lambda: None])
def test_what_is_no_target_is_refused(item: Any) -> None:
    with pytest.raises(TargetError) as caught:
        Plan.make([item])
    assert "not a target" in caught.value.fact
    assert "{target: factory}" in caught.value.cause


@pytest.mark.parametrize("item", [3, object(), dict, test_only_what_is_declared_is_put_back])
def test_what_is_no_target_is_refused_alone_too(item: Any) -> None:
    with pytest.raises(TargetError, match="not a target"):
        Plan.make(item)


def test_a_class_is_told_its_name(world: World) -> None:
    app = world(SOURCE)
    with pytest.raises(TargetError) as caught:
        Plan.make([app.Config.Inner])
    assert "'app:Config.Inner'" in caught.value.remedy


@pytest.mark.parametrize(
    ("made", "fact"),
    [
        ({"app": dict}, "cannot be made by a factory"),
        ({sys: dict}, "cannot be made by a factory"),
        ({"app:ITEMS": []}, "the factory of 'app:ITEMS' cannot be called"),
        ({"app:NOPE": list}, "has no 'NOPE'"),
    ],
)
def test_a_wrong_mapping_is_refused(world: World, made: Any, fact: str) -> None:
    world(SOURCE)
    with pytest.raises(TargetError) as caught:
        Plan.make(made)
    assert fact in caught.value.fact


@pytest.mark.parametrize("item", ["auto", {"app:ITEMS": list}, Recorder(), 3, None])
def test_only_names_can_be_kept(world: World, item: Any) -> None:
    world(SOURCE)
    with pytest.raises(TargetError, match="keep= cannot take"):
        Plan.make("app", [item])


def test_a_module_that_cannot_be_found_again_is_refused() -> None:
    with pytest.raises(TargetError, match="cannot be found again"):
        Plan.make(types.ModuleType("nowhere"))


def test_a_module_that_fails_to_import(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "isolation_broken_a.py").write_text("1 / 0\n")
    (tmp_path / "isolation_broken_b.py").write_text("import isolation_missing_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name, cause in (("isolation_broken_a", ZeroDivisionError), ("isolation_broken_b", ModuleNotFoundError)):
        with pytest.raises(TargetError, match=f"importing {name!r}") as caught:
            Plan.make(f"{name}:X")
        assert isinstance(caught.value.__cause__, cause)


def test_errors_survive_pickling(world: World) -> None:
    world("import sys\nLOG = open(sys.executable, 'rb')")
    with pytest.raises(CaptureError) as caught:
        Plan.make("app:LOG")
    sys.modules["app"].LOG.close()
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.target, again.path, str(again)) == ("app:LOG", "app:LOG", str(caught.value))


# -- what only the initializer makes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", ["app:LATER", {"app:LATER": list}, "app:CONFIG.later.part"])
def test_an_initializer_may_make_what_is_missing(world: World, reset: Any) -> None:
    app = world(SOURCE)
    plan = Plan.make(reset, ["app:KEPT_LATER"], has_initializer=True)
    plan.baseline().restore()  # nothing there yet: nothing to put back, and no error
    app.LATER = [1]
    app.KEPT_LATER = [1]
    app.CONFIG.later = types.SimpleNamespace(part=[1])
    snapshot = plan.capture()
    app.KEPT_LATER.append(2)
    app.LATER.append(2)
    app.CONFIG.later.part.append(2)
    snapshot.restore()
    later = reset == "app:CONFIG.later.part"
    assert (app.CONFIG.later.part == [1]) is later
    assert (app.LATER in ([1], [])) is not later
    assert app.KEPT_LATER == [1, 2]


@pytest.mark.parametrize("reset", ["app:LATER", {"app:LATER": list}])
def test_what_the_initializer_did_not_make_is_an_error_in_the_worker(world: World, reset: Any) -> None:
    world(SOURCE)
    plan = Plan.make(reset, has_initializer=True)
    with pytest.raises(TargetError, match="has no 'LATER'"):
        plan.capture()


def test_a_missing_module_is_an_error_also_with_an_initializer() -> None:
    with pytest.raises(TargetError, match="no module"):
        Plan.make("no_such_module:X", has_initializer=True)


# -- the main module -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["__main__:X", "__mp_main__:X", "__main__"])
def test_the_main_module_under_both_its_names(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a spawned worker the main module calls itself ``__mp_main__``, and is in `sys.modules` under both names."""
    parent = types.ModuleType("__main__")
    parent.X = [0]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", parent)
    plans = [Plan.make(target), Plan.make(parent)]
    worker = types.ModuleType("__mp_main__")
    exec("class Own:\n    items = [1]\nX = [1]\nO = Own()", vars(worker))
    monkeypatch.setitem(sys.modules, "__main__", worker)
    monkeypatch.setitem(sys.modules, "__mp_main__", worker)
    for plan in (*pickle.loads(pickle.dumps(plans)), Plan.make(worker), Plan.make("auto")):
        snapshot = plan.capture()
        worker.X.append(2)
        worker.Own.items.append(2)
        snapshot.restore()
        assert worker.X == [1]
        del worker.Own.items[1:]


def test_a_plan_is_small_and_survives_pickling(world: World) -> None:
    app = world("X = list(range(1000))\nY = 1", name="app")
    plan = Plan.make(["app:X", "auto", app, {"app:Y": dict}], keep=["app:Y"])
    blob = pickle.dumps(plan)
    assert len(blob) < 600
    snapshot = pickle.loads(blob).capture()
    app.X.clear()
    snapshot.restore()
    assert len(app.X) == 1000
