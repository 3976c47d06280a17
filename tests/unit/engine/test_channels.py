"""Channels and ends within one process: how a stream is taken apart, and what happens when a side is gone."""

from __future__ import annotations

import array
import itertools
import os
import queue
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsafe.engine import channels, ends, messages
from poolsafe.engine.channels import PipeChannel, SocketChannel
from poolsafe.engine.ends import ParentGone, SocketEnd
from poolsafe.engine.fds import memory_file
from poolsafe.engine.messages import INLINE_MAX, STOP, TASK, Frames, frame, frames_of
from tests.support.gates import DEADLINE, wait_for

FRAMES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 2**63), st.integers(0, 2**31), st.binary(max_size=40)), max_size=6
)


@given(frames=FRAMES, cuts=st.lists(st.integers(0, 300), max_size=8))
def test_a_stream_is_taken_apart_wherever_it_is_cut(frames: list[Any], cuts: list[int]) -> None:
    stream = b"".join(frame(*one) for one in frames)
    parser, found = Frames(), []
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, stop in itertools.pairwise(edges):
        found += parser.feed(stream[start:stop])
    assert found == frames


@given(frames=FRAMES, rest=st.integers(1, 20))
def test_half_a_frame_is_none(frames: list[Any], rest: int) -> None:
    stream = b"".join(frame(*one) for one in frames)
    half = frame(1, 2, 3, b"abc")[:-1][:rest]
    assert frames_of(stream + half) == frames


class Line:
    """A channel and its worker's end, both here."""

    def __init__(self, kind: str) -> None:
        self.news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.channel: Any = SocketChannel() if kind == "socket" else PipeChannel(self.news.put)
        self.end: Any
        if kind == "socket":
            ours = self.channel.end
            # What starting a process does: the worker has copies of its ends, and ours are closed.
            self.end = SocketEnd(ours._requests.dup(), ours._replies.dup())
        else:
            self.end = ends.PipeEnd(
                self.channel.end._connection.__class__(os.dup(self.channel.end._connection.fileno()))
            )
        self.end.keep_private()  # as the worker does first
        self.channel.started()

    def heard(self, count: int) -> list[Any]:
        frames: list[Any] = []
        wait_for(lambda: frames.extend(self.channel.receive()[0]) or len(frames) >= count, DEADLINE, "frames")
        return frames

    def hear_the_end(self) -> None:
        wait_for(lambda: not self.channel.receive()[1], DEADLINE, "the end")


