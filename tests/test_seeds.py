"""Random numbers: equal for equal seeds whatever runs where, and never the same twice without one."""

from __future__ import annotations

import itertools
import os
import random
from multiprocessing.context import BaseContext
from typing import Any

import pytest

import poolsafe
from poolsafe import IsolatedPool, WorkerLost
from tests.support import tasks
from tests.support.gates import Tally
from tests.support.levels import LEVEL

numpy = pytest.importorskip("numpy")

COUNT = 12
#: A global of the project's own, of each kind.
ours = random.Random(7)
legacy = numpy.random.RandomState(7)
modern = numpy.random.default_rng(7)


def draw(_: object = None) -> tuple[float, ...]:
    """One number from every source."""
    sources = (random.random, numpy.random.random, poolsafe.rng().random, ours.random, legacy.random_sample)
    return (*(float(source()) for source in sources), float(modern.random()))


def draw_or_die(tally: Tally) -> tuple[float, ...]:
    """Die when called for the first time."""
    tally.add(os.getpid())
    if len(tally.entries()) == 1:
        tasks.kill_self()
    return draw()


def draw_and_leave_a_thread(_: object) -> tuple[float, ...]:
    import threading

    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return draw()


def start_drawing() -> None:
    random.seed(1)
    numpy.random.seed(1)


@pytest.fixture(scope="module")
def expected() -> list[tuple[float, ...]]:
    """What the tasks of a pool with the seed 42 draw, at any level."""
    with IsolatedPool(1, seed=42) as pool:
        return pool.map(draw, range(COUNT), 1)


@pytest.mark.parametrize(("processes", "chunksize"), [(1, 1), (1, COUNT), (2, 5), (4, 1)])
def test_equal_whatever_runs_where(
    ctx: BaseContext, processes: int, chunksize: int, expected: list[tuple[float, ...]]
) -> None:
    with IsolatedPool(processes, context=ctx, seed=42, isolation=LEVEL) as pool:
        assert pool.map(draw, range(COUNT), chunksize) == expected


def test_by_every_method(ctx: BaseContext, expected: list[tuple[float, ...]]) -> None:
    """The number of a task is that of its submission, whichever method submitted it."""
    with IsolatedPool(2, context=ctx, seed=42, isolation=LEVEL) as pool:
        drawn = [pool.apply(draw), pool.apply_async(draw).get()]
        drawn += pool.starmap(draw, [(0,), (0,)])
        drawn += pool.imap(draw, range(3), 2)
        drawn += sorted(pool.imap_unordered(draw, range(2)), key=expected.index)
        drawn += pool.map(draw, range(COUNT - 9))
        assert drawn == expected


def test_after_crashes_and_retirements(ctx: BaseContext, tmp_path: Any, expected: list[tuple[float, ...]]) -> None:
    with IsolatedPool(2, context=ctx, seed=42, isolation=LEVEL) as pool:
        with pytest.raises(WorkerLost):
            pool.apply(draw_or_die, (Tally(tmp_path / "calls"),))
        assert pool.map(draw_and_leave_a_thread, range(3), 3) == expected[1:4]
        assert pool.apply(draw) == expected[4]


def test_rng_is_the_spawned_stream_of_the_task() -> None:
    """The documented recipe, so that a single task can be reproduced without a pool."""
    with IsolatedPool(2, seed=42, isolation=LEVEL) as pool:
        drawn = pool.map(draw_from_rng, range(4))
    streams = numpy.random.SeedSequence(42).spawn(4)
    assert drawn == [numpy.random.default_rng(stream).random(3).tolist() for stream in streams]


def draw_from_rng(_: object) -> list[float]:
    return [float(poolsafe.rng().random()) for _ in range(3)]


