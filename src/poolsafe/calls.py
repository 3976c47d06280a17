"""The methods by which tasks are submitted: those of `multiprocessing.Pool`, with a time limit for each task.

Used by: pool, which is built on it. What may go wrong: the pool is closed, broken or a forked child's; a chunk size or
time limit is wrong: an error of the call. All else is an error of the task's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .later import Later

if TYPE_CHECKING:
    from . import machinery
else:
    machinery = Later("machinery")

S = TypeVar("S")
T = TypeVar("T")


class Calls:
    """See the module."""

    _processes: int
    _callbacks: machinery.Callbacks
    _submitter: machinery.Submitter

    def _check_running(self) -> machinery.Supervisor:
        raise NotImplementedError

    def apply(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        *,
        timeout: float | None = None,
    ) -> T:
        """Runs `func(*args, **kwds)` in a worker and gives its value, or raises its exception."""
        return self.apply_async(func, args, kwds, timeout=timeout).get()

    def apply_async(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
    ) -> machinery.AsyncResult[T]:
        """Runs `func(*args, **kwds)` in a worker and returns at once.

        Args:
            func: A function that can be pickled.
            args, kwds: Its positional and keyword arguments.
            callback: Called in the parent with the value, before the result is ready.
            error_callback: Called in the parent with the exception, before the result is ready.
            timeout: Seconds that the task may take; None for what the pool says, infinity for no limit.

        Raises:
            ValueError: The pool is closed, or the timeout is no positive number.
        """
        limit = machinery.options.time_limit(timeout)
        supervisor = self._check_running()
        result: machinery.AsyncResult[T] = machinery.AsyncResult(
            self, supervisor, self._callbacks, callback, error_callback
        )
        result.stands_for([self._submitter.call(func, args, kwds, result.arrive, limit)])
        return result

    def map(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None = None,
        *,
        timeout: float | None = None,
    ) -> list[T]:
        """The list of `func(item)` for all items; raises the exception of the first item that failed.

        `timeout` is for each item, here and in the methods below.
        """
        return self.map_async(func, iterable, chunksize, timeout=timeout).get()

    def map_async(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
    ) -> machinery.MapResult[T]:
        """Like `map`, but returns at once."""
        return self._map_async(func, iterable, machinery.MAP, chunksize, callback, error_callback, timeout)

    def starmap(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        *,
        timeout: float | None = None,
    ) -> list[T]:
        """Like `map`, with each item unpacked as the arguments."""
        return self.starmap_async(func, iterable, chunksize, timeout=timeout).get()

    def starmap_async(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
    ) -> machinery.MapResult[T]:
        """Like `starmap`, but returns at once."""
        return self._map_async(func, iterable, machinery.STARMAP, chunksize, callback, error_callback, timeout)

    def _map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        mode: int,
        chunksize: int | None,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
        timeout: float | None,
    ) -> machinery.MapResult[Any]:
        limit = machinery.options.time_limit(timeout)
        supervisor = self._check_running()
        problem: Exception | None = None
        if hasattr(iterable, "__len__"):
            try:
                items = list(iterable)
            except Exception as error:  # the stdlib reads such an iterable later, and keeps its error in the result
                items, problem = [None], error
        else:
            items = list(iterable)
        size = machinery.options.chunk_size(chunksize, len(items), self._processes)
        result: machinery.MapResult[Any] = machinery.MapResult(
            len(items), self, supervisor, self._callbacks, callback, error_callback
        )
        result._chunksize = size
        if problem is not None:
            self._submitter.fail_all(1, problem, result.arrive_at)
        else:
            result.stands_for(self._submitter.chunks(mode, func, items, size, result.arrive_at, limit))
        return result

    def imap(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None = 1,
        *,
        timeout: float | None = None,
    ) -> machinery.IMapIterator[T]:
        """An iterator over `func(item)` for all items, in their order; the input is read in a thread of its own."""
        iterator: machinery.IMapIterator[T] = self._imap(machinery.IMapIterator, func, iterable, chunksize, timeout)
        return iterator

    def imap_unordered(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None = 1,
        *,
        timeout: float | None = None,
    ) -> machinery.IMapUnorderedIterator[T]:
        """Like `imap`, in the order in which the results come."""
        iterator: machinery.IMapUnorderedIterator[T] = self._imap(
            machinery.IMapUnorderedIterator, func, iterable, chunksize, timeout
        )
        return iterator

    def _imap(
        self,
        kind: Any,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        timeout: float | None,
    ) -> Any:
        limit = machinery.options.time_limit(timeout)
        supervisor = self._check_running()
        size = 1 if chunksize is None else machinery.options.check_chunk_size(chunksize)
        iterator = kind(self, supervisor)
        # Enough to keep every worker busy with messages sent ahead, and no more: the input may never end.
        ahead = 4 * self._processes * supervisor.engine.depth * size
        feeder = self._submitter.feeder(func, iterable, size, ahead, iterator, limit)
        try:
            feeder.open()
            threading.Thread(target=feeder.run, name="poolsafe-feeder", daemon=True).start()
        except BaseException:  # no thread can be started, or Ctrl-C: the pool must not wait for an input nobody reads
            feeder.abandon()
            raise
        return iterator
