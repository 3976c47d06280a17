"""Names that are rebound, added or deleted, in modules, classes and instances, and what must not be taken away."""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.isolation.worlds import World, snapshot_of

SOURCE = """
    A = 1
    ITEMS = [1]
    def function(): return "real"
    class Meta(type):
        def __setattr__(cls, name, value): raise AssertionError("the metaclass was asked")
        __delattr__ = __getattribute__ = __setattr__
    class Class:
        a = 1
        def method(self): return "real"
    class Child(Class):
        pass
    class Guarded(metaclass=Meta):
        a = [1]
    instance = Class()
    instance.a = 1
"""

CHANGES = {
    "rebind": "app.A = 2",
    "rebind to an equal value": "app.A = True",
    "rebind to an equal object": "app.ITEMS = [1]",
    "add": "app.NEW = 1",
    "delete": "del app.A",
    "delete and add": "del app.A; app.NEW = 1",
    "function": "app.function = lambda: 'patched'",
    "class: rebind": "app.Class.a = 2",
    "class: rebind to an equal value": "app.Class.a = 1.0",
    "class: method": "app.Class.method = lambda self: 'patched'",
    "class: add": "app.Class.new = 1",
    "class: add to the child": "app.Child.a = 2",
    "class: delete": "del app.Class.method",
    "class: under a metaclass": "type.__setattr__(app.Guarded, 'a', 2)",
    "class: inside, under a metaclass": "type.__getattribute__(app.Guarded, 'a').append(2)",
    "class: special method": "app.Class.__len__ = lambda self: 3",
    "instance: rebind": "app.instance.a = 2",
    "instance: shadow a method": "app.instance.method = lambda: 'patched'",
    "instance: delete": "del app.instance.a",
    "everything": "vars(app).clear()",
}


def look(app: types.ModuleType) -> Any:
    get = type.__dict__["__dict__"].__get__
    names = {name: value for name, value in vars(app).items() if name != "__builtins__"}
    classes = [
        {name: repr(value) for name, value in get(value).items() if name != "__doc__"}
        for value in names.values()
        if isinstance(value, type)
    ]
    instance = names.get("instance")
    return (
        {name: (id(value), repr(value)) for name, value in names.items()},
        [sorted(space.items()) for space in classes],
        instance
        and (
            dict(vars(instance)),
            hasattr(instance, "method") and instance.method(),
            hasattr(type(instance), "__len__"),
        ),
    )


@pytest.mark.parametrize("target", ["app", "auto"])
@pytest.mark.parametrize("change", CHANGES)
def test_names_are_put_back(world: World, change: str, target: str) -> None:
    app = world(SOURCE)
    snapshot = snapshot_of(target)
    pristine = look(app)
    for _ in range(2):
        exec(CHANGES[change], {"app": app})
        assert look(app) != pristine
        snapshot.restore()
        assert look(app) == pristine


def test_what_was_registered_with_an_abstract_class(world: World) -> None:
    app = world("import abc\nclass Base(abc.ABC): pass\nclass A: pass\nclass B: pass\nBase.register(A)")
    snapshot = snapshot_of("app")
    for _ in range(2):
        app.Base.register(app.B)
        assert issubclass(app.B, app.Base)
        snapshot.restore()
        assert not issubclass(app.B, app.Base)
        assert issubclass(app.A, app.Base)


def test_a_global_that_equals_everything_is_noticed(world: World) -> None:
    class Liar:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    app = world(SOURCE)
    snapshot = snapshot_of("app")
    app.A = app.function = app.Class.method = app.Class.a = app.instance.a = Liar()
    app.ITEMS[0] = Liar()
    snapshot.restore()
    assert type(app.A) is int
    assert app.function() == "real"
    assert app.Class().method() == "real"
    assert type(app.Class.a) is type(app.instance.a) is type(app.ITEMS[0]) is int


def test_an_alias_sees_what_is_put_back(world: World) -> None:
    app = world("X = [1]")
    other = world("from app import X\ndef read(): return X", name="other")
    snapshot = snapshot_of("app:X")
    other.X.append(2)
    app.X = "rebound"
    snapshot.restore()
    assert app.X is other.X
    assert other.read() == [1]


def test_globals_of_functions_keep_working(world: World) -> None:
    """Restoring rewrites the module's dictionary: functions that look names up in it must see that."""
    app = world("N = 0\ndef bump():\n    global N\n    N += 1\n    return N")
    snapshot = snapshot_of("app")
    for _ in range(50):  # enough for the interpreter to specialise the function
        assert [app.bump(), app.bump()] == [1, 2]
        snapshot.restore()


