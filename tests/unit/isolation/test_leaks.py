"""The detector of leaks: whatever can be put back is also told, by its path, when a task changed it, and only then."""

from __future__ import annotations

import enum
import functools
import itertools
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from poolsafe.isolation import snapshot
from poolsafe.isolation.differences import DIFFERS, MADE_ANEW
from poolsafe.isolation.leaks import MOST, Change, Detector, as_changes
from poolsafe.isolation.targets import Plan
from poolsafe.isolation.texts import LIMIT, short
from tests.unit.isolation import specimens
from tests.unit.isolation.test_hostile import Hostile, HostileError, Meta
from tests.unit.isolation.test_kinds import KINDS
from tests.unit.isolation.worlds import World, snapshot_of


def told(changes: list[Change]) -> list[tuple[str, str, str]]:
    return [(change.path, change.before, change.after) for change in changes]


# -- every kind of value ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["app", "app:X"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_any_kind_is_told(world: World, kind: str, target: str) -> None:
    make, change, _ = KINDS[kind]
    value = make()
    world(X=value, V=None)
    captured = snapshot_of(target)
    detector = Detector(captured)
    assert detector.changes() == []
    captured.restore()
    assert detector.changes() == []
    found = []
    for _ in range(2):
        change(value)
        found.append(told(detector.changes()))
        assert found[-1]
        assert all(path.startswith("app.X") and before != after for path, before, after in found[-1])
        captured.restore()
        assert detector.changes() == []
    assert found[0] == found[1]


def test_every_group_of_records_is_compared() -> None:
    """A kind that is put back and not compared would leak unseen."""
    assert set(snapshot._ROUNDS) - set(DIFFERS) == MADE_ANEW


class Case(NamedTuple):
    source: str
    task: str
    expected: list[tuple[str, str, str]]


