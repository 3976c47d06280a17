"""The supervisor: one thread per pool that carries out what the engine decides, and owns all the I/O.

::

     caller's thread            supervisor thread                    |  worker process 1..n
    +--------------+  Intake   +------------------------------+      |  +-------------------------+
    | IsolatedPool |---------->| Engine: events -> commands   |      |  | Worker: restore globals |
    |              |           |     ^               |        | Request |   run the function      |
    | AsyncResult  |<----------|     |               v        |------|->|   answer                |
    +--------------+  sink     | Supervisor: all of the I/O   |<-----|--|   (or die: exit code)   |
           |                   +------------------------------+  Frame  +-------------------------+
           `---------- fast lane: straight to an idle worker's Channel ---------^

Who does what. *Submitting threads* send to a worker that is on offer as idle and report it, or put the job into the
inbox and wake the supervisor (`engine.intake`). *The supervisor's thread* runs the engine, reads answers, notices
deaths (`engine.mortuary`), looks at memory (`engine.watchdog`), starts and ends workers (`engine.crew`), and hands
outcomes to the jobs' sinks. It runs nothing that a user wrote, blocks on no worker, waits for no other thread, and
holds no reference to the pool object.

What may go wrong: the thread itself fails (a bug, no memory, a program that closes our descriptors): then every task is
settled as terminated and the workers are killed, rather than leaving anybody waiting.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from . import messages
from .channels import Channel
from .collapse import Collapse, Overtaken
from .core import Engine
from .crew import Crew
from .deadlines import Deadlines
from .delivery import deliver
from .intake import Intake
from .latch import Latch
from .mortuary import STOP_GRACE, Mortuary
from .recipe import Recipe
from .reports import report
from .signals import Retractable, start_deaf
from .starting import KILL, TERM_GRACE
from .starvation import Starvation
from .state import STOPPING, Abandon, Command, Cut, Finished, Pause, Recall, Send, Settle, Start, Stop, Tell
from .tally import Tally
from .timers import Timers
from .watchdog import Watchdog

#: Begins the names of threads that must not wait for the end of a pool.
THREAD_NAME = "poolsafe-supervisor"
#: Seconds for which the end of all workers is waited for at most.
END_PATIENCE = 15.0
#: Seconds for which one callback may hold up others; and for which anything is done about it after `terminate`.
CALLBACK_PATIENCE, CALLBACK_GRACE = 1.0, 5.0
#: Seconds that a single task has for being done before the worker is replaced that it used up.
SPARE_DELAY = 0.002
#: Seconds between two looks at what no event announces: stopped workers, full channels, stuck callbacks.
TICK = 0.2


class CallbackRunner(Protocol):
    """What the supervisor needs of the thread that runs callbacks."""

    done: Latch

    @property
    def waiting(self) -> bool:
        """Whether a callback waits for another."""

    def relieve(self, patience: float = ...) -> None:
        """Looks whether one takes longer than so many seconds."""

    def close(self) -> None:
        """No more will come."""


class Supervisor:
    """Runs one pool.

    Args:
        recipe: How to make workers.
        processes: How many.
        budget: Items after which a worker is replaced, or None.
        callbacks: Looked after now and then.
        spares: Whether replacements are started ahead.
    """

    def __init__(
        self, recipe: Recipe, processes: int, budget: int | None, callbacks: CallbackRunner, *, spares: bool = False
    ) -> None:
        self.engine: Engine = Engine(processes, recipe.depth, budget, spares=spares)
        self.finished: Latch = Latch()
        #: Called with what workers tell of leaks and of costs: kind of frame, and its content.
        self.listener: Callable[[int, Any], None] = lambda kind, told: None
        self.timers: Timers = Timers(time.monotonic)
        self.crew: Crew = Crew(recipe, self._announce)
        self._collapse = Collapse(self, THREAD_NAME)
        self.intake: Intake = Intake(self.crew.poller, self.engine.submitted, self.engine.sent, self._collapse.beside)
        self.tally: Tally = Tally()
        self.deadlines: Deadlines = Deadlines(self.engine, self.crew, self.timers)
        self.starvation: Starvation = Starvation()
        self._watchdog = Watchdog(recipe.max_memory, self.engine, self.crew, self.deadlines, self.timers)
        self.mortuary: Mortuary = Mortuary(self)
        self._callbacks = callbacks
        self._terminated = False
        self._ticking = False
        self._stirred = False
        self._todo: deque[Command] = deque()
        self._commands: dict[type, Callable[[Any], None]] = {
            Settle: self._settle, Send: self._send, Recall: self._recall, Start: self._start, Stop: self._stop,
            Cut: self._cut, Tell: self._tell,
            Pause: self._pause, Abandon: self._abandon, Finished: self._finish,
        }  # fmt: skip
        self._thread = Retractable(self._run, THREAD_NAME)

    # -- any thread ----------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Starts the workers, then the thread. On failure nothing is left, and the reason comes through."""
        self.crew.start_all([self.engine.adopt() for _ in range(self.engine.processes)])
        try:
            start_deaf(self._thread)
            self.crew.settled()
        except BaseException:  # out of a signal's handler, perhaps, when the thread works with all this already
            (self.crew.undo if self._thread.retract() else self.end)()
            raise

    @property
    def foreign(self) -> bool:
        """Whether this is a forked child of the process that the pool belongs to."""
        return self.crew.foreign

    def cancel(self, jobs: Iterable[int], then: Callable[[], object] | None = None) -> None:
        """Nobody wants these jobs any more; `then` is called when that is carried out, unless all is over."""
        self.intake.post(self.engine.cancelled, jobs, then)

    def disown(self, owner: Any, then: Callable[[], object] | None = None) -> None:
        """The same for all jobs of this owner."""
        self.intake.post(self.engine.disowned, owner, then)

    def terminate(self) -> None:
        """Asks for the end of everything, now; `finished` opens when it has come."""
        self._terminated = True
        self.intake.post(self.engine.terminate)

    def end(self) -> None:
        """Ends everything, and waits for it: what is left to do when the pool is dropped or the program exits."""
        self.terminate()
        self.wait_for_end()

    def wait_for_end(self) -> None:
        """Waits for the end that was asked for, unless this is a thread that others may be waiting for.

        The garbage collector may finalize a pool in any thread, also in a supervisor's: that one must not wait.
        """
        if not threading.current_thread().name.startswith(THREAD_NAME):
            self.finished.wait(END_PATIENCE)

    def rouse(self) -> None:
        """Has a look taken at jobs that were sent past the supervisor: their worker may be stopped."""
        self.intake.post(self._callbacks.relieve)

    def inside(self) -> bool:
        """Whether the calling thread is the supervisor's own."""
        return threading.current_thread() is self._thread

    def join(self, timeout: float | None) -> None:
        """Waits for the thread's end, which follows on `finished`; not in that thread."""
        if not self.inside():
            self._thread.join(timeout)

    def _announce(self, channel: Channel) -> None:
        self.intake.post(self._announced, channel)

    # -- the thread ----------------------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            while self.intake.over is None:
                self.take_in()
                self._carry_out(self.engine.step())
                if self.intake.over is None:
                    self._sleep()
            self._callbacks.close()
            self._see_callbacks_off()
        except Overtaken:
            return
        except BaseException as error:
            self._collapse.come(error)
            raise

    def _see_callbacks_off(self) -> None:
        """Results that came may wait for callbacks yet: none of these may hold up the others."""
        until = time.monotonic() + CALLBACK_GRACE
        while not self._callbacks.done.wait(TICK) and not (self._terminated and time.monotonic() > until):
            self._callbacks.relieve(0.0 if self._terminated else CALLBACK_PATIENCE)

    def take_in(self) -> None:
        """Tells the engine what was submitted so far."""
        self.intake.take(bool(self.engine.pending))

    def _sleep(self) -> None:
        intake = self.intake
        intake.offer(self.crew.channels(self.engine.idle()))
        if not intake.alert:
            self.engine.orphans.clear()  # nobody has a worker on loan, so nobody will report a job for them
        self._watchdog.wake()
        if not self._ticking and self._restless():
            self._ticking = True
            self.timers.after(TICK, self._tick)
        intake.asleep = True  # first this, then a look: who appends after the look sees it, and wakes us
        keys = self.crew.poller.wait(0 if intake.pressing() else self.timers.timeout())
        self._collapse.awake()
        self.take_in()
        for lane, watched in keys:
            if lane not in self.crew.workers:
                continue
            if isinstance(watched, int):
                self.crew.poller.unregister(watched)
                self.mortuary.suspect(lane, ended=True)
            else:
                self._read(lane, watched)
        self.timers.run_due()

    def _carry_out(self, commands: list[Command]) -> None:
        self._todo.extend(commands)
        while self._todo:
            self._stirred = False
            while self._todo:
                command = self._todo.popleft()
                self._commands[type(command)](command)
            if self._stirred:
                self._todo.extend(self.engine.step())

    # -- commands ------------------------------------------------------------------------------------------------
    def _settle(self, command: Settle) -> None:
        self.tally.settled[command.kind] += 1
        command.job.sink(command.index, command.kind, command.data)

    def _send(self, command: Send) -> None:
        lane, part, start, stop = command
        if self.engine.lanes[lane].parts.get(part.job.ident) is not part:
            return  # settled by a command before this one
        if not self.crew.workers[lane].channel.try_send(part.job.ident, start, stop, part.job.payload):
            self.engine.refused(lane, part, start, stop)
            self._stirred = True
        elif part.job.terms.limit is not None:
            self.deadlines.watch(lane, part.job.terms.limit)

    def _recall(self, command: Recall) -> None:
        job = self.crew.workers[command.lane].channel.recall()
        if job is not None:
            self.engine.recalled(command.lane, job)
            self._stirred = True

    def _cut(self, command: Cut) -> None:
        self.deadlines.cut(*command)
        self._stirred = True

    def _tell(self, command: Tell) -> None:
        command.call()

    def _start(self, command: Start) -> None:
        try:
            self.crew.start(command.lane)
        except BaseException as error:
            self.engine.start_failed(command.lane)
            # EOFError: the fork server was just ending. Anything else would come again and again.
            if isinstance(error, (OSError, EOFError, MemoryError)) and not self.crew.refused():
                self._stirred = True
                report(f"a worker could not be started ({type(error).__name__}: {error}); trying again")
                return
            self.give_up_for(("start", {"type": type(error).__name__, "text": messages.safe_str(error)}), None)

    def _stop(self, command: Stop) -> None:
        self.crew.workers[command.lane].channel.try_stop()

    def _pause(self, command: Pause) -> None:
        delay = 0.05 * 2 ** min(command.failures, 4) if command.failures else SPARE_DELAY
        self.timers.after(delay, self.engine.resume)

    def _abandon(self, _: Abandon) -> None:
        self.crew.signal_all(signal.SIGTERM)
        self.timers.after(TERM_GRACE, self._kill_all)

    def _kill_all(self) -> None:
        self.crew.signal_all(KILL)
        self.timers.after(STOP_GRACE, self._give_up)

    def _give_up(self) -> None:
        """Not even SIGKILL ended them (an uninterruptible system call): do not wait for ever."""
        for lane in list(self.crew.workers):
            self.mortuary.bury(lane, None)

    def _finish(self, _: Finished) -> None:
        self.intake.reclaim()
        self.intake.over = self.engine.belated
        self.intake.settle_leftovers()
        self.crew.close()
        self.finished.open()

    # -- answers -------------------------------------------------------------------------------------------------
    def _announced(self, channel: Channel) -> None:
        lane = self.crew.lane_of(channel)
        if lane is not None:  # else buried in the meantime
            self._read(lane, channel)

    def _read(self, lane: int, channel: Channel) -> None:
        frames, alive = channel.receive()
        self.deliver(lane, frames)
        if not alive:
            if channel.fileno() >= 0:
                self.crew.poller.unregister(channel)
            self.mortuary.suspect(lane, ended=False)

    def deliver(self, lane: int, frames: list[messages.Frame]) -> None:
        """Tells the engine what a worker sent."""
        deliver(self, lane, frames)

    def give_up_for(self, reason: Any, pid: int | None) -> None:
        """Workers cannot become ready: everything is settled with the reason."""
        self.engine.broken((reason, pid))
        self._stirred = True

    # -- now and then --------------------------------------------------------------------------------------------
    def _restless(self) -> bool:
        stopping = any(lane.state == STOPPING for lane in self.engine.lanes.values())
        return bool(self.engine.jobs) or self._callbacks.waiting or stopping

    def _tick(self) -> None:
        self._ticking = False
        self._callbacks.relieve()
        self.mortuary.tick()
        self._carry_out(self.engine.nudge())

    # -- failures of our own -------------------------------------------------------------------------------------
    def settle_all(self, failure: str) -> None:
        """The loop itself failed: everybody who waits is told so."""
        self._terminated = True
        self.engine.terminate(failure)
        for command in (*self._todo, *self.engine.step()):
            if isinstance(command, Settle):
                self._settle(command)

    def finish(self) -> None:
        """The last of it."""
        self._callbacks.close()
        self._finish(Finished())
