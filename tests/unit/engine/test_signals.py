"""Masks and Ctrl-C: engine threads are deaf, the main thread hears, and a block that is not to be cut is not."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from poolsafe.engine import signals
from poolsafe.engine.signals import current_mask, deferred_interrupt, masked, start_deaf


@pytest.fixture(autouse=True)
def same_handler_and_mask() -> Iterator[None]:
    handler, mask = signal.getsignal(signal.SIGINT), current_mask()
    yield
    assert (signal.getsignal(signal.SIGINT), current_mask()) == (handler, mask)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_mask_holds_for_a_block_and_what_it_starts() -> None:
    wanted = frozenset({signal.SIGUSR1, signal.SIGTERM})
    inside: list[Any] = []
    with masked(wanted):
        inside.append(current_mask())
        thread = threading.Thread(target=lambda: inside.append(current_mask()))
        thread.start()
        thread.join()
    assert inside == [wanted, wanted]


def test_a_mask_is_put_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), masked(frozenset({signal.SIGUSR1})):
        raise ZeroDivisionError


def test_a_deaf_thread_blocks_all_but_faults() -> None:
    masks: list[Any] = []
    thread = threading.Thread(target=lambda: masks.append(current_mask()))
    start_deaf(thread)
    thread.join()
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD} <= masks[0]
    assert not {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS} & masks[0]


def test_an_interrupt_comes_at_the_end_of_the_block() -> None:
    done: list[str] = []

    def block() -> None:
        with deferred_interrupt():
            interrupt()
            done.append("whole")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["whole"]


def test_an_error_of_the_block_comes_through() -> None:
    with pytest.raises(ZeroDivisionError), deferred_interrupt():
        raise ZeroDivisionError


def test_no_interrupt_no_consequence() -> None:
    with deferred_interrupt():
        assert callable(signal.getsignal(signal.SIGINT))


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_program_that_does_not_handle_interrupts_is_left_alone(handler: Any) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        with deferred_interrupt():
            assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_have_nothing_to_defer() -> None:
    failures: list[BaseException] = []

    def block() -> None:
        try:
            with deferred_interrupt():
                pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert failures == []


def test_where_there_are_no_masks_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_HAS_MASKS", False)
    with masked(frozenset({signal.SIGUSR1})):
        assert current_mask() == frozenset()
    monkeypatch.undo()
    assert signal.SIGUSR1 not in current_mask()


@contextmanager
def waiting_process(prepare: Callable[[], object]) -> Iterator[int]:
    """A process that has prepared itself, and waits for a signal; it is ended with the block."""
    ready, tell = os.pipe()
    pid = os.fork()
    if not pid:
        prepare()
        os.write(tell, b"r")
        while True:
            signal.pause()
    try:
        os.read(ready, 1)
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(tell)


@pytest.mark.parametrize(
    ("number", "how", "ends"),
    [
        (signal.SIGTERM, "caught", True),  # by us, in a template
        (signal.SIGABRT, "caught", True),  # by faulthandler
        (signal.SIGUSR1, "default", True),
        (signal.SIGUSR1, "caught", False),
        (signal.SIGUSR1, "ignored", False),
        (signal.SIGUSR1, "blocked", False),
        (signal.SIGABRT, "blocked", False),
        (signal.SIGCHLD, "default", False),
    ],
)
def test_whether_a_process_is_being_ended(number: int, how: str, ends: bool) -> None:
    """It is stopped, so the signal stays pending; SIGKILL would end it all the same."""
    handlers = {"caught": lambda *_: None, "ignored": signal.SIG_IGN}

    def prepare() -> None:
        signal.signal(number, handlers.get(how, signal.SIG_DFL))  # type: ignore[arg-type]
        signal.pthread_sigmask(signal.SIG_SETMASK, {number} if how == "blocked" else ())

    with waiting_process(prepare) as pid:
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        assert not signals.is_being_ended(pid)
        os.kill(pid, number)
        assert signals.is_being_ended(pid) is ends
    assert not signals.is_being_ended(pid), "there is none"


#: ptrace(2)
PTRACE_CONT, PTRACE_SEIZE, PTRACE_O_TRACEEXIT, PTRACE_EVENT_EXIT = 7, 0x4206, 0x40, 6


def trace(request: int, pid: int, data: int) -> int:
    return int(ctypes.CDLL(None).ptrace(ctypes.c_long(request), pid, None, ctypes.c_void_p(data)))


@pytest.mark.skipif(sys.platform != "linux", reason="has the kernel stop a process on its way out")
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGQUIT])
def test_a_process_that_has_taken_a_signal_is_being_ended_though_none_is_pending(number: int) -> None:
    with waiting_process(lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))) as pid:
        if trace(PTRACE_SEIZE, pid, PTRACE_O_TRACEEXIT):
            pytest.skip("no process may trace another here")
        os.kill(pid, number)
        try:
            assert os.WSTOPSIG(os.waitpid(pid, 0)[1]) == number
            trace(PTRACE_CONT, pid, number)
            assert os.waitpid(pid, 0)[1] >> 8 == signal.SIGTRAP | PTRACE_EVENT_EXIT << 8
            assert signals.sets_of(pid, "SigPnd", "ShdPnd") == [0, 0]
            assert signals.is_being_ended(pid)
        finally:
            trace(PTRACE_CONT, pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for a process's state")
def test_a_process_whose_status_nobody_took_has_ended() -> None:
    pid = os.fork()
    if not pid:
        os._exit(3)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        assert signals.is_being_ended(pid)
    finally:
        os.waitpid(pid, 0)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="nobody can tell")
def test_whose_child_a_process_is() -> None:
    assert signals.parent_of(os.getpid()) == os.getppid()
    assert signals.parent_of(2**22 + 1) is None, "there is none"
