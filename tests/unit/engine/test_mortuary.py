"""From the first sign of a death to the engine's event, with workers and a clock of the test's own."""

from __future__ import annotations

import math
import signal
from typing import Any

import pytest

from poolsafe.engine import messages
from poolsafe.engine.child import CUT_OFF_CODE
from poolsafe.engine.core import Engine
from poolsafe.engine.deadlines import Deadlines
from poolsafe.engine.mortuary import CODE_PATIENCE, END_PATIENCE, STOP_GRACE, STUCK_GRACE, Mortuary
from poolsafe.engine.page import IDLE, RECEIVED, RUNNING, Begun
from poolsafe.engine.starting import KILL
from poolsafe.engine.state import LOST, READY, STOPPING, Job, Settle
from poolsafe.engine.tally import Tally
from poolsafe.engine.timers import Timers


class FakeChannel:
    def __init__(self) -> None:
        self.stops = 0

    def try_stop(self) -> bool:
        self.stops += 1
        return True


class FakeWorker:
    """A worker whose end is the test's to tell."""

    def __init__(self, pid: int) -> None:
        self.pid = self.serving = self.initializing = pid
        self.exitcode: int | None = None
        self.channel = FakeChannel()
        self.signals: list[int] = []
        self.dooms: list[int] = []
        self.words: tuple[Any, frozenset[int], Begun] = ([], frozenset(), Begun(0, 0, IDLE))
        self.next_words: tuple[Any, frozenset[int], Begun] | None = None
        self.released = False
        self.since_when = 0.0
        self.living = self.ending = False
        self.takes_up_at_once = True

    def begun(self) -> Begun:
        return self.words[2]

    def since(self) -> float:
        return self.since_when

    def doom(self, number: int) -> None:
        self.dooms.append(number)
        self.words = self.next_words or self.words

    def end_item(self, attempt: int) -> None:
        self.signals.append(attempt)

    def was_hindered(self, code: int | None) -> bool:
        return False

    def lives(self) -> bool:
        return self.living

    def is_ending(self) -> bool:
        return self.ending

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def last_words(self) -> tuple[Any, frozenset[int], Begun]:
        return self.words

    def take_stack(self) -> str:
        return "a stack"

    def said(self) -> str:
        return "words"

    def times(self) -> tuple[float, float]:
        return 2.0, 0.5

    def release(self) -> None:
        self.released = True


class FakeCrew:
    def __init__(self) -> None:
        self.workers: dict[int, FakeWorker] = {}
        self.severed = False

    def check(self) -> None:
        if self.severed:
            raise OSError(9, "Bad file descriptor")

    def remove(self, lane: int) -> FakeWorker:
        return self.workers.pop(lane)


class FakeIntake:
    def __init__(self) -> None:
        self.reclaimed = 0

    def reclaim(self) -> None:
        self.reclaimed += 1


class FakeStarvation:
    """A kernel that says what the test has it say."""

    def __init__(self) -> None:
        self.word = ""
        self.asked = 0

    def witness(self) -> str:
        self.asked += 1
        return self.word


class House:
    """What owns the mortuary: an engine with one worker, and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers = Timers(lambda: self.now)
        self.engine = Engine(1)
        self.crew = FakeCrew()
        self.intake = FakeIntake()
        self.tally = Tally()
        self.events: list[str] = []
        self.late: Any = None
        self.settled: list[tuple[int, int, Any]] = []
        self.deadlines = Deadlines(self.engine, self.crew, self.timers)  # type: ignore[arg-type]
        self.starvation = FakeStarvation()
        self.mortuary = Mortuary(self)  # type: ignore[arg-type]
        self.lane = self.engine.adopt()
        self.worker = self.crew.workers[self.lane] = FakeWorker(77)
        self.engine.ready(self.lane)

    def take_in(self) -> None:
        self.events.append("take in")
        if self.late is not None:
            late, self.late = self.late, None
            late()

    def deliver(self, lane: int, frames: Any) -> None:
        for kind, job, index, data in frames:
            self.engine.outcome(lane, job, index, kind, data)

    def run(self, ident: int) -> None:
        """The worker is given a job of one item."""
        self.engine.submitted(Job(ident, b"", 1, lambda *outcome: None))
        self.carry_out()

    def carry_out(self) -> None:
        for command in self.engine.step():
            if isinstance(command, Settle):
                self.settled.append((command.job.ident, command.kind, command.data))

    def look_on(self, seconds: float) -> None:
        """Time goes by, and now and then somebody looks."""
        end = self.now + seconds
        self.mortuary.tick()
        while self.now < end:
            self.now += 0.25
            self.mortuary.tick()

    def wait(self, seconds: float) -> None:
        """Time goes by, in small steps."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.005
            self.timers.run_due()

    @property
    def buried(self) -> bool:
        return self.worker.released


