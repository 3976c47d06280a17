"""What a task has changed of what was captured, by path: ``app.cache['runs'][0]``.

Used by a worker that was told to watch: it makes a `Detector` from its snapshot, and asks for `changes` after each
task, before the snapshot is put back. Where nothing is put back, `rebase` makes the present state the one to compare
with. The order of work: the checks of `compare` tell cheaply whether anything may differ, `differences` tells what
does, and `routes` where that is. What may go wrong: an object that cannot be compared any more; that counts as a
change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from .compare import Check, checks_of, is_as_saved
from .differences import DIFFERS, owner_of
from .kinds import Record
from .routes import Routes
from .sameness import Difference, Pristine
from .snapshot import Snapshot
from .texts import Said, short

#: So many changes of one object are told one by one.
MOST: Final = 20
#: So many more are counted.
_COUNTED: Final = 1000
#: Groups whose records hold a copy of a container, for writing it out as it was.
_COPIES: Final = ("list", "list_like", "dict", "set", "deque", "attributes", "quiet", "namespace")


class Change(NamedTuple):
    """One thing that differs from the captured state.

    Attributes:
        path: Where.
        before: What was there when it was captured, shortened; "absent" for a name, key or item that was not there.
        after: What is there now, likewise.
    """

    path: str
    before: str
    after: str


class Detector:
    """Finds what differs from a snapshot.

    Args:
        snapshot: What to compare with.
        recapture: Captures anew; needed by `rebase` only. When modules that tasks import are to be compared too, the
            new snapshot must watch imports in place of the old one.
    """

    def __init__(self, snapshot: Snapshot, recapture: Callable[[], Snapshot] | None = None) -> None:
        self._snapshot = snapshot
        self._recapture = recapture
        self._layout: object = None
        self._checks: list[Check] = []
        self._routes: Routes | None = None
        self._pristine: Pristine | None = None

    def changes(self) -> list[Change]:
        """Return what differs now: in the order of the objects' paths, each object's changes together."""
        if self._layout is not self._snapshot._rounds:
            self._lay_out()
        doubtful = [check for check in self._checks if not _is_same(check)]
        if not doubtful:
            return []
        found: list[tuple[int, Change]] = []
        for check in doubtful:
            differing = list(self._differing(check))
            if not differing:
                check.learn()
            for record in differing:
                found += self._changes_of(check.group, record)
        found.sort(key=lambda one: one[0])
        return list(dict.fromkeys(change for _, change in found))

    def rebase(self) -> None:
        """Compare with the present state from now on."""
        if self._recapture is None:
            raise RuntimeError("rebase() needs a way to capture anew")
        self._snapshot = self._recapture()
        self._layout = None

    def _lay_out(self) -> None:
        self._layout = self._snapshot._rounds  # another list when modules were captured that a task imported
        self._checks = checks_of(self._snapshot.records, _EACH)
        self._routes = self._pristine = None

    def _differing(self, check: Check) -> Iterator[Record]:
        for record in check.records:
            if is_as_saved(check.group, record):
                continue
            try:
                one = next(iter(DIFFERS[check.group](record, self._contents())), None)
            except BaseException:  # an object that cannot be read any more
                one = _unreadable
            if one is not None:
                yield record

    def _changes_of(self, group: str, record: Record) -> list[tuple[int, Change]]:
        if self._routes is None:
            self._routes = Routes(self._snapshot.records)
        route = self._routes.of(owner_of(group, record))
        if route.path is None:
            return []
        if group == "dict" and route.dotted:
            group = "attributes"
        return [(route.order, change) for change in self._told(group, record, route.path)]

    def _told(self, group: str, record: Record, path: str) -> Iterator[Change]:
        pristine = self._contents()
        try:
            found = iter(DIFFERS[group](record, pristine))
            first = list(islice(found, MOST))
            more = sum(1 for _ in islice(found, _COUNTED))
        except BaseException:
            first, more = [_unreadable], 0
        for suffix, before, after in first:
            old, new = short(before, pristine), short(after)
            yield Change(path + suffix, old, f"another {new}" if new == old else new)
        if more:
            yield Change(path, "", f"... and {'more than ' * (more == _COUNTED)}{more} more")

    def _contents(self) -> Pristine:
        if self._pristine is None:
            records = self._snapshot.records
            self._pristine = {id(one[0]): one[1] for group in _COPIES for one in records.get(group, ())}
        return self._pristine


_unreadable: Difference = ("", Said("as captured"), Said("not to be read any more"))


def _is_same(check: Check) -> bool:
    try:
        return check.same()
    except BaseException:  # something that the task left, with an __eq__ of its own
        return False


def _each(group: str) -> Callable[[Record], bool]:
    differ = DIFFERS[group]
    return lambda record: next(iter(differ(record, _NO_CONTENTS)), None) is None


_NO_CONTENTS: Final[Mapping[int, Any]] = {}
_EACH: Final = {group: _each(group) for group in DIFFERS}


def as_changes(differences: Iterable[tuple[str, object, object]]) -> list[Change]:
    """Return (path, before, after) triples, as state of the process tells them, as changes."""
    return [Change(path, short(before), short(after)) for path, before, after in differences]