CASES = {
    "name rebound": Case("X = 1", "app.X = 2", [("app.X", "1", "2")]),
    "name added": Case("", "app.X = 2", [("app.X", "absent", "2")]),
    "name deleted": Case("X = 1", "del app.X", [("app.X", "1", "absent")]),
    "name swapped": Case(
        "X = object; Y = int", "app.X, app.Y = app.Y, app.X",
        [("app.X", "<class object>", "<class int>"), ("app.Y", "<class int>", "<class object>")],
    ),
    "name renamed": Case(
        "A = 0\nX = object", "app.Y = app.X; del app.X",
        [("app.X", "<class object>", "absent"), ("app.Y", "absent", "<class object>")],
    ),
    "was mutated and then rebound": Case(
        "X = ['a']", "app.X.append('b'); app.X = None",
        [("app.X", "['a']", "None"), ("app.X[1]", "absent", "'b'")],
    ),
    "list appended": Case(
        "x = ['haha']", "app.x.extend([0, 1])", [("app.x[1]", "absent", "0"), ("app.x[2]", "absent", "1")]
    ),
    "list inserted": Case("x = [1, 2]", "app.x.insert(0, 9)", [("app.x[0]", "absent", "9")]),
    "list popped": Case("x = [1, 2, 3]", "del app.x[1]", [("app.x[1]", "2", "absent")]),
    "list item": Case("x = [1, 2, 3]", "app.x[1] = 'b'", [("app.x[1]", "2", "'b'")]),
    "list sorted": Case("x = [3, 1, 2]", "app.x.sort()", [("app.x", "order [3, 1, 2]", "order [1, 2, 3]")]),
    "long list": Case("x = list(range(1000))", "app.x[500] = None", [("app.x[500]", "500", "None")]),
    "long dict": Case("x = dict.fromkeys(range(1000))", "app.x[500] = 0", [("app.x[500]", "None", "0")]),
    "long set": Case("x = set(range(1000))", "app.x.remove(5)", [("app.x", "with 5", "without 5")]),
    "nested": Case(
        "cache = {'runs': [[]]}", "app.cache['runs'][0].append(1)", [("app.cache['runs'][0][0]", "absent", "1")]
    ),
    "dict order": Case("d = {'a': 1, 'b': 2}", "app.d['a'] = app.d.pop('a')",
                       [("app.d", "order ['a', 'b']", "order ['b', 'a']")]),
    "set": Case("s = {1, 2}", "app.s ^= {2, 3}", [("app.s", "with 2", "without 2"), ("app.s", "without 3", "with 3")]),
    "lazily built": Case(
        "class Client: pass\n_client = None", "app._client = app.Client()",
        [("app._client", "None", "<app.Client object>")],
    ),
    "class attribute": Case("class C:\n    n = 0", "app.C.n += 1", [("app.C.n", "0", "1")]),
    "class name": Case("class C: pass", "app.C.__name__ = 'D'", [("app.C.__name__", "'C'", "'D'")]),
    "class bases": Case(
        "class A: pass\nclass B: pass\nclass C(A): pass", "app.C.__bases__ = (app.B,)",
        [("app.C.__bases__", "(<class app.A>,)", "(<class app.B>,)")],
    ),
    "registered class": Case(
        "import abc\nclass C(abc.ABC): pass", "app.C.register(int)",
        [("app.C", "not registered <class int>", "registered <class int>")],
    ),
    "closure": Case(
        "def outer():\n x = [0]\n n = 0\n def f():\n  nonlocal n\n  n += 1; x.append(n)\n return f\nf = outer()",
        "app.f()", [("app.f.<locals>.n", "0", "1"), ("app.f.<locals>.x[1]", "absent", "1")],
    ),
    "default": Case("def f(a=[]): a.append(1)", "app.f()", [("app.f.__defaults__[0][0]", "absent", "1")]),
    "method's default": Case(
        "class C:\n    def f(self, *, a={}): a[1] = 2", "app.C().f()",
        [("app.C.f.__kwdefaults__['a'][1]", "absent", "2")],
    ),
    "static method's attribute": Case(
        "class C:\n    @staticmethod\n    def f(): C.f.calls.append(1)\n    f.__func__.calls = []", "app.C.f()",
        [("app.C.f.calls[0]", "absent", "1")],
    ),
    "function attribute": Case("def f(): pass", "app.f.calls = 1", [("app.f.calls", "absent", "1")]),
    "lru_cache": Case(
        "import functools\n@functools.lru_cache\ndef f(n): return n", "app.f(1); app.f(2)",
        [("app.f", "a cache of 0 entries", "a cache of 2 entries")],
    ),
    "slot": Case(
        "class P:\n    __slots__ = ('a', 'b')\np = P(); p.a = 1", "del app.p.a; app.p.b = 1",
        [("app.p.a", "1", "absent"), ("app.p.b", "absent", "1")],
    ),
    "slot that another takes over": Case(
        "class P:\n    __slots__ = ('a',)\nclass Q(P): pass\np = Q(); v = p.a = object()",
        "app.p.c = app.p.a; del app.p.a",
        [("app.p.c", "absent", "<object object>"), ("app.p.a", "<object object>", "absent")],
    ),
    "array": Case("import numpy\na = numpy.zeros((2, 3))", "app.a[1, 2] = 5", [("app.a[1, 2]", "0.0", "5.0")]),
    "read-only array": Case(
        "import numpy\na = numpy.zeros(2); a.flags.writeable = False",
        "app.a.flags.writeable = True; app.a[0] = 1",
        [("app.a.flags.writeable", "False", "True"), ("app.a[0]", "0.0", "1.0")],
    ),
    "shortened": Case("x = None", "app.x = 'y' * 1000", [("app.x", "None", short("y" * 1000))]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_paths_and_texts(world: World, case: str) -> None:
    app = world(CASES[case].source)
    captured = snapshot_of("app")
    detector = Detector(captured)
    assert detector.changes() == []
    exec(CASES[case].task, {"app": app})
    assert sorted(told(detector.changes())) == sorted(CASES[case].expected)
    captured.restore()
    assert detector.changes() == []


HARMLESS = {
    "atoms made anew": (
        "X = 10**20; Y = 'a b'; Z = 1.5; T = (10**20,)",
        "n = 10**19; app.X = n * 10; app.Y = ' '.join('ab'); app.Z = 3 / 2; app.T = (n * 10,)",
    ),
    "containers made anew": ("X = []; Y = {'a': [1]}; S = {1}", "app.X = []; app.Y = {'a': [1]}; app.S = {1}"),
    "changed and changed back": ("X = [1]", "app.X.append(2); app.X.pop()"),
    "names of a module in another order": ("X = 1; Y = 2", "del app.X; app.X = 1"),
    "class attribute set to what it was": ("class C:\n    n = 1", "del app.C.n; app.C.n = 1"),
    "__dict__ of a function asked for": ("def f(): pass", "app.f.__dict__"),
    "__dict__ of an instance asked for": ("class C:\n    def __init__(self): self.a = 1\nX = C()", "vars(app.X)"),
    "annotations asked for": ("class C: pass\nx: int = 1", "app.C.__annotations__; app.__annotations__"),
    "a warning": ("import warnings\ndef f(): warnings.warn('w')", "app.f(); app.__warningregistry__"),
    "pickled": ("class C:\n    __slots__ = ('a',)\n    def __init__(self): self.a = 1\nX = C()",
                "import pickle; app.X.__reduce_ex__(2)"),
    "singledispatch": ("import functools\n@functools.singledispatch\ndef f(x): pass", "app.f(1)"),
    "flags combined": ("import enum\nclass F(enum.Flag):\n    A = 1\n    B = 2", "app.F.A | app.F.B"),
    "cache that only missed": ("import functools\n@functools.lru_cache\ndef f(n): raise KeyError",
                               "try: app.f(1)\nexcept KeyError: pass"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:w:UserWarning")
@pytest.mark.parametrize("case", HARMLESS)
def test_what_makes_no_difference_is_not_told(world: World, case: str) -> None:
    source, task = HARMLESS[case]
    app = world(source)
    captured = snapshot_of("app")
    detector = Detector(captured)
    for _ in range(2):
        exec(task, {"app": app})
        assert detector.changes() == []
        captured.restore()


def test_an_attribute_of_a_function_is_told_although_its_dictionary_was_asked_for_before(world: World) -> None:
    app = world("def f(): pass")
    detector = Detector(snapshot_of("app"))
    assert detector.changes() == []
    vars(app.f)
    assert detector.changes() == []
    app.f.note = 1
    assert told(detector.changes()) == [("app.f.note", "absent", "1")]


# -- what is compared -------------------------------------------------------------------------------------------------


def test_what_is_kept_is_not_told(world: World) -> None:
    app = world("CACHE = {}; x = []\nclass C:\n    n = 0\n    m = 0")
    detector = Detector(snapshot_of("app", keep=["app:CACHE", "app:C.n"]))
    app.CACHE["a"] = 1
    app.CACHE = None
    app.C.n = 5
    assert detector.changes() == []
    app.C.m = 1
    app.x.append(1)
    assert [change.path for change in detector.changes()] == ["app.x[0]", "app.C.m"]


def test_what_a_factory_makes_is_not_told(world: World) -> None:
    app = world("X = None")
    captured = snapshot_of({"app:X": list})
    captured.restore()
    app.X.append(1)
    assert Detector(captured).changes() == []


@pytest.mark.parametrize(
    ("target", "task", "path"),
    [
        ("app:X", "app.X = 2", "app.X"),
        ("app:C.n", "app.C.n = 2", "app.C.n"),
        ("app:OBJ.attr", "app.OBJ.attr = 2", "app.OBJ.attr"),
        ("app:OBJ.inner.attr", "app.OBJ.inner.attr = 2", "app.OBJ.inner.attr"),
        ("app:S.slot", "app.S.slot = 2", "app.S.slot"),
    ],
)
def test_targets_of_one_name(world: World, target: str, task: str, path: str) -> None:
    app = world(
        """
        X = 1
        class C:
            n = 1
        class Slotted:
            __slots__ = ("slot",)
        OBJ, S = C(), Slotted()
        OBJ.attr = S.slot = 1
        OBJ.inner = C()
        OBJ.inner.attr = 1
        """
    )
    detector = Detector(snapshot_of(target))
    assert detector.changes() == []
    exec(task, {"app": app})
    assert told(detector.changes()) == [(path, "1", "2")]


def test_the_environment_and_generators_when_they_are_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world("import os, random\nGEN = random.Random(1)")
    detector = Detector(snapshot_of("os:environ", "app:GEN"))
    assert detector.changes() == []
    monkeypatch.setenv("POOLSAFE_NEW", "x")
    sys.modules["app"].GEN.random()
    assert set(told(detector.changes())) == {
        ("os.environ['POOLSAFE_NEW']", "absent", "'x'"),
        ("app.GEN", "the state as captured", "another state"),
    }


def test_an_iterator_that_went_on(world: World) -> None:
    app = world(
        "import itertools\nids = itertools.count()\nclass C:\n    take = iter([1, 2]).__next__\n    over = iter('ab')"
    )
    captured = snapshot_of("app")
    assert captured.records["iterator"]
    detector = Detector(captured)
    for _ in range(2):
        assert detector.changes() == []
        next(app.ids)
        next(app.C.over)
        found = {path: (before, after) for path, before, after in told(detector.changes())}
        assert found["app.ids"] == ("count(0)", "count(1)")
        assert "app.C.over" in found
        captured.restore()


# -- names ------------------------------------------------------------------------------------------------------------


def test_the_shortest_path_wins_and_then_the_first(world: World) -> None:
    shared: list[int] = []
    world(name="a", deep={"x": [shared]}, FIRST=shared, SECOND=shared)
    world(name="b", ALSO=shared)
    detector = Detector(snapshot_of("a", "b"))
    shared.append(1)
    assert told(detector.changes()) == [("a.FIRST[0]", "absent", "1")]


def test_functions_and_classes_go_by_the_module_they_are_from(world: World) -> None:
    first = world("", name="a")
    second = world("def f(): pass\nclass C: n = 0", name="b")
    first.f, first.C = second.f, second.C
    detector = Detector(snapshot_of("a", "b"))
    second.f.note, second.C.n = 1, 1
    assert [change.path for change in detector.changes()] == ["b.f.note", "b.C.n"]


def test_cycles(world: World) -> None:
    app = world("x = []; x.append(x)\nd = {}; d['d'] = d")
    detector = Detector(snapshot_of("app"))
    app.x.append(app.d)
    app.d["x"] = app.x
    assert [change.path for change in detector.changes()] == ["app.x[1]", "app.d['x']"]


def test_many_changes_of_one_object_are_limited(world: World) -> None:
    app = world("x = []; y = 1")
    detector = Detector(snapshot_of("app"))
    app.x.extend(range(100))
    app.y = 2
    found = told(detector.changes())
    assert len(found) == MOST + 2
    assert found[0] == ("app.y", "1", "2")
    assert found[-1] == ("app.x", "", "... and 80 more")
    app.x.extend(range(100_000))
    assert told(detector.changes())[-1] == ("app.x", "", "... and more than 1000 more")


def test_the_same_state_gives_the_same_report(world: World) -> None:
    app = world(
        "import collections\nd = {'b': 1, 'a': 2}\ns = {'x', 'y', 'z'}\nclass C: n = 0\nx = [C() for _ in range(5)]"
    )
    one, other = snapshot_of("app"), snapshot_of("app")
    first, second = Detector(one), Detector(other)
    first.changes()
    for at, obj in enumerate(app.x):
        obj.at = at
    app.s.clear()
    app.d.update(c=1, b=2)
    assert first.changes() == second.changes() == first.changes()
    assert [change.path for change in first.changes()] == [
        "app.d['b']", "app.d['c']", "app.s", "app.s", "app.s",
        "app.x[0].at", "app.x[1].at", "app.x[2].at", "app.x[3].at", "app.x[4].at",
    ]  # fmt: skip


def test_submodules_and_new_modules_are_no_leak(world: World) -> None:
    app = world(name="pkg", X=1)
    detector = Detector(snapshot_of("pkg"))
    sub = world("y = 1", name="pkg.sub")
    app.sub = sub
    assert detector.changes() == []
    app.alias = sub
    assert told(detector.changes()) == [("pkg.alias", "absent", "<module pkg.sub>")]


def test_modules_that_come_later_are_compared_from_then_on(world: World) -> None:
    app = world("x = []")
    captured = Plan.make("auto").capture()
    detector = Detector(captured)
    assert detector.changes() == []
    late = world("y = []", name="late")
    captured.restore()
    late.y.append(1)
    app.x.append(1)
    assert {change.path for change in detector.changes()} == {"app.x[0]", "late.y[0]"}
    captured.restore()


# -- hostile objects --------------------------------------------------------------------------------------------------


def test_no_code_of_hostile_objects_runs(world: World) -> None:
    """Except for their repr, which may raise whatever it likes."""
    mean = Meta("Mean", (), {"items": []})
    app = world(X=Hostile(), Y=[Hostile() for _ in range(3)], D={}, Z=None, C=mean, O=[None] * 3)
    captured = snapshot_of("app")
    detector = Detector(captured)
    assert detector.changes() == []
    app.X, app.Y[1], app.Z = Hostile(), Hostile(), app.X
    app.D[1] = Hostile()
    app.O[1] = Hostile()
    found = told(detector.changes())
    assert [path for path, _, _ in found] == ["app.X", "app.Z", "app.Y[1]", "app.D[1]", "app.O[1]"]
    text = "<Hostile object whose repr() raised HostileError>"
    assert {after for _, _, after in found} == {text, f"another {text}"}


def test_an_instance_whose_dict_has_overrides(world: World) -> None:
    class Overriding(dict):  # type: ignore[type-arg]
        def _refuse(self, *args: Any) -> Any:
            raise HostileError

        items = values = get = __len__ = __contains__ = _refuse

    class Plain:
        pass

    obj = Plain()
    obj.__dict__ = Overriding(a=1)
    world(X=obj)
    detector = Detector(snapshot_of("app"))
    assert detector.changes() == []
    obj.b = 2  # type: ignore[attr-defined]
    assert told(detector.changes()) == [("app.X.b", "absent", "2")]


def test_an_object_that_refuses_to_be_compared_counts_as_changed(world: World) -> None:
    class Refusing:
        def __eq__(self, other: object) -> bool:
            raise HostileError

        __hash__ = object.__hash__

    app = world("x = list(range(100))\ndef f(a=(1,)): pass")
    captured = snapshot_of("app")
    detector = Detector(captured)
    assert detector.changes() == []
    app.x[50] = Refusing()
    app.f.__defaults__ = (Refusing(),)
    assert [change.path for change in detector.changes()] == ["app.x[50]", "app.f.__defaults__"]


def test_equal_to_everything_is_told_all_the_same(world: World) -> None:
    class Equal:
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

    app = world("x = [1]; d = {1: 1}; s = {1}; n = 1; T = (1,)\nclass C: n = 1")
    captured = snapshot_of("app")
    detector = Detector(captured)
    assert detector.changes() == []
    app.x[0] = app.d[1] = app.n = app.C.n = Equal()
    app.T = (Equal(),)
    app.s.clear()
    app.s.add(Equal())
    paths = {change.path for change in detector.changes()}
    assert paths == {"app.x[0]", "app.d[1]", "app.n", "app.C.n", "app.T", "app.s"}


# -- without a reset --------------------------------------------------------------------------------------------------


def test_rebase(world: World) -> None:
    app = world("x = []")
    detector = Detector(snapshot_of("app"), lambda: snapshot_of("app"))
    app.x.append(1)
    assert told(detector.changes()) == [("app.x[0]", "absent", "1")]
    detector.rebase()
    assert detector.changes() == []
    app.x.append(2)
    assert told(detector.changes()) == [("app.x[1]", "absent", "2")]


def test_rebase_needs_a_way_to_capture(world: World) -> None:
    world()
    with pytest.raises(RuntimeError):
        Detector(snapshot_of("app")).rebase()


# -- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, "a", None], "[1, 'a', None]"),
        ((1,), "(1,)"),
        (set(), "set()"),
        ({2, 1}, "{1, 2}"),
        ({"b": 1, "a": [{}]}, "{'b': 1, 'a': [{}]}"),
        ([[[[1]]]], "[[[[...]]]]"),
        (list(range(1000)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...] (1000 items)"),
        (set(range(1000)), "{...} (1000 items)"),
        (10**4000, "<an int of 13288 bits>"),
        (object(), "<object object>"),
        (specimens.Kept, "<class tests.unit.isolation.specimens.Kept>"),
        (short, "<function poolsafe.isolation.texts.short>"),
        (enum, "<module enum>"),
        (functools.partial(short), None),
        (specimens.Color.RED, "<Color.RED: 1>"),
        (np.zeros(2), "array([0., 0.])"),
        (threading.Lock(), "<unlocked _thread.lock object>"),
        (itertools.count(3), "count(3)"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_short_texts(value: Any, text: str | None) -> None:
    found = short(value)
    assert len(found) <= LIMIT
    assert "0x" not in found
    assert text is None or found == text


@pytest.mark.parametrize("value", ["x" * 500, b"x" * 500, ["x" * 500], {"k" * 500: 1}, [["x" * 50] * 50] * 50])
def test_long_texts_are_cut(value: Any) -> None:
    assert 20 < len(short(value)) <= LIMIT
    assert "..." in short(value)


def raising(error: type[BaseException]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:
        raise error

    return __repr__


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, RecursionError])
def test_a_bad_repr(error: type[BaseException]) -> None:
    bad = type("Bad", (), {"__repr__": raising(error)})()
    texts = short(bad), short([bad])
    del bad
    assert all(f"repr() raised {error.__name__}" in text for text in texts)


def test_state_of_the_process_as_changes() -> None:
    found = as_changes([("os.getcwd()", "/a", "/b"), ("os.environ['X']", "1", None)])
    assert told(found) == [("os.getcwd()", "'/a'", "'/b'"), ("os.environ['X']", "'1'", "None")]
