"""Workers that are killed while they put or get: nothing that was put is lost, doubled or torn, and nobody hangs."""

from __future__ import annotations

import os
import queue
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, WorkerLost
from tests.queues import deeds
from tests.queues.storms import all_there, assert_whole
from tests.support.gates import Tally, wait_for
from tests.survival.conftest import MakePool

LIMIT = 30


@pytest.mark.parametrize("maxsize", [0, 50])
def test_a_storm_of_killed_producers(make_pool: MakePool, tmp_path: Path, maxsize: int) -> None:
    pool = make_pool(2, isolation=None, reset=())
    q = pool.Queue(maxsize)
    tallies = [Tally(tmp_path / f"producer-{number}") for number in range(10)]
    results = [
        pool.apply_async(deeds.put_until_killed, (q, done, number, 1000, 0.15)) for number, done in enumerate(tallies)
    ]
    got: list[Any] = []
    while not all(result.ready() for result in results):
        try:
            got.append(q.get(timeout=0.05))
        except queue.Empty:
            continue
    got += all_there(q)
    for result in results:
        with pytest.raises(WorkerLost):
            result.get()
    assert_whole(got, tallies)
    assert pool.apply(deeds.put_all, (q, [1])) == 1
    assert q.get() == 1


@pytest.mark.parametrize("maxsize", [0, 50])
def test_a_storm_of_killed_consumers(make_pool: MakePool, tmp_path: Path, maxsize: int) -> None:
    pool = make_pool(2, isolation=None, reset=())
    q = pool.Queue(maxsize)
    tallies = [Tally(tmp_path / f"consumer-{number}") for number in range(8)]
    results = [pool.apply_async(deeds.get_until_killed, (q, done, number, 0.15)) for number, done in enumerate(tallies)]
    put = 0
    while not all(result.ready() for result in results):
        try:
            q.put(put, timeout=0.05)  # when the last consumer is dead nobody makes room
        except queue.Full:
            continue
        put += 1
        if q.qsize() > 2000:
            wait_for(lambda: q.qsize() < 1000 or all(r.ready() for r in results), LIMIT, "consumers")
    for result in results:
        with pytest.raises(WorkerLost):
            result.get()
    left = all_there(q)
    seen = Counter([*left, *(int(entry) for done in tallies for entry in done.entries())])
    assert not [item for item, count in seen.items() if count > 1], "none was taken twice"
    missing = set(range(put)) - seen.keys()
    assert len(missing) <= len(tallies), "a consumer may have been killed between taking an item and saying so"


def test_who_waits_and_is_killed_takes_nothing(pool: IsolatedPool, tally: Tally) -> None:
    q = pool.Queue()
    waiting = [pool.apply_async(deeds.arrive_and_get, (tally, q)) for _ in range(2)]
    victim = int(tally.wait(2)[0])
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: any(one.ready() for one in waiting), LIMIT, "the loss")
    q.put("for the one that lives")
    (live,) = [one for one in waiting if not one.ready() or one.successful()]
    assert live.get(LIMIT) == "for the one that lives"
    assert q.empty()


def test_who_waits_for_room_and_is_killed_puts_nothing(pool: IsolatedPool, tally: Tally) -> None:
    q = pool.Queue(1)
    q.put("first")
    waiting = pool.apply_async(deeds.arrive_and_put, (tally, q, "never"))
    os.kill(int(tally.wait(1)[0]), signal.SIGKILL)
    with pytest.raises(WorkerLost):
        waiting.get(LIMIT)
    wait_for(lambda: not q._held.store._putters, LIMIT, "the end of its connection")  # type: ignore[union-attr]
    assert q.get() == "first"
    assert q.empty()


def test_a_stopped_worker_holds_nobody_up(pool: IsolatedPool, tally: Tally) -> None:
    q = pool.Queue()
    stopped = pool.apply_async(deeds.arrive_and_get, (tally, q))
    pid = int(tally.wait(1)[0])
    wait_for(lambda: bool(q._held.store._takers), LIMIT, "its question")  # type: ignore[union-attr]
    os.kill(pid, signal.SIGSTOP)
    try:
        q.put("taken by the one that is stopped")
        assert pool.apply_async(deeds.put_all, (q, range(10))).get(LIMIT) == 10
        assert deeds.get_some(q, 10) == list(range(10))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert stopped.get(LIMIT) == "taken by the one that is stopped"
