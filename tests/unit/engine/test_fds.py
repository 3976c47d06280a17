"""Descriptors of our own: never the standard streams, and nothing left open when something fails."""

from __future__ import annotations

import os
import socket

import pytest

from poolsafe.engine.fds import KeptSocket, memory_file, socket_pair
from tests.support.scripts import run_python

_DAEMON = """if True:
    import os, socket, sys, threading
    from poolsafe.engine import fds
    report = os.dup(1)
    for number in (0, 1, 2):
        os.close(number)

    def next_number():
        number = os.open(os.devnull, os.O_RDONLY)
        os.close(number)
        return number
"""


def _in_a_daemon(code: str) -> str:
    done = run_python("-c", f"{_DAEMON}\n{code}")
    assert done.returncode == 0
    return done.stdout


def test_without_standard_streams_the_numbers_are_above_them() -> None:
    code = """if True:
        first, second = fds.socket_pair()
        numbers = [fds.memory_file("x", 10), first.fileno(), second.fileno(), *fds.pipe()]
        area = fds.memory_map(numbers[0], 10)
        opened = [number for number in (0, 1, 2) if os.path.exists(f"/proc/self/fd/{number}")]
        os.write(report, f"{min(numbers)} {opened}".encode())
    """
    lowest, opened = _in_a_daemon(code).split()
    assert int(lowest) > 2
    assert opened == "[]"


def test_low_numbers_stay_taken_while_anybody_needs_that() -> None:
    """Two threads may start a process each, or map memory."""
    code = """if True:
        one, other = fds.low_numbers_taken(), fds.low_numbers_taken()
        one.__enter__()
        other.__enter__()
        one.__exit__(None, None, None)
        between = next_number()
        other.__exit__(None, None, None)
        os.write(report, f"{between > 2} {next_number()}".encode())
    """
    assert _in_a_daemon(code) == "True 0"


def test_a_stream_that_the_program_puts_there_meanwhile_stays() -> None:
    code = """if True:
        with fds.low_numbers_taken():
            os.dup2(report, 1)
            os.close(2)
        os.write(1, str(next_number()).encode())
    """
    assert _in_a_daemon(code) == "0"


def test_low_numbers_in_a_process_forked_while_another_thread_takes_them() -> None:
    code = """if True:
        held, over = threading.Event(), threading.Event()
        def hold():
            with fds._low._lock:
                held.set()
                over.wait()
        thread = threading.Thread(target=hold)
        with fds.low_numbers_taken():
            thread.start()
            held.wait()
            pid = os.fork()
            if not pid:
                with fds.low_numbers_taken():
                    within = next_number()
                os._exit(within > 2 and next_number() > 2)  # they stay taken
            status = os.waitpid(pid, 0)[1]
            over.set()
        thread.join()
        os.write(report, f"{os.waitstatus_to_exitcode(status)} {next_number()}".encode())
    """
    assert _in_a_daemon(code) == "1 0"


def test_low_numbers_in_a_worker_stay_taken_for_good() -> None:
    code = """if True:
        fds.keep_low_numbers_taken()
        with fds.low_numbers_taken():
            pass
        os.write(report, str(next_number() > 2).encode())
    """
    assert _in_a_daemon(code) == "True"


def test_out_of_descriptors_nothing_stays_taken() -> None:
    code = """if True:
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (report, report))
        others = []
        try:
            while True:
                others.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        os.close(1)
        try:
            with fds.low_numbers_taken():
                told = "taken"
        except OSError:
            told = "none"
        os.write(report, f"{told} {next_number()}".encode())
    """
    assert _in_a_daemon(code) == "none 1"


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
