"""Every kind of state, by default: no task sees what another one left, alone or in a chunk. In the stdlib each does."""

from __future__ import annotations

import json
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest

from poolsafe import IsolatedPool
from tests.support.leaving import KINDS, OPEN, be_imported, visit
from tests.support.levels import FRESH, LEVEL, lasting
from tests.support.scripts import run_python

#: Of what is left open, what processes of their own have in common, or have drawn apart on purpose.
BETWEEN_PROCESSES = {"mmap", "random numbers", "random.Random"}


def differ(seen: list[object]) -> bool:
    return len({repr(one) for one in seen}) > 1


@pytest.mark.parametrize("chunked", [False, True], ids=["alone", "chunk"])
def test_no_task_sees_what_another_one_left(ctx: BaseContext, chunked: bool) -> None:
    """Each kind three times in a row; twice, and in one of the ways, where each process begins without the others."""
    forked = lasting(ctx.get_start_method())
    kinds, times = (list(KINDS), 3) if forked else (list(KINDS)[chunked::2], 2)
    visits = [name for name in kinds for _ in range(times)]
    with IsolatedPool(1, be_imported if FRESH else None, context=ctx, isolation=LEVEL) as pool:
        seen = pool.map(visit, visits, len(visits) if chunked else 1)
    assert {name for at, name in enumerate(kinds) if differ(seen[times * at : times * (at + 1)])} == set()


def test_the_same_tasks_leak_in_the_standard_library() -> None:
    """Else the test above would prove nothing. A worker for each kind, for some of them stop a worker from working."""
    leaking = set()
    for name in KINDS:
        with get_context("fork").Pool(1) as pool:
            if differ(pool.map(visit, [name] * 2, 2)):
                leaking.add(name)
    assert leaking == set(KINDS)


@pytest.mark.parametrize("name", OPEN)
def test_what_is_said_to_be_left_alone_is(name: str) -> None:
    """Else the page of guarantees says too little: the kind then belongs to the others, here and there."""
    with IsolatedPool(1, context=get_context("fork"), isolation=LEVEL) as pool:
        assert differ(pool.map(visit, [name] * 2, 2)) is (not FRESH or name in BETWEEN_PROCESSES)


def test_what_an_import_did_lasts(tmp_path: Path, start_method: str) -> None:
    """A package that a task imports first: its effects on the process are not undone, for it is not imported again."""
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages/foreign_package.py").write_text(
        "import os, sys, warnings\n"
        "os.environ['FOREIGN'] = '1'\nsys.path.append('/foreign')\nwarnings.filterwarnings('ignore', 'foreign')\n"
        "os.listdir = sys.excepthook = print\n"
    )
    (tmp_path / "program.py").write_text(
        "import os, sys, warnings, json, multiprocessing as mp\n"
        f"sys.path.append({str(tmp_path / 'site-packages')!r})\n"
        "from poolsafe import IsolatedPool\n"
        "def task(i):\n"
        "    import foreign_package\n"
        "    found = [os.environ.get('FOREIGN'), os.environ.get('MINE'), '/foreign' in sys.path, '/mine' in sys.path,\n"
        "             sum('foreign' in str(one) for one in warnings.filters), os.listdir is sys.excepthook]\n"
        "    os.environ['MINE'] = '1'; sys.path.append('/mine'); os.environ['FOREIGN'] = 'changed'\n"
        "    return found\n"
        "if __name__ == '__main__':\n"
        "    with IsolatedPool(1, context=mp.get_context(sys.argv[1])) as pool:\n"
        "        print(json.dumps(pool.map(task, range(3))))\n"
    )
    done = run_python(tmp_path / "program.py", start_method, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["1", None, True, False, 1, True]] * 3
