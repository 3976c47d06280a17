"""The parent's end of a worker's channel: a transport per worker, never a shared queue with a lock.

`SocketChannel` is the one for Linux: requests go over an AF_UNIX SEQPACKET pair (each datagram is received whole, by
exactly one reader), answers come back over a stream that is read in bulk. The parent keeps the receiving end of the
requests as well; so it can take back what the worker has not read, and can tell exactly what a dead worker never read.
Payloads too large for a datagram travel as a memory file whose descriptor is attached; where none can be made, they
stay here until the worker asks for them, and go over the stream, against the direction of the answers.

`PipeChannel` needs nothing but `multiprocessing.Pipe` and two threads, holds one request at a time and takes none back.

Nothing here blocks the supervisor: a stopped worker does not read, and must not stop the pool.

Used by: workers (made with each worker), supervisor (reads, writes, takes back), and, for `try_send` alone, the threads
that submit. What may go wrong: the worker is dead or does not read (`try_send` is False, the exit is noticed
elsewhere); no descriptors are left (OSError from the constructor).
"""

from __future__ import annotations

import array
import contextlib
import os
import queue
import select
import socket
import threading
from collections.abc import Callable
from multiprocessing import Pipe
from typing import Any, Protocol

from .ends import End, PipeEnd, SocketEnd
from .fds import KeptSocket, memory_file, socket_pair
from .messages import ATTACHED, INLINE, INLINE_MAX, REQUEST, STOP, TASK, WANTED, WITHHELD, Frame, Frames
from .signals import start_deaf

_DATAGRAM = REQUEST.size + INLINE_MAX
_BULK = 64 * 1024  # what fits malloc's arenas: larger buffers would be mapped and unmapped for every read
_STOP_REQUEST = REQUEST.pack(STOP, 0, 0, 0, 0, 0)


class Channel(Protocol):
    """What the supervisor needs of a channel."""

    depth: int
    end: End

    def fileno(self) -> int:
        """What to poll for answers; -1 when answers are announced by the callback given to the constructor."""

    def started(self) -> None:
        """The worker has its own copy of its ends: close ours."""

    def try_send(self, job: int, start: int, stop: int, payload: bytes) -> bool:
        """Sends a task whole, or not at all. Never blocks. Any thread."""

    def try_stop(self) -> bool:
        """Asks the worker to end after what it has been sent. Never blocks."""

    def receive(self) -> tuple[list[Frame], bool]:
        """The frames that have come, and whether more may come."""

    def recall(self) -> int | None:
        """Takes back the oldest task that the worker has not read: its job id, or None."""

    def drain(self) -> list[Frame]:
        """The last frames of a worker that is dead."""

    def close(self) -> None:
        """Lets go of everything, in the supervisor."""

    def abandon(self) -> None:
        """Lets go of everything in a forked child, without disturbing the parent that goes on using it."""


