"""The workers that are there, by lane, and what the poller watches of them.

Used by: supervisor (owner), mortuary. What may go wrong: a worker cannot be started; of a crew that is being made
nothing is left then, and the reason comes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import registry
from .channels import Channel
from .poller import EpollPoller, Poller, WaitPoller
from .recipe import Recipe, end_started
from .starting import join_soon
from .workers import Started, Worker


class Crew:
    """See the module. Its keys in the poller are (lane, channel), and (lane, number) for what tells a process's end.

    Args:
        recipe: How to make workers.
        announce: Called from other threads by channels that cannot be polled.
    """

    def __init__(self, recipe: Recipe, announce: Callable[[Channel], None]) -> None:
        self.workers: dict[int, Worker] = {}
        self.foreign: bool = False
        try:
            self.poller: Poller = WaitPoller() if recipe.transport == "pipe" else EpollPoller()
        except OSError:
            recipe.close()
            raise
        self._recipe = recipe
        self._announce = announce
        self._started: list[Started] = []

    def start_all(self, lanes: Iterable[int]) -> None:
        """Starts the first workers, and looks at none before all are started."""
        registry.add(self)  # before the first fork: each worker lets go of its elder siblings' descriptors
        try:
            for _ in lanes:
                self._started.append(self._recipe.start(self._announce))
            for lane, made in zip(lanes, self._started, strict=True):
                self._watch(lane, self._recipe.worker(made))
        except BaseException:
            self.undo()
            raise

    def settled(self) -> None:
        """The pool stands: `undo` is not needed any more."""
        self._started.clear()

    def undo(self) -> None:
        """Ends what a constructor that fails had started. Nothing here may hide the reason of the failure."""
        end_started(self._started)
        for worker in self.workers.values():
            worker.release()
        self.close()

    def refused(self) -> bool:
        """Whether what a worker is given does not pickle any more, so that none will ever start."""
        return self._recipe.refused()

    def check(self) -> None:
        """Raises OSError when the program itself has cut off the workers, by closing what ties them to it."""
        self._recipe.check()

    def start(self, lane: int) -> None:
        """Starts a worker; whatever hinders it comes through."""
        worker = self._recipe.worker(self._recipe.start(self._announce))
        try:
            self._watch(lane, worker)
        except BaseException:  # no memory for the poller: nobody would notice the worker's end
            self.workers.pop(lane, None)
            join_soon(worker.process, kill=True)
            worker.release()
            raise

    def _watch(self, lane: int, worker: Worker) -> None:
        self.workers[lane] = worker
        if worker.channel.fileno() >= 0:
            self.poller.register(worker.channel, (lane, worker.channel))
        for waitable in worker.waitables():
            self.poller.register(waitable, (lane, waitable))

    def remove(self, lane: int) -> Worker:
        """Takes a worker that is dead out of the crew; what is in its channel can still be read."""
        worker = self.workers.pop(lane)
        if worker.channel.fileno() >= 0:
            self.poller.unregister(worker.channel)
        for waitable in worker.waitables():
            self.poller.unregister(waitable)
        return worker

    def lane_of(self, channel: Channel) -> int | None:
        """Whose channel it is, or None when that worker has been removed."""
        return next((lane for lane, worker in self.workers.items() if worker.channel is channel), None)

    def times(self) -> list[tuple[float, float]]:
        """Of each worker: seconds at work, and of these in putting things back."""
        return [] if self.foreign else [worker.times() for worker in list(self.workers.values())]

    def signal_all(self, number: int) -> None:
        """Sends a signal to every worker."""
        for worker in self.workers.values():
            worker.send_signal(number)

    def close(self) -> None:
        """Nobody is left, and nobody will be started."""
        registry.discard(self)
        self._recipe.close()
        self.poller.close()

    def abandon(self) -> None:
        """In a forked child: lets go of what is the parent's."""
        self.foreign = True
        self._recipe.abandon()
        self.poller.close()
        for _, channel, _ in self._started:
            channel.abandon()
        for worker in list(self.workers.values()):
            worker.abandon()

    def channels(self, lanes: Iterable[int]) -> list[tuple[int, Any]]:
        """Lanes with their channels."""
        return [(lane, self.workers[lane].channel) for lane in lanes]
