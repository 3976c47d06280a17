"""The work of the benchmarks: each function takes what makes a pool and returns one figure.

Who calls it: ``tests.bench.compare``. What may go wrong: the tasks must stay at module level, workers import them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from multiprocessing.pool import Pool
from pathlib import Path

MakePool = Callable[[], Pool]

#: The one global that is put back before every task.
declared: list[object] = ["haha"]

MIB = 1 << 20


def nothing(value: object = None) -> object:
    return value


def size(data: bytes) -> int:
    return len(data)


def block(size: int) -> bytes:
    return bytes(size)


def pid(_: object = None) -> int:
    return os.getpid()


def latency(make: MakePool, count: int = 1500) -> float:
    """Microseconds that one `apply` takes."""
    with make() as pool:
        _warm(pool)
        begin = time.perf_counter()
        for i in range(count):
            pool.apply(nothing, (i,))
        return (time.perf_counter() - begin) / count * 1e6


def burst(make: MakePool, count: int = 15_000) -> float:
    """Tasks a second, all submitted one by one before the first result is asked for."""
    with make() as pool:
        _warm(pool)
        begin = time.perf_counter()
        results = [pool.apply_async(nothing, (i,)) for i in range(count)]
        for result in results:
            result.get()
        return count / (time.perf_counter() - begin)


def imap_unordered(make: MakePool, count: int = 15_000) -> float:
    with make() as pool:
        _warm(pool)
        begin = time.perf_counter()
        done = sum(1 for _ in pool.imap_unordered(nothing, range(count)))
        return done / (time.perf_counter() - begin)


def map_single(make: MakePool, count: int = 15_000) -> float:
    return _map(make, count, 1)


def map_chunks(make: MakePool, count: int = 500_000) -> float:
    return _map(make, count, None)


def _map(make: MakePool, count: int, chunksize: int | None) -> float:
    with make() as pool:
        _warm(pool)
        begin = time.perf_counter()
        done = len(pool.map(nothing, range(count), chunksize))
        return done / (time.perf_counter() - begin)


def big_argument(make: MakePool, count: int = 100) -> float:
    """Megabytes a second from the parent to the workers."""
    data = bytes(MIB)
    with make() as pool:
        _warm(pool)
        begin = time.perf_counter()
        assert all(n == MIB for n in pool.imap_unordered(size, [data] * count))
        return count * MIB / 1e6 / (time.perf_counter() - begin)


def big_result(make: MakePool, count: int = 100) -> float:
    """Megabytes a second from the workers to the parent."""
    with make() as pool:
        _warm(pool)
        begin = time.perf_counter()
        assert all(len(data) == MIB for data in pool.imap_unordered(block, [MIB] * count))
        return count * MIB / 1e6 / (time.perf_counter() - begin)


def life(make: MakePool) -> float:
    """Milliseconds to start a pool, run one task and close it."""
    begin = time.perf_counter()
    pool = make()
    pool.apply(nothing)
    pool.close()
    pool.join()
    return (time.perf_counter() - begin) * 1e3


def memory(make: MakePool) -> float:
    """MiB that an idle worker has for itself alone (Uss), after a few tasks; the mean over the workers."""
    with make() as pool:
        _warm(pool)
        pids = set(pool.map(pid, range(50), 1))
        return sum(map(_uss, pids)) / len(pids) / 1024


def _uss(process: int) -> float:
    """KiB of private memory, as the kernel counts it."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def _warm(pool: Pool) -> None:
    """Let every worker come up and import what it needs before the clock starts."""
    pool.map(nothing, range(200), 1)
