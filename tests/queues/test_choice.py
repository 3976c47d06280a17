"""`make_queue`: the right one for each consumer, which works there, and goes when nobody holds it."""

from __future__ import annotations

import gc
import multiprocessing as mp
import multiprocessing.dummy
import queue
import threading
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.context import BaseContext
from multiprocessing.pool import Pool, ThreadPool
from typing import Any

import pytest

import poolsafe
from poolsafe import IsolatedPool, make_queue, queue_choice
from poolsafe.queues import choice
from tests.queues import deeds


class Derived(ProcessPoolExecutor):
    pass


class Worker(threading.Thread):
    pass


CONSUMERS = {
    "poolsafe": [IsolatedPool],
    "manager": [Pool, ProcessPoolExecutor, Derived],
    "inherited": [mp.Process, mp.get_context("spawn").Process, mp.get_context("fork"), mp],
    "threads": [ThreadPool, ThreadPoolExecutor, threading.Thread, Worker, threading, multiprocessing.dummy],
}


@pytest.mark.parametrize(("name", "consumer"), [(name, one) for name, many in CONSUMERS.items() for one in many])
def test_choice(name: str, consumer: Any) -> None:
    chosen = queue_choice(consumer)
    assert chosen.name == name
    assert chosen.reason.endswith(".")


def test_instances(ctx: BaseContext) -> None:
    with IsolatedPool(1, context=ctx, reset=()) as ours, ThreadPoolExecutor(1) as threads, ThreadPool(1) as pool:
        assert [queue_choice(one).name for one in (ours, threads, pool)] == ["poolsafe", "threads", "threads"]
    assert queue_choice(ctx.Process()).name == "inherited"  # type: ignore[attr-defined]


@pytest.mark.parametrize("consumer", [None, 5, "pool", Executor, object(), print])
def test_whoever_else_is_an_error_that_says_what_to_pass(consumer: Any) -> None:
    with pytest.raises(TypeError, match=r"make_queue\(consumer=pool\)"):
        make_queue(consumer=consumer)


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="kind must be one of"):
        make_queue(consumer=threading, kind="stack")
    with pytest.raises(ValueError, match="no maxsize"):
        make_queue(3, consumer=threading, kind="simple")
    for wrong in ("3", True, 2.0):
        with pytest.raises(TypeError, match="whole number"):
            make_queue(wrong, consumer=threading)  # type: ignore[arg-type]


def test_for_our_pool(ctx: BaseContext) -> None:
    with IsolatedPool(1, context=ctx, reset=()) as pool:
        kinds = {"queue": poolsafe.Queue, "joinable": poolsafe.JoinableQueue, "simple": poolsafe.SimpleQueue}
        for kind, cls in kinds.items():
            q = make_queue(consumer=pool, kind=kind)
            assert type(q) is cls
            assert pool.apply(deeds.put_all, (q, [1, 2])) == 2
            assert [q.get(), q.get()] == [1, 2]
        assert make_queue(1, consumer=pool).put(1) is None


@pytest.mark.parametrize("kind", ["queue", "joinable", "simple"])
def test_for_other_pools(kind: str) -> None:
    with mp.get_context("fork").Pool(1) as pool:
        q, other = make_queue(consumer=pool, kind=kind), make_queue(2, consumer=ProcessPoolExecutor)
        assert choice._manager is not None
        assert pool.apply(deeds.put_all, (q, [1, 2])) == 2
        assert [q.get(), q.get()] == [1, 2]
        assert pool.apply(deeds.try_put, (other, 3, 0)) == "put"
        del q
        gc.collect()
        assert other.get() == 3, "the manager is there for as long as anybody needs it"
        del other
        gc.collect()
        assert choice._manager is None


@pytest.mark.parametrize("kind", ["queue", "joinable", "simple"])
def test_for_a_process(ctx: BaseContext, kind: str) -> None:
    q = make_queue(consumer=ctx, kind=kind)
    process = ctx.Process(target=deeds.put_all, args=(q, [1, 2]))  # type: ignore[attr-defined]
    process.start()
    assert [q.get(), q.get()] == [1, 2]
    process.join(20)
    process.close()
    q.close()
    if kind != "simple":
        q.join_thread()


def test_for_threads() -> None:
    assert type(make_queue(3, consumer=threading.Thread)) is queue.Queue
    assert make_queue(3, consumer=ThreadPoolExecutor, kind="joinable").maxsize == 3
    assert type(make_queue(consumer=ThreadPool, kind="simple")) is queue.SimpleQueue
