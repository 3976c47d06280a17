"""Callbacks that raise, block, submit more work, or end the pool.

Who uses it: pytest. What may go wrong: one callback holds up everybody's results, ends a thread of the pool, or makes
the pool wait for itself.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from poolsafe import IsolatedPool, PoolTerminated, WorkerLost
from tests.support import tasks
from tests.support.gates import Tally, wait_for
from tests.support.levels import many
from tests.survival.conftest import MakePool
from tests.survival.support import chores, hostile
from tests.survival.support.cases import spread
from tests.survival.support.ways import LIMIT, assert_full_strength, living

pytestmark = pytest.mark.turns


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> deque[BaseException | None]:
    """What `threading.excepthook` is told."""
    told: deque[BaseException | None] = deque()
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_value))
    return told


@pytest.mark.parametrize(
    ("start_method", "kind"), spread([ValueError, SystemExit, KeyboardInterrupt, hostile.Bare], SystemExit)
)
def test_callbacks_that_raise_end_nothing(
    pool: IsolatedPool, kind: type[BaseException], reported: deque[Any], tmp_path: Path
) -> None:
    def bad(_: object) -> None:
        raise kind("callback")

    fine = pool.apply_async(tasks.square, (3,), callback=bad)
    failed = pool.apply_async(chores.raise_, (LookupError,), error_callback=bad)
    lost = pool.apply_async(tasks.kill_self, error_callback=bad)
    whole = pool.map_async(tasks.square, range(5), callback=bad)
    broken = pool.starmap_async(chores.raise_, [(LookupError,)], error_callback=bad)
    assert fine.get(LIMIT) == 9
    assert whole.get(LIMIT) == [0, 1, 4, 9, 16]
    for result, error in ((failed, LookupError), (lost, WorkerLost), (broken, LookupError)):
        with pytest.raises(error):
            result.get(LIMIT)
    wait_for(lambda: len(reported) == 5, LIMIT)  # a result is ready a little before its callback's error is reported
    assert [type(error) for error in reported] == [kind] * 5
    called: list[int] = []
    assert pool.apply_async(tasks.square, (4,), callback=called.append).get(LIMIT) == 16
    assert called == [16]
    assert_full_strength(pool, 2, tmp_path)


def test_a_hook_that_raises_ends_nothing(
    pool: IsolatedPool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hook(_: object) -> None:
        raise RuntimeError("the hook itself")

    def bad(_: object) -> None:
        raise ValueError("in the callback")

    monkeypatch.setattr(threading, "excepthook", hook)
    assert pool.apply_async(tasks.square, (3,), callback=bad).get(LIMIT) == 9
    assert pool.apply_async(tasks.square, (4,), callback=lambda _: None).get(LIMIT) == 16
    assert "in the callback" in capsys.readouterr().err


def test_a_callback_that_blocks_delays_its_own_result_alone(pool: IsolatedPool, tmp_path: Path) -> None:
    release, entered = threading.Event(), threading.Event()

    def block(_: object) -> None:
        entered.set()
        release.wait(30)

    try:
        stuck = pool.apply_async(tasks.square, (1,), callback=block)
        assert entered.wait(LIMIT)
        assert pool.apply(tasks.square, (2,)) == 4
        assert list(pool.imap_unordered(tasks.square, [3])) == [9]
        called: list[int] = []
        assert pool.apply_async(tasks.square, (5,), callback=called.append).get(LIMIT) == 25
        assert pool.map_async(tasks.square, [6], callback=called.extend).get(LIMIT) == [36]
        assert called == [25, 36]
        assert_full_strength(pool, 2, tmp_path)
        assert not stuck.ready()
    finally:
        release.set()
    assert stuck.get(LIMIT) == 1


@pytest.mark.parametrize(("start_method", "end"), spread(["terminate", "with"], "terminate"))
def test_a_callback_that_blocks_does_not_hold_up_the_end(pool: IsolatedPool, end: str) -> None:
    release, entered = threading.Event(), threading.Event()

    def block(_: object) -> None:
        entered.set()
        release.wait(30)

    try:
        pool.apply_async(tasks.square, (1,), callback=block)
        assert entered.wait(LIMIT)
        queued = pool.apply_async(tasks.square, (2,), callback=lambda _: None)
        wait_for(lambda: not pool._cache, LIMIT, "the second value, behind the callback that blocks")
        start = time.monotonic()
        if end == "with":
            with pool:
                pass
        else:
            pool.terminate()
        pool.join()
        assert time.monotonic() - start < LIMIT
        assert queued.get(LIMIT) == 4, "it came before the end"
    finally:
        release.set()


def test_join_waits_for_callbacks(pool: IsolatedPool) -> None:
    entered, release = threading.Event(), threading.Event()
    called: list[int] = []

    def slow(value: int) -> None:
        entered.set()
        release.wait(30)
        called.append(value)

    pool.apply_async(tasks.square, (3,), callback=slow)
    assert entered.wait(LIMIT)
    pool.close()
    joiner = threading.Thread(target=pool.join)
    joiner.start()
    joiner.join(0.1)
    assert joiner.is_alive()
    release.set()
    joiner.join(LIMIT)
    assert not joiner.is_alive()
    assert called == [9]


def test_callbacks_that_submit_more_work(pool: IsolatedPool, tmp_path: Path) -> None:
    done = threading.Event()
    seen: list[int] = []

    def next_one(value: int) -> None:
        seen.append(value)
        if value < 50:
            pool.apply_async(tasks.add, (value, 1), callback=next_one)
        else:
            done.set()

    pool.apply_async(tasks.add, (0, 1), callback=next_one)
    assert done.wait(LIMIT)
    assert seen == list(range(1, 51))
    assert_full_strength(pool, 2, tmp_path)


def test_callbacks_that_wait_for_more_work(pool: IsolatedPool) -> None:
    """Each blocking way, from within a callback."""
    seen: list[Any] = []

    def wait_for_more(value: int) -> None:
        seen.append(pool.apply(tasks.square, (value,)))
        seen.append(pool.map(tasks.square, range(value)))
        seen.append(list(pool.imap(tasks.square, range(value))))
        seen.append(pool.starmap(tasks.add, [(value, value)]))
        try:
            pool.apply(tasks.kill_self)
        except WorkerLost:
            seen.append("lost")

    pool.apply_async(tasks.square, (2,), callback=wait_for_more).wait(LIMIT)
    assert seen == [16, [0, 1, 4, 9], [0, 1, 4, 9], [8], "lost"]


def test_a_callback_that_waits_for_the_callback_of_another(pool: IsolatedPool) -> None:
    inner: list[Any] = []

    def outer(_: object) -> None:
        inner.append(pool.apply_async(tasks.square, (5,), callback=inner.append).get(LIMIT))

    pool.apply_async(tasks.square, (2,), callback=outer).wait(LIMIT)
    assert inner == [25, 25]


@pytest.mark.parametrize(
    ("start_method", "what"),
    spread(["terminate", "terminate-join", "close", "close-join", "with"], "terminate-join", "close-join"),
)
def test_callbacks_that_end_the_pool(make_pool: MakePool, tally: Tally, gate: Any, what: str) -> None:
    pool = make_pool()
    ended = threading.Event()

    def end(_: object) -> None:
        if what == "with":
            with pool:
                pass
        else:
            getattr(pool, what.partition("-")[0])()
            if what.endswith("join"):
                pool.join()
        ended.set()

    go = gate("go")
    running = pool.apply_async(chores.wait_at, (go, tally))
    queued = [pool.apply_async(tasks.square, (i,)) for i in range(30)]
    tally.wait(1)
    first = pool.apply_async(tasks.square, (7,), callback=end)
    if what.startswith("close"):
        wait_for(lambda: pool._state == "CLOSE", LIMIT)
        go.open()
    assert ended.wait(LIMIT)
    first.wait(LIMIT)
    assert first.ready()
    pool.join()
    assert living(pool) == set()
    if what.startswith("close"):
        assert running.get(LIMIT) in map(int, tally.entries())
        assert [result.get(LIMIT) for result in queued] == [i * i for i in range(30)]
    else:
        with pytest.raises(PoolTerminated):
            running.get(LIMIT)


@pytest.mark.parametrize(("start_method", "callback"), spread(["callback", "error_callback"], "error_callback"))
def test_terminate_from_a_callback_of_a_death(make_pool: MakePool, callback: str, gate: Any, tally: Tally) -> None:
    """The end comes while the replacement of the dead worker is being started."""
    pool = make_pool(3)
    held = pool.apply_async(chores.wait_at, (gate("never"), tally))
    tally.wait(1)
    ended = threading.Event()

    def end(_: object) -> None:
        pool.terminate()
        ended.set()

    deed = tasks.kill_self if callback == "error_callback" else tasks.pid
    pool.apply_async(deed, **{callback: end})  # type: ignore[arg-type]
    assert ended.wait(LIMIT)
    pool.join()
    with pytest.raises(PoolTerminated):
        held.get(LIMIT)
    assert living(pool) == set()


def test_every_callback_runs_exactly_once(pool: IsolatedPool) -> None:
    values: deque[int] = deque()
    errors: deque[BaseException] = deque()
    deeds = [
        tasks.kill_self if i % 20 == 7 else (tasks.exit_softly if i % 20 == 9 else None)
        for i in range(many(200, 200, 80))
    ]
    results = [
        pool.apply_async(deed or tasks.identity, () if deed else (i,), None or {}, values.append, errors.append)
        for i, deed in enumerate(deeds)
    ]
    pool.close()
    pool.join()
    assert all(result.ready() for result in results)
    assert sorted(values) == [i for i, deed in enumerate(deeds) if not deed]
    assert len(errors) == sum(bool(deed) for deed in deeds)
