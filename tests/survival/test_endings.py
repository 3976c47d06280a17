"""close, terminate, `with` and `del`, in every state of the pool, from everywhere, at the worst moment.

Who uses it: pytest. What may go wrong: an end takes for ever, somebody waits for a result that cannot come, or a worker
outlives its pool.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import product
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, PoolTerminated
from poolsafe.engine import mortuary
from poolsafe.engine.state import STOPPING
from tests.support import tasks
from tests.support.gates import Gate, Tally, process_is_gone, wait_for
from tests.support.levels import LEVEL, many
from tests.survival.conftest import RESET, MakePool
from tests.survival.support import chores, initializers
from tests.survival.support.cases import spread
from tests.survival.support.chores import Chore, do
from tests.survival.support.states import STATES, State, continue_workers, queued, running, stopped
from tests.survival.support.ways import LIMIT, assert_survives_pickling, assert_worded, living, runs, wait_for_rest

pytestmark = pytest.mark.turns


def terminate(pool: IsolatedPool) -> None:
    pool.terminate()
    pool.join()


def leave_with(pool: IsolatedPool) -> None:
    with pool:
        pass


def leave_with_an_error(pool: IsolatedPool) -> None:
    with pytest.raises(LookupError), pool:
        raise LookupError


def close_then_terminate(pool: IsolatedPool) -> None:
    pool.close()
    pool.terminate()
    pool.join()


def terminate_from_two_threads(pool: IsolatedPool) -> None:
    together = threading.Barrier(2)

    def end() -> None:
        together.wait()
        terminate(pool)

    threads = [threading.Thread(target=end) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()


def terminate_while_joining(pool: IsolatedPool) -> None:
    pool.close()
    joiner = threading.Thread(target=pool.join)
    joiner.start()
    pool.terminate()
    joiner.join(LIMIT)
    assert not joiner.is_alive()


def terminate_from_a_signal_handler(pool: IsolatedPool) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: pool.terminate())
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_for(lambda: pool._state == "TERMINATE", LIMIT)
    finally:
        signal.signal(signal.SIGUSR1, before)
    pool.join()


ENDS = [
    terminate, leave_with, leave_with_an_error, close_then_terminate, terminate_from_two_threads,
    terminate_while_joining, terminate_from_a_signal_handler,
]  # fmt: skip

#: States that take the grace before a kill to end are not combined with every end.
EASY = ["idle", "running", "queued"]
HARD = [name for name in STATES if name not in EASY]


def assert_all_settled(state: State) -> None:
    """Nobody waits on anything: each result has come, or says that the pool was terminated."""
    for result in state.held:
        with pytest.raises(PoolTerminated) as caught:
            result.get(LIMIT)
        assert_worded(caught.value, PoolTerminated)
        assert caught.value.may_have_run
        assert_survives_pickling(caught.value)
    for result in state.waiting:
        with pytest.raises(PoolTerminated) as caught:
            result.get(LIMIT)
        assert_worded(caught.value, PoolTerminated)


@pytest.mark.parametrize(
    ("start_method", "case"),
    spread([*product(EASY, ENDS), *product(HARD, [terminate, leave_with])], *product(STATES, [terminate])),
)
def test_the_end_now(make_pool: MakePool, case: tuple[str, Callable[[IsolatedPool], None]], tmp_path: Path) -> None:
    state, end = case
    pool = make_pool()
    pending = STATES[state](pool, tmp_path)
    pids = living(pool)
    start = time.monotonic()
    end(pool)
    assert time.monotonic() - start < LIMIT
    assert_all_settled(pending)
    wait_for(lambda: all(map(process_is_gone, pids)), LIMIT)
    assert living(pool) == set()
    with pytest.raises(ValueError, match="Pool not running"):
        pool.apply_async(tasks.square, (1,))


def test_one_grace_for_all_workers(make_pool: MakePool, tmp_path: Path) -> None:
    """Workers that are deaf to SIGTERM are killed at the same time, not one after another."""
    pool = make_pool(8)
    STATES["deaf"](pool, tmp_path)
    start = time.monotonic()
    pool.terminate()
    assert time.monotonic() - start < 3.5, "eight graces of half a second are four"


@pytest.mark.parametrize("state", ["running", "queued"])
def test_close_finishes_what_was_submitted(make_pool: MakePool, state: str, tmp_path: Path) -> None:
    pool = make_pool()
    pending = STATES[state](pool, tmp_path)
    pool.close()
    with pytest.raises(ValueError, match="Pool not running"):
        pool.map(tasks.square, range(3))
    joiner = threading.Thread(target=pool.join)
    joiner.start()
    joiner.join(0.05)
    assert joiner.is_alive(), "the tasks are held"
    pending.go.open()
    joiner.join(LIMIT)
    assert not joiner.is_alive()
    for result in pending.results:
        assert result.successful()
    if state == "queued":
        assert runs(pending.runs) == Counter(range(100))
    assert living(pool) == set()


def test_workers_that_take_up_nothing_are_replaced(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are stopped while they wait, so nobody else can do what they were sent."""
    monkeypatch.setattr(mortuary, "STUCK_GRACE", 0.3)
    pool = make_pool()
    pool.map(tasks.square, range(4), 1)
    wait_for_rest(pool)
    stopped = {process.pid for process in pool._pool}
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    assert pool.map_async(tasks.square, range(10), 1).get(LIMIT) == [i * i for i in range(10)]
    assert pool.apply_async(tasks.square, (3,)).get(LIMIT) == 9
    if LEVEL != "process":  # where others have their places as soon as they were sent something
        assert any(process_is_gone(pid) for pid in stopped), "its replacement may have done all there was"
    assert pool.stats().lost == 0


