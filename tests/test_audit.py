"""`python -m poolsafe audit`: an unchanged program runs as ever, but its pools watch, and tell what leaked."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from poolsafe import audit
from tests.support.scripts import ROOT, run_python

#: A program that comes by its pools in every way there is, and tells what became of them.
PROGRAM = '''
import multiprocessing
import multiprocessing.pool
import os
import sys
from multiprocessing import Pool
from multiprocessing.pool import Pool as PoolClass
from multiprocessing.pool import ThreadPool

seen = []


def grow(i):
    seen.append(i)
    return len(seen)


class ByName(PoolClass):
    """Knows its base by name, and takes other arguments."""

    def __init__(self, *, size):
        PoolClass.__init__(self, size)
        self.size = size


class BySuper(PoolClass):
    def __init__(self, size):
        super().__init__(size)


def make_a_pool(queue):
    with multiprocessing.Pool(1) as pool:
        queue.put([type(pool).__name__, pool.map(grow, range(3))])


def ways(method):
    context = multiprocessing.get_context(method)
    return [
        Pool,
        context.Pool,
        PoolClass,
        BySuper,
        lambda size: ByName(size=size),
        lambda size: multiprocessing.Pool(processes=size, maxtasksperchild=50),
        lambda size: multiprocessing.pool.Pool(size, None, (), None, context),
    ]


def main():
    multiprocessing.set_start_method(sys.argv[1])
    for make in ways(sys.argv[1]):
        with make(1) as pool:
            print(type(pool).__name__, isinstance(pool, PoolClass), pool.map(grow, range(3)))
    queue = multiprocessing.SimpleQueue()
    process = multiprocessing.Process(target=make_a_pool, args=(queue,))
    process.start()
    print("child", *queue.get())
    process.join()
    with ThreadPool(2) as threads:
        print(type(threads).__name__, isinstance(threads, PoolClass), threads.map(abs, [-1, -2]))


if __name__ == "__main__":
    main()
'''

#: Makes no difference to the pool: nothing leaks.
QUIET = """
import os, sys, signal
from multiprocessing import Pool

if __name__ == "__main__":
    pool = Pool(1)
    print(pool.map(abs, [-1, -2]))
    pool.close()
    pool.join()
    {end}
