"""What there is to tell of an exception, as plain data that loads anywhere.

Used by: child, for what cannot travel as itself, and for what a task changed. What may go wrong: printing an exception
runs the user's code, which may raise anything; then that is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

from . import messages
from .messages import dumps, frame, safe_repr, safe_str

#: Files whose frames, at the top of a traceback, tell a user nothing.
own_files: set[str] = set()


def call_text(func: Any, args: Any, kwds: Any) -> tuple[str, str]:
    """The name of a function, and the arguments of a call, shortened."""
    name = getattr(func, "__qualname__", None)
    parts = [safe_repr(arg, 60) for arg in args] + [f"{key}={safe_repr(value, 60)}" for key, value in kwds.items()]
    text = ", ".join(parts)
    return name if type(name) is str else safe_repr(func, 60), text if len(text) <= 120 else text[:117] + "..."


def with_changes(
    guard: Any, job: int, index: int, number: tuple[int, int], told: tuple[Any, Any, Any], answer: bytes
) -> bytes:
    """The answer of a task that was watched, after a frame with what it changed unless it left all as it was.

    Args:
        guard: Knows what changed, and whether such a task is to fail.
        job, index: Of the item.
        number: The task's.
        told: Function and arguments.
        answer: The frame with the outcome.
    """
    try:
        changes = guard.changes()
    except BaseException as error:  # what cannot be compared was changed
        changes = [("(what could not be compared)", "", safe_repr(error))]
    if not changes:
        return answer
    function, arguments = call_text(*told)
    note = frame(messages.LEAKED, job, index, dumps((number, function, arguments, changes)))
    if guard.refuses and messages.kind_of(answer) == messages.VALUE:
        facts = {"function": function, "arguments": arguments, "changes": changes}
        answer = frame(messages.FAILED, job, index, dumps(("leaked", facts)))
    return note + answer


def facts_of(error: BaseException) -> tuple[str, dict[str, Any]]:
    """What there is to tell of an exception, as plain data that loads anywhere."""
    facts: dict[str, Any] = {
        "type": type(error).__name__,
        "text": safe_str(error),
        "repr": safe_repr(error, 500),
        "traceback": _traceback_text(error),
    }
    if isinstance(error, SystemExit):
        facts["code"] = _exit_code(error)
    return "raised", facts


def _exit_code(error: SystemExit) -> int | str | None:
    try:
        code = error.code
    except BaseException as problem:  # a subclass may make it a property
        return f"<its code raised {type(problem).__name__}>"
    return code if type(code) in (int, str, type(None)) else safe_repr(code)


def _traceback_text(error: BaseException) -> str:
    tb: TracebackType | None = error.__traceback__
    while tb is not None and tb.tb_next is not None and tb.tb_frame.f_code.co_filename in own_files:
        tb = tb.tb_next
    try:
        import traceback  # here, because few tasks fail; which opens a file, and the task may have left no descriptor

        return "".join(traceback.format_exception(type(error), error, tb))
    except BaseException:  # formatting calls the exception's __str__, which is user code
        return "".join(_plain_lines(tb)) + f"{type(error).__name__}: {safe_str(error)}\n"


def _plain_lines(tb: TracebackType | None) -> Iterator[str]:
    """A traceback without the source's lines, for which no module and no file is needed."""
    if tb is not None:
        yield "Traceback (most recent call last):\n"
    while tb is not None:
        code = tb.tb_frame.f_code
        yield f'  File "{code.co_filename}", line {tb.tb_lineno}, in {code.co_name}\n'
        tb = tb.tb_next
