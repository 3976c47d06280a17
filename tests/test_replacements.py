"""A worker that is forked later begins like the first ones, whatever the parent has done since, and does it no harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.levels import LEVEL
from tests.support.scripts import run_python

HEAD = """
import contextvars, gc, json, multiprocessing as mp, os, signal, sys, tempfile, threading, time, weakref
from poolsafe import IsolatedPool, WorkerLost

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def replace(pool):
    try:
        pool.apply(die)
    except WorkerLost:
        pass

def new_pool():
    return IsolatedPool(1, context=mp.get_context("fork"))
"""

PROGRAMS = {
    "what the parent made since is not dropped": (
        """
if __name__ == "__main__":
    pool = new_pool()
    folder = tempfile.TemporaryDirectory()
    named = tempfile.NamedTemporaryFile()
    log = open(sys.argv[1], "w")
    log.write("once\\n")
    replace(pool)
    pool.apply(os.getpid)
    pool.terminate()
    log.close()
    print(json.dumps([os.path.isdir(folder.name), os.path.exists(named.name), open(sys.argv[1]).read()]))
""",
        [True, True, "once\n"],
    ),
    "context variables are as they were": (
        """
variable = contextvars.ContextVar("variable")
variable.set(["pristine"])

def look(i):
    variable.get().append(i)
    return list(variable.get())

if __name__ == "__main__":
    pool = new_pool()
    seen = [pool.apply(look, (i,)) for i in range(2)]
    variable.set(["by the parent"])
    replace(pool)
    print(json.dumps(seen + [pool.apply(look, (i,)) for i in range(2)]))
    pool.terminate()
""",
        [["pristine", 0], ["pristine", 1]] * 2,
    ),
    "what the parent has imported since is imported anew": (
        """
sys.path.insert(0, os.path.dirname(__file__))
open(os.path.join(os.path.dirname(__file__), "late.py"), "w").write("x = []")

def look(i):
    import late
    late.x.append(i)
    return list(late.x)

if __name__ == "__main__":
    pool = new_pool()
    seen = [pool.apply(look, (i,)) for i in range(2)]
    import late
    late.x.append("by the parent")
    replace(pool)
    print(json.dumps(seen + [pool.apply(look, (i,)) for i in range(2)]))
    pool.terminate()
""",
        [[0], [1]] * 2,
    ),
    "a lock that was renewed after the fork stays so": (
        """
lock = threading.Lock()

def renew():
    global lock
    lock = threading.Lock()

os.register_at_fork(after_in_child=renew)

def take():
    return lock.acquire(timeout=1)

if __name__ == "__main__":
    lock.acquire()
    pool = new_pool()
    seen = [pool.apply(take) for _ in range(2)]
    replace(pool)
    print(json.dumps(seen + [pool.apply(take) for _ in range(2)]))
    pool.terminate()
""",
        [True] * 4,
    ),
    "a lock that was held is put back once it is free": (
        """
lock = threading.Lock()

def take():
    return lock.acquire(timeout=1)

if __name__ == "__main__":
    lock.acquire()
    pool = new_pool()
    lock.release()
    replace(pool)
    print(json.dumps([pool.apply(take) for _ in range(2)]))
    pool.terminate()
""",
        [True] * 2,
    ),
    "a pool does not keep the one before it alive": (
        """
if __name__ == "__main__":
    known = weakref.WeakSet()
    for _ in range(4):
        pool = new_pool()
        pool.apply(os.getpid)
        known.add(pool)
        pool.terminate()
        pool.join()
    gc.collect()
    print(json.dumps(len(known)))
""",
        1,
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_replacement(program: str, tmp_path: Path) -> None:
    source, expected = PROGRAMS[program]
    script = tmp_path / "program.py"
    script.write_text(HEAD + source, encoding="utf-8")
    done = run_python(script, tmp_path / "log.txt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found: Any = json.loads(done.stdout)
    assert found == expected


DRIFT = """
def look():
    from __main__ import FOUND
    mask = os.umask(0o22)
    os.umask(mask)
    hour = time.localtime(0).tm_hour
    return [*FOUND, os.getcwd(), os.environ.get("DRIFT"), "/drift" in sys.path, sys.argv[1:], mask, hour]

# When the main module is imported, too.
FOUND = [os.getcwd(), os.environ.get("DRIFT"), "/drift" in sys.path, sys.argv[1:]]

if __name__ == "__main__":
    method, level = sys.argv[1:]
    os.environ["TZ"] = "ONE-1"
    time.tzset()
    with IsolatedPool(1, context=mp.get_context(method), isolation=level) as pool:
        first = pool.apply(look)
        os.environ.update(DRIFT="1", TZ="TWO-2")
        time.tzset()
        os.chdir("/")
        sys.path.append("/drift")
        sys.argv.append("drift")
        os.umask(0o77)
        replace(pool)
        later = [pool.apply(look) for _ in range(3)]
    print(json.dumps([method, first, *later]))
"""


def test_what_the_parent_changes_later_is_not_inherited(start_method: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(HEAD + DRIFT, encoding="utf-8")
    done = run_python(script, start_method, LEVEL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    method, first, *later = json.loads(done.stdout)
    assert method == start_method
    assert first[4:] == [str(tmp_path), None, False, [method, LEVEL], 0o22, 1]
    assert later == [first] * 3


HOMELESS = """
if __name__ == "__main__":
    method, level, instead = sys.argv[1:]
    os.mkdir("here")
    os.chdir("here")
    here = os.getcwd()
    with IsolatedPool(1, context=mp.get_context(method), isolation=level) as pool:
        pool.apply(abs, (-1,))
        if method == "spawn":
            os.chdir("..")  # CPython itself may not start in a directory that is gone
        os.rmdir(here)
        if instead == "a file":
            open(here, "w").close()
        replace(pool)
        print(json.dumps([pool.apply(abs, (-i,)) for i in range(3)]))
"""


@pytest.mark.parametrize("instead", ["nothing", "a file"])
def test_a_directory_that_is_gone_hinders_no_worker(start_method: str, instead: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(HEAD + HOMELESS, encoding="utf-8")
    done = run_python(script, start_method, LEVEL, instead, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "[0, 1, 2]\n"), done.stderr
