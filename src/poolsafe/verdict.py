"""What `poolsafe.verify` found: data, and words for it.

Used by: verification; users read it. What may go wrong: an item whose ``repr()`` raises is named by its type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .engine.messages import safe_repr

if TYPE_CHECKING:
    from .leaks import Leak

#: So many differences are narrowed down and shown; the others are counted.
TRACED: Final = 8


@dataclass(frozen=True, eq=False)
class Difference:
    """An item whose result is not the same each time.

    Attributes:
        item: The item.
        index: Its place among the items.
        expected: What came of it alone in a fresh process: the result, or the exception.
        got: What else came of it.
        after: The items that ran right before it in the same worker then; empty where it differs even when alone.
        changed: What those left changed, as far as it can be seen.
        repeated: Whether the difference came again when these items alone were run.
    """

    item: Any
    index: int
    expected: Any
    got: Any
    after: tuple[Any, ...] = ()
    changed: tuple[Leak, ...] = ()
    repeated: bool = True

    def __str__(self) -> str:
        text = f"item {self.index}, {safe_repr(self.item, 80)}:\n"
        text += f"  alone gives {_shown(self.expected)}\n"
        if not self.after:
            return text + f"  and again   {_shown(self.got)}"
        text += f"  it gave     {_shown(self.got)}\n"
        shown = ", ".join(safe_repr(item, 80) for item in self.after[:5])
        more = f" and {len(self.after) - 5} more" if len(self.after) > 5 else ""
        text += f"  right after {shown}{more}"
        if not self.repeated:
            return text + ", but not when tried again"
        for leak in self.changed:
            text += f"\n  which changed {leak.path}: {leak.before} -> {leak.after}"
        return text if self.changed else text + ", which changed nothing that can be seen from Python"


@dataclass(frozen=True, eq=False)
class Report:
    """What `verify` found; true when every result was the same each time.

    Attributes:
        function: The function's name.
        items: How many items there are.
        rounds: How many times all of them ran in one worker.
        runs: How many times the function was called in all.
        isolation: The level of isolation that was tried.
        seed: From which the orders were shuffled.
        different: How many items gave something else after others than alone.
        differences: The first of these, narrowed down.
        unsteady: Items that give something else each time, even when alone.
    """

    function: str
    items: int
    rounds: int
    runs: int
    isolation: str | None
    seed: int
    different: int = 0
    differences: tuple[Difference, ...] = ()
    unsteady: tuple[Difference, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every result was the same each time."""
        return not self.different and not self.unsteady

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        asked = f"{self.function}, isolation={self.isolation!r}, seed={self.seed}"
        count = f"{self.items} item{'s' * (self.items != 1)}, {self.rounds} round{'s' * (self.rounds != 1)}"
        lines = [f"{asked}: {count}, {self.runs} calls"]
        if self.ok:
            return f"{lines[0]}\nEvery result is the same as alone in a fresh process."
        if self.different:
            lines += [f"{self.different} of {self.items} results hang on what ran before:"]
            lines += map(str, self.differences)
            if self.different > len(self.differences):
                lines += [f"... and {self.different - len(self.differences)} more"]
        if self.unsteady:
            lines += [f"{len(self.unsteady)} of {self.items} results differ even alone (random numbers, the time?):"]
            lines += map(str, self.unsteady[:TRACED])
            if len(self.unsteady) > TRACED:
                lines += [f"... and {len(self.unsteady) - TRACED} more"]
        return "\n".join(lines)


def _shown(value: Any) -> str:
    return f"an error, {safe_repr(value, 200)}" if isinstance(value, BaseException) else safe_repr(value, 200)


Report.__module__ = Difference.__module__ = "poolsafe"  # the name that users import
