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
        TaskPicklingError as TaskPicklingError,
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
    from .isolation import Resetter as Resetter
    from .isolation import rng as rng
    from .leaks import Leak as Leak
    from .leaks import Leaks as Leaks
    from .pool import IsolatedPool as IsolatedPool
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
    "Leak",
    "LeakError",
    "Leaks",
    "PoolTerminated",
    "PoolsafeError",
    "PoolsafeWarning",
    "Report",
    "ResetError",
    "Resetter",
    "ResultPicklingError",
    "ResultUnpicklingError",
    "Stats",
    "TargetError",
    "TaskExited",
    "TaskPicklingError",
    "TaskUnpicklingError",
    "WorkerLost",
    "WrongProcess",
    "__version__",
    "rng",
    "verify",
]

_HOME = dict.fromkeys(__all__[:-3], "errors") | {
    "IsolatedPool": "pool",
    "Leak": "leaks",
    "Leaks": "leaks",
    "Resetter": "isolation",
    "Stats": "stats",
    "Difference": "verdict",
    "Report": "verdict",
    "rng": "isolation",
    "verify": "verification",
    "ResultPicklingError": "failures",
    "ExceptionPicklingError": "failures",
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
