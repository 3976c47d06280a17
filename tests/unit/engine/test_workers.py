"""The handle of a worker with a process of the test's own: codes that are stolen, signals, look-alikes of Process."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from multiprocessing import process
from typing import Any

import pytest

from poolsafe.engine import recipe, signals, starting
from poolsafe.engine.channels import SocketChannel
from poolsafe.engine.pages import Pages
from poolsafe.engine.recipe import Recipe, transport_for
from poolsafe.engine.starting import join_soon
from poolsafe.engine.workers import ForkingWorker, InitializingChildren, PersistentWorker, Started


class FakeProcess:
    """A process whose end is the test's to tell."""

    def __init__(self, exitcode: Any = None, pid: int | None = None) -> None:
        self.code = exitcode
        self.pid = os.getpid() if pid is None else pid
        self.joined = 0

    @property
    def exitcode(self) -> int | None:
        if isinstance(self.code, BaseException):
            raise self.code
        return self.code

    def join(self, timeout: float | None = None) -> None:
        self.joined += 1


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Any:
    pages = Pages(4)

    def made(
        proc: Any, *, pidfd: bool = False, kind: type[PersistentWorker] = PersistentWorker, holder: int = 0
    ) -> PersistentWorker:
        page = pages.take()
        page.tell_holder(holder)
        return kind(Started(proc, SocketChannel(), page), pages, pidfd=pidfd)

    yield made
    pages.close()


def close(worker: PersistentWorker) -> None:
    worker.release()
    worker.channel.abandon()


@pytest.mark.parametrize(("method", "code"), [("forkserver", None), ("spawn", 255), ("fork", 255)])
def test_a_status_that_another_thread_took_is_unknown(make: Any, method: str, code: int | None) -> None:
    """A fork server tells it once; whoever reads it too late makes `Process` say 255."""
    proc: Any = FakeProcess(255)
    proc._start_method = method
    worker = make(proc)
    assert worker.exitcode == code
    close(worker)
    assert proc.joined == 1


@pytest.mark.parametrize("error", [OSError, ValueError, AssertionError])
def test_a_code_that_cannot_be_asked_for_is_unknown(make: Any, error: type[Exception]) -> None:
    worker = make(FakeProcess(error("not ours")))
    assert worker.exitcode is None
    close(worker)


def test_a_process_without_a_sentinel_has_nothing_to_wait_for(make: Any) -> None:
    worker = make(FakeProcess())
    assert worker.waitables() == []
    close(worker)


