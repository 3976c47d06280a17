"""What runs in a worker process: put the globals back, run the function, answer; again and again.

Called by the process that `engine.workers` starts, with a `Setup`. The order for every item is: restore, unpickle the
arguments, `before_task`, the function, `after_task` (also when the function raised), pickle the result, answer.

Everything a user wrote runs guarded, here and nowhere else in the worker: loading, hooks, the function, pickling its
result, printing its exception. What cannot travel as itself travels as text (`FAILED` frames), and the parent words the
error. What may go wrong beyond that ends the process, and the parent tells from the exit, the shared page and the
channel what was lost.

The module is imported by every worker: it and what it imports are an allow-list, held by a test.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from time import perf_counter, sleep
from typing import Any, Protocol

from . import messages
from .ends import End, ParentGone
from .messages import Request, dumps, frame, loads, safe_repr, safe_str
from .page import IDLE, LOG_SIZE, Page
from .setup import Setup, harden, tell_nothing, tell_where_it_ends
from .telling import facts_of, own_files, with_changes

#: Exit code of a worker that cannot reach its parent, because a task closed its channel or because the parent is gone.
CUT_OFF_CODE = 112

#: Seconds between two looks of a worker that waits for its end.
_LOOK = 0.001

Load = Callable[[int], "tuple[Callable[..., Any], Any, Any]"]


class Guard(Protocol):
    """What is done around each task, so that it does not meet what another one left (`isolation.guard`)."""

    seconds: float  # spent in putting things back

    def prepare(self) -> None:
        """Before the initializer."""

    def capture(self) -> None:
        """After it."""

    def begin(self, stream: int, index: int) -> None:
        """Before the task of this number; raises when something cannot be put back."""

    def run(self, func: Callable[..., Any], args: Any, kwds: Any) -> Any:
        """Calls the function."""

    watches: bool  # whether `changes` is to be asked for after every task
    refuses: bool  # whether a task that changed anything is to fail

    def changes(self) -> list[tuple[str, str, str]]:
        """What the task changed that it should have left alone: path, before, after."""

    def costs(self, busy: float) -> Any:
        """What putting things back costs, once, when it is worth a warning; else None."""

    def renew(self) -> None:
        """In a forked process: makes different what must differ between processes."""

    def leftover(self) -> str | None:
        """After a task: what cannot be undone, for which the worker is to be replaced; else None."""


def main(setup: Setup) -> None:
    """The target of a worker process."""
    run(setup, Worker.serve)


def run(setup: Setup, serve: Callable[[Worker], None], check: Callable[[], object] | None = None) -> None:
    """The life of any worker process: `serve` is what a kind of worker does, `check` as for `prepare`."""
    harden(setup)
    try:
        worker = prepare(setup, check)
        if worker is not None:
            serve(worker)
    except ParentGone:
        os._exit(CUT_OFF_CODE)  # nobody is left to tell, and exit functions might wait for the parent


def prepare(setup: Setup, check: Callable[[], object] | None = None) -> Worker | None:
    """Runs the initializer and captures what is pristine. Tells the parent about a failure and returns None.

    Args:
        setup: What the worker was given.
        check: Called in the end; it may complain of what the initializer has left.
    """
    try:
        if setup.baseline is not None:
            setup.baseline.restore()
        guard, before, after = setup.options.open()
        guard.prepare()
        initializer, initargs = setup.initializer.open()
        me = os.getpid()
        if initializer is not None:
            initializer(*initargs)
        if os.getpid() != me:
            os._exit(0)  # it forked and returned in both: the copy must not serve on the same channel
        guard.capture()
        if check is not None:
            check()
    except BaseException as error:  # SystemExit too: an initializer that exits must not be tried for ever
        setup.end.send(frame(messages.INIT_FAILED, 0, 0, dumps(facts_of(error))))
        return None
    setup.end.send(frame(messages.READY, 0, 0, b""))
    return Worker(setup.end, setup.page, guard, before, after)


class _Unclean(Exception):
    """The globals could not be put back."""


class _Leaving(Exception):
    """A task left something that cannot be undone."""


class Worker:
    """The loop of a worker and what it needs for an item."""

    def __init__(
        self, end: End, page: Page, guard: Guard, before: Callable[[], Any] | None, after: Callable[[], Any] | None
    ) -> None:
        self._end = end
        self._page = page
        self._guard = guard
        self._busy = 0.0
        self._begin = guard.begin
        self._run = guard.run
        self._leftover = guard.leftover
        own_files.update((__file__, guard.run.__code__.co_filename))
        self._before = before
        self._after = after
        self._logged = 0
        self._copy = False
        self._limited = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._mark_copy)

    def _mark_copy(self) -> None:
        # A task that forks and returns in both processes: the copy must neither answer nor take another task.
        self._copy = True
        if self._limited:
            tell_nothing()

    def serve(self) -> None:
        """Takes requests until it is told to stop."""
        while self.serve_next():
            pass

    def begin_anew(self) -> None:
        """In a process that was forked to serve in the place of this one."""
        self._copy = False
        self._busy = self._page.times()[0]
        self._guard.renew()

    def rehearse(self) -> None:
        """Has an item's way gone once: a forked process is slow where it comes for the first time."""
        payload = messages.call_payload(safe_str, ("",), _NO_KWDS, (0, 0), False)
        load = self._loader(Request(messages.TASK, 0, 1, 0, payload))[0]
        func, args, kwds = load(0)
        self._value(0, 0, self._run(func, args, kwds))

    def serve_next(self) -> bool:
        """Takes one request, and says whether there may be another."""
        request, whole = self._end.receive()
        if request.kind == messages.STOP:
            return False
        self._take_up(request.job, request.start)
        begun = perf_counter()
        if not whole:
            self._retire(request.job, request.start, ("receive", {"text": "out of file descriptors or memory"}))
            return False
        try:
            self._serve_items(request)
        except _Unclean as unclean:
            job, index, facts = unclean.args
            self._retire(job, index, facts)
            return False
        except _Leaving as leaving:
            job, index, reason = leaving.args
            self._flush()
            self._end.send(frame(messages.LEAVING, job, index, dumps(reason)))
            return False
        finally:
            self._busy += perf_counter() - begun
            self._page.tell_times(self._busy, self._guard.seconds)
        costs = self._guard.costs(self._busy)
        if costs is not None:
            self._end.send(frame(messages.COSTLY, 0, 0, dumps(costs)))
        return True

    def _serve_items(self, request: Request) -> None:
        load, single, stream, first = self._loader(request)
        for index in range(request.start, request.stop):
            if index > request.start:  # which was taken up when its message came
                self._take_up(request.job, index)
            answer = self._item(request.job, index, (stream, first + index), load)
            self._page.done()
            if single:
                self._end.send(answer)
            else:
                self._log(answer)
            del answer
            reason = self._leftover()
            if reason is not None:
                self._page.mark(request.job, index + 1, IDLE)
                raise _Leaving(request.job if index + 1 < request.stop else 0, index + 1, reason)
        self._flush()
        self._page.mark(request.job, request.stop, IDLE)

    # -- one item ------------------------------------------------------------------------------------------------
    def _item(self, job: int, index: int, number: tuple[int, int], load: Load) -> bytes:
        try:
            self._begin(*number)
        except BaseException as error:
            raise _Unclean(job, index, ("reset", facts_of(error)[1])) from None
        try:
            func, args, kwds = load(index)
        except BaseException as error:
            return frame(messages.FAILED, job, index, dumps(("unpickle-task", facts_of(error)[1])))
        told = (func, args, kwds) if self._guard.watches else None
        if self._limited:
            tell_where_it_ends(self._page.stack_file())
        self._end_copy()
        self._page.run(job, index)
        try:
            if self._before is None and self._after is None:
                value = self._run(func, args, kwds)
            else:
                value = self._run(self._hooked, (func, args, kwds), _NO_KWDS)
        except Exception as error:
            answer = self._error(job, index, error)
        except BaseException as error:
            answer = frame(messages.FAILED, job, index, dumps(("exited", facts_of(error)[1])))
        else:
            del func, args, kwds
            answer = self._value(job, index, value)
        self._end_copy()
        queues = sys.modules.get("poolsafe.queues.link")
        if queues is not None:  # what the task put is in its queues before anybody has its answer
            queues.flush()
        return answer if told is None else with_changes(self._guard, job, index, number, told, answer)

    def _take_up(self, job: int, index: int) -> None:
        """An item comes to hand, unless the parent is about to end this worker for the one before.

        Then the item is not begun, and goes to another worker; or the parent sees that the one before is done.
        """
        self._page.take_up(job, index)
        if self._page.is_doomed():
            self._page.mark(job, index, IDLE)
            while self._page.is_doomed():
                sleep(_LOOK)
            self._page.take_up(job, index)

    def _end_copy(self) -> None:
        """A fork of this process that came back from the user's code: the page, too, is not its to write."""
        if self._copy:
            os._exit(0)

    def _hooked(self, func: Callable[..., Any], args: Any, kwds: Any) -> Any:
        if self._before is not None:
            self._before()
        try:
            value = func(*args, **kwds)
        except BaseException:
            try:
                if self._after is not None:
                    self._after()
            except BaseException as error:  # the task's own error is the one to report; this one goes to stderr
                sys.excepthook(type(error), error, error.__traceback__)
            raise
        if self._after is not None:
            self._after()
        return value

    @staticmethod
    def _value(job: int, index: int, value: Any) -> bytes:
        try:
            return frame(messages.VALUE, job, index, dumps(value))
        except BaseException as error:  # __reduce__ is user code; RecursionError and MemoryError are the task's too
            facts = facts_of(error)[1]
            facts["value"] = safe_repr(value)
            return frame(messages.FAILED, job, index, dumps(("pickle-result", facts)))

    @staticmethod
    def _error(job: int, index: int, error: Exception) -> bytes:
        facts = facts_of(error)[1]
        try:
            blob = dumps(error)
            if not isinstance(loads(blob), BaseException):  # tried here, because the parent could only fail later
                raise TypeError("the exception unpickles to something that is no exception")
        except BaseException as problem:
            facts["problem"] = f"{type(problem).__name__}: {safe_str(problem)}"
            return frame(messages.FAILED, job, index, dumps(("pickle-exception", facts)))
        return frame(messages.ERROR, job, index, dumps((blob, facts["traceback"])))

    # -- chunks --------------------------------------------------------------------------------------------------
    def _loader(self, request: Request) -> tuple[Load, bool, int, int]:
        """How to get function and arguments of an item, whether the request is a single call, and its number."""
        single, self._limited, stream, first, pickle = messages.open_payload(request.payload)
        if single:
            return (lambda index: loads(pickle)), True, stream, first
        mode, func_blob, shared, pickled, items = loads(pickle)
        star = mode == messages.STARMAP
        known: list[Any] = []

        def load(index: int) -> tuple[Callable[..., Any], Any, Any]:
            if known:
                func = known[0]
            else:
                func = loads(func_blob)
                if shared:
                    known.append(func)
            item = loads(items[index]) if pickled else items[index]
            return func, item if star else (item,), _NO_KWDS

        return load, False, stream, first

    def _log(self, answer: bytes) -> None:
        """Keeps an answer in the shared page, to be sent with others, or found there should the worker die."""
        size = len(answer)
        if self._logged + size > LOG_SIZE:
            self._flush()
            if size > LOG_SIZE:
                self._end.send(answer)
                return
        self._page.write(self._logged, answer)
        self._logged += size
        self._page.commit(self._logged)

    def _flush(self) -> None:
        """Sends what is logged. Sent first, forgotten after: a frame that arrives twice is known by its index."""
        if self._logged:
            self._end.send(self._page.log())
            self._logged = 0
            self._page.commit(0)

    def _retire(self, job: int, index: int, what: tuple[str, dict[str, Any]]) -> None:
        self._flush()
        self._end.send(frame(messages.RETIRE, job, index, dumps(what)))


_NO_KWDS: dict[str, Any] = {}
