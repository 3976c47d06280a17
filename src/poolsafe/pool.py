"""`IsolatedPool`: the interface of `multiprocessing.Pool` over a supervisor, and nothing else.

Used by: the user. It is a `multiprocessing.pool.Pool` to `isinstance` and to type checkers; no method of the base class
with behaviour of its own is ever run.

What may go wrong: an option is wrong or a worker cannot be started (the constructor raises, nothing is left behind);
the pool is closed (ValueError), broken (`InitializerError`), or a forked child's (`WrongProcess`): each method says so.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import get_context, util
from multiprocessing import pool as stdlib
from multiprocessing.pool import CLOSE, INIT, RUN, TERMINATE
from typing import TYPE_CHECKING, Any, TypeVar

from .calls import Calls
from .later import Later
from .queues.maker import QueueMaker

if TYPE_CHECKING:
    from . import machinery
else:
    machinery = Later("machinery")

S = TypeVar("S")
T = TypeVar("T")

#: Seconds for which the end of our own threads is waited for, in case a callback blocks one.
_THREAD_PATIENCE = 0.5


class IsolatedPool(QueueMaker, Calls, stdlib.Pool):
    """A pool of worker processes in which no task meets what another task left behind.

    Args:
        processes: Number of workers; the number of CPUs by default.
        initializer: Called in every worker at its start, with `initargs`. What it leaves is the pristine state.
        initargs: Arguments for the initializer.
        maxtasksperchild: Number of tasks (items, not chunks) after which a worker is replaced.
        context: A multiprocessing context; the default one if omitted.
        isolation: `"globals"`: what `reset` names is put back before every task. `"fork"`: every task has a fresh
            process, forked ahead from a worker in which the initializer has run; where `os.fork()` exists.
            `"process"`: the same by the start method, and the initializer runs in each. `None`: nothing is put back.
        reset: What to put back: `"auto"` (all globals of the project's own modules), a module or its name,
            `"mod:NAME"`, `"mod:Class.attr"`, a mapping `{target: factory}`, a `Resetter`, or an iterable of these.
        keep: Targets that are exempted.
        before_task: Called in the worker before every task, after the globals were put back.
        after_task: Called in the worker after every task, also when it raised.
        seed: From which every task's random numbers follow, with its number in the order of submission: `random`,
            NumPy's legacy generator, `poolsafe.rng()`. Without it, all workers are seeded by the operating system.
        timeout: Seconds that each task may take, unless its call says otherwise. Then its worker is ended, and it fails
            with `TaskTimeout`.
        retries: How often a task that is lost with its worker, or takes too long, is tried again, in another worker.
        on_leak: What to do about tasks that change what `reset` names: `"ignore"`, `"watch"` (list them in `leaks`),
            `"warn"` as well, or `"raise"`: such a task fails with `LeakError`.
        max_memory: Bytes of resident memory that a worker may have, shared memory included. One that has more after a
            task is replaced. A task that has more than twice as many has its worker ended, and fails with
            `TaskMemoryExceeded`. On Linux and macOS.
        daemon: False allows tasks to start processes, and pools, of their own. These end with the worker at the latest.

    Raises:
        ValueError, TypeError: An argument is wrong.
        TargetError: A target does not exist, or is no target.
        CaptureError: The value of a target can neither be captured nor rebuilt.
        OSError: A worker cannot be started.
    """

    _state: str = INIT
    _supervisor: machinery.Supervisor | None = None

    @staticmethod
    def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:
        """Makes an unstarted worker process; a hook for subclasses, as in the stdlib."""
        return ctx.Process(*args, **kwds)

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        *,
        isolation: str | None = "globals",
        reset: Any = "auto",
        keep: Any = (),
        before_task: Callable[[], object] | None = None,
        after_task: Callable[[], object] | None = None,
        seed: int | None = None,
        timeout: float | None = None,
        retries: int = 0,
        on_leak: str = "ignore",
        max_memory: int | None = None,
        daemon: bool = True,
    ) -> None:
        self._state = INIT  # the base's constructor is not run: it would start the stdlib's threads and queues
        self._ctx = context or get_context()
        options = machinery.options
        options.refuse_in_unguarded_main(self._ctx)
        self._processes = options.worker_count(processes)
        self._maxtasksperchild = options.task_budget(maxtasksperchild)
        options.check_callables(initializer=initializer, before_task=before_task, after_task=after_task)
        most = options.memory_limit(max_memory)
        terms = options.terms(timeout, retries, measured=most is not None)
        guard = options.guard(isolation, reset, keep, seed, on_leak, has_initializer=initializer is not None)
        # Where the pool's start method is fork, a process of one thread forks faster than this one, and puts back what
        # it was forked with once for all.
        forks = isolation == "fork" or (isolation == "process" and self._ctx.get_start_method() == "fork")
        recipe = machinery.Recipe(
            partial(self.Process, self._ctx),
            self._processes,
            initializer=initializer,
            initargs=initargs,
            options=(guard, before_task, after_task),
            baseline=guard.baseline() if self._ctx.get_start_method() == "fork" else None,
            transport=machinery.transport_for(os.environ.get("POOLSAFE_TRANSPORT")),
            pidfd=self._processes <= machinery.PIDFD_WORKERS,
            forks=forks,
            each=isolation == "process",
            max_memory=most,
            daemon=bool(daemon),
        )
        self._callbacks = machinery.Callbacks()
        fresh = isolation == "process" and not forks
        budget = 1 if fresh else self._maxtasksperchild
        supervisor = machinery.Supervisor(recipe, self._processes, budget, self._callbacks, spares=fresh)
        self.leaks: machinery.Leaks = machinery.Leaks()
        supervisor.listener = self._listener = machinery.Listener(self.leaks, warns=on_leak == "warn")
        try:
            with machinery.deferred_interrupt():  # Ctrl-C finds a whole pool or none
                supervisor.start()
                self._supervisor = supervisor
                # What comes with others would be sent again for each; and be counted as the memory of each.
                alone = isolation in options.FRESH or most is not None
                self._submitter = machinery.Submitter(supervisor.intake, supervisor.engine, terms, alone=alone)
                self._terminate = util.Finalize(self, supervisor.end, exitpriority=15)
                self._state = RUN
        except BaseException:
            if self._state == RUN:
                self.terminate()
            raise

    def stats(self) -> machinery.Stats:
        """What the pool has done so far, as figures."""
        return machinery.gather(self._own(), self._listener.dearest, self._submitter.carried)

    # -- the pool's life -----------------------------------------------------------------------------------------
    def _check_running(self) -> machinery.Supervisor:
        supervisor = self._supervisor
        if supervisor is None or self._state != RUN:
            raise ValueError("Pool not running")
        if supervisor.foreign:
            raise machinery.wrong_process("pool")
        kind, data = supervisor.engine.ending()
        if kind == machinery.BROKEN:
            raise machinery.failures.broken(data)
        return supervisor

    def close(self) -> None:
        """No more tasks may be submitted; what was submitted is finished."""
        if self._state == RUN:
            self._state = CLOSE
            self._own().intake.post(self._own().engine.close)

    def terminate(self) -> None:
        """Ends all workers now. Tasks that are not done end with `PoolTerminated`."""
        supervisor = self._own()
        self._state = TERMINATE
        self._terminate()
        supervisor.wait_for_end()
        supervisor.join(_THREAD_PATIENCE)
        self._callbacks.join(_THREAD_PATIENCE)

    def join(self) -> None:
        """Waits until all workers have ended and all callbacks have run; after `close` or `terminate`."""
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        supervisor = self._own()
        if supervisor.inside():
            return
        supervisor.finished.wait()
        if self._callbacks.inside():
            return
        if self._state == CLOSE:
            self._callbacks.done.wait()
        supervisor.join(_THREAD_PATIENCE)
        self._callbacks.join(_THREAD_PATIENCE)

    def _own(self) -> machinery.Supervisor:
        supervisor = self._supervisor
        if supervisor is None:
            raise ValueError("Pool not running")
        if supervisor.foreign:
            raise machinery.wrong_process("pool")
        return supervisor

    def __enter__(self) -> IsolatedPool:
        self._check_running()
        return self

    def __exit__(self, *_: object) -> None:
        if self._supervisor is None or not self._supervisor.foreign:  # a forked child just leaves the block
            self.terminate()

    def __del__(self, _warn: Any = warnings.warn, RUN: str = RUN) -> None:
        supervisor = self._supervisor
        if self._state == RUN and supervisor is not None and not supervisor.foreign:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        cls = type(self)
        return f"<{cls.__module__}.{cls.__qualname__} state={self._state} pool_size={self._processes}>"

    # -- what existing code reads ---------------------------------------------------------------------------------
    @property
    def _pool(self) -> list[Any]:
        """The processes of the workers that are there now."""
        supervisor = self._supervisor
        return [] if supervisor is None else [worker.process for worker in list(supervisor.crew.workers.values())]

    @property
    def _cache(self) -> dict[int, Any]:
        """What is not settled yet, by number."""
        supervisor = self._supervisor
        if supervisor is None:
            return {}
        machinery.wait_for_turn(supervisor)
        return supervisor.engine.jobs

    def _repopulate_pool(self) -> None:
        """Returns when the pool has all its workers again (or cannot have them: after some seconds)."""
        supervisor = self._check_running()
        deadline = time.monotonic() + machinery.END_PATIENCE
        while not supervisor.finished.is_open and time.monotonic() < deadline:
            machinery.wait_for_turn(supervisor)
            if sum(1 for worker in self._pool if worker.is_alive()) >= self._processes:
                return


IsolatedPool.__module__ = "poolsafe"
