"""Plain queues, locks and shared values in the arguments of tasks: carried, while their process goes on using them."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, QueueGone, WorkerLost
from tests.queues import deeds
from tests.queues.storms import all_there, assert_whole
from tests.support.gates import Gate, Tally, wait_for
from tests.support.scripts import run_python
from tests.survival.conftest import MakePool

pytestmark = pytest.mark.turns

LIMIT = 20

THREAD_KINDS = ["queue.Queue", "queue.LifoQueue", "queue.PriorityQueue", "queue.SimpleQueue"]
PROCESS_KINDS = ["Queue", "JoinableQueue", "SimpleQueue"]
KINDS = [*THREAD_KINDS, *PROCESS_KINDS]
BOUNDED = ["queue.Queue", "Queue", "JoinableQueue"]


def make(ctx: BaseContext, kind: str, *args: Any) -> Any:
    module, _, name = kind.rpartition(".")
    return getattr(queue if module else ctx, name)(*args)


@pytest.fixture
def q(ctx: BaseContext, request: pytest.FixtureRequest) -> Any:
    """A queue of the kind that the test is run for; what it holds of the system goes with it."""
    made = make(ctx, *request.param) if isinstance(request.param, tuple) else make(ctx, request.param)
    yield made
    if hasattr(made, "join_thread"):
        made.close()
        made.join_thread()


@pytest.fixture(scope="module", autouse=True)
def _heap() -> None:
    """Multiprocessing keeps the memory of its first shared value for ever: not what any test leaves behind."""
    multiprocessing.Value("i")


every_kind = pytest.mark.parametrize("q", KINDS, indirect=True)


@every_kind
def test_both_ways(pool: IsolatedPool, q: Any) -> None:
    got = pool.apply_async(deeds.get_some, (q, 50))
    for i in range(50):
        q.put(i)
    assert sorted(got.get(LIMIT)) == list(range(50))
    assert pool.apply(deeds.put_all, (q, range(50))) == 50
    assert sorted(q.get() for _ in range(50)) == list(range(50))
    assert q.empty()


@every_kind
def test_what_a_task_put_is_there_when_its_result_is(pool: IsolatedPool, q: Any) -> None:
    for _ in range(20):
        pool.apply(deeds.put_all, (q, ["one", "two"]))
        found = []
        while not q.empty():
            found.append(q.get())
        assert sorted(found) == ["one", "two"]


@every_kind
def test_from_task_to_task(pool: IsolatedPool, q: Any) -> None:
    got = pool.apply_async(deeds.get_some, (q, 100))
    pool.apply(deeds.put_all, (q, range(100)))
    assert sorted(got.get(LIMIT)) == list(range(100))


@every_kind
def test_large_items(pool: IsolatedPool, q: Any) -> None:
    large = [bytes([i]) * 300_000 for i in range(3)]
    done = pool.apply_async(deeds.put_all, (q, large))
    assert sorted(q.get() for _ in large) == large
    done.get(LIMIT)
    got = pool.apply_async(deeds.get_some, (q, 3))
    for item in large:
        q.put(item)
    assert sorted(got.get(LIMIT)) == large


@pytest.mark.parametrize("q", ["Queue", "JoinableQueue"], indirect=True)
def test_more_than_a_pipe_holds_comes_in_order(pool: IsolatedPool, q: Any) -> None:
    items = [(i, b"." * (i * 37 % 5000)) for i in range(300)]
    pool.apply(deeds.put_all, (q, items))
    assert [q.get(timeout=LIMIT) for _ in items] == items


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_int)]


class Holder:
    """What an argument may hide a queue in."""

    def __init__(self, q: Any) -> None:
        self.inner = {"deep": [(q,)]}


@pytest.mark.parametrize("q", ["queue.Queue", "Queue"], indirect=True)
def test_anywhere_in_the_arguments(pool: IsolatedPool, q: Any) -> None:
    pool.apply(deeds.put_all, kwds={"q": q, "items": [1]})
    pool.apply(deeds.put_into, (Holder(q),))
    pool.map(deeds.put_into, [Holder(q), Holder(q)])
    pool.map(partial(deeds.put_all, q), [[2], [3]])
    list(pool.imap(deeds.put_into, [Holder(q)]))
    pool.starmap(deeds.call, [(q, "put", 4)])
    pool.apply(q_method(q), (5,)) if type(q) is queue.Queue else q.put(5)
    assert sorted(q.get(timeout=LIMIT) for _ in range(9)) == [1, 2, 3, 4, 5, 7, 7, 7, 7]


def q_method(q: Any) -> Callable[[Any], Any]:
    return partial(deeds.call, q, "put")


@pytest.mark.parametrize("q", BOUNDED, indirect=True)
def test_one_that_is_empty(pool: IsolatedPool, q: Any) -> None:
    assert pool.apply(deeds.try_get, (q, None)) == "empty"
    assert pool.apply(deeds.try_get, (q, 0.01)) == "empty"
    with pytest.raises(ValueError, match="non-negative"):
        pool.apply(deeds.try_get, (q, -1))


@pytest.mark.parametrize("q", [(kind, 2) for kind in BOUNDED], indirect=True)
def test_one_that_is_full(pool: IsolatedPool, q: Any) -> None:
    q.put("first")
    assert pool.apply(deeds.try_put, (q, "second", None)) == "put"
    assert pool.apply(deeds.try_put, (q, "third", None)) == "full"
    assert pool.apply(deeds.try_put, (q, "third", 0.01)) == "full"
    assert pool.apply(deeds.call, (q, "full")) is True
    waiting = pool.apply_async(deeds.try_put, (q, "third", LIMIT))
    assert q.get(timeout=LIMIT) == "first"
    assert waiting.get(LIMIT) == "put"
    assert [q.get(timeout=LIMIT), q.get(timeout=LIMIT)] == ["second", "third"]


@pytest.mark.parametrize("q", ["queue.Queue", "JoinableQueue"], indirect=True)
def test_joining(pool: IsolatedPool, q: Any) -> None:
    pool.apply(deeds.put_all, (q, [1, 2]))
    joined = pool.apply_async(deeds.call, (q, "join"))
    assert pool.apply(deeds.get_some, (q, 2)) == [1, 2]
    pool.apply(deeds.call, (q, "task_done"))
    assert not joined.ready()
    q.task_done()
    joined.get(LIMIT)
    with pytest.raises(ValueError, match="too many times"):
        pool.apply(deeds.call, (q, "task_done"))


@pytest.mark.parametrize("q", ["queue.Queue", "Queue"], indirect=True)
def test_looking(pool: IsolatedPool, q: Any) -> None:
    pool.apply(deeds.put_all, (q, [1, 2]))
    assert pool.apply(deeds.look, (q,)) == (2, False, False)
    for name in ("close", "join_thread", "cancel_join_thread"):  # of no effect
        pool.apply(deeds.call, (q, name))
    assert [q.get(timeout=LIMIT), q.get(timeout=LIMIT)] == [1, 2]
    assert "number" in pool.apply(deeds.text_of, (q,))


@every_kind
def test_comes_home_as_itself(pool: IsolatedPool, q: Any) -> None:
    assert pool.apply(deeds.same, (q,)) is q
    assert pool.apply(deeds.same, ([q, {"again": q}],)) == [q, {"again": q}]


@pytest.mark.parametrize("q", ["Queue"], indirect=True)
def test_other_processes_of_the_program_go_on_using_it(pool: IsolatedPool, ctx: BaseContext, q: Any) -> None:
    other = ctx.Process(target=deeds.put_all, args=(q, range(20)))  # type: ignore[attr-defined]
    other.start()
    assert pool.apply(deeds.get_some, (q, 20)) == list(range(20))
    other.join()


@pytest.mark.parametrize("q", ["queue.Queue", "Queue"], indirect=True)
def test_in_threads_and_processes_of_a_task(make_pool: MakePool, q: Any) -> None:
    pool = make_pool(2, isolation=None)
    pool.apply(deeds.put_by_threads, (q, 3, 5))
    assert sorted(q.get(timeout=LIMIT) for _ in range(15)) == [(t, i) for t in range(3) for i in range(5)]
    pool.apply(deeds.put_in_a_fork, (q, "from a fork"))
    assert q.get(timeout=LIMIT) == "from a fork"


# -- what does not work ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["Condition", "Barrier"])
def test_what_is_not_carried_is_refused(pool: IsolatedPool, ctx: BaseContext, name: str) -> None:
    thing = getattr(ctx, name)(*([2] if name == "Barrier" else []))
    with pytest.raises(TypeError, match=rf"Manager\(\)\.{name}"):
        pool.apply(deeds.same, (thing,))
    assert pool.apply(deeds.same, (3,)) == 3


def test_an_item_that_cannot_leave_stays(pool: IsolatedPool) -> None:
    q: queue.Queue[Any] = queue.Queue()
    item = threading.Lock()
    q.put(item)
    with pytest.raises(TypeError, match="pickle"):
        pool.apply(deeds.get_some, (q, 1))
    assert q.get_nowait() is item


@pytest.mark.parametrize("q", ["queue.Queue", "Queue"], indirect=True)
def test_an_item_that_does_not_pickle_or_load_is_an_error_at_the_put(pool: IsolatedPool, q: Any) -> None:
    assert pool.apply(deeds.put_unpicklable, (q,)) == "not this one"
    assert q.get(timeout=LIMIT) == "before"
    if type(q) is queue.Queue:  # which holds objects, so it loads them at once
        with pytest.raises(ZeroDivisionError):
            pool.apply(deeds.put_unloadable, (q,))
        assert q.empty()


@pytest.mark.parametrize("q", ["queue.Queue", "Queue"], indirect=True)
def test_elsewhere_than_in_arguments_it_is_an_error_as_ever(pool: IsolatedPool, ctx: BaseContext, q: Any) -> None:
    ours = pool.Queue()
    with pytest.raises((TypeError, RuntimeError)):
        ours.put(q)
    with pytest.raises(multiprocessing.pool.MaybeEncodingError):
        pool.apply(queue.Queue)


@pytest.mark.parametrize("q", ["queue.Queue"], indirect=True)
def test_it_is_gone_when_its_task_is_done(make_pool: MakePool, q: Any) -> None:
    pool = make_pool(1, isolation=None)
    pool.apply(deeds.keep, (q,))
    wait_for(lambda: not any(t.name == "poolsafe-queues" for t in threading.enumerate()), LIMIT, "the end of the task")
    with pytest.raises(QueueGone, match="the task whose argument it was"):
        pool.apply(deeds.put_kept, (1,))
    assert q.empty()


# -- workers that are killed -----------------------------------------------------------------------------------------
@every_kind
def test_one_that_is_killed_while_it_waits_takes_nothing(make_pool: MakePool, tmp_path: Path, q: Any) -> None:
    pool = make_pool(1, isolation=None)
    arrived = Tally(tmp_path / "arrived")
    lost = pool.apply_async(deeds.arrive_and_get, (arrived, q))
    wait_for(lambda: len(arrived.entries()) == 1, LIMIT, "the task")
    os.kill(int(arrived.entries()[0]), signal.SIGKILL)
    with pytest.raises(WorkerLost):
        lost.get(LIMIT)
    q.put("for anybody")
    assert (q.get(timeout=LIMIT) if hasattr(q, "put_nowait") else q.get()) == "for anybody"


@pytest.mark.parametrize("q", ["queue.Queue", "Queue"], indirect=True)
def test_a_storm_of_killed_producers(make_pool: MakePool, tmp_path: Path, q: Any) -> None:
    pool = make_pool(2, isolation=None)
    tallies = [Tally(tmp_path / f"producer-{number}") for number in range(6)]
    results = [pool.apply_async(deeds.put_until_killed, (q, tally, n, 1000, 0.1)) for n, tally in enumerate(tallies)]
    got: list[Any] = []
    while not all(result.ready() for result in results):
        got += all_there(q, 0.05)
    got += all_there(q, 1)
    assert_whole(got, tallies)


@pytest.mark.parametrize("q", ["queue.Queue", "Queue"], indirect=True)
def test_a_storm_of_killed_consumers(make_pool: MakePool, tmp_path: Path, q: Any) -> None:
    pool = make_pool(2, isolation=None)
    tallies = [Tally(tmp_path / f"consumer-{number}") for number in range(6)]
    for i in range(3000):
        q.put(i)
    results = [pool.apply_async(deeds.get_until_killed, (q, tally, n, 0.1)) for n, tally in enumerate(tallies)]
    for result in results:
        with pytest.raises(WorkerLost):
            result.get(LIMIT)
    taken = [int(entry) for tally in tallies for entry in tally.entries()]
    left = all_there(q, 1)
    assert len(set(taken) | set(left)) == len(taken) + len(left), "none twice"
    assert 3000 - len(taken) - len(left) <= len(results), "none lost but what a task was killed with"


@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_a_lock_is_released_when_its_holder_is_killed(make_pool: MakePool, ctx: BaseContext, name: str) -> None:
    pool = make_pool(1, isolation=None)
    lock = getattr(ctx, name)()
    with pytest.raises(WorkerLost):
        pool.apply(deeds.die_with, (lock,))
    assert lock.acquire(timeout=LIMIT)
    lock.release()


def test_a_permit_is_not_taken_by_one_that_was_killed(make_pool: MakePool, ctx: BaseContext, tmp_path: Path) -> None:
    pool = make_pool(1, isolation=None)
    for i in range(3):
        semaphore, arrived = ctx.Semaphore(0), Tally(tmp_path / f"arrived-{i}")
        lost = pool.apply_async(deeds.arrive_and_acquire, (arrived, semaphore))
        wait_for(lambda arrived=arrived: len(arrived.entries()) == 1, LIMIT, "the task")  # type: ignore[misc]
        os.kill(int(arrived.entries()[0]), signal.SIGKILL)
        with pytest.raises(WorkerLost):
            lost.get(LIMIT)
        semaphore.release()
        assert semaphore.acquire(timeout=LIMIT)


def test_a_lock_is_released_though_an_item_is_on_its_way(make_pool: MakePool, ctx: BaseContext) -> None:
    """To a worker that is stopped, and then killed; the item is larger than the pipe, and nobody reads it."""
    pool = make_pool(1, isolation=None)
    lock, jobs, pids = ctx.Lock(), ctx.Queue(), queue.Queue[int]()
    lost = pool.apply_async(deeds.lock_and_get, (lock, jobs, pids))
    pid = pids.get(timeout=LIMIT)
    os.kill(pid, signal.SIGSTOP)
    jobs.put(bytes(200_000))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerLost):
        lost.get(LIMIT)
    assert lock.acquire(timeout=LIMIT)
    assert len(jobs.get(timeout=LIMIT)) == 200_000
    jobs.close()
    jobs.join_thread()


def test_a_lock_that_another_thread_tries_to_release(make_pool: MakePool, ctx: BaseContext) -> None:
    pool = make_pool(1, isolation=None)
    lock = ctx.RLock()
    with pytest.raises(WorkerLost):
        pool.apply(deeds.be_refused_and_die, (lock,))
    assert lock.acquire(timeout=LIMIT)


# -- locks and values ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_a_lock_excludes(pool: IsolatedPool, ctx: BaseContext, name: str) -> None:
    lock, value = getattr(ctx, name)(), ctx.Value("i", 0)
    added = pool.starmap_async(deeds.add_to, [(lock, value, 20)] * 4)
    for _ in range(20):
        with lock:
            value.value += 1
    added.get(LIMIT)
    assert value.value == 100


def test_a_lock_that_is_taken(pool: IsolatedPool, ctx: BaseContext) -> None:
    lock = ctx.Lock()
    with lock:
        assert pool.apply(deeds.call, (lock, "acquire", False)) is False
        assert pool.apply(deeds.call, (lock, "acquire", True, 0.01)) is False
        waiting = pool.apply_async(deeds.call, (lock, "acquire"))
    assert waiting.get(LIMIT) is True
    assert not lock.acquire(False)
    assert pool.apply(deeds.call, (lock, "release")) is None  # by anybody, as multiprocessing has it
    assert lock.acquire(False)
    lock.release()
    with pytest.raises(ValueError, match="released too many times"):
        pool.apply(deeds.call, (lock, "release"))


def test_a_recursive_lock(pool: IsolatedPool, ctx: BaseContext) -> None:
    lock = ctx.RLock()
    assert pool.apply(deeds.nest, (lock, 5)) == 5
    assert lock.acquire(False)
    with pytest.raises(AssertionError):
        pool.apply(deeds.call, (lock, "release"))
    lock.release()


def test_a_call_that_is_cut_off_costs_no_lock(pool: IsolatedPool, ctx: BaseContext) -> None:
    lock, jobs, inside, go = ctx.Lock(), ctx.Queue(), ctx.Event(), ctx.Event()
    done = pool.apply_async(deeds.be_cut_off_with, (lock, jobs, inside, go))
    assert inside.wait(LIMIT)
    assert not lock.acquire(timeout=0.2)
    go.set()
    done.get(LIMIT)
    assert lock.acquire(False)
    jobs.close()


def test_a_handler_has_the_locks_of_its_thread(pool: IsolatedPool, ctx: BaseContext) -> None:
    lock, told, jobs = ctx.RLock(), queue.Queue[bool](), queue.Queue[int]()
    done = pool.apply_async(deeds.lock_in_a_handler, (lock, told, jobs))
    assert told.get(timeout=LIMIT) is True
    jobs.put(1)
    assert done.get(LIMIT) == 1


def test_a_lock_that_a_task_left_is_the_parents_to_release(make_pool: MakePool, ctx: BaseContext) -> None:
    lock = ctx.Lock()
    pool = make_pool(1, isolation=None)
    pool.apply(deeds.call, (lock, "acquire"))
    wait_for(lambda: not any("poolsafe-carried" in t.name for t in threading.enumerate()), LIMIT, "the thread's end")
    assert not lock.acquire(False), "it is as the task left it"
    lock.release()
    assert lock.acquire(timeout=LIMIT)
    held = queue.Queue[int]()
    pool.apply(deeds.put_all, (held, [1]))  # to begin with, that it has something to do with other things
    pool.terminate()
    pool.join()
    wait_for(lambda: not any("poolsafe-carried" in t.name for t in threading.enumerate()), LIMIT, "the thread's end")
    assert not lock.acquire(False), "it is held, by this thread"


def test_a_semaphore(pool: IsolatedPool, ctx: BaseContext) -> None:
    semaphore = ctx.Semaphore(2)
    assert pool.apply(deeds.call, (semaphore, "acquire")) is True
    assert pool.apply(deeds.call, (semaphore, "get_value")) == 1
    assert semaphore.get_value() == 1, "what a task took is taken"


def test_an_event(pool: IsolatedPool, ctx: BaseContext) -> None:
    event = ctx.Event()
    assert pool.apply(deeds.call, (event, "is_set")) is False
    assert pool.apply(deeds.call, (event, "wait", 0.01)) is False
    waiting = pool.apply_async(deeds.call, (event, "wait"))
    event.set()
    assert waiting.get(LIMIT) is True
    pool.apply(deeds.call, (event, "clear"))
    assert not event.is_set()
    pool.apply(deeds.call, (event, "set"))
    assert event.is_set()


def test_values_and_arrays(pool: IsolatedPool, ctx: BaseContext) -> None:
    value, array, text = ctx.Value("d", 1.5), ctx.Array("i", range(5)), ctx.Array("c", b"hello")
    assert pool.starmap(deeds.add_to, [(value, value, 50)] * 2) == [None, None]
    assert pool.starmap(deeds.add_to, [(value.get_lock(), value, 50)] * 2) == [None, None]
    assert value.value == 201.5
    assert pool.apply(deeds.change_array, (array,)) == [0, 10, 20, 3, 4]
    assert array[:] == [0, 10, 20, 3, 4]
    assert pool.apply(deeds.change_text, (text,)) == (b"jello", b"jello")
    assert text.value == b"jello"
    with pytest.raises(TypeError, match="initargs"):
        pool.apply(deeds.call, (value, "get_obj"))


def test_structures_are_refused(pool: IsolatedPool, ctx: BaseContext) -> None:
    for kind in (Point, ctypes.c_int * 2):
        with pytest.raises(TypeError, match="of structures"):
            pool.apply(deeds.same, (ctx.Array(kind, 2),))  # type: ignore[arg-type]


# -- around it -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("q", [("queue.Queue", 1), ("Queue", 1)], indirect=True)
def test_what_a_task_took_is_taken_when_its_result_is_there(pool: IsolatedPool, q: Any) -> None:
    for i in range(60):
        q.put(i)
        assert pool.apply(deeds.get_some, (q, 1)) == [i]
        q.put_nowait("there is room")
        assert q.get(timeout=LIMIT) == "there is room"
        assert q.empty()


@pytest.mark.parametrize("way", ["map", "starmap_async", "imap", "imap_unordered"])
def test_it_comes_home_as_itself_from_a_map(pool: IsolatedPool, way: str) -> None:
    q, ours = queue.Queue[int](), pool.Queue()
    items: Any = [(q,), (ours,)] if "star" in way else [q, ours]
    found = getattr(pool, way)(deeds.same, items, 1)
    found = list(found.get(LIMIT) if "async" in way else found)
    assert len(found) == 2
    assert any(one is q for one in found)
    next(one for one in found if one is not q).put(3)
    assert ours.get_nowait() == 3


def test_a_time_limit_of_a_put_is_kept(pool: IsolatedPool, ctx: BaseContext) -> None:
    q = ctx.Queue()
    eater = threading.Thread(target=lambda: [*iter(q.get, None)])
    eater.start()
    assert pool.apply(deeds.slowest_put, (q, 20)) < 0.9
    q.put(None)
    eater.join()
    q.close()
    q.join_thread()


def test_a_program_ends_though_nobody_has_read(start_method: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run_python(tmp_path / "program.py", start_method, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


PROGRAM = """
import multiprocessing as mp, sys
from poolsafe import IsolatedPool

