"""Runs classes of the stdlib's tests, each in a process of its own, a few at a time.

Who uses it: the items of `test_stdlib_pool`, which all wait for the run that holds their test, and `test_harness`.
What may go wrong: a run hangs (it is killed at `LIMIT`, its stacks are in `stderr`), dies, or leaves processes behind
(they are listed and killed). All of that is in the `Outcome`; nothing here judges it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.conformance.interpreter import interpreter

#: Seconds that one class may take before it counts as hung. The slowest takes a quarter of it on two busy cores.
LIMIT = 150
#: Seconds for processes to disappear after their run: the fork server and the resource tracker end by themselves.
GRACE = 10
#: What takes the place of the stdlib's Pool.
OURS = "poolsafe.pool:IsolatedPool"
STDLIB = "multiprocessing.pool:Pool"
#: Descriptors that a run may have open: the usual limit of a login shell, so that a large pool is large.
DESCRIPTORS = 1024


@dataclass(frozen=True)
class Group:
    """Tests of one class, to be run together: ``module:Class``."""

    module: str
    cls: str
    tests: tuple[str, ...]


@dataclass
class Outcome:
    """What became of a group."""

    events: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    exitcode: int | None = None
    stderr: str = ""
    left_processes: list[str] = field(default_factory=list)
    pools: Counter[str] = field(default_factory=Counter)

    @property
    def hung(self) -> bool:
        """Whether it had to be killed."""
        return self.exitcode is None

    def status(self, test: str) -> str:
        """Tell ``passed``, ``failed``, ``skipped``, ``hung`` or ``not run``."""
        event = self.events.get(test, "")
        if event == "begun":
            return "hung" if self.hung else "failed"
        if event:
            return event
        # The whole class was skipped, in setUpClass or setUpModule; unittest tells it once.
        if any(name.startswith("setUp") and what == "skipped" for name, what in self.events.items()):
            return "skipped"
        return "not run"

    def complaint(self, test: str) -> str:
        """Everything known about a test that did not pass."""
        fixtures = [text for name, text in self.details.items() if name.startswith(("setUp", "tearDown"))]
        parts = [self.details.get(test, ""), *fixtures]
        if self.status(test) != "failed" or not parts[0]:
            parts += [f"exit code of the run: {self.exitcode}", self.stderr[-6000:]]
        return "\n".join(part for part in parts if part)


def run(group: Group, pool: str = OURS, limit: float = LIMIT) -> Outcome:
    """Run a group in a fresh process with `pool` in the place of the stdlib's Pool."""
    with tempfile.TemporaryDirectory(dir=interpreter().home) as folder:
        return _run(group, pool, limit, Path(folder))


def _run(group: Group, pool: str, limit: float, folder: Path) -> Outcome:
    output, log, work = folder / "output", folder / "log", folder / "work"
    work.mkdir()
    log.touch()
    names = [f"{group.module}:{group.cls}.{test}" for test in group.tests]
    command = [interpreter().python, "-m", "stdpool_run", str(output), str(limit), *names]
    with open(folder / "stderr", "w+b") as stderr:
        process = subprocess.Popen(
            ["sh", "-c", f'ulimit -S -n {DESCRIPTORS}; exec "$@"', "sh", *command],
            cwd=work,
            env=_environment(pool, log),
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
        )
        outcome = Outcome()
        # A little more than the limit: the run writes its stacks then.
        with contextlib.suppress(subprocess.TimeoutExpired):
            outcome.exitcode = process.wait(limit + 3)
        outcome.left_processes = _wait_for_session(process.pid, 0 if outcome.hung else GRACE)
        _kill_session(process.pid)
        process.wait()
        stderr.seek(0)
        outcome.stderr = stderr.read().decode(errors="replace")
    _read_events(output, outcome)
    outcome.pools.update(line.split()[0] for line in log.read_text().splitlines())
    return outcome


def _environment(pool: str, log: Path) -> dict[str, str]:
    # Nothing of the outer run may leak in: a PYTHONPATH or a warning filter changes what the stdlib's tests see.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE", "PYTEST"))}
    return {**kept, "POOLSAFE_CONFORMANCE_POOL": pool, "POOLSAFE_CONFORMANCE_LOG": str(log)}


def _read_events(output: Path, outcome: Outcome) -> None:
    if not output.exists():
        return
    for line in output.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        name, event = entry["test"], entry["event"]
        if outcome.events.get(name) == "failed":
            outcome.details[name] += "\n" + entry["detail"]  # a subtest failed before, or tearDown does after
            continue
        outcome.events[name] = event
        outcome.details[name] = entry["detail"]
        outcome.seconds[name] = entry["seconds"]


def _session(sid: int) -> dict[int, str]:
    """Name the living processes of a session. Linux only; elsewhere nothing is found."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # After the name, which is in parentheses and may hold anything: state, parent, group, session.
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == sid and state != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ").strip() or "?"
    return found


def _wait_for_session(sid: int, grace: float) -> list[str]:
    deadline = time.monotonic() + grace
    while (left := _session(sid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [f"{pid}: {command}" for pid, command in left.items()]


def _kill_session(sid: int) -> None:
    for pid in (sid, *_session(sid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@cache
def listing(modules: tuple[str, ...]) -> dict[str, dict[str, list[str]]]:
    """Ask the interpreter which test classes the modules have, and which tests each."""
    command = [interpreter().python, "-m", "stdpool_run", "--list", *modules]
    done = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    tests: dict[str, dict[str, list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return tests
