"""Contract of workers that fork for every task: what the end of such a process means, and what children share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poolsafe.engine import messages, template
from poolsafe.engine.child import CUT_OFF_CODE
from poolsafe.engine.page import IDLE, RUNNING
from tests.support.gates import Gate, Tally, process_is_gone, process_state, wait_for
from tests.support.tasks import grow, square
from tests.survival.support import deeds

from . import tasks
from .handle import Handle, Maker


@pytest.fixture
def forks() -> bool:
    """These are about one kind of worker."""
    return True


def holder(worker: Handle) -> int:
    """The process that has its turn."""
    wait_for(lambda: worker.worker.serving != worker.pid, what="the first turn")
    pid = worker.worker.serving
    assert pid is not None
    return pid


def test_every_call_has_a_process_of_its_own(worker: Handle) -> None:
    pids: set[int] = set()
    for job in range(6):
        assert worker.call(job, tasks.whose)
        pids.add(worker.values(1)[job, 0][0])
        assert worker.call(job, grow, job)
        assert worker.values(1) == {(job, 0): ["haha", job]}
    assert len(pids) == 6


def test_a_child_that_is_killed_while_it_waits_takes_the_worker_along(worker: Handle) -> None:
    """It may have read a request without telling: only the parent knows what it has not read."""
    os.kill(holder(worker), signal.SIGKILL)
    assert worker.ended() == -signal.SIGKILL
    frames, unread, begun = worker.worker.last_words()
    assert (frames, unread, begun.phase) == ([], frozenset(), IDLE)


def test_a_child_begins_nothing_when_its_worker_is_about_to_end(worker: Handle) -> None:
    """As a process that is signalled while it waits; SIGKILL would end it before it can be looked at."""
    child = holder(worker)
    worker.wait_until_asleep()  # and so it has given the turn
    worker.wait_until_stopped()
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.call(3, square, 3)
    wait_for(lambda: process_state(child) in "Z", what="the end of the process that waited")
    os.kill(worker.pid, signal.SIGCONT)
    assert worker.ended() == -signal.SIGTERM
    frames, _, begun = worker.worker.last_words()
    assert (frames, begun.phase) == ([], IDLE)


def test_a_child_that_dies_in_the_middle_of_an_answer_takes_the_worker_along(worker: Handle) -> None:
    """Nobody could tell where the next answer begins."""
    assert worker.call(3, deeds.die_in_the_middle_of_the_answer)
    worker.hear_the_end()
    assert worker.ended() == -signal.SIGKILL
    frames, _, begun = worker.worker.last_words()
    assert frames == []
    assert begun == (3, 0, RUNNING)


def test_the_child_ends_with_the_worker(worker: Handle, gate: Callable[[str], Gate]) -> None:
    assert worker.call(4, tasks.meet, gate("arrived").path, gate("never").path)
    gate("arrived").wait()
    child = holder(worker)
    os.kill(worker.pid, signal.SIGKILL)
    worker.ended()
    assert worker.worker.last_words()[2] == (4, 0, RUNNING)
    assert process_is_gone(child), "what it had begun is settled, so it must not go on"


def test_a_child_that_leaves_a_fork_of_itself(worker: Handle, tmp_path: Path, gate: Callable[[str], Gate]) -> None:
    """Which holds every descriptor that it had: the worker listens to the next child all the same."""
    left = Tally(tmp_path / "left")
    assert worker.call(5, deeds.die_with_a_fork, left)
    try:
        assert death(worker)[1] == -signal.SIGKILL
        goes_on(worker)
        for number in range(5):  # descriptors that are free by now are used again, each for something else
            assert worker.call(5, tasks.meet, gate(f"arrived-{number}").path, gate("never").path)
            gate(f"arrived-{number}").wait()
            worker.worker.doom(7)
            worker.worker.end_item(0)
            assert death(worker)[1] == -signal.SIGTERM
            goes_on(worker)
        assert not process_is_gone(int(left.entries()[0]))
    finally:
        for pid in left.entries():
            os.kill(int(pid), signal.SIGKILL)
    wait_for(lambda: all(process_is_gone(int(pid)) for pid in left.entries()))


@pytest.mark.parametrize("deed", [deeds.exec_a_program_that_stays, deeds.close_every_descriptor])
def test_a_child_that_cuts_itself_off(worker: Handle, deed: Callable[[], Any]) -> None:
    """It can never answer, so it is ended; or it ends by itself, and nobody knows how far its answer got."""
    assert worker.call(5, deed)
    if deed is deeds.close_every_descriptor:
        assert worker.ended() == CUT_OFF_CODE
        assert worker.worker.last_words()[2] == (5, 0, RUNNING)
        return
    [(kind, job, _, data)] = worker.hear(1)
    assert (kind, job) == (messages.DIED, 5)
    assert messages.loads(data)[1:4] == (-signal.SIGKILL, RUNNING, True)
    goes_on(worker)


def test_stopped_by_a_request(worker: Handle) -> None:
    assert worker.call(1, square, 3)
    assert worker.values(1) == {(1, 0): 9}
    child = holder(worker)
    assert worker.channel.try_stop()
    assert worker.ended() == 0
    wait_for(lambda: process_is_gone(child), what="the last child's end")


def test_terminated(worker: Handle) -> None:
    child = holder(worker)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.ended() == -signal.SIGTERM
    wait_for(lambda: process_is_gone(child), what="the child's end")


# -- ending an item --------------------------------------------------------------------------------------------------
def begin(worker: Handle, gate: Callable[[str], Gate], func: Callable[..., Any] = tasks.meet) -> int:
    """A task that waits for ever; the id of its process."""
    assert worker.call(5, func, gate("arrived").path, gate("never").path)
    gate("arrived").wait()
    return holder(worker)


def death(worker: Handle) -> tuple[int, int]:
    """What the next frame tells of the end of item 5: the process, its exit code."""
    kind, job, index, data = worker.hear(1)[0]
    assert (kind, job, index) == (messages.DIED, 5, 0)
    pid, code, phase, *_ = messages.loads(data)
    assert phase == RUNNING
    return pid, code


def goes_on(worker: Handle) -> None:
    worker.worker.doom(0)
    assert worker.call(6, square, 6)
    assert answer(worker, 6) == 36


def answer(worker: Handle, job: int) -> Any:
    """The value of the job's item; before it may come `SPARED`, for each word that came when an item had ended."""
    frames = worker.hear(1)
    while {frame[0] for frame in frames} == {messages.SPARED}:
        frames = worker.hear(1)
    [data] = [frame[3] for frame in frames if frame[:3] == (messages.VALUE, job, 0)]
    return messages.loads(data)


