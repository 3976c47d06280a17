"""An interpreter in which `multiprocessing.Pool` is another class from the start, in every process.

Who uses it: `tests.conformance.runs`. A virtual environment in a temporary folder whose ``.pth`` file makes poolsafe
and the folder ``child`` importable and loads the hook; so the replacement holds under ``-I`` as well, which the
stdlib's tests use for scripts. What may go wrong: the base Python may lack `venv` or the stdlib's test package, as
slimmed distributions do; `missing_tests` says so.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

CHILD = Path(__file__).with_name("child")


class Interpreter:
    """The virtual environment's Python.

    Args:
        home: An empty folder for it; removed at exit.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        builder = venv.EnvBuilder(symlinks=os.name != "nt", with_pip=False)
        builder.create(home / "venv")
        self.python = str(home / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
        self._write_pth()

    def _write_pth(self) -> None:
        site_packages = self._site_packages()
        lines = [str(CHILD), *(_home_of(name) for name in ("poolsafe", "typing_extensions")), "import stdpool_hook"]
        (site_packages / "stdpool.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _site_packages(self) -> Path:
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        return Path(subprocess.run([self.python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())


def _home_of(name: str) -> str:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} is not installed"
    if spec.submodule_search_locations:
        return str(Path(next(iter(spec.submodule_search_locations))).parent)
    assert spec.origin is not None
    return str(Path(spec.origin).parent)


@functools.cache
def interpreter() -> Interpreter:
    """Build the interpreter, once per test session."""
    home = Path(tempfile.mkdtemp(prefix="poolsafe-conformance-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return Interpreter(home)


@functools.cache
def missing_tests() -> str:
    """Say what this Python lacks of the stdlib's tests; an empty string when it has them."""
    for name in ("test", "test.support", "test._test_multiprocessing"):
        if importlib.util.find_spec(name) is None:
            return (
                f"THIS PYTHON ({sys.version.split()[0]} at {sys.base_prefix}) SHIPS NO {name!r}: CPython's own pool "
                "tests CANNOT BE RUN, and nothing here says whether IsolatedPool passes them. Install the "
                "distribution's full standard library (libpython3-testsuite, python3-test), or build a Python."
            )
    return ""
