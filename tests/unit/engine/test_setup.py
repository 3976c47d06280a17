"""What a worker undoes of what it has inherited."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import select
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolsafe.engine.setup import renew_streams
from tests.support.gates import wait_for
from tests.support.scripts import run_python


def unread(fd: int) -> int:
    """So many bytes wait in a pipe."""
    count: int = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0]
    return count


@pytest.fixture
def busy_stream() -> Iterator[io.TextIOWrapper]:
    """In whose buffer a thread is writing to a pipe that is full, so that it holds the lock."""
    reader, writer = os.pipe()
    stream = io.TextIOWrapper(io.BufferedWriter(io.FileIO(writer, "w")), write_through=True)
    thread = threading.Thread(target=stream.buffer.write, args=(bytes(1 << 20),))
    thread.start()
    full = fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ) if hasattr(fcntl, "F_GETPIPE_SZ") else 1 << 16
    wait_for(lambda: unread(reader) >= full, what="the pipe to be full")
    yield stream
    while thread.is_alive() or unread(reader):
        if select.select([reader], [], [], 0.05)[0]:
            os.read(reader, 1 << 20)
    stream.close()
    os.close(reader)


def ends_well(pid: int) -> bool:
    """Whether a forked child, which is given some seconds, ends with 0."""
    found: list[int] = []

    def ended() -> bool:
        gone, status = os.waitpid(pid, os.WNOHANG)
        found.append(status)
        return gone == pid

    try:
        wait_for(ended, 10, "the end of the child")
    except BaseException:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise
    return found[-1] == 0


@pytest.mark.parametrize("place", ["stdout", "stderr", "logging"])
def test_a_thread_was_writing_at_the_moment_of_the_fork(
    busy_stream: io.TextIOWrapper, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = logging.StreamHandler(busy_stream if place == "logging" else io.StringIO())
    if place != "logging":
        monkeypatch.setattr(sys, place, busy_stream)
    pid = os.fork()
    if not pid:
        renew_streams()
        os._exit(busy_stream.buffer.write(b"x") - 1)
    assert ends_well(pid)
    handler.close()


def test_what_the_parent_has_yet_to_write_is_not_written_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    stream = io.TextIOWrapper(io.BufferedWriter(io.FileIO(writer, "w")))
    monkeypatch.setattr(sys, "stdout", stream)
    stream.buffer.write(b"the parent's ")
    pid = os.fork()
    if not pid:
        renew_streams()
        stream.buffer.write(b"the child's ")
        stream.buffer.flush()
        os._exit(0)
    assert ends_well(pid)
    stream.close()
    assert os.read(reader, 100) == b"the child's the parent's "
    os.close(reader)


def test_streams_of_other_kinds_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.TextIOWrapper(io.BufferedWriter(io.FileIO(os.open(os.devnull, os.O_WRONLY), "w")))
    closed.close()
    for stream in (None, io.StringIO("here"), object(), closed):
        monkeypatch.setattr(sys, "stdout", stream)
        renew_streams()
    with pytest.raises(ValueError, match="closed"):
        closed.write("x")


PROGRAM = """
import sys
from multiprocessing import get_context
from poolsafe import IsolatedPool

sys.stdout.buffer.write(b"imported")

if __name__ == "__main__":
    with IsolatedPool(1, context=get_context("spawn"), reset=None) as pool:
        pool.apply(len, ("",))
        pool.close()
        pool.join()
"""


def test_what_a_worker_has_printed_itself_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    ended = run_python(tmp_path / "program.py", env={"PYTHONUNBUFFERED": ""})
    assert ended.stdout == "imported" * 2


# -- crashes -----------------------------------------------------------------------------------------------------------
CRASHES = """
import ctypes, faulthandler, os, signal, sys
from poolsafe.engine import setup
{before}
setup.tell_where_it_crashes(os.open(os.devnull, os.O_WRONLY))
print(faulthandler.is_enabled())
setup.tell_nothing()
print(faulthandler.is_enabled())
setup.tell_again_where_it_crashes()
print(faulthandler.is_enabled())
"""
#: A handler of a library, which Python knows nothing of.
IN_C = "handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(print); ctypes.CDLL(None).signal(signal.{}, handler)"


@pytest.mark.parametrize(
    ("before", "enabled"),
    [
        ("", [True, False, True]),
        (IN_C.format("SIGSEGV"), [False, False, False]),
        (IN_C.format("SIGFPE"), [False, False, False]),
        (IN_C.format("SIGUSR1"), [True, False, True]),
        ("signal.signal(signal.SIGABRT, print)", [False, False, False]),
        ("faulthandler.enable()", [True, True, True]),
    ],
)
def test_handlers_of_the_programs_own_are_left_alone(before: str, enabled: list[bool]) -> None:
    done = run_python("-c", CRASHES.format(before=before))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(map(str, enabled))
