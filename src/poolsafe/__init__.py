"""A process pool in which no task meets what another task left behind.

The public names are resolved when they are first used: a worker imports the package without importing the pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import (
        CaptureError as CaptureError,
    )
    from .errors import (
        InitializerError as InitializerError,
    )
    from .errors import (
        LeakError as LeakError,
    )
    from .errors import (
        PoolsafeError as PoolsafeError,
    )
    from .errors import (
        PoolsafeWarning as PoolsafeWarning,
    )
    from .errors import (
        PoolTerminated as PoolTerminated,
    )
    from .errors import (
        QueueGone as QueueGone,
    )
    from .errors import (
        ResetError as ResetError,
    )
    from .errors import (
        ResultUnpicklingError as ResultUnpicklingError,
    )
    from .errors import (
        TargetError as TargetError,
    )
    from .errors import (
        TaskExited as TaskExited,
    )
    from .errors import (
        TaskMemoryExceeded as TaskMemoryExceeded,
    )
    from .errors import (
        TaskPicklingError as TaskPicklingError,
    )
    from .errors import (
        TaskTimeout as TaskTimeout,
    )
    from .errors import (
        TaskUnpicklingError as TaskUnpicklingError,
    )
    from .errors import (
        WorkerLost as WorkerLost,
    )
    from .errors import (
        WrongProcess as WrongProcess,
    )
    from .failures import ExceptionPicklingError as ExceptionPicklingError
    from .failures import ResultPicklingError as ResultPicklingError
    from .failures import TaskCancelled as TaskCancelled
    from .isolation.seeds import rng as rng
    from .isolation.targets import Resetter as Resetter
    from .leaks import Leak as Leak
    from .leaks import Leaks as Leaks
    from .pool import IsolatedPool as IsolatedPool
    from .queues.choice import QueueChoice as QueueChoice
    from .queues.choice import make_queue as make_queue
    from .queues.choice import queue_choice as queue_choice
    from .queues.face import JoinableQueue as JoinableQueue
    from .queues.face import Queue as Queue
    from .queues.face import SimpleQueue as SimpleQueue
    from .stats import Stats as Stats
    from .verdict import Difference as Difference
    from .verdict import Report as Report
    from .verification import verify as verify

__version__ = "0.1.0"

__all__ = [
    "CaptureError",
    "Difference",
    "ExceptionPicklingError",
    "InitializerError",
    "IsolatedPool",
    "JoinableQueue",
    "Leak",
    "LeakError",
    "Leaks",
    "PoolTerminated",
    "PoolsafeError",
    "PoolsafeWarning",
    "Queue",
    "QueueChoice",
    "QueueGone",
    "Report",
    "ResetError",
    "Resetter",
    "ResultPicklingError",
    "ResultUnpicklingError",
    "SimpleQueue",
    "Stats",
    "TargetError",
    "TaskCancelled",
    "TaskExited",
    "TaskMemoryExceeded",
    "TaskPicklingError",
    "TaskTimeout",
    "TaskUnpicklingError",
    "WorkerLost",
    "WrongProcess",
    "__version__",
    "make_queue",
    "queue_choice",
    "rng",
    "verify",
]

_HOME = dict.fromkeys((name for name in __all__ if name != "__version__"), "errors") | {
    "IsolatedPool": "pool",
    "JoinableQueue": "queues.face",
    "Queue": "queues.face",
    "QueueChoice": "queues.choice",
    "SimpleQueue": "queues.face",
    "make_queue": "queues.choice",
    "queue_choice": "queues.choice",
    "Leak": "leaks",
    "Leaks": "leaks",
    "Resetter": "isolation.targets",
    "Stats": "stats",
    "Difference": "verdict",
    "Report": "verdict",
    "rng": "isolation.seeds",
    "verify": "verification",
    "ResultPicklingError": "failures",
    "ExceptionPicklingError": "failures",
    "TaskCancelled": "failures",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
