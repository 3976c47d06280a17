"""Fixtures for every test: start methods, gates, and the proof that a test left nothing behind.

Who uses it: pytest. What may go wrong: a leak fails the very test that made it, and names what is left.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import leaks
from tests.support.gates import Gate, Tally
from tests.support.levels import FRESH, lasting
from tests.support.turns import by_turns, method_of

# Examples must not fail because the machine is busy; what is slow is caught by the limit per test.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_configure() -> None:
    """Have Ctrl-C mean what it means in a terminal: a shell starts background commands with SIGINT ignored."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run cases by turns where the start method has no part in them; at fresh levels nothing about reused workers."""
    idle = by_turns(items)
    if FRESH:
        idle.update(item for item in items if item.get_closest_marker("reused"))
    idle.update(item for item in items if item.get_closest_marker("lasting") and not lasting(method_of(item)))
    if idle:
        config.hook.pytest_deselected(items=list(idle))
        items[:] = [item for item in items if item not in idle]


@pytest.fixture(scope="session")
def _warm_machinery() -> None:
    leaks.warm_up()


@pytest.fixture(scope="module", autouse=True)
def _without_other_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hide the modules of other tests, which pytest has loaded: by default a pool would put back all of them."""
    hidden = {
        name: module
        for name, module in sys.modules.items()
        if name.startswith("tests.") and name.rpartition(".")[2].startswith("test_") and name != request.module.__name__
    }
    for name in hidden:
        del sys.modules[name]
    yield
    sys.modules.update(hidden)


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest, _warm_machinery: None) -> Iterator[None]:
    """Fail a test that leaves a process, thread, descriptor or semaphore."""
    before = leaks.footprint()
    yield
    if request.node.stash.get(_FAILED, False):  # its traceback still holds what it used; one complaint is enough
        leaks.kill_processes(before)
        return
    request.node.funcargs.clear()  # a pool that a fixture made may be collected now, as any that was dropped
    left = leaks.wait_until_clean(before)
    if left:
        leaks.kill_processes(before)
        pytest.fail("this test left behind:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture(params=mp.get_all_start_methods())
def start_method(request: pytest.FixtureRequest) -> str:
    """Each start method of this platform in turn."""
    return request.param


@pytest.fixture
def ctx(start_method: str) -> BaseContext:
    """The multiprocessing context of each start method in turn."""
    return mp.get_context(start_method)


@pytest.fixture
def gate(tmp_path: Path) -> Callable[[str], Gate]:
    """Make a gate of the given name, shut."""
    return lambda name: Gate(tmp_path / f"gate-{name}")


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    """A record that survives the processes that write to it."""
    return Tally(tmp_path / "tally")
