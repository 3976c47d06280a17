"""Proof that a test left nothing behind: processes, threads, descriptors, semaphores.

Who calls it: the autouse fixture in ``tests/conftest.py``, before and after every test. What may go wrong: some parts
of multiprocessing are shared by everything in the process and start lazily (the fork server, the resource tracker).
`warm_up` starts them once, and what belongs to them is never counted as a leak.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing as mp
import os
import re
import select
import signal
import threading
import time
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import NamedTuple

from tests.support.gates import process_state

#: Seconds that a test's remains get to disappear by themselves.
GRACE = 5.0

#: Files that tools keep open in our process for their own ends.
_TOOLS = re.compile(r"/\.hypothesis/|/\.coverage|/\.pytest_cache/|^/dev/urandom$|^/proc/|^/dev/(tty|pts)")


class Footprint(NamedTuple):
    """What this process holds at one moment; everything is named so that a leak can be described."""

    processes: dict[int, str]
    threads: dict[int, str]
    fds: dict[int, str]
    semaphores: frozenset[str]

    def beyond(self, before: Footprint) -> list[str]:
        """Describe what is here and was not there before, one line per thing."""
        found = [f"process {pid}: {what}" for pid, what in self.processes.items() if pid not in before.processes]
        found += [f"thread {what}" for key, what in self.threads.items() if key not in before.threads]
        found += [f"descriptor {fd}: {what}" for fd, what in self.fds.items() if before.fds.get(fd) != what]
        found += [f"semaphore {name}" for name in sorted(self.semaphores - before.semaphores)]
        return found


def warm_up() -> None:
    """Start, once, the machinery of multiprocessing that outlives every pool by design."""
    # Semaphores of this run are told from those of other programs by their name.
    mp.current_process()._config["semprefix"] = f"/mp-t{os.getpid()}"
    resource_tracker.ensure_running()
    if "forkserver" in mp.get_all_start_methods():
        first = mp.get_context("forkserver").Process(target=os.getpid)
        first.start()
        first.join()


def footprint() -> Footprint:
    """Look at what this process holds now."""
    mp.active_children()  # reaps what has ended, as any next start of a process would
    return Footprint(_processes(), _threads(), _fds(), _semaphores())


def wait_until_clean(before: Footprint, grace: float = GRACE) -> list[str]:
    """Give what a test left up to *grace* seconds to go; return what stayed."""
    deadline = time.monotonic() + grace
    while left := footprint().beyond(before):
        if time.monotonic() > deadline:
            return left
        gc.collect()  # a pool that was only dropped may end itself here, as it would a little later
        select.select([], [], [], 0.01)
    return []


def kill_processes(before: Footprint) -> None:
    """Kill the processes a test left, so that the tests after it run undisturbed."""
    for pid in footprint().processes.keys() - before.processes.keys():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def descendants(root: int) -> set[int]:
    """All living or unreaped processes below *root*."""
    found: set[int] = set()
    todo = [root]
    while todo:
        for child in _children(todo.pop()):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):  # the process may end while we look
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    return children


def _machinery() -> set[int | None]:
    """Processes of multiprocessing itself, asked for each time: they may have been replaced."""
    return {
        getattr(resource_tracker._resource_tracker, "_pid", None),
        getattr(forkserver._forkserver, "_forkserver_pid", None),
    }


def _processes() -> dict[int, str]:
    return {pid: _describe(pid) for pid in descendants(os.getpid()) - _machinery()}


def _describe(pid: int) -> str:
    try:
        state = process_state(pid)
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return "ended while we looked"
    return f"state {state}, {command[:160] or 'no command line'}"


def _threads() -> dict[int, str]:
    # By identity of the object: numeric idents are used again. Dummies are threads that Python did not start.
    return {
        id(thread): f"{thread.name!r} ({'daemon' if thread.daemon else 'not daemon'})"
        for thread in threading.enumerate()
        if not isinstance(thread, threading._DummyThread)
    }


def _fds() -> dict[int, str]:
    ours: dict[int, str] = {}
    machinery = {
        getattr(resource_tracker._resource_tracker, "_fd", None),
        getattr(forkserver._forkserver, "_forkserver_alive_fd", None),
    }
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor of this very listing is gone already
            target = os.readlink(f"/proc/self/fd/{name}")
            if int(name) not in machinery and not _TOOLS.search(target):
                ours[int(name)] = target
    return ours


def _semaphores() -> frozenset[str]:
    mine = mp.current_process()._config["semprefix"].lstrip("/")
    with contextlib.suppress(OSError):
        return frozenset(name for name in os.listdir("/dev/shm") if name.startswith(f"sem.{mine}"))
    return frozenset()
