"""What a queue of a pool does, in the parent and in tasks, under every start method."""

from __future__ import annotations

import gc
import itertools
import os
import queue
import threading
from collections import Counter
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest

from poolsafe import IsolatedPool, QueueGone
from tests.queues import deeds
from tests.support.gates import Gate, Tally, wait_for
from tests.survival.conftest import MakePool

pytestmark = pytest.mark.turns

LIMIT = 20


def test_what_a_task_put_is_there_when_its_result_is(pool: IsolatedPool) -> None:
    q = pool.Queue()
    for _ in range(5):
        assert pool.apply(deeds.put_all, (q, range(200))) == 200
        assert q.qsize() == 200
        assert [q.get_nowait() for _ in range(200)] == list(range(200))
    assert q.empty()


def test_what_an_item_of_a_chunk_put_is_there_when_the_next_begins(pool: IsolatedPool) -> None:
    q = pool.Queue()
    assert pool.starmap(deeds.put_all, [(q, [i]) for i in range(20)], 5) == [1] * 20
    assert sorted(q.get_nowait() for _ in range(20)) == list(range(20))


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_to_a_task(pool: IsolatedPool, kind: str) -> None:
    q = getattr(pool, kind)()
    got = pool.apply_async(deeds.get_some, (q, 500))
    deeds.put_all(q, range(500))
    assert got.get(LIMIT) == list(range(500))


def test_what_is_there_already_comes_in_order(pool: IsolatedPool) -> None:
    q = pool.Queue()
    deeds.put_all(q, range(3000))
    assert pool.apply(deeds.get_some, (q, 1000)) == list(range(1000))
    assert q.qsize() == 2000, "what was sent ahead and not taken is back"
    assert q.get() == 1000
    assert pool.apply(deeds.get_some, (q, 1999)) == list(range(1001, 3000))


@pytest.mark.parametrize("maxsize", [0, 1, 7])
def test_from_task_to_task(pool: IsolatedPool, maxsize: int) -> None:
    q = pool.Queue(maxsize)
    got = pool.apply_async(deeds.get_some, (q, 300))
    pool.apply(deeds.put_all, (q, range(300)))
    assert got.get(LIMIT) == list(range(300))


def test_through_two_queues(pool: IsolatedPool) -> None:
    there, back = pool.Queue(3), pool.Queue()
    done = pool.apply_async(deeds.pass_on, (there, back, 100))
    deeds.put_all(there, range(100))
    done.get(LIMIT)
    assert deeds.get_some(back, 100) == list(range(1, 101))


