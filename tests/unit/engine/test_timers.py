"""Timers, by a clock of the test's own."""

from __future__ import annotations

from poolsafe.engine.timers import Timers


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_calls_are_made_when_they_are_due_and_in_order() -> None:
    clock, made = Clock(), list[str]()
    timers = Timers(clock)
    timers.after(2, lambda: made.append("late"))
    timers.after(1, lambda: made.append("early"))
    timers.after(1, lambda: made.append("early too"))
    assert timers.timeout() == 1
    timers.run_due()
    assert made == []
    clock.now += 1
    assert timers.timeout() == 0
    timers.run_due()
    assert made == ["early", "early too"]
    clock.now += 5
    assert timers.timeout() == 0
    timers.run_due()
    assert made == ["early", "early too", "late"]
    assert timers.timeout() is None


def test_a_call_may_arrange_the_next_one() -> None:
    clock, made = Clock(), list[float]()
    timers = Timers(clock)

    def again() -> None:
        made.append(clock.now)
        timers.after(1, again)

    timers.after(0, again)
    timers.run_due()
    assert made == [100]
    clock.now += 1
    timers.run_due()
    assert made == [100, 101]
    assert timers.timeout() == 1


def test_what_is_due_again_at_once_waits_for_the_next_round() -> None:
    """By a clock that goes on with every look, as clocks do: a round that never ends would hold up everything else."""
    clock, made = Clock(), list[int]()
    timers = Timers(clock)

    def again() -> None:
        assert len(made) < 10, "still the first round"
        made.append(1)
        timers.after(0.0, again)
        timers.after(-1.0, lambda: made.append(2))
        clock.now += 0.1

    timers.after(0.0, again)
    timers.after(0.0, lambda: made.append(3))
    timers.run_due()
    assert made[0] == 1
    assert len(made) <= 2
    timers.run_due()
    assert 2 in made
    assert 3 in made