"""


def run_audit(
    *arguments: str | os.PathLike[str], cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return run_python("-m", "poolsafe", "audit", *arguments, cwd=cwd, env={"PYTHONPATH": source_path(), **(env or {})})


def source_path() -> str:
    """Where poolsafe is, absolute: the programs run in folders of their own."""
    return os.path.abspath(Path(audit.__file__).parents[1])


def write(folder: Path, text: str, name: str = "program.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_every_pool_of_a_program_is_watched(start_method: str, tmp_path: Path) -> None:
    done = run_audit("--json", "report.json", write(tmp_path, PROGRAM), start_method, cwd=tmp_path)
    names = ["WatchingPool"] * 3 + ["BySuper", "ByName"] + ["WatchingPool"] * 2
    assert done.stdout.splitlines() == [
        *(f"{name} True [1, 1, 1]" for name in names),
        "child WatchingPool [1, 1, 1]",
        "ThreadPool True [1, 2]",
    ], done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert done.returncode == 1
    assert (report["pools"], report["silent"], report["status"]) == (8, 0, 0)
    assert report["stats"]["tasks"] == 24
    assert len(report["leaks"]) == 24
    assert {leak["path"] for leak in report["leaks"]} == {"__main__.seen[0]"}
    assert "seen" in done.stderr
    assert "24 leaks from 24 tasks in 8 pools" in done.stderr
    assert "Isolating them took " in done.stderr


#: What leaks, and what is printed when every task is isolated.
EXAMPLES: dict[str, tuple[set[str], list[str]]] = {
    "simulation": (
        {"Weather.severity", "history", "population"},
        [
            "3 years, 3 recorded: {'hares': 97, 'lynxes': 9}",
            "5 years, 5 recorded: {'hares': 89, 'lynxes': 9}",
            "8 years, 8 recorded: {'hares': 64, 'lynxes': 9}",
        ]
        * 2,
    ),
    "services": (
        {"_client", "_seen", "weight"},
        [f"https://example.org/{name} {sum(map(ord, name))}" for name in ("ada", "bob", "ada", "eve")],
    ),
    "settings": (
        {"cwd", "environ", "locale"},
        [f"{name}: began here, zone unset, numbers C" for name in ("oslo", "lima", "pune", "rome")],
    ),
}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples(name: str, start_method: str, tmp_path: Path) -> None:
    script = ROOT / "docs" / "examples" / f"audit_{name}.py"
    done = run_audit("--json", "report.json", script, "--start-method", start_method, cwd=tmp_path)
    leaking, printed = EXAMPLES[name]
    assert done.stdout.splitlines() == printed, done.stderr
    assert done.returncode == 1
    paths = {leak["path"] for leak in json.loads((tmp_path / "report.json").read_text())["leaks"]}
    assert {word for word in leaking if any(word in path for path in paths)} == leaking, paths
    assert all(word in done.stderr for word in leaking)


def test_examples_run_without_us(tmp_path: Path, start_method: str) -> None:
    """They are programs of the standard library; what they print then hangs on timing, but not how much of it."""
    for name, (_, printed) in EXAMPLES.items():
        script = ROOT / "docs" / "examples" / f"audit_{name}.py"
        done = run_python(script, "--start-method", start_method, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) == len(printed)


def test_what_is_kept_does_not_leak(tmp_path: Path) -> None:
    script = ROOT / "docs" / "examples" / "audit_services.py"
    keep = ["--keep", "__main__:_client", "--keep", "__main__:_seen", "--keep", "__main__:weight"]
    done = run_audit(*keep, script, "--start-method", "fork", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nothing leaked from 4 tasks in 1 pool" in done.stderr


def test_without_isolation_it_only_watches(tmp_path: Path) -> None:
    done = run_audit("--isolation", "none", write(tmp_path, PROGRAM), "fork", cwd=tmp_path)
    assert done.stdout.startswith("WatchingPool True [1, 2, 3]\n")
    assert done.returncode == 1


# -- the program is what it is without us ------------------------------------------------------------------------------
SELF = """
import os, sys, multiprocessing

def world():
    names = ["__name__", "__file__", "__package__", "__doc__", "__builtins__", "__spec__", "__loader__", "__cached__"]
    main = sys.modules["__main__"]
    return [
        sys.argv,
        sys.path,
        sorted(name for name in vars(main) if not name.startswith("__")),
        [type(getattr(main, name, None)).__name__ for name in names],
        __name__,
        __file__,
        sorted(set(os.environ.items())),
        sys.flags,
        sys.warnoptions,
        [type(finder).__name__ for finder in sys.meta_path if "poolsafe" not in repr(finder)],
        getattr(sys.modules.get("sitecustomize"), "MINE", None),
        "runpy" in sys.modules,
        "multiprocessing.pool" in sys.modules,
    ]

def tell(_):
    here = world()
    return here[:2] + here[-3:-2]

