"""The pool itself, as existing code knows it: construction, states, attributes.

Each test runs with the stdlib's Pool too.

What may go wrong: a test that fails for "stdlib" is wrong about the stdlib; one that fails for "ours" is a difference
that a user would meet.
"""

from __future__ import annotations

import copy
import gc
import inspect
import multiprocessing as mp
import multiprocessing.pool
import os
import pickle
import re
import warnings
from collections.abc import Callable
from multiprocessing.context import BaseContext
from multiprocessing.pool import CLOSE, RUN, TERMINATE, Pool
from typing import Any

import pytest

from tests.conformance import workers
from tests.conformance.common import MakePool
from tests.support import tasks
from tests.support.gates import Gate, Tally, wait_for

Call = Callable[[Pool], Any]

#: Every way of handing in work.
SUBMISSIONS: dict[str, Call] = {
    "apply": lambda pool: pool.apply(tasks.square, (3,)),
    "apply_async": lambda pool: pool.apply_async(tasks.square, (3,)).get(),
    "map": lambda pool: pool.map(tasks.square, [3]),
    "map_async": lambda pool: pool.map_async(tasks.square, [3]).get(),
    "starmap": lambda pool: pool.starmap(tasks.add, [(3, 6)]),
    "starmap_async": lambda pool: pool.starmap_async(tasks.add, [(3, 6)]).get(),
    "imap": lambda pool: list(pool.imap(tasks.square, [3])),
    "imap in chunks": lambda pool: list(pool.imap(tasks.square, [3], 2)),
    "imap_unordered": lambda pool: list(pool.imap_unordered(tasks.square, [3])),
    "imap_unordered in chunks": lambda pool: list(pool.imap_unordered(tasks.square, [3], 2)),
}


# Construction


def test_is_a_pool(pool: Pool, pool_class: type[Pool]) -> None:
    assert isinstance(pool, Pool)
    assert issubclass(pool_class, multiprocessing.pool.Pool)


def test_default_size_is_the_number_of_cpus(make_pool: MakePool) -> None:
    count = getattr(os, "process_cpu_count", os.cpu_count)()
    assert len(make_pool()._pool) == (count or 1)


@pytest.mark.parametrize("processes", [0, -1])
def test_fewer_than_one_process(pool_class: type[Pool], processes: int) -> None:
    with pytest.raises(ValueError, match="Number of processes must be at least 1"):
        pool_class(processes)


@pytest.mark.parametrize("processes", ["2", 1.5, [2]])
def test_size_that_is_no_number(pool_class: type[Pool], processes: Any) -> None:
    with pytest.raises(TypeError):
        pool_class(processes)


@pytest.mark.parametrize("maximum", [0, -1, 0.5, "12", []])
def test_wrong_maxtasksperchild(pool_class: type[Pool], maximum: Any) -> None:
    with pytest.raises(ValueError, match="maxtasksperchild must be a positive int or None"):
        pool_class(1, maxtasksperchild=maximum)


@pytest.mark.parametrize("initializer", [1, "name", ()])
def test_initializer_that_cannot_be_called(pool_class: type[Pool], initializer: Any) -> None:
    with pytest.raises(TypeError, match="initializer must be a callable"):
        pool_class(1, initializer)


def test_signature_ends_with_the_context(pool_class: type[Pool]) -> None:
    signature = inspect.signature(pool_class)
    signature.bind(1, None, (), None, None)
    with pytest.raises(TypeError, match="too many positional arguments"):
        signature.bind(1, None, (), None, None, None)


def test_everything_by_position(make_pool: MakePool, ctx: BaseContext) -> None:
    pool = make_pool(1, tasks.remember_initializer, ("a", 2), 5, ctx)
    assert pool.apply(tasks.initializer_args) == ("a", 2)
    assert type(pool._pool[0]) is ctx.Process


def test_everything_by_name(make_pool: MakePool, ctx: BaseContext) -> None:
    pool = make_pool(
        processes=1, initializer=tasks.remember_initializer, initargs=["a", 2], maxtasksperchild=None, context=ctx
    )
    assert pool.apply(tasks.initializer_args) == ("a", 2)


