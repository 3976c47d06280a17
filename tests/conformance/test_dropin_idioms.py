"""Idioms of existing programs around a pool. Each test runs with the stdlib's Pool too.

What may go wrong: a test that fails for "stdlib" is wrong about the stdlib; one that fails for "ours" is a difference
that a user would meet.
"""

from __future__ import annotations

import contextlib
import functools
import math
import multiprocessing as mp
import operator
import signal
import threading
from multiprocessing.context import BaseContext
from multiprocessing.managers import PoolProxy
from multiprocessing.pool import Pool
from typing import Any

import pytest

from tests.conformance import workers
from tests.conformance.common import LONG, MakePool
from tests.support import tasks


def test_workers_that_may_have_children(make_pool: MakePool) -> None:
    """The well-known recipe: a context whose processes say that they are not daemonic."""
    pool = make_pool(1, context=workers.NoDaemonContext())
    assert pool.apply(workers.start_a_process) == 0


def test_a_subclass_that_wraps_every_function(pool_class: type[Pool]) -> None:
    """`apply` goes through `apply_async`, so one override is enough for both."""

    class Logging(pool_class):  # type: ignore[misc, valid-type]
        def apply_async(self, func: Any, args: Any = (), kwds: Any = {}, *rest: Any, **named: Any) -> Any:  # noqa: B006
            return super().apply_async(workers.call_twice, (func, args, kwds), {}, *rest, **named)

    with Logging(1) as pool:
        assert pool.apply_async(tasks.square, (3,)).get(LONG) == [9, 9]
        assert pool.apply(tasks.square, (3,)) == [9, 9]
    pool.join()


def test_what_may_be_called(pool: Pool) -> None:
    assert pool.map(math.sqrt, [4, 9]) == [2, 3]
    assert pool.map("-".join, ["ab", "cd"]) == ["a-b", "c-d"]
    assert pool.map(functools.partial(tasks.add, 1), [2, 3]) == [3, 4]
    assert pool.map(operator.itemgetter("x"), [{"x": 5}]) == [5]
    assert pool.map(workers.Adder(10).add, [1, 2]) == [11, 12]
    assert pool.map(workers.Adder(10), [1, 2]) == [11, 12]
    assert pool.map(workers.Adder.made, [1]) == [1]
    assert pool.apply(dict, kwds={"x": 1}) == {"x": 1}


def test_closing(pool_class: type[Pool]) -> None:
    with contextlib.closing(pool_class(2)) as pool:
        result = pool.map_async(tasks.square, range(5))
    pool.join()
    assert result.get(0) == [0, 1, 4, 9, 16]


def test_get_with_a_huge_timeout(pool: Pool) -> None:
    """How programs made `get` interruptible once."""
    assert pool.map_async(tasks.square, [3]).get(9_999_999) == [9]
    assert next(pool.imap(tasks.square, [3])) == 9
    assert pool.imap(tasks.square, [3]).next(9_999_999) == 9


def test_a_builtin_as_the_initializer(make_pool: MakePool) -> None:
    pool = make_pool(1, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    assert pool.apply(signal.getsignal, (signal.SIGINT,)) == signal.SIG_IGN


def test_many_threads_share_a_pool(pool: Pool) -> None:
    got: dict[int, list[int]] = {}
    threads = [
        threading.Thread(target=lambda n=n: got.update({n: pool.map(tasks.square, range(n))})) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert got == {n: [i * i for i in range(n)] for n in range(20)}


def test_several_pools_at_a_time(make_pool: MakePool) -> None:
    pools = [make_pool(1) for _ in range(3)]
    results = [pool.apply_async(tasks.square, (i,)) for i, pool in enumerate(pools)]
    assert [result.get(LONG) for result in results] == [0, 1, 4]
    pools[0].terminate()
    pools[0].join()
    assert [pool.apply(tasks.square, (3,)) for pool in pools[1:]] == [9, 9]


def test_proxies_of_a_manager_as_arguments(make_pool: MakePool, ctx: BaseContext) -> None:
    with ctx.Manager() as manager:
        queue, lock, shared = manager.Queue(), manager.Lock(), manager.dict()
        pool = make_pool(2, context=ctx)
        pool.starmap(workers.use_proxies, [(queue, lock, shared, i) for i in range(4)])
        assert sorted(queue.get(timeout=LONG) for _ in range(4)) == [0, 1, 2, 3]
        assert dict(shared) == {0: 0, 1: 1, 2: 2, 3: 3}
        pool.terminate()
        pool.join()


def test_pool_in_a_manager(pool_class: type[Pool], ctx: BaseContext) -> None:
    workers.PoolManager.register("OurPool", pool_class, PoolProxy)
    manager: Any = workers.PoolManager(ctx=ctx)
    with manager:
        pool = manager.OurPool(2)
        assert pool.apply(tasks.square, (3,)) == 9
        assert pool.map(tasks.square, range(5)) == [0, 1, 4, 9, 16]
        result = pool.apply_async(tasks.square, (3,))
        result.wait(LONG)
        assert (result.ready(), result.successful(), result.get(LONG)) == (True, True, 9)
        assert list(pool.imap(tasks.square, range(5))) == [0, 1, 4, 9, 16]
        with pytest.raises(KeyError, match="mine"):
            pool.apply(tasks.raise_, (KeyError("mine"),))
        pool.close()
        pool.join()
        with pytest.raises(ValueError, match=r"^Pool not running$"):
            pool.apply(tasks.square, (3,))
    assert mp.active_children() == []


def test_pool_in_a_process(pool_class: type[Pool], ctx: BaseContext) -> None:
    process = ctx.Process(target=workers.use_a_pool, args=(pool_class,))
    process.start()
    process.join(LONG)
    assert process.exitcode == 0