@pytest.fixture
def house() -> House:
    return House()


def test_an_exit_code_is_enough(house: House) -> None:
    house.run(5)
    house.worker.exitcode = -9
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.mortuary.suspect(house.lane, ended=True)
    assert house.buried
    house.carry_out()
    [(ident, kind, lost)] = house.settled
    assert (ident, kind) == (5, LOST)
    assert (lost.fate.pid, lost.fate.exitcode, lost.may_have_run, lost.fate.cut_off) == (77, -9, True, False)
    assert house.worker.signals == [KILL]  # once, at the burial: it must not go on behind our back
    assert house.crew.workers == {}


def test_a_task_is_not_blamed_when_the_program_has_cut_off_the_workers(house: House) -> None:
    """The failure goes to the supervisor, which ends the pool; of the worker nothing is left."""
    house.run(5)
    house.worker.exitcode = -KILL
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.crew.severed = True
    with pytest.raises(OSError, match="descriptor"):
        house.mortuary.suspect(house.lane, ended=True)
    assert house.buried
    house.carry_out()
    assert house.settled == []


def test_a_sentinel_that_ends_before_its_process(house: House) -> None:
    """As after exec(): the process is killed, waited for, and said to have been cut off."""
    house.run(5)
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.worker.living = True
    house.mortuary.suspect(house.lane, ended=False)
    house.mortuary.suspect(house.lane, ended=True)
    house.wait(CODE_PATIENCE * 2)
    assert (house.buried, house.worker.signals) == (False, [KILL])
    house.worker.exitcode = -KILL
    house.wait(0.05)
    assert house.buried
    house.carry_out()
    [(_, _, lost)] = house.settled
    assert (lost.fate.exitcode, lost.fate.cut_off) == (-KILL, True)


def test_an_exit_code_that_comes_late_is_waited_for(house: House) -> None:
    house.mortuary.suspect(house.lane, ended=True)
    house.wait(CODE_PATIENCE / 2)
    assert not house.buried
    house.worker.exitcode = 3
    house.wait(0.05)
    assert house.buried
    assert house.worker.signals == [KILL]  # once, at the burial: it must not go on behind our back


def test_an_exit_code_that_never_comes(house: House) -> None:
    house.run(5)
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.mortuary.suspect(house.lane, ended=True)
    house.wait(CODE_PATIENCE + 0.1)
    assert house.buried
    assert house.worker.signals == [KILL], "it may be alive: it must not go on behind our back"
    house.carry_out()
    assert house.settled[0][2].fate.exitcode is None


def test_a_worker_whose_channel_ended_is_killed(house: House) -> None:
    house.run(5)
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.mortuary.suspect(house.lane, ended=False)
    house.wait(END_PATIENCE / 2)
    assert house.worker.signals == [KILL]
    assert not house.buried
    house.worker.exitcode = -signal.SIGKILL
    house.wait(0.05)
    assert house.buried
    house.carry_out()
    assert house.settled[0][2].fate.cut_off, "it was we who killed it, because the task cut it off"


def test_a_worker_that_takes_its_time_to_end_was_not_cut_off(house: House) -> None:
    """It was killed by somebody else, and has closed its files; the rest of its end is slow, as on a busy machine."""
    house.run(5)
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.worker.ending = True
    house.mortuary.suspect(house.lane, ended=False)
    house.wait(END_PATIENCE / 2)
    assert (house.buried, house.worker.signals) == (False, [])
    house.worker.exitcode = -KILL
    house.wait(0.05)
    assert house.buried
    house.carry_out()
    assert not house.settled[0][2].fate.cut_off


def test_a_worker_that_ends_by_itself_after_its_channel_is_not_killed(house: House) -> None:
    house.mortuary.suspect(house.lane, ended=False)
    house.worker.exitcode = 0
    house.wait(0.05)
    assert house.buried
    assert house.worker.signals == [KILL]  # once, at the burial: it must not go on behind our back


def test_a_worker_that_was_cut_off_says_so(house: House) -> None:
    house.run(5)
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.worker.exitcode = CUT_OFF_CODE
    house.mortuary.suspect(house.lane, ended=True)
    house.carry_out()
    assert house.settled[0][2].fate.cut_off


def test_not_even_killing_helps(house: House) -> None:
    house.mortuary.suspect(house.lane, ended=False)
    house.wait(END_PATIENCE + 0.1)
    assert house.buried
    assert house.worker.signals == [KILL, KILL]