if __name__ == "__main__":
    print(world())
    from multiprocessing import Pool
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        print(pool.apply(tell, (0,)))
"""


@pytest.mark.parametrize(
    ("form", "method"),
    [
        *((form, method) for form in ("script", "module") for method in multiprocessing.get_all_start_methods()),
        ("folder", "fork"),  # spawned children never import a __main__.py
    ],
)
def test_the_program_finds_the_world_as_ever(form: str, method: str, tmp_path: Path) -> None:
    write(tmp_path, "MINE = 'their own'\n", "sitecustomize.py")
    (tmp_path / "package").mkdir()
    for name in ("self.py", "package/__init__.py", "package/self.py", "package/__main__.py"):
        write(tmp_path, SELF, name)
    program = {"script": ["self.py"], "module": ["-m", "package.self"], "folder": ["package"]}[form]
    env = {"PYTHONPATH": os.pathsep.join([source_path(), str(tmp_path)])}
    alone = run_python(*program, method, "--json", "-m", cwd=tmp_path, env=env)
    audited = run_audit(*program, method, "--json", "-m", cwd=tmp_path, env=env)
    assert "their own" in alone.stdout
    assert audited.stdout == alone.stdout
    assert (audited.returncode, alone.returncode) == (0, 0), audited.stderr


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("pass", 0),
        ("sys.exit(7)", 7),
        ("sys.exit('words')", 1),
        ("1 / 0", 1),
        ("os._exit(3)", 3),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("raise KeyboardInterrupt", -signal.SIGINT),
    ],
)
def test_the_status_is_the_program_s_own(end: str, status: int, tmp_path: Path) -> None:
    script = write(tmp_path, QUIET.format(end=end))
    assert run_python(script, cwd=tmp_path).returncode == status
    done = run_audit("--json", "report.json", script, cwd=tmp_path)
    assert done.returncode == status
    assert done.stdout == "[1, 2]\n"
    assert json.loads((tmp_path / "report.json").read_text())["status"] == status
    assert "poolsafe audit: nothing leaked from 2 tasks in 1 pool\n" in done.stderr


def test_a_pool_that_cannot_tell_is_counted(tmp_path: Path) -> None:
    script = write(tmp_path, QUIET.format(end="Pool(1).apply(abs, (1,)); os._exit(3)"))
    done = run_audit(script, cwd=tmp_path)
    assert done.returncode == 3
    assert "1 pool could not tell" in done.stderr


def test_a_pool_that_nobody_ends_tells_at_exit(tmp_path: Path) -> None:
    script = write(tmp_path, QUIET.format(end="last = Pool(1); last.map(abs, range(5))"))
    assert "nothing leaked from 7 tasks in 2 pools" in run_audit(script, cwd=tmp_path).stderr


def test_a_program_without_a_pool(tmp_path: Path) -> None:
    done = run_audit(write(tmp_path, "print('done')"), cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("done\n", "poolsafe audit: the program made no multiprocessing.Pool.\n")
    assert done.returncode == 0


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = run_audit("missing.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "can't open file" in done.stderr


WAITING = """
import signal, sys, time
from multiprocessing import Pool

def stop(number, frame):
    print("got", signal.Signals(number).name, flush=True)
    sys.exit(5)

if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with Pool(1) as pool:
        pool.apply(abs, (1,))
        print("ready", flush=True)
        while True:  # a signal that comes just before a wait does not interrupt it
            time.sleep(0.01)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signals_reach_the_program(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "poolsafe", "audit", str(write(tmp_path, WAITING))]
    environment = {**os.environ, "PYTHONPATH": source_path()}
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            program.send_signal(signal.Signals[name])
            out, err = program.communicate(timeout=30)
        except BaseException:
            os.killpg(program.pid, signal.SIGKILL)
            raise
    assert out == f"got {name}\n"
    assert program.returncode == 5
    assert "nothing leaked from 1 task in 1 pool" in err


def test_ctrl_c_reaches_the_program_once(tmp_path: Path) -> None:
    """What the terminal sends goes to both of us; passing it on would interrupt the program's cleaning up."""
    import pty

    once = WAITING.replace("    sys.exit(5)", "    signal.signal(signal.SIGINT, again)\n    sys.exit(5)").replace(
        "def stop", "def again(number, frame):\n    print('again', flush=True)\n\ndef stop"
    )
    script = write(tmp_path, once)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = source_path()
        os.execv(sys.executable, [sys.executable, "-m", "poolsafe", "audit", str(script)])
    told = b""
    try:
        while b"ready" not in told:
            told += os.read(terminal, 1000)
        os.write(terminal, b"\x03")
        while True:
            told += os.read(terminal, 1000)
    except OSError:  # how a terminal says that nobody is left
        pass
    finally:
        os.close(terminal)  # whatever still runs there gets SIGHUP
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 5, told
    assert b"got SIGINT" in told
    assert b"again" not in told


