"""Proof that results hang on nothing but their arguments: `poolsafe.verify`.

Who calls it: users, in tests of their own. Every item runs alone in a fresh process; then all of them run one after
another in one worker, once for each round. Where a result differs, the list of what ran before is narrowed down to the
shortest that still makes the difference.

What may go wrong: function or items cannot be pickled (TypeError at the call); the function gives another result each
time even when alone, which is reported as that (`Report.unsteady`). All of it happens in pools of its own, so a task
that kills its worker ends no more than that: its result is then the error.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from .alike import same, same_error
from .engine.messages import safe_repr
from .verdict import TRACED, Difference, Report

if TYPE_CHECKING:
    from .leaks import Leak

#: So many single predecessors are tried when halving the list does not lead to one, some at a time.
_SINGLES: Final = 96
_AT_ONCE: Final = 16
#: How often an item runs alone again before its difference is blamed on others.
_AGAIN: Final = 2


def verify(
    func: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    key: Callable[[Any], Any] | None = None,
    processes: int | None = None,
    context: Any = None,
    rounds: int = 3,
    seed: int = 0,
    isolation: str | None = "globals",
    reset: Any = "auto",
    keep: Any = (),
) -> Report:
    """Find out whether the results of a function hang on what ran before in the same worker.

    With the default isolation it shows that the pool isolates this function; with `isolation=None`, whether the
    function needs it.

    Args:
        func: A function of one argument that can be pickled.
        items: What to call it with.
        key: Makes of a result what is to be compared. Without it, results are compared as they are.
        processes: How many workers may run at the same time.
        context: A multiprocessing context.
        rounds: How many times to run all items in one worker: shuffled, then in the opposite order, and so on; so
            two rounds have each item run after each other one.
        seed: From which the orders are shuffled.
        isolation, reset, keep: As for `IsolatedPool`.

    Raises:
        TypeError: `func` or `key` cannot be called, or something cannot be pickled.
        ValueError: There are no items, or no rounds.
    """
    listed = _checked(func, items, key, rounds, seed)
    lab = _Lab(func, listed, key, processes, context, {"isolation": isolation, "reset": reset, "keep": keep})
    every = range(len(listed))
    alone = [outcomes[0] for outcomes in lab.run([[index] for index in every], alone=True)]
    orders = _orders(len(listed), rounds, random.Random(seed))
    seen: dict[int, tuple[list[int], _Outcome]] = {}  # the shortest order in which an item differed
    for order, outcomes in zip(orders, lab.run(orders), strict=True):
        for place, (index, outcome) in enumerate(zip(order, outcomes, strict=True)):
            if not lab.same(alone[index], outcome) and (index not in seen or place < len(seen[index][0])):
                seen[index] = order[:place], outcome
    unsteady, blamed = _part_unsteady(lab, alone, seen)
    return Report(
        function=_name_of(func),
        items=len(listed),
        rounds=rounds,
        isolation=isolation,
        seed=seed,
        different=len(blamed),
        differences=tuple(_trace(lab, alone, {index: seen[index] for index in blamed})),
        unsteady=tuple(unsteady),
        runs=lab.runs,  # last: what is above makes some
    )


verify.__module__ = "poolsafe"  # the name that users import


def _checked(func: Any, items: Any, key: Any, rounds: Any, seed: Any) -> list[Any]:
    """Complain about what makes no sense; return the items."""
    if not callable(func):
        raise TypeError(f"func must be a callable, not {type(func).__name__}")
    if key is not None and not callable(key):
        raise TypeError(f"key must be a callable, not {type(key).__name__}")
    for name, value in (("rounds", rounds), ("seed", seed)):
        if not isinstance(value, int):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, not {rounds}")
    listed = list(items)
    if not listed:
        raise ValueError("there are no items: without any, there is nothing to verify")
    for what, value in [("func", func), *((f"item {index}", item) for index, item in enumerate(listed))]:
        try:
            pickle.dumps(value)
        except Exception as error:
            raise TypeError(f"{what} cannot be sent to a worker, because it cannot be pickled: {error}") from error
    return listed


def _orders(count: int, rounds: int, rng: random.Random) -> list[list[int]]:
    if count == 1:
        return [[0, 0]] * rounds  # the only one can run after itself alone
    orders: list[list[int]] = []
    for number in range(rounds):
        orders.append(orders[-1][::-1] if number % 2 else rng.sample(range(count), count))
    return orders


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What came of a task: the result, or the exception as `error`."""

    value: Any
    error: BaseException | None = None

    @property
    def shown(self) -> Any:
        return self.value if self.error is None else self.error