def test_a_submodule_that_was_imported_stays_reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "isolation_package"
    package.mkdir()
    (package / "__init__.py").write_text("ITEMS = []\n")
    (package / "sub.py").write_text("X = [1]\n")
    monkeypatch.syspath_prepend(tmp_path)
    top = importlib.import_module("isolation_package")
    try:
        for reset in (top, "auto"):
            snapshot = snapshot_of(reset)
            importlib.import_module("isolation_package.sub")  # binds `sub` in the package, once
            top.fake = types.ModuleType("fake")
            top.ITEMS.append(1)
            snapshot.restore()
            snapshot.restore()
            assert top.sub.X == [1]
            assert not hasattr(top, "fake")
            assert top.ITEMS == []
            del sys.modules["isolation_package.sub"], top.sub
    finally:
        for name in [name for name in sys.modules if name.startswith("isolation_package")]:
            del sys.modules[name]


def test_warnings_are_given_to_every_task(world: World) -> None:
    app = world("import warnings\ndef warn(): warnings.warn('again')")
    snapshot = snapshot_of("app")
    for _ in range(2):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("default")
            app.warn()
            app.warn()
        assert len(seen) == 1
        snapshot.restore()


def test_globals_of_executed_code(world: World) -> None:
    """A dictionary that code runs in, and the function from there, belong to the project as a module does."""
    space: dict[str, Any] = {"__name__": "some_plugin"}
    exec("ITEMS = [1]\ndef add(x, seen=[]):\n    ITEMS.append(x); seen.append(x); return ITEMS, seen", space)
    app = world(SPACE=space, ADD=space["add"])
    snapshot = snapshot_of("app")
    for _ in range(2):
        assert app.ADD(2) == ([1, 2], [2])
        space["new"] = 1
        snapshot.restore()
        assert "new" not in space


@pytest.mark.parametrize("reset", ["app", "app:instance"])
def test_order_of_attributes(world: World, reset: str) -> None:
    app = world("class C: pass\ninstance = C()\ninstance.a = instance.b = instance.c = 1")
    snapshot = snapshot_of(reset)
    del app.instance.a
    app.instance.a = 1
    assert list(vars(app.instance)) == ["b", "c", "a"]
    snapshot.restore()
    assert list(vars(app.instance)) == ["a", "b", "c"]


def _finalizing(action: Callable[[], None]) -> Any:
    class Finalizing:
        def __del__(self) -> None:
            action()

    return Finalizing()


LEFT = {
    "list": "app.LOG.append(v)",
    "dict": "app.CACHE['x'] = v",
    "set": "app.SET.add(v)",
    "name": "app.COUNT = v",
    "attribute": "app.OBJ.note = v",
    "class": "app.Class.alive = v",
    "slot": "app.SLOT.s = v",
}


@pytest.mark.parametrize("where", LEFT)
def test_finalizers_of_what_a_task_left_change_nothing(world: World, where: str) -> None:
    """What is dropped by the restore may run code that changes what was put back already."""
    app = world(
        """
        class Class:
            alive = 0
        class Slotted:
            __slots__ = ("s",)
        LOG, CACHE, SET, COUNT = [], {}, set(), 0
        OBJ, SLOT = Class(), Slotted()
        OBJ.note = SLOT.s = None
        """
    )
    ran: list[int] = []

    def action() -> None:
        ran.append(1)
        app.LOG.append("closed")
        app.CACHE["closed"] = 1
        app.SET.add("closed")
        app.COUNT = app.OBJ.note = app.Class.alive = app.SLOT.s = "closed"

    snapshot = snapshot_of("app")
    for _ in range(2):
        left = _finalizing(action)
        exec(LEFT[where], {"app": app, "v": left})
        del left
        snapshot.restore()
        assert ran == [1]
        assert ([], {}, set(), 0) == (app.LOG, app.CACHE, app.SET, app.COUNT)
        assert (app.OBJ.note, app.Class.alive, app.SLOT.s) == (None, 0, None)
        ran.clear()


@pytest.mark.parametrize("value", [[], {}, set(), 0])
def test_finalizers_change_nothing_in_the_smallest_plan(world: World, value: Any) -> None:
    app = world(X=value)
    snapshot = snapshot_of("app:X")

    def action() -> None:
        app.X = "closed"
        if value != 0:
            getattr(value, "append", getattr(value, "add", lambda x: value.update(x=x)))("closed")

    if isinstance(value, list):
        value.append(_finalizing(action))
    elif isinstance(value, dict):
        value["x"] = _finalizing(action)
    elif isinstance(value, set):
        value.add(_finalizing(action))
    else:
        app.X = _finalizing(action)
    snapshot.restore()
    assert app.X is value
    assert not value