@pytest.mark.parametrize("signs", [(False, True), (True, False), (True, True), (False, False)])
def test_two_signs_are_one_death(house: House, signs: tuple[bool, bool]) -> None:
    for ended in signs:
        house.mortuary.suspect(house.lane, ended=ended)
    house.worker.exitcode = -9
    house.wait(0.1)
    assert house.buried
    house.wait(5)  # nothing of it is left that looks again
    assert house.engine.lanes == {}


def test_answers_that_were_under_way_count(house: House) -> None:
    house.run(5)
    house.worker.exitcode = -9
    house.worker.words = ([(messages.VALUE, 5, 0, b"value")], frozenset(), Begun(5, 1, IDLE))
    house.mortuary.suspect(house.lane, ended=True)
    house.carry_out()
    assert house.settled == [(5, messages.VALUE, b"value")]


def test_reports_are_taken_in_before_the_engine_hears_of_the_death(house: House) -> None:
    job = Job(5, b"", 1, lambda *outcome: None)
    house.late = lambda: house.engine.sent(job, house.lane)
    house.worker.exitcode = -9
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.mortuary.suspect(house.lane, ended=True)
    house.carry_out()
    assert house.settled[0][:2] == (5, LOST)
    assert house.intake.reclaimed >= 1


def test_what_is_taken_in_may_announce_the_same_death(house: House) -> None:
    house.worker.exitcode = -9
    house.late = lambda: house.mortuary.suspect(house.lane, ended=False)
    house.mortuary.suspect(house.lane, ended=True)
    assert house.buried
    assert house.engine.lanes == {}


@pytest.mark.parametrize(("starting", "phase", "pid"), [(True, IDLE, 79), (False, RUNNING, 78), (False, IDLE, 77)])
def test_the_pid_is_that_of_the_process_which_was_at_work(
    house: House, monkeypatch: pytest.MonkeyPatch, starting: bool, phase: int, pid: int
) -> None:
    """A worker may have processes of its own for tasks, and for the initializer."""
    lane = house.engine.adopt()
    if not starting:
        house.engine.ready(lane)
    worker = house.crew.workers[lane] = FakeWorker(77)
    worker.serving, worker.initializing, worker.exitcode = 78, 79, 1
    worker.words = ([], frozenset(), Begun(5, 0, phase))
    told: list[tuple[int, Any]] = []
    monkeypatch.setattr(house.engine, "lost", lambda *what: told.append(what))
    house.mortuary.bury(lane, 1)
    [(of, death)] = told
    assert (of, death.fate.pid) == (lane, pid)


@pytest.mark.parametrize(("serving", "since", "host"), [(77, 0.0, None), (78, 0.0, 77), (78, math.inf, None)])
def test_which_process_has_ended_is_told(house: House, serving: int, since: float, host: int | None) -> None:
    """That of the item, or the one that it was forked from; which ends as the item's did when that was about done."""
    house.run(5)
    house.worker.serving, house.worker.since_when = serving, since
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.mortuary.bury(house.lane, -11)
    house.carry_out()
    [(_, _, lost)] = house.settled
    assert (lost.fate.pid, lost.fate.host) == (serving, host)


def test_a_worker_that_was_told_to_end_and_does_not_is_killed(house: House) -> None:
    house.engine.close()
    house.carry_out()
    assert house.engine.lanes[house.lane].state == STOPPING
    house.mortuary.tick()
    assert house.worker.channel.stops == 1, "told once more: the first may have found the channel full"
    house.now += STOP_GRACE
    house.mortuary.tick()
    assert house.worker.signals == []
    house.now += 0.1
    house.mortuary.tick()
    assert house.worker.signals == [KILL]


def test_a_worker_that_still_has_work_is_left_alone(house: House) -> None:
    house.run(5)
    house.engine.lanes[house.lane].state = STOPPING
    for phase in (RECEIVED, RUNNING):
        house.worker.words = ([], frozenset(), Begun(5, 0, phase))
        house.look_on(2 * STUCK_GRACE)
    assert house.worker.signals == []
    assert house.worker.channel.stops == 0


@pytest.mark.parametrize("state", [READY, STOPPING])
def test_one_that_does_not_take_up_what_it_was_sent_is_killed(house: House, state: str) -> None:
    """It is stopped; or it has read that it is to end before what a submitter sent it just then, and does not end."""
    house.run(5)
    house.engine.lanes[house.lane].state = state
    for index in range(3):  # it is at work
        house.worker.words = ([], frozenset(), Begun(4, index, IDLE))
        house.look_on(STUCK_GRACE - 1)
    assert house.worker.signals == []
    house.look_on(1.25)
    assert house.worker.signals == [KILL]
    assert house.worker.dooms == [1]
    house.mortuary.bury(house.lane, -KILL)
    house.carry_out()
    assert house.settled == []
    assert 5 in house.engine.jobs, "which goes to another one"


