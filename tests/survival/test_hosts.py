"""Parents that ignore or steal the ends of children, lack standard streams or descriptors, or fork.

Who uses it: pytest. What may go wrong: a death goes unnoticed, a stream overwrites a channel, a constructor that fails
leaves something behind, or a forked child ends its parent's workers.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.gates import Tally, process_is_gone, wait_for
from tests.support.levels import FRESH
from tests.survival.support.cases import spread
from tests.survival.support.programs import Program


def report(start_method: str, folder: Path, *args: str) -> str:
    """Run a program to its good end; return what it reports."""
    with Program("hosts", start_method, folder, *args) as program:
        assert program.end(45) == 0, repr(program)
        program.leaves_nothing()
        return (folder / "report").read_text()


@pytest.fixture(params=["globals", "fork", "process"])
def every_level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the program runs at, whatever the suite does."""
    monkeypatch.setenv("POOLSAFE_TEST_LEVEL", request.param)
    return str(request.param)


def test_a_parent_that_ignores_sigchld(start_method: str, tmp_path: Path) -> None:
    told = report(start_method, tmp_path, "ignores_sigchld").split()
    assert told[0] == "survived"
    if start_method != "forkserver" and not FRESH:  # whose server tells how its children ended, as templates do
        assert told[1:] == ["None"] * 3


def test_a_parent_that_reaps_foreign_children(start_method: str, tmp_path: Path) -> None:
    assert report(start_method, tmp_path, "reaps_everything") == "survived 3"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nobody can tell whose child a process is")
def test_a_parent_that_adopts_orphans(start_method: str, tmp_path: Path) -> None:
    assert report(start_method, tmp_path, "subreaper") == "reaped"


def test_a_parent_in_development_mode(start_method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDEVMODE", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    assert report(start_method, tmp_path, "plain") == "survived 3"


@pytest.mark.parametrize(("start_method", "closed"), spread(["0", "1", "2", "0 1", "0 1 2"], "2", "0 1 2"))
def test_a_parent_without_standard_streams(start_method: str, closed: str, tmp_path: Path) -> None:
    assert report(start_method, tmp_path, "without_streams", *closed.split()) == "survived 3"


@pytest.mark.parametrize(("start_method", "closed"), spread(["0", "0 1 2"], "2", "0 1 2"))
def test_nothing_is_put_in_the_place_of_streams(
    start_method: str, closed: str, every_level: str, tmp_path: Path
) -> None:
    """A task that writes there would be taken for dead, or write to somebody's channel."""
    assert report(start_method, tmp_path, "strangers", *closed.split()) == "kept"


def test_nothing_is_put_in_the_place_of_streams_that_the_initializer_closed(
    start_method: str, every_level: str, tmp_path: Path
) -> None:
    assert report(start_method, tmp_path, "strangers_after_initializer") == str([[]] * 4)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")
def test_workers_in_a_jail_without_files(start_method: str, every_level: str, tmp_path: Path) -> None:
    """Nothing can be opened there, /dev/null and /proc among it."""
    assert report(start_method, tmp_path, "jail") == "survived 1"


@pytest.mark.parametrize("start_method", ["fork"])  # the others always have one
def test_the_resource_tracker_takes_no_standard_stream(
    start_method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is printed would go to it; and what it prints about that, to itself, until it waits for itself."""
    monkeypatch.setenv("POOLSAFE_TEST_LEVEL", "fork")
    assert report(start_method, tmp_path, "without_streams", "0", "1", "2") == "survived 3"


def test_a_parent_without_stream_objects(start_method: str, tmp_path: Path) -> None:
    assert report(start_method, tmp_path, "without_stream_objects") == "survived 3"


@pytest.mark.parametrize("pace", ["at once", "slowly"])
@pytest.mark.parametrize("state", ["idle", "busy", "crowded"])
def test_a_program_that_closes_the_descriptors_of_its_pool(
    start_method: str, state: str, pace: str, tmp_path: Path
) -> None:
    """Nobody waits for ever, and no process stays: neither for the tasks that there were, nor for those that come.

    Workers end when what ties them to the program is closed; they are not to blame for that.
    """
    assert report(start_method, tmp_path, "closes_everything", state, pace) == "ended"


def test_out_of_descriptors_at_start(start_method: str, tmp_path: Path) -> None:
    assert report(start_method, tmp_path, "out_of_descriptors_at_start") == "True True"


@pytest.mark.parametrize(
    "limit", [pytest.param("without_descriptors", marks=pytest.mark.lasting), "under_a_file_size_limit"]
)
def test_large_arguments(start_method: str, limit: str, tmp_path: Path) -> None:
    assert report(start_method, tmp_path, f"large_arguments_{limit}") == "all"


@pytest.mark.lasting
def test_out_of_descriptors_at_a_respawn(start_method: str, tmp_path: Path) -> None:
    assert report(start_method, tmp_path, "out_of_descriptors_at_a_respawn") == "recovered"


@pytest.mark.parametrize(("start_method", "end"), spread(["exit", "_exit", "exec", "drop"], "exit"))
def test_a_forked_child_that_touches_the_pool(start_method: str, end: str, tmp_path: Path) -> None:
    assert report(start_method, tmp_path, "forked_child", end) == "WrongProcess 14"


def test_workers_go_with_their_parent_even_when_a_fork_of_it_lives(start_method: str, tmp_path: Path) -> None:
    with Program("hosts", start_method, tmp_path, "forked_child_lives_on") as program:
        program.reach(2)
        [child] = set(program.reach(2)) - {program.pid}
        workers = [int(pid) for pid in Tally(tmp_path / "workers").entries()]
        program.signal(signal.SIGKILL)
        wait_for(lambda: all(map(process_is_gone, workers)), 10, "the end of the workers")
        assert not process_is_gone(child)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])  # a fork cannot use its parent's fork server at all
def test_a_forked_child_with_a_pool_of_its_own(start_method: str, tmp_path: Path) -> None:
    assert report(start_method, tmp_path, "child_with_a_pool_of_its_own") == "both"
