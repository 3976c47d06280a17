"""The ways of submitting work, and what must be true of all of them.

Who uses it: survival tests, in the parent. `survive` sends some chores of which one goes wrong, by one of the `WAYS`,
and checks all that the pool promises about the others; `assert_full_strength` checks that it goes on. What may go
wrong: a promise is broken, and the assertion says by which way.
"""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poolsafe import IsolatedPool, PoolsafeError
from poolsafe.engine.state import READY
from tests.support.gates import Tally, wait_for
from tests.support.levels import FRESH, LEVEL, lasting
from tests.survival.support.chores import Chore, do, meet

#: Seconds within which anything must be over. It takes well under one; a loaded machine must not fail honest tests.
#: Where each task needs a new interpreter, a hundred of them take ten.
LIMIT = 60.0 if LEVEL == "process" else 10.0
#: Attributes that errors carry as facts.
FACTS = ("pid", "exitcode", "signal", "may_have_run", "item", "type_name", "code", "traceback_text")

_numbers = itertools.count()


@dataclass
class Harvest:
    """What came back: values by index where the way shows them, and every error."""

    values: dict[int, Any] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)

    def take(self, get: Callable[[], Any]) -> None:
        try:
            index, value = get()
        except StopIteration:
            raise
        except BaseException as error:
            self.errors.append(error)
        else:
            assert index not in self.values, f"item {index} came twice"
            self.values[index] = value


#: Sends the items to a function, by default `do`, which takes one argument.
Way = Callable[..., Harvest]


def by_apply(pool: IsolatedPool, chores: Sequence[Any], func: Callable[[Any], Any] = do) -> Harvest:
    harvest = Harvest()
    for chore in chores:
        harvest.take(lambda chore=chore: pool.apply(func, (chore,)))
    return harvest


def by_apply_async(pool: IsolatedPool, chores: Sequence[Any], func: Callable[[Any], Any] = do) -> Harvest:
    harvest = Harvest()
    results = [pool.apply_async(func, (chore,)) for chore in chores]
    for result in results:
        harvest.take(lambda result=result: result.get(LIMIT))
    return harvest


def by_callbacks(pool: IsolatedPool, chores: Sequence[Any], func: Callable[[Any], Any] = do) -> Harvest:
    """What callbacks are given is the harvest; the results must agree with it."""
    harvest = Harvest()
    results = [
        pool.apply_async(
            func, (chore,), callback=lambda pair: harvest.take(lambda: pair), error_callback=harvest.errors.append
        )
        for chore in chores
    ]
    for result in results:
        result.wait(LIMIT)
        assert result.ready()
    assert sum(result.successful() for result in results) == len(harvest.values)
    assert len(harvest.values) + len(harvest.errors) == len(results), "callbacks run before results are ready"
    return harvest


def _whole(get: Callable[[], Any]) -> Harvest:
    harvest = Harvest()
    try:
        harvest.values.update(get())
    except BaseException as error:
        harvest.errors.append(error)
    return harvest


def by_map(pool: IsolatedPool, chores: Sequence[Any], func: Callable[[Any], Any] = do) -> Harvest:
    return _whole(lambda: pool.map(func, chores, 3))


def by_map_callbacks(pool: IsolatedPool, chores: Sequence[Any], func: Callable[[Any], Any] = do) -> Harvest:
    called: list[Any] = []
    result = pool.map_async(func, chores, 3, callback=called.append, error_callback=called.append)
    harvest = _whole(lambda: result.get(LIMIT))
    assert called == (harvest.errors or [list(harvest.values.items())])
    return harvest


def by_starmap(pool: IsolatedPool, chores: Sequence[Any], func: Callable[[Any], Any] = do) -> Harvest:
    return _whole(lambda: pool.starmap(func, [(chore,) for chore in chores], 2))


def by_imap(pool: IsolatedPool, chores: Sequence[Any], func: Callable[[Any], Any] = do) -> Harvest:
    return _iterate(pool.imap(func, iter(chores)))


def by_imap_chunks(pool: IsolatedPool, chores: Sequence[Any], func: Callable[[Any], Any] = do) -> Harvest:
    return _iterate(pool.imap(func, chores, 3))


def by_imap_unordered(pool: IsolatedPool, chores: Sequence[Any], func: Callable[[Any], Any] = do) -> Harvest:
    return _iterate(pool.imap_unordered(func, chores, 2))


def _iterate(iterator: Any) -> Harvest:
    harvest = Harvest()
    while True:
        try:
            harvest.take(lambda: iterator.next(LIMIT))
        except StopIteration:
            return harvest


WAYS: dict[str, Way] = {
    "apply": by_apply,
    "apply_async": by_apply_async,
    "callbacks": by_callbacks,
    "map": by_map,
    "map_callbacks": by_map_callbacks,
    "starmap": by_starmap,
    "imap": by_imap,
    "imap_chunks": by_imap_chunks,
    "imap_unordered": by_imap_unordered,
}
#: Over plain pipes a thread of the worker watches for the parent's end, and needs the interpreter for that.
pipe_transport = os.environ.get("POOLSAFE_TRANSPORT") == "pipe"
#: The telling ones: where starting workers is dear, and the start method has no part in it.
FEW_WAYS = ("apply", "callbacks", "map", "imap_unordered")
#: Ways in which a task is an item of something larger, so that its error can tell which.
OF_ITEMS = frozenset(WAYS) - {"apply", "apply_async", "callbacks"}
#: Ways that give either all values or one error.
ALL_OR_NOTHING = frozenset({"map", "map_callbacks", "starmap"})


