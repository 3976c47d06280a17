"""What travels between the parent and its workers, as bytes; and how Python objects become such bytes.

Used by: pool and results (pickling in the thread that submits, unpickling in the thread that consumes), the supervisor
(frames in and out), the child (the other side). Part of what every worker imports, so it stays light.

Parent to worker, one datagram each::

    REQUEST header | payload            TASK: items start..stop of a job; for where the payload is, see the constants
    REQUEST header                      STOP: end in an orderly way

Worker to parent, a stream of frames::

    FRAME header | payload              READY, VALUE, ERROR, FAILED, INIT_FAILED, RETIRE, WANTED, LEAVING, LEAKED,
                                        COSTLY

What may go wrong: pickling runs user code and raises anything; callers guard it. Nothing here unpickles what the user
sent except `loads` and `Sealed.open`, which are called only where an exception is expected. The envelope around user
data holds plain bytes, ints and strings, so that it always loads.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import struct
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from types import BuiltinFunctionType, FunctionType
from typing import Any, NamedTuple

PROTOCOL = pickle.HIGHEST_PROTOCOL

#: kind, where the payload is, start, stop, job id, payload length
REQUEST = struct.Struct("<BBIIQQ")
TASK, STOP = 1, 2
INLINE = 0  # it follows in the same datagram
ATTACHED = 1  # it is in an attached memory file
WITHHELD = 2  # it comes over the stream when the worker asks for it

#: payload length, kind, job id, item index
FRAME = struct.Struct("<QBQI")
READY = 0  # the initializer has run
VALUE = 1  # the item's pickled result
ERROR = 2  # the item raised: pickled (exception's own pickle, traceback text)
FAILED = 3  # the item failed in a way that only the parent can word: pickled (what, facts)
INIT_FAILED = 4  # pickled (what, facts)
RETIRE = 5  # the worker cannot go on; the item named was not begun: pickled (what, facts)
WANTED = 6  # the payload that was withheld may come now
LEAVING = 7  # something cannot be undone, so the worker ends, before the item named: pickled reason
LEAKED = 8  # what the item changed that it should have left alone; its answer follows: pickled (number, call, changes)
COSTLY = 9  # putting things back takes long: pickled (share of the time, the dearest targets with their seconds)
DIED = 10  # the process that ran the item has ended, and the worker goes on: pickled facts (`engine.template`)
SPARED = 11  # nothing was at hand any more that could have been ended

#: Payloads above this many bytes go by memory file: a datagram must fit the socket's buffer several times over.
INLINE_MAX = 32 * 1024

#: Types whose values cannot be changed and carry nothing: a whole chunk of them is pickled in one go, because items
#: that cannot be mutated cannot be shared between the tasks of the chunk in any way that shows.
ATOMIC = frozenset({int, float, complex, bool, str, bytes, type(None)})
#: Those that may be long; and so many bytes are worth not being copied.
_LONG, _LARGE = (bytes, str), 1 << 16

#: A task's number: its stream, and its index there (`isolation.seeds.Number`). Of a chunk it is the first item's.
NUMBER = struct.Struct("<QQ")

# The first byte of a payload, before the number, tells a single call from a chunk of a map; with LIMITED added, the
# items have a time limit.
SINGLE, CHUNK = b"\x00", b"\x01"
LIMITED = 2
MAP, STARMAP = 1, 2


#: Kind, job id, item index, and the whole frame.
Frame = tuple[int, int, int, bytes]


class Request(NamedTuple):
    """A task as the worker received it: items `start`..`stop` of job `job`."""

    kind: int
    start: int
    stop: int
    job: int
    payload: bytes


class _Pickler(pickle.Pickler):
    """A pickler with multiprocessing's reducers in a plain dict, which the C pickler reads without calling Python."""

    dispatch_table: dict[Any, Any] = {}  # noqa: RUF012 - that is how the C pickler wants it


#: Copies of the two tables that are merged in the pickler's; and what goes before both.
_merged: tuple[dict[Any, Any], dict[Any, Any]] = ({}, {})
_ours: dict[Any, Any] = {}


def add_reducers(reducers: dict[type, Callable[[Any], Any]]) -> None:
    """From now on, objects of exactly these types are pickled so, by `dumps` alone."""
    global _merged
    _ours.update(reducers)
    _merged = ({}, {})


def dumps(obj: Any) -> bytes:
    """Pickles `obj` as multiprocessing would; whatever its reducers raise comes through."""
    if type(obj) in ATOMIC:
        return pickle.dumps(obj, PROTOCOL)
    _learn_reducers()
    buffer = io.BytesIO()
    _Pickler(buffer, PROTOCOL).dump(obj)
    return buffer.getvalue()


def dump_parts(obj: Any) -> list[bytes]:
    """Like `dumps`, in parts to be sent one after another: large bytes are not copied, but are parts themselves."""
    if type(obj) in ATOMIC and (type(obj) not in _LONG or len(obj) < _LARGE):
        return [pickle.dumps(obj, PROTOCOL)]
    _learn_reducers()
    sink = _Sink()
    _Pickler(sink, PROTOCOL).dump(obj)
    return sink.parts


