"""Context variables: each task runs in a copy of the context that the initializer left."""

from __future__ import annotations

import contextvars
from multiprocessing.context import BaseContext

from poolsafe import IsolatedPool
from tests.support.levels import LEVEL

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
unset: contextvars.ContextVar[str] = contextvars.ContextVar("unset")


def log_in(name: str) -> None:
    user.set(name)


def change(name: str) -> tuple[str, str]:
    before = user.get(), unset.get("unset")
    user.set(name)
    unset.set(name)
    return before


def hook() -> None:
    user.set(user.get() + ", hooked")


def test_no_task_sees_what_another_one_set(ctx: BaseContext) -> None:
    with IsolatedPool(1, log_in, ("root",), context=ctx, isolation=LEVEL) as pool:
        assert pool.map(change, "abc", 3) == [("root", "unset")] * 3
        assert pool.apply(change, ("d",)) == ("root", "unset")


def test_hooks_run_in_the_context_of_their_task() -> None:
    with IsolatedPool(1, log_in, ("root",), before_task=hook, isolation=LEVEL) as pool:
        assert pool.map(change, "abc", 3) == [("root, hooked", "unset")] * 3
