"""Which of the stdlib's tests concern the pool.

Who uses it: `test_stdlib_pool` for its parameters. What may go wrong: a later Python adds a test with a pool under a
name that is not matched here; `overlooked` finds it in the source, and a test fails until the table names it.
"""

from __future__ import annotations

import ast
import importlib.util
import multiprocessing as mp
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conformance.runs import Group, listing

#: Every class with this in its name is taken whole.
POOL = "Pool"
#: And of other classes these tests, or all of them.
ELSEWHERE: dict[str, tuple[str, ...] | None] = {
    "TestInitializers": None,
    "TestSyncManagerTypes": ("test_pool",),
    "TestStdinBadfiledescriptor": ("test_pool_in_process",),
    "MiscTestCase": ("test_large_pool",),
}
#: Scripts, packages and zip files as the main program of a pool: a class for each start method.
MAIN_HANDLING = "test.test_multiprocessing_main_handling"
MAIN_CLASS = {"fork": "ForkCmdLineTest", "spawn": "SpawnCmdLineTest", "forkserver": "ForkServerCmdLineTest"}
#: Pools made by many threads that all import at the same time; of the platform's own start method.
THREADED = "test.test_importlib.test_threaded_import"
THREADED_TESTS = ("ThreadedImportTests", ("test_multiprocessing_pool_circular_import",))


@cache
def groups() -> dict[str, Group]:
    """Every group of tests by its name, ``method-Class``."""
    return dict(_groups())


def _groups() -> Iterator[tuple[str, Group]]:
    methods = mp.get_all_start_methods()
    drivers = {method: f"stdpool_{method}" for method in methods}
    found = listing((*drivers.values(), MAIN_HANDLING, THREADED))
    for method in methods:
        for cls, tests in found[drivers[method]].items():
            wanted = tests if POOL in cls else _chosen(cls, tests)
            if wanted:
                yield f"{method}-{cls}", Group(drivers[method], cls, tuple(wanted))
        cls = MAIN_CLASS[method]
        yield f"{method}-{cls}", Group(MAIN_HANDLING, cls, tuple(found[MAIN_HANDLING][cls]))
    cls, names = THREADED_TESTS
    yield f"default-{cls}", Group(THREADED, cls, names)


def _chosen(cls: str, tests: list[str]) -> list[str]:
    if cls not in ELSEWHERE:
        return []
    chosen = ELSEWHERE[cls]
    return [test for test in tests if chosen is None or test in chosen]


def uses_ours(name: str) -> bool:
    """Whether a group makes pools of processes, which must all be ours."""
    return "WithThreads" not in name


def overlooked() -> list[str]:
    """Find tests of the stdlib's module that make a pool and are not selected, as ``Class.test``."""
    spec = importlib.util.find_spec("test._test_multiprocessing")
    assert spec is not None
    assert spec.origin is not None
    module = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    # A test may make its pool in a function of the module, which it names.
    helpers = {node.name for node in module.body if isinstance(node, ast.FunctionDef) and _mentions(node, {POOL})}
    return [
        f"{cls.name}.{test.name}"
        for cls in module.body
        if isinstance(cls, ast.ClassDef) and POOL not in cls.name
        for test in cls.body
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test")
        if _mentions(test, {POOL, *helpers}) and not _chosen(cls.name, [test.name])
    ]


def _mentions(function: ast.FunctionDef, names: set[str]) -> bool:
    # Strings count: some tests run a script that makes a pool.
    return any(
        (isinstance(node, ast.Name) and node.id in names)
        or (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and f"{POOL}(" in node.value)
        for node in ast.walk(function)
    )
