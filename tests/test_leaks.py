"""Leaks are found, named, told once, and warned of or refused, whatever the start method and the chunk size."""

from __future__ import annotations

import os
import sys
import types
import warnings
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, LeakError, PoolsafeWarning, WorkerLost, presets
from tests.support import tasks
from tests.support.gates import wait_for

CACHE: dict[str, Any] = {"runs": [1]}
LEFT: list[int] = []
client: object = None


def leaky(i: int) -> int:
    CACHE["runs"].append(i)
    os.environ["POOLSAFE_TEST_LEAK"] = str(i)
    return len(CACHE["runs"])


def lazy(_: int) -> None:
    global client
    client = client or object()


def tidy(i: int) -> int:
    return len(CACHE["runs"]) + i


def leak_and_raise(i: int) -> None:
    LEFT.append(i)
    raise ValueError(i)


def leak_and_die(i: int) -> None:
    LEFT.append(i)
    if i == 2:
        tasks.kill_self()


def use_the_library(_: object) -> None:
    import asyncio
    import decimal
    import mimetypes
    import statistics
    import tempfile
    import urllib.request

    tempfile.TemporaryFile().close()
    mimetypes.guess_type("a.txt")
    urllib.request.urlopen(f"file:{__file__}").close()
    asyncio.run(asyncio.sleep(0))
    assert statistics.mean([decimal.Decimal(1), decimal.Decimal(2) / 3])


def look(_: object = None) -> tuple[int, str | None]:
    return len(CACHE["runs"]), os.environ.get("POOLSAFE_TEST_LEAK")


RUNS = f"{__name__}.CACHE['runs'][1]"
VARIABLE = "os.environ['POOLSAFE_TEST_LEAK']"


@pytest.mark.parametrize("chunksize", [1, 4])
def test_which_task_changed_what(ctx: BaseContext, chunksize: int) -> None:
    with IsolatedPool(2, context=ctx, on_leak="watch") as pool:
        pool.apply(tidy, (5,))
        assert pool.map(leaky, range(4), chunksize) == [2] * 4
        found = sorted((leak.index, leak.path, leak.function, leak.arguments) for leak in pool.leaks)
    assert found == [(i + 1, path, "leaky", str(i)) for i in range(4) for path in (VARIABLE, RUNS)] or found == [
        (i + 1, path, "leaky", str(i)) for i in range(4) for path in sorted((VARIABLE, RUNS))
    ]
    [first] = [leak for leak in pool.leaks if (leak.index, leak.path) == (1, RUNS)]
    assert (first.before, first.after) == ("absent", "0")
    assert RUNS in str(pool.leaks)


def test_without_isolation_leaks_are_found_and_stay(ctx: BaseContext) -> None:
    with IsolatedPool(1, context=ctx, isolation=None, on_leak="watch") as pool:
        assert pool.map(leaky, range(3), 1) == [2, 3, 4]
        assert pool.apply(look) == (4, "2")
    lists = [leak.path for leak in pool.leaks if "CACHE" in leak.path]
    assert lists == [f"{__name__}.CACHE['runs'][{i}]" for i in (1, 2, 3)], "each is told once, by who made it"


def test_nothing_is_watched_unless_asked() -> None:
    with IsolatedPool(1) as pool:
        pool.map(leaky, range(3))
        assert list(pool.leaks) == []


def test_what_is_kept_is_no_leak() -> None:
    keep = [f"{__name__}:CACHE", presets.environ]
    with IsolatedPool(1, on_leak="watch", keep=keep) as pool:
        assert pool.map(leaky, range(3)) == [2, 3, 4]
        assert list(pool.leaks) == []


def test_a_task_that_raises_and_one_that_dies(ctx: BaseContext) -> None:
    with IsolatedPool(1, context=ctx, on_leak="watch") as pool:
        with pytest.raises(ValueError, match="7"):
            pool.apply(leak_and_raise, (7,))
        with pytest.raises(WorkerLost):
            pool.map(leak_and_die, range(4), 4)
        wait_for(lambda: len(pool.leaks) == 4, what="all leaks")
    assert [leak.arguments for leak in pool.leaks] == ["7", "0", "1", "3"], "told once, though the log was read twice"


def test_raise_fails_the_task_and_not_the_next(ctx: BaseContext) -> None:
    with IsolatedPool(1, context=ctx, on_leak="raise") as pool:
        with pytest.raises(LeakError, match=r"leaky\(3\) changed .*CACHE\['runs'\]\[1\]: absent -> 3") as caught:
            pool.apply(leaky, (3,))
        assert set(caught.value.paths) == {RUNS, VARIABLE}
        assert pool.map(tidy, range(3)) == [1, 2, 3]
        with pytest.raises(ValueError, match="1"):
            pool.apply(leak_and_raise, (1,))


def test_what_the_standard_library_fills_at_its_first_use_is_no_leak(ctx: BaseContext) -> None:
    with IsolatedPool(1, context=ctx, on_leak="raise") as pool:
        pool.map(use_the_library, range(2), 1)
        with pytest.raises(LeakError):
            pool.apply(leaky, (1,))


def test_warn_says_each_path_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with IsolatedPool(1, on_leak="warn", reset=__name__) as pool:
            pool.map(leaky, range(5))
    told = [str(one.message) for one in caught if issubclass(one.category, PoolsafeWarning)]
    assert len(told) == 1
    assert f"leaky(0) changed {RUNS}: absent -> 0; see pool.leaks" in told[0]


def test_a_lazy_singleton_is_answered_with_advice() -> None:
    with IsolatedPool(2, on_leak="watch") as pool:
        pool.map(lazy, range(4), 1)
    [advice] = pool.leaks.advice()
    assert f'keep="{__name__}:client"' in advice
    assert "initializer=" in advice


def test_what_costs_most_is_named_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    heavy: Any = types.ModuleType("heavy_module")
    heavy.__file__ = str(tmp_path / "heavy_module.py")
    heavy.TABLE = {number: [number] for number in range(30_000)}
    monkeypatch.setitem(sys.modules, "heavy_module", heavy)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with IsolatedPool(1, context=get_context("fork"), reset="heavy_module") as pool:
            wait_for(lambda: pool.map(tidy, range(20), 1) and bool(pool.stats().dearest), 30, "the warning")
            stats = pool.stats()
            pool.map(tidy, range(20), 1)
    assert stats.dearest[0][0] == "heavy_module:TABLE"
    assert stats.seconds_in_resets > (stats.seconds_in_resets + stats.seconds_in_tasks) / 10
    [told] = [str(one.message) for one in caught if issubclass(one.category, PoolsafeWarning)]
    assert "most of it for heavy_module:TABLE" in told