def put(q):
    q.put(b"x" * 1_000_000)

if __name__ == "__main__":
    ctx = mp.get_context(sys.argv[1])
    q = ctx.Queue()
    with IsolatedPool(1, context=ctx) as pool:
        pool.apply(put, (q,))
    print("done", flush=True)
"""


class Submits:
    """Submits something else while it is pickled."""

    def __init__(self, pool: IsolatedPool, other: Any) -> None:
        self.pool, self.other = pool, other

    def __reduce__(self) -> Any:
        self.pool.apply_async(deeds.put_all, (self.other, [5]))
        return int, ()


def test_submitting_while_arguments_are_pickled(pool: IsolatedPool) -> None:
    mine, other = queue.Queue[int](), queue.Queue[int]()
    for args in ((mine, Submits(pool, other)), (Submits(pool, other), mine)):
        assert len(pool.apply(deeds.put_in_queues, (args,))) == 2
        assert (mine.get(timeout=LIMIT), other.get(timeout=LIMIT)) == (6, 5)


def test_an_object_is_let_go_of(pool: IsolatedPool, tmp_path: Path) -> None:
    q: Any = queue.Queue()
    gate = Gate(tmp_path / "gate")
    waiting = pool.apply_async(deeds.wait_then_put, (gate, q, 1))
    assert [thread.name for thread in threading.enumerate() if thread.name == "poolsafe-queues"]
    gate.open()
    waiting.get(LIMIT)
    del waiting
    wait_for(lambda: not any("poolsafe-carried" in t.name for t in threading.enumerate()), LIMIT, "the thread's end")
    assert q.get_nowait() == 1


def test_the_pool_tells_what_was_carried(pool: IsolatedPool, ctx: BaseContext) -> None:
    q, lock = queue.Queue[Any](), ctx.Lock()
    pool.starmap(deeds.put_all, [(q, [1]), (q, [2])], 1)
    pool.apply(deeds.same, ([lock, pool.Queue()],))
    assert pool.stats().carried == {"queue.Queue": 2, "multiprocessing.synchronize.Lock": 1}
