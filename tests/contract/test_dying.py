"""Contract: a worker killed at any moment leaves exact last words, and its death is told by every sign."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from poolsafe.engine import messages
from poolsafe.engine.page import IDLE, RUNNING
from tests.support.gates import Gate, process_is_gone, wait_for
from tests.support.tasks import square

from . import tasks
from .handle import Handle, Maker

BIG = 20 * 1024 * 1024


def test_killed_while_idle(worker: Handle) -> None:
    frames, unread, begun = worker.die()
    assert (frames, unread, begun.phase) == ([], frozenset(), IDLE)
    assert worker.worker.exitcode == -signal.SIGKILL


def test_killed_while_running(worker: Handle, gate: Callable[[str], Gate]) -> None:
    assert worker.call(5, square, 5)
    assert worker.values(1) == {(5, 0): 25}
    assert worker.call(6, tasks.meet, gate("arrived").path, gate("never").path)
    gate("arrived").wait()
    waiting = [7, 8] if worker.channel.depth > 1 else []
    for job in waiting:
        assert worker.call(job, square, job)
    frames, unread, begun = worker.die()
    assert frames == []
    assert unread == set(waiting)
    assert begun == (6, 0, RUNNING)


def test_killed_before_its_answer_was_received(worker: Handle, gate: Callable[[str], Gate]) -> None:
    assert worker.call(1, square, 4)
    if worker.channel.depth > 1:
        assert worker.call(2, tasks.meet, gate("arrived").path, gate("never").path)
        gate("arrived").wait()
    else:
        wait_for(lambda: worker.worker._page.begun() == (1, 1, IDLE), what="the answer")
    frames, _, begun = worker.die()
    assert [(kind, job, index, messages.loads(data)) for kind, job, index, data in frames] == [
        (messages.VALUE, 1, 0, 16)
    ]
    assert begun == ((2, 0, RUNNING) if worker.channel.depth > 1 else (1, 1, IDLE))


def test_killed_in_the_middle_of_a_chunk(worker: Handle, gate: Callable[[str], Gate]) -> None:
    arrived, never = gate("arrived"), gate("never")
    assert worker.chunk(9, tasks.stop_at, [(number, 5, arrived.path, never.path) for number in range(10)])
    arrived.wait()
    frames, unread, begun = worker.die()
    assert [(kind, job, index, messages.loads(data)) for kind, job, index, data in frames] == [
        (messages.VALUE, 9, number, number) for number in range(5)
    ]
    assert unread == frozenset()
    assert begun == (9, 5, RUNNING)


def test_a_long_chunk_is_answered_as_it_goes(worker: Handle, gate: Callable[[str], Gate]) -> None:
    arrived, never = gate("arrived"), gate("never")
    count = 5000  # more answers than the log holds
    assert worker.chunk(9, tasks.stop_at, [(number, count - 1, arrived.path, never.path) for number in range(count)])
    early = worker.hear(1)
    arrived.wait()
    frames, _, begun = worker.die()
    answers = [(index, messages.loads(data)) for _, _, index, data in early + frames]
    assert dict(answers) == {number: number for number in range(count - 1)}
    assert [index for index, _ in answers] == sorted(index for index, _ in answers), "in order, repeats aside"
    assert begun == (9, count - 1, RUNNING)


def test_killed_while_writing_a_big_answer(worker: Handle) -> None:
    assert worker.call(4, tasks.make, BIG)
    if worker.channel.fileno() >= 0:
        assert wait([worker.channel], 20)
        worker.wait_until_asleep()  # in the write, because nobody reads
        frames, unread, begun = worker.die()
        assert (frames, unread, begun) == ([], frozenset(), (4, 0, RUNNING))
    else:  # a thread reads at once: the answer is whole, or it is not there
        wait_for(lambda: worker.worker._page.begun().job == 4, what="the task to begin")
        frames, _, begun = worker.die()
        assert [len(messages.loads(data)) for *_, data in frames] in ([], [BIG])
        assert begun.job == 4


def test_killed_at_start_up(make_maker: Callable[..., Maker], gate: Callable[[str], Gate]) -> None:
    arrived = gate("arrived")
    maker = make_maker(initializer=tasks.wait_then, initargs=(arrived.path, gate("never").path))
    worker = maker.start()
    arrived.wait()
    assert worker.call(1, square, 1)
    frames, unread, begun = worker.die()
    assert frames == []
    assert unread == ({1} if worker.channel.fileno() >= 0 else set())
    assert begun.phase == IDLE


def test_an_argument_that_does_not_load_is_only_received(worker: Handle) -> None:
    assert worker.call(2, tasks.Unloadable())
    [(kind, job, index, data)] = worker.hear(1)
    assert (kind, job, index) == (messages.FAILED, 2, 0)
    what, facts = messages.loads(data)
    assert what == "unpickle-task"
    assert (facts["type"], facts["text"]) == ("ValueError", "not here")
    wait_for(lambda: worker.worker._page.begun().phase == IDLE, what="the mark")
    assert worker.die()[2] == (2, 1, IDLE)


@pytest.mark.parametrize(
    ("how", "number", "exitcode"),
    [("exits", 0, 0), ("exits", 7, 7), ("is killed", signal.SIGKILL, -9), ("is killed", signal.SIGSEGV, -11)],
)
def test_the_exit_code_is_told(worker: Handle, forks: bool, how: str, number: int, exitcode: int) -> None:
    assert worker.call(1, tasks.end, how, number)
    if not forks:
        assert worker.ended() == exitcode
        worker.hear_the_end()
        return
    [(kind, job, index, data)] = worker.hear(1)
    assert (kind, job, index) == (messages.DIED, 1, 0)
    pid, code, phase, *_ = messages.loads(data)
    assert pid != worker.pid
    assert (code, phase) == (exitcode, RUNNING)
    assert worker.call(2, square, 2), "the worker goes on"
    assert worker.values(1) == {(2, 0): 4}


def test_waitables_tell_of_the_end_and_of_nothing_else(worker: Handle) -> None:
    assert worker.call(1, square, 1)
    assert worker.values(1)
    assert wait(worker.worker.waitables(), 0) == []
    os.kill(worker.pid, signal.SIGKILL)
    waitables = worker.worker.waitables()
    wait_for(lambda: wait(waitables, 0) == waitables, what="every waitable to tell")


def test_a_signal_to_a_dead_worker_is_nothing(worker: Handle) -> None:
    worker.die()
    worker.worker.send_signal(signal.SIGTERM)
    assert worker.worker.exitcode == -signal.SIGKILL


def test_a_program_that_a_task_started_keeps_nothing_open(worker: Handle, tmp_path: Path) -> None:
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    assert worker.call(1, tasks.start_program, fifo)
    [program] = worker.values(1).values()
    try:
        os.kill(worker.pid, signal.SIGKILL)
        assert worker.ended() == -signal.SIGKILL
        worker.hear_the_end()
        assert not process_is_gone(program), "the program was to outlive the worker"
    finally:
        os.close(os.open(fifo, os.O_RDWR | os.O_NONBLOCK))
        os.kill(program, signal.SIGKILL)
        wait_for(lambda: process_is_gone(program), what="the program to end")


def test_workers_die_with_their_parent(maker: Maker, gate: Callable[[str], Gate]) -> None:
    busy, idle = maker.ready(), maker.ready()
    assert busy.call(1, tasks.meet, gate("arrived").path, gate("never").path)
    gate("arrived").wait()
    maker.recipe.lifeline.close_writer()  # as the kernel does when the parent is killed
    assert busy.ended() != 0
    assert idle.ended() != 0
