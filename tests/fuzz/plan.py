"""A random plan: the settings of a pool, its tasks, how they are submitted, and what accidents happen meanwhile.

Who uses it: play, judge. What may go wrong: nothing; a number always gives the same plan, though not the same moments.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import random
from typing import Any, NamedTuple

from .deeds import DEEDS, KERNELS, LARGE, MOST

WAYS = ("apply", "apply", "apply", "apply", "apply", "map", "starmap", "imap", "imap", "imap_unordered")
ENDS = ("close", "close", "terminate", "leave", "drop")


class Call(NamedTuple):
    """Tasks `first` up to `last`, submitted at once in one of the ways; perhaps called off soon after."""

    way: str
    first: int
    last: int
    chunk: int
    called_off: bool


class Accidents(NamedTuple):
    """What happens to the pool's processes besides what tasks do; with any of it no task is sure of its value."""

    kills: bool = False
    forkless: float = 0.0  #: the chance that a worker cannot fork
    scarce: int = 0  #: so many descriptors are left to a worker; 0 for as many as usual


class Plan(NamedTuple):
    """See the module."""

    seed: int
    start_method: str
    over_pipes: bool
    options: dict[str, Any]
    accidents: Accidents
    deeds: list[str]
    calls: list[Call]
    with_queue: bool
    early: bool  #: terminated before the results are asked for
    end: str

    @property
    def sizes(self) -> list[int]:
        """Bytes that each task carries."""
        return [LARGE if number % 17 == 5 else number % 50 for number in range(len(self.deeds))]

    @property
    def runs(self) -> int:
        """How often a task may begin."""
        return 1 + int(self.options["retries"])


def make(seed: int, start_method: str | None = None, level: str | None = None) -> Plan:
    """The plan of this number; with a start method or a level of one's own choice."""
    chance = random.Random(seed)
    method = start_method or chance.choice([*mp.get_all_start_methods(), "fork"])
    at = level or chance.choice(["fork", "fork", "process", "globals"])
    over_pipes = chance.random() < 0.2 or os.environ.get("POOLSAFE_TRANSPORT") == "pipe"
    count = chance.choice([30, 60]) if method == "fork" or at != "process" else 20
    options = {
        "processes": chance.choice([1, 2, 3]),
        "isolation": at,
        "maxtasksperchild": chance.choice([None, None, 1, 5]),
        "retries": chance.choice([0, 0, 1, 2]),
        "timeout": chance.choice([0.6, 1.0]),
        "daemon": chance.random() < 0.7,
        "max_memory": chance.choice([None, None, MOST]),
        "on_leak": chance.choice(["ignore", "ignore", "watch"]),
        "seed": seed,
    }
    accidents = Accidents(
        kills=chance.random() < 0.4,
        forkless=chance.choice([0.0, 0.0, 0.0, 0.3, 0.6]) if at == "fork" else 0.0,
        scarce=chance.choice([0] * 8 + [3, 6, 12]) if at == "fork" else 0,
    )
    end = chance.choice(ENDS)
    early = end == "terminate" and chance.random() < 0.5
    deeds = chance.choices(list(DEEDS), [deed.often for deed in DEEDS.values()], k=count)
    if over_pipes and accidents.kills:
        deeds = ["nap" if deed in KERNELS else deed for deed in deeds]
    return Plan(
        seed, method, over_pipes, options, accidents, deeds, _calls(chance, count), chance.random() < 0.3, early, end
    )


def _calls(chance: random.Random, count: int) -> list[Call]:
    calls: list[Call] = []
    first = 0
    while first < count:
        way, chunk = chance.choice(WAYS), chance.choice([1, 2, 5, 9])
        chunks = chance.choice([1, 2]) if way.startswith("imap") else 1
        last = first + 1 if way == "apply" else min(count, first + chunk * chunks)
        calls.append(Call(way, first, last, chunk, called_off=way == "apply" and chance.random() < 0.08))
        first = last
    return calls
