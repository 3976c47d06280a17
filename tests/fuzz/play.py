"""Play a plan with a real pool, and gather what comes of it.

Who uses it: the program and its test. What may go wrong: somebody waits for ever, which is a `Hang` after a while.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing as mp
import os
import queue
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from poolsafe import InitializerError, IsolatedPool
from tests.support import leaks

from .deeds import Work, after, before, do, do_starred
from .judge import ERROR, UNKNOWN, VALUE, WHOLE, Harvest, Outcome
from .plan import Accidents, Call, Plan

#: Seconds after which an outcome does not come any more; less than a test may take, so that a hang tells of itself.
PATIENCE = 45.0


class Hang(Exception):
    """Somebody waits for what never comes."""


def play(plan: Plan, folder: Path) -> Harvest:
    """Everything that came of the plan, with the pool gone."""
    begun = folder / f"begun-{plan.seed}"
    draws = _draws(plan, begun)
    begun.write_text("")
    with mock.patch.dict(os.environ, {"POOLSAFE_TRANSPORT": "pipe"} if plan.over_pipes else {}):
        pool = _pool(plan)
    results: queue.Queue[int] | None = pool.Queue() if plan.with_queue else None
    works = [
        Work(str(begun), number, deed, bytes(size), results)
        for number, (deed, size) in enumerate(zip(plan.deeds, plan.sizes, strict=True))
    ]
    gatherer = Gatherer()
    with _killer(pool, plan):
        _submit_and_gather(pool, plan, works, gatherer)
    with contextlib.suppress(InitializerError):  # accidents have broken the pool
        _end(pool, plan.end)
    del pool
    gc.collect()
    queued = Counter(_drained(results))
    counted = Counter(map(int, begun.read_text().split()))
    return Harvest(gatherer.outcomes, counted, draws, queued, gatherer.oddities)


def _pool(plan: Plan) -> IsolatedPool:
    accidents = plan.accidents
    return IsolatedPool(
        initializer=spoil,
        initargs=(plan.seed, accidents),
        context=mp.get_context(plan.start_method),
        before_task=before,
        after_task=after,
        **plan.options,
    )


def spoil(seed: int, accidents: Accidents) -> None:
    """The initializer: from now on forks fail now and then, or descriptors are scarce."""
    os.chdir("/tmp")
    if accidents.forkless:
        chance = random.Random(seed ^ os.getpid())

        def look(event: str, _: Any) -> None:
            if event == "os.fork" and chance.random() < accidents.forkless:
                raise BlockingIOError("no process can be had just now")

        sys.addaudithook(look)
    if accidents.scarce:
        import resource

        soft = max(map(int, os.listdir("/proc/self/fd"))) + accidents.scarce
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@contextlib.contextmanager
def _killer(pool: IsolatedPool, plan: Plan) -> Iterator[None]:
    """Meanwhile, processes of the pool are killed, crashed and stopped, if the plan says so."""
    if not plan.accidents.kills:
        yield
        return
    stop = threading.Event()
    chance = random.Random(-plan.seed)
    numbers = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV]
    if not plan.over_pipes:
        numbers.append(signal.SIGSTOP)

    def kill() -> None:
        while not stop.wait(chance.random() * 0.08):
            workers = [process.pid for process in pool._pool]
            there = [*workers, *(pid for worker in workers for pid in sorted(leaks.descendants(worker)))]
            number = chance.choice(numbers)
            with contextlib.suppress(OSError, IndexError):
                pid = chance.choice(there)
                os.kill(pid, number)
                if number == signal.SIGSTOP:
                    stop.wait(0.3)
                    os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# -- submitting --------------------------------------------------------------------------------------------------------
def _submit(pool: IsolatedPool, call: Call, works: list[Work]) -> Any:
    part = works[call.first : call.last]
    if call.way == "apply":
        return pool.apply_async(do_starred, tuple(part[0]))
    if call.way == "map":
        return pool.map_async(do, part, chunksize=call.chunk)
    if call.way == "starmap":
        return pool.starmap_async(do_starred, map(tuple, part), chunksize=call.chunk)
    items = iter(part) if call.chunk > 1 else part
    return (pool.imap if call.way == "imap" else pool.imap_unordered)(do, items, chunksize=call.chunk)


def _submit_and_gather(pool: IsolatedPool, plan: Plan, works: list[Work], gatherer: Gatherer) -> None:
    chance = random.Random(plan.seed + 1)
    submitted: list[tuple[Call, Any]] = []
    for call in plan.calls:
        try:
            submitted.append((call, _submit(pool, call, works)))
        except InitializerError as error:  # accidents have broken the pool
            for number in range(call.first, call.last):
                gatherer.outcomes[number] = Outcome(ERROR, error)
            continue
        if call.called_off:
            time.sleep(chance.random() * 0.1)
            submitted[-1][1].cancel()
    if plan.early:
        time.sleep(chance.random() * 0.3)
        pool.terminate()
    for call, result in submitted:
        gatherer.gather(call, result)


def _draws(plan: Plan, begun: Path) -> dict[int, float]:
    """Which random number each task must draw: as in a pool of one worker in which nothing happens."""
    begun.write_text("")
    works = [Work(str(begun), number, "nothing") for number in range(len(plan.deeds))]
    gatherer = Gatherer()
    seed = plan.options["seed"]
    options: dict[str, Any] = {"before_task": before, "after_task": after, "seed": seed}
    with IsolatedPool(1, spoil, (seed, Accidents()), context=mp.get_context("fork"), **options) as pool:
        for call, result in [(call, _submit(pool, call, works)) for call in plan.calls]:
            gatherer.gather(call, result)
    return {number: outcome.value.draw for number, outcome in gatherer.outcomes.items()}


def _end(pool: IsolatedPool, end: str) -> None:
    if end == "leave":
        with pool:
            pass
    elif end != "drop":
        getattr(pool, end)()
    if end != "drop":
        pool.join()


def _drained(results: queue.Queue[int] | None) -> Iterator[int]:
    with contextlib.suppress(queue.Empty):
        while results is not None:
            yield results.get(timeout=0.05)


# -- gathering ---------------------------------------------------------------------------------------------------------
class Gatherer:
    """Waits for results, and notes what comes of each task."""

    def __init__(self) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self.oddities: list[str] = []

    def gather(self, call: Call, result: Any) -> None:
        """All that comes of a call."""
        numbers = range(call.first, call.last)
        if call.way == "apply":
            self.outcomes[call.first] = _outcome(lambda: result.get(PATIENCE))
        elif call.way == "imap":
            for number in numbers:
                self.outcomes[number] = _outcome(lambda: result.next(PATIENCE))
        elif call.way == "imap_unordered":
            self._gather_unordered(numbers, result)
        else:
            whole = _outcome(lambda: result.get(PATIENCE))
            for position, number in enumerate(numbers):
                given = whole.kind == VALUE
                self.outcomes[number] = Outcome(VALUE, whole.value[position]) if given else Outcome(WHOLE, whole.value)
        if call.way.startswith("imap") and not isinstance(_outcome(lambda: result.next(PATIENCE)).value, StopIteration):
            self.oddities.append(f"{call} has more results than items")

    def _gather_unordered(self, numbers: range, result: Any) -> None:
        came = [_outcome(lambda: result.next(PATIENCE)) for _ in numbers]
        known = {outcome.value.number: outcome for outcome in came if outcome.kind == VALUE}
        if len(known) != sum(outcome.kind == VALUE for outcome in came):
            self.oddities.append(f"a result of tasks {numbers} came twice")
        self.outcomes.update((number, known.get(number, Outcome(UNKNOWN))) for number in numbers)


def _outcome(get: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(VALUE, get())
    except BaseException as error:
        if type(error) is mp.TimeoutError:
            raise Hang from error
        return Outcome(ERROR, error)
