"""Contract: a worker starts, takes requests in their order, answers, gives back what it has not read, and stops."""

from __future__ import annotations

import errno
import os
import select
import signal
import threading
from collections.abc import Callable

import pytest

from poolsafe.engine import channels, messages
from poolsafe.engine.page import IDLE
from tests.support.gates import DEADLINE, Gate
from tests.support.tasks import add, square

from . import tasks
from .handle import Handle, Maker

BIG = 20 * 1024 * 1024


def test_a_started_worker_says_that_it_is_ready(maker: Maker) -> None:
    handle = maker.start()
    frames = handle.hear(1)
    assert frames == [(messages.READY, 0, 0, b"")]
    assert handle.worker.exitcode is None
    assert handle.pid != os.getpid()


def test_a_call_is_answered_by_the_worker_itself(worker: Handle) -> None:
    assert worker.call(7, tasks.whose)
    [pids] = worker.values(1).values()
    assert worker.is_meant(pids)


def test_requests_are_served_in_their_order(worker: Handle) -> None:
    for job in range(1, worker.channel.depth + 1):
        assert worker.call(job, square, job)
    frames = worker.hear(worker.channel.depth)
    assert [messages.loads(data) for *_, data in frames] == [job * job for job in range(1, worker.channel.depth + 1)]


def test_every_item_of_a_chunk_is_answered(worker: Handle) -> None:
    assert worker.chunk(3, square, list(range(1000)))
    assert worker.values(1000) == {(3, index): index * index for index in range(1000)}


def test_a_part_of_a_chunk_is_served(worker: Handle) -> None:
    assert worker.chunk(3, square, list(range(10)), start=8)
    assert worker.values(2) == {(3, 8): 64, (3, 9): 81}


def test_twenty_megabytes_each_way(worker: Handle) -> None:
    assert worker.call(1, tasks.size_of, b"x" * BIG)
    assert worker.values(1) == {(1, 0): BIG}
    assert worker.call(2, tasks.make, BIG)
    assert worker.values(1) == {(2, 0): b"x" * BIG}


@pytest.mark.parametrize("size", [messages.INLINE_MAX - 100, messages.INLINE_MAX, messages.INLINE_MAX + 1])
def test_sizes_around_what_fits_a_message(worker: Handle, size: int) -> None:
    assert worker.call(1, add, b"x" * size, b"y")
    assert worker.values(1) == {(1, 0): b"x" * size + b"y"}


def test_sending_to_a_stopped_worker_never_blocks(worker: Handle) -> None:
    worker.wait_until_stopped()
    sent: list[bool] = []
    payload = b"x" * (messages.INLINE_MAX - 1024)

    def fill() -> None:
        for job in range(1, 101):
            sent.append(worker.call(job, tasks.size_of, payload))

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive(), f"blocked after {len(sent)} messages"
    taken = sent.count(True)
    assert taken >= 1
    if worker.channel.fileno() >= 0:
        assert False in sent, "a channel that nobody reads takes no more at some time"
    os.kill(worker.pid, signal.SIGCONT)
    wanted = {(job, 0): len(payload) for job, taken in enumerate(sent, 1) if taken}
    assert worker.values(taken) == wanted


def test_what_was_not_read_can_be_taken_back(worker: Handle, gate: Callable[[str], Gate]) -> None:
    if worker.channel.fileno() < 0:
        assert worker.channel.recall() is None
        return
    arrived, go = gate("arrived"), gate("go")
    assert worker.call(1, tasks.meet, arrived.path, go.path, "one")
    arrived.wait()
    assert worker.call(2, square, 2)
    assert worker.call(3, tasks.size_of, b"x" * 100_000)
    assert worker.call(4, square, 4)
    assert worker.channel.recall() == 2
    assert worker.channel.recall() == 3
    go.open()
    assert worker.values(2) == {(1, 0): "one", (4, 0): 16}
    assert worker.channel.recall() is None


def test_taking_back_leaves_a_stop_in_force(worker: Handle, gate: Callable[[str], Gate]) -> None:
    arrived, go = gate("arrived"), gate("go")
    assert worker.call(1, tasks.meet, arrived.path, go.path, "one")
    arrived.wait()
    assert worker.channel.try_stop()
    assert worker.call(2, square, 2)
    assert worker.channel.recall() is None
    if worker.channel.fileno() >= 0:
        assert worker.channel.recall() == 2
    go.open()
    assert worker.values(1) == {(1, 0): "one"}
    assert worker.ended() == 0


def test_a_worker_stops_after_what_it_was_sent(worker: Handle) -> None:
    assert worker.call(1, square, 3)
    assert worker.channel.try_stop()
    assert worker.values(1) == {(1, 0): 9}
    assert worker.ended() == 0
    worker.hear_the_end()
    frames, unread, begun = worker.worker.last_words()
    assert (frames, unread, begun.phase) == ([], frozenset(), IDLE)


def test_two_workers_do_not_disturb_each_other(maker: Maker) -> None:
    first, second = maker.ready(), maker.ready()
    assert first.call(1, tasks.whose)
    assert second.call(2, tasks.whose)
    assert first.is_meant(first.values(1)[1, 0])
    assert second.is_meant(second.values(1)[2, 0])
    assert maker.handles == [first, second]
    maker.release(first)
    assert second.call(3, tasks.whose)
    assert second.is_meant(second.values(1)[3, 0])


@pytest.fixture
def no_memory_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the parent has no descriptor left for a memory file."""

    def memory_file(name: str, size: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(channels, "memory_file", memory_file)


@pytest.mark.parametrize("transport", ["socket"])  # pipes need no memory files
@pytest.mark.usefixtures("no_memory_files")
def test_large_arguments_without_memory_files(worker: Handle) -> None:
    """They go over the stream, in their order, between answers and small messages."""
    for job, size in enumerate([BIG, 1, messages.INLINE_MAX + 1, BIG], 1):
        assert worker.call(job, tasks.size_of, b"x" * size)
    assert worker.values(4) == {(1, 0): BIG, (2, 0): 1, (3, 0): messages.INLINE_MAX + 1, (4, 0): BIG}


@pytest.mark.parametrize("transport", ["socket"])  # pipes need no memory files
@pytest.mark.usefixtures("no_memory_files")
def test_a_large_argument_that_was_not_asked_for_can_be_taken_back(worker: Handle, gate: Callable[[str], Gate]) -> None:
    arrived, go = gate("arrived"), gate("go")
    assert worker.call(1, tasks.meet, arrived.path, go.path)
    arrived.wait()
    assert worker.call(2, tasks.size_of, b"x" * BIG)
    assert worker.channel.recall() == 2
    go.open()
    worker.hear(1)
    assert worker.call(2, tasks.size_of, b"y" * BIG)
    assert worker.values(1) == {(2, 0): BIG}


@pytest.mark.parametrize("transport", ["socket"])  # pipes need no memory files
@pytest.mark.usefixtures("no_memory_files")
def test_death_in_the_middle_of_a_large_argument(worker: Handle) -> None:
    """The thread that writes it ends with the worker."""
    assert worker.call(1, tasks.size_of, b"x" * BIG)
    assert select.select([worker.channel], [], [], DEADLINE)[0], "the worker asks for it"
    worker.wait_until_stopped()
    worker.channel.receive()
    assert [thread.name for thread in threading.enumerate()].count("poolsafe-payload") == 1
    worker.die()
    worker.worker.release()
    assert "poolsafe-payload" not in [thread.name for thread in threading.enumerate()]
