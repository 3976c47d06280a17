"""What is done around each task in a worker, so that no task meets what another one left.

Used by: the child's loop, one guard for a worker. `begin` puts everything back and seeds, `run` calls the function in a
copy of the pristine context variables, and `leftover` tells what cannot be undone, for which the worker is to be
replaced before its next task.

What may go wrong: something cannot be put back (the exception of `begin`; the worker is replaced, the task goes to
another one).
"""

from __future__ import annotations

import contextvars
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from .seeds import Number, Seeder

if TYPE_CHECKING:
    from .baseline import Baseline
    from .import_watch import ImportWatch
    from .snapshot import Snapshot
    from .surroundings import Surroundings
    from .targets import Plan

#: Seconds for which a thread that is just ending is waited for.
_THREAD_GRACE = 0.02
#: So many tasks are measured one by one: two looks at the clock cost as much as putting one small global back.
_MEASURED = 32
#: So many seconds a worker must have spent in putting things back before anything is said about it.
_NOTICEABLE = 0.25


def _call_all(makers: Iterable[Callable[[], object]]) -> None:
    for make in makers:
        make()


def _call(func: Callable[..., Any], args: Any, kwds: Mapping[str, Any]) -> Any:
    return func(*args, **kwds)


def _made(plan: Plan | None, seed: int | None, watches: bool, refuses: bool, resets: bool, makes: bool) -> Guard:
    return Guard(plan, seed, watches=watches, refuses=refuses, resets=resets, makes=makes)


