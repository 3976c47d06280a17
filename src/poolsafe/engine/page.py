"""The page of memory that a worker shares with its parent: what it is doing now, and what it finished but has not sent.

The worker writes, the parent reads it after the worker has died. Layout, in the machine's own byte order::

    0   u64 job id of the item at hand      12  u32 phase: IDLE, RECEIVED, RUNNING
    8   u32 index of the item at hand       16  u32 committed bytes of the log
                                            24  f64 seconds at work, 32 f64 of them in putting things back
                                            40  f64 since when it is in this phase (time.monotonic)
                                            48  u8  begin nothing more (from 1), or go on (0)
                                            52  u32 process that has its turn, where several serve in turn
    64  u64 job, 72 u32 item, 76 u32 bytes  80  what was written to stderr in this item: the end of it
                                          2128  12 u32: processes that it has forked and that are not reaped
                                          2176  log: frames of finished items, exactly as they would be sent

A process that is killed stops between two instructions, and a field is packed first and then copied, which for so few
aligned bytes is one store: each field is either the old or the new one, never torn. The fields are stored in the order
of their addresses, so a mark that was cut short names the new job with an older index or phase, which errs towards "may
have run", never towards running a task twice. The log is written first and committed after, so what is committed is
whole.

Behind the pages is room for each worker to write, when it crashes or is ended for a task that took too long, where it
was.

What may go wrong: no memory for the page (OSError at creation, in the parent).
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import suppress
from math import inf
from multiprocessing import context, reduction
from time import monotonic
from typing import Any, NamedTuple, Protocol

from .fds import memory_map

IDLE, RECEIVED, RUNNING = 0, 1, 2
#: Bytes that are kept of what an item writes to stderr.
SAID = 2048
_SAID = struct.Struct("@QII")
_SAID_AT = 64
_CHILDREN = struct.Struct("@12I")
_CHILDREN_AT = _SAID_AT + _SAID.size + SAID
LOG_START = _CHILDREN_AT + _CHILDREN.size  # a multiple of 8: the log's words are aligned
SIZE = 64 * 1024
LOG_SIZE = SIZE - LOG_START

_BEGUN = struct.Struct("@QII")
_COMMITTED = struct.Struct("@I")
_TIMES = struct.Struct("@dd")
_SINCE = struct.Struct("@d")
_DOOM = 48
_HOLDER = struct.Struct("@I")
_HOLDER_AT = 52
#: In the place of a process's number: it has none yet.
UNBORN = 0xFFFFFFFF
#: Bytes for a worker's last stack: a hundred frames, the most that there are, each with two names of 500 characters,
#: the longest. Only where these are not of Latin letters it may not do; then the next one's has a false end.
STACK = 256 * 1024


class Begun(NamedTuple):
    """What a worker was at: `phase` of item `index` of job `job`."""

    job: int
    index: int  # type: ignore[assignment]  # tuple.index is not missed here
    phase: int


def _high(fd: int) -> int:
    """The same file under a high number; under any, where so high ones are not allowed."""
    import fcntl

    try:
        return int(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 960))
    except OSError:
        return int(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3))


def identity_of(fd: int) -> tuple[int, int]:
    """By which an open file is known again."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


class Shared(Protocol):
    """What a page is a part of (`engine.pages`)."""

    fd: int
    memory: mmap.mmap
    identity: tuple[int, int]
    count: int