class _Sink:
    """A file as far as a pickler needs one."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: Any) -> None:
        # The pickler hands large bytes on as they are; other large things as a view of memory that it is about to free.
        self.parts.append(data if type(data) is bytes else bytes(data))


def _learn_reducers() -> None:
    global _merged
    extra: dict[Any, Any] = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
    if _merged != (copyreg.dispatch_table, extra):  # somebody registered a reducer since the last call
        _merged = (copyreg.dispatch_table.copy(), extra.copy())
        _Pickler.dispatch_table = {**copyreg.dispatch_table, **extra, **_ours}


loads: Callable[[bytes | bytearray | memoryview], Any] = pickle.loads


def call_payload(
    func: Callable[..., Any], args: Any, kwds: Any, number: tuple[int, int] = (0, 0), limited: bool = False
) -> bytes:
    """The payload of a single call."""
    return _kind(SINGLE, limited) + NUMBER.pack(*number) + dumps((func, args, kwds))


def _kind(kind: bytes, limited: bool) -> bytes:
    return bytes([kind[0] | LIMITED]) if limited else kind


def open_payload(payload: bytes) -> tuple[bool, bool, int, int, memoryview]:
    """Of a payload: whether it is a single call, has a time limit, its stream and index there, and the pickle."""
    view = memoryview(payload)
    stream, index = NUMBER.unpack_from(view, 1)
    return not view[0] & CHUNK[0], bool(view[0] & LIMITED), stream, index, view[1 + NUMBER.size :]


def by_reference(func: Any) -> bool:
    """Whether `func` pickles as a name, so that loading it once serves every item of a chunk."""
    return type(func) in (FunctionType, BuiltinFunctionType, type)


def _atomic(item: Any) -> bool:
    return type(item) in ATOMIC or (type(item) is tuple and all(type(part) in ATOMIC for part in item))


def chunk_payload(
    mode: int,
    func_blob: bytes,
    shared: bool,
    items: list[Any],
    blobs: list[bytes] | None,
    number: tuple[int, int] = (0, 0),
    limited: bool = False,
) -> bytes:
    """The payload of a chunk: `items` as they are when all are atomic, else one pickle for each (`blobs`)."""
    return (
        _kind(CHUNK, limited)
        + NUMBER.pack(*number)
        + pickle.dumps((mode, func_blob, shared, blobs is not None, items if blobs is None else blobs), PROTOCOL)
    )


def all_atomic(items: list[Any]) -> bool:
    """Whether no item of a chunk can be mutated or carries code, so that they may be pickled together."""
    types = set(map(type, items))
    return types <= ATOMIC or (types <= ATOMIC | {tuple} and all(map(_atomic, items)))


def frame(kind: int, job: int, index: int, payload: bytes) -> bytes:
    """One frame of the stream from a worker."""
    return FRAME.pack(len(payload), kind, job, index) + payload


class Frames:
    """Takes the stream of frames from a worker apart."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        source: bytes | bytearray = data
        if self._rest:
            self._rest += data
            source = self._rest
        frames: list[Frame] = []
        at, end, head = 0, len(source), FRAME.size
        while end - at >= head:
            size, kind, job, index = FRAME.unpack_from(source, at)
            stop = at + head + size
            if stop > end:
                break
            frames.append((kind, job, index, bytes(source[at + head : stop])))
            at = stop
        if source is data:
            self._rest += data[at:]
        else:
            del self._rest[:at]
        return frames


def frames_of(data: bytes) -> list[Frame]:
    """The frames in a run of bytes that ends with a whole frame."""
    return Frames().feed(data)


def kind_of(data: bytes) -> int:
    """The kind of the first of some frames."""
    kind: int = FRAME.unpack_from(data)[1]
    return kind


def safe_repr(obj: Any, limit: int = 200) -> str:
    """`repr(obj)`, shortened, whatever the object's own `__repr__` does."""
    try:
        return _exact(repr(obj), limit)
    except BaseException as error:  # a repr is user code; even a KeyboardInterrupt from it must not end a worker
        return f"<{type(obj).__name__} object whose repr() raised {type(error).__name__}>"


def safe_str(obj: Any, limit: int = 500) -> str:
    """`str(obj)`, shortened, whatever the object's own `__str__` does."""
    try:
        return _exact(str(obj), limit)
    except BaseException as error:
        return f"<str() of {type(obj).__name__} raised {type(error).__name__}>"


def _exact(text: str, limit: int) -> str:
    text = str.__str__(text)  # what came may be of a subclass, which has methods and pickling of its own
    return text if len(text) <= limit else text[: limit - 3] + "..."


class Sealed:
    """A user's object on its way into a worker, which may fail to load there without taking the worker down.

    Under fork it is carried as it is. Under spawn and forkserver it is pickled *while the process starts* (the only
    time at which locks and queues may be pickled), as bytes within the start-up data, and opened by `open()`.
    """

    __slots__ = ("_blob", "_value", "refused")

    def __init__(self, value: Any) -> None:
        self._value = value
        self._blob: bytes | None = None
        self.refused: bool = False  # to be pickled

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return _reseal, (self._blob if self._blob is not None else bytes(ForkingPickler.dumps(self._value)),)
        except BaseException:
            self.refused = True
            raise

    def open(self) -> Any:
        """The object; raises whatever its unpickling raises."""
        return self._value if self._blob is None else loads(self._blob)


def _reseal(blob: bytes) -> Sealed:
    sealed = Sealed(None)
    sealed._blob = blob
    return sealed