def ways_under(pool: IsolatedPool) -> Sequence[str]:
    """All ways, or some of them where each death costs a slow start."""
    return tuple(WAYS) if pool._ctx.get_start_method() == "fork" else FEW_WAYS


def fresh_tally(folder: Path) -> Tally:
    return Tally(folder / f"tally-{next(_numbers)}")


def survive(
    pool: IsolatedPool,
    way: str,
    folder: Path,
    deed: Callable[[], Any],
    expect: Callable[[BaseException], None],
    *,
    count: int = 8,
    victim: int = 4,
    begun: bool = True,
) -> None:
    """Send *count* chores of which number *victim* does *deed*; check its error and that no other task is touched.

    Args:
        pool: Whose promises are checked.
        way: Of `WAYS`.
        folder: For the tally.
        deed: What the victim does.
        expect: Asserts what is true of the victim's error.
        count: How many chores.
        victim: The index of the one that goes wrong.
        begun: Whether the victim's function is begun at all.
    """
    tally = fresh_tally(folder)
    chores = [Chore(i, tally, deed if i == victim else None) for i in range(count)]
    start = time.monotonic()
    harvest = WAYS[way](pool, chores)
    took = time.monotonic() - start
    others = [i for i in range(count) if i != victim]
    assert len(harvest.errors) == 1, f"by {way}: {harvest}"
    [error] = harvest.errors
    expect(error)
    if way in OF_ITEMS and hasattr(error, "item"):
        assert error.item == victim, f"by {way}"
    assert_survives_pickling(error)
    assert runs(tally) == Counter([*others, victim] if begun else others), f"by {way}"
    if way not in ALL_OR_NOTHING:
        assert harvest.values == {i: i * i for i in others}, f"by {way}"
    assert took < LIMIT, f"by {way}"


def thrive(pool: IsolatedPool, folder: Path, deed: Callable[[], Any], right: Callable[[Any], bool]) -> None:
    """By every way, send chores of which one does *deed*, which harms nobody and returns what is *right*."""
    for way in ways_under(pool):
        tally = fresh_tally(folder)
        chores = [Chore(i, tally, deed if i == 2 else None) for i in range(6)]
        harvest = WAYS[way](pool, chores)
        assert harvest.errors == [], f"by {way}"
        assert right(harvest.values.pop(2)), f"by {way}"
        assert harvest.values == {i: i * i for i in range(6) if i != 2}, f"by {way}"
        assert runs(tally) == Counter(range(6)), f"by {way}"


def runs(tally: Tally) -> Counter[int]:
    """How often each chore was begun."""
    return Counter(int(entry) for entry in tally.entries())


def assert_full_strength(pool: IsolatedPool, workers: int, folder: Path) -> None:
    """The pool has *workers* live processes, and as many tasks run at the same time, each in its own."""
    arrivals = fresh_tally(folder)
    results = [pool.apply_async(meet, (arrivals, workers)) for _ in range(workers)]
    pids = {result.get(LIMIT) for result in results}
    assert len(pids) == workers
    wait_for(lambda: len(living(pool)) == workers, LIMIT, f"{workers} live processes in _pool")
    assert pids == living(pool) or FRESH


def living(pool: IsolatedPool) -> set[int]:
    """Process ids of the pool's live workers."""
    return {process.pid for process in pool._pool if process.is_alive()}


def assert_unreplaced(pool: IsolatedPool, before: set[int]) -> None:
    """No worker had to die; where each lives for a single task, nobody can tell."""
    assert living(pool) == before or not lasting(pool._ctx.get_start_method())


def rests(pool: IsolatedPool) -> bool:
    """Whether every worker waits for a task, also those that take the place of one that has ended with its own."""
    return [lane.state for lane in [*pool._own().engine.lanes.values()]] == [READY] * pool._processes


def wait_for_rest(pool: IsolatedPool) -> None:
    wait_for(lambda: rests(pool), LIMIT, "workers that all wait")


def kill_idle(pool: IsolatedPool, count: int | None = None, signum: int = signal.SIGKILL) -> None:
    """Kill so many workers, or all, that have nothing to do; what comes next must find its way right after that."""
    wait_for_rest(pool)  # where each ends with its task, those that have had one may be gone by now
    for pid in sorted(living(pool))[:count]:
        os.kill(pid, signum)


# Errors


def assert_worded(error: BaseException, kind: type[PoolsafeError]) -> None:
    """An error of our own has a fact, a likely cause and a remedy, all of them in its text."""
    assert isinstance(error, kind), f"{type(error).__name__}: {error}"
    for part in (error.fact, error.cause, error.remedy):
        assert part
        assert part in str(error)
    assert isinstance(error.may_have_run, bool) if hasattr(error, "may_have_run") else True


def assert_survives_pickling(error: BaseException) -> None:
    """What is raised can be sent on: type, text and facts stay."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again).__mro__[1:] == type(error).__mro__[1:]
    assert str(again) == str(error)
    for name in FACTS:
        assert getattr(again, name, None) == getattr(error, name, None), name
