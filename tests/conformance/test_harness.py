"""The conformance suite notices what is wrong: proved with pools that are wrong on purpose.

What may go wrong: a change to the runner or the hook that makes every test pass; then one of these fails.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.conformance import selection
from tests.conformance.interpreter import missing_tests
from tests.conformance.runs import STDLIB, Group, Outcome, run
from tests.conformance.test_stdlib_pool import complaints
from tests.support.scripts import ROOT, run_python

needs_tests = pytest.mark.skipif(bool(missing_tests()), reason=missing_tests() or "the stdlib's tests are there")

POOL = "WithProcessesTestPool"


def outcome(wrong: str, *tests: str, cls: str = POOL, limit: float = 30) -> Outcome:
    """Run tests of a class under fork with a pool that is wrong in one way."""
    return run(Group("stdpool_fork", cls, tests or ("test_map",)), f"stdpool_wrong:{wrong}", limit)


@needs_tests
def test_a_right_pool_passes() -> None:
    found = outcome("Right", "test_map", "test_starmap", "test_imap")
    assert [found.status(test) for test in ("test_map", "test_starmap", "test_imap")] == ["passed"] * 3
    assert complaints(POOL, found) == []


@needs_tests
def test_a_wrong_result_is_a_failure() -> None:
    found = outcome("Reversing", "test_map", "test_starmap")
    assert (found.status("test_map"), found.status("test_starmap")) == ("failed", "passed")
    assert "Lists differ" in found.complaint("test_map")


@needs_tests
def test_a_skipped_test_is_not_passed() -> None:
    assert outcome("Skipping").status("test_map") == "skipped"


@needs_tests
def test_a_test_that_was_not_run_is_not_passed() -> None:
    assert outcome("Right", "test_map").status("test_imap") == "not run"


@needs_tests
def test_a_hang_is_told_with_its_stack() -> None:
    found = outcome("Hanging", "test_imap", "test_map", "test_starmap", limit=3)
    statuses = {test: found.status(test) for test in ("test_imap", "test_map", "test_starmap")}
    assert statuses == {"test_imap": "passed", "test_map": "hung", "test_starmap": "not run"}
    assert "stdpool_wrong.py" in found.complaint("test_map")
    assert "hung" in complaints(POOL, found)


@needs_tests
def test_a_process_left_behind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.conformance.runs.GRACE", 1)
    found = outcome("Leaving")
    assert found.status("test_map") == "passed"
    assert len(found.left_processes) == 2  # the test calls map twice
    assert any(text.startswith("left process") for text in complaints(POOL, found))


@needs_tests
def test_a_dangling_worker_is_told() -> None:
    found = outcome("Dangling")
    assert found.status("test_map") == "passed"
    assert "environment altered" in complaints(POOL, found)


@needs_tests
@pytest.mark.parametrize(
    ("cls", "test"),
    [(POOL, "test_map"), ("WithManagerTestPool", "test_map"), ("TestInitializers", "test_pool_initializer")],
)
def test_pools_that_are_not_ours_are_told(cls: str, test: str) -> None:
    found = run(Group("stdpool_fork", cls, (test,)), STDLIB)
    assert found.status(test) == "passed"
    assert "0 pools of ours were made" in complaints(cls, found)
    assert any("pools of the stdlib were made" in text for text in complaints(cls, found))


@needs_tests
def test_pools_of_scripts_and_their_workers_are_replaced_too() -> None:
    test = "test_worker_finalization_via_atexit_handler_of_multiprocessing"
    found = outcome("Right", test, cls="WithProcessesTestPoolWorkerLifetime")
    assert found.status(test) == "passed"
    assert found.pools == {"ours": 1}


@needs_tests
def test_a_test_that_nobody_selected_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "ELSEWHERE", {})
    assert {
        "TestInitializers.test_pool_initializer",
        "TestSyncManagerTypes.test_pool",
        "TestStdinBadfiledescriptor.test_pool_in_process",
    } <= set(selection.overlooked())


WITHOUT_TESTS = """
import importlib.util

find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.startswith("test.") else find(name, package)
"""


def test_a_python_without_the_stdlibs_tests_is_loud_and_not_red(tmp_path: Path) -> None:
    (tmp_path / "without_tests.py").write_text(WITHOUT_TESTS)
    suite = Path(__file__).with_name("test_stdlib_pool.py")
    search = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = run_python("-m", "pytest", "-p", "without_tests", "-p", "no:cacheprovider", suite, env=search, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert "CONFORMANCE NOT CHECKED" in done.stdout
    assert "SHIPS NO 'test.support'" in done.stdout
    assert " passed" not in done.stdout
