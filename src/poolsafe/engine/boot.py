"""A worker process from its start until it is ready to serve.

It undoes what it has inherited, puts back what it was forked with, runs the initializer, and captures what is pristine.

Used by: recipe (the target of the process), template. What may go wrong: the initializer fails, in whatever way, or the
worker is too large: the parent is told, and ends the pool.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from . import messages
from .child import CUT_OFF_CODE, Worker
from .ends import ParentGone
from .memory import resident
from .messages import dumps, frame
from .setup import Setup, harden, tell_where_it_crashes
from .telling import facts_of

#: What went wrong: of which kind, and what there is to tell.
Facts = tuple[str, dict[str, Any]]


def main(setup: Setup) -> None:
    """The target of a worker process."""
    run(setup, Worker.serve)


def run(setup: Setup, serve: Callable[[Worker], None], check: Callable[[], object] | None = None) -> None:
    """The life of any worker process: `serve` is what a kind of worker does, `check` as for `make`."""

    def life() -> None:
        worker = prepare(setup, check)
        if worker is not None:
            serve(worker)

    _live(setup, life)


def run_bare(setup: Setup, serve: Callable[[], None]) -> None:
    """The same for a process whose children become workers, each by itself: it puts back what it was forked with."""

    def life() -> None:
        try:
            put_back(setup)
        except BaseException as error:
            tell_failure(setup, facts_of(error))
        else:
            serve()

    _live(setup, life)


def _live(setup: Setup, life: Callable[[], None]) -> None:
    harden(setup)
    setup.page.tell_holder(os.getpid())  # Ctrl-C cannot end it any more, and it is known by that
    try:
        life()
    except ParentGone:
        os._exit(CUT_OFF_CODE)  # nobody is left to tell, and exit functions might wait for the parent


def put_back(setup: Setup) -> None:
    """Puts back what the process was forked with. The baseline stays: it holds what is not to be finalized here."""
    if setup.baseline is not None:
        setup.baseline.restore()


def prepare(setup: Setup, check: Callable[[], object] | None = None) -> Worker | None:
    """Makes the worker ready. Tells the parent so, if it is to serve itself; or about a failure, and returns None."""
    made = make(setup, check)
    if isinstance(made, Worker):
        if not setup.forks:
            setup.end.send(frame(messages.READY, 0, 0, b""))
            made.rehearse()
        return made
    tell_failure(setup, made)
    return None


def tell_failure(setup: Setup, failure: Facts) -> None:
    """Tells the parent that the worker cannot become ready."""
    setup.end.send(frame(messages.INIT_FAILED, 0, 0, dumps(failure)))


def tell_forkless(setup: Setup, error: Exception) -> None:
    """Tells the parent that no process can be forked for tasks."""
    tell_failure(setup, ("forkless", {**facts_of(error)[1], "passing": isinstance(error, OSError)}))


def make(setup: Setup, check: Callable[[], object] | None = None) -> Worker | Facts:
    """Runs the initializer and captures what is pristine. Returns what went wrong, if something did.

    Args:
        setup: What the worker was given.
        check: Called in the end; it may complain of what the initializer has left.
    """
    try:
        if not setup.each:  # else that was done before this process was forked
            put_back(setup)
        tell_where_it_crashes(setup.page.stack_file())  # not earlier: whether that is on is put back, too
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
        failure = _too_large(setup.max_memory)
    except BaseException as error:  # SystemExit too: an initializer that exits must not be tried for ever
        failure = facts_of(error)
    if failure is not None:
        return failure
    return Worker(setup.end, setup.page, guard, before, after, None if setup.forks else setup.max_memory)


def _too_large(most: int | None) -> Facts | None:
    """What to tell when a fresh worker has more memory than it may: it would be replaced after every task."""
    used = None if most is None else resident()
    return ("memory", {"used": used, "most": most}) if used is not None and most is not None and used > most else None
