"""Modules that a task imports: what their import did lasts, what the task does to them does not."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from poolsafe.isolation import arrivals, import_watch
from poolsafe.isolation.snapshot import Snapshot
from tests.unit.isolation.worlds import World, snapshot_of

#: Writes modules: ``write(name, source)``.
Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Make modules that can be imported; they are forgotten at the end."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def make(name: str, source: str) -> None:
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()

    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def watched(world: World) -> Iterator[Callable[..., Snapshot]]:
    """Capture with "auto", and watch imports from then on."""
    watches: list[Any] = []

    def capture(*more: Any, keep: Any = ()) -> Snapshot:
        snapshot = snapshot_of("auto", *more, keep=keep)
        watches.append(snapshot.watch_imports())
        return snapshot

    yield capture
    for watch in watches:
        watch.remove()
    assert not [finder for finder in sys.meta_path if isinstance(finder, import_watch.ImportWatch)]


def load(name: str) -> Any:
    return importlib.import_module(name)


def test_what_the_first_task_does_to_the_module_is_undone(write: Write, watched: Any) -> None:
    write("helper", "X = [1]\nclass C: items = []\ndef f(a=[]): a.append(1); return len(a)")
    snapshot = watched()
    for _ in range(3):
        snapshot.restore()
        helper = load("helper")
        assert (helper.X, helper.C.items, helper.f(), hasattr(helper, "new")) == ([1], [], 1, False)
        helper.X.append(2)
        helper.C.items.append(2)
        helper.new = 1


def test_by_a_statement_and_within_another_import(write: Write, watched: Any) -> None:
    write("inner", "X = [1]")
    write("outer", "import inner\ninner.X.append('outer')\nfrom inner import X")
    snapshot = watched()
    for _ in range(2):
        snapshot.restore()
        import outer  # type: ignore[import-not-found]

        assert outer.X is load("inner").X
        assert outer.X == [1, "outer"]
        outer.X.append("task")


def test_what_the_import_did_to_others_lasts_and_what_the_task_did_does_not(
    world: World, write: Write, watched: Any
) -> None:
    """A plugin registers itself when it is imported, which happens once."""
    app = world("REGISTRY = {}\nTASKS = []\nclass Base: plugins = []\nN = 1\nFLAG = 'off'")
    write(
        "plugin", "import app\napp.REGISTRY['plugin'] = [1]\napp.Base.plugins.append(1)\napp.N += 1\napp.Base.new = 1"
    )
    snapshot = watched()
    app.TASKS.append("task")
    app.FLAG = "task"
    load("plugin")
    app.TASKS.append("task")
    app.REGISTRY["plugin"].append("task")
    app.REGISTRY["more"] = 1
    app.N = "task"
    for _ in range(2):
        snapshot.restore()
        assert app.REGISTRY == {"plugin": [1]}
        assert (app.TASKS, app.N, app.FLAG) == ([], 2, "off")
        assert (app.Base.plugins, app.Base.new) == ([1], 1)
        app.Base.plugins.clear()
        del app.Base.new


def test_where_both_changed_something(world: World, write: Write, watched: Any) -> None:
    """Names and items of their own are told apart; of a list that both changed, the pristine content is put back."""
    app = world("ITEMS = []\nTABLE = {'old': 1, 'out': 1}\nGROUP = {1, 2}\nclass O: pass\nobj = O()\nobj.a = obj.b = 1")
    write(
        "plugin",
        """
        import app
        app.ITEMS.append('plugin')
        app.TABLE['plugin'] = 1
        app.TABLE['old'] = app.TABLE['task'] = 'plugin'
        del app.TABLE['out']
        app.GROUP.add('plugin')
        app.GROUP.discard(2)
        app.obj.b = app.obj.c = 'plugin'
        app.O.plugin = 1
        """,
    )
    snapshot = watched()
    app.ITEMS.append("task")
    app.TABLE["task"] = 1
    app.TABLE["old"] = "task"
    app.GROUP.add("task")
    app.obj.a = "task"
    app.O.task = 1
    load("plugin")
    for _ in range(2):
        snapshot.restore()
        assert app.ITEMS == []
        assert app.TABLE == {"old": 1, "plugin": 1}
        assert {1, "plugin"} == app.GROUP
        assert vars(app.obj) == {"a": 1, "b": "plugin", "c": "plugin"}
        assert (app.O.plugin, hasattr(app.O, "task")) == (1, False)
        app.obj.c = app.TABLE["more"] = 1


def test_a_submodule_stays_bound_in_its_package(world: World, write: Write, watched: Any) -> None:
    """The import system binds it once, after it was executed; taken away it would never come back."""
    write("pack/__init__", "X = []")
    write("pack/sub", "Y = []")
    snapshot = watched()
    for _ in range(3):
        snapshot.restore()
        import pack.sub  # type: ignore[import-not-found]

        assert (pack.X, pack.sub.Y) == ([], [])
        pack.X.append(1)
        pack.sub.Y.append(1)


def test_states_that_an_import_turns_into_others(world: World, write: Write, watched: Any) -> None:
    """Empty caches, unset slots and empty cells have records of another kind than those with something in them."""
    app = world(
        """
        import functools
        @functools.lru_cache(maxsize=None)
        def cached(x): return [x]
        class Slots: __slots__ = ("a",)
        O = Slots()
        def outer():
            def inner(): return late
            def fill():
                nonlocal late
                late = 1
            if 0: late = 0
            return inner, fill
        inner, fill = outer()
        """
    )
    write("plugin", "import app\napp.cached(1)\napp.O.a = 1\napp.fill()")
    snapshot = watched()
    load("plugin")
    app.O.a = 2
    app.cached(2)
    for _ in range(2):
        snapshot.restore()
        assert app.O.a == 1
        assert app.cached.cache_info().currsize == 1
        assert app.inner() == 1
        app.O.a = 2
        app.cached(2)


def test_an_import_that_fails(write: Write, watched: Any) -> None:
    write("good", "X = []")
    write("broken", "import good\ngood.X.append(1)\nraise LookupError")
    snapshot = watched()
    with pytest.raises(LookupError):
        load("broken")
    assert "broken" not in sys.modules
    good = load("good")
    good.X.append(2)
    snapshot.restore()
    assert good.X == [1]


def test_reloading_is_a_tasks_change(write: Write, watched: Any) -> None:
    write("helper", "X = [1]")
    snapshot = watched()
    helper = load("helper")
    first = helper.X
    importlib.reload(helper)
    assert helper.X is not first
    snapshot.restore()
    assert helper.X is first


def test_nobody_sees_the_watch_in_a_module(write: Write, watched: Any) -> None:
    write("helper", "SEEN = __spec__.loader, __loader__")
    watched()
    helper = load("helper")
    assert {type(loader).__name__ for loader in (*helper.SEEN, helper.__loader__)} == {"SourceFileLoader"}
    assert helper.__spec__.loader is helper.__loader__


def test_modules_that_are_not_the_projects_are_not_looked_at(
    watched: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages/foreign_thing.py").write_text("X = []")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    snapshot = watched()
    monkeypatch.setattr(snapshot, "_before_import", lambda module: pytest.fail("captured"))
    foreign = load("foreign_thing")
    foreign.X.append(1)
    snapshot.restore()
    assert foreign.X == [1]
    monkeypatch.delitem(sys.modules, "foreign_thing")


def test_what_is_kept_and_what_a_factory_makes_stays_so(world: World, write: Write, watched: Any) -> None:
    app = world("MODEL = []\nMADE = None")
    write("plugin", "import app")
    snapshot = watched({"app:MADE": dict}, keep="app:MODEL")
    app.MODEL.append("task")
    load("plugin")
    app.MADE = 1
    snapshot.restore()
    assert (app.MODEL, app.MADE) == (["task"], {})


def test_a_module_that_is_not_there_is_looked_for_once_by_each_watch(
    watched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker has several watches: asking behind each other, they must not double the work with every one."""
    asked: list[str] = []

    class Counting:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            asked.append(name)

    monkeypatch.setattr(sys, "meta_path", [Counting(), *sys.meta_path])
    for _ in range(4):
        watched()
    with pytest.raises(ModuleNotFoundError):
        load("there_is_no_such_module")
    assert len(asked) == 5, "by each of the four watches, and by the import itself"


