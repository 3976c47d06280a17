"""What runs in a worker process: put the globals back, run the function, answer; again and again.

Used by: boot and template, which make a `Worker` ready. The order for every item is: restore, unpickle the
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
from contextlib import suppress
from time import perf_counter, sleep
from typing import Any, Protocol

from . import messages
from .ends import End, ParentGone
from .memory import resident
from .messages import Request, dumps, frame, loads, safe_str
from .outbox import Outbox, error_of, value_of
from .page import IDLE, Page
from .setup import tell_again_where_it_crashes, tell_nothing, tell_where_it_ends
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

    def rebase(self) -> None:
        """Takes the state of the process as it is now for what tasks are to find."""

    def renew(self) -> None:
        """In a forked process: makes different what must differ between processes."""

    def leftover(self) -> str | None:
        """After a task: what cannot be undone, for which the worker is to be replaced; else None."""


class _Unclean(Exception):
    """The globals could not be put back."""


class _Leaving(Exception):
    """A task left something that cannot be undone."""


class Worker:
    """The loop of a worker and what it needs for an item.

    Args:
        end: Of the channel.
        page: The shared one.
        guard: What is done around each task.
        before, after: The user's hooks.
        most: Bytes of memory beyond which the worker is to be replaced after a task.
    """

    def __init__(
        self,
        end: End,
        page: Page,
        guard: Guard,
        before: Callable[[], Any] | None,
        after: Callable[[], Any] | None,
        most: int | None = None,
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
        self._out = Outbox(end, page)
        self._most = most
        self._copy = self._serves = False
        self._others: tuple[int, ...] = ()
        self._maker_ends: Callable[[], bool] | None = None
        self._limited = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._mark_copy)

    def _mark_copy(self) -> None:
        # A task that forks and returns in both processes: the copy must neither answer nor take another task. Nor must
        # it keep open what tells by its end that this process is gone, or has become another program.
        self._copy = True
        tell_nothing()
        if self._serves:
            self._serves = False
            with suppress(OSError):  # a task that has closed everything may go on, and fork
                self._end.close()
            for fd in self._others:
                with suppress(OSError):
                    os.close(fd)

    def serve(self) -> None:
        """Takes requests until it is told to stop."""
        self._serves = True
        while self.serve_next():
            pass

    def begin_anew(self, maker_ends: Callable[[], bool], *others: int, renew: bool) -> None:
        """In a process that was forked to serve in the place of another.

        Args:
            maker_ends: Whether the process that forked it has ended or is about to; without that, it begins nothing.
            others: Descriptors by which that one knows that this one lives.
            renew: Have it draw other random numbers: it was forked after the initializer.
        """
        self._maker_ends = maker_ends
        self._others = others
        self._copy, self._serves = False, True
        tell_again_where_it_crashes()
        self._busy = self._page.times()[0]
        if renew:
            self._guard.renew()

    def take_for_pristine(self) -> None:
        """Has what was done to the process since the initializer not be taken for a task's doing."""
        self._guard.rebase()

    def rehearse(self) -> None:
        """Has an item's way gone once: a forked process is slow where it comes for the first time."""
        payload = messages.call_payload(safe_str, ("",), _NO_KWDS, (0, 0), False)
        load = self._loader(Request(messages.TASK, 0, 1, 0, payload))[0]
        func, args, kwds = load(0)
        value_of(0, 0, self._run(func, args, kwds))

    def serve_next(self) -> bool:
        """Takes one request, and says whether there may be another."""
        request, whole = self._end.receive()
        if self._maker_ends is not None and self._maker_ends():
            raise ParentGone  # its death will be ours in a moment, and what is not begun goes on elsewhere
        if request.kind == messages.STOP:
            return False
        self._take_up(request.job, request.start)
        begun = perf_counter()
        if not whole:
            self._out.retire(request.job, request.start, ("receive", {"text": "out of file descriptors or memory"}))
            return False
        try:
            self._serve_items(request)
        except _Unclean as unclean:
            self._out.retire(*unclean.args)
            return False
        except _Leaving as leaving:
            self._out.leave(*leaving.args)
            return False
        finally:
            self._busy += perf_counter() - begun
            self._page.tell_times(self._busy, self._guard.seconds)
        costs = self._guard.costs(self._busy)
        if costs is not None:
            self._out.send(frame(messages.COSTLY, 0, 0, dumps(costs)))
        return True

    def _serve_items(self, request: Request) -> None:
        load, single, stream, first = self._loader(request)
        for index in range(request.start, request.stop):
            if index > request.start:  # which was taken up when its message came
                self._end.check()  # else this item would be lost for what the one before has done
                self._take_up(request.job, index)
            answer = self._item(request.job, index, (stream, first + index), load)
            self._page.done()
            if single:
                self._out.send(answer)
            else:
                self._out.log(answer)
            del answer
            reason = self._leftover() or self._swollen()
            if reason is not None:
                self._page.mark(request.job, index + 1, IDLE)
                raise _Leaving(request.job if index + 1 < request.stop else 0, index + 1, reason)
        self._out.flush()
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
            self._page.rewind_stack()  # an item before may have been told to end, and have gone on
            tell_where_it_ends(self._page.stack_file())
        self._end_copy()
        self._page.run(job, index)
        try:
            if self._before is None and self._after is None:
                value = self._run(func, args, kwds)
            else:
                value = self._run(self._hooked, (func, args, kwds), _NO_KWDS)
        except Exception as error:
            answer = error_of(job, index, error)
        except BaseException as error:
            answer = frame(messages.FAILED, job, index, dumps(("exited", facts_of(error)[1])))
        else:
            del func, args, kwds
            answer = value_of(job, index, value)
        self._end_copy()
        queues = sys.modules.get("poolsafe.queues.link")
        if queues is not None:  # what the task put is in its queues before anybody has its answer
            queues.flush()
        return answer if told is None else with_changes(self._guard, job, index, number, told, answer)

    def _swollen(self) -> str | None:
        """Whether the worker is to be replaced for its memory."""
        if self._most is None:
            return None
        used = resident()
        return None if used is None or used <= self._most else "it had more memory than max_memory"

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


_NO_KWDS: dict[str, Any] = {}
