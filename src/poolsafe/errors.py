"""The one tree of errors and warnings.

Who raises what, and which builtin or stdlib type existing code catches it by::

    PoolsafeError                                     everything below
    |- TargetError          ValueError                a `reset=`/`keep=` target that does not exist or makes no sense
    |  `- CaptureError      TypeError                 a declared value that can neither be captured nor rebuilt
    |- ResetError           RuntimeError              putting the declared globals back failed in several fresh workers
    |- InitializerError     RuntimeError              the initializer failed in whatever way; the pool is over
    |- WorkerLost           RuntimeError              the worker died with this task
    |- TaskTimeout          TimeoutError              the task took longer than it may; its worker was ended
    |- TaskMemoryExceeded   MemoryError               the task took more memory than it may; its worker was ended
    |- TaskExited           RuntimeError              the task raised SystemExit or another exception outside Exception
    |- TaskPicklingError    pickle.PicklingError      function or arguments do not pickle (in the parent)
    |- TaskUnpicklingError  pickle.UnpicklingError    function or arguments do not unpickle (in the worker)
    |- ResultUnpicklingError pickle.UnpicklingError   the result does not unpickle (in the parent)
    |- PoolTerminated       RuntimeError              the pool ended before the task did
    |- QueueGone            ConnectionError           a queue that nobody holds any more in the process that made it
    `- WrongProcess         RuntimeError              a pool, result or iterator used in a process that did not make it

`poolsafe.failures` holds the two that are also `multiprocessing.pool.MaybeEncodingError`, and `TaskCancelled`, a
`concurrent.futures.CancelledError`: this module is imported by workers, which have no use for these packages.

Every message has three parts: the fact, the likely cause, what to do. Facts are attributes too. Every error survives
pickling with its attributes, its `__cause__` text included where `traceback_text` is set.
"""

from __future__ import annotations

import pickle
from typing import Any


class PoolsafeError(Exception):
    """Base of every error that poolsafe raises of its own accord.

    Args:
        fact: What happened, as one sentence.
        cause: The likely reason.
        remedy: What to do about it.
        **facts: Attributes of the error; each class lists its own as class attributes with their defaults.
    """

    def __init__(self, fact: str = "", *, cause: str = "", remedy: str = "", **facts: Any) -> None:
        # Not super(): some of the types mixed in below have an __init__ of their own with other arguments.
        Exception.__init__(self, "\n".join(part for part in (fact, cause, remedy) if part))
        self.fact = fact
        self.cause = cause
        self.remedy = remedy
        self.__dict__.update(facts)

    def __str__(self) -> str:
        return Exception.__str__(self)  # likewise: MaybeEncodingError has a __str__ that knows its own facts only

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException.__reduce__ would call the class with `args` alone and lose what is keyword-only.
        return _rebuild, (type(self), self.fact, self.cause, self.remedy), self.__dict__.copy()


def _rebuild(cls: type[PoolsafeError], fact: str, cause: str, remedy: str) -> PoolsafeError:
    return cls(fact, cause=cause, remedy=remedy)


class TargetError(PoolsafeError, ValueError):
    """A target of `reset=` or `keep=` does not exist, cannot be imported, or is not a target at all."""

    #: The target as the user wrote it.
    target: str = ""


class CaptureError(TargetError, TypeError):
    """The value of a declared target can neither be captured nor rebuilt (an open file, a socket, a generator, ...)."""

    #: Where the value was found, as a path: ``app:CACHE['conn']``.
    path: str = ""


class ResetError(PoolsafeError, RuntimeError):
    """Putting the declared globals back, or a `before_task` hook of theirs, failed; the task did not run."""

    may_have_run: bool = False
    #: Text of the worker's traceback.
    traceback_text: str = ""


class InitializerError(PoolsafeError, RuntimeError):
    """The initializer failed, or workers die before they are ready. The pool is over."""

    pid: int | None = None
    exitcode: int | None = None
    may_have_run: bool = False
    traceback_text: str = ""