# -- the command line --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "the following arguments are required: SCRIPT"),
        (["-m"], "the following arguments are required: SCRIPT"),
        (["--isolation", "nonsense", "x.py"], "invalid choice: 'nonsense'"),
        (["--nonsense", "x.py"], "unrecognized arguments: --nonsense"),
        (["--json"], "expected one argument"),
        (["--json", "/no/such/folder/report", "x.py"], "argument --json: "),
    ],
)
def test_usage_errors(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        audit.main(arguments)
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert "usage: python -m poolsafe audit " in told
    assert words in told


def test_an_interpreter_that_ignores_its_environment_is_refused() -> None:
    done = run_python("-E", "-c", f"import sys; sys.path.insert(0, {source_path()!r})\n" + ASK, "x.py")
    assert done.returncode == 2
    assert "cannot watch a program under -E, -I or -S" in done.stderr


ASK = "from poolsafe.audit import main\nmain(sys.argv[1:])\n"


@pytest.mark.parametrize(("status", "expected"), [(0, 1), (3, 3), (-9, 1)])
def test_a_program_that_could_not_be_watched_is_no_success(
    status: int, expected: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "run", lambda command, environment: status)
    assert audit.main(["x.py"]) == expected
    assert "the program was not watched" in capsys.readouterr().err


def test_the_command_is_this_interpreter_s(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[str]] = []
    monkeypatch.setattr(audit, "run", lambda command, environment: asked.append(command) or 1)
    monkeypatch.setattr(subprocess, "_args_from_interpreter_flags", lambda: ["-X", "dev"])
    audit.main(["--keep", "a:b", "x.py", "--json", "-m"])
    audit.main(["-m", "package.module", "--keep"])
    assert asked == [
        [sys.executable, "-X", "dev", "x.py", "--json", "-m"],
        [sys.executable, "-X", "dev", "-m", "package.module", "--keep"],
    ]


@pytest.mark.parametrize("code", ["raise SystemExit(4)", "import os; os.kill(os.getpid(), 15)"])
def test_where_signals_cannot_be_waited_for(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS and Windows."""
    by_signals = audit.run([sys.executable, "-c", code], os.environ)
    monkeypatch.delattr(signal, "sigtimedwait")
    assert audit.run([sys.executable, "-c", code], os.environ) == by_signals in (4, -15)


def test_pools_are_added_up(tmp_path: Path) -> None:
    leak = {"function": "f", "index": 0, "arguments": "1", "path": "app.x", "before": "1", "after": "2"}
    stats = {
        "tasks": 2,
        "lost": 1,
        "retried": 1,
        "retired": {"thread": 1},
        "seconds_in_tasks": 1.5,
        "seconds_in_resets": 0.5,
    }
    for number, dearest in enumerate([[["a", 0.25]], [["b", 1.0], ["a", 0.5]]]):
        advice = ["app.x grew in 1 task.", f"app.y grew in {number} tasks."]
        told = {"leaks": [leak], "dropped": number, "advice": advice, "stats": {**stats, "dearest": dearest}}
        told["stats"]["carried"] = {"queue.Queue": number + 1}
        write(tmp_path, json.dumps(told), f"pool-1-{number}.json")
    write(tmp_path, "null", "pool-1-2.json")
    write(tmp_path, "", "watched")
    seen = audit.Seen.read(str(tmp_path))
    assert seen.as_data() == {
        "leaks": [leak, leak],
        "stats": {
            "tasks": 4,
            "lost": 2,
            "retried": 2,
            "retired": {"thread": 2},
            "seconds_in_tasks": 3.0,
            "seconds_in_resets": 1.0,
            "dearest": [["b", 1.0], ["a", 0.75]],
            "carried": {"queue.Queue": 3},
        },
        "pools": 3,
        "silent": 1,
        "dropped": 1,
    }
    text = seen.text()
    assert "3 leaks from 4 tasks in 3 pools" in text
    assert "\nCarried to tasks, which multiprocessing.Pool refuses: queue.Queue (3).\n" in text
    assert "\n\napp.x grew in 1 task.\napp.y grew in 0 tasks.\n\n" in text
    assert "Isolating them took 1.000 s beside 3.000 s in tasks, 25.0% of the workers' time." in text
    assert "Dearest: b (1.000 s), a (0.750 s)." in text
