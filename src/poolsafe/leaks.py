"""What tasks changed that they should have left alone, as data and as a table: `pool.leaks`.

Used by: pool, audit, verification. A leak is told by the worker that ran the task; here they are kept, counted, grouped
and put into words. What may go wrong: a program leaks without end; so many are kept, the others are only counted.
"""

from __future__ import annotations

import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Final, overload

#: So many leaks are kept.
KEPT: Final = 10_000

_WIDTH: Final = 120
_ROWS: Final = 100
_INDENT: Final = 4
_MISSING: Final = "absent"


@dataclass(frozen=True)
class Leak:
    """One thing that one task changed.

    Attributes:
        function: The name of the task's function.
        index: The place of the task in the order of submission.
        arguments: The task's arguments, shortened.
        path: What was changed, as in ``app.cache['runs'][0]``.
        before: What was there before the task, shortened; "absent" for a name, key or item that was not there.
        after: What was there after the task, likewise.
    """

    function: str
    index: int
    arguments: str
    path: str
    before: str
    after: str


class Leaks(Sequence[Leak]):
    """The leaks that were found so far, in the order in which they were told.

    Printing it gives a table: the paths, how many tasks changed each, and an example.

    Args:
        limit: How many are kept.

    Attributes:
        dropped: How many more there were than are kept.
    """

    def __init__(self, limit: int = KEPT) -> None:
        self._limit = limit
        self._leaks: list[Leak] = []
        self._lock = threading.Lock()
        self.dropped: int = 0

    def add(self, leak: Leak) -> None:
        """Keep or count a leak; any thread may call it."""
        with self._lock:
            if len(self._leaks) < self._limit:
                self._leaks.append(leak)
            else:
                self.dropped += 1

    @overload
    def __getitem__(self, index: int) -> Leak: ...

    @overload
    def __getitem__(self, index: slice) -> list[Leak]: ...

    def __getitem__(self, index: int | slice) -> Leak | list[Leak]:
        return self._leaks[index]

    def __len__(self) -> int:
        return len(self._leaks)

    def __repr__(self) -> str:
        return f"<{len(self._leaks) + self.dropped} leaks>"

    def by_path(self) -> dict[str, list[Leak]]:
        """Return the leaks by what was changed, the paths in the order in which they were first met."""
        found: dict[str, list[Leak]] = {}
        for leak in list(self._leaks):
            found.setdefault(leak.path, []).append(leak)
        return found

    def as_data(self) -> list[dict[str, str | int]]:
        """Return the leaks as dictionaries of plain values, for JSON."""
        return [asdict(leak) for leak in list(self._leaks)]

    def __str__(self) -> str:
        if not self._leaks:
            return "no leaks"
        found = self.by_path()
        rows = [(path, _tasks(leaks), leaks[0]) for path, leaks in islice(found.items(), _ROWS)]
        path_width = min(max(len(path) for path, _, _ in rows), 48)
        count_width = max(len(count) for _, count, _ in rows)
        lines: list[str] = []
        for path, count, leak in rows:
            lines += _row(path, count, leak, path_width, count_width)
        if len(found) > _ROWS:
            lines.append(f"... and {len(found) - _ROWS} more paths")
        if self.dropped:
            lines.append(f"... and {self.dropped} more leaks, which were only counted")
        return "\n".join(lines)

    def advice(self) -> list[str]:
        """Return what can be done about what recurs, in sentences: lazily built objects, and what grows."""
        said: list[str] = []
        for path, leaks in self.by_path().items():
            tasks = len(_numbers(leaks))
            if tasks > 1 and _target(path) and all(map(_is_built, leaks)):
                said.append(
                    f"{path} is built again by every task that uses it ({tasks} so far, the first {_call(leaks[0])}): "
                    f'build it in initializer=, or exempt it by keep="{_target(path)}" when tasks may share it.'
                )
        for path, leaks in _growing(self._leaks).items():
            tasks = len(_numbers(leaks))
            if tasks > 1 and _target(path):
                said.append(
                    f'{path} grew in {tasks} tasks: if it is a cache that tasks may share, exempt it by keep="'
                    f'{_target(path)}"; if it gathers results, return them from the tasks instead.'
                )
        return said


def _numbers(leaks: list[Leak]) -> set[tuple[str, int]]:
    return {(leak.function, leak.index) for leak in leaks}


def _tasks(leaks: list[Leak]) -> str:
    count = len(_numbers(leaks))
    return "1 task" if count == 1 else f"{count} tasks"


def _call(leak: Leak) -> str:
    return f"{leak.function}{leak.arguments}" if leak.arguments[:1] == "(" else f"{leak.function}({leak.arguments})"


def _row(path: str, count: str, leak: Leak, path_width: int, count_width: int) -> list[str]:
    change = f"{leak.before} -> {leak.after}" if leak.before else leak.after
    example = f"{change}  by {_call(leak)}, task {leak.index}"
    margin = path_width + count_width + _INDENT
    first = f"{path:<{path_width}}  {count:>{count_width}}  "
    if len(path) > path_width or len(first) + len(example) > _WIDTH:
        wrapped = textwrap.wrap(example, _WIDTH - _INDENT) or [""]
        if len(path) > path_width:
            return [f"{path}  {count}", *(" " * _INDENT + line for line in wrapped)]
        return [first.rstrip(), *(" " * _INDENT + line for line in wrapped)]
    return [f"{first:<{margin}}{example}"]


# -- what recurs ------------------------------------------------------------------------------------------------------


def _is_built(leak: Leak) -> bool:
    """Tell whether a task put an object where there was none."""
    is_name = not leak.path.endswith("]")
    return is_name and leak.before in ("None", _MISSING) and leak.after not in ("None", _MISSING)


def _growing(leaks: list[Leak]) -> dict[str, list[Leak]]:
    """Return, by container, the leaks by which items came to it, but not those containers that lost any."""
    found: dict[str, list[Leak]] = {}
    shrank: Counter[str] = Counter()
    for leak in list(leaks):
        if "a cache " in leak.before:
            found.setdefault(leak.path, []).append(leak)
        elif leak.path.endswith("]"):
            container = leak.path[: _last_bracket(leak.path)]
            if leak.before == _MISSING:
                found.setdefault(container, []).append(leak)
            else:
                shrank[container] += 1
        elif leak.before.startswith("without ") and leak.after.startswith("with "):
            found.setdefault(leak.path, []).append(leak)
    return {path: listed for path, listed in found.items() if not shrank[path]}


def _last_bracket(path: str) -> int:
    """Return where the last item of a path begins; there may be brackets in its key."""
    last, depth, quote, escaped = len(path), 0, "", False
    for at, char in enumerate(path):
        if quote:
            quote = "" if char == quote and not escaped else quote
            escaped = char == "\\" and not escaped
        elif char in "'\"" and depth:
            quote = char
        elif char in "[(":
            last = at if not depth else last
            depth += 1
        elif char in "])":
            depth -= 1
    return last


def _target(path: str) -> str:
    """Return how keep= names what a path leads to, or what holds it; "" when it cannot be named."""
    for stop in ("[", ".<", ".__"):
        path = path.partition(stop)[0]
    parts = path.split(".")
    module = next((at for at in range(len(parts) - 1, 0, -1) if ".".join(parts[:at]) in sys.modules), len(parts) - 1)
    if not module or not all(part.isidentifier() for part in parts):
        return ""
    return ".".join(parts[:module]) + ":" + ".".join(parts[module:])


Leak.__module__ = Leaks.__module__ = "poolsafe"  # the name that users import
