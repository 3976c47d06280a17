"""Descriptors of our own: never the standard streams, and nothing left open when something fails."""

from __future__ import annotations

import os
import socket

import pytest

from poolsafe.engine import fds
from poolsafe.engine.fds import KeptSocket, above_stdio, memory_file, socket_pair
from tests.support.scripts import run_python


def test_a_number_above_the_standard_streams_stays() -> None:
    reader, writer = os.pipe()
    assert (above_stdio(reader), above_stdio(writer)) == (reader, writer)
    os.close(reader)
    os.close(writer)


def test_without_standard_streams_the_numbers_are_above_them() -> None:
    code = """if True:
        import os, sys
        report = os.dup(1)
        for number in (0, 1, 2):
            os.close(number)
        from poolsafe.engine.fds import memory_file, memory_map, socket_pair
        first, second = socket_pair()
        numbers = [memory_file("x", 10), first.fileno(), second.fileno()]
        area = memory_map(numbers[0], 10)
        opened = [number for number in (0, 1, 2) if os.path.exists(f"/proc/self/fd/{number}")]
        os.write(report, f"{min(numbers)} {opened}".encode())
    """
    done = run_python("-c", code)
    assert done.returncode == 0
    lowest, opened = done.stdout.split()
    assert int(lowest) > 2
    assert opened == "[]"


def test_a_memory_file_has_its_size_and_no_name() -> None:
    fd = memory_file("poolsafe-test", 4096)
    assert os.fstat(fd).st_size == 4096
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)


def test_where_there_is_no_memfd_a_file_without_a_name_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    fd = memory_file("poolsafe-test", 4096)
    assert os.fstat(fd).st_size == 4096
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)


def test_no_memory_leaves_no_descriptor() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises((OSError, OverflowError)):
        memory_file("poolsafe-test", 2**80)
    assert set(os.listdir("/proc/self/fd")) == before


def test_half_a_pair_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(os.listdir("/proc/self/fd"))
    numbers: list[int] = []

    def fail_second(fd: int) -> int:
        numbers.append(fd)
        if len(numbers) == 2:
            os.close(fd)
            raise OSError(24, "too many open files")
        return fd

    monkeypatch.setattr(fds, "above_stdio", fail_second)
    with pytest.raises(OSError, match="too many"):
        socket_pair()
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_kept_socket_closes_with_its_last_user() -> None:
    first, second = socket_pair()
    user = first
    del first
    second.sendall(b"x")
    assert user.recv(1) == b"x"
    number = user.fileno()
    del user
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    assert isinstance(second, socket.socket)
    assert isinstance(second, KeptSocket)


@pytest.mark.parametrize("failing", [1, 2])
def test_half_a_pipe_is_none(monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    before = set(os.listdir("/proc/self/fd"))
    numbers: list[int] = []

    def fail(fd: int) -> int:
        numbers.append(fd)
        if len(numbers) == failing:
            os.close(fd)
            raise OSError(24, "too many open files")
        return fd

    monkeypatch.setattr(fds, "above_stdio", fail)
    with pytest.raises(OSError, match="too many"):
        fds.pipe()
    assert set(os.listdir("/proc/self/fd")) == before
