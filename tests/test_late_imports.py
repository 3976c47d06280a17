"""Modules of the project that tasks import: the results hang on no order, with one worker and with several."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.scripts import run_python

PROGRAM = """
import json, sys, multiprocessing as mp
from poolsafe import IsolatedPool

REGISTRY = {}

def body(i):
    import helper
    return helper.count()

def submodule(i):
    import package.sub
    package.sub.SEEN.append(i)
    package.OTHER.append(i)
    return len(package.sub.SEEN) + len(package.OTHER)

def lazily(i):
    import package
    return len(package.TABLE.setdefault(i, []) or package.TABLE)

def plugin(i):
    import plugin
    REGISTRY[i] = "task"
    return len(REGISTRY)

def chained(i):
    import outer
    return outer.count(), outer.helper.count()

if __name__ == "__main__":
    method, processes, chunksize = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    found = {}
    for task in (body, submodule, lazily, plugin, chained):
        with IsolatedPool(processes, context=mp.get_context(method)) as pool:
            found[task.__name__] = pool.map(task, range(6), chunksize)
    print(json.dumps(found))
"""

COUNTING = "SEEN = []\ndef count():\n    SEEN.append(1)\n    return len(SEEN)\n"
MODULES = {
    "helper.py": COUNTING,
    "outer.py": "import helper\nhelper.SEEN.append('import')\n" + COUNTING,
    "package/__init__.py": (
        "OTHER = []\ndef __getattr__(name):\n    if name != 'TABLE': raise AttributeError(name)\n"
        "    global TABLE\n    TABLE = {}\n    return TABLE\n"
    ),
    "package/sub.py": "SEEN = []\n",
    "plugin.py": "import __main__ as main\nmain.REGISTRY['plugin'] = 'imported'\n",
}


@pytest.mark.parametrize(("processes", "chunksize"), [(1, 1), (1, 6), (2, 1)])
def test_what_a_task_imports_is_pristine_for_the_next(
    start_method: str, processes: int, chunksize: int, tmp_path: Path
) -> None:
    for name, source in {**MODULES, "program.py": PROGRAM}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    done = run_python(tmp_path / "program.py", start_method, str(processes), str(chunksize), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "body": [1] * 6,
        "submodule": [2] * 6,
        "lazily": [1] * 6,
        "plugin": [2] * 6,
        "chained": [[1, 2]] * 6,
    }
