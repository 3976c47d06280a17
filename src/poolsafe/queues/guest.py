"""What a task sees of a plain queue, lock, event, value or array in its arguments: a stand-in with the same interface.

Each call is a message to the process that has the object, and is done there when it returns. Where an argument says how
long to wait, that is counted there. A stand-in can be passed on to processes and threads that the task starts, and
becomes the object again where it comes home. It is of use until the task is done.

Used by: tasks; carry, which has it pickled in the object's place. What may go wrong: what the object's own methods
raise; `QueueGone` when its process has ended, or the task it was passed to has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..engine.messages import dumps, loads
from ..errors import QueueGone
from . import hub, wire
from .face import check_timeout
from .link import Link, link_to


def _gone() -> QueueGone:
    return QueueGone(
        "the object that this stands for is gone",
        cause="The process that has it has ended, or the task whose argument it was has.",
        remedy="Pass it to each task that uses it; or use a queue made by the pool's Queue() and keep that.",
    )


class Guest:
    """Stands for an object of another process.

    Args:
        address: Where that listens.
        ident: The object's number there.
        needs: What `needs` gave.
    """

    def __init__(self, address: wire.Address, ident: int, needs: Any) -> None:
        self._address = address
        self._ident = ident
        self._needs = needs

    @staticmethod
    def needs(original: Any) -> Any:
        """What else of the original is to be carried."""
        return None

    def __reduce__(self) -> Any:
        return arrive, (type(self), self._address, self._ident, self._needs)

    def __repr__(self) -> str:
        return f"<poolsafe.{type(self).__name__} number {self._ident}, of another process>"

    def _link(self) -> Link:
        return link_to(self._address)

    def _call(self, method: str, *args: Any) -> Any:
        """Has a method called, and gives what it returns.

        Raises:
            QueueGone: There is no such object any more.
        """
        request = [dumps((method, args))]
        try:
            link = self._link()
            if method == "get":
                status, content = link.fetch(self._ident, request)
            else:
                status, content = link.ask(wire.CALL, self._ident, request)
        except QueueGone:
            raise _gone() from None
        if status == wire.GONE:
            raise _gone()
        if status == wire.RAISED:
            raise loads(content)
        return loads(content)


class CarriedQueue(Guest):
    """Stands for a queue of `multiprocessing` or `queue`."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Adds an item; see `queue.Queue.put`."""
        check_timeout(block, timeout)
        self._call("put", dumps(item), block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Takes the first item; see `queue.Queue.get`."""
        check_timeout(block, timeout)
        return self._call("get", block, timeout)

    def put_nowait(self, item: Any) -> None:
        """Adds an item; raises `queue.Full` when there is no room."""
        self.put(item, False)

    def get_nowait(self) -> Any:
        """Takes the first item; raises `queue.Empty` when there is none."""
        return self.get(False)

    def qsize(self) -> int:
        """How many items there are, nearly."""
        return int(self._call("qsize"))

    def empty(self) -> bool:
        """Whether there are none; anybody may change that at any moment."""
        return bool(self._call("empty"))

    def full(self) -> bool:
        """Whether a put would have to wait; anybody may change that at any moment."""
        return bool(self._call("full"))

    def task_done(self) -> None:
        """Says that an item that was taken has been dealt with."""
        self._call("task_done")

    def join(self) -> None:
        """Waits until every item that was put has been dealt with."""
        self._call("join")

    def close(self) -> None:
        """Does nothing: the queue belongs to another process."""

    def join_thread(self) -> None:
        """Does nothing: what was put is there already."""

    def cancel_join_thread(self) -> None:
        """Does nothing, as `join_thread`."""


class CarriedLock(Guest):
    """Stands for a `multiprocessing.Lock` or `RLock`; released when the worker dies that holds it."""

    def _link(self) -> Link:
        return link_to(self._address, self._ident)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes it, or returns False when it cannot be had in time."""
        done = bool(self._call("acquire", block, timeout))
        self._link().holds += done
        return done

    def release(self) -> None:
        """Gives it back."""
        self._call("release")
        self._link().holds -= 1

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class CarriedSemaphore(CarriedLock):
    """Stands for a `multiprocessing.Semaphore` or `BoundedSemaphore`."""

    def get_value(self) -> int:
        """How often it can be taken at once."""
        return int(self._call("get_value"))


class CarriedEvent(Guest):
    """Stands for a `multiprocessing.Event`."""

    def is_set(self) -> bool:
        """Whether it has happened."""
        return bool(self._call("is_set"))

    def set(self) -> None:
        """It has happened: whoever waits goes on."""
        self._call("set")

    def clear(self) -> None:
        """It has not."""
        self._call("clear")

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it has happened; returns whether it has."""
        return bool(self._call("wait", timeout))


def _is_plain(original: Any) -> bool:
    """Whether its items are numbers or characters, which ctypes gives as Python's own."""
    kind = original.get_obj()._type_
    return isinstance(kind, str) or isinstance(getattr(kind, "_type_", None), str)


class _Shared(Guest):
    """What values and arrays have."""

    @staticmethod
    def needs(original: Any) -> Any:
        if not _is_plain(original):
            raise TypeError(
                f"a multiprocessing.{type(original).__name__} of structures or arrays cannot be passed to a task\n"
                "What a task changed in one of them would be changed in a copy.\n"
                "Use an array of plain numbers; or pass it to the workers by initargs, which makes them inherit it."
            )
        return original.get_lock()

    def _link(self) -> Link:
        link: Link = self._needs._link()  # where the lock is held
        return link

    def get_lock(self) -> Any:
        """The lock that guards it."""
        return self._needs

    def get_obj(self) -> Any:
        """Is refused: there is no shared memory here.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "the ctypes object of a Value or Array is not in this process\n"
            "The worker was there before it was passed, so it cannot share its memory.\n"
            "Use its items or its value; or pass it to the workers by initargs, which makes them inherit it."
        )

    def acquire(self, *args: Any) -> Any:
        """Takes its lock."""
        return self._needs.acquire(*args)

    def release(self) -> None:
        """Gives its lock back."""
        self._needs.release()

    def __enter__(self) -> Any:
        return self._needs.__enter__()

    def __exit__(self, *args: object) -> None:
        self._needs.__exit__(*args)


class CarriedValue(_Shared):
    """Stands for a `multiprocessing.Value`."""

    @property
    def value(self) -> Any:
        """What it holds. To change it by what it was, hold its lock."""
        return self._call("read", "value")

    @value.setter
    def value(self, value: Any) -> None:
        self._call("write", "value", value)


class CarriedArray(_Shared):
    """Stands for a `multiprocessing.Array`."""

    def __len__(self) -> int:
        return int(self._call("len"))

    def __getitem__(self, at: Any) -> Any:
        return self._call("read_item", at)

    def __setitem__(self, at: Any, value: Any) -> None:
        self._call("write_item", at, value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self[:])


class CarriedString(CarriedArray, CarriedValue):
    """Stands for a `multiprocessing.Array` of characters."""

    @property
    def raw(self) -> bytes:
        """All its bytes."""
        return bytes(self._call("read", "raw"))

    @raw.setter
    def raw(self, value: bytes) -> None:
        self._call("write", "raw", value)


def arrive(cls: type[Guest], address: wire.Address, ident: int, needs: Any) -> Any:
    """Unpickles a stand-in, or gives the object itself where it lives."""
    held = hub.find(address, ident)
    return cls(address, ident, needs) if held is None else held.store.original
