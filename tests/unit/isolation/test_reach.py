"""How far the walk goes, what it never enters, and what it says about values that cannot be put back."""

from __future__ import annotations

import collections
import contextlib
import functools
import io
import itertools
import json
import logging
import multiprocessing
import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from poolsafe.errors import CaptureError
from poolsafe.isolation.targets import Plan
from tests.unit.isolation.worlds import World, snapshot_of


@contextlib.contextmanager
def _closing(value: Any) -> Iterator[Any]:
    try:
        yield value
    finally:
        for name in ("close", "detach"):
            with contextlib.suppress(Exception):
                getattr(value, name)()


OPAQUE: dict[str, Callable[[], Any]] = {
    "open file": lambda: open(os.devnull),  # noqa: SIM115 - closed by the test
    "socket": socket.socket,
    "database": lambda: sqlite3.connect(":memory:"),
    "generator": lambda: (x for x in ()),
    "list iterator": lambda: iter([1]),
    "itertools.count": itertools.count,
    "zip": lambda: zip([1], [2], strict=True),
    "SimpleQueue": lambda: __import__("_queue").SimpleQueue(),
    "numpy generator": np.random.default_rng,
    "text over bytes": lambda: io.TextIOWrapper(io.BytesIO()),
}

#: How the value hangs in ``app:X``, and the path that the message must tell.
HOLDERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "itself": (lambda v: v, "app:X"),
    "dict": (lambda v: {"conn": v}, "app:X['conn']"),
    "list": (lambda v: [0, [v]], "app:X[1][0]"),
    "attribute": (lambda v: types.SimpleNamespace(a=types.SimpleNamespace(b=v)), "app:X.a.b"),
    "foreign instance": (lambda v: collections.UserList([v]), "app:X.data[0]"),
    "defaultdict": (lambda v: collections.defaultdict(list, a=v), "app:X['a']"),
    "partial": (lambda v: functools.partial(print, v), "app:X (partial)[0]"),
    "set": (lambda v: {v}, "app:X (a member)"),
    "key": (lambda v: {v: 1}, "app:X (a key)"),
}


@pytest.mark.parametrize("kind", OPAQUE)
def test_a_named_value_that_cannot_be_put_back_is_an_error(world: World, kind: str) -> None:
    with _closing(OPAQUE[kind]()) as value:
        world(X={"conn": value})
        with pytest.raises(CaptureError) as caught:
            Plan.make("app:X")
        error = caught.value
        assert (error.path, error.target) == ("app:X['conn']", "app:X")
        assert type(value).__name__ in error.fact
        for way in ("{target: factory}", "resetter", "keep=target"):
            assert way in error.remedy


@pytest.mark.parametrize("holder", HOLDERS)
def test_the_error_says_where(world: World, holder: str) -> None:
    wrap, path = HOLDERS[holder]
    with open(os.devnull) as value:
        world(X=wrap(value))
        with pytest.raises(CaptureError) as caught:
            Plan.make("app:X")
        assert caught.value.path == path


def test_the_error_says_where_in_code(world: World) -> None:
    with open(os.devnull) as value:
        world(
            """
            def make(v):
                def inner(a=[v]): return a
                def outer(): return v, inner
                return outer, inner
            OUTER, INNER = make(STREAM)
            class Holder:
                stream = STREAM
            """,
            STREAM=value,
        )
        for name, path in (
            ("OUTER", {"app:OUTER.<locals>.v", "app:OUTER.<locals>.inner.__defaults__[0][0]"}),
            ("INNER", {"app:INNER.__defaults__[0][0]"}),
            ("Holder", {"app:Holder.stream"}),
            ("Holder.stream", {"app:Holder.stream"}),
        ):
            with pytest.raises(CaptureError) as caught:
                Plan.make(f"app:{name}")
            assert caught.value.path in path


@pytest.mark.parametrize("kind", sorted(OPAQUE.keys() - {"list iterator", "itertools.count"}))  # made anew, these
def test_in_a_whole_module_only_its_binding_is_put_back(world: World, kind: str) -> None:
    with _closing(OPAQUE[kind]()) as value:
        app = world(X=value, NESTED=[value])
        snapshot = snapshot_of("app")
        app.X = None
        app.NESTED.clear()
        snapshot.restore()
        assert app.X is value
        assert [value] == app.NESTED


@pytest.mark.parametrize("ways", [{"keep": ["app:X"]}, {"more": [{"app:X": list}]}])
def test_the_ways_out_of_the_message_work(world: World, ways: dict[str, Any]) -> None:
    with open(os.devnull) as value:
        app = world(X={"conn": value}, Y=[1])
        snapshot = snapshot_of("app:Y", *ways.get("more", ["app:X"]), keep=ways.get("keep", ()))
        app.Y.append(2)
        snapshot.restore()
        assert app.Y == [1]


