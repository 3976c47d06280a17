"""The leak fixture itself: tests that leak must fail, and say what they leaked."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from tests.support.scripts import ROOT, run_python

HEADER = """
    import multiprocessing as mp, os, signal, subprocess, sys, threading
    import pytest
    from tests.support import leaks
    from tests.conftest import _warm_machinery, leaves_nothing_behind

    @pytest.fixture(autouse=True, scope="session")
    def short_grace():
        leaks.wait_until_clean.__defaults__ = (0.3,)
"""

LEAKS = {
    "process": ("subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)", "process "),
    "multiprocessing": (
        "mp.get_context('fork').Process(target=threading.Event().wait, daemon=True).start()",
        "process ",
    ),
    "worker of the fork server": (
        "KEEP.append(mp.get_context('forkserver').Process(target=signal.pause, daemon=True)); KEEP[0].start()",
        "process ",
    ),
    "zombie": ("pid = os.fork(); pid or os._exit(0)", "state Z"),
    "thread": ("threading.Thread(target=threading.Event().wait, daemon=True, name='lost').start()", "thread 'lost'"),
    "descriptor": ("KEEP.extend(os.pipe())", "descriptor "),
    "reused descriptor": ("os.dup2(os.open('/etc/hostname', os.O_RDONLY), 0)", "descriptor 0: /etc/hostname"),
    "semaphore": (
        "open('/dev/shm/sem.' + mp.current_process()._config['semprefix'][1:] + '-UNIQUE', 'w').close()",
        "semaphore sem.mp-t",
    ),
}


def run_tests(tmp_path: Path, body: str) -> tuple[int, str]:
    """Run a test file with *body* as its only test, under the real fixture."""
    test = textwrap.dedent(HEADER) + "KEEP = []\n\ndef test_it():\n" + textwrap.indent(textwrap.dedent(body), "    ")
    (tmp_path / "test_it.py").write_text(test)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = run_python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(tmp_path / "test_it.py"),
        cwd=ROOT, env={"PYTEST_ADDOPTS": ""},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("kind", LEAKS)
def test_leak_is_reported(kind: str, tmp_path: Path) -> None:
    code, wanted = LEAKS[kind]
    unique = f"x{os.getpid()}"
    try:
        status, output = run_tests(tmp_path, code.replace("UNIQUE", unique))
    finally:
        for name in Path("/dev/shm").glob(f"sem.mp-t*-{unique}"):
            name.unlink(missing_ok=True)
    assert status == 1, output
    assert "this test left behind" in output
    assert wanted in output


def test_clean_test_passes(tmp_path: Path) -> None:
    body = """
    for method in mp.get_all_start_methods():
        ctx = mp.get_context(method)
        process = ctx.Process(target=os.getpid)
        process.start()
        process.join()
        ctx.Semaphore(2).acquire()
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    thread = threading.Thread(target=os.getpid)
    thread.start()
    thread.join()
    """
    status, output = run_tests(tmp_path, body)
    assert status == 0, output


def test_what_ends_within_the_grace_is_no_leak(tmp_path: Path) -> None:
    status, output = run_tests(tmp_path, "threading.Timer(0.05, os.getpid).start()")
    assert status == 0, output