@pytest.mark.parametrize("maxsize", [0, 5])
def test_many_producers_and_consumers(make_pool: MakePool, maxsize: int) -> None:
    pool = make_pool(4, isolation=None, reset=())
    q = pool.Queue(maxsize)
    consumers = [pool.apply_async(deeds.get_until_none, (q,)) for _ in range(2)]
    producers = [pool.apply_async(deeds.put_all, (q, range(1000 * n, 1000 * n + 500))) for n in range(2)]
    deeds.put_all(q, range(5000, 5500))
    assert [one.get(LIMIT) for one in producers] == [500, 500]
    deeds.put_all(q, [None, None])
    got = [one.get(LIMIT) for one in consumers]
    assert sorted(got[0] + got[1]) == [*range(500), *range(1000, 1500), *range(5000, 5500)]
    for one in got:  # each producer's items come in its order
        for thousand in (0, 1, 5):
            mine = [item for item in one if item // 1000 == thousand]
            assert mine == sorted(mine)


def test_threads_of_a_task(pool: IsolatedPool) -> None:
    q = pool.Queue()
    pool.apply(deeds.put_by_threads, (q, 4, 100))
    got = [q.get_nowait() for _ in range(400)]
    assert Counter(got) == Counter(itertools.product(range(4), range(100)))
    assert [[i for t, i in got if t == thread] for thread in range(4)] == [list(range(100))] * 4


def test_a_process_that_is_no_worker(ctx: BaseContext, pool: IsolatedPool) -> None:
    q = pool.Queue(2)
    process = ctx.Process(target=deeds.put_all, args=(q, range(50)))
    process.start()
    assert deeds.get_some(q, 50) == list(range(50))
    process.join(LIMIT)
    assert process.exitcode == 0
    process.close()


def test_a_copy_of_this_process(pool: IsolatedPool) -> None:
    q, back = pool.Queue(), pool.Queue(1)
    q.put("from the parent")
    child = os.fork()
    if not child:
        back.put(q.get(timeout=LIMIT))
        q.put("from the child")
        os._exit(0)
    assert back.get(timeout=LIMIT) == "from the parent"
    assert q.get(timeout=LIMIT) == "from the child"
    assert os.waitpid(child, 0)[1] == 0


def test_full_and_empty(pool: IsolatedPool) -> None:
    q = pool.Queue(2)
    assert (q.qsize(), q.empty(), q.full()) == pool.apply(deeds.look, (q,)) == (0, True, False)
    for timeout in (None, 0, 0.01):
        assert deeds.try_get(q, timeout) == pool.apply(deeds.try_get, (q, timeout)) == "empty"
    q.put(1)
    pool.apply(deeds.put_all, (q, [2]))
    assert (q.qsize(), q.empty(), q.full()) == pool.apply(deeds.look, (q,)) == (2, False, True)
    for timeout in (None, 0, 0.01):
        assert deeds.try_put(q, 3, timeout) == pool.apply(deeds.try_put, (q, 3, timeout)) == "full"
    assert pool.apply(deeds.try_get, (q, None)) == 1
    assert deeds.try_put(q, 3, 0.01) == "put"
    assert [q.get(), q.get()] == [2, 3]


def test_who_waits_for_room_or_for_an_item_is_woken(pool: IsolatedPool, tally: Tally) -> None:
    q = pool.Queue(1)
    getting = pool.apply_async(deeds.arrive_and_get, (tally, q))
    tally.wait(1)
    q.put("a")
    assert getting.get(LIMIT) == "a"
    q.put("b")
    putting = pool.apply_async(deeds.arrive_and_put, (tally, q, "c"))
    tally.wait(2)
    assert not putting.ready()
    assert q.get() == "b"
    putting.get(LIMIT)
    assert q.get() == "c"


def test_a_thread_of_the_parent_that_waits_is_woken(pool: IsolatedPool) -> None:
    q = pool.Queue(1)
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend([q.get(), q.get()]))
    thread.start()
    pool.apply(deeds.put_all, (q, [1, 2]))
    thread.join(LIMIT)
    assert got == [1, 2]


def test_join_waits_for_every_item(pool: IsolatedPool) -> None:
    q = pool.JoinableQueue()
    deeds.put_all(q, range(3))
    joining = pool.apply_async(deeds.call, (q, "join"))
    for _ in range(3):
        assert not joining.ready()
        q.get()
        pool.apply(deeds.call, (q, "task_done"))
    joining.get(LIMIT)
    q.join()
    for there in (q.task_done, lambda: pool.apply(deeds.call, (q, "task_done"))):
        with pytest.raises(ValueError, match="too many times"):
            there()


def test_what_cannot_be_pickled_is_an_error_at_the_put(pool: IsolatedPool) -> None:
    q = pool.Queue()
    with pytest.raises(TypeError, match="not this one"):
        q.put(deeds.Unpicklable())
    assert pool.apply(deeds.put_unpicklable, (q,)) == "not this one"
    assert q.get() == "before"
    assert q.empty()


@pytest.mark.parametrize("maxsize", [0, 1])
def test_large_items(pool: IsolatedPool, maxsize: int) -> None:
    q, back = pool.Queue(maxsize), pool.Queue(maxsize)
    large = [os.urandom(size) for size in (1 << 23, 300_000, 1 << 18, 0, 70_000)]
    done = [pool.apply_async(deeds.put_all, (q, large)), pool.apply_async(deeds.get_some, (back, len(large)))]
    assert deeds.get_some(q, len(large)) == large
    deeds.put_all(back, large)
    assert done[1].get(LIMIT) == large


