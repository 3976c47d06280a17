"""What must hold in the simulated world: at any moment, at rest, after a while, and in the end.

Used by: the machine of the model tests.
"""

from __future__ import annotations

from poolsafe.engine.state import ENDING, FINISHED, READY, STOPPING

from .world import MANY, World


class JudgedWorld(World):
    """A world that says what is wrong with it."""

    def check(self) -> None:
        """What holds at any time."""
        engine = self.engine
        if engine.spares:
            assert sum(lane.state != STOPPING for lane in engine.lanes.values()) <= engine.processes
            assert sum(bool(lane.parts) for lane in engine.lanes.values()) <= engine.processes, "too many run at a time"
        else:
            assert sum(not lane.retired for lane in engine.lanes.values()) <= engine.processes
        assert len(engine.lanes) <= 2 * engine.processes
        assert len(engine.orphans) <= 256
        for lane in engine.lanes.values():
            assert len(lane.parts) <= engine.depth + 1  # one may have been sent past the engine
        for worker in self.workers.values():
            assert engine.budget is None or worker.items <= engine.budget

    def check_rest(self) -> None:
        """What holds when the supervisor goes to sleep."""
        engine = self.engine
        if engine.state in (ENDING, FINISHED):
            assert not engine.jobs
            assert not self._unsettled(), "the pool has ended, and somebody waits for an item"
        elif engine.pending:
            idle = [lane for lane in engine.lanes.values() if lane.state == READY and not lane.parts and not lane.full]
            busy = sum(bool(lane.parts) for lane in engine.lanes.values())
            full = engine.spares and busy >= engine.processes
            assert not idle or full, "a task waits, and a worker has nothing to do"

    def _unsettled(self) -> list[tuple[int, int]]:
        wanted = ((job.ident, index) for job in self.accepted for index in range(job.count))
        return [item for item in wanted if self.items[item].outcome is None]

    def check_nobody_waits_behind(self, stopped: set[int]) -> None:
        """Time goes by, and some lanes' workers are stopped: then no task waits for them while another is idle."""
        for _ in range(4 * self.engine.depth + 8 + len(self._unsettled())):
            self._work(stopped)
            self.turn()
            self._work(stopped)
            if not self.finished:
                self.tick()
        if not self.recallable or self.engine.state in (ENDING, FINISHED):
            return
        lanes = self.engine.lanes.values()
        free = {lane.ident for lane in lanes if lane.state == READY and not lane.parts and not lane.full} - stopped
        idle = [lane for lane in free if self.workers[lane].waiting]
        behind = {
            lane.ident: [message for message in self.workers[lane.ident].queue if message.job in lane.parts]
            for lane in lanes
        }
        assert not idle or not any(behind.values()), f"lanes {idle} are idle, and tasks wait elsewhere: {behind}"

    def _work(self, stopped: set[int]) -> None:
        for lane, worker in self.workers.items():
            worker.refusing = 0
            if lane not in stopped:
                worker.advance(40)
            self.collect(lane)

    def drain(self) -> None:
        """Nothing goes wrong any more: everything must come to its end."""
        self.next_starts.clear()
        for ident in list(self.unreported):
            self.report(ident)
        for part in list(self.engine.inputs.values()):
            self.engine.exhausted(part.job)
        self.engine.close()
        for _ in range(MANY):
            self.turn()
            if self.finished:
                assert not self._unsettled(), "the pool has finished, and somebody waits for an item"
                return
            self._live_on()
        raise AssertionError(f"the pool does not finish; waiting: {self._unsettled()}")

    def _live_on(self) -> None:
        for lane, worker in list(self.workers.items()):
            worker.refusing = 0
            worker.unclean = worker.dirty = False
            if worker.condemned:
                worker.kill(-15)
            worker.advance(100)
            self.collect(lane)
            if not worker.alive:
                self.bury(lane)
        if self.paused:
            self.resume()
        self.tick()
