"""From the first sign that a worker is dead to what that means for its tasks.

Signs are: its pidfd or sentinel is readable, or its channel has ended. Any of them is believed: a sentinel may stay
open because a grandchild holds it, an exit status may be taken by somebody else's `waitpid`, a task may close every
descriptor. A worker whose channel has ended cannot do anything for us any more, and is killed.

Used by: supervisor, in its thread. What may go wrong: nobody ever learns the exit code (after a moment the worker is
buried without one); or it cannot be ended, and is buried alive, lest its task wait for it. Or the program has closed
the descriptors that tie its workers to it, which ends them: no task is blamed for that; it ends the pool (`collapse`).
"""

from __future__ import annotations

import signal
from math import inf
from typing import Any, NamedTuple, Protocol

from . import messages
from .child import CUT_OFF_CODE
from .core import Engine
from .crew import Crew
from .deadlines import Deadlines, Overdue
from .intake import Intake
from .page import IDLE, Begun
from .signals import FAULTS
from .starting import KILL
from .starvation import Starvation
from .state import STARTING, STOPPING, Death, Fate, Lane
from .tally import Tally
from .template import FORKLESS_CODE
from .timers import Timers
from .workers import Worker

#: Seconds to wait for an exit code when the process is known to have ended.
CODE_PATIENCE = 0.2
#: Seconds to wait for the process to end when its channel has.
END_PATIENCE = 1.0
#: Seconds that a worker has for ending by itself when it was told to, with nothing left to do.
STOP_GRACE = 5.0
#: Seconds after which a worker that takes up nothing of what it was sent is of no use: it is stopped, or held by what a
#: task has left (a signal's handler, C code in a thread), or it had read that it is to end when a submitter sent that,
#: and waits for a thread. Much longer than the busiest machine needs.
STUCK_GRACE = 30.0
#: Bytes of arguments in a second, on the slowest of machines.
_SLOWEST = 10e6
#: So many seconds count, of those since the last look: the whole program may have been stopped.
_LOOKED = 1.0
#: Seconds that a process has for ending by itself when its channel has ended, before it is killed.
CUT_OFF_PATIENCE = 0.05
_AGAIN = 0.01
#: Exit codes of a process that was ended for its item.
_ENDS = (-signal.SIGTERM, -KILL)


class Owner(Protocol):
    """What the mortuary needs of the supervisor."""

    engine: Engine
    intake: Intake
    timers: Timers
    crew: Crew
    tally: Tally
    deadlines: Deadlines
    starvation: Starvation

    def take_in(self) -> None:
        """Tells the engine what was submitted so far."""

    def deliver(self, lane: int, frames: Any) -> None:
        """Tells the engine what a worker sent."""


class _Suspicion:
    """What is known of a worker that is probably dead."""

    __slots__ = ("cut_off", "ended", "since")

    def __init__(self, since: float, ended: bool, cut_off: bool = False) -> None:
        self.since = since
        self.ended = ended
        self.cut_off = cut_off


class _Stillness(NamedTuple):
    """For how long a worker has had something to do, and done nothing."""

    begun: Begun
    seen: float
    waited: float