def test_where_there_is_no_pidfd_the_number_serves(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    worker = make(FakeProcess(pid=12345))
    worker.send_signal(signal.SIGTERM)
    assert sent == [(12345, signal.SIGTERM)]
    worker.process.code = -15
    worker.send_signal(signal.SIGTERM)
    assert len(sent) == 1, "the number may be somebody else's by now"
    close(worker)


def test_a_pidfd_that_cannot_be_opened_is_done_without(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> int:
        raise OSError(38, "not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    worker = make(FakeProcess(), pidfd=True)
    assert worker.waitables() == []
    close(worker)


def test_a_signal_that_finds_nobody_is_nothing(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", gone)
    worker = make(FakeProcess())
    worker.send_signal(signal.SIGTERM)
    close(worker)


def test_a_process_whose_code_was_stolen_is_let_go_without_joining(make: Any) -> None:
    proc: Any = FakeProcess()
    process._children.add(proc)  # type: ignore[attr-defined]
    worker = make(proc)
    close(worker)
    assert proc.joined == 0
    assert proc not in process._children  # type: ignore[attr-defined]


def test_a_process_that_ended_is_joined(make: Any) -> None:
    proc = FakeProcess(0)
    close(make(proc))
    assert proc.joined == 1


@pytest.mark.parametrize(
    ("forks", "each", "initializer", "at_once"),
    [(False, False, print, True), (False, True, print, True), (True, False, print, True),
     (True, True, None, True), (True, True, print, False)],
)  # fmt: skip
def test_what_may_have_to_wait_for_an_initializer(forks: bool, each: bool, initializer: Any, at_once: bool) -> None:
    """It has run when a worker is ready; but where each task's process is forked, it may run in each of these."""
    nothing: Any = None
    recipe = Recipe(
        nothing, 1, initializer=initializer, initargs=(), options=nothing, baseline=None, transport="socket",
        pidfd=False, forks=forks, each=each,
    )  # fmt: skip
    try:
        assert recipe.worker(Started(FakeProcess(0), nothing, nothing)).takes_up_at_once is at_once
    finally:
        recipe.close()


@pytest.mark.parametrize("kind", [PersistentWorker, ForkingWorker, InitializingChildren])
def test_the_process_of_the_initializer(make: Any, kind: type[PersistentWorker]) -> None:
    """A first child that cannot tell that it is ready is not the one in which the initializer closed everything."""
    worker = make(FakeProcess(pid=55), kind=kind, holder=77)
    assert worker.serving == (55 if kind is PersistentWorker else 77)
    assert worker.initializing == (77 if kind is InitializingChildren else 55)
    close(worker)


class Stubborn(FakeProcess):
    """Ends when it is killed."""

    def kill(self) -> None:
        self.code = -9


class LookAlike(FakeProcess):
    """Knows no time limit."""

    def join(self) -> None:  # type: ignore[override]
        self.joined += 1
        self.code = 0


@pytest.mark.parametrize(("proc", "code", "joined"), [(FakeProcess(0), 0, 1), (Stubborn(), -9, 2), (LookAlike(), 0, 1)])
def test_joining_soon(proc: Any, code: int, joined: int) -> None:
    join_soon(proc)
    assert (proc.exitcode, proc.joined) == (code, joined)


@pytest.mark.parametrize(
    ("asked", "platform", "expected"),
    [
        ("pipe", "linux", "pipe"),
        ("socket", "darwin", "socket"),
        (None, "linux", "socket"),
        (None, "darwin", "pipe"),
        (None, "win32", "pipe"),
        ("nonsense", "linux", "socket"),
    ],
)
def test_the_transport(monkeypatch: pytest.MonkeyPatch, asked: str | None, platform: str, expected: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert transport_for(asked) == expected


def test_a_forked_child_has_a_lock_of_its_own() -> None:
    with recipe._start_lock:
        child = os.fork()
        if not child:
            os._exit(0 if recipe._start_lock.acquire(timeout=5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_without_memory_for_pages_there_is_no_recipe_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(12, "no memory")

    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(recipe, "Pages", refuse)
    nothing: Any = None
    with pytest.raises(OSError, match="no memory"):
        Recipe(
            nothing, 2, initializer=None, initargs=(), options=nothing, baseline=None, transport="socket", pidfd=True
        )
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_thread_that_starts_helpers_takes_none_of_the_programs_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for the moment in which the tracker and the fork server are to inherit the program's mask."""
    masks: list[frozenset[int]] = []

    def note() -> None:
        masks.append(signals.current_mask())

    class Process:
        _start_method = "forkserver"
        start = staticmethod(note)

    monkeypatch.setattr(starting.resource_tracker, "ensure_running", note)
    monkeypatch.setattr(starting.forkserver, "ensure_running", note)
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        thread = threading.Thread(target=starting.start_quietly, args=(Process(), frozenset({signal.SIGHUP})))
        signals.start_deaf(thread)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
    tracker, server, worker = masks
    assert tracker == server
    assert {signal.SIGHUP, signal.SIGINT, signal.SIGUSR2} <= server, "the main thread is to take what it handles"
    assert signal.SIGUSR1 not in server, "the fork server serves other processes too"
    assert {signal.SIGINT, signal.SIGUSR1} <= worker


@pytest.mark.parametrize("error", [None, OSError])
def test_a_fork_server_has_at_once_what_each_worker_needs(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception] | None
) -> None:
    """And nothing of it stays in what the program has set."""
    server: Any = starting.forkserver._forkserver  # type: ignore[attr-defined]
    names = ["__main__", "app"]
    started: list[list[str]] = []

    class Process:
        _start_method = "forkserver"
        start = staticmethod(bool)

    def start_server() -> None:
        started.append(server._preload_modules)
        if error:
            raise error

    monkeypatch.setattr(server, "_preload_modules", names)
    monkeypatch.setattr(starting.forkserver, "ensure_running", start_server)
    with contextlib.suppress(OSError):
        starting.start_quietly(Process(), frozenset())
    assert started[0] == [*names, *starting.PRELOADED]
    assert all(map(importlib.import_module, starting.PRELOADED))
    assert server._preload_modules is names
    assert names == ["__main__", "app"]