def test_a_queue_outlives_its_pool(pool: IsolatedPool) -> None:
    q = pool.Queue()
    pool.apply(deeds.put_all, (q, range(100)))
    pool.terminate()
    pool.join()
    assert deeds.get_some(q, 100) == list(range(100))
    q.put("still")
    assert q.get() == "still"


def test_a_queue_of_one_pool_passes_to_another(ctx: BaseContext, pool: IsolatedPool) -> None:
    q = pool.Queue(4)
    with IsolatedPool(1, context=ctx, reset=()) as other:
        got = other.apply_async(deeds.get_some, (q, 50))
        pool.apply(deeds.put_all, (q, range(50)))
        assert got.get(LIMIT) == list(range(50))


def test_a_queue_comes_back_as_itself(pool: IsolatedPool) -> None:
    q = pool.Queue()
    again = pool.apply(deeds.same, ({"q": [q]},))["q"][0]
    q.put(1)
    assert again.get_nowait() == 1


def test_a_queue_in_a_queue(pool: IsolatedPool) -> None:
    q, other = pool.Queue(), pool.Queue()
    q.put(other)
    pool.apply(deeds.get_some, (q, 1))[0].put(5)
    assert other.get_nowait() == 5


def test_a_task_holds_what_it_was_sent(pool: IsolatedPool, tmp_path: Path) -> None:
    """Nobody else does: the queue goes with the task's end, and not before."""
    gate = Gate(tmp_path / "gate")
    results = [
        pool.apply_async(deeds.wait_then_put, (gate, pool.Queue(), 1)),
        pool.starmap_async(deeds.wait_then_put, [(gate, pool.Queue(1), 1), (gate, pool.Queue(), 2)], 2),
    ]
    gc.collect()
    gate.open()
    for result in results:
        result.get(LIMIT)


def test_a_queue_that_nobody_holds_is_gone(make_pool: MakePool) -> None:
    pool = make_pool(1, isolation=None, reset=())
    q = pool.Queue()
    pool.apply(deeds.keep, (q,))
    held = q._held
    assert held is not None
    hub, ident = held.hub, held.ident
    del q, held
    wait_for(lambda: hub.store(ident) is None, LIMIT, "the end of the queue")
    with pytest.raises(QueueGone, match="Keep a reference"):
        pool.apply(deeds.get_kept, (0,))


def test_by_the_initializer(make_pool: MakePool) -> None:
    q = make_pool(1).Queue()
    pool = make_pool(2, deeds.keep, (q,))
    pool.map(deeds.put_kept, range(10))
    assert sorted(q.get_nowait() for _ in range(10)) == list(range(10))


def test_arguments_that_make_no_sense(pool: IsolatedPool) -> None:
    for wrong in (1.5, "2", True, None):
        with pytest.raises(TypeError, match="whole number"):
            pool.Queue(wrong)  # type: ignore[arg-type]
    q = pool.Queue(-3)
    assert not q.full()
    for call in (q.get, lambda **options: q.put(1, **options)):
        with pytest.raises(ValueError, match="non-negative"):
            call(timeout=-1)
    with pytest.raises(queue.Empty):
        q.get(False, timeout=-1)


def test_a_queue_says_what_it_is(pool: IsolatedPool) -> None:
    assert "poolsafe.Queue" in repr(pool.Queue(3))
    assert "maxsize=3, of this process" in repr(pool.Queue(3))
    assert "of another process" in pool.apply(repr, (pool.JoinableQueue(),))


def test_what_other_queues_have_does_no_harm(pool: IsolatedPool) -> None:
    q = pool.Queue()
    q.put(1)
    q.close()
    q.join_thread()
    q.cancel_join_thread()
    assert q.get() == 1


def test_millions_are_no_more_than_what_waits(pool: IsolatedPool) -> None:
    q = pool.Queue()
    done = pool.apply_async(deeds.put_all, (q, range(50_000)))
    assert deeds.get_some(q, 50_000) == list(range(50_000))
    assert done.get(LIMIT) == 50_000
    held = q._held
    assert held is not None
    assert (len(held.store.items), held.store.leased) == (0, 0)