def test_an_item_is_ended(worker: Handle, gate: Callable[[str], Gate]) -> None:
    child = begin(worker, gate)
    worker.worker.doom(7)
    worker.worker.end_item(0)
    assert death(worker) == (child, -signal.SIGTERM)
    goes_on(worker)


def test_an_item_that_heeds_no_sigterm_is_ended(worker: Handle, gate: Callable[[str], Gate]) -> None:
    child = begin(worker, gate, tasks.meet_and_heed_nothing)
    worker.worker.doom(8)
    worker.worker.end_item(0)
    worker.worker.end_item(1)
    while not process_is_gone(child):  # signals that come together are one
        worker.worker.end_item(1)
    assert death(worker) == (child, -signal.SIGKILL)
    goes_on(worker)


def test_a_worker_that_is_stopped_is_ended_as_a_whole(worker: Handle, gate: Callable[[str], Gate]) -> None:
    begin(worker, gate)
    worker.wait_until_stopped()
    worker.worker.doom(9)
    for attempt in range(3):
        worker.worker.end_item(attempt)
    assert worker.ended() == -signal.SIGKILL
    assert worker.worker.last_words()[2] == (5, 0, RUNNING)


def test_nothing_is_ended_when_the_item_is_done(worker: Handle) -> None:
    assert worker.call(5, square, 5)
    assert worker.values(1) == {(5, 0): 25}
    wait_for(lambda: worker.worker.begun().phase == IDLE, what="the mark")
    worker.worker.doom(10)
    assert worker.call(6, square, 6)
    worker.worker.end_item(0)
    assert worker.hear(1) == [(messages.SPARED, 0, 10, b"")], "by its number, for the parent may have another by now"
    worker.worker.doom(0)
    assert worker.values(1) == {(6, 0): 36}


def test_a_word_that_comes_too_late_is_passed_over(worker: Handle, gate: Callable[[str], Gate]) -> None:
    child = begin(worker, gate)
    worker.worker.end_item(0)  # no doom any more
    gate("never").open()
    assert worker.values(1) == {(5, 0): None}
    assert child != worker.pid
    goes_on(worker)


# -- what they share -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("start_method", ["fork", "spawn"])  # a fork server's streams are those of its own start
def test_what_the_initializer_printed_is_printed_once(make_maker: Callable[..., Maker], capfd: Any) -> None:
    worker = make_maker(initializer=print, initargs=("once",)).ready()
    for job in range(3):
        assert worker.call(job, square, job)
        assert worker.values(1) == {(job, 0): job * job}
    assert worker.channel.try_stop()
    worker.ended()
    assert capfd.readouterr().out.count("once") == 1


def test_a_task_leaves_no_descriptor_and_sees_none_of_the_others(worker: Handle) -> None:
    seen = []
    for job in range(5):
        assert worker.call(job, tasks.descriptors)
        seen.append(worker.values(1)[job, 0])
    assert len(set(seen)) == 1


def test_a_thread_that_a_task_leaves_holds_up_nobody(
    worker: Handle, tmp_path: Path, gate: Callable[[str], Gate]
) -> None:
    left = Tally(tmp_path / "left")
    assert worker.call(1, tasks.leave_thread, left, gate("go").path)
    assert worker.values(1) == {(1, 0): None}
    for job in range(2, 5):
        assert worker.call(job, square, job)
        assert worker.values(1) == {(job, 0): job * job}
    child = int(left.entries()[0])
    assert not process_is_gone(child), "it has its time to end"
    gate("go").open()
    wait_for(lambda: process_is_gone(child), what="the end of the thread's process")