def test_inputs_of_unknown_length_have_streams_of_their_own() -> None:
    with IsolatedPool(2, seed=42, isolation=LEVEL) as pool:
        first = list(pool.imap(draw, iter(range(3))))
        middle = pool.apply(draw)
        second = list(pool.imap(draw, iter(range(3)), 2))
    with IsolatedPool(1, seed=42, isolation=LEVEL) as pool:
        assert pool.apply(draw) == middle, "they do not count in the order of the others"
        assert list(pool.imap(draw, iter(range(3)), 3)) == first
        assert list(pool.imap(draw, iter(range(3)))) == second
    numbers = [*itertools.chain.from_iterable([*first, *second, middle])]
    assert len(set(numbers)) == len(numbers)


def test_other_seeds_draw_other_numbers(expected: list[tuple[float, ...]]) -> None:
    with IsolatedPool(1, seed=43, isolation=LEVEL) as pool:
        drawn = pool.map(draw, range(COUNT))
    numbers = [*itertools.chain.from_iterable([*drawn, *expected])]
    assert len(set(numbers)) == len(numbers)


def test_numpy_that_is_first_imported_inside_a_task(tmp_path: Any) -> None:
    from tests.support.scripts import run_python

    script = tmp_path / "script.py"
    script.write_text(
        "from poolsafe import IsolatedPool\n"
        "def draw(i):\n    import numpy\n    return float(numpy.random.random())\n"
        "if __name__ == '__main__':\n"
        "    for processes in (1, 3):\n"
        "        with IsolatedPool(processes, seed=5) as pool: print(pool.map(draw, range(6), 1))\n"
    )
    done = run_python(script)
    first, second = done.stdout.splitlines()
    assert first == second
    assert len(set(first.strip("[]").split(", "))) == 6, done.stderr


@pytest.mark.parametrize(
    ("start_method", "isolation"), [("fork", "globals"), ("fork", None), ("spawn", "globals"), ("forkserver", None)]
)
def test_without_a_seed_nobody_draws_the_same(ctx: BaseContext, isolation: str | None) -> None:
    """No two workers, no two pools, and no two tasks of one worker."""
    drawn: list[float] = []
    for _ in range(2):
        with IsolatedPool(3, context=ctx, isolation=isolation) as pool:
            drawn += itertools.chain.from_iterable(pool.map(draw, range(9), 1))
    assert len(set(drawn)) == len(drawn)


def draw_and_seed(_: int) -> list[float]:
    seen = [random.random(), float(numpy.random.random())]
    random.seed(5)
    numpy.random.seed(5)
    return seen


def test_a_task_that_seeds_does_so_for_itself(ctx: BaseContext) -> None:
    with IsolatedPool(2, context=ctx, isolation=LEVEL) as pool:
        drawn = list(itertools.chain.from_iterable(pool.map(draw_and_seed, range(6), 3)))
    assert len(set(drawn)) == len(drawn)
    assert random.Random(5).random() not in drawn
    assert float(numpy.random.RandomState(5).random_sample()) not in drawn


def test_an_initializer_may_seed_as_it_likes() -> None:
    with IsolatedPool(1, start_drawing, isolation=LEVEL) as pool:
        drawn = pool.apply(draw)
    as_seeded = drawn[0] == random.Random(1).random(), drawn[1] == numpy.random.RandomState(1).random_sample()
    # A process that is forked after the initializer must not draw what the next one will.
    assert as_seeded == ((False, False) if LEVEL == "fork" else (True, True))


def test_a_generator_that_is_named_is_rewound(ctx: BaseContext) -> None:
    """It has its state from when the pool was made, in every worker."""
    with IsolatedPool(2, context=ctx, reset=f"{__name__}:ours", isolation=LEVEL) as pool:
        assert len({numbers[3] for numbers in pool.map(draw, range(6), 1)}) == 1


def test_rng_outside_of_a_pool_is_one_for_the_process() -> None:
    assert poolsafe.rng() is poolsafe.rng()
    assert poolsafe.rng().random() != poolsafe.rng().random()


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), ("1", TypeError), (1.5, TypeError)])
def test_a_wrong_seed_is_told_at_once(seed: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="seed must"):
        IsolatedPool(1, seed=seed)
