"""Programs that are no good homes for processes: they ignore or steal the ends of children, or lack descriptors.

Each writes what it found into the file ``report`` in its folder, because some have no standard output.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing as mp
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from poolsafe import IsolatedPool, PoolsafeWarning, PoolTerminated, WorkerLost, WrongProcess
from tests.support import tasks
from tests.support.gates import Gate, Tally, process_is_gone, wait_for
from tests.support.leaks import descendants
from tests.support.levels import FRESH, LEVEL
from tests.survival.support import chores, deeds
from tests.survival.support.programs import main
from tests.survival.support.ways import LIMIT, assert_full_strength, assert_unreplaced, kill_idle, living


def _exercise(method: str, folder: Path) -> list[WorkerLost]:
    """Tasks, deaths of three kinds, tasks; return the errors."""
    errors = []
    with IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL) as pool:
        assert pool.map(tasks.square, range(20)) == [i * i for i in range(20)]
        for deed in (tasks.kill_self, tasks.exit_hard, deeds.close_every_descriptor):
            try:
                pool.apply_async(deed).get(LIMIT)
            except WorkerLost as error:
                errors.append(error)
        assert_full_strength(pool, 2, folder)
        kill_idle(pool, 1)
        assert pool.map(tasks.square, range(20)) == [i * i for i in range(20)]
        assert_full_strength(pool, 2, folder)
        start = time.monotonic()
    assert time.monotonic() - start < LIMIT
    assert len(errors) == 3
    return errors


def _report(folder: Path, *facts: object) -> None:
    (folder / "report").write_text(" ".join(map(str, facts)))


def plain(method: str, folder: Path) -> None:
    """Nothing is unusual but the interpreter's options."""
    _report(folder, "survived", len(_exercise(method, folder)))