@pytest.mark.parametrize("start_method", ["fork"])
def test_threads_that_are_left_are_not_waited_for_without_end(
    make_maker: Callable[..., Maker], tmp_path: Path, gate: Callable[[str], Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "_LINGERING", 2)
    monkeypatch.setattr(template, "LINGER", 0.2)
    worker = make_maker().ready()
    left = Tally(tmp_path / "left")
    for job in range(4):
        assert worker.call(job, tasks.leave_thread, left, gate("never").path)
        assert worker.values(1) == {(job, 0): None}
    wait_for(lambda: all(process_is_gone(int(pid)) for pid in left.entries()), what="the end of all")


def test_what_is_done_at_the_end_of_a_process_is_done(worker: Handle, tmp_path: Path) -> None:
    """The next task waits rather than that one that is just ending is ended."""
    done = Tally(tmp_path / "done")
    for job in range(12):
        assert worker.call(job, tasks.finalize_later, done, job)
        assert worker.values(1) == {(job, 0): job}
    assert worker.channel.try_stop()
    assert worker.ended() == 0
    assert sorted(map(int, done.entries())) == list(range(12))


def test_a_fork_of_a_task_that_comes_back_later_touches_nothing(
    worker: Handle, gate: Callable[[str], Gate], tmp_path: Path
) -> None:
    left = Tally(tmp_path / "left")
    assert worker.call(1, tasks.come_back_twice, left, gate("go").path)
    assert worker.values(1) == {(1, 0): "once"}
    child = begin(worker, gate)
    gate("go").open()
    [copy] = left.wait(1)
    wait_for(lambda: process_is_gone(int(copy)), what="the end of the copy")
    worker.worker.doom(7)
    worker.worker.end_item(0)
    assert death(worker) == (child, -signal.SIGTERM)
    goes_on(worker)


def test_a_task_goes_on_though_no_other_process_can_be_forked(
    make_maker: Callable[..., Maker], gate: Callable[[str], Gate], tmp_path: Path
) -> None:
    refused = Tally(tmp_path / "refused")
    worker = make_maker(initializer=tasks.forbid_forks, initargs=(1, refused)).ready()
    begin(worker, gate)
    refused.wait(template._TRIES + 10)
    gate("never").open()
    assert worker.values(1) == {(5, 0): None}


def test_a_worker_that_can_never_fork_says_so(make_maker: Callable[..., Maker], tmp_path: Path) -> None:
    worker = make_maker(initializer=tasks.forbid_forks, initargs=(0, Tally(tmp_path / "refused"))).start()
    [(kind, _, _, data)] = worker.hear(1)
    assert kind == messages.INIT_FAILED, "and was never ready"
    what, facts = messages.loads(data)
    assert (what, facts["type"]) == ("forkless", "BlockingIOError")
    assert worker.ended() == template.FORKLESS_CODE


def test_an_initializer_that_blocks_the_signals_that_it_lives_by(
    make_maker: Callable[..., Maker], gate: Callable[[str], Gate], tmp_path: Path
) -> None:
    worker = make_maker(initializer=tasks.block_signals).ready()
    left = Tally(tmp_path / "left")
    assert worker.call(5, deeds.die_with_a_fork, left)
    try:
        assert death(worker)[1] == -signal.SIGKILL
        child = begin(worker, gate)
        worker.worker.doom(7)
        while not process_is_gone(child):  # SIGTERM is blocked there, and signals that come together are one
            worker.worker.end_item(0)
        assert death(worker) == (child, -signal.SIGKILL)
        goes_on(worker)
        assert worker.call(7, tasks.blocked)
        assert answer(worker, 7) == 3, "as the initializer has left them"
    finally:
        for pid in left.entries():
            os.kill(int(pid), signal.SIGKILL)


def test_terminated_with_a_task_that_heeds_nothing(worker: Handle, gate: Callable[[str], Gate]) -> None:
    child = begin(worker, gate, tasks.meet_and_heed_nothing)
    os.kill(child, signal.SIGSTOP)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.ended() == -signal.SIGTERM
    assert process_is_gone(child)


@pytest.mark.parametrize("start_method", ["spawn"])  # whose warnings go to stderr
def test_threads_of_the_initializer_are_told_of(make_maker: Callable[..., Maker], capfd: Any) -> None:
    worker = make_maker(initializer=tasks.start_thread).ready()
    assert worker.call(1, square, 1)
    assert worker.values(1) == {(1, 0): 1}
    assert "the initializer has left threads running" in capfd.readouterr().err


def test_threads_of_the_initializer_where_warnings_are_errors(make_maker: Callable[..., Maker]) -> None:
    """An error at once, not a worker that dies again and again."""
    worker = make_maker(initializer=tasks.start_thread_and_be_strict).start()
    [(kind, _, _, data)] = worker.hear(1)
    assert kind == messages.INIT_FAILED
    what, facts = messages.loads(data)
    assert (what, facts["type"]) == ("raised", "RuntimeWarning")
    worker.ended()
