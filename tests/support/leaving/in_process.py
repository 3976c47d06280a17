"""Kinds of state that belong to the process or to the interpreter.

Used by: the table of all kinds in this package. What may go wrong: a kind does not exist on this platform or this
Python; it is left out.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import io
import os
import signal
import sys
import threading
import time
import types
import warnings
from typing import Any

from tests.support.levels import FRESH

from .kind import Kind, held


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def soft_limit() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def lower_soft_limit() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))


class Finder:
    @staticmethod
    def find_spec(*_: Any) -> None:
        return None


def hook(*_: Any) -> Any:
    """Stands for hooks of all sorts; as a path hook it would have to raise this."""
    raise ImportError


def trace(*_: Any) -> None:
    """Stands for trace and profile functions."""


KINDS: dict[str, Kind] = {
    "environ": Kind(lambda: os.environ.get("POOLSAFE_X"), lambda: os.environ.__setitem__("POOLSAFE_X", "1")),
    "environb": Kind(lambda: os.environb.get(b"POOLSAFE_Y"), lambda: os.environb.__setitem__(b"POOLSAFE_Y", b"1")),
    "time zone": Kind(lambda: time.tzname, lambda: (os.environ.__setitem__("TZ", "Asia/Tokyo"), time.tzset())),
    "cwd": Kind(os.getcwd, lambda: os.chdir("/")),
    "umask": Kind(umask, lambda: os.umask(0o077)),
    "soft limit": Kind(soft_limit, lower_soft_limit),
    # Signals
    "signal handler": Kind(
        lambda: str(signal.getsignal(signal.SIGUSR1)), lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    ),
    "timer": Kind(
        lambda: signal.getitimer(signal.ITIMER_REAL)[1], lambda: signal.setitimer(signal.ITIMER_REAL, 999, 9)
    ),
    "alarm": Kind(lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 0, lambda: signal.alarm(999)),
    "blocked signals": Kind(
        lambda: signal.SIGUSR2 in signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]),
    ),
    # The import system
    "sys.path": Kind(lambda: "/x" in sys.path, lambda: sys.path.append("/x")),
    "sys.meta_path": Kind(lambda: Finder in sys.meta_path, lambda: sys.meta_path.append(Finder)),  # type: ignore[arg-type]
    "sys.path_hooks": Kind(lambda: hook in sys.path_hooks, lambda: sys.path_hooks.append(hook)),
    "exchanged module": Kind(
        lambda: hasattr(sys.modules["json"], "dumps"),
        lambda: sys.modules.__setitem__("json", types.ModuleType("json")),
    ),
    # Streams and hooks
    "stdout": Kind(lambda: sys.stdout.closed if sys.stdout else None, lambda: setattr(sys, "stdout", None)),
    "redirected stdout": Kind(
        lambda: type(sys.stdout).__name__, lambda: contextlib.redirect_stdout(io.StringIO()).__enter__()
    ),
    "sys.argv": Kind(lambda: len(sys.argv), lambda: sys.argv.append("x")),
    "excepthook": held(sys, "excepthook", hook),
    "displayhook": held(sys, "displayhook", hook),
    "unraisablehook": held(sys, "unraisablehook", hook),
    "breakpointhook": held(sys, "breakpointhook", hook),
    "traceback limit": Kind(lambda: hasattr(sys, "tracebacklimit"), lambda: setattr(sys, "tracebacklimit", 0)),
    "profile function": Kind(lambda: sys.getprofile() is trace, lambda: sys.setprofile(trace)),
    "async generator hooks": Kind(
        lambda: sys.get_asyncgen_hooks().firstiter is trace, lambda: sys.set_asyncgen_hooks(trace)
    ),
    "origins of coroutines": Kind(
        sys.get_coroutine_origin_tracking_depth, lambda: sys.set_coroutine_origin_tracking_depth(3)
    ),
    # The interpreter
    "recursion limit": Kind(sys.getrecursionlimit, lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1)),
    "switch interval": Kind(sys.getswitchinterval, lambda: sys.setswitchinterval(0.5)),
    "digits of an int": Kind(sys.get_int_max_str_digits, lambda: sys.set_int_max_str_digits(1000)),
    "gc": Kind(gc.isenabled, gc.disable),
    "gc thresholds": Kind(gc.get_threshold, lambda: gc.set_threshold(7)),
    "gc flags": Kind(gc.get_debug, lambda: gc.set_debug(gc.DEBUG_UNCOLLECTABLE)),
    "gc callbacks": Kind(lambda: trace in gc.callbacks, lambda: gc.callbacks.append(trace)),
    "warning filters": Kind(lambda: len(warnings.filters), lambda: warnings.simplefilter("error", BytesWarning)),
    "showwarning": held(warnings, "showwarning", hook),
    "threading.excepthook": held(threading, "excepthook", hook),
    "profile function of threads": Kind(lambda: threading.getprofile() is trace, lambda: threading.setprofile(trace)),
    "stack size of threads": Kind(threading.stack_size, lambda: threading.stack_size(1 << 20)),  # type: ignore[arg-type]
    "faulthandler": Kind(
        faulthandler.is_enabled,
        lambda: faulthandler.disable() if faulthandler.is_enabled() else faulthandler.enable(sys.__stderr__),
    ),
}

if len(getattr(os, "sched_getaffinity", lambda _: ())(0)) > 1:
    KINDS["processors"] = Kind(
        lambda: len(os.sched_getaffinity(0)), lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    )
if FRESH or not gc.get_freeze_count():  # some Pythons freeze what they begin with; so do our workers at level fork
    KINDS["frozen objects"] = Kind(lambda: gc.get_freeze_count() > 0, gc.freeze)
