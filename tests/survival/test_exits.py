"""Programs that just end: the interpreter exits with the pool in any state, and nothing is left.

Who uses it: pytest. What may go wrong: the exit waits for a thread that is frozen or a worker that does not end; a
worker outlives the program; the program's last words drown in ours.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import pytest

from tests.support.levels import FRESH, LEVEL
from tests.support.scripts import run_python
from tests.survival.support.cases import spread
from tests.survival.support.programs import Program
from tests.survival.support.states import STATES


@pytest.mark.parametrize(
    ("start_method", "case"),
    spread(product(["idle", "queued"], ["end", "exit", "raise", "cycle"]), ("idle", "end"), ("queued", "raise")),
)
def test_the_program_ends(start_method: str, case: tuple[str, str], tmp_path: Path) -> None:
    state, how = case
    with Program("exits", start_method, tmp_path, "end_of_script", state, how) as program:
        status = program.end()
        assert program.out == "leaving\n"
        assert status == {"exit": 3, "raise": 1}.get(how, 0)
        if how == "raise":
            assert program.err.endswith("RuntimeError: the program's own error\n")
            assert program.err.count("Traceback") == 1
        else:
            assert program.err == ""
        program.leaves_nothing()


@pytest.mark.parametrize(
    ("start_method", "state"), spread([name for name in STATES if name not in ("idle", "queued")], "half_sent", "deaf")
)
def test_the_program_ends_with_the_pool_in_a_hard_state(start_method: str, state: str, tmp_path: Path) -> None:
    with Program("exits", start_method, tmp_path, "end_of_script", state, "end") as program:
        assert program.end() == 0
        assert (program.out, program.err) == ("leaving\n", "")
        program.leaves_nothing()


def test_the_program_ends_after_close_without_join(start_method: str, tmp_path: Path) -> None:
    with Program("exits", start_method, tmp_path, "end_of_script", "queued", "close") as program:
        assert program.end() == 0
        assert (program.out, program.err) == ("leaving\n", "")
        program.leaves_nothing()


@pytest.mark.parametrize(
    "case", [("endless_input", "kept"), ("endless_input", "dropped"), ("blocked_input",), ("blocked_threads",)],
    ids="-".join,
)  # fmt: skip
def test_the_program_ends_with_threads_at_work(start_method: str, case: tuple[str, ...], tmp_path: Path) -> None:
    with Program("exits", start_method, tmp_path, *case) as program:
        assert program.end() == 0
        assert program.out == "leaving\n"
        assert program.err == ""
        program.leaves_nothing()


@pytest.mark.parametrize(
    ("start_method", "what"),
    spread(
        ["apply", "map", "imap", "callback", "death", "new-pool", "terminate", "close"], "apply", "new-pool", "close"
    ),
)
def test_exit_functions_that_use_the_pool(start_method: str, what: str, tmp_path: Path) -> None:
    with Program("exits", start_method, tmp_path, "at_exit", what) as program:
        assert program.end() == 0
        last = program.out.splitlines()[-1]
        assert last.startswith(("value", "error"))
        if what in ("terminate", "close"):
            assert last == "value (None, None)"
        if what == "death":
            assert last.startswith("error")
        assert "Traceback" not in program.err
        program.leaves_nothing()


def test_finalizers_at_the_very_end(start_method: str, tmp_path: Path) -> None:
    with Program("exits", start_method, tmp_path, "in_finalizers") as program:
        assert program.end() == 0
        assert "Traceback" not in program.err
        program.leaves_nothing()


def test_a_script_without_a_main_guard(start_method: str, tmp_path: Path) -> None:
    """Under fork it works; else the stdlib's explanation is seen once, and the program ends."""
    with Program("unguarded", start_method, tmp_path) as program:
        status = program.end()
        if start_method == "fork":
            assert (status, program.out, program.err) == (0, "[1, 2, 3]\n", "begins\n")
        else:
            assert status == 1
            assert program.out == ""
            assert program.err.count("An attempt has been made to start a new process before the") == 1
            assert program.err.count("poolsafe.InitializerError") == 1
            assert "__main__" in program.err.rpartition("poolsafe.InitializerError")[2]
            assert program.err.count("begins") <= 1 + 4 + 2, "the program, its workers, and one that took a place"
        program.leaves_nothing()


AFTER_THE_SCRIPT = """\
import multiprocessing, os, sys, threading
from poolsafe import IsolatedPool, WorkerLost

def square(i):
    return i * i

def go_on(pool):
    threading.main_thread().join()  # which is when the script has run to its end
    try:
        pool.apply(os._exit, (1,))
    except WorkerLost:
        print([pool.apply(square, (i,)) for i in range(3)])
    pool.terminate()
    pool.join()

if __name__ == "__main__":
    pool = IsolatedPool(1, context=multiprocessing.get_context(sys.argv[1]), isolation=sys.argv[2])
    threading.Thread(target=go_on, args=(pool,)).start()
"""


def test_workers_that_start_after_the_script_has_run_know_its_functions(start_method: str, tmp_path: Path) -> None:
    """Python forgets then where the main module is, and `multiprocessing` has new processes do without it."""
    (tmp_path / "program.py").write_text(AFTER_THE_SCRIPT)
    done = run_python(tmp_path / "program.py", start_method, LEVEL, cwd=tmp_path)
    if start_method == "fork" and not FRESH and sys.version_info[:2] == (3, 12):  # which then forks no more
        assert "InitializerError" in done.stderr
        assert "Have the main thread wait" in done.stderr
    else:
        assert (done.returncode, done.stdout, done.stderr) == (0, "[0, 1, 4]\n", "")
