"""What classes and functions are called and inherit from, and arrays that were read-only."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.isolation.worlds import World, snapshot_of


@pytest.mark.parametrize("reset", ["auto", "app"])
def test_a_class_gets_its_names_and_bases_back(world: World, reset: str) -> None:
    app = world("class A: word = 'a'\nclass B: word = 'b'\nclass C(A): pass\nc = C()")
    snapshot = snapshot_of(reset)
    for _ in range(2):
        app.C.__name__, app.C.__qualname__, app.C.__bases__ = "X", "Y", (app.B,)
        assert app.c.word == "b"
        snapshot.restore()
        assert (app.C.__name__, app.C.__qualname__, app.C.__bases__) == ("C", "C", (app.A,))
        assert app.c.word == "a"


def test_only_a_name_or_only_the_bases(world: World) -> None:
    app = world("class A: pass\nclass B: pass\nclass C(A): pass\nclass D: pass")
    snapshot = snapshot_of("auto")
    app.D.__qualname__ = "Outer.D"
    app.C.__bases__ = (app.B,)
    snapshot.restore()
    assert app.C.__bases__ == (app.A,)
    app.D.__name__ = "E"
    snapshot.restore()
    assert (app.D.__name__, app.D.__qualname__) == ("D", "D")


def test_a_function_gets_its_names_and_docstring_back(world: World) -> None:
    app = world("def f():\n    'doc'\nclass C:\n    def m(self): 'words'")
    snapshot = snapshot_of("auto")
    for function, names in ((app.f, ("f", "f", "doc")), (app.C.m, ("m", "C.m", "words"))):
        function.__name__, function.__qualname__, function.__doc__ = "x", "y", None
        snapshot.restore()
        assert (function.__name__, function.__qualname__, function.__doc__) == names


@pytest.mark.parametrize("reset", ["auto", "app", "app:R"])
def test_a_read_only_array_that_a_task_makes_writable(world: World, reset: str) -> None:
    app = world(R=np.arange(3))
    app.R.flags.writeable = False
    snapshot = snapshot_of(reset)
    for _ in range(2):
        app.R.flags.writeable = True
        app.R[:] = 7
        snapshot.restore()
        assert app.R.tolist() == [0, 1, 2]
        assert not app.R.flags.writeable
