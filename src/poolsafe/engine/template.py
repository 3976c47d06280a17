"""A worker whose tasks run in processes of their own, each forked from it as it is after the initializer.

::

    parent --requests--> the child whose turn it is --answers--> parent
       ^                     ^ turn     | done
       `------- ends ------ template ---'      (forks the next child meanwhile)

The template has one thread and runs nothing of a task; the initializer has run in it, or, under `isolation="process"`
where the start method is fork, runs in each child before its turn. It keeps a child ahead, gives one at a time its
turn, and waits. That child takes one request from the worker's channel, serves it as any worker does, says that it is
done, and ends; the next one has its turn at once. So neither the fork nor the end of a process is in the way of a task.

The parent sees one worker, the template. That it is ready is told by the first child that has its turn: not before is
it sure that any can be forked. What a child's end means:

- while it ran an item: the item is lost, which the template tells the parent (`DIED`), and goes on;
- at another moment (nothing at hand, or its answer half written): only the parent can tell what was read and what was
  not, so the template ends in the same way, as any worker that dies.

A child is ended by the template, which alone knows for certain that a number is still that child's: the parent dooms
the page and sends SIGURG (twice for SIGKILL). When nothing is at hand any more, the template says so (`SPARED`).
Everything dies with the template, by a lifeline of its own.

Started by: workers. What may go wrong: no process can be forked (it is tried for a while, then by another template).
"""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import sys
from math import inf
from time import monotonic
from typing import NoReturn

from . import messages, offspring, stderr
from .boot import Facts, make, run, run_bare, tell_failure, tell_forkless
from .child import CUT_OFF_CODE, Worker
from .ear import Ear
from .ends import ParentGone
from .lifeline import Lifeline
from .messages import dumps, frame
from .offspring import Child, Stillborn
from .page import IDLE
from .setup import Setup, lead_group, tell_nothing

#: Exit code of a template that cannot fork.
FORKLESS_CODE = 113
#: Seconds between two tries to fork, and after how many the template gives up.
_RETRY, _TRIES = 0.05, 60
#: Seconds that a child has for ending by itself when its task is done; and how many may take their time.
LINGER, _LINGERING = 5.0, 8
#: Seconds that a child has for ending when it can say nothing any more; and by SIGTERM, less than the template has.
CUT_OFF_PATIENCE, END_PATIENCE = 0.05, 0.4

_READY, _DONE, _STOPPED = b"r", b"d", b"s"
#: The parent's word for: end the child for the item that it has at hand. Ignored by default, should it come too late.
CUT_SIGNAL: int = getattr(signal, "SIGURG", 0)


def main(setup: Setup) -> None:
    """The target of the process."""
    if setup.each:
        run_bare(setup, lambda: _serve(None, setup))
    else:
        run(setup, lambda worker: _serve(worker, setup), offspring.warn_of_threads)


def _serve(worker: Worker | None, setup: Setup) -> None:
    try:
        template = Template(worker, setup)
    except OSError as error:  # no descriptors are left
        tell_forkless(setup, error)
        os._exit(FORKLESS_CODE)
    template.serve()


