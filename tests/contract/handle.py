"""One worker in the hands of a test: what the supervisor does with it, step by step and with deadlines.

Used by: the contract tests. What may go wrong: something does not happen in time; then the wait fails with its name.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from typing import Any

from poolsafe.engine import messages
from poolsafe.engine.messages import Frame
from poolsafe.engine.page import Begun
from poolsafe.engine.recipe import Recipe
from poolsafe.engine.workers import ForkingWorker, PersistentWorker
from poolsafe.isolation.guard import Guard
from tests.support.gates import DEADLINE, GateTimeout, process_is_gone, process_state, wait_for


class Handle:
    """A worker that was started.

    Args:
        worker: The worker under test.
        news: What its channel announces; stays empty for a channel that is polled.
    """

    def __init__(self, worker: PersistentWorker, news: queue.SimpleQueue[Any]) -> None:
        self.worker = worker
        self.channel = worker.channel
        self._news = news

    @property
    def pid(self) -> int:
        assert self.worker.pid is not None
        return self.worker.pid

    def is_meant(self, pids: tuple[int, int]) -> bool:
        """Whether a process, by its id and its parent's, is the one that runs this worker's tasks."""
        pid, parent = pids
        return parent == self.pid != pid if isinstance(self.worker, ForkingWorker) else pid == self.pid

    # -- sending -------------------------------------------------------------------------------------------------
    def call(self, job: int, func: Callable[..., Any], *args: Any) -> bool:
        return self.channel.try_send(job, 0, 1, messages.call_payload(func, args, {}))

    def chunk(self, job: int, func: Callable[..., Any], items: list[Any], start: int = 0) -> bool:
        payload = messages.chunk_payload(messages.MAP, messages.dumps(func), True, items, None)
        return self.channel.try_send(job, start, len(items), payload)

    # -- hearing -------------------------------------------------------------------------------------------------
    def hear(self, count: int) -> list[Frame]:
        """The next `count` frames or more."""
        frames: list[Frame] = []
        end = time.monotonic() + DEADLINE
        while len(frames) < count:
            self._wait_for_news(end)
            more, alive = self.channel.receive()
            frames += more
            assert alive or len(frames) >= count, f"the channel ended after {frames}"
        return frames

    def values(self, count: int) -> dict[tuple[int, int], Any]:
        """The next `count` answers, which must be values, by job and index."""
        frames = self.hear(count)
        assert {kind for kind, *_ in frames} == {messages.VALUE}
        return {(job, index): messages.loads(data) for _, job, index, data in frames}

    def hear_the_end(self) -> None:
        """Waits until the channel says that nothing more can come."""
        end = time.monotonic() + DEADLINE
        alive = True
        while alive:
            self._wait_for_news(end)
            alive = self.channel.receive()[1]

    def _wait_for_news(self, end: float) -> None:
        left = max(end - time.monotonic(), 0)
        if self.channel.fileno() >= 0:
            if not select.select([self.channel], [], [], left)[0]:
                raise GateTimeout("no frame came")
        else:
            try:
                self._news.get(timeout=left)
            except queue.Empty:
                raise GateTimeout("no frame was announced") from None

    # -- ending --------------------------------------------------------------------------------------------------
    def die(self, number: int = signal.SIGKILL) -> tuple[list[Frame], frozenset[int], Begun]:
        """Kills it; its last words."""
        self.worker.send_signal(number)
        self.ended()
        return self.worker.last_words()

    def ended(self) -> int:
        """Waits for its end; the exit code."""
        assert wait(self.worker.waitables(), DEADLINE), "nothing told of the worker's end"
        wait_for(lambda: self.worker.exitcode is not None, what="the exit code")
        assert process_is_gone(self.pid)
        code = self.worker.exitcode
        assert code is not None
        return code

    def wait_until_stopped(self) -> None:
        """Stops it by SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_for(lambda: process_state(self.pid) == "T", what="the process to stop")

    def wait_until_asleep(self) -> None:
        """Waits until it is blocked in a system call."""
        wait_for(lambda: process_state(self.pid) == "S", what="the process to block")


class Maker:
    """A recipe and the workers made by it.

    Args:
        ctx: The multiprocessing context.
        transport: The recipe's.
        processes: How many workers there may be.
        initializer, initargs, make_process, forks: The recipe's.
    """

    def __init__(
        self,
        ctx: BaseContext,
        transport: str,
        *,
        processes: int = 2,
        initializer: Callable[..., Any] | None = None,
        initargs: Any = (),
        make_process: Callable[..., Any] | None = None,
        forks: bool = False,
    ) -> None:
        self.recipe = Recipe(
            make_process or ctx.Process,  # type: ignore[attr-defined]
            processes,
            initializer=initializer,
            initargs=initargs,
            options=(Guard(None, None), None, None),
            baseline=None,
            transport=transport,
            pidfd=True,
            forks=forks,
        )
        self.handles: list[Handle] = []

    def start(self) -> Handle:
        """A worker that may not be ready yet."""
        news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        handle = Handle(self.recipe.worker(self.recipe.start(news.put)), news)
        self.handles.append(handle)
        return handle

    def ready(self) -> Handle:
        """A worker that is ready."""
        handle = self.start()
        assert [kind for kind, *_ in handle.hear(1)] == [messages.READY]
        return handle

    def release(self, handle: Handle) -> None:
        """Lets go of a worker, dead or alive."""
        self.handles.remove(handle)
        handle.worker.send_signal(signal.SIGKILL)
        handle.ended()
        handle.worker.release()

    def close(self) -> None:
        for handle in list(self.handles):
            self.release(handle)
        self.recipe.close()