@pytest.fixture(params=["socket", "pipe"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    made = Line(request.param)
    yield made
    made.end.close()
    made.channel.close()
    made.channel.abandon()


@pytest.mark.parametrize("size", [0, 1, INLINE_MAX, INLINE_MAX + 1, 3_000_000])
def test_a_request_arrives_whole(line: Line, size: int) -> None:
    assert line.channel.try_send(7, 2, 5, b"x" * size)
    request, whole = line.end.receive()
    assert whole
    assert request[:4] == (TASK, 2, 5, 7)
    assert bytes(request.payload) == b"x" * size


def test_stop_arrives_after_what_was_sent_before(line: Line) -> None:
    assert line.channel.try_send(1, 0, 1, b"")
    assert line.channel.try_stop()
    assert [line.end.receive()[0].kind for _ in range(2)] == [TASK, STOP]


def test_frames_arrive_in_order(line: Line) -> None:
    line.end.send(frame(1, 1, 0, b"one") + frame(1, 1, 1, b"two"))
    line.end.send(memoryview(frame(2, 2, 0, b"")))
    assert line.heard(3) == [(1, 1, 0, b"one"), (1, 1, 1, b"two"), (2, 2, 0, b"")]


def test_nothing_to_hear_is_no_end(line: Line) -> None:
    assert line.channel.receive() == ([], True)


def test_the_worker_closes(line: Line) -> None:
    line.end.send(frame(1, 1, 0, b"last"))
    line.end.close()
    assert line.channel.drain() == [(1, 1, 0, b"last")]


def test_half_an_answer_is_none(line: Line) -> None:
    if isinstance(line.channel, PipeChannel):
        line.end._connection._send(b"\0\0\1\0half")  # the length of a message, and not all of it
    else:
        line.end.send(frame(1, 1, 0, b"whole") + frame(1, 1, 1, b"half")[:-1])
    line.end.close()
    assert line.channel.drain() == ([] if isinstance(line.channel, PipeChannel) else [(1, 1, 0, b"whole")])


def test_the_end_is_heard(line: Line) -> None:
    line.end.close()
    line.hear_the_end()


def test_draining_does_not_wait_for_who_holds_the_other_end(line: Line) -> None:
    line.end.send(frame(1, 1, 0, b"one"))
    if isinstance(line.channel, PipeChannel):
        line.news.get(timeout=DEADLINE)
    assert line.channel.drain() == [(1, 1, 0, b"one")]


def test_the_parent_is_gone(line: Line) -> None:
    line.channel.close()
    line.channel.abandon()
    if isinstance(line.channel, SocketChannel):
        line.channel.end.close()
    with pytest.raises(ParentGone):
        line.end.receive()
    with pytest.raises(ParentGone):
        for _ in range(100):
            line.end.send(b"x" * 100_000)


def test_a_task_put_another_file_in_the_channels_place(line: Line) -> None:
    other = os.open(os.devnull, os.O_RDWR)
    fds = [line.end._connection.fileno()] if isinstance(line.channel, PipeChannel) else [
        line.end._requests.fileno(), line.end._replies.fileno(),
    ]  # fmt: skip
    for fd in fds:
        os.dup2(other, fd)
    os.close(other)
    with pytest.raises(ParentGone):
        line.end.send(frame(1, 1, 0, b"into the void"))
    with pytest.raises(ParentGone):
        line.end.receive()


def test_closing_twice_is_closing_once(line: Line) -> None:
    line.channel.close()
    line.channel.close()


def test_abandoning_what_was_never_started() -> None:
    before = set(os.listdir("/proc/self/fd"))
    for made in (SocketChannel(), PipeChannel(lambda channel: None)):
        made.abandon()
        made.end.close()  # type: ignore[attr-defined]
    assert set(os.listdir("/proc/self/fd")) == before


# -- what only the socket channel does ---------------------------------------------------------------------------------
@pytest.fixture
def sockets() -> Iterator[Line]:
    made = Line("socket")
    yield made
    made.end.close()
    made.channel.abandon()


def none_left(*_: object) -> int:
    raise OSError(24, "too many open files")


def test_a_worker_without_descriptors_drops_a_big_payload(sockets: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sockets.channel.try_send(1, 0, 1, b"x" * (INLINE_MAX + 1))
    assert sockets.channel.try_send(3, 0, 1, b"x")
    monkeypatch.setattr(ends, "_read", none_left)
    request, whole = sockets.end.receive()
    assert (request.job, whole) == (1, False)
    assert sockets.end.receive()[0].job == 3


def test_a_withheld_payload_is_dropped_when_it_cannot_be_announced(
    sockets: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "memory_file", none_left)
    while sockets.channel.try_send(1, 0, 1, b"x"):
        pass
    assert not sockets.channel.try_send(2, 0, 1, b"x" * (INLINE_MAX + 1))
    assert not sockets.channel._withheld


def test_a_payload_that_nobody_can_write(sockets: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a thread for it, the worker is not left waiting."""

    def no_thread(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(channels, "memory_file", none_left)
    monkeypatch.setattr(channels, "start_deaf", no_thread)
    assert sockets.channel.try_send(1, 0, 1, b"x" * (INLINE_MAX + 1))
    sockets.end.send(frame(messages.WANTED, 1, 0, b""))
    assert sockets.channel.receive() == ([], True)
    with pytest.raises(ends.ParentGone):
        sockets.end.receive()


def test_a_descriptor_that_did_not_arrive(sockets: Line) -> None:
    head = messages.REQUEST.pack(TASK, messages.ATTACHED, 0, 1, 9, 50_000)
    sockets.channel._requests.send(head)
    request, whole = sockets.end.receive()
    assert (request.job, whole) == (9, False)


def test_a_memory_file_that_is_too_short(sockets: Line) -> None:
    fd = memory_file("short", 40_000)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
    sockets.channel._requests.sendmsg([messages.REQUEST.pack(TASK, messages.ATTACHED, 0, 1, 9, 50_000)], [rights])
    os.close(fd)
    request, whole = sockets.end.receive()
    assert (request.job, whole) == (9, False)


def test_taking_back_leaves_no_descriptor(sockets: Line) -> None:
    before = set(os.listdir("/proc/self/fd"))
    assert sockets.channel.try_send(4, 0, 1, b"x" * 100_000)
    assert sockets.channel.recall() == 4
    assert sockets.channel.recall() is None
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_default_timeout_of_sockets_is_nothing_to_us() -> None:
    socket.setdefaulttimeout(0.001)
    try:
        made = Line("socket")
        assert made.end._requests.gettimeout() is None
        assert made.channel._requests.gettimeout() == 0
    finally:
        socket.setdefaulttimeout(None)
    made.end.close()
    made.channel.abandon()


def test_sending_on_what_is_closed_is_refused(sockets: Line) -> None:
    sockets.channel.abandon()
    assert not sockets.channel.try_send(1, 0, 1, b"")
    assert not sockets.channel.try_stop()
    assert sockets.channel.recall() is None
    assert sockets.channel.receive() == ([], False)


# -- what only the pipe channel does -----------------------------------------------------------------------------------
def test_a_pipe_announces_itself_and_its_end() -> None:
    line = Line("pipe")
    line.end.send(frame(1, 1, 0, b"one"))
    assert line.news.get(timeout=DEADLINE) is line.channel
    line.end.close()
    assert line.news.get(timeout=DEADLINE) is line.channel
    assert line.channel.receive() == ([(1, 1, 0, b"one")], False)
    assert line.channel.recall() is None
    line.channel.close()


def test_a_pipe_whose_descriptor_cannot_be_copied_still_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line("pipe")

    def none_left(_: int) -> int:
        raise OSError(24, "too many open files")

    line.end.close()
    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", none_left)
        assert line.channel.drain() == []
        line.channel.close()


def test_what_was_sent_to_a_pipe_whose_reader_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line("pipe")
    line.end.close()
    line.hear_the_end()
    assert line.channel.try_send(1, 0, 1, b"x" * 100_000), "a pipe takes everything; the exit is noticed elsewhere"
    wait_for(lambda: not line.channel._threads[1].is_alive(), what="the writing thread to end")
    line.channel.close()
