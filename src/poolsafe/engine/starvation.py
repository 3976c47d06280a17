"""Whether the kernel has ended a process for want of memory, as far as it says so.

It sends SIGKILL, as anybody may; but it counts what it ends so, and raises the count before it sends the signal. For
each control group: `oom_kill` in memory.events (cgroup v2) or memory.oom_control (v1), with whatever ran out, the
group's limit or the machine. Workers are in the group of their parent. And for the whole machine: `oom_kill` in
/proc/vmstat, where the group's cannot be read; then it may have been another process.

Used by: supervisor (owner), mortuary. What may go wrong: there is no such count, as outside Linux; then nobody says
anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/")


class Count(NamedTuple):
    """Where a count stands, and what it was at the last look."""

    path: Path
    ended: int
    of_machine: bool


class Starvation:
    """See the module.

    Args:
        root: Where the files are.
    """

    def __init__(self, root: Path = _ROOT) -> None:
        self._count: Count | None = None
        for path, of_machine in (*((path, False) for path in _of_group(root)), (root / "proc/vmstat", True)):
            ended = _ended(path)
            if ended is not None:
                self._count = Count(path, ended, of_machine)
                break

    def witness(self) -> str:
        """Who says that a process was ended for want of memory since the last look; empty when nobody does."""
        known = self._count
        ended = None if known is None else _ended(known.path)
        if known is None or ended is None or ended <= known.ended:
            return ""
        # One at a time: the next dead worker is to be believed, too.
        self._count = known._replace(ended=known.ended + 1)
        whose = "of the machine" if known.of_machine else "of this control group"
        return f"{known.path}, a count {whose}"


def _of_group(root: Path) -> list[Path]:
    """Where this process's control group may have its count: the nearest first."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.oom_control"
        elif not controllers:
            base, name = root / "sys/fs/cgroup", "memory.events"
        else:
            continue
        # In a container the group may be mounted in the place of the root.
        found += [base / group.lstrip("/") / name, base / name]
    return found


def _ended(path: Path) -> int | None:
    try:
        for line in path.read_bytes().splitlines():  # as text, it would have a codec imported
            key, _, value = line.partition(b" ")
            if key == b"oom_kill":
                return int(value)
    except (OSError, ValueError):
        return None
    return None
