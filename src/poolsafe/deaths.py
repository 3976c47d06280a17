"""What a worker's death means for its task, in words.

Used by: failures. What may go wrong: nobody can tell how the process ended; then that is said.
"""

from __future__ import annotations

import signal

from . import errors
from .engine.state import Lost


def where(item: int | None) -> str:
    """Which item of a map it was, in words that can follow on "the task"."""
    return "" if item is None else f" (item {item})"


def describe_exit(exitcode: int | None) -> str:
    """How a process ended, in words: `was killed by SIGKILL (Killed)`."""
    if exitcode is None:
        return "ended, and nobody could tell how"
    if exitcode >= 0:
        return f"exited with code {exitcode}"
    try:
        number = signal.Signals(-exitcode)
    except ValueError:
        return f"was killed by signal {-exitcode}"
    return f"was killed by {number.name} ({signal.strsignal(number)})"


def lost_worker(lost: Lost, item: int | None) -> errors.PoolsafeError:
    """The error of a task that was lost with its worker, or took too long; it has those of earlier attempts."""
    made = _lost(lost, item) if lost.limit is None else _overdue(lost, item)
    if not lost.past:
        return made
    made.__dict__.update(
        fact=f"{made.fact}; it was attempt {len(lost.past) + 1}, and `attempts` has the errors of those before",
        attempts=tuple(lost_worker(one, item) for one in lost.past),
    )
    return type(made)(**made.__dict__)


def _overdue(lost: Lost, item: int | None) -> errors.TaskTimeout:
    stack = f"\nThe worker was here:\n{lost.stack.rstrip()}" if lost.stack else ""
    began = "" if lost.may_have_run else " before its function was called"
    return errors.TaskTimeout(
        f"the task{where(item)} took longer than {lost.limit:g} s{began}, and its worker process {lost.pid} was ended",
        cause="It waits for something that does not come, or has more to do than that." + stack,
        remedy="The other tasks are not affected, and the worker has been replaced. Mend the function, or raise "
        "timeout=, of the pool or of this call.",
        limit=lost.limit or 0.0,
        stack=lost.stack,
        pid=lost.pid,
        may_have_run=lost.may_have_run,
        item=item,
    )


def _lost(lost: Lost, item: int | None) -> errors.WorkerLost:
    may_have_run = "may have run, wholly or in part" if lost.may_have_run else "did not run"
    by_signal = lost.exitcode is not None and lost.exitcode < 0
    return errors.WorkerLost(
        f"the worker process {lost.pid} {describe_exit(lost.exitcode)} while it had this task{where(item)}; "
        f"the function {may_have_run}",
        cause=_CUT_OFF if lost.cut_off else _likely_cause(lost.exitcode),
        remedy="The other tasks are not affected, and the worker has been replaced. Mend the function, or submit the "
        "task again if it may run twice.",
        pid=lost.pid,
        exitcode=lost.exitcode,
        signal=-lost.exitcode if by_signal and lost.exitcode is not None else None,
        may_have_run=lost.may_have_run,
        item=item,
    )


_CUT_OFF = (
    "The function closed the file descriptors of its process, or replaced the process by exec(); "
    "the pool ended what was left."
)


def _likely_cause(exitcode: int | None) -> str:
    if exitcode is None:
        return "Something else took the exit status: SIGCHLD is ignored, or somebody waits for any child."
    if exitcode >= 0:
        return (
            "The function, or a library that it uses, called os._exit() or exec, or closed the file descriptors of its "
            "process."
        )
    if -exitcode == getattr(signal, "SIGKILL", 9):
        return "Often the kernel ran out of memory and chose this process; otherwise somebody sent the signal."
    if -exitcode in (signal.SIGSEGV, signal.SIGABRT, getattr(signal, "SIGBUS", signal.SIGSEGV), signal.SIGFPE):
        return "Native code, a library called through ctypes or an extension module, crashed."
    return "Somebody sent the signal, or the function sent it to its own process."
