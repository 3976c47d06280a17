"""What the user asked for: defaults, validation, and the wording of complaints.

Used by: pool, before anything is started. What may go wrong is the user's mistake, and raised here: ValueError or
TypeError, as the stdlib's where it has the same check, `TargetError` for what `reset=` and `keep=` name.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from math import inf
from multiprocessing import process
from typing import Any

from .engine.memory import resident
from .engine.state import Terms
from .errors import TargetError
from .isolation.guard import Guard
from .isolation.seeds import check_seed
from .isolation.targets import Plan
from .watching import WAYS

#: Seconds that workers keep quiet in a script without a main guard, should nobody end them.
_SILENCE = 5.0
#: The same where code 1 would not tell the parent enough: after so long they end, with a code of their own.
_HINT, UNGUARDED_CODE = 1.0, 114
#: The levels of isolation that this version has.
LEVELS = ("globals", "fork", "process", None)
#: Those at which every task has a process of its own.
FRESH = frozenset({"fork", "process"})


def worker_count(processes: int | None) -> int:
    """How many workers to keep.

    Raises:
        ValueError: Fewer than one.
    """
    if processes is None:
        count: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
        processes = count() or 1
    if processes < 1:
        raise ValueError("Number of processes must be at least 1")
    return processes


def task_budget(maxtasksperchild: Any) -> int | None:
    """After how many tasks to replace a worker.

    Raises:
        ValueError: Not a positive int, and not None.
    """
    if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild < 1):
        raise ValueError("maxtasksperchild must be a positive int or None")
    budget: int | None = maxtasksperchild
    return budget


def check_callables(**hooks: Any) -> None:
    """Complains about a hook that cannot be called.

    Raises:
        TypeError: One of them is neither None nor callable.
    """
    for name, value in hooks.items():
        if value is not None and not callable(value):
            # The first words are the stdlib's, for the initializer.
            raise TypeError(f"{name} must be a callable, not {type(value).__name__}; pass a function, or leave it out")


def guard(isolation: str | None, reset: Any, keep: Any, seed: Any, on_leak: str, *, has_initializer: bool) -> Guard:
    """What is done around each task in a worker.

    Raises:
        ValueError: There is no such level of isolation, or no such way with leaks.
        TypeError: The seed is no int.
        TargetError: Something in `reset` or `keep` is no target, or cannot be found or captured.
    """
    if isolation not in LEVELS:
        raise ValueError(
            f"isolation={isolation!r} is not a level of isolation; use 'globals' (put globals back before every task), "
            "'fork' or 'process' (a fresh process for each task) or None (put nothing back)"
        )
    if isolation == "fork" and not hasattr(os, "fork"):
        raise ValueError(
            "isolation='fork' needs os.fork(), which this platform does not have; use isolation='process', which gives "
            "every task a fresh process everywhere"
        )
    if on_leak not in WAYS:
        raise ValueError(f"on_leak={on_leak!r} is none of {', '.join(map(repr, WAYS))}")
    if isinstance(reset, (dict, set)) and not reset:
        raise TargetError(
            f"reset={reset!r} names nothing",
            cause="It is empty. A global is named by a string, not passed: reset='app:CACHE', not reset=CACHE.",
            remedy="Name what is to be put back, leave reset out for everything, or pass reset=None for nothing.",
        )
    plan = Plan.make(reset, keep, has_initializer=has_initializer)
    watches = on_leak != "ignore" and not plan.empty
    resets = isolation == "globals" and not plan.empty
    return Guard(
        plan if watches or resets or isolation in FRESH else None,
        check_seed(seed),
        watches=watches,
        refuses=on_leak == "raise",
        resets=resets,
        makes=isolation in FRESH,
    )


def time_limit(timeout: Any) -> float | None:
    """For how many seconds a task may run; infinity is a limit here that overrides the pool's.

    Raises:
        ValueError: Not a positive number.
        TypeError: No number at all.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, not {type(timeout).__name__}")
    if not timeout > 0:
        raise ValueError(f"timeout must be a positive number of seconds, not {timeout!r}; leave it out for no limit")
    try:
        return float(timeout)
    except OverflowError:  # an int beyond all floats
        return inf


def memory_limit(max_memory: Any) -> int | None:
    """How many bytes of memory a worker may have after a task.

    Raises:
        ValueError: Not positive; or nobody can tell here what a process has.
        TypeError: No whole number.
    """
    if max_memory is None:
        return None
    if isinstance(max_memory, bool) or not isinstance(max_memory, int):
        raise TypeError(f"max_memory must be a whole number of bytes or None, not {type(max_memory).__name__}")
    if max_memory < 1:
        raise ValueError(f"max_memory must be a positive number of bytes, not {max_memory}; leave it out for no limit")
    if resident() is None:
        raise ValueError(
            "max_memory needs a platform that tells how much memory a process has, as Linux (with /proc) and macOS; "
            "use maxtasksperchild= to replace workers now and then"
        )
    return max_memory


def terms(timeout: Any, retries: Any, *, measured: bool = False) -> Terms:
    """What tasks may take: how long, how often a lost one is tried again, and whether their memory is looked at.

    Raises:
        ValueError: No positive number; less than never.
        TypeError: No number; no whole number.
    """
    if isinstance(retries, bool) or not isinstance(retries, int):
        raise TypeError(f"retries must be a whole number, not {type(retries).__name__}")
    if retries < 0:
        raise ValueError(f"retries must be 0 or more, not {retries}")
    return Terms(retries=retries, measured=measured).within(time_limit(timeout))


def chunk_size(size: int | None, items: int, workers: int) -> int:
    """How many items go into one message, by the stdlib's rule when the user does not say.

    Raises:
        ValueError: Fewer than one.
    """
    if size is None:
        whole, rest = divmod(items, workers * 4)
        return max(whole + bool(rest), 1)
    return check_chunk_size(size)


def check_chunk_size(size: int) -> int:
    """The chunk size that the user gave.

    Raises:
        ValueError: Fewer than one.
    """
    if size < 1:
        raise ValueError(f"Chunksize must be 1+, not {size:n}")
    return size


def refuse_in_unguarded_main(context: Any) -> None:
    """Stops a script that makes a pool while a worker of the same pool is importing it.

    Without `if __name__ == "__main__":`, every worker under spawn runs the script again. The stdlib's explanation is
    to be seen once, not once for each worker.
    """
    me = process.current_process()
    if not getattr(me, "_inheriting", False) or context.get_start_method() == "fork":
        return
    if "PoolWorker" in me.name and not me.name.endswith("-1"):
        if context.get_start_method() == "forkserver":  # whose processes end by Ctrl-C, too, with code 1
            time.sleep(_HINT)
            os._exit(UNGUARDED_CODE)
        time.sleep(_SILENCE)  # the first one explains, and its end is what the parent is to see; it then ends us
        raise SystemExit(1)
