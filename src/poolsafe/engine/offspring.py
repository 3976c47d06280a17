"""A process that is forked for one task: what its parent holds of it, and its life as a process of `multiprocessing`.

The same things as `multiprocessing.popen_fork` and `BaseProcess._bootstrap` do for a process that they fork, without a
process object for each: it would cost as much as the fork.

Used by: template. What may go wrong: what a task has registered for the end of its process raises or takes long; that
is after its answer, and the template's to end.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import itertools
import os
import select
import signal
import sys
import threading
import warnings
from multiprocessing import process, util
from typing import NoReturn

from . import signals
from .child import CUT_OFF_CODE
from .fds import pipe
from .page import Page

#: What a child is told with its turn: whether it is to say that the worker is ready.
TURN, FIRST_TURN = b"t", b"f"
#: So many in a row may end before their turn.
_STILLBORN = 10


class Child:
    """A forked process."""

    __slots__ = ("cut_off", "done_since", "giver", "pid", "place", "silent_since", "speaker", "told", "turns", "words")

    def __init__(self, pid: int, place: int, giver: int, words: int, turns: int, speaker: int) -> None:
        self.pid: int = pid
        self.place: int = place  # where the page says that it is there
        self.turns: int = turns  # in itself, whose pid is 0 there: the other ends of these two
        self.speaker: int = speaker
        self.giver: int = giver  # a descriptor by which it is given its turn, once
        self.words: int = words  # and one by which it says that it is done
        self.done_since: float | None = None
        self.silent_since: float | None = None
        self.cut_off: bool = False  # ended for that
        self.told: int = 0  # to end for the item at hand: by which doom

    def give_turn(self, *, first: bool) -> None:
        """It is to serve now; as the first one, it says before that the worker is ready."""
        with contextlib.suppress(BrokenPipeError):  # it is dead, which will be found
            os.write(self.giver, FIRST_TURN if first else TURN)
        self.give_none()

    def give_none(self) -> None:
        """It will have no turn any more."""
        fd, self.giver = self.giver, -1
        if fd >= 0:
            os.close(fd)

    def has_said_something(self) -> bool:
        """Whether `hear` would not wait: what the child has forked may hold the other end."""
        if self.words < 0:
            return False
        poll = select.poll()
        poll.register(self.words, select.POLLIN)
        return bool(poll.poll(0))

    def hear(self) -> bytes:
        """One word, when there is something to be heard; nothing when it cannot say anything any more."""
        return os.read(self.words, 1)

    def say(self, word: bytes) -> None:
        """In itself: says it."""
        with contextlib.suppress(BrokenPipeError):  # the template is dead
            os.write(self.speaker, word)

    def hear_none(self) -> None:
        """It has said all that it will say."""
        fd, self.words = self.words, -1
        if fd >= 0:
            os.close(fd)

    def send_signal(self, number: int) -> None:
        """To be used before its status was taken: until then the number is its own, be it alive or dead."""
        with contextlib.suppress(ProcessLookupError):  # SIGCHLD is ignored, so nobody's status waits
            os.kill(self.pid, number)

    def end_silent(self) -> None:
        """It can say nothing any more, and is ended for that; unless it is on its way already, and closed its files."""
        self.cut_off = self.cut_off or not signals.is_being_ended(self.pid)
        self.send_signal(signal.SIGKILL)

    def reap(self, *, with_family: bool) -> tuple[bool, int | None]:
        """Whether it is over, and if so its exit code; None when somebody else took that."""
        try:
            if with_family:
                end_family(self.pid)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return True, None
        return bool(pid), os.waitstatus_to_exitcode(status) if pid else None

    def let_go(self) -> None:
        """Closes both."""
        self.give_none()
        self.hear_none()


class Stillborn:
    """Children in a row that have ended before they had their turn; and the last of them."""

    def __init__(self) -> None:
        self.pid: int = 0
        self.code: int | None = None
        self._count = 0

    def add(self, pid: int, code: int | None) -> None:
        """Another one."""
        self.pid, self.code = pid, code
        self._count += 1

    @property
    def many(self) -> bool:
        """Whether it is time to fork no more of them ahead."""
        return self._count > _STILLBORN

    @property
    def by_themselves(self) -> bool:
        """Whether so many have ended, and nobody has ended them."""
        return self.many and self.code is not None and self.code >= 0


def fork(page: Page) -> Child:
    """Forks: in the new process the child's number is 0.

    Args:
        page: Where the new process says that it is there: this one may be killed before it can.

    Raises:
        OSError: No process can be had, or no descriptor for it.
        Exception: Whatever an audit hook raises.
    """
    fds: list[int] = []
    place = -1
    try:
        fds += pipe()
        fds += pipe()
        place = page.expect_child()
        pid = os.fork()
    except BaseException:
        page.tell_child(place, 0)
        for fd in fds:
            os.close(fd)
        raise
    page.tell_child(place, pid or os.getpid())
    turns, giver, words, speaker = fds
    if pid:
        os.close(turns)
        os.close(speaker)
    return Child(pid, place, giver, words, turns, speaker)


def settle() -> None:
    """Before the first fork: sees to what each process would inherit by mistake, or copy for nothing."""
    with contextlib.suppress(OSError):  # nobody reads it
        util._flush_std_streams()  # type: ignore[attr-defined]  # else each would write it again
    # The collector writes to what it looks at, so each process would copy all of that. No collection before: it would
    # copy all that the program has, for each worker, and take as long as there are objects.
    gc.freeze()


def warn_of_threads() -> None:
    """Tells of threads that the initializer has left: a forked process does not have them."""
    if threading.active_count() > 1:
        warnings.warn(
            "the initializer has left threads running; under isolation='fork' tasks run in processes that were "
            "forked from the one that it ran in, and in which these threads do not exist. Start them in "
            "before_task, or use isolation='process'",
            RuntimeWarning,
            stacklevel=1,
        )
    if sys.version_info >= (3, 12) and _has_threads():
        # CPython's own warning about them comes at every fork; as an error, when the child is there already.
        warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)


def _has_threads() -> bool:
    """Whether there are others than this one, be they of Python or of a library."""
    try:
        return len(os.listdir("/proc/self/task")) > 1
    except OSError:
        return True


def follow(code: int | None) -> NoReturn:
    """Ends this process as a child has ended, and lets the parent find out what that means."""
    if code is not None and code < 0:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
        signals.set_mask(frozenset())
        os.kill(os.getpid(), -code)
    os._exit(CUT_OFF_CODE if code is None or code < 0 else code)


def end_family(pid: int) -> None:
    """Ends what a child has left in its process group, if it is dead.

    To be called before anybody asks for its status: until then the number cannot be given to another process.
    """
    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
        signals.kill_group(pid)


def begin_process() -> None:
    """What `multiprocessing` does at the beginning of a forked process."""
    atexit._clear()
    if sys.version_info >= (3, 13):
        atexit.register(util._exit_function)  # type: ignore[attr-defined]
    process._children = set()  # type: ignore[attr-defined]
    process._process_counter = itertools.count(1)  # type: ignore[attr-defined]
    futures = sys.modules.get("concurrent.futures.thread")
    if futures is not None:  # forked in a thread of an executor's, which at the end would be waited for: by itself
        futures._threads_queues.pop(threading.current_thread(), None)
    util._finalizer_registry.clear()  # type: ignore[attr-defined]
    util._run_after_forkers()  # type: ignore[attr-defined]


def end_process() -> None:
    """What `multiprocessing` does at its end. A step that raises keeps none of those after it from being taken."""
    with contextlib.ExitStack() as last:  # the last comes first
        if sys.version_info >= (3, 13):
            last.callback(atexit._run_exitfuncs)
        last.callback(util._flush_std_streams)  # type: ignore[attr-defined]
        last.callback(threading._shutdown)  # type: ignore[attr-defined]
        if sys.version_info < (3, 13):
            last.callback(util._exit_function)  # type: ignore[attr-defined]
