"""What tasks do with queues; importable in a worker under every start method, and without pytest.

Who uses it: the tests of queues.
"""

from __future__ import annotations

import os
import queue
import random
import signal
import threading
import time
from typing import Any

from tests.support.gates import Gate, Tally

#: A queue that a task or an initializer left here.
kept: Any = None


def put_all(q: Any, items: Any) -> int:
    count = 0
    for item in items:
        q.put(item)
        count += 1
    return count


def get_some(q: Any, count: int) -> list[Any]:
    return [q.get(timeout=20) for _ in range(count)]


def get_until_none(q: Any) -> list[Any]:
    return list(iter(lambda: q.get(timeout=20), None))


def pass_on(source: Any, sink: Any, count: int) -> None:
    for _ in range(count):
        sink.put(source.get(timeout=20) + 1)


def try_put(q: Any, item: Any, timeout: float | None) -> str:
    try:
        if timeout is None:
            q.put_nowait(item)
        else:
            q.put(item, timeout=timeout)
    except queue.Full:
        return "full"
    return "put"


def try_get(q: Any, timeout: float | None) -> Any:
    try:
        return q.get_nowait() if timeout is None else q.get(timeout=timeout)
    except queue.Empty:
        return "empty"


def look(q: Any) -> tuple[int, bool, bool]:
    return q.qsize(), q.empty(), q.full()


def call(q: Any, name: str, *args: Any) -> Any:
    return getattr(q, name)(*args)


def same(item: Any) -> Any:
    return item


def put_by_threads(q: Any, threads: int, each: int) -> None:
    working = [threading.Thread(target=put_all, args=(q, [(t, i) for i in range(each)])) for t in range(threads)]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()


def keep(q: Any) -> None:
    global kept
    kept = q


def put_kept(item: Any) -> None:
    kept.put(item)


def get_kept(_: int) -> Any:
    return kept.get(timeout=20)


def wait_then_put(gate: Gate, q: Any, item: Any) -> None:
    gate.wait()
    q.put(item)


def arrive_and_get(arrived: Tally, q: Any) -> Any:
    arrived.add(os.getpid())
    return q.get()


def arrive_and_put(arrived: Tally, q: Any, item: Any) -> None:
    arrived.add(os.getpid())
    q.put(item)


def die_soon(seed: int, within: float) -> None:
    """Be killed at a moment that nobody knows."""
    timer = threading.Timer(random.Random(seed).uniform(0, within), os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


def put_until_killed(q: Any, done: Tally, number: int, count: int, within: float) -> None:
    die_soon(number, within)
    for i in range(count):
        q.put((number, i, bytes([i % 256]) * (i * 7 % 3000)))
        done.add(i)
    signal.pause()


def get_until_killed(q: Any, done: Tally, number: int, within: float) -> None:
    die_soon(number, within)
    while True:
        done.add(q.get())


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("not this one")


def put_unpicklable(q: Any) -> str:
    q.put("before")
    try:
        q.put(Unpicklable())
    except TypeError as error:
        return str(error)
    return "put"


def get_from_two(a: Any, b: Any) -> list[Any]:
    return [[a.get(timeout=20) for _ in range(10)], b.get(timeout=20), [a.get(timeout=20) for _ in range(3)]]


def put_with_ticks(q: Any, count: int) -> int:
    """Put, while a signal handler puts as well."""
    ticks = 0

    def tick(*_: object) -> None:
        nonlocal ticks
        ticks += 1
        q.put(("tick", ticks))
        signal.setitimer(signal.ITIMER_REAL, 0.0005)  # only now: the handler is not to interrupt itself

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    try:
        for i in range(count):
            q.put(("item", i))
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return ticks


class PutsInTheEnd:
    def __init__(self, q: Any) -> None:
        self.q = q

    def __del__(self) -> None:
        self.q.put("the end")


def put_with_finalizers(q: Any, count: int) -> None:
    for i in range(count):
        cycle: list[Any] = [PutsInTheEnd(q)]
        cycle.append(cycle)
        del cycle
        q.put(i)


def use_by_threads(q: Any, count: int) -> int:
    """Have so many threads use the queue for the first time, all at once."""
    together = threading.Barrier(count)
    done: list[int] = []

    def use() -> None:
        together.wait()
        done.append(q.qsize())

    threads = [threading.Thread(target=use) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done)


def get_in_a_thread(q: Any) -> None:
    thread = threading.Thread(target=q.get)
    thread.start()
    thread.join()


def open_descriptors(q: Any) -> int:
    q.put(q.qsize())
    return len(os.listdir("/proc/self/fd"))


def put_into(holder: Any) -> None:
    holder.inner["deep"][0][0].put(7)


def text_of(thing: Any) -> str:
    return repr(thing)


def put_in_a_fork(q: Any, item: Any) -> None:
    pid = os.fork()
    if not pid:
        try:
            q.put(item)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


class Unloadable:
    def __reduce__(self) -> Any:
        return divmod, (1, 0)


def die_with(lock: Any) -> None:
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def add_to(lock: Any, value: Any, times: int) -> None:
    for _ in range(times):
        with lock:
            value.value += 1


def nest(lock: Any, depth: int) -> int:
    with lock:
        return 1 + nest(lock, depth - 1) if depth > 1 else 1


def change_array(array: Any) -> list[int]:
    array[1] = 10
    array[2:3] = [20]
    assert len(array) == 5
    assert list(array) == array[:]
    with array.get_lock():
        return list(array)


def change_text(text: Any) -> tuple[bytes, bytes]:
    text[0] = b"j"
    text.raw = text.raw
    text.value = text.value
    return text.value, text.raw


def put_unloadable(q: Any) -> None:
    q.put(Unloadable())


def arrive_and_acquire(arrived: Tally, semaphore: Any) -> None:
    arrived.add(os.getpid())
    semaphore.acquire()


def lock_and_get(lock: Any, jobs: Any, pids: Any) -> Any:
    with lock:
        pids.put(os.getpid())
        return jobs.get()


def be_refused_and_die(lock: Any) -> None:
    lock.acquire()
    refused: list[BaseException] = []

    def release() -> None:
        try:
            lock.release()
        except AssertionError as error:
            refused.append(error)

    thread = threading.Thread(target=release)
    thread.start()
    thread.join()
    assert refused
    os.kill(os.getpid(), signal.SIGKILL)


class CutOff(Exception):
    pass


def be_cut_off_with(lock: Any, jobs: Any, inside: Any, go: Any) -> None:
    def ring(*_: object) -> None:
        raise CutOff

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with lock:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            try:
                jobs.get()
            except CutOff:
                inside.set()
            go.wait()
    finally:
        signal.signal(signal.SIGALRM, before)


def lock_in_a_handler(lock: Any, told: Any, jobs: Any) -> Any:
    def ring(*_: object) -> None:
        told.put(lock.acquire(timeout=5))
        lock.release()

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with lock:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            return jobs.get()
    finally:
        signal.signal(signal.SIGALRM, before)


def slowest_put(q: Any, count: int) -> float:
    slowest = 0.0
    for _ in range(count):
        begun = time.monotonic()
        q.put(bytes(5000), timeout=0.1)
        slowest = max(slowest, time.monotonic() - begun)
    return slowest


def put_in_queues(args: Any) -> list[str]:
    for one in args:
        if hasattr(one, "put"):
            one.put(6)
    return [type(one).__name__ for one in args]
