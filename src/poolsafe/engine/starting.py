"""Starting and ending one process: what `multiprocessing` leaves to chance.

Used by: workers, crew, supervisor. What may go wrong: the process cannot be started; whatever hinders it comes through.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from multiprocessing import forkserver, resource_tracker
from typing import Any

from . import fds, signals

if hasattr(os, "fork"):
    # Else the first `Process.start` imports them, and a fork by another thread at that moment is not held up by
    # `later`: the lock of such a module would be held for ever in the process that comes of it.
    import multiprocessing.popen_fork
    import multiprocessing.popen_forkserver
    import multiprocessing.popen_spawn_posix  # noqa: F401

#: Seconds between SIGTERM and SIGKILL for workers that are to end now.
TERM_GRACE = 0.5
#: What the workers of a fork server need at once.
PRELOADED = ("poolsafe.engine.boot", "poolsafe.isolation.guard", "poolsafe.pool")
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def start_quietly(proc: Any, mask: signals.Mask, *, tracked: bool = False) -> None:
    """Starts a process that cannot be hit by Ctrl-C before it ignores it, and that passes no signal on to the program.

    Args:
        proc: To be started.
        mask: What the program itself blocks; the calling thread may block more.
        tracked: Have it use our resource tracker, whatever the start method. One of its own would be of its process
            group, and end with it, before it has cleaned up; and one of a task's process would take what the task made.
    """
    method = getattr(proc, "_start_method", None)
    serving = mask | (signals.current_mask() & signals.handled())
    for last_try in (False, True):
        if tracked or method in ("spawn", "forkserver"):
            # These two serve other processes too, and the tracker's start unblocks SIGINT.
            with signals.masked(serving), fds.low_numbers_taken():
                resource_tracker.ensure_running()
                if method == "forkserver":
                    _ensure_fork_server()
        # A forked process has the program's handlers, and the descriptor by which signals wake its event loop, until it
        # lets go of them: what is sent to it before, as SIGTERM when the pool ends at once, would reach that loop.
        held = signals.handled() if method == "fork" else frozenset()
        with signals.masked(signals.current_mask() | held | {signal.SIGINT}):
            try:
                with fds.low_numbers_taken():  # what a worker shares with us has the same number in both
                    proc.start()
                return
            except (OSError, EOFError) as error:
                _close_leftovers(error)
                if not isinstance(error, (ConnectionError, EOFError)):
                    raise
                if last_try:
                    raise ConnectionResetError("the fork server ended while it started a worker") from error
                _await_end_of_fork_server()


def _ensure_fork_server() -> None:
    """Starts the fork server if there is none, and has it import what each worker needs: else each would by itself.

    What the program has set (`set_forkserver_preload`) stays so. A module that the server does not find is left out.
    """
    server: Any = getattr(forkserver, "_forkserver", None)
    names = getattr(server, "_preload_modules", None)
    if not isinstance(names, list):
        forkserver.ensure_running()
        return
    server._preload_modules = [*names, *PRELOADED]
    try:
        forkserver.ensure_running()
    finally:
        server._preload_modules = names


def _await_end_of_fork_server() -> None:
    """Waits a moment for a fork server that answers no more: it is about to end, as when it ran out of descriptors.

    `ensure_running` starts another one only when its process is over.
    """
    pid = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None)
    deadline = time.monotonic() + TERM_GRACE
    with contextlib.suppress(OSError):  # ended, and somebody else has reaped it
        while pid and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)


def _close_leftovers(error: Exception) -> None:
    """Closes the pipes that multiprocessing made and forgets when it then cannot start the process.

    At every retry there would be up to four more, until the whole program is out of descriptors. `popen_fork` closes
    none of them; `forkserver` closes all, but only when it got as far as to have made the second pipe.
    """
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        where = (frame.f_globals.get("__name__"), frame.f_code.co_name)
        local = frame.f_locals
        forgot = where == ("multiprocessing.popen_fork", "_launch") or (
            where == ("multiprocessing.forkserver", "connect_to_new_process") and "child_r" not in local
        )
        if forgot:
            for name in ("parent_r", "child_w", "child_r", "parent_w"):
                if isinstance(local.get(name), int):
                    os.close(local[name])
        if where == ("multiprocessing.popen_spawn_posix", "_launch"):
            finalizer = local["self"].finalizer  # would close them when the last traceback is gone
            if finalizer is not None:  # what is to be handed over did not pickle, and there are none
                finalizer()
        traceback = traceback.tb_next


def join_soon(proc: Any, *, kill: bool = False) -> None:
    """Waits until a process that was told to end has ended, and kills it when it does not, or at once."""
    try:
        if not kill:
            proc.join(TERM_GRACE)
        if proc.exitcode is None:
            proc.kill()
            proc.join(TERM_GRACE)
    except TypeError:  # a look-alike of Process whose join takes no time limit
        proc.join()