def test_an_error_while_capturing_is_not_the_imports(
    write: Write, watched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The import works; the worker learns before the next task that it cannot put everything back."""
    write("helper", "X = []")
    write("other", "X = []")
    snapshot = watched()

    def fail(*_: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(snapshot, "_extend", fail)
    assert load("helper").X == []
    assert load("other").X == []
    with pytest.raises(ZeroDivisionError):
        snapshot.restore()


@pytest.mark.filterwarnings("ignore::ImportWarning")
def test_finders_of_all_sorts(write: Write, watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the old kind, one that finds what has no place, and loaders that do not execute modules."""

    class Old:
        def find_module(self, name: str, path: Any = None) -> None:
            pass

    class Making:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            return importlib.util.spec_from_loader(name, self) if name == "made_up" else None  # type: ignore[arg-type]

        def create_module(self, spec: Any) -> ModuleType:
            return ModuleType(spec.name)

        def exec_module(self, module: Any) -> None:
            module.X = [1]

    class Asking:
        """Asks all others, as some libraries' finders do."""

        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
            return next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)

    monkeypatch.setattr(sys, "meta_path", [Old(), Making(), Asking(), *sys.meta_path])
    write("helper", "X = []")
    snapshot = watched()
    made = load("made_up")
    load("helper").X.append(1)
    with pytest.raises(ModuleNotFoundError):
        load("there_is_no_such_module")
    snapshot.restore()
    assert (made.X, load("helper").X) == ([1], [])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (([], [1, 2]), ([], [1, 2]), False),
        (([1, 2],), ([1, 2],), True),
        (([[]],), ([[]],), False),
        (({"a": 1},), ({"a": 1},), True),
        (({"a": 1},), ({"a": 2},), False),
        (({1, 2},), ({2, 1},), True),
        ((((1, 2), (3, 4)),), (((1, 2), (3, 4)),), True),
        ((bytearray(b"a"),), (bytearray(b"a"),), True),
        ((1,), (True,), False),
        ((1, 2), (1,), False),
        ((object(),), (object(),), False),
    ],
)
def test_records_are_compared_by_what_they_hold(one: Any, other: Any, same: bool) -> None:
    shared: list[Any] = []
    if same or one[0] != []:
        assert arrivals._same(one, other) is same
    else:
        assert arrivals._same((shared, one[1]), (shared, other[1])) is True
        assert arrivals._same((shared, [1]), (shared, [2])) is False
