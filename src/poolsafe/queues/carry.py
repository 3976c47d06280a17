"""Plain queues and locks in the arguments of a task: recognised while they are pickled, and carried.

A worker that exists already cannot inherit a `multiprocessing.Queue` or `Lock`, and a `queue.Queue` cannot leave its
process at all. So the object stays where it is, the task gets a stand-in (`guest`), and each call of that is done on
the object itself (`carried`, `primitives`), which its process goes on using.

The recognition costs nothing where there is nothing to recognise: the pickler finds the types in its table of reducers.
Types are looked for exactly; a subclass may promise what a stand-in cannot keep. Only what is submitted is carried: a
queue in a result, or in an item of another queue, is an error as ever.

Used by: submission. What may go wrong: a `Condition` or `Barrier` (TypeError, which says what to use instead); no
descriptors or threads are left (OSError, RuntimeError): all of them while the task is submitted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from ..engine import messages
from . import carried, guest, hub, primitives, travel

#: By module: what is carried of it, by what its originals are served, and what stands in for them.
_KINDS: dict[str, dict[str, tuple[type[carried.Carried], type[guest.Guest]]]] = {
    "queue": dict.fromkeys(
        ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"), (carried.ThreadQueue, guest.CarriedQueue)
    ),
    "multiprocessing.queues": {
        "Queue": (carried.PipeQueue, guest.CarriedQueue),
        "JoinableQueue": (carried.JoinablePipeQueue, guest.CarriedQueue),
        "SimpleQueue": (carried.SimplePipeQueue, guest.CarriedQueue),
    },
    "multiprocessing.synchronize": {
        "Lock": (primitives.Lock, guest.CarriedLock),
        "RLock": (primitives.Lock, guest.CarriedLock),
        "Semaphore": (primitives.Semaphore, guest.CarriedSemaphore),
        "BoundedSemaphore": (primitives.Semaphore, guest.CarriedSemaphore),
        "Event": (primitives.Event, guest.CarriedEvent),
    },
    "multiprocessing.sharedctypes": {
        "Synchronized": (primitives.Shared, guest.CarriedValue),
        "SynchronizedArray": (primitives.Shared, guest.CarriedArray),
        "SynchronizedString": (primitives.Shared, guest.CarriedString),
    },
}
#: Whose waiters must be known to each other, which those of a dead worker are not.
_REFUSED = {"multiprocessing.synchronize": ("Condition", "Barrier")}
#: Modules that may not be loaded yet; without them there are no such objects.
_unseen = set(_KINDS)


def packing() -> travel.Packing:
    """A context in which what this thread pickles is carried, and noted."""
    for name in [*_unseen]:
        if name in sys.modules:
            _learn(name)
    return travel.Packing()


def names(noted: list[Any]) -> list[str]:
    """The types of what was carried, of all that was noted."""
    originals = [held.store.original for held in noted if isinstance(held.store, carried.Carried)]
    return [f"{type(one).__module__.lstrip('_')}.{type(one).__qualname__}" for one in originals]


def _learn(module: str) -> None:
    kinds, refused = _KINDS[module], _REFUSED.get(module, ())
    there = getattr(sys.modules.get(module), "__dict__", {})
    if not all(name in there for name in (*kinds, *refused)):
        return  # another thread is importing it: nobody has such an object yet
    reducers: dict[type, Callable[[Any], Any]] = {there[name]: _Reducer(*classes) for name, classes in kinds.items()}
    reducers.update((there[name], _refuse) for name in refused)
    messages.add_reducers(reducers)
    _unseen.discard(module)


#: By the identity of the original, which lives as long as what is held.
_known: WeakValueDictionary[int, hub.Held] = WeakValueDictionary()


def _hold(original: Any, server: type[carried.Carried]) -> hub.Held:
    """Has an object of this process served, for as long as what is returned is held.

    Two threads that submit it for the first time at once may have it served twice, which does no harm.

    Raises:
        OSError, RuntimeError: No descriptors or threads are left.
    """
    held = _known.get(id(original))
    if held is None or not held.hub.serves():
        held = _known[id(original)] = hub.create(server(original))
    return held


class _Reducer:
    """How one kind is pickled."""

    def __init__(self, server: type[carried.Carried], stand_in: type[guest.Guest]) -> None:
        self._server = server
        self._stand_in = stand_in

    def __call__(self, original: Any) -> Any:
        if not travel.packing():
            return original.__reduce_ex__(messages.PROTOCOL)  # which says that it cannot be
        held = _hold(original, self._server)
        travel.note(held)
        return guest.arrive, (self._stand_in, held.hub.address, held.ident, self._stand_in.needs(original))


def _refuse(original: Any) -> Any:
    if not travel.packing():
        return original.__reduce_ex__(messages.PROTOCOL)
    kind = type(original).__name__
    raise TypeError(
        f"a multiprocessing.{kind} cannot be passed to a task\n"
        "A worker that exists already cannot inherit it, and one that is killed while it waits would make it useless.\n"
        f"Use multiprocessing.Manager().{kind}(), or pass it to the workers by initargs."
    )