def test_one_that_stays_at_what_it_has_answered_is_killed(house: House) -> None:
    house.run(5)
    house.run(6)
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.worker.since_when = math.inf
    house.look_on(2 * STUCK_GRACE)
    assert house.worker.signals == [], "its answer may be under way"
    house.engine.outcome(house.lane, 5, 0, messages.VALUE, b"")
    house.look_on(STUCK_GRACE + 0.25)
    assert house.worker.signals == [KILL]
    house.mortuary.bury(house.lane, -KILL)
    house.carry_out()
    assert house.settled == [(5, messages.VALUE, b"")]
    assert 6 in house.engine.jobs


def test_one_that_runs_what_nobody_waits_for_is_not(house: House) -> None:
    """Its submitter was interrupted before it could report."""
    house.run(6)
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.look_on(2 * STUCK_GRACE)
    assert house.worker.signals == []


def test_one_that_has_nothing_to_do_is_not(house: House) -> None:
    house.look_on(10 * STUCK_GRACE)
    assert (house.worker.signals, house.worker.dooms) == ([], [])


def test_nor_is_one_when_the_whole_program_was_stopped(house: House) -> None:
    house.run(5)
    house.mortuary.tick()
    house.now += 100 * STUCK_GRACE
    house.mortuary.tick()
    assert house.worker.dooms == []


def test_one_whose_initializer_may_be_running_is_not(house: House) -> None:
    house.worker.takes_up_at_once = False
    house.run(5)
    house.look_on(10 * STUCK_GRACE)
    assert house.worker.signals == []


def test_what_is_long_has_longer(house: House) -> None:
    house.engine.submitted(Job(5, bytes(50_000_000), 1, lambda *outcome: None))
    house.carry_out()
    house.look_on(STUCK_GRACE + 4)
    assert house.worker.signals == []
    house.look_on(2)
    assert KILL in house.worker.signals


def test_one_that_takes_it_up_just_then_is_not(house: House) -> None:
    house.run(5)
    house.look_on(STUCK_GRACE)
    house.worker.next_words = [], frozenset(), Begun(5, 0, RECEIVED)
    house.look_on(0.25)
    assert house.worker.dooms == [1, 0]
    assert house.worker.signals == []


def test_nor_is_one_that_is_ended_already(house: House) -> None:
    house.run(5)
    house.worker.words = ([], frozenset(), Begun(4, 0, RUNNING))
    house.deadlines._end(house.lane, lambda seen: True, limit=1.5)
    house.worker.words = ([], frozenset(), Begun(4, 1, IDLE))
    house.look_on(STUCK_GRACE + 1)
    assert house.worker.dooms == [1]


def test_a_worker_that_retired_is_not(house: House) -> None:
    house.run(5)
    house.run(6)
    house.engine.retired(house.lane, 5, b"")
    assert house.engine.lanes[house.lane].parts, "there is still something that nobody took back"
    house.mortuary.tick()
    house.now += 2 * STOP_GRACE
    house.mortuary.tick()
    assert house.worker.signals == [KILL]


def test_one_that_retired_has_its_time_while_nobody_needs_its_place(house: House) -> None:
    house.engine.retired(house.lane, 0, None)
    house.carry_out()
    house.look_on(STOP_GRACE - 0.25)
    assert len(house.engine.lanes) == 2, "another one has come for it"
    assert house.worker.signals == []


def test_of_those_that_retired_as_many_are_ended_as_have_to_make_room(house: House) -> None:
    house.engine.processes = 2
    for pid in (78, 79):
        lane = house.engine.adopt()
        house.engine.ready(lane)
        house.crew.workers[lane] = FakeWorker(pid)
    lanes = dict(house.crew.workers)
    for lane in lanes:
        house.engine.retired(lane, 0, None)
    house.engine.retired(house.engine.adopt(), 0, None)
    house.look_on(1.0)
    assert [bool(worker.signals) for worker in lanes.values()] == [True, True, False]


def test_a_lane_without_a_worker_yet_is_passed_over(house: House) -> None:
    del house.crew.workers[house.lane]
    house.engine.lanes[house.lane].state = STOPPING
    house.mortuary.tick()
    assert house.worker.channel.stops == 0


# -- workers that go on when the process of an item is dead ------------------------------------------------------------
def died(pid: int, code: int | None, phase: int) -> bytes:
    return messages.dumps((pid, code, phase, False, "a stack", "words"))


