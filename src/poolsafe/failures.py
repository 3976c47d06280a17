"""From an outcome as it came off the wire to the value or the exception that the user gets.

Used by: results and callbacks, in the thread that consumes. The only place where what a task returned or raised is
unpickled in the parent, guarded; and the only place where the words of a task's errors are written.

What may go wrong: unpickling runs user code, which may raise anything: that becomes `ResultUnpicklingError`.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, NamedTuple

from . import errors
from .deaths import describe_exit, lost_worker, said, where, why_unready
from .engine import messages
from .engine.memory import in_words
from .engine.messages import loads, safe_str
from .engine.state import BROKEN, CANCELLED, LOST, TERMINATED, UNCLEAN

if TYPE_CHECKING:  # the stub of multiprocessing.pool does not name it

    class MaybeEncodingError(Exception):
        """A result or an exception that could not be sent."""

        exc: str
        value: str

else:
    from multiprocessing.pool import MaybeEncodingError


class ResultPicklingError(errors.PoolsafeError, MaybeEncodingError):
    """The task ran, but its result cannot be pickled."""

    #: As in the stdlib: repr of the exception, and of the value.
    exc: str = ""
    value: str = ""
    may_have_run: bool = True
    item: int | None = None
    traceback_text: str = ""


class ExceptionPicklingError(errors.PoolsafeError, MaybeEncodingError):
    """The task raised an exception that cannot be pickled, or that does not unpickle again."""

    exc: str = ""
    value: str = ""
    #: Name of the exception's type, and its message.
    type_name: str = ""
    text: str = ""
    may_have_run: bool = True
    item: int | None = None
    traceback_text: str = ""


class TaskCancelled(errors.PoolsafeError, CancelledError):
    """The task was called off."""

    #: Whether the task's function may have run, wholly or in part.
    may_have_run: bool = True
    item: int | None = None


for _cls in (ResultPicklingError, ExceptionPicklingError, TaskCancelled):
    _cls.__module__ = "poolsafe"


#: Kind of an outcome whose data is an exception that the parent made.
MADE = -1


class Outcome(NamedTuple):
    """An item's end as it came: a kind (`engine.messages`, `engine.state`), its data, and the item's index in a map."""

    kind: int
    data: Any
    item: int | None = None


def decode(outcome: Outcome) -> tuple[bool, Any]:
    """Whether the item succeeded, and its value or exception."""
    kind, data, item = outcome
    if kind == messages.VALUE:
        try:
            return True, loads(data)
        except BaseException as error:
            _let_ctrl_c_through(error)
            return False, _result_unpickling(error, item)
    if kind == messages.ERROR:
        blob, text = loads(data)
        try:
            exception = loads(blob)
            if not isinstance(exception, BaseException):
                raise TypeError(f"it unpickles to an instance of {type(exception).__name__}")
            exception.__cause__ = RemoteTraceback(_quoted(text))
        except BaseException as error:
            _let_ctrl_c_through(error)
            return False, _result_unpickling(error, item, what="exception")
        return False, exception
    return False, _MAKERS[kind](data, item)


def _let_ctrl_c_through(error: BaseException) -> None:
    """Raises a KeyboardInterrupt that hit the main thread; nothing is stored, so the outcome can be decoded again."""
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        raise error


def pickling_failure(error: BaseException, item: int | None = None) -> errors.TaskPicklingError:
    """What a task fails with whose function or arguments do not pickle.

    It is a `TaskPicklingError` and, where the two can be combined, also of the original's type, which is what existing
    code catches: a lock raises TypeError, a lambda AttributeError or PicklingError, a `__reduce__` anything.
    """
    text = (
        f"the function or the arguments of the task{where(item)} cannot be pickled: "
        f"{type(error).__name__}: {safe_str(error)}"
    )
    made = _combined(type(error), text, item)
    made.__cause__ = error
    return made


def _combined(original: type[BaseException], text: str, item: int | None) -> errors.TaskPicklingError:
    words = {
        "cause": "Lambdas, local functions and classes, locks, open files and generators cannot be sent to a process.",
        "remedy": "Define functions at the top level of a module, and pass plain data.",
    }
    try:
        cls = type("TaskPicklingError", (_Combined, original), {"_original": original, "__module__": "poolsafe"})
        made: errors.TaskPicklingError = cls(text, item=item, **words)
    except Exception:  # the original's layout, metaclass or constructor does not mix
        made = errors.TaskPicklingError(text, item=item, **words)
    return made


class _Combined(errors.TaskPicklingError):
    _original: type[BaseException]

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            pickle.dumps(self._original)
        except Exception:  # a local class: the error arrives as a plain one of ours
            plain = errors.TaskPicklingError(self.fact, cause=self.cause, remedy=self.remedy)
            return (*plain.__reduce__()[:2], self.__dict__.copy())
        return _combined, (self._original, self.fact, self.item), self.__dict__.copy()


def _quoted(text: str) -> str:
    return f'\n"""\n{text}"""'  # as multiprocessing.pool.ExceptionWithTraceback writes it


def _with_traceback(error: errors.PoolsafeError) -> errors.PoolsafeError:
    text = getattr(error, "traceback_text", "")
    if text:
        error.__cause__ = RemoteTraceback(_quoted(text))
    return error


def _result_unpickling(error: BaseException, item: int | None, what: str = "result") -> errors.PoolsafeError:
    made = errors.ResultUnpicklingError(
        f"the {what} of the task{where(item)} came back but could not be unpickled: "
        f"{type(error).__name__}: {safe_str(error)}",
        cause="Its class pickles into something that it cannot be rebuilt from, or is not importable in this process.",
        remedy="Give the class a __reduce__ that rebuilds it, or return plain data from the task.",
        item=item,
    )
    made.__cause__ = error
    return made


# -- what a worker reported ------------------------------------------------------------------------------------------
def _reported(data: bytes, item: int | None) -> errors.PoolsafeError:
    what, facts = loads(data)
    return _with_traceback(_REPORTS[what](facts, item))


def _unpickle_task(facts: dict[str, Any], item: int | None) -> errors.PoolsafeError:
    return errors.TaskUnpicklingError(
        f"the worker could not unpickle the function or the arguments of the task{where(item)}: "
        f"{facts['type']}: {facts['text']}",
        cause="The worker cannot import what the function or an argument refers to, or an argument's class pickles "
        "into something that it cannot be rebuilt from.",
        remedy="Define functions and classes at the top level of a module that workers can import; "
        "give such a class a __reduce__.",
        item=item,
        traceback_text=facts["traceback"],
    )


def _pickle_result(facts: dict[str, Any], item: int | None) -> errors.PoolsafeError:
    return ResultPicklingError(
        f"the result of the task{where(item)} could not be pickled: {facts['value']}",
        cause=f"{facts['type']}: {facts['text']}",
        remedy="Return plain data, or make the result's class picklable.",
        exc=facts["repr"],
        value=facts["value"],
        item=item,
        traceback_text=facts["traceback"],
    )


def _pickle_exception(facts: dict[str, Any], item: int | None) -> errors.PoolsafeError:
    return ExceptionPicklingError(
        f"the task{where(item)} raised {facts['type']}: {facts['text']}, which cannot travel to the parent",
        cause=f"The exception does not survive pickling ({facts['problem']}).",
        remedy="Pass all of an exception's arguments on to super().__init__(), or give it a __reduce__.",
        exc=facts["problem"],
        value=facts["repr"],
        type_name=facts["type"],
        text=facts["text"],
        item=item,
        traceback_text=facts["traceback"],
    )


def _exited(facts: dict[str, Any], item: int | None) -> errors.PoolsafeError:
    return errors.TaskExited(
        f"the task{where(item)} raised {facts['type']}: {facts['text']}".rstrip(": "),
        cause="It called sys.exit(), or raised an exception that is not meant to be caught. The worker goes on.",
        remedy="Return a value or raise an Exception instead.",
        type_name=facts["type"],
        code=facts.get("code"),
        traceback_text=facts["traceback"],
    )


def _unclean(data: bytes, item: int | None) -> errors.PoolsafeError:
    what, facts = loads(data)
    if what == "receive":
        return errors.TaskUnpicklingError(
            f"workers could not receive the arguments of the task{where(item)}: {facts['text']}",
            cause="The machine is short of memory, or the initializer leaves too many files open.",
            remedy="Send less at once, or raise the limits.",
            item=item,
        )
    error = errors.ResetError(
        f"the declared globals could not be put back before the task{where(item)}: {facts['type']}: {facts['text']}",
        cause="A factory or a resetter raised, in several fresh workers in a row.",
        remedy="Mend it, or exempt the target with keep=.",
        traceback_text=facts["traceback"],
    )
    return _with_traceback(error)


def _leaked(facts: dict[str, Any], item: int | None) -> errors.PoolsafeError:
    changes: list[tuple[str, str, str]] = facts["changes"]
    path, before, after = changes[0]
    more = f", and {len(changes) - 1} more" if len(changes) > 1 else ""
    return errors.LeakError(
        f"the task{where(item)} {facts['function']}({facts['arguments']}) changed {path}: {before} -> {after}{more}",
        cause="The function, or what it calls, keeps something in a global, a class or the process.",
        remedy="Pass it as an argument and return it, or exempt it with keep= when tasks may share it.",
        paths=tuple(change[0] for change in changes),
        item=item,
    )


_REPORTS: dict[str, Callable[[dict[str, Any], int | None], errors.PoolsafeError]] = {
    "unpickle-task": _unpickle_task,
    "pickle-result": _pickle_result,
    "pickle-exception": _pickle_exception,
    "exited": _exited,
    "leaked": _leaked,
}


# -- what the engine found out ---------------------------------------------------------------------------------------
def _terminated(data: tuple[str | None, bool], item: int | None) -> errors.PoolsafeError:
    failure, may_have_run = data
    cause = "terminate() was called, a `with` block was left, or the pool was dropped."
    remedy = "Get the results before that; close() and join() wait for all tasks."
    if failure is not None:
        cause = f"The thread that runs it has failed: {failure}."
        remedy = "Make a new one. If the program closes descriptors that are not its own, mend that; else report this."
    return errors.PoolTerminated(
        f"the pool was terminated before this task was done{where(item)}",
        cause=cause, remedy=remedy, may_have_run=may_have_run,
    )  # fmt: skip


def broken(data: tuple[Any, bool], item: int | None = None) -> errors.InitializerError:
    """The error of a pool whose workers cannot become ready. `data`: (((what, facts), pid), may_have_run)."""
    ((what, facts), pid), may_have_run = data
    advice = "Mend the initializer and make a new pool"
    if what == "died":
        fact = f"a worker process (pid {pid}) {describe_exit(facts['exitcode'])} before it was ready"
        if facts["cut_off"]:
            fact = f"a worker process (pid {pid}) could not be heard any more before it was ready, and was ended"
            cause = "The initializer closed the file descriptors of its process, or replaced the process by exec()."
        else:
            cause, advice = why_unready(facts["exitcode"])
            cause += said(facts["said"])
    elif what == "forkless":
        fact = f"worker {pid} cannot start the processes of its tasks: {facts['type']}: {facts['text']}"
        cause = "The initializer has left limits or hooks by which none can be forked, or the system has none left."
    elif what == "memory":
        fact = (
            f"a fresh worker (pid {pid}) has {in_words(facts['used'])} of memory before its first task, more than "
            f"max_memory={facts['most']}"
        )
        cause = "It would be replaced after every task. What the program had at a fork, and shares, counts as well."
        advice = "Raise max_memory= and make a new pool"
    elif what == "start":
        fact = f"a worker could not be started: {facts['type']}: {facts['text']}"
        cause = "The initializer, its arguments or an option cannot be handed to a new process."
        if "interpreter shutdown" in facts["text"]:  # as CPython 3.12 calls it when the main thread has ended
            cause = "The program's main thread has ended, and from then on this Python starts no process by fork."
            advice = "Have the main thread wait for whatever uses the pool"
    else:
        fact = f"the initializer failed in worker {pid}: {facts['type']}: {facts['text']}".rstrip(": ")
        cause = "It raised or exited, or it could not be unpickled in the worker."
    made = errors.InitializerError(
        fact,
        cause=cause,
        remedy=f"This task {'may have run' if may_have_run else 'did not run'}. {advice}.",
        may_have_run=may_have_run,
        pid=pid,
        exitcode=facts.get("exitcode"),
        traceback_text=facts.get("traceback", ""),
    )
    _with_traceback(made)
    return made


def _cancelled(may_have_run: bool, item: int | None) -> errors.PoolsafeError:
    return TaskCancelled(
        f"the task{where(item)} was called off",
        cause="cancel() was called on its result.",
        remedy="It may have run, wholly or in part." if may_have_run else "It did not run.",
        may_have_run=may_have_run,
        item=item,
    )


_MAKERS: dict[int, Callable[[Any, int | None], BaseException]] = {
    messages.FAILED: _reported,
    LOST: lost_worker,
    TERMINATED: _terminated,
    UNCLEAN: _unclean,
    CANCELLED: _cancelled,
    BROKEN: broken,
    MADE: lambda error, item: error,
}