class Template:
    """See the module.

    Args:
        worker: Serves, in the children; None when each of them has the initializer run for itself.
        setup: What the process was given.
    """

    def __init__(self, worker: Worker | None, setup: Setup) -> None:
        self._worker = worker
        self._setup = setup
        self._end = setup.end
        self._pid = os.getpid()
        self._page = setup.page
        self._page.stack_file()  # children share it
        self._outer = setup.lifeline
        self._lifeline = Lifeline(use_thread=setup.lifeline.use_thread)
        self._children: dict[int, Child] = {}
        self._spare: Child | None = None
        self._turn: Child | None = None
        self._going, self._announced = True, False  # announced: that the worker is ready
        self._terminated_since: float | None = None
        self._stillborn = Stillborn()
        self._failures = self._owing = 0  # owing: a doom for which nothing was found at hand
        self._ear = Ear(CUT_SIGNAL, lambda: self._page.doom(255))  # no child begins anything any more
        self._poll = select.poll()
        self._poll.register(self._ear.fileno(), select.POLLIN)
        if self._outer.fileno() >= 0 and not self._outer.armed:
            self._poll.register(self._outer.fileno(), select.POLLIN)
        self._collecting = gc.isenabled()

    # -- the loop ------------------------------------------------------------------------------------------------
    def serve(self) -> None:
        """Forks and waits until it is told to stop."""
        offspring.settle()
        if self._worker is not None:
            self._worker.take_for_pristine()
        gc.disable()
        self._ear.open()
        while self._going:
            if self._turn is None and not self._crowded():
                self._give_turn()
            forks_ahead = self._turn is not None or not self._failures  # else the next try is for the turn
            if self._spare is None and forks_ahead and not self._stillborn.many:
                self._spare = self._fork()
            self._await()
        if self._spare is not None:
            self._spare.give_none()  # it ends when it will have no turn
        while self._children:
            self._await()
        self._ear.close()
        if self._ear.terminated:
            offspring.follow(-signal.SIGTERM)

    def _await(self) -> None:
        waits = (child.done_since + LINGER - monotonic() for child in self._children.values() if child.done_since)
        limit = min(waits, default=inf)
        if (self._turn is not None and self._turn.silent_since is not None) or self._terminated_since is not None:
            limit = CUT_OFF_PATIENCE
        if self._failures and self._going:
            limit = _RETRY
        for fd, _ in self._poll.poll(None if limit == inf else max(limit, 0) * 1000):
            if fd == self._ear.fileno():
                self._ear.drain()
            elif fd == self._outer.fileno():
                self._outer.end()  # nothing is ever written: the parent is gone
            else:
                self._hear()
        self._reap()
        self._heed()
        self._hurry()

    def _crowded(self) -> bool:
        """Whether so many are ending that the next task has to wait: to end them would cost what they still write."""
        return sum(child.done_since is not None for child in self._children.values()) >= _LINGERING

    # -- turns ---------------------------------------------------------------------------------------------------
    def _give_turn(self) -> None:
        if self._stillborn.by_themselves:
            self._give_up()
        child, self._spare = self._spare or self._fork(), None
        if child is None:
            return
        self._stillborn = Stillborn()
        if self._announced or self._worker is None:  # else it was here that the initializer ran
            self._page.tell_holder(child.pid)
        self._turn = child
        self._poll.register(child.words, select.POLLIN)
        child.give_turn(first=not self._announced)

    def _hear(self) -> None:
        """The child whose turn it is says that it is done, or can say nothing any more."""
        child = self._turn
        assert child is not None
        word = child.hear()
        if word == _READY:
            self._announced = True
            return
        self._poll.unregister(child.words)
        child.hear_none()
        if not word:  # dead; or it has closed everything or become another program, and is ended for that
            child.silent_since = monotonic()
            return
        child.done_since = monotonic()
        self._turn = None
        if word == _STOPPED:
            self._going = False

    def _hurry(self) -> None:
        """Children whose task is done, and that do not end, are ended."""
        now = monotonic()
        turn = self._turn
        if turn is not None and turn.silent_since is not None and now >= turn.silent_since + CUT_OFF_PATIENCE:
            turn.end_silent()
        late = self._terminated_since is not None and now >= self._terminated_since + END_PATIENCE
        for child in self._children.values():
            if late or (child.done_since is not None and now >= child.done_since + LINGER):
                child.done_since = now
                child.send_signal(signal.SIGKILL)

    # -- ends ----------------------------------------------------------------------------------------------------
    def _reap(self) -> None:
        for child in list(self._children.values()):
            over, code = child.reap(with_family=not self._setup.daemon)
            if over:
                self._buried(child, code)

    def _buried(self, child: Child, code: int | None) -> None:
        while child is self._turn and child.has_said_something():
            self._hear()  # its last words
        del self._children[child.pid]
        self._page.tell_child(child.place, 0)
        if child is self._spare:
            self._spare = None
            self._stillborn.add(child.pid, code)
            if not self._announced and not self._ear.terminated:
                self._give_up()
        elif child is self._turn:
            self._turn = None
            if child.words >= 0:  # which something that it has forked holds open
                self._poll.unregister(child.words)
            self._tell_of(child, code)
        child.let_go()

    def _tell_of(self, child: Child, code: int | None) -> None:
        job, index, phase = self._page.begun()
        if self._ear.terminated:
            return
        if not self._page.is_at_hand():
            self._follow(None if child.cut_off else code)
        self._page.done()  # nobody is to be ended for it any more
        # Now, because the next child may have words of its own before the parent has read these.
        facts = child.pid, code, phase, child.cut_off, self._page.give_stack(), self._page.said()
        self._page.hear_none()
        self._end.send(frame(messages.DIED, job, index, dumps(facts)))
        self._page.mark(job, index + 1, IDLE)

    def _give_up(self) -> NoReturn:
        """The children have no chance. Where each runs the initializer, that is for the parent to know."""
        self._page.tell_holder(self._stillborn.pid)
        if self._announced and self._worker is None:
            tell_failure(self._setup, ("died", {"exitcode": self._stillborn.code, "said": "", "cut_off": False}))
        self._follow(self._stillborn.code)

    def _follow(self, code: int | None) -> NoReturn:
        """Ends as a child has ended, and all others before: one that has closed everything has no lifeline."""
        for child in self._children.values():
            child.send_signal(signal.SIGKILL)
        offspring.follow(code)

    # -- signals --------------------------------------------------------------------------------------------------
    def _heed(self) -> None:
        """Does what the parent's signals ask for."""
        if self._ear.terminated and self._terminated_since is None:
            self._going = False
            self._terminated_since = monotonic()
            busy = self._turn if self._page.is_at_hand() else None
            for child in self._children.values():
                # One that was forked just now would lose a SIGTERM: Python clears what came during the fork.
                runs = child is busy or child.done_since is not None
                child.send_signal(signal.SIGTERM if runs else signal.SIGKILL)
        if self._ear.cut_asked:
            self._ear.cut_asked = False
            doom = self._page.is_doomed()
            if doom:  # so nothing more comes to hand now
                self._cut(doom)
        if self._owing and not self._page.is_answered():  # the child must not be writing at the same time
            self._end.send(frame(messages.SPARED, 0, self._owing, b""))
            self._owing = 0

    def _cut(self, doom: int) -> None:
        child = self._turn
        if child is None or not self._page.is_at_hand():
            self._owing = doom
            return
        child.send_signal(signal.SIGKILL if child.told == doom else signal.SIGTERM)
        child.told = doom

    # -- the children --------------------------------------------------------------------------------------------
    def _fork(self) -> Child | None:
        try:
            child = offspring.fork(self._page)
        except Exception as error:  # a hook may raise anything
            self._forkless(error)
            return None
        self._children[child.pid] = child
        if not child.pid:
            self._live(child)
        self._failures = 0
        return child

    def _forkless(self, error: Exception) -> None:
        """No process can be had, or no descriptor for it. While another one serves, that is no matter."""
        self._failures = 1 if self._children else self._failures + 1
        if self._failures > _TRIES or not (self._children or isinstance(error, OSError)):
            if not self._announced:  # nor will the next template, so that is the end of the pool
                tell_forkless(self._setup, error)
            self._follow(FORKLESS_CODE)

    def _live(self, me: Child) -> NoReturn:
        """The whole life of a child."""
        code = 1
        try:
            self._shed()
            self._lifeline.arm(group=not self._setup.daemon and lead_group())
            offspring.begin_process()
            stderr.own(True)
            worker = self._worker or make(self._setup)
            if isinstance(worker, Worker):
                worker.begin_anew(self._ear.owner_ends, me.speaker, renew=self._worker is not None)
                worker.rehearse()
            turn = os.read(me.turns, 1)
            if turn:
                goes_on = self._serve_next(worker, me, first=turn == offspring.FIRST_TURN)
                stderr.own(False)  # from now on the page is the next one's
                tell_nothing()
                me.say(_DONE if goes_on else _STOPPED)
                offspring.end_process()
            code = 0
        except ParentGone:
            code = CUT_OFF_CODE
        except BaseException as error:
            if isinstance(error, OSError) and error.errno == errno.EBADF:  # the initializer has closed everything
                code = CUT_OFF_CODE
            else:
                sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(code)

    def _serve_next(self, worker: Worker | Facts, me: Child, *, first: bool) -> bool:
        """In a child whose turn it is, and which alone may write to the parent: serves one request."""
        if not isinstance(worker, Worker):
            tell_failure(self._setup, worker)
            return False
        if first:
            self._page.tell_holder(os.getpid())
            self._end.send(frame(messages.READY, 0, 0, b""))
            me.say(_READY)  # not before: whoever comes after a death in between says it again
        self._page.rewind_stack()  # all children share the position
        return worker.serve_next()

    def _shed(self) -> None:
        """Lets go of what is the template's."""
        self._ear.shed()
        for child in self._children.values():
            child.let_go()
        self._outer.close()
        if self._collecting:
            gc.enable()
