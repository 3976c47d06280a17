"""Presets of packages: NumPy, pandas, matplotlib. Each in an interpreter of its own; skipped where one is missing."""

from __future__ import annotations

import importlib.util
import textwrap

import pytest

from tests.support.scripts import run_python


def check(*packages: str, program: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    head = "import sys\nfrom poolsafe import presets\nfrom poolsafe.isolation.preset import Preset\n"
    done = run_python("-c", head + textwrap.dedent(program))
    assert done.returncode == 0, done.stderr


def test_nothing_is_imported() -> None:
    program = """
    presets.ProcessState().capture()
    assert not {"numpy", "pandas", "matplotlib"} & set(sys.modules)
    """
    check(program=program)


def test_numpy() -> None:
    program = """
    import numpy
    numpy.set_printoptions(precision=5)
    def task():
        numpy.set_printoptions(precision=2, suppress=True, linewidth=40, formatter={"int": str})
        numpy.seterr(all="raise", under="warn")
        numpy.seterrcall(print)
    def look():
        return str(numpy.array([1 / 3])), numpy.get_printoptions(), numpy.geterr(), numpy.geterrcall()
    first = look()
    for preset in presets.numpy, presets.ProcessState():
        state = preset.capture()
        for _ in range(2):
            task()
            found = {path for path, _, _ in preset.differences(state)}
            assert {"numpy.get_printoptions()['precision']", "numpy.geterr()['divide']", "numpy.geterrcall()"} <= found
            preset.restore(state)
            assert look() == first, look()
            assert preset.differences(state) == []
    type(presets.numpy).put_back = None
    presets.numpy.restore(presets.numpy.capture())
    """
    check("numpy", program=program)


def test_numpy_that_a_task_imports() -> None:
    program = """
    state = presets.numpy.capture()
    import numpy
    values, defaults = presets.numpy.read(), presets.numpy.defaults()
    assert values == defaults, (values, defaults)
    numpy.set_printoptions(precision=2)
    numpy.seterr(all="raise")
    assert presets.numpy.differences(state)
    presets.numpy.restore(state)
    assert numpy.get_printoptions()["precision"] == 8
    assert numpy.geterr()["divide"] == "warn"
    """
    check("numpy", program=program)


def test_pandas() -> None:
    program = """
    state_of_none = presets.pandas.capture()
    import pandas
    assert presets.pandas.differences(state_of_none) == [], presets.pandas.differences(state_of_none)
    pandas.set_option("display.max_rows", 7)
    presets.pandas.restore(state_of_none)
    assert pandas.get_option("display.max_rows") == 60
    pandas.set_option("display.max_rows", 8)
    for preset in presets.pandas, presets.ProcessState():
        state = preset.capture()
        for _ in range(2):
            pandas.set_option("display.max_rows", 9)
            pandas.options.display.precision = 2
            found = {path for path, _, _ in preset.differences(state)}
            assert {"pandas.options.display.max_rows", "pandas.options.display.precision"} <= found, found
            preset.restore(state)
            assert (pandas.get_option("display.max_rows"), pandas.options.display.precision) == (8, 6)
            assert preset.differences(state) == []
    type(presets.pandas).put_back = None
    presets.pandas.restore(presets.pandas.capture())
    """
    check("pandas", program=program)


def test_matplotlib() -> None:
    program = """
    state_of_none = presets.matplotlib.capture()
    import matplotlib
    matplotlib.use("Agg")
    first = matplotlib.rcParams["lines.linewidth"]
    matplotlib.rcParams["lines.linewidth"] = 9
    presets.matplotlib.restore(state_of_none)
    assert matplotlib.rcParams["lines.linewidth"] == first
    import matplotlib.pyplot as plt
    plt.figure(1)
    sizes = list(matplotlib.rcParams["figure.figsize"])
    for preset in presets.matplotlib, presets.ProcessState():
        state = preset.capture()
        assert preset.differences(state) == []
        for _ in range(2):
            matplotlib.rcParams["lines.linewidth"] = 9
            matplotlib.rcParams["figure.figsize"][0] = 99
            plt.style.use("ggplot")
            plt.figure(2)
            found = {path for path, _, _ in preset.differences(state)}
            assert {"matplotlib.rcParams['lines.linewidth']", "matplotlib.pyplot.get_fignums()"} <= found, found
            preset.restore(state)
            assert matplotlib.rcParams["lines.linewidth"] == first
            assert list(matplotlib.rcParams["figure.figsize"]) == sizes
            assert plt.get_fignums() == [1]
            assert matplotlib.get_backend().lower() == "agg"
            assert preset.differences(state) == [], preset.differences(state)
    type(presets.matplotlib).put_back = None
    presets.matplotlib.restore(presets.matplotlib.capture())
    """
    check("matplotlib", program=program)