@pytest.mark.parametrize("state", ["half_sent", "stopped"])
def test_close_waits_for_stopped_workers(make_pool: MakePool, state: str, tmp_path: Path) -> None:
    pool = make_pool()
    pending = STATES[state](pool, tmp_path)
    pool.close()
    pending.go.open()
    continue_workers(pool)
    pool.join()
    for result in pending.results:
        assert result.successful()


def test_a_stopped_worker_holds_up_its_own_task_alone(make_pool: MakePool, gate: Any, tally: Tally) -> None:
    pool = make_pool()
    go = gate("go")
    held = pool.apply_async(chores.wait_at, (go, tally))
    pid = int(tally.wait(1)[0])
    os.kill(pid, signal.SIGSTOP)
    count = many(100, 100, 30)
    results = [pool.apply_async(tasks.square, (i,)) for i in range(count)]
    assert [result.get(LIMIT) for result in results] == [i * i for i in range(count)]
    assert pool.map(tasks.square, range(count), 1) == [i * i for i in range(count)]
    go.open()
    assert not held.ready()
    os.kill(pid, signal.SIGCONT)
    assert held.get(LIMIT) == pid


def test_waiters_are_woken(make_pool: MakePool, tmp_path: Path) -> None:
    """Threads that are blocked in each way of waiting, when the pool is terminated under them."""
    pool = make_pool()
    state = queued(pool, tmp_path)
    iterator = pool.imap(tasks.square, range(5))
    unordered = pool.imap_unordered(tasks.square, range(5))
    caught: list[BaseException] = []
    woken: list[str] = []

    def wait(how: Callable[[], Any]) -> None:
        try:
            how()
            woken.append("returned")
        except PoolTerminated as error:
            caught.append(error)

    ways: list[Callable[[], Any]] = [
        state.held[0].get, state.held[0].wait, state.waiting[0].get, state.waiting[-1].get, iterator.next,
        unordered.next, lambda: pool.apply(tasks.square, (1,)), lambda: pool.map(tasks.square, range(3)),
        lambda: pool.starmap(tasks.add, [(1, 2)]), lambda: list(pool.imap(tasks.square, range(3))),
    ]  # fmt: skip
    threads = [threading.Thread(target=wait, args=(how,)) for how in ways]
    submitted = len(pool._cache)
    for thread in threads:
        thread.start()
    wait_for(lambda: len(pool._cache) >= submitted + 6, LIMIT, "four calls of the threads in the table")
    pool.terminate()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert (len(caught), woken) == (9, ["returned"])


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_the_end_during_submission(make_pool: MakePool, end: str, tally: Tally) -> None:
    """What was accepted is settled, what was not is refused, and nothing hangs."""
    pool = make_pool()
    accepted: list[Any] = []
    refused: list[BaseException] = []
    begun, enough = threading.Event(), many(100, 100, 30)

    def produce() -> None:
        try:
            for i in range(1_000_000):
                accepted.append((i, pool.apply_async(do, (Chore(i, tally),))))
                if i == enough:
                    begun.set()
        except ValueError as error:
            refused.append(error)

    producer = threading.Thread(target=produce)
    producer.start()
    assert begun.wait(LIMIT)
    getattr(pool, end)()
    producer.join(LIMIT)
    assert not producer.is_alive()
    assert [str(error) for error in refused] == ["Pool not running"]
    pool.join()
    done = set()
    for i, result in accepted:
        try:
            assert result.get(0) == (i, i * i)
            done.add(i)
        except PoolTerminated:
            assert end == "terminate"
    assert done <= set(runs(tally))
    assert max(runs(tally).values(), default=1) == 1
    if end == "close":
        assert len(done) == len(accepted)


