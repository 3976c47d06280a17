"""Run a Python program of the tests' own in a fresh process, with a limit, and look at what it did.

Who uses it: tests of examples, of the demo, of imports, of a program's exit. What may go wrong: the program runs past
its limit; its whole process group is then killed and the test fails with what it had printed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_python(
    *args: str | os.PathLike[str],
    timeout: float = 50.0,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run this interpreter with *args*; return its exit status and output. Never raises for a bad exit status."""
    command: Sequence[str] = [sys.executable, *map(os.fspath, args)]
    # PYTHONSAFEPATH and the like stay as they are; the sources are found as this process finds them.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=timeout)
    except BaseException as error:  # also when the test itself is interrupted: leave nothing running
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise AssertionError(f"{command} still ran after {timeout:g} s\nstdout: {out}\nstderr: {err}") from None
        raise
    return subprocess.CompletedProcess(command, child.returncode, out, err)