@dataclass(eq=False)
class _Lab:
    """Runs items in given orders, each order in a worker of its own."""

    func: Callable[[Any], Any]
    items: list[Any]
    key: Callable[[Any], Any] | None
    processes: int | None
    context: Any
    options: dict[str, Any]
    runs: int = 0
    _known: dict[tuple[int, ...], _Outcome] = field(default_factory=dict)

    def run(self, orders: Sequence[Sequence[int]], *, alone: bool = False) -> list[list[_Outcome]]:
        """Run orders of equal length; return their outcomes."""
        from .options import worker_count
        from .pool import IsolatedPool

        size = len(orders[0])
        options = {"isolation": None} if alone else self.options
        workers = min(worker_count(self.processes), len(orders))
        todo = [self.items[index] for order in orders for index in order]
        # A worker takes one order, as one chunk, and is replaced.
        with IsolatedPool(workers, maxtasksperchild=size, context=self.context, **options) as pool:
            results = pool.imap(self.func, todo, chunksize=size)
            found = [_outcome_of(results) for _ in todo]
        self.runs += len(todo)
        return [found[start : start + size] for start in range(0, len(found), size)]

    def last(self, before: Sequence[int], index: int) -> _Outcome:
        """Return what comes of an item right after some others."""
        return self.lasts([before], index)[0]

    def lasts(self, befores: Sequence[Sequence[int]], index: int) -> list[_Outcome]:
        """Return what comes of an item right after each of some lists of others, all equally long."""
        orders = [(*before, index) for before in befores]
        new = [order for order in orders if order not in self._known]
        if new:
            self._known.update((order, outcomes[-1]) for order, outcomes in zip(new, self.run(new), strict=True))
        return [self._known[order] for order in orders]

    def same(self, one: _Outcome, other: _Outcome) -> bool:
        """Compare two outcomes."""
        if one.error is not None or other.error is not None:
            return one.error is not None and other.error is not None and same_error(one.error, other.error)
        if self.key is None:
            return same(one.value, other.value)
        return same(self.key(one.value), self.key(other.value))

    def changes(self, order: Sequence[int]) -> tuple[Leak, ...]:
        """Return what these items leave changed, run one after another in one worker."""
        from .pool import IsolatedPool

        with IsolatedPool(1, context=self.context, on_leak="watch", **self.options) as pool:
            results = pool.imap(self.func, [self.items[index] for index in order])
            for _ in order:
                _outcome_of(results)
            pool.close()
            pool.join()
            self.runs += len(order)
            return tuple(pool.leaks)


def _outcome_of(results: Any) -> _Outcome:
    from .errors import InitializerError

    try:
        return _Outcome(results.next())
    except InitializerError:  # no worker gets as far as the first item
        raise
    except Exception as error:
        return _Outcome(None, error)


def _part_unsteady(
    lab: _Lab, alone: list[_Outcome], seen: dict[int, tuple[list[int], _Outcome]]
) -> tuple[list[Difference], list[int]]:
    """Tell items that differ even when alone from those that differ because of others, each in their order."""
    unsteady: dict[int, _Outcome] = {}
    if seen:
        again = [index for index in sorted(seen) for _ in range(_AGAIN)]
        for index, (outcome,) in zip(again, lab.run([[index] for index in again], alone=True), strict=True):
            if not lab.same(alone[index], outcome):
                unsteady.setdefault(index, outcome)
    found = [Difference(lab.items[i], i, alone[i].shown, got.shown) for i, got in unsteady.items()]
    return found, [index for index in sorted(seen) if index not in unsteady]


def _trace(lab: _Lab, alone: list[_Outcome], seen: dict[int, tuple[list[int], _Outcome]]) -> list[Difference]:
    """Narrow the first differences down: those that came after the fewest others."""
    found: list[Difference] = []
    last: list[int] = []
    for index in sorted(sorted(seen, key=lambda index: len(seen[index][0]))[:TRACED]):
        before, got = seen[index]

        search = _Search(lab, index, alone[index])
        if last and index not in last and set(last) <= set(before) and search.differs(last):
            culprits = last  # what disturbed one item often disturbs all
        elif search.differs(before):
            culprits = search.narrow(before)
        else:
            items = tuple(lab.items[i] for i in before)
            found.append(Difference(lab.items[index], index, alone[index].shown, got.shown, items, repeated=False))
            continue
        last = culprits
        items = tuple(lab.items[i] for i in culprits)
        got = lab.last(culprits, index)
        changed = lab.changes(culprits)
        found.append(Difference(lab.items[index], index, alone[index].shown, got.shown, items, changed))
    return found


@dataclass(frozen=True, eq=False)
class _Search:
    """Finds out which predecessors it takes to change the result of one item."""

    lab: _Lab
    index: int
    expected: _Outcome

    def differs(self, before: Sequence[int]) -> bool:
        """Tell whether the item gives something else right after these."""
        return not self.lab.same(self.expected, self.lab.last(before, self.index))

    def narrow(self, before: list[int]) -> list[int]:
        """Return one predecessor that makes the difference, or else a list of which none can be left out."""
        left = before
        while len(left) > 1:
            half = len(left) // 2
            part = next((part for part in (left[half:], left[:half]) if self.differs(part)), None)
            if part is None:
                break
            left = part
        if len(left) == 1:
            return left
        return self._single(before[::-1]) or self._minimal(left)

    def _single(self, candidates: list[int]) -> list[int] | None:
        for start in range(0, min(len(candidates), _SINGLES), _AT_ONCE):
            ones = [[one] for one in candidates[start : start + _AT_ONCE]]
            for one, outcome in zip(ones, self.lab.lasts(ones, self.index), strict=True):
                if not self.lab.same(self.expected, outcome):
                    return one
        return None

    def _minimal(self, left: list[int]) -> list[int]:
        """Leave out as much as possible, in ever smaller pieces (Zeller's ddmin, without the subsets)."""
        size = len(left) // 2
        while size:
            start = 0
            while start < len(left):
                rest = left[:start] + left[start + size :]
                if rest and self.differs(rest):
                    left = rest
                else:
                    start += size
            size //= 2
        return left


def _name_of(func: Any) -> str:
    name = getattr(func, "__qualname__", None)
    return f"{func.__module__}.{name}" if isinstance(name, str) else safe_repr(func, 80)
