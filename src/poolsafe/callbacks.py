"""Running users' callbacks, in a thread of their own.

The order is the stdlib's: the callback first, then the result is ready. Callbacks run one after another, in the order
in which the results came. One that raises goes to `threading.excepthook` and ends nothing. One that does not return
delays no other for longer than about a second: then another thread takes over the queue.

Used by: results (post), supervisor (relieve, close), pool (join). What may go wrong: no thread can be started (the
interpreter is exiting): the callback then runs in the thread that posts it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from .engine.latch import Latch, Waiters

#: Seconds after which a callback that does not return loses the queue to a new thread.
PATIENCE = 1.0


class Callbacks:
    """One per pool."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._queue: deque[Callable[[], Any]] = deque()
        self._waiters = Waiters()
        self._runner: threading.Thread | None = None
        self._since: float | None = None
        self._closed = False
        self.done: Latch = Latch()

    @property
    def waiting(self) -> bool:
        """Whether a callback waits while another one runs."""
        return bool(self._queue) and self._since is not None

    def inside(self) -> bool:
        """Whether the calling thread is one of those that run callbacks."""
        return getattr(threading.current_thread(), "_poolsafe_callbacks", None) is self

    def post(self, call: Callable[[], Any]) -> None:
        """Runs `call` soon. Called by the supervisor's thread alone."""
        self._queue.append(call)
        if self.done.is_open:  # the pool is over, and this is the thread of a submission that came too late
            self._run_queue()
        elif self._runner is None:
            self._start_runner()
        else:
            self._waiters.wake_all()

    def relieve(self, patience: float = PATIENCE) -> None:
        """Lets another thread go on when one callback takes too long. Called by the supervisor now and then.

        Args:
            patience: Seconds after which a callback takes too long.
        """
        since = self._since
        if since is not None and self._queue and self._clock() - since > patience:
            self._start_runner()

    def close(self) -> None:
        """No more will be posted; `done` opens when the last one has run. Called by the supervisor."""
        self._closed = True
        if self._runner is None:
            self.done.open()
        else:
            self._waiters.wake_all()

    def join(self, timeout: float | None) -> None:
        """Waits for the end of the thread, which follows on `done`; not in that thread."""
        runner = self._runner
        if runner is not None and not self.inside():
            runner.join(timeout)

    def _start_runner(self) -> None:
        self._since = None
        thread = threading.Thread(target=self._run, name="poolsafe-callbacks", daemon=True)
        thread._poolsafe_callbacks = self  # type: ignore[attr-defined]
        self._runner = thread
        try:
            thread.start()
        except RuntimeError:  # at interpreter exit no thread can be started
            self._runner = None
            self._run_queue()

    def _run(self) -> None:
        me = threading.current_thread()
        while self._runner is me:
            try:
                call = self._queue.popleft()
            except IndexError:
                if self._closed:
                    self.done.open()  # first this, then a last look: who posts looks after appending
                    self._run_queue()
                    return
                lock = self._waiters.register()
                if not self._queue and not self._closed:
                    lock.acquire()
                continue
            self._since = self._clock()
            self._call(call)
            del call  # a thread that sleeps must not keep a result alive
            if self._runner is me:
                self._since = None

    def _run_queue(self) -> None:
        while self._queue:
            try:
                call = self._queue.popleft()
            except IndexError:
                return  # another thread took it
            self._call(call)

    @staticmethod
    def _call(call: Callable[[], Any]) -> None:
        try:
            call()
        except BaseException:
            args = threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
            try:
                threading.excepthook(args)
            except BaseException:  # a hook is user code too
                threading.__excepthook__(args)