class Guard:
    """See the module.

    Args:
        plan: What to put back; None for nothing.
        seed: The pool's seed, or None.
        watches: Whether to tell what each task changed.
        refuses: Whether a task that changed anything is to fail.
        resets: Whether to put anything back between tasks; else a plan is for watching, and for the baseline.
        makes: Whether to call the plan's factories all the same: in a process that runs one task, what they make is all
            that differs from what the initializer left.

    Attributes:
        watches, refuses: As above.
        seconds: Spent in putting things back; after the first tasks an estimate from one in sixteen.
    """

    def __init__(
        self,
        plan: Plan | None,
        seed: int | None,
        *,
        watches: bool = False,
        refuses: bool = False,
        resets: bool = True,
        makes: bool = False,
    ) -> None:
        self._plan = plan
        self._seed = seed
        self._seeder = Seeder(seed)
        self.watches: bool = watches
        self.refuses: bool = refuses
        self._resets = resets and plan is not None
        self._makes = makes
        self._snapshot: Snapshot | None = None
        self._surroundings: Surroundings | None = None
        self._detector: Any = None
        self._watch: ImportWatch | None = None
        self._restore: Callable[[], None] | None = None
        self._told_costs = False
        self._tasks = 0
        self.seconds: float = 0.0
        self._pristine: contextvars.Context | None = None
        self._threads = 0
        self._children: frozenset[int] = frozenset()

    def __reduce__(self) -> Any:
        plan = self._plan
        if plan is not None and not (self._resets or self.watches) and plan.inert:
            plan = None  # it brings most of this package along, which an interpreter for each task has to load
        return _made, (plan, self._seed, self.watches, self.refuses, self._resets, self._makes)

    def baseline(self) -> Baseline | None:
        """In the parent, when the pool is made: what forked workers are to put back before their initializer."""
        self._seeder.survey()
        return None if self._plan is None else self._plan.baseline()

    def prepare(self) -> None:
        """Before the initializer."""
        self._seeder.start(self._plan.named() if self._plan is not None else ())

    def capture(self) -> None:
        """After the initializer: what there is now is pristine."""
        self._seeder.settle()
        self._threads = _threads()
        self._children = frozenset(_children())
        plan = self._plan
        if plan is None:
            return
        makers = plan.makers() if self._makes else ()
        if makers:
            self._restore = partial(_call_all, makers)
        if not (self._resets or self.watches):
            return
        if self._resets:
            self._pristine = contextvars.copy_context()
        self._snapshot = self._capture()
        presets = plan.presets()
        if presets:
            from .surroundings import Surroundings

            self._surroundings = Surroundings(presets)
        if self._resets and not plan.empty:
            self._restore = self._restore_all if presets else self._snapshot.restore
        if self.watches:
            from .leaks import Detector

            self._detector = Detector(self._snapshot, self._capture)

    def _capture(self) -> Snapshot:
        assert self._plan is not None
        if self._watch is not None:
            self._watch.remove()
        snapshot = self._plan.capture()
        self._watch = snapshot.watch_imports()
        return snapshot

    def _restore_all(self) -> None:
        assert self._snapshot is not None
        assert self._surroundings is not None
        self._surroundings.shield()
        self._snapshot.restore()
        self._surroundings.restore()

    def begin(self, stream: int, index: int) -> None:
        """Before the task of this number, and before its arguments are unpickled."""
        if self._restore is not None:
            self._tasks += 1
            if self._tasks > _MEASURED and self._tasks & 15:
                self._restore()
            else:
                # Of this thread alone: one pause on a busy machine would count sixteen times.
                start = time.thread_time()
                self._restore()
                self.seconds += (time.thread_time() - start) * (16 if self._tasks > _MEASURED else 1)
        if self._seed is not None:
            self._seeder.begin(Number(stream, index))
        elif self._resets:
            self._seeder.renew()

    def run(self, func: Callable[..., Any], args: Any, kwds: Mapping[str, Any]) -> Any:
        """Call the function of a task."""
        if self._pristine is None:
            return func(*args, **kwds)
        return self._pristine.copy().run(_call, func, args, kwds)

    def changes(self) -> list[tuple[str, str, str]]:
        """After a task that was watched: what it changed, as path, before and after."""
        from .leaks import as_changes

        found = list(self._detector.changes())
        if self._surroundings is not None:
            found += as_changes(self._surroundings.differences())
        if found and not self._resets:
            self._detector.rebase()
            self.rebase()
        return [(change.path, change.before, change.after) for change in found]

    def rebase(self) -> None:
        """Take the state of the process as it is now for the pristine one."""
        if self._surroundings is not None:
            self._surroundings.rebase()

    def costs(self, busy: float) -> tuple[float, list[tuple[str, float]]] | None:
        """Once, when putting things back takes a noticeable part of the time: that part, and the dearest globals.

        Args:
            busy: Seconds in which the worker was at work so far.
        """
        if self._told_costs or self.seconds < _NOTICEABLE or self.seconds < busy / 10 or self._snapshot is None:
            return None
        self._told_costs = True
        from .costs import dearest

        return min(self.seconds / busy, 1.0), dearest(self._snapshot.records, self.seconds)

    def renew(self) -> None:
        """In a process that was forked for one task: draw nothing that another one draws."""
        if self._seed is None:
            self._seeder.diverge()

    def leftover(self) -> str | None:
        """After a task: say what it left that cannot be taken back, or None."""
        if not self._resets:
            return None
        if _threads() > self._threads and self._has_threads():
            return "a thread was left running"
        first = _first_child()
        if first is not None:
            left = {first, *_children()} - self._children - {0}
            if any(map(_runs, left)):
                return "a child process was left running"
        return None

    def _has_threads(self) -> bool:
        # A thread that was joined may be counted a moment longer: it is past everything that Python does in it.
        deadline = time.monotonic() + _THREAD_GRACE
        while _threads() > self._threads:
            if time.monotonic() > deadline:
                return True
            time.sleep(0.0005)
        return False


def _threads() -> int:
    count: int = sys.modules["_thread"]._count()
    return count


def _first_child() -> int | None:
    """A child that is over and that nobody has waited for; 0 for one that runs; None when there is none."""
    if not hasattr(os, "waitid"):
        return None
    try:
        over = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return 0 if over is None else over.si_pid


def _runs(pid: int) -> bool:
    """Whether a child still runs; one that is over is reaped, and so undone."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def _children() -> list[int]:
    """The children of this process, but for helpers of multiprocessing that serve until its end."""
    helpers = set()
    for name, holder, attribute in (
        ("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
        ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
    ):
        helpers.add(getattr(getattr(sys.modules.get(name), holder, None), attribute, None))
    found: list[int] = []
    try:
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:  # no such file system, or a kernel without this file
        return []
    return [pid for pid in found if pid not in helpers]
