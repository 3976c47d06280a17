"""What a worker's death means for its task, in words.

Used by: failures. What may go wrong: nobody can tell how the process ended; then that is said.
"""

from __future__ import annotations

import signal
from typing import Any

from . import errors
from .engine.memory import in_words
from .engine.signals import FAULTS
from .engine.starting import KILL
from .engine.state import Fate, Lost

#: How many lines of stderr an error shows.
_LINES = 10


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
    """The error of a task that was lost with its worker, or took too much; it has those of earlier attempts."""
    if lost.fate.limit is not None:
        made = _overdue(lost, item, lost.fate.limit)
    elif lost.fate.used is not None:
        made = _swollen(lost, item, lost.fate.used)
    else:
        made = _lost(lost, item)
    if not lost.past:
        return made
    made.__dict__.update(
        fact=f"{made.fact}; it was attempt {len(lost.past) + 1}, and `attempts` has the errors of those before",
        attempts=tuple(lost_worker(one, item) for one in lost.past),
    )
    return type(made)(**made.__dict__)


def last_words(fate: Fate) -> str:
    """Where a process was and what it wrote to stderr, as lines to follow on a sentence; nothing when nobody knows."""
    stack = f"\nThe worker was here:\n{fate.stack.rstrip()}" if fate.stack else ""
    return stack + said(fate.said)


def why_unready(exitcode: int | None) -> tuple[str, str]:
    """The likely cause when workers end in this way before they are ready, and what to do about it."""
    if exitcode == -KILL:
        cause = "Several in a row were: the kernel ran out of memory, somebody sent the signal, or the initializer."
        return cause, "Have fewer workers, or mend the initializer, and make a new pool"
    if exitcode is not None and -exitcode in FAULTS:
        cause = "Native code crashed that the initializer runs, or that an import of the main module loads."
    else:
        cause = (
            "The initializer ended the process, or the worker could not import the main module: a script that makes "
            "a pool under spawn or forkserver needs `if __name__ == '__main__':`."
        )
    return cause, "Mend the initializer and make a new pool"


def said(words: str) -> str:
    """What a process wrote to stderr, as lines to follow on a sentence."""
    lines = words.rstrip().splitlines()[-_LINES:]
    return "\nThe last lines that it wrote to stderr:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""


def _overdue(lost: Lost, item: int | None, limit: float) -> errors.PoolsafeError:
    fate = lost.fate
    began = "" if lost.may_have_run else " before its function was called"
    return errors.TaskTimeout(
        f"the task{where(item)} took longer than {limit:g} s{began}, and its worker process {fate.pid} {_ended(fate)}",
        cause="It waits for something that does not come, or has more to do than that." + last_words(fate),
        remedy="The other tasks are not affected, and the worker has been replaced. Mend the function, or raise "
        "timeout=, of the pool or of this call.",
        limit=limit,
        **_facts(lost, item),
    )


def _swollen(lost: Lost, item: int | None, used: int) -> errors.PoolsafeError:
    fate = lost.fate
    began = "" if lost.may_have_run else " while its arguments were loaded"
    return errors.TaskMemoryExceeded(
        f"the task{where(item)} had {in_words(used)} of memory{began}, more than twice max_memory, and its worker "
        f"process {fate.pid} {_ended(fate)}",
        cause="It holds more at a time than was thought of." + last_words(fate),
        remedy="The other tasks are not affected, and the worker has been replaced. Mend the function, or raise "
        "max_memory=.",
        used=used,
        **_facts(lost, item),
    )


def _lost(lost: Lost, item: int | None) -> errors.PoolsafeError:
    fate = lost.fate
    may_have_run = "may have run, wholly or in part" if lost.may_have_run else "did not run"
    code = fate.exitcode
    who, had = f"the worker process {fate.pid}", "while it had this task"
    if fate.host is not None:
        who, had = f"the worker process {fate.host}", f"and took its process {fate.pid} along, which had this task"
    return errors.WorkerLost(
        f"{who} {describe_exit(code)} {had}{where(item)}; the function {may_have_run}",
        cause=_likely_cause(fate, begun=lost.may_have_run) + last_words(fate),
        remedy="The other tasks are not affected, and the worker has been replaced. Mend the function, or submit the "
        "task again if it may run twice.",
        exitcode=code,
        signal=-code if code is not None and code < 0 else None,
        out_of_memory=bool(fate.starved),
        **_facts(lost, item),
    )


def _ended(fate: Fate) -> str:
    return "could not be ended: it may run on" if fate.endless else "was ended"


def _facts(lost: Lost, item: int | None) -> dict[str, Any]:
    """What all of these errors carry."""
    fate = lost.fate
    return {
        "pid": fate.pid,
        "stack": fate.stack,
        "stderr": fate.said,
        "may_have_run": lost.may_have_run,
        "item": item,
    }


_CUT_OFF = (
    "The function closed the file descriptors of its process, or replaced the process by exec(); "
    "the pool ended what was left."
)


def _likely_cause(fate: Fate, *, begun: bool) -> str:
    exitcode = fate.exitcode
    if fate.cut_off:
        return _CUT_OFF
    if fate.starved:
        return f"It was killed by the kernel for want of memory: so says {fate.starved}."
    if exitcode is None:
        return "Something else took the exit status: SIGCHLD is ignored, or somebody waits for any child."
    if exitcode >= 0:
        who = "The function" if begun else "What runs before it (a factory, a hook, the loading of its arguments)"
        return f"{who}, or a library that it uses, called os._exit() or exec, or closed the file descriptors."
    if exitcode == -KILL:
        return "Often the kernel ran out of memory and chose this process; otherwise somebody sent the signal."
    if fate.host is not None:
        return "Somebody sent the signal; a task can, for to it that process is `os.getppid()`."
    if -exitcode in FAULTS:
        return "Native code, a library called through ctypes or an extension module, crashed."
    return "Somebody sent the signal, or the function sent it to its own process."
