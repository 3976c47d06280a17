"""Contract: starting may fail, workers are let go, children are forked: nothing is left and nobody is disturbed."""

from __future__ import annotations

import gc
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children, forkserver
from multiprocessing.context import BaseContext
from typing import Any

import pytest

from poolsafe.engine import messages
from tests.support import leaks
from tests.support.gates import wait_for
from tests.support.tasks import square

from . import tasks
from .handle import Handle, Maker


def descriptors() -> set[str]:
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


@contextmanager
def descriptors_limited_to(count: int) -> Iterator[None]:
    """No descriptor can be opened above the first `count` numbers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    pid = server._forkserver_pid
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if server._forkserver_pid != pid:  # one that was started meanwhile has inherited the limit
            server._stop()


@contextmanager
def free_descriptors(count: int) -> Iterator[None]:
    """Exactly `count` descriptors can be opened: the gaps below the highest are filled."""
    fillers = []
    highest = max(map(int, os.listdir("/proc/self/fd")))
    while (filler := os.open(os.devnull, os.O_RDONLY)) < highest:
        fillers.append(filler)
    os.close(filler)
    try:
        with descriptors_limited_to(highest + 1 + count):
            yield
    finally:
        for filler in fillers:
            os.close(filler)


def test_release_leaves_nothing(maker: Maker) -> None:
    maker.release(maker.ready())  # what is opened once and for all is open now
    before, threads = descriptors(), threading.active_count()
    worker = maker.ready()
    assert descriptors() > before
    maker.release(worker)
    del worker
    assert descriptors() == before
    assert active_children() == []
    assert threading.active_count() == threads


def test_pages_are_used_again(make_maker: Callable[..., Maker]) -> None:
    maker = make_maker(processes=1)
    for number in range(3):
        worker = maker.ready()
        assert worker.call(1, square, number)
        assert worker.values(1) == {(1, 0): number * number}
        maker.release(worker)


def test_a_forked_child_lets_go_without_disturbing_us(worker: Handle) -> None:
    assert worker.call(1, square, 5)
    child = os.fork()
    if not child:
        status = 1
        try:
            before = len(os.listdir("/proc/self/fd"))
            worker.worker.abandon()
            gone = before - len(os.listdir("/proc/self/fd"))
            own = worker.worker.process in active_children()
            status = 0 if gone >= 1 and not own else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert worker.values(1) == {(1, 0): 25}
    assert worker.call(2, tasks.whose)
    assert worker.is_meant(worker.values(1)[2, 0])


def test_an_initializer_that_fails_is_told(make_maker: Callable[..., Maker]) -> None:
    worker = make_maker(initializer=tasks.fail).start()
    [(kind, _, _, data)] = worker.hear(1)
    assert kind == messages.INIT_FAILED
    what, facts = messages.loads(data)
    assert (what, facts["type"], facts["text"]) == ("raised", "RuntimeError", "on purpose")
    assert "in fail" in facts["traceback"]
    worker.ended()


def test_an_initializer_that_does_not_load_is_told(make_maker: Callable[..., Maker], start_method: str) -> None:
    worker = make_maker(initializer=tasks.Unloadable()).start()
    [(kind, _, _, data)] = worker.hear(1)
    assert kind == messages.INIT_FAILED
    _, facts = messages.loads(data)
    # A forked worker has it as it is; it fails when it is called.
    assert facts["type"] == ("AssertionError" if start_method == "fork" else "ValueError")
    worker.ended()


class BrokenProcess:
    """A process that cannot be started."""

    name = "Process-1"
    daemon = False

    def __init__(self, **_: Any) -> None: ...

    def start(self) -> None:
        raise OSError(11, "no more processes")


def no_process(**_: Any) -> Any:
    raise RuntimeError("cannot be made")


@pytest.mark.parametrize(("make_process", "error"), [(BrokenProcess, OSError), (no_process, RuntimeError)])
def test_a_start_that_fails_leaves_nothing(make_maker: Callable[..., Maker], make_process: Any, error: Any) -> None:
    maker = make_maker(make_process=make_process, processes=1)
    before = descriptors()
    for _ in range(3):  # more often than there are pages
        with pytest.raises(error):
            maker.start()
    assert descriptors() == before


def starts(maker: Maker) -> bool:
    """Whether a worker can be started; right after the fork server has died it cannot."""
    try:
        worker = maker.start()
    except (OSError, EOFError):
        return False
    worker.hear(1)
    maker.release(worker)
    return True


def test_a_start_without_descriptors_leaves_nothing(ctx: BaseContext, transport: str) -> None:
    maker = Maker(ctx, transport, processes=1)
    try:
        wait_for(lambda: starts(maker), what="a first start, which opens what stays open")
        failures = 0
        for free in range(60):
            before = leaks.footprint()
            with free_descriptors(free):
                failures += not starts(maker)
            assert leaks.wait_until_clean(before) == [], f"with {free} descriptors to open"
            if free > failures + 3:
                break  # four starts have succeeded
        assert 3 <= failures < 55
        wait_for(lambda: starts(maker), what="a fork server for the next test")
    finally:
        maker.close()
