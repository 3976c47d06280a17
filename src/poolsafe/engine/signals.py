"""Which thread takes the program's signals, which of them a worker begins with blocked, and what ends a process.

A signal that is sent to a process interrupts one thread that does not block it, and Python's handlers run in the main
thread. The kernel prefers the main thread, but a thread that forks or changes its mask at that moment takes the signal
first (signal(7), "process-directed"), and the main thread then sleeps on: Ctrl-C seems to be ignored. So the threads
of the engine block everything for their whole life. Threads that run users' code (callbacks, input iterators) do not,
because programs that are started there inherit the mask.

Used by: supervisor and channels (their threads), starting and setup (the mask that a worker is to have), ear, offspring
and workers (whether a process is being ended). What may go wrong: nothing; where there are no masks (Windows), nothing
is done, and where there is no /proc, nothing is known.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

#: Signals that a thread sends itself by a fault; blocked ones would end the process without a word from faulthandler.
FAULTS: frozenset[int] = frozenset(
    getattr(signal, name) for name in ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT") if hasattr(signal, name)
)
_HAS_MASKS = hasattr(signal, "pthread_sigmask")

Mask = frozenset[int]


def bits(numbers: Iterable[int]) -> int:
    """These signals as a mask of bits."""
    return sum(1 << number - 1 for number in set(numbers))


#: What ends a worker though it is caught: by us, in good order; by `faulthandler`, which then tells where it was.
_ENDS = bits({signal.SIGTERM} | FAULTS)
#: What ends no process by default.
_HARMLESS = bits(
    getattr(signal, name)
    for name in ("SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU")
    if hasattr(signal, name)
)
#: Marks of a process (proc_pid_stat(5), flags; `linux/sched.h`): it is exiting; it has taken a signal that ends it.
_ENDING = 0x4 | 0x400


def current_mask() -> Mask:
    """What the calling thread blocks."""
    return frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, ())) if _HAS_MASKS else frozenset()


def sets_of(process: int | str, *fields: str) -> list[int] | None:
    """Sets of signals in `/proc/PID/status` (proc(5)), as `bits`; None where nobody can tell."""
    try:
        status = _told_by_kernel(process, "status")
        return [int(status.partition(f"\n{field}:".encode())[2].split(None, 1)[0], 16) for field in fields]
    except (OSError, IndexError, ValueError):
        return None


def is_being_ended(pid: int) -> bool:
    """Whether a process has been sent what ends it, or is ending, or has ended; False where nobody can tell.

    A signal is pending from the moment at which `kill` returns; one that nothing holds off stays so until the process
    takes it (signal(7)), and often until the end. One that dumps core does not, nor one that met another one pending
    while the process was not running (Linux, `complete_signal`): such a process is marked as ending instead. So the
    marks are asked for after the signals.
    """
    sets = sets_of(pid, "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
    if sets is None:
        return False
    one, whole, blocked, ignored, caught = sets
    held_off = blocked | ignored | _HARMLESS | (caught & ~_ENDS)
    return bool((one | whole) & ~held_off) or _is_marked(pid)


def parent_of(pid: int) -> int | None:
    """Whose child a process is; None where nobody can tell."""
    return _fact(pid, 1)


def _is_marked(pid: int) -> bool:
    return bool((_fact(pid, 6) or 0) & _ENDING)


def _fact(pid: int, which: int) -> int | None:
    """Of proc_pid_stat(5), counted from the state, which follows on a name that may have blanks."""
    try:
        return int(_told_by_kernel(pid, "stat").rpartition(b")")[2].split(None, which + 1)[which])
    except (OSError, IndexError, ValueError):
        return None


def _told_by_kernel(process: int | str, what: str) -> bytes:
    fd = os.open(f"/proc/{process}/{what}", os.O_RDONLY)
    try:
        return os.read(fd, 8192)
    finally:
        os.close(fd)


def kill_group(leader: int) -> None:
    """Kills the process group that this process leads, or led; nothing where there is none."""
    if hasattr(os, "killpg"):
        with suppress(OSError):  # nobody is there
            os.killpg(leader, signal.SIGKILL)


def set_mask(mask: Mask) -> None:
    """Makes the calling thread block exactly these."""
    if _HAS_MASKS:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def handled() -> Mask:
    """Those with a handler in Python. A thread of the engine must never take one: the main thread would sleep on."""
    return frozenset(number for number in signal.valid_signals() if callable(signal.getsignal(number)))


@contextmanager
def masked(mask: Mask) -> Iterator[None]:
    """The calling thread blocks exactly these for a while, and so does what it starts meanwhile."""
    before = current_mask()
    try:
        set_mask(mask)  # inside: a handler that runs in here may raise when the mask has changed already
        yield
    finally:
        set_mask(before)


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """In the main thread, Ctrl-C is answered at the end of the block instead of somewhere inside it.

    A mask would not do: another thread may take the signal, and Python runs the handler in the main thread anyway.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    hits: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: hits.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if hits:
            handler(*hits[0])


def start_deaf(thread: threading.Thread) -> None:
    """Starts a thread that never takes a signal: it inherits the mask of the moment."""
    with masked(frozenset(signal.valid_signals()) - FAULTS):
        thread.start()


class Retractable(threading.Thread):
    """A thread that either runs, or never does, though its start raised.

    The handler of a signal may raise out of `start` when the thread is there already, whether it has got to its first
    line or not. Who finds the start failed must not undo what the thread works with, unless it never will.
    """

    def __init__(self, target: Callable[[], object], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._decided = threading.Lock()  # by who gets it first; nobody lets go of it

    def run(self) -> None:
        """Not to be called; runs the target unless that was retracted."""
        if self._decided.acquire(blocking=False):
            super().run()

    def retract(self) -> bool:
        """After a start that failed: whether the target has not begun to run; then it never will."""
        return self._decided.acquire(blocking=False)
