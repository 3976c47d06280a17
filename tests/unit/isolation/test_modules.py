"""Which modules are the project's own, and what `"auto"` does with them; modules that are imported later."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

import pytest

from poolsafe.isolation.modules import is_project_module, is_project_path, project_modules
from poolsafe.isolation.targets import Plan
from tests.unit.isolation.worlds import World, snapshot_of


def module(name: str, **names: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    vars(made).update(names)
    return made


def at(*parts: str) -> str:
    return os.path.join(os.sep, *parts)


STDLIB = os.path.dirname(os.__file__)
SITE = sysconfig.get_paths()["purelib"]


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        (at("home", "me", "project", "app.py"), True),
        (at("home", "me", "project", "src", "app", "__init__.py"), True),
        (at("home", "me", "project", ".venv", "src", "editable", "app.py"), True),
        ("app.py", True),
        (at("srv", "app.zip", "app", "core.py"), True),
        (os.path.join(SITE, "requests", "api.py"), False),
        (at("home", "me", ".local", "lib", "python3.11", "site-packages", "x.py"), False),
        (at("usr", "lib", "python3", "dist-packages", "x.py"), False),
        (os.path.join(STDLIB, "json", "__init__.py"), False),
        (os.path.join(STDLIB, "lib-dynload", "_x.so"), False),
        (STDLIB + "-project" + os.sep + "app.py", True),
    ],
)
def test_paths(path: str, ours: bool) -> None:
    assert is_project_path(path) is ours


@pytest.mark.parametrize(
    ("made", "ours"),
    [
        (module("app", __file__=at("home", "me", "app.py")), True),
        (module("__main__"), True),
        (module("__main__", __file__=os.path.join(SITE, "pytest", "__main__.py")), True),
        (module("__mp_main__"), True),
        (module("namespace", __path__=[at("home", "me", "namespace")]), True),
        (module("namespace", __path__=[os.path.join(SITE, "namespace")]), False),
        (module("namespace", __path__=[os.path.join(SITE, "namespace"), at("home", "me", "namespace")]), True),
        (module("namespace", __file__=None, __path__=[]), False),
        (module("made_up"), False),
        (module("poolsafe", __file__=at("home", "me", "poolsafe", "__init__.py")), False),
        (module("poolsafe.pool", __file__=at("home", "me", "poolsafe", "pool.py")), False),
        (module("poolsafely", __file__=at("home", "me", "poolsafely.py")), True),
        (module("ice", __file__=at("x.py"), __spec__=types.SimpleNamespace(origin="frozen")), False),
        (sys, False),
        (os, False),
        (pytest, False),
        (importlib, False),
        (None, False),
        ("app", False),
    ],
)
def test_modules(made: Any, ours: bool) -> None:
    assert is_project_module(made) is ours


def test_the_loaded_ones(world: World) -> None:
    app = world()
    found = project_modules()
    assert app in found
    assert sys.modules["__main__"] in found
    assert sys.modules[__name__] in found
    assert not [m for m in found if m.__name__.partition(".")[0] in ("poolsafe", "sys", "pytest", "_pytest", "json")]
    assert len({id(m) for m in found}) == len(found)


def test_a_lazy_module_is_not_loaded_by_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "isolation_lazy.py").write_text("X = [1]\nimport sys; sys.isolation_lazy_was_loaded = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.find_spec("isolation_lazy")
    assert spec is not None
    assert spec.loader is not None
    loader = importlib.util.LazyLoader(spec.loader)
    spec.loader = loader
    lazy = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "isolation_lazy", lazy)
    loader.exec_module(lazy)
    snapshot = Plan.make("auto").capture()
    snapshot.restore()
    assert not hasattr(sys, "isolation_lazy_was_loaded")
    lazy.X.append(2)  # loads it; and what is loaded must not be emptied again
    del sys.isolation_lazy_was_loaded  # type: ignore[attr-defined]
    snapshot.restore()
    assert lazy.X == [1, 2]


def test_auto_puts_every_module_of_the_project_back(world: World) -> None:
    app = world("X = [1]\nY = 1")
    other = world("import json\nX = {}\ndef f(seen=[]): return seen", name="other")
    snapshot = snapshot_of("auto")
    app.X.append(2)
    app.Y = 2
    other.X["a"] = 1
    other.f().append(1)
    other.new = 1
    snapshot.restore()
    assert (app.X, app.Y, other.X, other.f(), hasattr(other, "new")) == ([1], 1, {}, [], False)


# -- modules that are imported later ---------------------------------------------------------------------------------


def test_a_module_that_came_past_the_import_system_is_captured_before_the_next_task(world: World) -> None:
    app = world("X = [1]\nclass C:\n    items = [1]\nO = C()\nO.a = 1")
    snapshot = snapshot_of("auto")
    held = snapshot.restore  # a caller may look it up once
    app.X.append("dirty")
    app.C.items.append("dirty")
    app.O.a = "dirty"
    later = world("from app import X, C, O\nY = [1]", name="later")
    for _ in range(2):
        held()
        assert (app.X, app.C.items, app.O.a, later.Y, hasattr(later, "Z")) == ([1], [1], 1, [1], False)
        assert later.X is app.X
        app.X.append(2)
        later.Y.append(2)
        later.Z = 1


def test_explicit_targets_take_no_notice_of_new_modules(world: World) -> None:
    app = world("X = [1]")
    snapshot = snapshot_of("app")
    later = world("Y = [1]", name="later")
    assert snapshot.watch_imports() is None
    later.Y.append(2)
    app.X.append(2)
    snapshot.restore()
    assert (app.X, later.Y) == ([1], [1, 2])


# -- workers ---------------------------------------------------------------------------------------------------------


def test_a_baseline_is_put_back_in_a_forked_process(world: World) -> None:
    """A replacement is forked after the parent went on; it begins like the workers that were forked before."""
    app = world("X = [1]\nN = 1\nclass C:\n    a = 1")
    plan = Plan.make("auto")
    baseline = plan.baseline()
    app.X.append("parent's")
    app.N = "parent's"
    app.C.a = "parent's"
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        report = "nothing"
        try:
            baseline.restore()
            snapshot = plan.capture()
            app.X.append("task's")
            snapshot.restore()
            report = repr((app.X, app.N, app.C.a))
        except BaseException as error:
            report = repr(error)
        finally:
            os.write(write, report.encode())
            os._exit(0)
    os.close(write)
    with open(read) as stream:
        report = stream.read()
    os.waitpid(pid, 0)
    assert report == "([1], 1, 1)"
    assert app.X == [1, "parent's"]


def test_importing_the_package_is_light() -> None:
    """Every worker imports it: nothing that an interpreter does not load anyway, or nearly."""
    code = (
        "import sys; before = set(sys.modules); sys.path.insert(0, {path!r});"
        "import poolsafe.isolation.targets, poolsafe.isolation.guard; print(*sorted(set(sys.modules) - before))"
    )
    source = str(Path(importlib.import_module("poolsafe.isolation").__file__ or "").parents[2])
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code.format(path=source)], capture_output=True, text=True, timeout=30, check=True
    ).stdout.split()
    heavy = {
        "multiprocessing",
        "numpy",
        "dataclasses",
        "inspect",
        "typing_extensions",
        "asyncio",
        "threading",
        "logging",
    }
    assert not heavy.intersection(name.partition(".")[0] for name in loaded)
    assert "poolsafe.isolation.walk" in loaded
