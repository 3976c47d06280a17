"""Where queues meet each other, signal handlers, finalizers, threads and forks."""

from __future__ import annotations

import os
import queue
import threading
from typing import Any

import pytest

from poolsafe import IsolatedPool
from poolsafe.queues import dial, face, wire
from tests.queues import deeds
from tests.support.gates import wait_for

pytestmark = pytest.mark.turns

LIMIT = 20


def test_two_queues_in_one_task(pool: IsolatedPool) -> None:
    """What was sent ahead of the one is not mistaken for what comes of the other."""
    a, b = pool.Queue(), pool.Queue()
    deeds.put_all(a, range(200))
    deeds.put_all(b, ["b"])
    assert pool.apply(deeds.get_from_two, (a, b)) == [list(range(10)), "b", [10, 11, 12]]
    assert (a.qsize(), b.qsize()) == (187, 0)
    pool.terminate()
    assert deeds.get_some(a, 187) == list(range(13, 200))
    assert b.empty()


def test_a_signal_handler_of_a_task_that_puts(pool: IsolatedPool) -> None:
    q = pool.Queue()
    ticks = pool.apply(deeds.put_with_ticks, (q, 5000))
    got = [q.get_nowait() for _ in range(5000 + ticks)]
    assert [i for kind, i in got if kind == "item"] == list(range(5000))
    assert sorted(i for kind, i in got if kind == "tick") == list(range(1, ticks + 1))


def test_a_finalizer_of_a_task_that_puts(pool: IsolatedPool) -> None:
    q = pool.Queue()
    pool.apply(deeds.put_with_finalizers, (q, 3000))
    numbers = [item for item in (q.get_nowait() for _ in range(q.qsize())) if item != "the end"]
    assert numbers == list(range(3000))


def test_many_threads_come_at_once(pool: IsolatedPool) -> None:
    assert pool.apply(deeds.use_by_threads, (pool.Queue(), 80)) == 80


def test_what_a_thread_of_a_task_took_is_taken_when_the_result_is_there(pool: IsolatedPool) -> None:
    q = pool.Queue()
    for i in range(100):
        q.put(i)
        pool.apply(deeds.get_in_a_thread, (q,))
        assert q.empty()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc to count descriptors by")
def test_queues_that_are_gone_leave_nothing_in_a_worker(pool: IsolatedPool) -> None:
    counts = []
    for _ in range(30):
        q = pool.Queue()
        counts.append(max(pool.map(deeds.open_descriptors, [q] * 4, 1)))
        held = q._held
        assert held is not None
        hub = held.hub
        del q, held
        wait_for(lambda hub=hub: hub.over, LIMIT, "the end of the hub")
    assert max(counts[15:]) <= max(counts[:15])


def test_a_proof_is_for_one_address_only() -> None:
    """Else whoever takes the place of an owner that has ended could pass it on to another one."""
    assert wire.client_proof("\0here", b"a", b"b") != wire.client_proof("\0there", b"a", b"b")
    assert wire.owner_proof("\0here", b"a", b"b") != wire.owner_proof("\0there", b"a", b"b")


@pytest.mark.parametrize("items", [0, 2])
def test_a_get_that_is_cut_off_leaves_nobody_in_line(items: int) -> None:
    q: Any = face.Queue._made()
    deeds.put_all(q, range(items))

    def begin(sleeper: Any) -> None:
        q._held.store.take_later(sleeper)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        face._sleep(q._held, None, begin)
    assert not q._held.store._takers
    assert deeds.get_some(q, items) == list(range(items))
    q.put("for whoever comes next")
    assert q.get(timeout=1) == "for whoever comes next"


def test_a_get_of_a_task_whose_answer_is_cut_off_is_asked_again(pool: IsolatedPool) -> None:
    q = pool.Queue()
    result = pool.apply_async(deeds.get_some, (q, 2))
    held = q._held
    assert held is not None
    wait_for(lambda: bool(held.store._takers), LIMIT, "its question")
    with held.hub.lock:
        for client in held.hub._clients.values():
            client.give_up()
    deeds.put_all(q, [1, 2])
    assert sorted(result.get(LIMIT)) == [1, 2]


def test_a_fork_while_threads_connect_inherits_no_connection(pool: IsolatedPool) -> None:
    q = pool.Queue()
    held = q._held
    assert held is not None
    stop = threading.Event()

    def connect() -> None:
        while not stop.is_set():
            dial.connected(held.hub.address).close()

    threads = [threading.Thread(target=connect) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            child = os.fork()
            if not child:
                os._exit(any(one.fileno() >= 0 for one in list(dial._sockets)))
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_queue_comes_back_though_nobody_else_holds_it(pool: IsolatedPool) -> None:
    again = pool.apply_async(deeds.same, (pool.Queue(),)).get(LIMIT)
    again.put(1)
    assert again.get(timeout=1) == 1


def test_one_item_that_does_not_unpickle_costs_no_other(pool: IsolatedPool) -> None:
    q: Any = pool.Queue()
    with q._held.hub.lock:
        q._held.store.put(b"no pickle")
    q.put("next")
    with pytest.raises(Exception, match=r"."):
        q.get()
    assert q.get() == "next"
    with pytest.raises(queue.Empty):
        q.get_nowait()