@pytest.mark.parametrize(("phase", "may_have_run"), [(RECEIVED, False), (RUNNING, True)])
def test_a_process_that_ran_one_item(house: House, phase: int, may_have_run: bool) -> None:
    house.run(5)
    house.run(6)
    house.mortuary.told(house.lane, messages.DIED, 5, 0, died(88, -11, phase))
    house.carry_out()
    [(ident, kind, lost)] = house.settled
    assert (ident, kind) == (5, LOST)
    assert (*lost.fate[:2], lost.may_have_run) == (88, -11, may_have_run)
    assert (lost.fate.stack, lost.fate.said) == ("a stack", "words")
    assert (house.buried, house.worker.signals) == (False, [])
    house.engine.outcome(house.lane, 6, 0, messages.VALUE, b"")
    house.carry_out()
    assert house.settled[1:] == [(6, messages.VALUE, b"")], "the worker goes on"


def test_a_process_that_was_ended_for_its_item(house: House) -> None:
    house.run(5)
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.deadlines._end(house.lane, lambda seen: True, limit=1.5)
    house.mortuary.told(house.lane, messages.DIED, 5, 0, died(88, -15, RUNNING))
    house.carry_out()
    [(_, _, lost)] = house.settled
    assert (lost.fate.limit, lost.fate.stack) == (1.5, "a stack")
    assert house.starvation.asked == 0, "it was we who ended it"
    assert house.worker.dooms == [1, 0]


def test_a_task_whose_process_a_worker_tells_of_is_not_blamed_either(house: House) -> None:
    """All of them end together when the program closes what ties them to it."""
    house.run(5)
    house.crew.severed = True
    with pytest.raises(OSError, match="descriptor"):
        house.mortuary.told(house.lane, messages.DIED, 5, 0, died(88, -KILL, RUNNING))
    house.carry_out()
    assert house.settled == []


def test_a_worker_that_found_nothing_to_end(house: House) -> None:
    house.run(5)
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.deadlines._end(house.lane, lambda seen: True, limit=1.5)
    house.mortuary.told(house.lane, messages.SPARED, 0, 1, b"")
    house.carry_out()
    assert house.settled == []
    assert house.worker.dooms == [1, 0]


def test_a_process_of_a_call_that_was_sent_past_the_engine(house: House) -> None:
    house.mortuary.told(house.lane, messages.DIED, 5, 0, died(88, -9, RUNNING))
    house.engine.sent(Job(5, b"", 1, lambda *outcome: None), house.lane)
    house.carry_out()
    [(ident, kind, lost)] = house.settled
    assert (ident, kind, lost.fate.exitcode, lost.may_have_run) == (5, LOST, -9, True)


def test_a_process_that_was_ended_for_the_item_before(house: House) -> None:
    """It had just taken up its own, which goes to another one."""
    house.run(4)
    house.worker.words = ([], frozenset(), Begun(4, 0, RUNNING))
    house.deadlines._end(house.lane, lambda seen: True, limit=1.5)
    house.engine.outcome(house.lane, 4, 0, messages.VALUE, b"")
    house.run(5)
    house.mortuary.told(house.lane, messages.DIED, 5, 0, died(88, -15, RECEIVED))
    house.carry_out()
    assert house.settled == [(4, messages.VALUE, b"")]
    assert 5 in house.engine.jobs


# -- the kernel's word -------------------------------------------------------------------------------------------------
def lose(house: House, code: int) -> Any:
    house.run(5)
    house.worker.exitcode = code
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.mortuary.suspect(house.lane, ended=True)
    house.carry_out()
    return house.settled[0][2].fate


@pytest.mark.parametrize("word", ["", "a count"])
def test_a_worker_that_was_killed(house: House, word: str) -> None:
    house.starvation.word = word
    assert lose(house, -KILL).starved == word


def test_a_worker_that_ended_in_another_way(house: House) -> None:
    house.starvation.word = "a count"
    assert lose(house, -signal.SIGSEGV).starved == ""
    assert house.starvation.asked == 0, "the next one that was killed is to be believed"


def test_a_worker_that_had_too_much_memory(house: House) -> None:
    house.run(5)
    house.worker.words = ([], frozenset(), Begun(5, 0, RUNNING))
    house.deadlines.outgrown(house.lane, Begun(5, 0, RUNNING), 12345)
    house.worker.exitcode = -signal.SIGTERM
    house.mortuary.suspect(house.lane, ended=True)
    house.carry_out()
    fate = house.settled[0][2].fate
    assert (fate.used, fate.limit, fate.stack) == (12345, None, "a stack")
