"""The lifeline: a process that is armed dies with the last holder of the writing end, busy or not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from poolsafe.engine import lifeline as module
from poolsafe.engine.lifeline import Lifeline
from tests.support.gates import Gate, process_is_gone, wait_for


def forked(line: Lifeline, gate: Gate, *, blind: bool) -> int:
    """A child that is armed and busy; a blind one has blocked every signal."""
    child = os.fork()
    if not child:
        if blind:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        line.arm()
        gate.open()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            pass
        os._exit(99)
    return child


@pytest.mark.parametrize("use_thread", [False, True])
@pytest.mark.parametrize("blind", [False, True])
def test_who_is_armed_dies_with_the_parent(tmp_path: Path, use_thread: bool, blind: bool) -> None:
    line = Lifeline(use_thread=use_thread)
    gates = [Gate(tmp_path / "first"), Gate(tmp_path / "second")]
    children = [forked(line, gate, blind=blind) for gate in gates]
    for gate in gates:
        gate.wait()
    assert not any(map(process_is_gone, children))
    line.close()
    for child in children:
        wait_for(lambda child=child: process_is_gone(child), what="the child's end")
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == (1 if use_thread else -signal.SIGKILL)


@pytest.mark.parametrize("use_thread", [False, True])
def test_a_parent_that_died_before_is_noticed(use_thread: bool) -> None:
    line = Lifeline(use_thread=use_thread)
    line.close_writer()
    child = os.fork()
    if not child:
        line.arm()
        wait_for(lambda: False, what="the end")
        os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    line.close()


def test_where_the_kernel_does_not_help_a_thread_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(1, "not permitted")

    line = Lifeline()
    child = os.fork()
    if not child:
        monkeypatch.setattr(module.os, "open", refuse)
        line.arm()
        wait_for(lambda: False, what="the end")
        os._exit(99)
    line.close()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_closing_twice_is_closing_once() -> None:
    before = set(os.listdir("/proc/self/fd"))
    line = Lifeline()
    line.close_writer()
    line.close()
    line.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_program_that_closes_what_ties_its_workers_to_it_is_found_out() -> None:
    line = Lifeline()
    line.check()
    os.close(line._writer)
    with pytest.raises(OSError, match="descriptor"):
        line.check()
    other = os.open("/dev/null", os.O_RDONLY)  # the number serves something else now
    if other != line._writer:
        os.dup2(other, line._writer)
        os.close(other)
    with pytest.raises(OSError, match="descriptor"):
        line.check()
    line.close()


def test_a_watcher_whose_descriptor_was_closed_leaves_the_process_alone() -> None:
    line = Lifeline(use_thread=True)
    reader = line._reader
    line.close()
    line._reader = reader  # as if a task had closed every descriptor
    line._watch()  # would end this process
