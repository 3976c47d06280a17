"""CPython's own pool tests, as installed with this interpreter, run unchanged against IsolatedPool.

Each test is one item here, under each start method; the runs behind them (one process for each class and start method)
go on a few at a time while the items wait. A test that does not pass is run once more with the stdlib's Pool: only what
the stdlib fails or skips here itself may be skipped. What a class leaves behind is judged by an item of its own.

What may go wrong: on a Python without the stdlib's tests everything is skipped, with a loud word at the end of the run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.conformance import selection
from tests.conformance.interpreter import missing_tests
from tests.conformance.runs import LIMIT, OURS, STDLIB, Group, Outcome, run

#: Runs at a time. They mostly sleep, so a few more than the cores of a small machine do no harm.
JOBS = int(os.environ.get("POOLSAFE_CONFORMANCE_JOBS", "3"))
#: An item may have to wait for all the runs, one after another, as items may be chosen and ordered in any way.
pytestmark = [pytest.mark.timeout(40 * LIMIT)]

#: What no run may write to stderr. Dangling objects are the stdlib's own complaint about what a test left.
NOISE = re.compile(
    r"^.*(?:Traceback \(most recent|Exception ignored|Dangling|leaked|Fatal Python error|Warning:).*$", re.M
)


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> None:
    """Stand aside: the runs in the background are this process's children while the items come and go."""


class Schedule:
    """The runs of a session, begun as soon as the first item asks."""

    def __init__(self, wanted: dict[str, list[str]]) -> None:
        self._executor = ThreadPoolExecutor(JOBS, thread_name_prefix="conformance")
        self._ours: dict[str, Future[Outcome]] = {}
        self._stdlib: dict[str, Outcome] = {}
        self._groups = {
            name: Group(
                group.module, group.cls, tuple(test for test in group.tests if test in wanted[name]) or group.tests
            )
            for name, group in selection.groups().items()
            if name in wanted
        }
        for name, group in self._groups.items():
            self._ours[name] = self._executor.submit(run, group, OURS)

    def ours(self, name: str) -> Outcome:
        """Wait for a group's run against IsolatedPool."""
        return self._ours[name].result()

    def stdlib(self, name: str) -> Outcome:
        """Run again, with the stdlib's Pool, what did not pass with ours."""
        if name not in self._stdlib:
            group, ours = self._groups[name], self.ours(name)
            failing = tuple(test for test in group.tests if ours.status(test) != "passed")
            self._stdlib[name] = run(Group(group.module, group.cls, failing), STDLIB)
        return self._stdlib[name]

    def end(self) -> None:
        """Begin no more runs and wait for those that are under way."""
        self._executor.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def schedule(request: pytest.FixtureRequest) -> Iterator[Schedule]:
    """The runs that the selected items need, and no other."""
    wanted: dict[str, list[str]] = {}
    for item in request.session.items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if "group" in params:
            wanted.setdefault(params["group"], []).append(params.get("test", ""))
    made = Schedule(wanted)
    yield made
    made.end()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make an item of each test and each class that this interpreter has."""
    if "group" not in metafunc.fixturenames:
        return
    groups = {} if missing_tests() else selection.groups()
    if "test" in metafunc.fixturenames:
        metafunc.parametrize(
            ("group", "test"), [(name, test) for name, group in groups.items() for test in group.tests]
        )
    else:
        metafunc.parametrize("group", list(groups))


def test_the_stdlib_has_its_tests() -> None:
    """Without them nothing here is proved, and it must be seen."""
    if missing_tests():
        pytest.skip(missing_tests())
    assert len(selection.groups()) > 20


def test_no_test_with_a_pool_is_overlooked() -> None:
    """A test that a later Python adds must be selected, or it would be missing without a word."""
    if missing_tests():
        pytest.skip(missing_tests())
    assert selection.overlooked() == []


def test_stdlib(schedule: Schedule, group: str, test: str) -> None:
    """A test of the stdlib passes, or the stdlib's own Pool does no better here."""
    outcome = schedule.ours(group)
    status = outcome.status(test)
    if status == "passed":
        return
    reference = schedule.stdlib(group).status(test)
    if status == "skipped" and reference == "skipped":
        pytest.skip(f"as with the stdlib's Pool: {outcome.details.get(test)}")
    if reference not in ("passed", "skipped"):
        pytest.skip(f"the stdlib's own Pool does not pass it here either ({reference}):\n{outcome.complaint(test)}")
    pytest.fail(f"{status} (the stdlib's Pool: {reference})\n{outcome.complaint(test)}", pytrace=False)


def test_class_is_clean(schedule: Schedule, group: str) -> None:
    """A class ends by itself, with nothing left and no complaint, and its pools were ours."""
    assert complaints(group, schedule.ours(group)) == []


def complaints(group: str, outcome: Outcome) -> list[str]:
    """Say what is wrong with a run as a whole; nothing is taken on trust, above all not that the pools were ours."""
    found = [f"left process {process}" for process in outcome.left_processes]
    found += [f"wrote {line!r}" for line in NOISE.findall(outcome.stderr)]
    if outcome.exitcode != 0:
        found.append("hung" if outcome.hung else f"exit code {outcome.exitcode}")
    if outcome.details.get(""):
        found.append(outcome.details[""])
    if outcome.pools["stdlib"]:
        found.append(f"{outcome.pools['stdlib']} pools of the stdlib were made")
    if selection.uses_ours(group) != bool(outcome.pools["ours"]):
        found.append(f"{outcome.pools['ours']} pools of ours were made")
    return found