class Mortuary:
    """See the module."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._suspected: dict[int, _Suspicion] = {}
        self._stopping: dict[int, float] = {}
        self._still: dict[int, _Stillness] = {}
        self._burying = False
        owner.deadlines.give_up = lambda lane: self.bury(lane, None)

    def suspect(self, lane: int, *, ended: bool) -> None:
        """There is a sign that the lane's worker is dead; `ended` when it is the process itself that ended."""
        known = self._suspected.get(lane)
        if known is None or (ended and not known.ended):
            self._suspected[lane] = _Suspicion(self._owner.timers.clock(), ended, known is not None and known.cut_off)
        if self._burying:  # one funeral at a time: hundreds of workers may end together
            self._owner.timers.after(0, lambda: self._look(lane))
        else:
            self._look(lane)

    def _look(self, lane: int) -> None:
        suspicion = self._suspected.get(lane)
        if suspicion is None:
            return  # buried in the meantime
        worker = self._owner.crew.workers[lane]
        code = worker.exitcode
        age = self._owner.timers.clock() - suspicion.since
        ended = suspicion.ended and not worker.lives()  # exec closes a sentinel, and the process goes on
        if code is not None or age >= (CODE_PATIENCE if ended else END_PATIENCE):
            self.bury(lane, code)
            return
        if not ended and not suspicion.cut_off and age >= CUT_OFF_PATIENCE and not worker.is_ending():
            suspicion.cut_off = True
            worker.send_signal(KILL)
        self._owner.timers.after(_AGAIN, lambda: self._look(lane))

    def bury(self, lane: int, code: int | None) -> None:
        """Finds out what the dead worker leaves behind, and tells the engine."""
        owner = self._owner
        self._burying = True
        owner.intake.reclaim()  # nobody shall send to it any more
        owner.take_in()
        self._burying = False
        worker = owner.crew.workers[lane]
        worker.send_signal(KILL)  # should it live for all that, it must not go on behind our back
        frames, unread, begun = worker.last_words()
        owner.deliver(lane, frames)
        suspicion = self._suspected.pop(lane, None)
        cut_off = code == CUT_OFF_CODE or (suspicion is not None and suspicion.cut_off and code == -KILL)
        self._stopping.pop(lane, None)
        self._still.pop(lane, None)
        owner.crew.remove(lane)
        owner.tally.add_times(*worker.times())
        starting = owner.engine.lanes[lane].state == STARTING
        pid = worker.initializing if starting else worker.serving if begun.phase else worker.pid
        hindered = starting and worker.was_hindered(code)
        stack, said = worker.take_stack(), worker.said()
        scarce = starting and code == FORKLESS_CODE
        endless = code is None and worker.lives()
        at_work = begun.phase != IDLE and worker.since() != inf  # else it ended as the item's process had
        host = worker.pid if at_work and pid != worker.pid and not starting else None
        fate = Fate(
            pid, code, cut_off, stack=stack, said=said, hindered=hindered, scarce=scarce, endless=endless, host=host
        )
        worker.release()  # before it is told: should our end be closed, that is what has ended the worker
        owner.engine.lost(lane, self._explained(Death(fate, *begun, unread), owner.deadlines.reason(lane)))

    def told(self, lane: int, kind: int, job: int, index: int, data: bytes) -> None:
        """A worker that goes on tells of the process that ran one item: it is dead, or there is none to be ended."""
        deadlines = self._owner.deadlines
        if kind == messages.SPARED:
            deadlines.spared(lane, index)
            return
        pid, code, phase, cut_off, stack, said = messages.loads(data)
        fate = Fate(pid, code, cut_off and code == -KILL, stack=stack, said=said)
        death = Death(fate, job, index, phase, frozenset())
        overdue = deadlines.reason_for(lane, job, index)
        if overdue is None and code in _ENDS and deadlines.is_overdue(lane):
            death = death._replace(ended=True)  # perhaps: for the item before it
        self._owner.engine.perished(lane, self._explained(death, overdue))

    def _explained(self, death: Death, overdue: Overdue | None) -> Death:
        """The death, and why its process was ended, if it was.

        Raises:
            OSError: The program has ended it, and all others, by closing our descriptors: the pool is at its end.
        """
        self._owner.crew.check()
        fate = death.fate
        if overdue is None:
            if -(fate.exitcode or 0) not in FAULTS:  # a process of an earlier task may have crashed, which went on
                fate = fate._replace(stack="")
            if fate.exitcode == -KILL and not fate.cut_off and not death.ended:
                fate = fate._replace(starved=self._owner.starvation.witness())
            return death._replace(fate=fate)
        if overdue.failed == (death.job, death.index):
            death = death._replace(phase=IDLE)  # it was heard; and if it comes again, that one had not begun
        if (overdue.job, overdue.index) != (death.job, death.index):  # done by then, so the stack is another item's
            return death._replace(fate=fate._replace(stack=""), ended=True)
        return death._replace(fate=fate._replace(limit=overdue.limit, used=overdue.used), ended=True)

    def tick(self) -> None:
        """Ends workers that were told to end, have nothing left to do, and do not; and those that take nothing up."""
        engine = self._owner.engine
        # Those that retired have threads to wait for, perhaps; but as many of their places are needed.
        wanted, room = engine.openings()
        missing = wanted - room
        for lane in list(engine.lanes.values()):
            worker = self._owner.crew.workers.get(lane.ident)
            if worker is None:
                continue
            if lane.parts and not lane.retired:
                self._end_if_stuck(lane, worker)
            elif lane.state == STOPPING:
                needed = lane.retired and missing > 0
                missing -= needed
                self._end_if_late(lane.ident, worker, 0 if needed else STOP_GRACE)

    def _end_if_late(self, lane: int, worker: Worker, grace: float) -> None:
        now = self._owner.timers.clock()
        since = self._stopping.get(lane)
        if since is None:
            self._stopping[lane] = now
            worker.channel.try_stop()  # once more: the first may have found the channel full
        elif now - since > grace:
            worker.send_signal(KILL)

    def _end_if_stuck(self, lane: Lane, worker: Worker) -> None:
        if not worker.takes_up_at_once:
            return
        now = self._owner.timers.clock()
        begun = worker.begun()
        # Nothing; or what is answered, and its answer was heard: nobody knows how long it takes to send one.
        has_nothing = begun.phase == IDLE or (worker.since() == inf and begun.job not in lane.parts)
        before = self._still.get(lane.ident)
        if before is None or not has_nothing or begun != before.begun:
            self._still[lane.ident] = _Stillness(begun, now, 0.0)
            return
        waited = before.waited + min(now - before.seen, _LOOKED)
        self._still[lane.ident] = _Stillness(begun, now, waited)
        patience = STUCK_GRACE + sum(len(part.job.payload) for part in lane.parts.values()) / _SLOWEST
        deadlines = self._owner.deadlines
        if waited > patience and not deadlines.is_overdue(lane.ident) and deadlines.doom_idle(lane.ident, begun):
            worker.send_signal(KILL)
