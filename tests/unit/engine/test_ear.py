"""What a template hears: signals for itself, and not those of a process that was forked just now."""

from __future__ import annotations

import ctypes
import os
import signal

import pytest

from poolsafe.engine import signals
from poolsafe.engine.ear import Ear
from tests.support.gates import process_state, wait_for


def rests(pid: int) -> bool:
    """Whether no signal is on its way to a process, and it sleeps after that, so that no handler in C runs either."""
    return signals.sets_of(pid, "ShdPnd") == [0] and process_state(pid) == "S"


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="asks the kernel what has come")
def test_a_child_knows_what_the_template_was_sent_before_its_handler_in_python_runs() -> None:
    """The kernel has nothing left to tell then, and the template nothing yet."""
    told: list[int] = []
    ear = Ear(signal.SIGURG, lambda: told.append(1))
    ear.open()
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.siginterrupt(number, False)  # so the call below goes on, and no bytecode runs before its end
    done, doer = os.pipe()
    try:
        child = os.fork()
        if not child:
            code = 3
            try:
                ear.shed()
                parent = os.getppid()
                wait_for(lambda: rests(parent), 10, "the call")
                os.kill(parent, signal.SIGCHLD)  # there may be something else, too
                os.kill(parent, signal.SIGTERM)
                wait_for(lambda: rests(parent), 10, "the handlers in C")
                code = 0 if ear.owner_ends() and not signals.is_being_ended(parent) else 1
            finally:
                os.write(doer, b".")
                os._exit(code)
        ctypes.CDLL(None).read(done, ctypes.create_string_buffer(1), 1)
        ear.drain()
        assert (ear.terminated, told) == (True, [1])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        ear.close()
        os.close(done)
        os.close(doer)


def test_a_child_begins_nothing_without_the_template() -> None:
    ear = Ear(signal.SIGURG, bool)
    ear.open()
    try:
        ends = []
        for orphaned in (False, True):
            child = os.fork()
            if not child:
                if orphaned:
                    ear._pid = 1 << 30
                ear.shed()
                os._exit(ear.owner_ends())
            ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert ends == [0, 1]
    finally:
        ear.close()


def test_a_signal_for_a_process_that_was_forked_just_now_is_not_taken_for_ours() -> None:
    """It has the handler until it lets go of it, and what the handler tells is shared by all."""
    told: list[int] = []
    ear = Ear(signal.SIGURG, lambda: told.append(1))
    ear.open()
    try:
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(2 * ear.terminated + len(told))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert (ear.terminated, told) == (True, [1])
    finally:
        ear.close()
