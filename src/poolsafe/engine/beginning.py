"""What processes of spawn and forkserver begin with, whenever they start: the program as it was when the pool was made.

`multiprocessing` hands over the state of the moment: the working directory, `sys.path`, `sys.argv`, the place of the
main module; with exec, a process has the environment and the umask of the moment as well. A worker that starts later,
as a replacement or ahead of a task of its own, would not begin like the first ones. It might not even know the
functions of the main module: when a script has run to its end, CPython forgets `__main__.__file__`.

Forked workers have a baseline for that; see `isolation.baseline`.

Used by: recipe, one for each pool. What may go wrong: the working directory is gone; a worker then begins in another
one that is gone, and finds there what the first ones find now. Variables that the interpreter itself reads while it
starts are those of the moment.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from multiprocessing import spawn
from typing import Any


class Beginning:
    """See the module."""

    def __init__(self) -> None:
        self._data: dict[str, Any] | None = None
        self._environ: dict[str, str] = {}
        self._mask: int | None = None

    @contextlib.contextmanager
    def given_to(self, process: Any) -> Iterator[None]:
        """While the calling thread starts this process. Two threads must not do that at the same time.

        It is what `multiprocessing` asks for that is replaced: to give it another state would be to change the
        program's own, under the hands of its threads. What other threads start meanwhile gets what it always gets, and
        so does what a copy of this process starts, should one be forked just now.
        """
        execs = getattr(process, "_start_method", None) == "spawn"
        ask = spawn.get_preparation_data
        asking = [(os.getpid(), threading.get_ident())]

        def answer(name: str) -> dict[str, Any]:
            if (os.getpid(), threading.get_ident()) not in asking:
                return ask(name)
            if self._data is None:
                self._remember(ask(name))
            return self._told(name, execs)

        spawn.get_preparation_data = answer
        try:
            yield
        finally:
            asking.clear()
            if spawn.get_preparation_data is answer:  # else the program has put its own around it
                spawn.get_preparation_data = ask

    def _remember(self, data: dict[str, Any]) -> None:
        self._data = {**data, "sys_argv": [*data["sys_argv"]]}  # the one thing there that is not a copy
        self._environ, self._mask = _variables(), _umask()

    def _told(self, name: str, execs: bool) -> dict[str, Any]:
        assert self._data is not None
        data = {**self._data, "name": name}
        code = _GO_TO.format(data.pop("dir"))  # because the process would end if it cannot go there
        if execs:
            code += self._inherit()
        data["poolsafe"] = _Executed(code)
        return data

    def _inherit(self) -> str:
        code = ""
        if self._environ != _variables():
            code += f"os.environ.clear()\nos.environ.update({self._environ!r})\n" + _READ_THE_ZONE
        if self._mask != _umask():
            code += f"os.umask({self._mask})\n"
        return code


# In names of the standard library alone: at that moment a process does not know the program's `sys.path`.
_GO_TO = """
import os
try:
    os.chdir({0!r})
except OSError:
    import tempfile
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)
"""
# Which was read when the interpreter started.
_READ_THE_ZONE = """
import time
getattr(time, "tzset", int)()
"""


class _Executed:
    """Code that runs when this is unpickled: before the process does anything else with what it is told."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __reduce__(self) -> Any:
        return exec, (self._code, {})


def _variables() -> dict[str, str]:
    while True:
        try:
            return dict(os.environ)
        except KeyError:  # another thread has just deleted one
            continue


def _umask() -> int | None:
    """The mask for new files. Where it can only be read by setting it, other threads might make files meanwhile."""
    try:
        with open("/proc/self/status", "rb") as file:
            found = [line.split()[1] for line in file if line.startswith(b"Umask:")]
        return int(found[0], 8)
    except (OSError, IndexError):
        return None