def ignores_sigchld(method: str, folder: Path) -> None:
    """The kernel reaps the children; nobody can tell how they ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    errors = _exercise(method, folder)
    _report(folder, "survived", *(error.exitcode for error in errors))


def reaps_everything(method: str, folder: Path) -> None:
    """A thread waits for any child and takes the exit statuses of workers."""

    def reap() -> None:
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(0.001)  # no children at the moment

    threading.Thread(target=reap, daemon=True).start()
    errors = _exercise(method, folder)
    _report(folder, "survived", len(errors))


def subreaper(method: str, folder: Path) -> None:
    """Like process 1 of a container: orphans become its children, and nobody else reaps them."""
    assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
    own = subprocess.Popen([sys.executable, "-S", "-c", ""])
    with IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL) as pool:
        for _ in range(3):
            assert_full_strength(pool, 2, folder)
            kill_idle(pool)
            assert pool.map(tasks.square, range(20)) == [i * i for i in range(20)]
    wait_for(lambda: _zombies() <= {own.pid}, what="everything else to be reaped")
    assert own.wait(LIMIT) == 0, "its status was not taken"
    _report(folder, "reaped")


def _zombies() -> set[int]:
    """What nobody has reaped."""
    return {pid for pid in descendants(os.getpid()) if process_is_gone(pid)}


def _close_streams(method: str, *closed: str) -> None:
    for fd in map(int, closed):
        os.close(fd)
        if method != "fork":  # as when Python is started so; else the stdlib's resource tracker cannot start
            name = ("stdin", "stdout", "stderr")[fd]
            setattr(sys, name, None)
            setattr(sys, f"__{name}__", None)


def without_streams(method: str, folder: Path, *closed: str) -> None:
    """A daemon: some of the descriptors 0 to 2 are free, and would be given to the first channel."""
    _close_streams(method, *closed)
    errors = _exercise(method, folder)
    with IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL) as pool:
        # Under Python, printing with closed streams must neither fail nor end up in somebody's channel.
        pool.map(chores.write_to_streams, range(10))
        chores.write_to_streams(None)
        assert pool.map(tasks.square, range(20)) == [i * i for i in range(20)]
    _report(folder, "survived", len(errors))


def strangers(method: str, folder: Path, *closed: str) -> None:
    """What the pool, its queues and their clients open in a daemon."""
    _close_streams(method, *closed)
    look = chores.strangers_in_the_place_of_streams
    with IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL) as pool:
        queue = pool.Queue()
        pool.map(queue.put, range(4))
        assert sorted(queue.get(timeout=LIMIT) for _ in range(4)) == [0, 1, 2, 3]
        found = pool.map(look, range(4))
        assert not any(found), found
        wait_for(lambda: not look(None), what="nothing of ours to be there, but for an instant")
    kept = [fd for fd in map(int, closed) if os.path.exists(f"/proc/self/fd/{fd}")]
    _report(folder, "kept", *kept)


def strangers_after_initializer(method: str, folder: Path) -> None:
    """It is the initializer that closes the streams, as one does that makes its process a daemon."""
    options = {"initializer": os.closerange, "initargs": (0, 3), "context": mp.get_context(method), "isolation": LEVEL}
    with IsolatedPool(2, **options) as pool:
        queue = pool.Queue()
        pool.map(queue.put, range(4))
        found = pool.map(chores.strangers_in_the_place_of_streams, range(4))
    _report(folder, found)


def jail(method: str, folder: Path) -> None:
    """The initializer gives its process an empty root."""
    (folder / "jail").mkdir()
    options = {"initializer": os.chroot, "initargs": (str(folder / "jail"),), "isolation": LEVEL}
    with IsolatedPool(2, context=mp.get_context(method), **options) as pool:
        assert pool.map(os.listdir, ["/"] * 4) == [[]] * 4
        lost = 0
        try:
            pool.apply(tasks.exit_hard)
        except WorkerLost:
            lost += 1
        assert pool.map(tasks.square, range(20)) == [i * i for i in range(20)]
    _report(folder, "survived", lost)


def without_stream_objects(method: str, folder: Path) -> None:
    """pythonw.exe and some servers have no stream objects at all."""
    sys.stdin = sys.stdout = sys.stderr = None  # type: ignore[assignment]
    errors = _exercise(method, folder)
    _report(folder, "survived", len(errors))


# Descriptors


def _descriptors() -> set[int]:
    """Those that are open; found without opening one."""
    found = set()
    for fd in range(256):
        with contextlib.suppress(OSError):
            os.fstat(fd)
            found.add(fd)
    return found


def _at_once() -> None:
    os.closerange(3, 4096)


def _slowly() -> None:
    """The pool has time to notice what is closed, and what comes of that, while the rest is open yet."""
    for fd in sorted(fd for fd in _descriptors() if fd > 2):
        with contextlib.suppress(OSError):  # the pool's end has closed it by then
            os.close(fd)
        time.sleep(0.02)


def closes_everything(method: str, folder: Path, state: str, pace: str) -> None:
    """The program closes what is not its own, while the pool has nothing to do, one task, or many."""
    with IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL) as pool:
        assert pool.map(tasks.square, range(4)) == [0, 1, 4, 9]
        gate, arrived = Gate(folder / "gate"), Gate(folder / "arrived")
        count = {"idle": 0, "busy": 1, "crowded": 9}[state]
        results = [pool.apply_async(tasks.meet, (arrived, gate)) for _ in range(count)]
        if results:
            arrived.wait()
        {"at once": _at_once, "slowly": _slowly}[pace]()
        for call in (*(result.get for result in results), partial(pool.apply, tasks.square, (2,))):
            with contextlib.suppress(PoolTerminated):
                raise AssertionError(call())
        pool.terminate()
        pool.join()
    _report(folder, "ended")


def _use_up(spare: int) -> list[int]:
    """Leave *spare* descriptors free."""
    hoard = []
    try:
        while True:
            hoard.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        for _ in range(spare):
            os.close(hoard.pop())
        return hoard


def out_of_descriptors_at_start(method: str, folder: Path) -> None:
    """Whatever the number that is free: the constructor works, or raises OSError and leaves nothing."""
    context = mp.get_context(method)
    with IsolatedPool(1, context=context, isolation=LEVEL) as pool:  # what starts once for ever is started here
        pool.apply(tasks.square, (1,))
    gc.collect()
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    before = _descriptors()
    refused = made = 0
    for spare in range(0, 40, 1 if method == "fork" else 3):  # a number at which all goes well costs a slow start
        hoard = _use_up(spare)
        try:
            pool = IsolatedPool(2, context=context, isolation=LEVEL)
        except OSError:
            refused += 1
            # Out of descriptors the stdlib's fork server itself dies now and then; what its end and its successor's
            # start leave open for a while is not ours to close, so there it is counted at the end alone.
            assert method == "forkserver" or _descriptors() == before | set(hoard)
            assert mp.active_children() == []
        else:
            made += 1
            for fd in hoard:
                os.close(fd)
            hoard = []
            assert pool.map(tasks.square, range(5)) == [0, 1, 4, 9, 16]
            pool.terminate()
            pool.join()
            if made > 5:
                break
        for fd in hoard:
            os.close(fd)
    gc.collect()
    if method == "forkserver":
        forkserver.ensure_running()
    assert len(_descriptors()) <= len(before)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("poolsafe")]
    _report(folder, refused > 5, made > 5)


def large_arguments_without_descriptors(method: str, folder: Path) -> None:
    """Arguments that travel as memory files go another way when the parent cannot open one more descriptor."""
    with IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL) as pool:
        pool.map(tasks.square, range(5))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(_descriptors()) + 1, hard))
        hoard = _use_up(0)
        sizes = [1 << 20, 10, 60_000, 5 << 20]
        alone = [pool.apply_async(len, (bytes(size),)) for size in sizes]
        assert [result.get(LIMIT) for result in alone] == sizes
        assert pool.map_async(len, map(bytes, sizes), 2).get(LIMIT) == sizes
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in hoard:
            os.close(fd)
        assert_full_strength(pool, 2, folder)
    _report(folder, "all")


def large_arguments_under_a_file_size_limit(method: str, folder: Path) -> None:
    """``ulimit -f`` counts for memory files as well."""
    with IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL) as pool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        assert pool.map_async(len, [bytes(3 << 20)] * 5, 1).get(LIMIT) == [3 << 20] * 5
        assert_full_strength(pool, 2, folder)
    _report(folder, "all")


def out_of_descriptors_at_a_respawn(method: str, folder: Path) -> None:
    """No replacement can be started for a while: one warning or more, no hang, full strength afterwards."""
    low = [os.open("/dev/null", os.O_RDONLY) for _ in range(16)]  # what comes after these gets higher numbers
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    warned: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *args: warned.append(args)
        with IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL) as pool:
            assert_full_strength(pool, 2, folder)
            pids = living(pool)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(low) + 1, hard))  # what is open stays so, nothing is opened
            victim = min(pids)
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: any(issubclass(args[1], PoolsafeWarning) for args in warned), LIMIT, "a warning")
            assert [pool.apply(tasks.square, (i,)) for i in range(10)] == [i * i for i in range(10)]
            os.kill(max(pids), signal.SIGKILL)
            waiting = pool.apply_async(tasks.square, (5,))
            waiting.wait(0.3)
            assert not waiting.ready(), "there is no worker at all"
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert waiting.get(LIMIT) == 25
            assert_full_strength(pool, 2, folder)
    _report(folder, "recovered")


# Forked children of the parent


def forked_child(method: str, folder: Path, end: str) -> None:
    """A child that `os.fork()` made inherits the pool: it is refused everything, and its exit disturbs nobody."""
    gate, arrivals = tasks.Gate(folder / "go"), Tally(folder / "arrivals")
    pool = IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL)
    held = pool.apply_async(chores.wait_at, (gate, arrivals))
    iterator = pool.imap(chores.wait_at_pair, [(gate, arrivals)])
    unordered = pool.imap_unordered(tasks.square, [])
    list(unordered)
    arrivals.wait(2)
    pids = living(pool)
    child = os.fork()
    if not child:
        _touch_all(pool, held, iterator, folder)
        if end == "exec":
            os.execv(sys.executable, [sys.executable, "-c", ""])
        if end == "drop":
            del pool, held, iterator
            gc.collect()
        if end == "_exit":
            os._exit(0)
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert_unreplaced(pool, pids)
    gate.open()
    assert held.get(LIMIT) in pids or FRESH
    assert next(iterator) in pids or FRESH
    assert pool.map(tasks.square, range(20)) == [i * i for i in range(20)]
    assert_unreplaced(pool, pids)
    refusals = (folder / "refusals").read_text().split()
    pool.terminate()
    pool.join()
    _report(folder, *sorted(set(refusals)), len(refusals))


def _touch_all(pool: Any, held: Any, iterator: Any, folder: Path) -> None:
    uses: list[Any] = [
        lambda: pool.apply(tasks.square, (1,)), lambda: pool.apply_async(tasks.square, (1,)),
        lambda: pool.map(tasks.square, [1]), lambda: pool.map_async(tasks.square, [1]),
        lambda: pool.starmap(tasks.add, [(1, 2)]), lambda: pool.imap(tasks.square, [1]),
        lambda: pool.imap_unordered(tasks.square, [1]), held.get, held.wait, lambda: held.get(0.1), iterator.next,
        pool.close, pool.terminate, pool.join,
    ]  # fmt: skip
    told = []
    for use in uses:
        try:
            use()
            told.append("accepted")
        except WrongProcess:
            told.append("WrongProcess")
    (folder / "refusals").write_text(" ".join(told))


def forked_child_lives_on(method: str, folder: Path) -> None:
    """The parent dies, a fork of it does not: the workers go nevertheless."""
    pool = IsolatedPool(2, context=mp.get_context(method), isolation=LEVEL)
    arrivals = Tally(folder / "arrivals")
    pool.map(tasks.square, range(10))
    for pid in living(pool):
        Tally(folder / "workers").add(pid)
    if not os.fork():
        arrivals.add(os.getpid())
        signal.pause()
    arrivals.add(os.getpid())
    signal.pause()


def child_with_a_pool_of_its_own(method: str, folder: Path) -> None:
    """A forked child may make a pool for itself, also while the parent's is at work."""
    context = mp.get_context(method)
    pool = IsolatedPool(2, context=context, isolation=LEVEL)
    results = [pool.apply_async(tasks.square, (i,)) for i in range(100)]
    child = os.fork()
    if not child:
        with IsolatedPool(2, context=context, isolation=LEVEL) as own:
            values = own.map(tasks.square, range(20))
        os._exit(0 if values == [i * i for i in range(20)] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [result.get(LIMIT) for result in results] == [i * i for i in range(100)]
    pool.terminate()
    pool.join()
    _report(folder, "both")


if __name__ == "__main__":
    main(globals())
