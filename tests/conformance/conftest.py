"""What the conformance tests share: both kinds of pool, and the loud word when the stdlib's tests are missing.

Who uses it: pytest. What may go wrong: nothing of its own.
"""

from __future__ import annotations

import multiprocessing.pool
from collections.abc import Iterator
from typing import Any

import pytest

from poolsafe import IsolatedPool
from tests.conformance.common import MakePool
from tests.conformance.interpreter import missing_tests
from tests.support import leaks


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest, _warm_machinery: None) -> Iterator[None]:
    """Ask of ours what every test asks, and nothing of the stdlib's pool: it keeps its pipes until it is collected."""
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and callspec.params.get("pool_class") == "stdlib":
        yield
        return
    before = leaks.footprint()
    yield
    left = leaks.wait_until_clean(before)
    if left:
        leaks.kill_processes(before)
        pytest.fail("this test left behind:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture(params=["stdlib", "ours"])
def pool_class(request: pytest.FixtureRequest) -> type[multiprocessing.pool.Pool]:
    """The stdlib's Pool, which proves that a test is right, and ours, which must do the same."""
    return multiprocessing.pool.Pool if request.param == "stdlib" else IsolatedPool


@pytest.fixture
def make_pool(pool_class: type[multiprocessing.pool.Pool]) -> Iterator[MakePool]:
    """Make pools that are terminated and joined after the test."""
    made: list[multiprocessing.pool.Pool] = []

    def make(*args: Any, **kwds: Any) -> multiprocessing.pool.Pool:
        made.append(pool_class(*args, **kwds))
        return made[-1]

    yield make
    for pool in made:
        pool.terminate()
        pool.join()
    made.clear()  # pytest keeps `make` a little longer, and what initializers were given must be gone now


@pytest.fixture
def pool(make_pool: MakePool) -> multiprocessing.pool.Pool:
    """A pool of two workers."""
    return make_pool(2)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end, where it is seen, that nothing was proved."""
    if missing_tests():
        terminalreporter.section("CONFORMANCE NOT CHECKED", sep="!", red=True)
        terminalreporter.line(missing_tests())