def test_initializer_runs_in_every_worker_and_every_replacement(make_pool: MakePool, tally: Tally) -> None:
    pool = make_pool(2, workers.record_pid, (tally,), maxtasksperchild=1)
    used = {pool.apply(tasks.pid) for _ in range(4)}
    assert len(used) == 4
    assert used <= {int(line) for line in tally.entries()}


def test_initializer_runs_though_no_task_comes(make_pool: MakePool, tally: Tally) -> None:
    pool = make_pool(2, workers.record_pid, (tally,))
    pool.close()
    pool.join()
    assert len(set(tally.entries())) == 2


def test_initargs_are_inherited_not_sent(make_pool: MakePool, ctx: BaseContext) -> None:
    """A lock or queue of multiprocessing may be given to an initializer, though never to a task."""
    queue: Any = ctx.SimpleQueue()
    make_pool(1, workers.put_into, (queue, "hello"), context=ctx)
    try:
        wait_for(lambda: not queue.empty())
        assert queue.get() == "hello"
    finally:
        queue.close()


def test_a_subclass_may_have_a_constructor_of_its_own(pool_class: type[Pool]) -> None:
    class Named(pool_class):  # type: ignore[misc, valid-type]
        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__(1)

        def double(self, value: int) -> int:
            return self.apply(tasks.add, (value, value))  # type: ignore[no-any-return]

    with Named("twice") as pool:
        assert (pool.name, pool.double(4)) == ("twice", 8)
    pool.join()


# What existing code reads


def test_attributes(pool: Pool) -> None:
    assert pool._processes == 2
    assert pool._state == RUN
    assert len(pool._pool) == 2
    assert len({worker.pid for worker in pool._pool} - {None}) == 2
    assert all(worker.is_alive() and worker.daemon and "PoolWorker" in worker.name for worker in pool._pool)
    assert {worker.pid for worker in pool._pool} <= {child.pid for child in mp.active_children()}


def test_states(pool: Pool) -> None:
    states = [pool._state]
    pool.close()
    states.append(pool._state)
    pool.terminate()
    states.append(pool._state)
    assert states == [RUN, CLOSE, TERMINATE]


def test_repr(pool: Pool, pool_class: type[Pool]) -> None:
    name = f"{pool_class.__module__}.{pool_class.__qualname__}"
    assert repr(pool) == f"<{name} state=RUN pool_size=2>"
    pool.close()
    assert "state=CLOSE" in repr(pool)
    pool.terminate()
    assert "state=TERMINATE" in repr(pool)


def test_repopulate_keeps_a_full_pool(pool: Pool) -> None:
    before = [worker.pid for worker in pool._pool]
    pool._repopulate_pool()
    assert [worker.pid for worker in pool._pool] == before


def test_pool_lists_the_workers_that_live(make_pool: MakePool) -> None:
    pool = make_pool(1, maxtasksperchild=1)
    first = pool._pool[0].pid
    assert pool.apply(tasks.pid) == first
    wait_for(lambda: [worker.pid for worker in pool._pool] not in ([], [first]))
    assert pool.apply(tasks.pid) != first


def test_workers_know_that_they_are_workers(pool: Pool) -> None:
    name, daemon, parent = pool.apply(workers.who)
    assert "PoolWorker" in name
    assert daemon is True
    assert parent == os.getpid()


def test_maxtasksperchild(make_pool: MakePool) -> None:
    pool = make_pool(1, maxtasksperchild=2)
    pids = [pool.apply(tasks.pid) for _ in range(6)]
    assert pids[0::2] == pids[1::2]
    assert len(set(pids)) == 3


def test_tasks_run_in_workers_at_the_same_time(pool: Pool, gate: Callable[[str], Gate]) -> None:
    """Each of two tasks waits for the other, however they were handed in."""
    gates = [gate("left"), gate("right")]
    assert pool.starmap(tasks.meet, [gates, gates[::-1]], chunksize=1) == [None, None]
    both = [pool.apply_async(tasks.meet, pair) for pair in ([gate("a"), gate("b")], [gate("b"), gate("a")])]
    assert [result.get(20) for result in both] == [None, None]


# Life


@pytest.mark.parametrize("end", ["close", "terminate"])
@pytest.mark.parametrize("submit", SUBMISSIONS.values(), ids=SUBMISSIONS)
def test_no_work_after_the_end(pool: Pool, end: str, submit: Call) -> None:
    getattr(pool, end)()
    with pytest.raises(ValueError, match=r"^Pool not running$"):
        submit(pool)


