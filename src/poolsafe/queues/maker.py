"""The methods by which a pool makes queues.

Used by: pool. A worker that imports the main module imports this as well, and no queue before it needs one. What may go
wrong: see the methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..later import Later

if TYPE_CHECKING:
    from . import face
else:
    face = Later("queues.face")


class QueueMaker:
    """Makes queues that can be passed to tasks. They outlive the pool, and can be passed to tasks of other pools."""

    def Queue(self, maxsize: int = 0) -> face.Queue[Any]:
        """A queue with the interface of `Manager().Queue`.

        Args:
            maxsize: How many items it holds; 0 for any number.

        Raises:
            TypeError: `maxsize` is no whole number.
            OSError: The process is out of descriptors.
        """
        queue: face.Queue[Any] = face.Queue._made(maxsize)
        return queue

    def JoinableQueue(self, maxsize: int = 0) -> face.JoinableQueue[Any]:
        """The same as `Queue`, by the name of `multiprocessing.JoinableQueue`."""
        queue: face.JoinableQueue[Any] = face.JoinableQueue._made(maxsize)
        return queue

    def SimpleQueue(self) -> face.SimpleQueue[Any]:
        """A queue without a limit, `task_done` and `join`.

        Raises:
            OSError: The process is out of descriptors.
        """
        queue: face.SimpleQueue[Any] = face.SimpleQueue._made()
        return queue