def test_foreign_instances_are_entered_only_by_name(world: World) -> None:
    def make() -> Any:
        decoder = json.JSONDecoder()
        decoder.memo = {"a": 1}
        return decoder

    app = world(BY_NAME=make(), BY_MODULE=make())
    snapshot = snapshot_of("app", "app:BY_NAME")
    for value in (app.BY_NAME, app.BY_MODULE):
        value.memo["b"] = 2
        value.strict = "changed"
    snapshot.restore()
    assert (app.BY_NAME.memo, app.BY_NAME.strict) == ({"a": 1}, True)
    assert (app.BY_MODULE.memo, app.BY_MODULE.strict) == ({"a": 1, "b": 2}, "changed")


def test_foreign_classes_and_functions_are_not_entered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = world(
        "import json\nfrom json import JSONEncoder, dumps\nNAMES = [JSONEncoder, dumps, json]\ndef own(): pass",
        name="app",
    )
    snapshot = snapshot_of("app", "app:NAMES", "auto")
    monkeypatch.setattr(json.JSONEncoder, "item_separator", "changed")
    monkeypatch.setattr(json.dumps, "note", 1, raising=False)
    app.own.note = 1
    snapshot.restore()
    assert json.JSONEncoder.item_separator == "changed"
    assert json.dumps.note == 1
    assert vars(app.own) == {}


def test_a_foreign_class_or_function_that_is_named_is_put_back() -> None:
    snapshot = snapshot_of("json:JSONEncoder", "json:dumps")
    json.JSONEncoder.item_separator = "changed"
    json.dumps.note = 1  # type: ignore[attr-defined]
    snapshot.restore()
    assert json.JSONEncoder.item_separator == ", "
    assert not hasattr(json.dumps, "note")


def test_a_foreign_decorator_around_a_function_of_ours_is_entered(world: World) -> None:
    app = world(
        """
        import contextlib, functools
        @contextlib.contextmanager
        def opened(seen=[]):
            seen.append(1)
            yield seen
        @functools.singledispatch
        def show(x): return "any"
        """
    )
    snapshot = snapshot_of("app")
    for _ in range(2):
        with app.opened() as seen:
            assert seen == [1]
        app.show.register(int, lambda x: "int")
        assert app.show(1) == "int"
        snapshot.restore()
        assert app.show(1) == "any"


LEFT_ALONE: dict[str, Callable[[], Any]] = {
    "module": lambda: sys,
    "logger": lambda: logging.getLogger("tests.isolation"),
    "handler": logging.NullHandler,
    "thread": threading.Thread,
    "queue between processes": multiprocessing.SimpleQueue,
    "lock between processes": multiprocessing.Lock,
    "code": lambda: (lambda: 0).__code__,
    "standard stream": lambda: sys.stdout,
    "modules table": lambda: sys.modules,
    "globals of a module": lambda: vars(json),
    "method of C": lambda: str.join,
    "sentinel": object,
}


@pytest.mark.parametrize("target", ["app", "app:X", "auto"])
@pytest.mark.parametrize("kind", LEFT_ALONE)
def test_is_left_alone_and_no_error(world: World, kind: str, target: str) -> None:
    value = LEFT_ALONE[kind]()
    app = world(X=[value])
    snapshot = snapshot_of(target)
    if hasattr(value, "__dict__"):
        with contextlib.suppress(AttributeError, TypeError):
            value.isolation_note = 1
    app.X.clear()
    snapshot.restore()
    assert app.X[0] is value
    if isinstance(value, dict):
        assert len(value) > 10
    if getattr(value, "isolation_note", None):
        del value.isolation_note  # raises when the restore took it away
    if hasattr(value, "_reader"):
        value.close()


def test_a_running_thread_of_ours_is_left_alone(world: World) -> None:
    go = threading.Event()
    app = world("import threading\nclass Own(threading.Thread):\n    pass")
    app.T = app.Own(target=go.wait)
    app.T.start()
    try:
        snapshot = snapshot_of("app", "app:T")
        assert app.T.is_alive()
    finally:
        go.set()
        app.T.join()
    snapshot.restore()
    assert not app.T.is_alive()


def test_random_generators_are_rewound_only_by_name(world: World) -> None:
    app = world(NAMED=random.Random(1), OTHER=random.Random(1))
    snapshot = snapshot_of("app", "app:NAMED")
    first = app.NAMED.random(), app.NAMED.gauss(0, 1), app.OTHER.random()
    snapshot.restore()
    assert (app.NAMED.random(), app.NAMED.gauss(0, 1)) == first[:2]
    assert app.OTHER.random() != first[2]


