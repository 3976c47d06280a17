"""What a template hears: signals for itself, and not those of a process that was forked just now."""

from __future__ import annotations

import os
import signal

from poolsafe.engine.ear import Ear


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
