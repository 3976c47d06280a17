"""`make_queue`: the right queue for whoever is to get it, and why it is the right one.

=============================  ====================  ==================================================================
consumer                       queue                 because
=============================  ====================  ==================================================================
`IsolatedPool`                 `poolsafe.Queue`      it passes to tasks that exist already, and outlives workers
another pool of processes      `Manager().Queue`     its workers exist already, so a plain queue cannot be inherited
`Process`, a context           its own `Queue`       a process that is yet to be started inherits it: the fastest way
threads                        `queue.Queue`         they share memory; nothing needs to be pickled
=============================  ====================  ==================================================================

Used by: the user. What may go wrong: a consumer that is none of these (TypeError, which says what is).
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import weakref
from multiprocessing import context, managers, process
from typing import Any, Final, NamedTuple

from . import face

#: Module and name of classes, own or inherited, and what they are.
_POOLS: Final = {
    ("multiprocessing.pool", "Pool"), ("multiprocess.pool", "Pool"), ("billiard.pool", "Pool"),
    ("concurrent.futures.process", "ProcessPoolExecutor"), ("loky.process_executor", "ProcessPoolExecutor"),
    ("pebble.pool.process", "ProcessPool"), ("mpire.pool", "WorkerPool"),
}  # fmt: skip
_THREADS: Final = {
    ("multiprocessing.pool", "ThreadPool"), ("multiprocess.pool", "ThreadPool"), ("threading", "Thread"),
    ("concurrent.futures.thread", "ThreadPoolExecutor"), ("pebble.pool.thread", "ThreadPool"),
    ("multiprocessing.dummy", "DummyProcess"),
}  # fmt: skip
_KINDS: Final = ("queue", "joinable", "simple")


class QueueChoice(NamedTuple):
    """What `make_queue` makes for a consumer."""

    #: `"poolsafe"`, `"manager"`, `"inherited"` or `"threads"`.
    name: str
    #: Why, in one sentence.
    reason: str


_OURS: Final = QueueChoice(
    "poolsafe", "IsolatedPool: the queue passes to tasks, and outlives the workers and the pool."
)
_MANAGER: Final = QueueChoice(
    "manager", "A pool of processes: its workers exist already, so a plain queue cannot be inherited by them."
)
_INHERITED: Final = QueueChoice(
    "inherited", "A process that is yet to be started: it inherits a plain queue, which is the fastest."
)
_SHARED: Final = QueueChoice("threads", "Threads share the memory of their process: nothing needs to be pickled.")


def queue_choice(consumer: Any) -> QueueChoice:
    """What `make_queue` makes for a consumer, and why.

    Args:
        consumer: A pool, an executor, a process, a thread or a multiprocessing context; or the class of one.

    Raises:
        TypeError: It is none of these.
    """
    cls = consumer if isinstance(consumer, type) else type(consumer)
    names = [(base.__module__, base.__name__) for base in cls.__mro__]
    if ("poolsafe", "IsolatedPool") in names:
        return _OURS
    for name in names:  # the nearest first: a ThreadPool is a Pool, too
        if name in _THREADS:
            return _SHARED
        if name in _POOLS:
            return _MANAGER
    if consumer is threading or getattr(consumer, "__name__", None) == "multiprocessing.dummy":
        return _SHARED
    if issubclass(cls, (process.BaseProcess, context.BaseContext)) or consumer is multiprocessing:
        return _INHERITED
    raise TypeError(
        f"there is no queue to choose for {consumer!r:.200}\n"
        "A queue is chosen by who gets it, and this is no pool, executor, process, thread or multiprocessing context.\n"
        "Pass what the queue is for, as in make_queue(consumer=pool); or its class, as in consumer=ProcessPoolExecutor."
    )


def make_queue(maxsize: int = 0, *, consumer: Any, kind: str = "queue") -> Any:
    """Makes the right queue for whoever is to get it.

    Args:
        maxsize: How many items it holds; 0 for any number.
        consumer: A pool, an executor, a process, a thread or a multiprocessing context; or the class of one.
        kind: `"queue"`; `"joinable"`, with `task_done` and `join`; or `"simple"`, which takes no `maxsize`.

    Returns:
        An object with `put`, `get`, `put_nowait`, `get_nowait`, `qsize`, `empty` and `full` (a simple one: with what
        its kind has). `queue_choice` tells which, and why.

    Raises:
        TypeError: The consumer is none of these, or `maxsize` is no whole number.
        ValueError: There is no such kind; or a simple queue is to have a limit.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, _KINDS))}, not {kind!r}")
    face.check_maxsize(maxsize)
    if kind == "simple" and maxsize > 0:
        raise ValueError("a simple queue has no maxsize; leave it out, or ask for kind='queue'")
    choice = queue_choice(consumer)
    if choice is _OURS:
        ours = {"queue": face.Queue, "joinable": face.JoinableQueue, "simple": face.SimpleQueue}
        return ours[kind]._made(maxsize)
    if choice is _MANAGER:
        return _from_manager(maxsize, kind)
    if choice is _INHERITED:
        return _inherited(consumer, maxsize, kind)
    return queue.SimpleQueue() if kind == "simple" else queue.Queue(maxsize)


def _inherited(consumer: Any, maxsize: int, kind: str) -> Any:
    if isinstance(consumer, context.BaseContext):
        ctx = consumer
    else:
        ctx = multiprocessing.get_context(getattr(consumer, "_start_method", None))
    if kind == "simple":
        return ctx.SimpleQueue()
    return ctx.JoinableQueue(maxsize) if kind == "joinable" else ctx.Queue(maxsize)


_lock = threading.RLock()
_manager: managers.SyncManager | None = None
_in_use = 0


def _from_manager(maxsize: int, kind: str) -> Any:
    """A queue of the one manager that all of them share; it ends with the last of them."""
    global _manager, _in_use
    with _lock:
        if _manager is None:
            _manager = multiprocessing.Manager()
        manager = _manager
        _in_use += 1  # first: the collector may release the last other one at any moment
        try:
            made = manager.JoinableQueue(maxsize) if kind == "joinable" else manager.Queue(maxsize)
        except BaseException:  # it was killed, perhaps: the next call starts another one
            if manager is _manager:
                _manager, _in_use = None, 0
            raise
    weakref.finalize(made, _release, manager).atexit = False  # the manager has an exit function of its own
    return made


def _release(manager: managers.SyncManager) -> None:
    global _manager, _in_use
    with _lock:
        if manager is not _manager:
            return  # a forked child dropped what is its parent's
        _in_use -= 1
        if _in_use:
            return
        _manager = None
    manager.shutdown()


def _leave_to_parent() -> None:
    """In a forked child: the manager is the parent's to end."""
    global _manager, _in_use, _lock
    _manager, _in_use, _lock = None, 0, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)

QueueChoice.__module__ = "poolsafe"
make_queue.__module__ = queue_choice.__module__ = "poolsafe"
