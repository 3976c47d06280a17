"""Both pollers: what is readable is reported, and a wake is never lost."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from poolsafe.engine.poller import EpollPoller, Poller, WaitPoller
from tests.support.gates import DEADLINE


@pytest.fixture(params=[EpollPoller, WaitPoller])
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    made: Poller = request.param()
    yield made
    made.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


class Waitable:
    """What is polled by its descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        return self.fd


@pytest.mark.parametrize("wrap", [int, Waitable])
def test_what_is_readable_is_reported_by_its_key(poller: Poller, pipe: tuple[int, int], wrap: Any) -> None:
    waitable = wrap(pipe[0])
    poller.register(waitable, "key")
    assert poller.wait(0) == []
    os.write(pipe[1], b"x")
    assert poller.wait(DEADLINE) == ["key"]
    assert poller.wait(None) == ["key"]
    poller.unregister(waitable)
    assert poller.wait(0) == []
    poller.unregister(waitable)


def test_a_wake_ends_the_next_wait(poller: Poller) -> None:
    poller.wake()
    assert poller.wait(None) == []
    assert poller.wait(0) == []


def test_many_wakes_do_not_block(poller: Poller) -> None:
    thread = threading.Thread(target=lambda: [poller.wake() for _ in range(100_000)], daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert poller.wait(None) == []


def test_a_wake_ends_the_wait_of_another_thread(poller: Poller) -> None:
    threading.Timer(0.05, poller.wake).start()
    assert poller.wait(DEADLINE) == []


def test_wakes_of_many_threads_are_all_heard(poller: Poller) -> None:
    asked: list[int] = []

    def ask() -> None:
        for _ in range(200):
            asked.append(1)
            poller.wake()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    seen = 0
    while seen < 800:
        assert poller.wait(DEADLINE) == []
        seen = len(asked)
    for thread in threads:
        thread.join()


def test_a_wake_and_news_at_once(poller: Poller, pipe: tuple[int, int]) -> None:
    poller.register(pipe[0], "key")
    os.write(pipe[1], b"x")
    poller.wake()
    assert poller.wait(None) == ["key"]
    poller.unregister(pipe[0])


def test_waking_a_closed_poller_is_nothing(poller: Poller) -> None:
    poller.close()
    assert poller.wake()


def test_waking_one_that_is_awake_is_nothing(poller: Poller) -> None:
    assert all(poller.wake() for _ in range(100_000))


def test_a_wake_for_which_there_is_no_memory_is_not_the_end(poller: Any) -> None:
    class Starved:
        def send(self, data: bytes) -> int:
            raise OSError(errno.ENOBUFS, "no buffer space")

    kept, poller._alarm._writer = poller._alarm._writer, Starved()
    assert poller.wake()
    poller._alarm._writer = kept


def test_a_wake_that_cannot_be_heard_is_known(poller: Any) -> None:
    """The program has closed the descriptor, and something else has its number now."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, poller._alarm._writer.fileno())
    os.close(null)
    assert not poller.wake()


def test_closing_leaves_nothing_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    for kind in (EpollPoller, WaitPoller):
        made = kind()
        assert set(os.listdir("/proc/self/fd")) > before
        made.close()
        assert set(os.listdir("/proc/self/fd")) == before


def test_without_descriptors_there_is_no_poller_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(24, "too many open files")

    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(select, "epoll", refuse)
    with pytest.raises(OSError, match="too many") as caught:
        EpollPoller()
    assert caught.value.errno == 24
    del caught
    assert set(os.listdir("/proc/self/fd")) == before
