"""Drop-in by signature: what the standard library's pool takes, ours takes in the same place, and runs its own code."""

from __future__ import annotations

import functools
import inspect
import multiprocessing.pool as stdlib
import typing
from types import FunctionType
from typing import Any

import pytest

import poolsafe
from poolsafe import iterators, results
from tests.support import tasks

#: Our classes beside those they stand in for.
PAIRS: dict[type, type] = {
    poolsafe.IsolatedPool: stdlib.Pool,
    results.AsyncResult: stdlib.ApplyResult,
    results.MapResult: stdlib.MapResult,
    iterators.IMapIterator: stdlib.IMapIterator,
    iterators.IMapUnorderedIterator: stdlib.IMapUnorderedIterator,
}

#: What programs call although its name has underscores.
SPECIAL = {"__init__", "__enter__", "__exit__", "__iter__", "__next__", "__reduce__", "__repr__", "__del__"}


def functions(cls: type) -> dict[str, Any]:
    """The functions of *cls*, those it inherits included, as they are found on it; `object`'s are left out."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__[:-1]):
        found |= {name: value for name, value in vars(base).items() if isinstance(value, (FunctionType, staticmethod))}
    return found


def callable_by_programs(theirs: type) -> list[str]:
    names = [name for name in functions(theirs) if not name.startswith("_") or name in SPECIAL]
    # Results are made by the pool alone: how is the pool's own business.
    return names if theirs is stdlib.Pool else [name for name in names if name != "__init__"]


METHODS = [(ours, theirs, name) for ours, theirs in PAIRS.items() for name in callable_by_programs(theirs)]
by_name = pytest.mark.parametrize(
    ("ours", "theirs", "name"), METHODS, ids=[f"{ours.__name__}.{name}" for ours, _, name in METHODS]
)


@pytest.mark.parametrize("name", ["apply_async", "map_async", "imap", "imap_unordered", "stats", "Queue"])
def test_annotations_resolve(name: str) -> None:
    """Though what they name is imported later."""
    assert typing.get_type_hints(getattr(poolsafe.IsolatedPool, name))["return"]


@by_name
def test_signature_extends_stdlib(ours: type, theirs: type, name: str) -> None:
    mine, model = (inspect.signature(getattr(cls, name)).parameters for cls in (ours, theirs))
    if name in ("__exit__", "__del__"):  # called by Python itself, by position
        return
    assert list(mine)[: len(model)] == list(model)
    for parameter in model.values():
        assert mine[parameter.name].kind is parameter.kind
        assert mine[parameter.name].default == parameter.default
    extra = [mine[key] for key in mine if key not in model]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in extra)


@by_name
def test_method_is_our_own(ours: type, theirs: type, name: str) -> None:
    assert functions(ours)[name] is not functions(theirs)[name]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS.items(), ids=lambda cls: cls.__name__)
def test_is_a_subclass(ours: type, theirs: type) -> None:
    assert issubclass(ours, theirs)


@pytest.fixture
def base_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every call of a function that belongs to one of the stdlib's classes, by name."""
    calls: list[str] = []

    def watched(label: str, function: Any) -> Any:
        @functools.wraps(function)
        def watch(*args: Any, **kwargs: Any) -> Any:
            calls.append(label)
            return function(*args, **kwargs)

        return watch

    for theirs in PAIRS.values():
        for name, value in list(vars(theirs).items()):
            label = f"{theirs.__name__}.{name}"
            if isinstance(value, FunctionType):
                monkeypatch.setattr(theirs, name, watched(label, value))
            elif isinstance(value, staticmethod):
                monkeypatch.setattr(theirs, name, staticmethod(watched(label, value.__func__)))
    return calls


def whole_life(pool: Any) -> None:
    """Use everything that a pool has."""
    with pool:
        repr(pool)
        assert pool.apply(tasks.square, (3,)) == 9
        assert pool.map(tasks.square, range(5)) == [0, 1, 4, 9, 16]
        assert pool.starmap(tasks.add, [(1, 2)]) == [3]
        ordered = pool.imap(tasks.square, range(3))
        assert iter(ordered) is ordered
        assert [ordered.next(20), *ordered] == [0, 1, 4]
        assert sorted(pool.imap_unordered(tasks.square, range(3))) == [0, 1, 4]
        pending = [pool.apply_async(tasks.square, (4,)), pool.map_async(tasks.square, [4])]
        pending.append(pool.starmap_async(tasks.add, [(1, 2)]))
        for result in pending:
            result.wait(20)
            assert result.ready()
            assert result.successful()
            result.get(20)
        with pytest.raises(RuntimeError):
            pool.apply(tasks.kill_self)
        pool._repopulate_pool()
        assert len(pool._pool) == pool._processes
        with pytest.raises(NotImplementedError):
            pool.__reduce__()
        pool.close()
        pool.join()
    pool.terminate()


def test_no_behaviour_of_the_base_is_ever_run(base_calls: list[str]) -> None:
    whole_life(poolsafe.IsolatedPool(2))
    assert base_calls == []


def test_the_watch_on_the_base_sees(base_calls: list[str]) -> None:
    """The control: the stdlib's own pool is caught by the same watch."""
    with stdlib.Pool(1) as pool:
        pool.apply(tasks.square, (3,))
        list(pool.imap_unordered(tasks.square, range(3)))
        pool.close()
        pool.join()
    assert {"Pool.__init__", "Pool.apply", "ApplyResult.get", "IMapIterator.__next__"} <= set(base_calls)
