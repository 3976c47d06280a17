"""What the error of a lost task tells of its end: what was written to stderr, where it crashed, who killed it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gates import wait_for
from tests.support.scripts import ROOT
from tests.survival.support.cases import METHODS, spread

LEVELS = ["globals", "fork", "process"]

PROGRAM = """
import multiprocessing as mp, os, sys
from poolsafe import IsolatedPool, PoolsafeError
from tests.support.gates import Gate, process_is_gone, wait_for
from tests.survival.support import limits, memory
if __name__ == "__main__":
    gate = Gate(sys.argv[3])
    # Not by `with`: an initializer may have failed before its block begins, which raises there.
    pool = IsolatedPool(1, {options} context=mp.get_context(sys.argv[1]), isolation=sys.argv[2])
    for _ in range(2):
        {before}
        try:
            pool.apply({call})
        except PoolsafeError as error:
            {tell}
    pool.terminate()
"""


def run(
    tmp_path: Path, method: str, level: str = "globals", *, group: Path | None = None, **parts: str
) -> tuple[str, str]:
    """Of a program of its own: pytest has a stderr of its own, and a faulthandler."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(**{"options": "", "before": "", **parts}))
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, str(script), method, level, str(tmp_path / "gate")],
        env={**os.environ, "PYTHONPATH": path, "PYTHONFAULTHANDLER": ""},
        preexec_fn=None if group is None else lambda: (group / "cgroup.procs").write_text(str(os.getpid())) and None,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize(("start_method", "level"), spread(LEVELS, "fork"))
def test_what_was_written_to_stderr(tmp_path: Path, start_method: str, level: str) -> None:
    told, arrived = run(
        tmp_path, start_method, level, call="memory.say_and_die, ('hello',)", tell="print(error, error.stderr)"
    )
    for where in (told, arrived):
        assert where.count("hello\n") >= 4
        assert where.count("logged hello\n") >= 2
        assert where.count("UserWarning: warned of hello\n") >= 2
    assert told.count("The last lines that it wrote to stderr:\n  hello\n") == 2


@pytest.mark.parametrize("start_method", METHODS[:1])
def test_the_last_ten_lines_are_enough(tmp_path: Path, start_method: str) -> None:
    told, _ = run(tmp_path, start_method, call="memory.say_much_and_die, (500,)", tell="print(error)")
    shown = [line for line in told.splitlines() if line.startswith("  line ")]
    assert shown == [f"  line {i}" for i in range(490, 500)] * 2


@pytest.mark.parametrize(("start_method", "level"), spread(LEVELS, "fork"))
def test_words_of_another_task_are_not_told(tmp_path: Path, start_method: str, level: str) -> None:
    before = "pool.apply(memory.say, ('before',)); pool.apply(memory.say_late, ('late', gate))"
    tell = "gate.open(); print([error.stderr, 'stderr' in str(error)])"
    told, arrived = run(tmp_path, start_method, level, before=before, call="memory.die, (gate,)", tell=tell)
    assert told == "['', False]\n" * 2
    assert "before" in arrived


@pytest.mark.parametrize("start_method", METHODS[:1])
def test_a_limit_tells_them_as_well(tmp_path: Path, start_method: str) -> None:
    call = "limits.say_and_wait, ('hello',), timeout=0.3"
    told, _ = run(tmp_path, start_method, call=call, tell="print([error.stderr, '  hello' in str(error)])")
    assert told == "['hello\\n', True]\n" * 2


@pytest.mark.parametrize("start_method", METHODS[:1])
def test_a_limit_of_memory_tells_them_as_well(tmp_path: Path, start_method: str) -> None:
    call = "memory.devour_and_say, ('hello',)"
    tell = "print([type(error).__name__, error.stderr, 'in devour' in error.stack])"
    told, _ = run(tmp_path, start_method, call=call, tell=tell, options="max_memory=100 << 20,")
    assert told == "['TaskMemoryExceeded', 'hello\\n', True]\n" * 2


def test_an_initializer_that_ends_the_process(tmp_path: Path, start_method: str) -> None:
    options = "initializer=memory.say_and_fail, initargs=('hello',),"
    told, _ = run(tmp_path, start_method, call="memory.say, ('never',)", tell="print(error)", options=options)
    assert "The last lines that it wrote to stderr:\n  hello\n" in told


@pytest.mark.parametrize(("start_method", "level"), spread(LEVELS, "fork"))
def test_where_native_code_crashed(tmp_path: Path, start_method: str, level: str) -> None:
    tell = 'print("in _crash" in error.stack, "in crash_deep_down" in str(error), error.signal)'
    told, _ = run(tmp_path, start_method, level, call="memory.crash_deep_down", tell=tell)
    assert told == "True True 11\n" * 2


@pytest.mark.parametrize(
    ("start_method", "level", "before"),
    [
        ("fork", "globals", "crash_in_a_copy"),
        ("spawn", "fork", "crash_in_a_copy"),
        ("fork", "fork", "crash_in_a_copy"),
        ("fork", "fork", "crash_at_the_end"),
        ("fork", "process", "crash_at_the_end"),
        ("fork", "globals", "survive_sigterm"),
    ],
)
def test_a_stack_of_another_process_is_not_told(tmp_path: Path, start_method: str, level: str, before: str) -> None:
    options = "timeout=1, "
    first = f"ended = pool.apply(memory.{before}); wait_for(lambda: not ended or process_is_gone(ended))"
    told, _ = run(
        tmp_path, start_method, level, before=first, call="os._exit, (3,)", tell="print([error.stack])", options=options
    )
    assert told == "['']\n" * 2
    call, tell = "memory.wait_for_ever", "print('in wait_for_ever' in error.stack.splitlines()[1])"
    told, _ = run(tmp_path, start_method, level, before=first, call=call, tell=tell, options=options)
    assert told == "True\n" * 2


#: Where control groups may be made, by version: what shows that it is that one, and the limits to set.
CONTROL_GROUPS = {
    Path("/sys/fs/cgroup"): ("cgroup.controllers", {"memory.max": "200M", "memory.swap.max": "0"}),
    Path("/sys/fs/cgroup/memory"): ("memory.use_hierarchy", {"memory.limit_in_bytes": "200M"}),
}


@pytest.fixture
def small_group(tmp_path: Path) -> Iterator[Path]:
    """A control group that has little memory, where one may be made."""
    for base, (sign, limits) in CONTROL_GROUPS.items():
        group = base / f"poolsafe-test-{os.getpid()}-{tmp_path.name}"
        if not (base / sign).exists() or not os.access(base, os.W_OK):
            continue
        group.mkdir()
        try:
            if all((group / limit).exists() for limit in limits):
                for limit, value in limits.items():
                    (group / limit).write_text(value)
                yield group
                return
        finally:
            wait_for(lambda group=group: not (group / "cgroup.procs").read_text(), what="the end of a control group")
            group.rmdir()
    pytest.skip("no control group with a limit of memory can be made here")


@pytest.mark.parametrize(("start_method", "level"), spread(LEVELS, "fork"))
def test_the_kernel_ended_it_for_memory(tmp_path: Path, start_method: str, level: str, small_group: Path) -> None:
    told, _ = run(
        tmp_path,
        start_method,
        level,
        call="memory.devour",
        tell="print(error.out_of_memory, 'want of memory' in str(error), 'control group' in str(error))",
        group=small_group,
    )
    assert told == "True True True\n" * 2
