"""The pool that takes the place of `multiprocessing.Pool` in an audited program, and what it leaves behind for `audit`.

Used by: hook. For every pool there is one file in the audit's folder, named after the process: from the pool's making
on it says that there is a pool, and when the pool ends, or the process does, it tells what the pool saw.

What may go wrong: the process ends without running its exit functions (killed, `os._exit`): the file then stays
unfinished, and `audit` says so. The folder is gone, because the audit is over: nobody is left to tell.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
from collections.abc import Callable, Iterable
from multiprocessing import util
from typing import Any

from poolsafe.pool import IsolatedPool
from poolsafe.stats import Stats

#: Before pools end themselves at the end of their process, which they do at 15.
_EXIT_PRIORITY = 20

_settings: dict[str, Any] = {}
#: Subclasses of the stdlib's pool, and what is made instead.
_classes: dict[type, type] = {}
_numbers = itertools.count()
#: The pools of this process that have not told yet; those of a parent that forked us are under its own process id.
_open: dict[int, dict[int, Callable[[], None]]] = {}


class WatchingPool(IsolatedPool):
    """An `IsolatedPool` that is made like a `multiprocessing.Pool` and watches for leaks."""

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
    ) -> None:
        super().__init__(
            processes,
            initializer,
            initargs,
            maxtasksperchild,
            context,
            isolation=_settings["isolation"],
            keep=_settings["keep"],
            on_leak="watch",
        )
        self._tell = _announce(self)

    def terminate(self) -> None:
        """As usual, and tell."""
        super().terminate()
        self._tell()

    def join(self) -> None:
        """As usual, and tell."""
        super().join()
        self._tell()


def watching(base: type, cls: type, settings: dict[str, Any]) -> type:
    """Return the class to make instead of `cls`, which is `base` (`multiprocessing.pool.Pool`) or derived from it."""
    _settings.update(settings)
    if issubclass(cls, IsolatedPool):
        return cls
    return WatchingPool if cls is base else _combined(cls)


def _combined(cls: type) -> type:
    if cls not in _classes:
        names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        try:
            _classes[cls] = type(cls)(cls.__name__, (cls, WatchingPool), names)
        except TypeError:  # its bases or its metaclass do not allow it
            _classes[cls] = cls
    return _classes[cls]


def _announce(pool: IsolatedPool) -> Callable[[], None]:
    """Note that there is a pool; return what tells about it, and tells more when called again."""
    me, number = os.getpid(), next(_numbers)
    path = os.path.join(_settings["folder"], f"pool-{me}-{number}.json")
    tell = functools.partial(_write, path, figures_of(pool))
    if me not in _open:
        _open[me] = {}
        util.Finalize(None, _tell_all, args=(me,), exitpriority=_EXIT_PRIORITY)
    _open[me][number] = tell
    _save(path, None)

    def tell_once() -> None:
        if os.getpid() == me:
            tell()
            _open[me].pop(number, None)

    return tell_once


def _tell_all(me: int) -> None:
    for tell in list(_open.get(me, {}).values()):
        tell()


def figures_of(pool: IsolatedPool) -> Callable[[], tuple[Any, Stats]]:
    """Return what gives the leaks and the figures of a pool, without keeping the pool alive."""
    from poolsafe.stats import gather

    leaks, supervisor, listener, carried = pool.leaks, pool._own(), pool._listener, pool._submitter.carried
    return lambda: (leaks, gather(supervisor, listener.dearest, carried))


def _write(path: str, figures: Callable[[], tuple[Any, Stats]]) -> None:
    leaks, stats = figures()
    _save(
        path,
        {
            "leaks": leaks.as_data(),
            "dropped": leaks.dropped,
            "advice": leaks.advice(),  # here, where the modules are that it names
            "stats": {
                "tasks": stats.tasks,
                "lost": stats.lost,
                "retried": stats.retried,
                "retired": dict(stats.retired),
                "seconds_in_tasks": stats.seconds_in_tasks,
                "seconds_in_resets": stats.seconds_in_resets,
                "dearest": [list(pair) for pair in stats.dearest],
                "carried": dict(stats.carried),
            },
        },
    )


def _save(path: str, data: Any) -> None:
    with contextlib.suppress(OSError):  # whole or not at all
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(data, file)
        os.replace(f"{path}.new", path)