@pytest.mark.parametrize(("start_method", "way"), spread(["map_async", "imap", "imap_unordered"], "imap"))
def test_terminate_during_a_large_submission(make_pool: MakePool, way: str) -> None:
    pool = make_pool()
    reading, go_on = threading.Event(), threading.Event()
    enough = many(5_000, 100, 30)

    def numbers() -> Any:
        for i in range(50_000):
            if i == enough:
                reading.set()
                go_on.wait(30)
            yield i

    outcome: list[Any] = []

    def submit() -> None:
        try:
            outcome.append(getattr(pool, way)(tasks.square, numbers(), 1))
        except ValueError as error:
            outcome.append(error)

    submitter = threading.Thread(target=submit)
    submitter.start()
    assert reading.wait(LIMIT)
    start = time.monotonic()
    pool.terminate()
    pool.join()
    assert time.monotonic() - start < LIMIT
    go_on.set()
    submitter.join(LIMIT)
    assert not submitter.is_alive()
    [result] = outcome
    with pytest.raises(PoolTerminated):
        if way == "map_async":
            result.get(LIMIT)
        for _ in range(50_001):
            result.next(LIMIT)


def test_terminate_during_respawns(ctx: BaseContext) -> None:
    """A worker that is being started when the end comes does not escape it."""
    for round_ in range(10):
        pool = IsolatedPool(3, context=ctx, reset=RESET, isolation=LEVEL)
        pids = living(pool)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        if round_ % 2:
            wait_for(lambda pool=pool, pids=pids: bool(living(pool) - pids), LIMIT, "the first replacement")
        pool.terminate()
        pool.join()
        assert living(pool) == set()


@pytest.mark.parametrize(("start_method", "prepare"), spread([queued, running, stopped], queued))
def test_terminate_twice_and_join_twice(make_pool: MakePool, prepare: Any, tmp_path: Path) -> None:
    pool = make_pool()
    prepare(pool, tmp_path)
    for _ in range(2):
        pool.terminate()
        pool.join()
        pool.close()


def test_a_call_that_is_sent_past_the_engine_just_when_the_pool_is_closed(
    make_pool: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker has read that it is to end, and waits for a thread of the program's; it never reads the call."""
    monkeypatch.setattr(mortuary, "STUCK_GRACE", 0.3)
    end = Gate(tmp_path / "end")
    pool = make_pool(1, initializers.linger, (end,))
    assert pool.apply(tasks.square, (2,)) == 4
    supervisor = pool._own()
    take = supervisor.intake._take_offer

    def take_and_close() -> Any:
        offer = take()
        pool.close()
        lanes = supervisor.engine.lanes
        wait_for(lambda: {lane.state for lane in list(lanes.values())} == {STOPPING}, LIMIT, "the end of the worker")
        return offer

    if LEVEL != "process":  # where nothing is sent past the engine
        wait_for(lambda: bool(supervisor.intake._offers), LIMIT, "an idle worker")
    monkeypatch.setattr(supervisor.intake, "_take_offer", take_and_close)
    result = pool.apply_async(tasks.square, (3,))
    assert result.get(LIMIT) == 9
    end.open()
    pool.join()
