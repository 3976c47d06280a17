"""Run a program in a process group of its own, signal it, and find whatever it leaves running.

Who uses it: survival tests about a whole program's life. Every process that a program starts, however indirectly,
inherits a mark in its environment, by which it is found in ``/proc`` even when its parent is gone. What may go wrong:
the program outlives its limit; everything with its mark is then killed, and the test shows what it had printed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.gates import GateTimeout, Tally, process_is_gone, wait_for
from tests.support.scripts import ROOT

PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
#: Seconds within which a program must be over once nothing holds it up.
LIMIT = 15.0
_MARK = "POOLSAFE_TEST_MARK"


class Program:
    """A running program: ``programs/<name>.py METHOD FOLDER *args``.

    Args:
        name: File of the program.
        start_method: Its first argument.
        folder: Where it may leave files; its second argument.
        args: More arguments.
        **options: For `subprocess.Popen`.
    """

    def __init__(self, name: str, start_method: str, folder: Path, *args: str, **options: Any) -> None:
        self.folder = folder
        self.start_method = start_method
        self.arrivals = Tally(folder / "arrivals")
        self._mark = f"{_MARK}={uuid.uuid4()}"
        # Output goes to files: a pipe would stay open in whatever outlives the program, and we would wait for that.
        self._out, self._err = folder / "stdout", folder / "stderr"
        key, value = self._mark.split("=")
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, key: value, "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1"}
        with self._out.open("w") as out, self._err.open("w") as err:
            options = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, "env": environment, **options}
            command = [sys.executable, str(PROGRAMS / f"{name}.py"), start_method, str(folder), *args]
            self._process = subprocess.Popen(command, start_new_session=True, **options)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def reach(self, count: int = 1) -> list[int]:
        """Wait until *count* processes of the program have arrived where they are to be; return their ids."""
        wait_for(lambda: len(self.arrivals.entries()) >= count or self._process.poll() is not None, LIMIT, repr(self))
        pids = [int(entry) for entry in self.arrivals.entries()]
        assert len(pids) >= count, repr(self)
        return pids

    def signal_all(self, number: int) -> None:
        """As the terminal does on Ctrl-C: the program and all of its children get the signal."""
        os.killpg(self.pid, number)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self, limit: float = LIMIT) -> int:
        """Wait for the program's end and return its exit status."""
        try:
            return self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)  # have it write down where its threads are
            self._process.wait()
            raise GateTimeout(f"still running after {limit:g} s: {self!r}") from None

    def leaves_nothing(self, limit: float = LIMIT) -> None:
        """Assert that every process of the program is gone, or goes by itself within the limit."""
        wait_for(lambda: not self.survivors(), limit, f"the end of {self.survivors()} of {self!r}")

    def survivors(self) -> set[int]:
        """Everything that bears the program's mark and lives, but the program itself."""
        mark = self._mark.encode()
        found = set()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != self.pid:
                with contextlib.suppress(OSError):
                    if mark in (folder / "environ").read_bytes().split(b"\0") and not process_is_gone(int(folder.name)):
                        found.add(int(folder.name))
        return found

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + LIMIT
        self._process.kill()
        self._process.wait()
        while left := self.survivors():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert time.monotonic() < deadline, f"{left} cannot be killed"

    def __repr__(self) -> str:
        command = " ".join(map(str, self._process.args[1:]))  # type: ignore[index]
        failure = self.folder / "failure"
        told = failure.read_text() if failure.exists() else ""
        return f"{command}\nstdout: {self.out}\nstderr: {self.err}\nfailure: {told}"


def main(programs: dict[str, Any]) -> None:
    """For the program: run the function that its third argument names, as ``function(method, folder, *args)``."""
    method, folder, name, *args = sys.argv[1:]
    run: Callable[..., None] = programs[name]
    try:
        run(method, Path(folder), *args)
    except Exception:  # some programs have no standard error
        (Path(folder) / "failure").write_text(traceback.format_exc())
        raise
