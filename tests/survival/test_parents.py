"""The parent is interrupted, terminated or killed: its workers go with it, in silence.

Who uses it: pytest. What may go wrong: a worker lives on for ever, or answers Ctrl-C with a traceback of its own.
"""

from __future__ import annotations

import os
import signal
import time
from itertools import product
from pathlib import Path

import pytest

from tests.support.levels import FRESH, lasting
from tests.survival.support.cases import spread
from tests.survival.support.programs import Program
from tests.survival.support.ways import pipe_transport

WAITS = ["apply", "map", "imap", "join", "get-with-queue"]
WORK = ["idle", "initializing", "waiting", "deaf", "busy", "holds-the-gil", "every-signal-ignored", "large-result"]

DEATHS = [signal.SIGKILL, signal.SIGTERM]


def assert_quiet(program: Program) -> None:
    """Nothing on stderr; where others are always starting, `multiprocessing` may say of one that it could not."""
    assert program.err == "" or not lasting(program.start_method)


@pytest.mark.parametrize(("start_method", "where"), spread(WAITS, "map", "join"))
def test_ctrl_c_that_is_handled(start_method: str, where: str, tmp_path: Path) -> None:
    with Program("interrupted", start_method, tmp_path, "caught", where) as program:
        program.reach(2)
        start = time.monotonic()
        program.signal_all(signal.SIGINT)
        assert program.end() == 0
        assert time.monotonic() - start < 10
        assert program.out == "interrupted\n"
        assert_quiet(program)
        program.leaves_nothing()


@pytest.mark.parametrize(("start_method", "where"), spread(WAITS, "map"))
def test_ctrl_c_that_nobody_handles(start_method: str, where: str, tmp_path: Path) -> None:
    """One traceback, the program's own."""
    with Program("interrupted", start_method, tmp_path, "uncaught", where) as program:
        program.reach(2)
        program.signal_all(signal.SIGINT)
        assert program.end() in (-signal.SIGINT, 1, 130)
        assert program.out == ""
        assert program.err.count("Traceback") == 1
        assert program.err.endswith("KeyboardInterrupt\n")
        assert "interrupted.py" in program.err
        program.leaves_nothing()


def test_ctrl_c_while_workers_start(start_method: str, tmp_path: Path) -> None:
    with Program("interrupted", start_method, tmp_path, "starting") as program:
        program.reach(2)
        program.signal_all(signal.SIGINT)
        assert program.end() == 0
        assert (program.out, program.err) == ("interrupted\n", "")
        program.leaves_nothing()


def test_a_pool_goes_on_after_ctrl_c(start_method: str, tmp_path: Path) -> None:
    with Program("interrupted", start_method, tmp_path, "goes_on") as program:
        program.reach(2)
        program.signal_all(signal.SIGINT)
        assert program.end() == 0
        assert program.out == "went on [0, 1, 4, 9]\n"
        assert_quiet(program)
        program.leaves_nothing()


@pytest.mark.parametrize(
    ("start_method", "case"),
    spread(product(WORK, DEATHS), *product(WORK, DEATHS[:1]), *product(["waiting"], DEATHS[1:])),
)
def test_workers_go_with_a_parent_that_dies(start_method: str, case: tuple[str, int], tmp_path: Path) -> None:
    work, signum = case
    if work == "holds-the-gil" and pipe_transport:
        pytest.skip("only the kernel can end such a process, which takes Linux and its sockets")
    with Program("interrupted", start_method, tmp_path, "at_work", work) as program:
        workers = program.reach(2)
        assert set(workers) <= program.survivors() or (work == "idle" and FRESH)
        program.signal(signum)
        program.signal(signal.SIGCONT)
        assert program.end() == -signum
        program.leaves_nothing()
        assert_quiet(program)


@pytest.mark.parametrize(("start_method", "signum"), spread(DEATHS, signal.SIGKILL))
def test_stopped_workers_go_with_their_parent(start_method: str, signum: int, tmp_path: Path) -> None:
    if pipe_transport:
        pytest.skip("only the kernel can end a stopped process, which takes Linux and its sockets")
    with Program("interrupted", start_method, tmp_path, "at_work", "waiting") as program:
        for pid in program.reach(2):
            os.kill(pid, signal.SIGSTOP)
        program.signal(signum)
        program.end()
        program.leaves_nothing()


def test_a_parent_that_handles_sigterm(start_method: str, tmp_path: Path) -> None:
    with Program("interrupted", start_method, tmp_path, "leaves_by_exception") as program:
        program.reach(2)
        program.signal_all(signal.SIGTERM)
        assert program.end() == 7
        assert_quiet(program)
        program.leaves_nothing()