def test_the_environment_is_put_back_only_by_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOLATION_A", "1")
    monkeypatch.setenv("ISOLATION_B", "1")
    monkeypatch.delenv("ISOLATION_C", raising=False)
    world("from os import environ")
    for snapshot, expected in ((snapshot_of("auto"), "2 None 3"), (snapshot_of("os:environ"), "1 1 None")):
        os.environ["ISOLATION_A"] = "2"
        os.environ.pop("ISOLATION_B", None)
        os.environ["ISOLATION_C"] = "3"
        snapshot.restore()
        show = "import os; print(*map(os.environ.get, ['ISOLATION_A', 'ISOLATION_B', 'ISOLATION_C']))"
        child = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, timeout=30, check=True)
        assert child.stdout.strip() == expected
        os.environ.update(ISOLATION_A="1", ISOLATION_B="1")
        os.environ.pop("ISOLATION_C", None)


def test_what_cannot_be_read_at_capture_is_passed_by(world: World) -> None:
    closed_text, closed_bytes, view = io.StringIO(), io.BytesIO(), memoryview(b"x")
    for thing in (closed_text, closed_bytes):
        thing.close()
    view.release()
    frozen = np.arange(3)
    frozen.setflags(write=False)
    app = world(X=[closed_text, closed_bytes, view, frozen, types.MappingProxyType(vars(OneOfOurs))])
    for target in ("app", "app:X"):
        snapshot = snapshot_of(target)
        app.X.append(1)
        snapshot.restore()
        assert len(app.X) == 5
        assert closed_text.closed
        assert closed_bytes.closed
        assert not frozen.flags.writeable


class OneOfOurs:
    a = 1


def test_a_lock_that_was_held_stays_held(world: World) -> None:
    app = world(L=threading.Lock(), R=threading.RLock())
    with app.L, app.R:
        snapshot_of("app").restore()
        assert app.L.locked()
        assert app.R._is_owned()


def test_a_lock_that_another_thread_holds_for_a_moment_is_waited_for(world: World) -> None:
    """A thread that the initializer started may rightly hold a lock of the project's when a reset comes."""
    app = world(L=threading.Lock(), R=threading.RLock())
    snapshot = snapshot_of("app")
    taken, free = threading.Event(), threading.Event()
    problems: list[BaseException] = []

    def hold() -> None:
        try:
            with app.L, app.R:
                taken.set()
                free.wait(10)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    threading.Timer(0.02, free.set).start()
    snapshot.restore()
    thread.join(10)
    assert not problems
    assert not app.L.locked()


def test_locks_left_locked_by_a_thread_that_is_gone(world: World) -> None:
    app = world(L=threading.Lock(), R=threading.RLock())
    snapshot = snapshot_of("app")
    thread = threading.Thread(target=lambda: (app.L.acquire(), app.R.acquire()))
    thread.start()
    thread.join()
    snapshot.restore()
    assert app.L.acquire(blocking=False)
    assert app.R.acquire(blocking=False)


def test_an_event_with_waiting_threads_keeps_them(world: World) -> None:
    """Whoever waits is written down inside the event; that must not be put back."""
    app = world(E=threading.Event())
    snapshot = snapshot_of("app:E")
    started = threading.Event()
    woken = threading.Event()

    def wait() -> None:
        started.set()
        if app.E.wait(10):
            woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert started.wait(10)
    while not app.E._cond._waiters:  # until it really waits
        thread.join(0.001)
    snapshot.restore()
    app.E.set()
    thread.join(10)
    assert woken.is_set()


def test_depth_does_not_matter(world: World) -> None:
    deep: list[Any] = []
    bottom = deep
    for _ in range(50_000):
        bottom.append([])
        bottom = bottom[0]
    app = world(X=deep)
    snapshot = snapshot_of("app:X")
    bottom.append(1)
    snapshot.restore()
    assert bottom == []
    while deep:  # taken apart, or its deallocation would be just as deep
        deep = deep.pop()
    del app


def test_shared_and_cyclic(world: World) -> None:
    app = world(
        """
        SHARED = [1]
        A = {"shared": SHARED}
        B = [SHARED, A]
        A["b"] = B
        SHARED.append(A)
        class Node:
            def __init__(self): self.me = self; self.others = [self]
        N = Node()
        """
    )
    snapshot = snapshot_of("app:A", "app:N")
    app.B.clear()
    app.SHARED[:] = [0]
    app.A.clear()
    app.N.me = None
    app.N.others.append(1)
    snapshot.restore()
    assert app.A["shared"] is app.SHARED
    assert app.A["b"] is app.B
    assert app.B[0] is app.SHARED
    assert app.B[1] is app.A
    assert app.SHARED[0] == 1
    assert app.SHARED[1] is app.A
    assert app.N.me is app.N
    assert app.N.others == [app.N]