@pytest.mark.parametrize("submit", SUBMISSIONS.values(), ids=SUBMISSIONS)
def test_every_way_of_submitting(pool: Pool, submit: Call) -> None:
    assert submit(pool) in (9, [9])


def test_join_before_close(pool: Pool) -> None:
    with pytest.raises(ValueError, match=r"^Pool is still running$"):
        pool.join()
    assert pool.apply(tasks.square, (3,)) == 9


def test_close_lets_the_work_finish(pool: Pool) -> None:
    results = [pool.apply_async(tasks.square, (i,)) for i in range(50)]
    iterator = pool.imap(tasks.square, range(50))
    pool.close()
    pool.join()
    assert [result.get(0) for result in results] == [i * i for i in range(50)]
    assert list(iterator) == [i * i for i in range(50)]
    assert not any(worker.is_alive() for worker in pool._pool)


def test_terminate_does_not(pool: Pool, gate: Callable[[str], Gate], tally: Tally) -> None:
    arrived, never = gate("arrived"), gate("never")
    pool.apply_async(tasks.meet, (arrived, never))
    later = pool.starmap_async(tasks.record, [(tally, i) for i in range(1000)], chunksize=1000)
    arrived.wait()
    workers_then = list(pool._pool)
    pool.terminate()
    pool.join()
    assert not any(worker.is_alive() for worker in workers_then)
    assert later is not None


def test_ends_may_be_repeated(pool: Pool) -> None:
    pool.close()
    pool.close()
    pool.terminate()
    pool.terminate()
    pool.close()
    assert pool._state == TERMINATE
    pool.join()
    pool.join()


def test_with_terminates(pool_class: type[Pool]) -> None:
    with pool_class(2) as pool:
        assert pool.apply(tasks.square, (3,)) == 9
        workers_then = list(pool._pool)
    assert pool._state == TERMINATE
    pool.join()
    assert not any(worker.is_alive() for worker in workers_then)


def test_with_lets_errors_through(pool_class: type[Pool]) -> None:
    with pytest.raises(KeyError, match="mine"), pool_class(1) as pool:
        raise KeyError("mine")
    pool.join()


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_with_on_a_pool_that_is_over(pool: Pool, end: str) -> None:
    getattr(pool, end)()
    with pytest.raises(ValueError, match=r"^Pool not running$"), pool:
        pass


def drop(pools: list[Pool]) -> None:
    """Let go of the only references to pools."""
    pools.clear()
    gc.collect()


def test_unclosed_pool_warns(pool_class: type[Pool]) -> None:
    pools = [pool_class(1)]
    processes = list(pools[0]._pool)
    name = re.escape(repr(pools[0]))
    with pytest.warns(ResourceWarning, match=f"^unclosed running multiprocessing pool {name}$"):
        drop(pools)
    for process in processes:
        process.join(10)
    assert not any(process.is_alive() for process in processes)


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_ended_pool_does_not_warn(pool_class: type[Pool], end: str) -> None:
    pools = [pool_class(1)]
    getattr(pools[0], end)()
    pools[0].join()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        drop(pools)
    assert [str(warning.message) for warning in caught] == []


def test_state_may_be_set_from_outside(pool_class: type[Pool]) -> None:
    """CPython's own tests do so, to see the warning."""
    pools = [pool_class(1)]
    pools[0].terminate()
    pools[0].join()
    pools[0]._state = RUN
    with pytest.warns(ResourceWarning, match=r"^unclosed running multiprocessing pool"):
        drop(pools)


@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
def test_does_not_pickle(pool: Pool, how: Callable[[Pool], Any]) -> None:
    with pytest.raises(NotImplementedError, match=r"^pool objects cannot be passed between processes or pickled$"):
        how(pool)


def test_does_not_pickle_as_an_argument(pool: Pool) -> None:
    with pytest.raises(NotImplementedError, match="cannot be passed between processes"):
        pool.apply(tasks.identity, (pool,))
    assert pool.apply(tasks.square, (3,)) == 9


def test_a_worker_has_no_children(pool: Pool) -> None:
    with pytest.raises(AssertionError, match="daemonic processes are not allowed to have children"):
        pool.apply(workers.start_a_process)