class SocketChannel:
    """See the module."""

    depth = 16

    def __init__(self) -> None:
        self._requests, self._unread = socket_pair(socket.SOCK_SEQPACKET)
        try:
            self._answers, answering = socket_pair(socket.SOCK_STREAM)
        except OSError:
            self._requests.close()
            self._unread.close()
            raise
        self._answering: KeptSocket | None = answering
        self._requests.setblocking(False)
        self._answers.setblocking(False)
        self._frames = Frames()
        self._withheld: dict[int, bytes] = {}
        self._writers: list[threading.Thread] = []
        self.end: End = SocketEnd(self._unread, answering, (self._requests, self._answers))

    def fileno(self) -> int:
        return self._answers.fileno()

    def started(self) -> None:
        if self._answering is not None:
            self._answering.close()
            self._answering = None

    def try_send(self, job: int, start: int, stop: int, payload: bytes) -> bool:
        size = len(payload)
        try:
            if size <= INLINE_MAX:
                self._requests.send(REQUEST.pack(TASK, INLINE, start, stop, job, size) + payload)
            else:
                self._send_big(job, start, stop, payload)
        except OSError:  # full, or the worker is gone
            return False
        return True

    def _send_big(self, job: int, start: int, stop: int, payload: bytes) -> None:
        try:
            fd = _filled(payload)
        except OSError:  # no descriptor or memory is left, or it is larger than RLIMIT_FSIZE
            self._withheld[job] = payload
            try:
                self._requests.send(REQUEST.pack(TASK, WITHHELD, start, stop, job, len(payload)))
            except OSError:
                del self._withheld[job]
                raise
            return
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
            self._requests.sendmsg([REQUEST.pack(TASK, ATTACHED, start, stop, job, len(payload))], [rights])
        finally:
            os.close(fd)

    def _hand_over(self, job: int) -> None:
        """Writes a payload that the worker asks for, in a thread: the worker may stop reading at any moment."""
        thread = threading.Thread(target=self._write, args=(self._withheld.pop(job),), name="poolsafe-payload")
        thread.daemon = True
        try:
            start_deaf(thread)
        except RuntimeError:  # no thread can be had; the worker must not wait for ever
            self._answers.shutdown(socket.SHUT_WR)
        else:
            self._writers.append(thread)

    def _write(self, payload: bytes) -> None:
        view = memoryview(payload)
        ready = select.poll()
        ready.register(self._answers, select.POLLOUT)
        try:
            while view:
                ready.poll()
                view = view[self._answers.send(view[:_BULK]) :]
        except OSError:
            return  # the worker is gone, or buried by `close`

    def try_stop(self) -> bool:
        try:
            self._requests.send(_STOP_REQUEST)
        except OSError:
            return False
        return True

    def receive(self) -> tuple[list[Frame], bool]:
        try:
            data = self._answers.recv(_BULK)
        except BlockingIOError:
            return [], True
        except OSError:
            return [], False
        frames = self._frames.feed(data)
        if self._withheld:
            for kind, job, _, _ in frames:
                if kind == WANTED and job in self._withheld:
                    self._hand_over(job)
            frames = [frame for frame in frames if frame[0] != WANTED]
        return frames, bool(data)

    def recall(self) -> int | None:
        # The worker receives from the same file and wants it to block: ask with a flag of this one call.
        try:
            data, ancillary, _, _ = self._unread.recvmsg(_DATAGRAM, socket.CMSG_LEN(4), socket.MSG_DONTWAIT)
        except OSError:
            return None
        for _, _, fds in ancillary:
            os.close(array.array("i", fds[:4])[0])
        if not data:
            return None
        kind, _, _, _, job, _ = REQUEST.unpack_from(data)
        if kind == STOP:
            self.try_stop()
            return None
        self._withheld.pop(job, None)
        return int(job)

    def drain(self) -> list[Frame]:
        frames: list[Frame] = []
        while True:
            more, alive = self.receive()
            frames += more
            if not more and (not alive or not self._readable()):
                return frames

    def _readable(self) -> bool:
        try:
            return bool(self._answers.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def close(self) -> None:
        self.started()
        if self._writers:  # a closed descriptor's number may be given to something else, which they would write to
            with contextlib.suppress(OSError):
                self._answers.shutdown(socket.SHUT_RDWR)
            for thread in self._writers:
                thread.join()
        self._answers.close()
        # The sending and the unread end close when no submitter holds the channel any more.

    def abandon(self) -> None:
        self.close()
        self._requests.close()
        self._unread.close()


def _filled(payload: bytes) -> int:
    """A memory file that holds `payload`."""
    fd = memory_file("poolsafe-payload", 0)
    try:
        view = memoryview(payload)
        while view:
            view = view[os.write(fd, view[: 1 << 30]) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


def _connected() -> tuple[Any, Any]:
    """The two ends of a `multiprocessing.Pipe`; where descriptors have numbers, above the standard streams."""
    if os.name != "posix":
        return Pipe(duplex=True)
    from multiprocessing.connection import Connection

    first, second = socket_pair()  # what Pipe(duplex=True) makes
    return Connection(first.detach()), Connection(second.detach())


class PipeChannel:
    """See the module.

    Args:
        announce: Called, in a thread of the channel's own, with the frames that have come, or None at the end.
    """

    depth = 1

    def __init__(self, announce: Callable[[PipeChannel], None]) -> None:
        self._connection, worker_end = _connected()
        self.end: End = PipeEnd(worker_end)
        self._worker_end: Any = worker_end
        self._announce = announce
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._incoming: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._frames = Frames()
        self._ended = False
        self._threads: list[threading.Thread] = []

    def fileno(self) -> int:
        return -1

    def started(self) -> None:
        if self._worker_end is None:
            return
        self._worker_end.close()
        self._worker_end = None
        for target in (self._read, self._write):
            thread = threading.Thread(target=target, name=f"poolsafe-pipe{target.__name__}", daemon=True)
            start_deaf(thread)
            self._threads.append(thread)

    def _read(self) -> None:
        while True:
            try:
                data: bytes | None = self._connection.recv_bytes()
            except (EOFError, OSError):
                data = None
            self._incoming.put(data)
            self._announce(self)
            if data is None:
                return

    def _write(self) -> None:
        while True:
            data = self._outgoing.get()
            if data is None:
                return
            try:
                self._connection.send_bytes(data)
            except OSError:
                return  # the worker is gone; its exit is noticed elsewhere

    def try_send(self, job: int, start: int, stop: int, payload: bytes) -> bool:
        self._outgoing.put(REQUEST.pack(TASK, 0, start, stop, job, len(payload)) + payload)
        return True

    def try_stop(self) -> bool:
        self._outgoing.put(_STOP_REQUEST)
        return True

    def receive(self) -> tuple[list[Frame], bool]:
        frames: list[Frame] = []
        while True:
            try:
                data = self._incoming.get_nowait()
            except queue.Empty:
                return frames, not self._ended
            if data is None:
                self._ended = True
                return frames, False
            frames += self._frames.feed(data)

    def recall(self) -> int | None:
        return None

    def drain(self) -> list[Frame]:
        self._shutdown()
        if self._threads:
            self._threads[0].join(1)
        return self.receive()[0]

    def _shutdown(self) -> None:
        """Wakes the threads, even where another process still holds the worker's end open."""
        self._outgoing.put(None)
        if os.name == "posix" and not self._connection.closed:
            try:
                with socket.socket(fileno=os.dup(self._connection.fileno())) as duplicate:
                    duplicate.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # the other end is closed already, which wakes them as well

    def close(self) -> None:
        self._shutdown()
        if self._worker_end is not None:
            self._worker_end.close()
        for thread in self._threads:
            thread.join(1)
        self._connection.close()

    def abandon(self) -> None:
        self._connection.close()
        if self._worker_end is not None:
            self._worker_end.close()
