"""The machine of the model tests: what may happen to an engine, in any order.

Used by: `test_engine`, `chance`. What may go wrong: rules that seldom matter use up the steps of a history; so
few rules, each of which does several things of a kind, and most workers are ready from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from poolsafe.engine.core import Engine

from .judge import JudgedWorld

#: How the start of a worker may end that does not end well: it is tried again, or it is the end of the pool.
BAD_STARTS = ["no descriptors", "killed"]
FATAL_STARTS = ["exits", "raises", "cannot work"]
#: Of histories that end early little is learnt.
SELDOM = st.integers(0, 7).map(lambda number: number == 7)
LANE = st.integers(0, 5)


class EngineMachine(RuleBasedStateMachine):
    """Each rule is something that happens; `now` says whether the supervisor gets to its sleep after it."""

    engine_type: type[Engine] = Engine
    world: JudgedWorld

    @initialize(
        processes=st.integers(1, 3),
        depth=st.sampled_from([4, 2, 1]),
        budget=st.none() | st.integers(1, 6),
        recallable=st.booleans(),
        slow_starts=st.booleans(),
        retries=st.integers(0, 2),
        spares=st.booleans(),
    )
    def begin(
        self,
        processes: int,
        depth: int,
        budget: int | None,
        recallable: bool,
        slow_starts: bool,
        retries: int,
        spares: bool,
    ) -> None:
        engine = self.engine_type(processes, depth if recallable else 1, budget, spares=spares and budget == 1)
        self.world = JudgedWorld(engine, recallable=recallable, retries=retries)
        self.world.turn()
        if not slow_starts:
            self.world.everybody_works(2)

    def pick(self, choices: Iterable[int], number: int) -> int | None:
        """One of the choices, if there is any."""
        some = sorted(choices)
        return some[number % len(some)] if some else None

    def after(self, now: bool) -> None:
        if now and not self.world.finished:
            self.world.turn()
            self.world.check_rest()

    going = precondition(lambda self: not self.world.finished)

    # -- work ----------------------------------------------------------------------------------------------------
    @going
    @rule(counts=st.lists(st.integers(1, 6), min_size=1, max_size=4), single=st.booleans(), now=st.booleans())
    def submit(self, counts: list[int], single: bool, now: bool) -> None:
        for count in counts:
            self.world.submit(count, single=single)
        self.after(now)

    @going
    @rule(number=LANE, read=st.booleans())
    def send_past_the_engine(self, number: int, read: bool) -> None:
        lane = self.pick(self.world.offers, number)
        if lane is not None:
            self.world.send_past(lane)
            if read:
                self.world.workers[lane].advance(4)

    @going
    @rule(number=LANE, interrupted=SELDOM, now=st.booleans())
    def report_what_was_sent(self, number: int, interrupted: bool, now: bool) -> None:
        job = self.pick(self.world.unreported, number)
        if job is not None and interrupted:
            self.world.interrupt(job)
        elif job is not None:
            self.world.report(job)
        self.after(now)

    @going
    @rule(what=st.sampled_from(["open", "exhaust", "fail"]), now=st.booleans())
    def something_about_inputs(self, what: str, now: bool) -> None:
        if what == "open":
            self.world.open_input()
        elif what == "fail":
            self.world.fail()
        else:
            for part in list(self.world.engine.inputs.values()):
                self.world.engine.exhausted(part.job)
        self.after(now)

    @going
    @rule(numbers=st.sets(LANE, max_size=3), now=st.booleans())
    def call_off(self, numbers: set[int], now: bool) -> None:
        jobs = sorted(self.world.engine.jobs.keys() - self.world.engine.inputs.keys())
        self.world.cancel([jobs[number % len(jobs)] for number in numbers if jobs])
        self.after(now)

    # -- workers -------------------------------------------------------------------------------------------------
    @going
    @rule(number=LANE, steps=st.integers(1, 24), most=st.integers(0, 6), now=st.booleans())
    def a_worker_works(self, number: int, steps: int, most: int, now: bool) -> None:
        lane = self.pick((lane for lane, worker in self.world.workers.items() if not worker.waiting), number)
        if lane is not None:
            self.world.workers[lane].advance(steps)
            self.world.collect(lane, most)
        self.after(now)

    @going
    @rule(steps=st.integers(1, 24))
    def everybody_works(self, steps: int) -> None:
        self.world.everybody_works(steps)
        self.world.check_rest()

    @going
    @rule(
        number=LANE, steps=st.integers(0, 12), exits=SELDOM, noticed=st.booleans(), whole=st.booleans(),
        now=st.booleans(),
    )  # fmt: skip
    def a_worker_dies(self, number: int, steps: int, exits: bool, noticed: bool, whole: bool, now: bool) -> None:
        """Or the process of its item alone, where each item has one."""
        lane = self.pick((lane for lane, worker in self.world.workers.items() if worker.alive), number)
        if lane is not None:
            self.world.workers[lane].advance(steps)
            if not whole and self.world.workers[lane].perish(1 if exits else -9):
                self.world.collect(lane, 9 if noticed else 0)
            else:
                self.world.workers[lane].kill(1 if exits else -9)
                if noticed:
                    self.world.bury(lane)
        self.after(now)

    @going
    @rule(number=LANE, now=st.booleans())
    def notice_a_death(self, number: int, now: bool) -> None:
        lane = self.pick((lane for lane, worker in self.world.workers.items() if not worker.alive), number)
        if lane is not None:
            self.world.bury(lane)
        self.after(now)

    @going
    @rule(
        number=LANE,
        what=st.sampled_from(["unclean", "dirty", "stubborn", "full", "late", "stuck"]),
        count=st.integers(1, 3),
    )
    def a_worker_will_fail(self, number: int, what: str, count: int) -> None:
        lane = self.pick(self.world.workers, number)
        if lane is not None and what == "full":
            self.world.workers[lane].refusing = count
        elif lane is not None:
            setattr(self.world.workers[lane], what, True)

    @going
    @rule(bad=st.sampled_from(BAD_STARTS), count=st.integers(1, 3), fatal=st.sampled_from(FATAL_STARTS), meant=SELDOM)
    def starts_will_fail(self, bad: str, count: int, fatal: str, meant: bool) -> None:
        self.world.next_starts += [fatal] if meant else [bad] * count

    # -- time and ends -------------------------------------------------------------------------------------------
    @going
    @rule(now=st.booleans())
    def time_goes_by(self, now: bool) -> None:
        self.world.tick()
        if self.world.paused:
            self.world.resume()
        self.after(now)

    @going
    @rule(numbers=st.sets(LANE))
    def nobody_waits_behind(self, numbers: set[int]) -> None:
        """Of the workers some are stopped meanwhile."""
        self.world.check_nobody_waits_behind({lane for lane in self.world.workers if lane % 6 in numbers})

    @going
    @rule(terminate=st.booleans(), meant=SELDOM, now=st.booleans())
    def end(self, terminate: bool, meant: bool, now: bool) -> None:
        if meant and terminate:
            self.world.engine.terminate()
        elif meant:
            self.world.engine.close()
        self.after(now)

    @precondition(lambda self: self.world.finished)
    @rule()
    def nothing_happens_any_more(self) -> None:
        assert not self.world.engine.lanes
        assert not self.world.engine.step()

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world") and not self.world.finished:
            self.world.drain()
