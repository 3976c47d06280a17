"""The model tests themselves: each mistake that an engine might make is noticed."""

from __future__ import annotations

from typing import Any

import pytest

from poolsafe.engine.core import Engine
from poolsafe.engine.state import LOST, MAX_ATTEMPTS, READY, Death, Lane, Lost, Part, Recall, Terms

from .chance import play


class ForgetsWhatWasNotRead(Engine):
    def _recover(self, part: Part, death: Death) -> None:
        if part.job.ident not in death.unread:
            super()._recover(part, death)


class BlamesWhatWasNotRead(Engine):
    def _recover(self, part: Part, death: Death) -> None:
        part.attempts += (MAX_ATTEMPTS - 1) * (part.job.ident in death.unread)
        super()._recover(part, death)


class RunsAgainWhatMayHaveRun(Engine):
    def _recover(self, part: Part, death: Death) -> None:
        super()._recover(part, death._replace(phase=0))


class SaysThatNothingRan(Engine):
    def _recover(self, part: Part, death: Death) -> None:
        super()._recover(part, death._replace(phase=min(death.phase, 1)))


class ForgetsEarlyAnswers(Engine):
    def _keep_orphan(self, job_id: int, kind: int, data: Any) -> None: ...


class ForgetsTheRestOfAPart(Engine):
    def _requeue(self, part: Part, start: int, stop: int) -> None:
        super()._requeue(part, start, min(stop, start + 1))


class CountsMessagesNotItems(Engine):
    def _spend(self, lane: Lane, items: int) -> None:
        super()._spend(lane, 1)


class GivesItBackToAStoppedWorker(Engine):
    def recalled(self, lane_id: int, job_id: int) -> None:
        super().recalled(lane_id, job_id)
        self.lanes[lane_id].doubted = False


class PutsTwoPartsOfAJobOnALane(Engine):
    def _dispatch(self) -> None:
        for lane in self.lanes.values():
            while self.pending and lane.state == READY and not lane.full and len(lane.parts) < self.depth:
                self._send(lane, self.pending.popleft())


class LetsTasksWait(Engine):
    def _steal(self, least: int) -> None:
        self.commands.extend(Recall(lane) for lane in self.lanes if lane < 0)


class StartsTooMany(Engine):
    def _staff(self) -> None:
        self.processes += 1
        super()._staff()
        self.processes -= 1


class ForgetsWhatRunsAtTheEnd(Engine):
    def terminate(self) -> None:
        for lane in self.lanes.values():
            lane.parts.clear()
        super().terminate()


class SaysAtTheEndThatNothingRan(Engine):
    def ending(self, may_have_run: bool = False) -> tuple[int, Any]:
        return super().ending(False)


class NeverResumes(Engine):
    def resume(self) -> None: ...


class TriesAgainForEver(Engine):
    def _lose(self, part: Part, loss: Lost) -> None:
        part.job.terms = Terms(retries=9)
        super()._lose(part, loss)


class TriesAgainWhatFailsInTheEndWithoutCounting(Engine):
    def _conclude(self, part: Part, kind: int, data: Any) -> None:
        if kind == LOST:
            self._requeue(part, part.next, part.next + 1)
            part.advance()
        else:
            super()._conclude(part, kind, data)


class RunsMoreThanSoMany(Engine):
    def _dispatch(self) -> None:
        spares, self.spares = self.spares, False
        super()._dispatch()
        self.spares = spares


class ForgetsWhoseProcessDied(Engine):
    def perished(self, lane_id: int, death: Death) -> None:
        self.lanes[lane_id].parts.pop(death.job, None)


class RunsAgainWhatPerished(Engine):
    def perished(self, lane_id: int, death: Death) -> None:
        super().perished(lane_id, death._replace(phase=0))


class ForgetsThatWhatPerishedWasSentPast(Engine):
    def perished(self, lane_id: int, death: Death) -> None:
        if death.job in self.jobs:
            super().perished(lane_id, death)


MUTANTS = [
    ForgetsWhoseProcessDied,
    RunsAgainWhatPerished,
    ForgetsThatWhatPerishedWasSentPast,
    TriesAgainForEver,
    TriesAgainWhatFailsInTheEndWithoutCounting,
    RunsMoreThanSoMany,
    ForgetsWhatWasNotRead,
    BlamesWhatWasNotRead,
    RunsAgainWhatMayHaveRun,
    SaysThatNothingRan,
    ForgetsEarlyAnswers,
    ForgetsTheRestOfAPart,
    CountsMessagesNotItems,
    GivesItBackToAStoppedWorker,
    PutsTwoPartsOfAJobOnALane,
    LetsTasksWait,
    StartsTooMany,
    ForgetsWhatRunsAtTheEnd,
    SaysAtTheEndThatNothingRan,
    NeverResumes,
]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mistake_is_noticed(mutant: type[Engine]) -> None:
    with pytest.raises((AssertionError, KeyError)):
        for seed in range(1500):
            play(seed, mutant)