class WorkerLost(PoolsafeError, RuntimeError):
    """The worker process died while it had this task."""

    #: Process id of the lost worker; where each task has a process of its own, of that one.
    pid: int | None = None
    #: Its exit code as `multiprocessing.Process.exitcode` gives it (negative: a signal); None when nobody could tell.
    exitcode: int | None = None
    #: The signal that killed it, or None.
    signal: int | None = None
    #: Whether the task's function may have run, wholly or in part.
    may_have_run: bool = True
    #: Index of the item within its map, or None for a single task.
    item: int | None = None
    #: The last lines that the task wrote to `sys.stderr`.
    stderr: str = ""
    #: Where it was when it crashed in native code: its Python stack, as `faulthandler` writes it; empty when it could
    #: not tell.
    stack: str = ""
    #: Whether the kernel says that it ended the process, or one of these processes, for want of memory.
    out_of_memory: bool = False
    #: The errors of the attempts before this one, when it was tried again.
    attempts: tuple[PoolsafeError, ...] = ()


class TaskTimeout(PoolsafeError, TimeoutError):
    """The task took longer than it may, and its worker was ended."""

    #: The seconds that it had.
    limit: float = 0.0
    #: Where the worker was: the text of its Python stack, as `faulthandler` writes it; of a task that handles SIGTERM
    #: itself, the traceback of what it raised then; empty when it could not tell.
    stack: str = ""
    #: The last lines that the task wrote to `sys.stderr`.
    stderr: str = ""
    pid: int | None = None
    may_have_run: bool = True
    item: int | None = None
    #: The errors of the attempts before this one, when it was tried again.
    attempts: tuple[PoolsafeError, ...] = ()


class TaskMemoryExceeded(PoolsafeError, MemoryError):
    """The task took more memory than it may, and its worker was ended."""

    #: The bytes that its process had.
    used: int = 0
    #: Where it was, as for `TaskTimeout`.
    stack: str = ""
    #: The last lines that the task wrote to `sys.stderr`.
    stderr: str = ""
    pid: int | None = None
    may_have_run: bool = True
    item: int | None = None
    #: The errors of the attempts before this one, when it was tried again.
    attempts: tuple[PoolsafeError, ...] = ()


class TaskExited(PoolsafeError, RuntimeError):
    """The task raised `SystemExit`, `KeyboardInterrupt`, `GeneratorExit` or another exception outside `Exception`."""

    #: Name of the exception's type.
    type_name: str = ""
    #: The code of a `SystemExit` when it is an int, a str or None.
    code: int | str | None = None
    traceback_text: str = ""


class TaskPicklingError(PoolsafeError, pickle.PicklingError):
    """The function or the arguments of a task cannot be pickled; nothing was sent, nothing ran."""

    may_have_run: bool = False
    #: Index of the item within its map, or None.
    item: int | None = None


class TaskUnpicklingError(PoolsafeError, pickle.UnpicklingError):
    """The function or the arguments of a task could not be unpickled in the worker; the task did not run."""

    may_have_run: bool = False
    item: int | None = None
    traceback_text: str = ""


class ResultUnpicklingError(PoolsafeError, pickle.UnpicklingError):
    """The task ran and its result was sent, but the parent cannot unpickle it."""

    may_have_run: bool = True
    item: int | None = None


class LeakError(PoolsafeError, RuntimeError):
    """The task changed what it should have left alone, in a pool with `on_leak="raise"`. Its value is not given."""

    #: What it changed, as in `app.cache['runs'][0]`.
    paths: tuple[str, ...] = ()
    may_have_run: bool = True
    item: int | None = None


class PoolTerminated(PoolsafeError, RuntimeError):
    """The pool was terminated before this task was done."""

    #: Whether the task's function may have run, wholly or in part.
    may_have_run: bool = True


class QueueGone(PoolsafeError, ConnectionError):
    """The queue is no more: the process that made it has ended, or holds it no longer."""


class WrongProcess(PoolsafeError, RuntimeError):
    """A pool, result or iterator was used in a process other than the one that made it."""


class PoolsafeWarning(UserWarning):
    """Base of every warning that poolsafe gives; filter it to silence or to promote them."""


for _cls in list(globals().values()):  # errors say `poolsafe.WorkerLost`, the name that users import
    if isinstance(_cls, type) and issubclass(_cls, (PoolsafeError, PoolsafeWarning)):
        _cls.__module__ = "poolsafe"