class Page:
    """One worker's page, seen from the parent or from the worker (which gets it while being started).

    Args:
        pages: Where it is.
        slot: Its place there.
    """

    slot: int
    memory: mmap.mmap

    def __init__(self, pages: Shared, slot: int) -> None:
        self.slot = slot
        self.memory = pages.memory
        self._pages: Shared | None = pages
        self._base = slot * SIZE
        self._stack = pages.count * SIZE + slot * STACK
        self._stack_file: int | None = None
        self._said: tuple[tuple[int, int], bytes] = (0, 0), b""
        self._parents = os.getpid(), pages.fd, pages.identity
        self.doom(0)
        self.mark(0, 0, IDLE)
        self.hear_none()
        self.commit(0)
        self.tell_times(0.0, 0.0)
        self.tell_holder(0)
        self._store(_CHILDREN_AT, bytes(_CHILDREN.size))

    def __getstate__(self) -> Any:
        context.assert_spawning(self)
        assert self._pages is not None
        return reduction.DupFd(self._pages.fd), self.slot, self._stack, self._parents

    def __setstate__(self, state: Any) -> None:
        handle, self.slot, self._stack, self._parents = state
        self._pages = None
        self._base = 0
        self._stack_file = None
        self._said = (0, 0), b""
        fd = handle.detach()
        try:
            self.memory = memory_map(fd, SIZE, self.slot * SIZE)
        finally:
            os.close(fd)

    def stack_file(self) -> int:
        """In the worker: a descriptor for its last stack; -1 where there is no such thing.

        It has a position of its own, at the place for the stack, so the file is opened anew, as the parent's. Its
        number is high: what a task opens after it has closed everything is given low ones, and is not to be written to.
        """
        if self._stack_file is None:
            self._stack_file = -1
            with suppress(OSError):
                pid, number, identity = self._parents
                opened = os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR | os.O_CLOEXEC)
                try:
                    if identity_of(opened) != identity:  # the parent has given the number to something else
                        return -1
                    os.lseek(opened, self._stack, os.SEEK_SET)
                    self._stack_file = _high(opened)
                finally:
                    os.close(opened)
        return self._stack_file

    def _store(self, at: int, data: bytes) -> None:
        """Puts a field into its place, by one copy: `Struct.pack_into` clears the place first, and others see that."""
        start = self._base + at
        self.memory[start : start + len(data)] = data

    # -- the worker's side ---------------------------------------------------------------------------------------
    def mark(self, job: int, index: int, phase: int) -> None:
        """Says which item is at hand."""
        self._store(0, _BEGUN.pack(job, index, phase))

    def take_up(self, job: int, index: int) -> None:
        """An item comes to hand, now."""
        self._store(40, _SINCE.pack(monotonic()))
        self._store(0, _BEGUN.pack(job, index, RECEIVED))

    def run(self, job: int, index: int) -> None:
        """The item's function is called, now."""
        self._store(40, _SINCE.pack(monotonic()))
        self._store(0, _BEGUN.pack(job, index, RUNNING))

    def done(self) -> None:
        """The item's answer is there; sending it takes what it takes."""
        self._store(40, _SINCE.pack(inf))

    def is_doomed(self) -> int:
        """Not 0 when the parent is about to end what is at hand: the number of its doom."""
        return self.memory[self._base + _DOOM]

    def commit(self, length: int) -> None:
        """Makes the first `length` bytes of the log valid."""
        self._store(16, _COMMITTED.pack(length))

    def write(self, at: int, data: bytes) -> None:
        """Puts data into the log; it counts when it is committed."""
        self._store(LOG_START + at, data)

    def say(self, words: bytes) -> None:
        """Keeps what is written to stderr: of an item its end, and nothing of those before it."""
        item = self.begun()[:2]
        said = words if self._said[0] != item else self._said[1] + words
        self._said = item, said = item, said[-SAID:]
        self._store(_SAID_AT, _SAID.pack(*item, 0))  # nothing counts while it is being written
        self._store(_SAID_AT + _SAID.size, said)
        self._store(_SAID_AT, _SAID.pack(*item, len(said)))

    def give_stack(self) -> str:
        """Of a process that served in turn and is dead: where it was, if it wrote that down."""
        stack = b""
        if self._stack_file is not None and self._stack_file >= 0:
            with suppress(OSError):
                stack = os.pread(self._stack_file, STACK, self._stack).partition(b"\0")[0]
                os.pwrite(self._stack_file, bytes(len(stack)), self._stack)
        return stack.decode("utf-8", "replace")

    def rewind_stack(self) -> None:
        """What was written is of another item, or of another process: the next one's is to be at the same place."""
        if self._stack_file is not None and self._stack_file >= 0:
            with suppress(OSError):
                written = os.lseek(self._stack_file, 0, os.SEEK_CUR) - self._stack
                if written:
                    os.pwrite(self._stack_file, bytes(max(written, 0)), self._stack)
                    os.lseek(self._stack_file, self._stack, os.SEEK_SET)

    def tell_times(self, busy: float, resets: float) -> None:
        """Says for how many seconds the worker was at work, and how many of them went into putting things back."""
        self._store(24, _TIMES.pack(busy, resets))

    def tell_holder(self, pid: int) -> None:
        """Says which process serves now."""
        self._store(_HOLDER_AT, _HOLDER.pack(pid))

    def expect_child(self) -> int:
        """Says that a process is about to be forked (`UNBORN`): at which place, or -1 when none of the twelve is free.

        Each has a place of its own: it may say which it is long after the next one was forked.
        """
        places = _CHILDREN.unpack_from(self.memory, self._base + _CHILDREN_AT)
        place = places.index(0) if 0 in places else -1
        self.tell_child(place, UNBORN)
        return place

    def tell_child(self, place: int, pid: int) -> None:
        """Says which process it is, in that one or in the one that forked it; or that it is no more (0)."""
        if place >= 0:
            self._store(_CHILDREN_AT + place * _HOLDER.size, _HOLDER.pack(pid))

    def is_at_hand(self) -> bool:
        """Whether an item is begun whose answer is not there yet."""
        return self.begun().phase != IDLE and self.since() != inf

    def is_answered(self) -> bool:
        """Whether an item is begun whose answer is there, and being sent."""
        return self.begun().phase != IDLE and self.since() == inf

    # -- the parent's side ---------------------------------------------------------------------------------------
    def times(self) -> tuple[float, float]:
        """Seconds at work, and of these in putting things back."""
        busy, resets = _TIMES.unpack_from(self.memory, self._base + 24)
        return busy, resets

    def holder(self) -> int:
        """Which process served last; 0 when that is the worker itself."""
        pid: int = _HOLDER.unpack_from(self.memory, self._base + _HOLDER_AT)[0]
        return pid

    def children(self) -> list[int]:
        """Which processes were to be reaped; `UNBORN` for one of which nobody knows yet."""
        return [pid for pid in _CHILDREN.unpack_from(self.memory, self._base + _CHILDREN_AT) if pid]

    def begun(self) -> Begun:
        """What the worker was at."""
        return Begun(*_BEGUN.unpack_from(self.memory, self._base))

    def since(self) -> float:
        """Since when it is in that phase, by `time.monotonic`, which all processes of a machine share."""
        since: float = _SINCE.unpack_from(self.memory, self._base + 40)[0]
        return since

    def doom(self, number: int) -> None:
        """Has the worker begin nothing more, by a number from 1 to 255; or, by 0, go on."""
        self.memory[self._base + _DOOM] = number

    def said(self) -> str:
        """The last lines that the item at hand wrote to stderr."""
        at = self._base + _SAID_AT
        *item, length = _SAID.unpack_from(self.memory, at)
        if tuple(item) != self.begun()[:2]:
            return ""
        words = self.memory[at + _SAID.size : at + _SAID.size + min(length, SAID)]
        if length >= SAID:  # it has lost its beginning
            words = words.partition(b"\n")[2] or words
        return words.decode("utf-8", "replace")

    def hear_none(self) -> None:
        """Nothing was written to stderr."""
        self._store(_SAID_AT, bytes(_SAID.size))

    def take_stack(self) -> str:
        """What the worker wrote of where it was, if it did."""
        end = self.memory.find(b"\0", self._stack, self._stack + STACK)
        stack = self.memory[self._stack : end if end >= 0 else self._stack + STACK]
        if stack:  # the page is for another worker next
            self.memory[self._stack : self._stack + len(stack)] = bytes(len(stack))
        return stack.decode("utf-8", "replace")

    def log(self) -> bytes:
        """The committed part of the log: frames of finished items, some of which may have been received already."""
        start = self._base + LOG_START
        length: int = _COMMITTED.unpack_from(self.memory, self._base + 16)[0]
        return self.memory[start : start + min(length, LOG_SIZE)]
