"""Presets: what each one puts back, alone and all together; that nothing is read where nothing changed.

Every case runs in a forked child, since it changes what belongs to the process.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poolsafe import errors, presets
from poolsafe.isolation.preset import Preset
from poolsafe.isolation.process_state import ALL, ProcessState
from poolsafe.isolation.targets import Resetter
from tests.support.scripts import run_python
from tests.unit.isolation.worlds import make_module

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else multiprocessing

#: Preset, what is done before the capture, what a task does, what is looked at, a path that is reported, if one is.
Case = tuple[str, str, str, str, str]
CASES: list[Case] = [
    (
        "environ",
        "import os",
        "os.environ['X_NEW'] = '1'",
        "os.environ.get('X_NEW'), os.getenv('X_NEW')",
        "os.environ['X_NEW']",
    ),
    (
        "environ",
        "import os; os.environ['X_OLD'] = 'a'",
        "del os.environ['X_OLD']",
        "os.environ.get('X_OLD')",
        "os.environ['X_OLD']",
    ),
    (
        "environ",
        "import os; os.environ['X_OLD'] = 'a'",
        "os.environ.update(X_OLD='b')",
        "os.popen('echo $X_OLD').read()",
        "os.environ['X_OLD']",
    ),
    ("environ", "import os", "os.environ = {}", "id(os.environ), len(os.environ)", "os.environ"),
    (
        "environ",
        "import os, time; os.environ['TZ'] = 'UTC0'; time.tzset()",
        "os.environ['TZ'] = 'XYZ-5'; time.tzset()",
        "os.environ['TZ'], time.tzname, time.localtime(0).tm_hour",
        "os.environ['TZ']",
    ),
    (
        "environ",
        "import os, time; os.environ['TZ'] = 'UTC0'; time.tzset()",
        "os.environ['TZ'] = 'XYZ-5'; time.tzset(); os.environ['TZ'] = 'UTC0'",
        "os.environ['TZ'], time.tzname, time.localtime(0).tm_hour",
        "time.tzname",
    ),
    ("cwd", "import os", "os.chdir('/')", "os.getcwd()", "os.getcwd()"),
    (
        "cwd",
        "import os, tempfile\ndef here():\n    try: return os.getcwd()\n    except OSError: return None",
        "gone = tempfile.mkdtemp(); os.chdir(gone); os.rmdir(gone)",
        "here()",
        "os.getcwd()",
    ),
    ("umask", "import os", "os.umask(0o137)", "open('/proc/self/status').read().split('Umask:')[1][:6]", "os.umask()"),
    ("import_system", "import sys", "sys.path.insert(0, '/nowhere')", "sys.path[:]", "sys.path"),
    ("import_system", "import sys", "sys.path = ['/nowhere']", "id(sys.path), sys.path[:]", "sys.path"),
    (
        "import_system",
        "import sys\nclass Finder: find_spec = staticmethod(lambda *_: None)",
        "sys.meta_path.append(Finder()); sys.path_hooks.insert(0, print)",
        "len(sys.meta_path), sys.path_hooks[0].__name__ == 'print' and 0",
        "sys.meta_path",
    ),
    (
        "import_system",
        "import sys",
        "sys.dont_write_bytecode = not sys.dont_write_bytecode",
        "sys.dont_write_bytecode",
        "sys.dont_write_bytecode",
    ),
    (
        "streams",
        "import io, sys",
        "sys.stdout = sys.__stdout__ = io.StringIO()",
        "id(sys.stdout), id(sys.__stdout__)",
        "sys.stdout",
    ),
    ("streams", "import sys", "del sys.stderr", "id(getattr(sys, 'stderr', None))", "sys.stderr"),
    (
        "streams",
        "import sys",
        "sys.excepthook = sys.displayhook = sys.unraisablehook = sys.breakpointhook = print",
        "sys.excepthook, sys.displayhook, sys.unraisablehook, sys.breakpointhook",
        "sys.excepthook",
    ),
    ("streams", "import sys\ndef f(*_): pass", "sys.setprofile(f)", "id(sys.getprofile())", "sys.getprofile()"),
    (
        "streams",
        "import sys",
        "sys.set_asyncgen_hooks(print, print)",
        "tuple(sys.get_asyncgen_hooks())",
        "sys.get_asyncgen_hooks()",
    ),
    (
        "streams",
        "import sys; sys.stdout = open('/dev/null', 'w')",
        "sys.stdout.reconfigure(encoding='latin-1', errors='replace')",
        "sys.stdout.encoding, sys.stdout.errors",
        "sys.stdout.<mode>",
    ),
    ("argv", "import sys", "sys.argv = ['other']", "sys.argv", "sys.argv"),
    ("argv", "import sys", "sys.argv.append('more')", "sys.argv[:]", "sys.argv"),
    (
        "recursion_limit",
        "import sys",
        "sys.setrecursionlimit(4321)",
        "sys.getrecursionlimit()",
        "sys.getrecursionlimit()",
    ),
    (
        "switch_interval",
        "import sys",
        "sys.setswitchinterval(0.25)",
        "sys.getswitchinterval()",
        "sys.getswitchinterval()",
    ),
    (
        "int_max_str_digits",
        "import sys",
        "sys.set_int_max_str_digits(1000)",
        "sys.get_int_max_str_digits()",
        "sys.get_int_max_str_digits()",
    ),
    ("warnings", "import warnings", "warnings.simplefilter('ignore')", "warnings.filters[:]", "warnings.filters"),
    (
        "warnings",
        "import warnings",
        "warnings.filters = []",
        "id(warnings.filters), len(warnings.filters)",
        "warnings.filters",
    ),
    ("warnings", "import warnings", "warnings.showwarning = print", "id(warnings.showwarning)", "warnings.showwarning"),
    (
        "warnings",
        "import warnings; warnings.resetwarnings(); warnings.simplefilter('default')",
        "warnings.simplefilter('ignore')",
        "warnings.filters[0][0]",
        "warnings.filters",
    ),
    (
        "logging",
        "import logging",
        "logging.disable(50)",
        "logging.getLogger('a').isEnabledFor(50), logging.root.manager.disable",
        "logging.Logger.manager.disable",
    ),
    (
        "logging",
        "import logging; logging.getLogger('a.b').setLevel(30)",
        "logging.getLogger('a.b').setLevel(10)",
        "logging.getLogger('a.b').level, logging.getLogger('a.b').isEnabledFor(10)",
        "logging.getLogger('a.b').level",
    ),
    (
        "logging",
        "import logging",
        "logging.root.setLevel(1); logging.root.addHandler(logging.NullHandler())",
        "logging.root.level, len(logging.root.handlers)",
        "logging.root.level",
    ),
    (
        "logging",
        "import logging",
        "n = logging.getLogger('new.one'); n.setLevel(5); n.propagate = False; n.addHandler(logging.StreamHandler())",
        "[(n.level, n.propagate, n.handlers[:]) for n in [logging.getLogger('new.one')]]",
        "logging.getLogger('new.one').level",
    ),
    (
        "logging",
        "import logging; h = logging.StreamHandler(); logging.getLogger('a').addHandler(h)",
        "h.setLevel(44); h.setFormatter(logging.Formatter()); h.addFilter(print)",
        "h.level, h.formatter, h.filters[:]",
        "logging.getLogger('a').handlers[0].level",
    ),
    (
        "logging",
        "import logging",
        "logging.addLevelName(20, 'NOTE')",
        "logging.getLevelName(20)",
        "logging._levelToName[20]",
    ),
    (
        "logging",
        "import logging",
        "logging.setLogRecordFactory(print); logging.raiseExceptions = False; logging.lastResort = None",
        "logging.getLogRecordFactory(), logging.raiseExceptions, logging.lastResort",
        "logging._logRecordFactory",
    ),
    (
        "logging",
        "import logging",
        "logging.captureWarnings(True)",
        "logging._warnings_showwarning",
        "logging._warnings_showwarning",
    ),
    (
        "decimal",
        "import decimal",
        "decimal.getcontext().prec = 5",
        "decimal.getcontext().prec",
        "decimal.getcontext().prec",
    ),
    (
        "decimal",
        "import decimal",
        "decimal.setcontext(decimal.Context(prec=3))",
        "decimal.getcontext().prec",
        "decimal.getcontext()",
    ),
    (
        "decimal",
        "import decimal",
        "decimal.DefaultContext.rounding = 'ROUND_UP'; decimal.getcontext().traps[decimal.Inexact] = True",
        "decimal.DefaultContext.rounding, decimal.getcontext().traps[decimal.Inexact]",
        "decimal.DefaultContext.rounding",
    ),
    (
        "decimal",
        "import decimal",
        "decimal.Decimal(1) / 3",
        "decimal.getcontext().flags[decimal.Inexact]",
        "",  # is no leak
    ),
    (
        "locale",
        "import locale",
        "locale.setlocale(locale.LC_NUMERIC, 'C' if locale.setlocale(locale.LC_NUMERIC) != 'C' else 'C.UTF-8')",
        "locale.setlocale(locale.LC_ALL)",
        "locale.LC_NUMERIC",
    ),
    (
        "signals",
        "import signal",
        "signal.signal(signal.SIGUSR1, print)",
        "signal.getsignal(signal.SIGUSR1)",
        "signal.getsignal(10)",
    ),
    (
        "signals",
        "import signal",
        "signal.signal(signal.SIGRTMAX, signal.SIG_IGN)",
        "int(signal.getsignal(signal.SIGRTMAX))",
        "signal.getsignal(64)",
    ),
    (
        "signals",
        "import signal",
        "signal.alarm(100)",
        "signal.getitimer(signal.ITIMER_REAL) > (0.0, 0.0)",
        "signal.ITIMER_REAL",
    ),
    (
        "signals",
        "import signal; signal.signal(signal.SIGPROF, print)",
        "signal.setitimer(signal.ITIMER_PROF, 100)",
        "signal.getitimer(signal.ITIMER_PROF) > (0.0, 0.0)",
        "signal.ITIMER_PROF",
    ),
    (
        "signals",
        "import signal",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [12])",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [])",
        "signal.pthread_sigmask()",
    ),
    (
        "signals",
        "import signal, socket; a, b = socket.socketpair(); b.setblocking(False)",
        "signal.set_wakeup_fd(b.fileno())",
        "((old := signal.set_wakeup_fd(-1)), signal.set_wakeup_fd(old))[0]",
        "signal.set_wakeup_fd()",
    ),
    (
        "limits",
        "import resource; files = resource.getrlimit(resource.RLIMIT_NOFILE)",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (99, files[1]))",
        "resource.getrlimit(resource.RLIMIT_NOFILE)",
        "resource.RLIMIT_NOFILE",
    ),
    (
        "socket_timeout",
        "import socket",
        "socket.setdefaulttimeout(3)",
        "socket.getdefaulttimeout()",
        "socket.getdefaulttimeout()",
    ),
    ("gc", "import gc", "gc.disable()", "gc.isenabled()", "gc.isenabled()"),
    (
        "gc",
        "import gc",
        "gc.set_threshold(5, 6, 7); gc.callbacks.append(lambda *_: None)",
        "gc.get_threshold(), len(gc.callbacks)",
        "gc.get_threshold()",
    ),
    ("gc", "import gc; gc.unfreeze()", "gc.freeze()", "gc.get_freeze_count() > 0", "gc.get_freeze_count()"),
    ("gc", "import gc", "gc.set_debug(gc.DEBUG_COLLECTABLE)", "gc.get_debug()", "gc.get_debug()"),
    ("tempfile", "import tempfile", "tempfile.tempdir = '/'", "tempfile.tempdir", "tempfile.tempdir"),
    (
        "asyncio_policy",
        "import asyncio",
        "asyncio.events._event_loop_policy = object()",
        "asyncio.events._event_loop_policy",
        "asyncio._event_loop_policy",
    ),
    (
        "asyncio_policy",
        "import asyncio, asyncio.events as e\nif e._event_loop_policy is None: e._init_event_loop_policy()",
        "loop = asyncio.new_event_loop(); asyncio.set_event_loop(loop); loop.close()",
        "vars(e._event_loop_policy._local).get('_loop')",
        "asyncio.get_event_loop()['_loop']",
    ),
    (
        "threading_hooks",
        "import threading",
        "threading.settrace(print); threading.stack_size(1 << 20); threading.excepthook = print",
        "threading._trace_hook, threading.stack_size(), threading.excepthook",
        "threading.excepthook",
    ),
    (
        "faulthandler",
        "import faulthandler; faulthandler.disable()",
        "faulthandler.enable(open('/dev/null', 'w'))",
        "faulthandler.is_enabled()",
        "faulthandler.is_enabled()",
    ),
    ("csv", "import csv", "csv.field_size_limit(9)", "csv.field_size_limit()", "csv.field_size_limit()"),
    (
        "csv",
        "import csv",
        "csv.register_dialect('mine'); csv.register_dialect('excel', delimiter=';'); csv.unregister_dialect('unix')",
        "sorted(csv.list_dialects()), csv.get_dialect('excel').delimiter",
        "csv.get_dialect['mine']",
    ),
    (
        "calendar",
        "import calendar",
        "calendar.setfirstweekday(6)",
        "calendar.firstweekday()",
        "calendar.firstweekday()",
    ),
    (
        "zoneinfo",
        "import zoneinfo",
        "zoneinfo.reset_tzpath(['/nowhere'])",
        "zoneinfo._tzpath.TZPATH",
        "zoneinfo.TZPATH",
    ),
    (
        "ssl",
        "import ssl",
        "ssl._create_default_https_context = ssl._create_unverified_context",
        "ssl._create_default_https_context.__name__",
        "ssl._create_default_https_context",
    ),
    (
        "url_opener",
        "import urllib.request",
        "urllib.request.install_opener(print)",
        "urllib.request._opener",
        "urllib.request._opener",
    ),
    (
        "xml_namespaces",
        "import xml.etree.ElementTree as E",
        "E.register_namespace('p', 'urn:p')",
        "E._namespace_map.copy()",
        "xml.etree.ElementTree._namespace_map['urn:p']",
    ),
    (
        "email_charsets",
        "import email.charset as c",
        "c.add_charset('utf-8', c.SHORTEST, None, 'utf-8')",
        "c.CHARSETS['utf-8']",
        "email.charset.CHARSETS['utf-8']",
    ),
    (
        "mimetypes",
        "import mimetypes; mimetypes.init()",
        "mimetypes.add_type('x/y', '.zzz')",
        "mimetypes.guess_type('a.zzz')",
        "mimetypes.types_map['.zzz']",
    ),
    (
        "gettext",
        "import gettext",
        "gettext.textdomain('d'); gettext.bindtextdomain('d', '/')",
        "gettext.textdomain(), gettext.bindtextdomain('d')",
        "gettext._current_domain",
    ),
    (
        "archive_formats",
        "import shutil",
        "shutil.register_archive_format('q', print)",
        "shutil.get_archive_formats()",
        "shutil._ARCHIVE_FORMATS['q']",
    ),
    (
        "copyreg",
        "import copyreg\ndef f(x): return 0\nf.__module__ = '__main__'\nclass C: pass",
        "copyreg.pickle(C, f)",
        "C in copyreg.dispatch_table",
        "copyreg.dispatch_table[<class '__main__.C'>]",
    ),
    (
        "sqlite_adapters",
        "import sqlite3",
        "sqlite3.register_converter('q', print)",
        "'Q' in sqlite3.converters",
        "sqlite3.converters['Q']",
    ),
    (
        "start_method",
        "import multiprocessing as m",
        "m.set_start_method('spawn', force=True)",
        "type(m.context._default_context._actual_context).__name__",
        "multiprocessing.get_start_method()",
    ),
    (
        "stdlib_patches",
        "import builtins",
        "builtins.round = 3; builtins.mine = 4; del builtins.sorted",
        "round, getattr(builtins, 'mine', 0), hasattr(builtins, 'sorted')",
        "builtins.round",
    ),
]


def in_child(function: Callable[[], Any]) -> None:
    """Run a test in a forked child, and fail with what it said."""
    reader, writer = FORK.Pipe(duplex=False)

    def run() -> None:
        try:
            function()
        except BaseException:
            writer.send(traceback.format_exc())
        else:
            writer.send("")

    child = FORK.Process(target=run)
    child.start()
    writer.close()
    try:
        said = reader.recv()
    except EOFError:
        said = "the child died"
    child.join()
    if said:
        pytest.fail(said, pytrace=False)


def named(name: str) -> Any:
    return getattr(presets, name)


def labels(cases: list[Any]) -> list[str]:
    return [f"{case[0]}-{number}" for number, case in enumerate(cases)]


@pytest.mark.parametrize("case", CASES, ids=labels(CASES))
@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_put_back(case: Case, together: bool) -> None:
    name, before, task, look, path = case
    if name == "int_max_str_digits" and not hasattr(sys, "set_int_max_str_digits"):
        pytest.skip("not in this Python")

    def run() -> None:
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(before, space)
        preset = ProcessState() if together else named(name)
        first = eval(look, space)
        state = preset.capture()
        assert preset.differences(state) == []
        for _ in range(2):  # also after it was put back once
            exec(task, space)
            assert eval(look, space) != first
            found = {where: (old, new) for where, old, new in preset.differences(state)}
            assert path in found if path else not found, found
            preset.restore(state)
            assert eval(look, space) == first
            assert preset.differences(state) == []

    in_child(run)


def test_every_preset_is_tested() -> None:
    assert {case[0] for case in CASES} | {"numpy", "pandas", "matplotlib"} == {preset.name for preset in ALL}


@pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.name)
def test_public_face(preset: Preset) -> None:
    assert getattr(presets, preset.name) is preset
    assert preset.name in presets.__all__
    assert isinstance(preset, Resetter)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(preset, protocol)) is preset
    assert copy.deepcopy(preset) is preset
    assert repr(preset).startswith(f"<preset {preset.name}: ")
    assert len(repr(preset)) > len(f"<preset {preset.name}: >")


def test_all_is_sorted_and_complete() -> None:
    assert presets.ALL[0] is presets.stdlib_patches
    assert len({preset.name for preset in ALL}) == len(ALL)
    assert {name for name in presets.__all__ if isinstance(named(name), Preset)} == {preset.name for preset in ALL}


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_nothing_is_read_where_nothing_changed(together: bool) -> None:
    def run() -> None:
        for case in CASES:
            exec(case[1].partition("\n")[0].partition(";")[0], {})  # everything is loaded
        state = [(preset, preset.capture()) for preset in ALL]
        bundle = ProcessState()
        whole = bundle.capture()
        called: list[str] = []
        Preset.put_back = lambda self, state: called.append(self.name)  # type: ignore[method-assign]
        type(presets.stdlib_patches).put_back = Preset.put_back  # type: ignore[method-assign]
        for _ in range(3):
            if together:
                bundle.restore(whole)
            else:
                for preset, one in state:
                    preset.restore(one)
        assert called == []
        os.environ["X_CHANGED"] = "1"
        bundle.restore(whole)
        assert called == ["environ"]

    in_child(run)


# -- what cannot be undone ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
@pytest.mark.parametrize(
    ("name", "before", "task", "words"),
    [
        (
            "limits",
            "import resource",
            "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); resource.setrlimit(resource.RLIMIT_NOFILE, (90, 90))",
            "resource.RLIMIT_",
        ),
        ("streams", "import sys; sys.stdout = open('/dev/null', 'w')", "sys.stdout.close()", "sys.stdout"),
    ],
)
def test_cannot_be_undone(name: str, before: str, task: str, words: str, together: bool) -> None:
    def run() -> None:
        if name == "limits" and os.getuid() == 0:
            import resource

            real = resource.setrlimit
            resource.setrlimit = lambda which, limit: _refuse_to_raise(real, resource, which, limit)
        space: dict[str, Any] = {}
        exec(before, space)
        preset = ProcessState([p for p in ALL if p.name != "stdlib_patches"]) if together else named(name)
        state = preset.capture()
        exec(task, space)
        os.environ["X_TOO"] = "1"
        with pytest.raises(errors.ResetError, match=words) as caught:
            preset.restore(state)
        assert "cannot be put back" in str(caught.value)
        assert not together or "X_TOO" not in os.environ  # everything else was

    in_child(run)


@pytest.mark.parametrize("instead", [None, Path.touch, lambda path: path.symlink_to(path)])
@pytest.mark.parametrize("moves", [False, True])
def test_a_working_directory_that_is_gone(moves: bool, instead: Callable[[Path], None] | None, tmp_path: Path) -> None:
    """Whoever was there is nowhere, and so is who is put back; when it is there again, so is he."""

    def run() -> None:
        here = tmp_path / "here"
        here.mkdir()
        os.chdir(here)
        state = named("cwd").capture()
        if moves:
            os.chdir("/")
        here.rmdir()
        if instead:
            instead(here)
        for _ in range(2):
            named("cwd").restore(state)
            with pytest.raises(FileNotFoundError):
                os.getcwd()
        here.unlink(missing_ok=True)
        here.mkdir()
        named("cwd").restore(state)
        assert os.getcwd() == str(here)

    in_child(run)


def _refuse_to_raise(real: Any, resource: Any, which: int, limit: tuple[int, int]) -> None:
    """As the system does for anybody but root."""
    if not 0 <= limit[1] <= (resource.getrlimit(which)[1] & (2**64 - 1)):
        raise ValueError("not allowed to raise maximum limit")
    real(which, limit)


def test_a_handler_that_is_not_pythons() -> None:
    def run() -> None:
        import signal

        state = presets.signals.capture()
        state.values["signal.getsignal(12)"] = None  # what Python says of one that was there before it started
        presets.signals.arm(state)
        signal.signal(12, signal.SIG_IGN)
        with pytest.raises(errors.ResetError, match="signal 12"):
            presets.signals.restore(state)

    in_child(run)


def test_a_directory_that_is_there_again_under_its_name() -> None:
    def run() -> None:
        with tempfile.TemporaryDirectory() as place:
            home = os.path.join(os.path.realpath(place), "home")
            os.mkdir(home)
            os.chdir(home)
            state = presets.cwd.capture()
            os.rmdir(home)
            os.mkdir(home)
            presets.cwd.restore(state)
            assert os.getcwd() == home
            os.chdir("/")

    in_child(run)


# -- modules that come later -------------------------------------------------------------------------------------------

LATE = """
import os, sys
from poolsafe.isolation.process_state import ProcessState
names = set(sys.modules)
both = ProcessState(), ProcessState([p for p in ProcessState().presets if p.name in ("decimal", "limits")])
states = [one.capture() for one in both]
import decimal, locale, logging, tempfile, csv, calendar, zoneinfo, ssl, gettext, mimetypes, shutil, resource, sqlite3
import socket, asyncio, urllib.request, email.charset, xml.etree.ElementTree as tree
files = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, files[1]))
decimal.getcontext().prec = 3; decimal.DefaultContext.prec = 4; decimal.BasicContext.traps[decimal.Inexact] = True
locale.setlocale(locale.LC_TIME, "C.UTF-8")
logging.basicConfig(level=1); logging.getLogger("x").setLevel(3); logging.disable(40); logging.addLevelName(20, "NOTE")
tempfile.tempdir = "/"; csv.field_size_limit(7); csv.register_dialect("d"); calendar.setfirstweekday(3)
zoneinfo.reset_tzpath(["/nowhere"]); ssl._create_default_https_context = None; gettext.textdomain("d")
mimetypes.init(); mimetypes.add_type("x/y", ".zzz"); shutil.register_archive_format("q", print)
socket.setdefaulttimeout(4); asyncio.events._event_loop_policy = 3; urllib.request._opener = 4
email.charset.CHARSETS.clear(); tree.register_namespace("p", "urn:p"); sqlite3.register_converter("q", print)
assert len(both[0].differences(states[0])) >= 18, both[0].differences(states[0])
for one, state in zip(both, states):
    one.restore(state)
assert both[0].differences(states[0]) == [], both[0].differences(states[0])
assert resource.getrlimit(resource.RLIMIT_NOFILE) == files
assert decimal.getcontext().prec == decimal.DefaultContext.prec == 28
assert not decimal.BasicContext.traps[decimal.Inexact] and decimal.BasicContext.rounding == "ROUND_HALF_UP"
assert locale.setlocale(locale.LC_TIME) == "C"
assert logging.root.handlers == [] and logging.root.level == 30 and logging.getLogger("x").level == 0
assert logging.root.manager.disable == 0 and logging.getLevelName(20) == "INFO"
assert tempfile.tempdir is None and csv.field_size_limit() == 131072
assert sorted(csv.list_dialects()) == ["excel", "excel-tab", "unix"]
assert calendar.firstweekday() == 0 and zoneinfo._tzpath.TZPATH != ("/nowhere",)
assert ssl._create_default_https_context is ssl.create_default_context and gettext.textdomain() == "messages"
assert mimetypes.guess_type("a.zzz")[0] is None and mimetypes.guess_type("a.html")[0] == "text/html"
assert "q" not in dict(shutil.get_archive_formats()) and "zip" in dict(shutil.get_archive_formats())
assert socket.getdefaulttimeout() is None and asyncio.events._event_loop_policy is None
assert urllib.request._opener is None
assert email.charset.Charset("utf-8").body_encoding == email.charset.BASE64
assert "urn:p" not in tree._namespace_map and "Q" not in sqlite3.converters and "DATE" in sqlite3.converters
print(*names)
"""


#: A measured program has loaded some modules before its first line.
MEASURED = "coverage" in sys.modules


def test_modules_that_a_task_imports() -> None:
    done = run_python("-c", LATE)
    assert done.returncode == 0, done.stderr
    early = {"decimal", "logging", "csv", "calendar", "mimetypes"} & set(done.stdout.split())
    assert MEASURED or not early, "else it proves nothing"


KNOWN_DEFAULTS = """
import sys, importlib
from poolsafe.isolation.process_state import ALL
from poolsafe.isolation.preset import same, _inside
loaded = set(sys.modules)
for preset in ALL:
    if preset.name in ("numpy", "pandas", "matplotlib", "stdlib_patches") or preset.module in loaded:
        continue
    importlib.import_module(preset.module)
    values, defaults = preset.read(), preset.defaults()
    for path in {**values, **defaults}:
        if path.startswith("logging.getLogger("):  # of other modules
            continue
        assert same(values.get(path), defaults.get(path)), (path, values.get(path), defaults.get(path))
    print(preset.name)
"""


def test_known_defaults_are_those_of_this_python() -> None:
    done = run_python("-c", KNOWN_DEFAULTS)
    assert done.returncode == 0, done.stderr
    expected = {"ssl", "xml_namespaces"} if MEASURED else {"decimal", "logging", "csv", "ssl", "xml_namespaces"}
    assert expected <= set(done.stdout.split())


def test_an_import_that_is_told_of() -> None:
    def run() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("calendar", "csv", "_csv")]:
            del sys.modules[name]
        together = ProcessState()
        state = together.capture()
        import calendar

        together.imported(state)
        calendar.setfirstweekday(2)
        together.restore(state)
        assert calendar.firstweekday() == 0

    in_child(run)


def test_what_an_import_does_stays() -> None:
    def run() -> None:
        together = ProcessState()
        import builtins
        import logging

        logger = logging.getLogger("one")
        state = together.capture()
        os.environ["X_TASK"] = "1"
        sys.path.append("/of/the/task")
        logger.setLevel(5)
        logging.disable(5)
        builtins.round = print
        before = together.look()
        logging.getLogger("two").setLevel(6)
        os.environ["X_IMPORT"] = "1"
        sys.path.insert(0, "/of/the/import")
        together.absorb(state, before)
        sys.path.append("/of/the/task/too")
        together.restore(state)
        assert "X_TASK" not in os.environ
        assert os.environ["X_IMPORT"] == "1"
        assert sys.path[0] == "/of/the/import"
        assert (logger.level, logging.root.manager.disable, logging.getLogger("two").level) == (0, 0, 6)
        assert round is not print
        assert not [path for path in sys.path if path.startswith("/of/the/task")]

    in_child(run)


# -- patched standard modules ------------------------------------------------------------------------------------------

PROJECT = """
import json
import textwrap

def task():
    import random
    patch("colorsys.rgb_to_hls")

class Base:
    @staticmethod
    def other():
        import bisect
"""


def test_patches_of_a_module_that_the_project_comes_to_refer_to() -> None:
    def run() -> None:
        import bisect

        state = presets.stdlib_patches.capture()
        first = bisect.insort
        bisect.insort = print
        make_module("late_app", "import bisect", Path("/project/late_app.py"))
        presets.stdlib_patches.restore(state)
        assert bisect.insort is first

    in_child(run)


def test_patches_of_modules_that_the_project_refers_to() -> None:
    def run() -> None:
        import bisect
        import colorsys
        import json
        import random
        import textwrap

        make_module("patched_app", PROJECT, Path("/project/patched_app.py"))
        preset = presets.stdlib_patches
        state = preset.capture()
        first = json.dumps, random.random, colorsys.rgb_to_hls, bisect.insort, textwrap.dedent
        for _ in range(2):
            json.dumps = json.added = random.random = colorsys.rgb_to_hls = bisect.insort = textwrap.dedent = print
            del json.loads
            random.BPF = 99
            found = {path for path, _, _ in preset.differences(state)}
            assert {"json.dumps", "json.added", "json.loads", "random.random", "random.BPF", "bisect.insort"} <= found
            preset.restore(state)
            assert (json.dumps, random.random, colorsys.rgb_to_hls, bisect.insort, textwrap.dedent) == first
            assert (hasattr(json, "added"), json.loads("1"), random.BPF) == (False, 1, 53)
            assert preset.differences(state) == []

    in_child(run)


def test_builtins_that_putting_back_needs() -> None:
    def run() -> None:
        import builtins

        for resetter in (presets.stdlib_patches, ProcessState()):
            state = resetter.capture()
            kept = vars(builtins).copy()
            for name in ("isinstance", "len", "next", "type", "list", "dict", "getattr", "zip", "sorted", "Exception"):
                setattr(builtins, name, None)
            resetter.restore(state)
            assert vars(builtins) == kept

    in_child(run)


def test_lazy_state_of_a_module_is_its_own() -> None:
    def run() -> None:
        import locale
        import mimetypes
        import xml

        make_module("lazy_app", "import mimetypes, locale, xml, sys", Path("/project/lazy_app.py"))
        mimetypes.inited, mimetypes._db = False, None
        for name in [name for name in sys.modules if name.startswith("xml.sax")]:
            del sys.modules[name]
        vars(xml).pop("sax", None)
        preset = presets.stdlib_patches
        state = preset.capture()
        mimetypes.init()
        sys.last_value = ValueError()
        import xml.sax

        assert preset.differences(state) == []
        preset.restore(state)
        assert mimetypes.inited
        assert xml.sax.handler
        assert type(sys.last_value) is ValueError
        assert locale

    in_child(run)


def test_exchanged_modules() -> None:
    def run() -> None:
        import json

        module = make_module("exchanged_app", "import json", Path("/project/exchanged_app.py"))
        state = presets.stdlib_patches.capture()
        sys.modules["json"] = sys.modules["exchanged_app"] = object()  # type: ignore[assignment]
        assert [path for path, _, _ in presets.stdlib_patches.differences(state)] == [
            "sys.modules['exchanged_app']",
            "sys.modules['json']",
        ]
        presets.stdlib_patches.restore(state)
        assert sys.modules["json"] is json
        del sys.modules["json"], sys.modules["exchanged_app"]
        presets.stdlib_patches.restore(state)
        assert sys.modules["json"] is json
        assert sys.modules["exchanged_app"] is module

    in_child(run)


# -- details -----------------------------------------------------------------------------------------------------------


def test_finders_of_libraries_stay() -> None:
    def run() -> None:
        import importlib.abc

        class Foreign(importlib.abc.MetaPathFinder):
            pass

        class Own(importlib.abc.MetaPathFinder):
            pass

        Foreign.__module__, Own.__module__ = "importlib.abc", "__main__"
        state = presets.import_system.capture()
        foreign, own = Foreign(), Own()
        sys.meta_path[:0] = [own, foreign]
        presets.import_system.restore(state)
        assert sys.meta_path[0] is not own
        assert foreign in sys.meta_path
        assert own not in sys.meta_path

    in_child(run)


def test_a_lying_equality_hides_nothing() -> None:
    class Liar:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = object.__hash__

    def run() -> None:
        together = ProcessState()
        state = together.capture()
        first = sys.stdout
        sys.stdout = Liar()  # type: ignore[assignment]
        assert "sys.stdout" in {path for path, _, _ in together.differences(state)}
        together.restore(state)
        assert sys.stdout is first

    in_child(run)


def test_warnings_that_were_given_once_are_given_again() -> None:
    def run() -> None:
        import warnings

        shown: list[object] = []
        registry: dict[Any, Any] = {}
        warnings.resetwarnings()
        warnings.simplefilter("default")
        warnings.showwarning = lambda message, *_, **__: shown.append(message)
        state = presets.warnings.capture()
        for _ in range(2):
            for _ in range(2):
                warnings.warn_explicit("x", UserWarning, "file", 1, registry=registry)
            warnings.simplefilter("ignore")
            presets.warnings.restore(state)
        assert len(shown) == 2

    in_child(run)


def test_a_silent_handler_of_a_library_stays() -> None:
    def run() -> None:
        import logging

        state = presets.logging.capture()
        logging.getLogger("library").addHandler(logging.NullHandler())
        presets.logging.restore(state)
        assert len(logging.getLogger("library").handlers) == 1
        assert presets.logging.differences(state) == []

    in_child(run)


def test_a_file_handler_keeps_the_file_that_it_opened(tmp_path: Any) -> None:
    def run() -> None:
        import logging

        logger = logging.getLogger("filed")
        logger.addHandler(logging.FileHandler(tmp_path / "log", delay=True))
        state = presets.logging.capture()
        logger.error("one")
        presets.logging.restore(state)
        logger.error("two")
        assert (tmp_path / "log").read_text() == "one\ntwo\n"

    in_child(run)


def test_everything_again_in_another_thread() -> None:
    def run() -> None:
        import threading

        failed: list[BaseException] = []

        def capture() -> None:
            try:
                together = ProcessState()
                state = together.capture()
                os.environ["X_THREAD"] = "1"
                together.restore(state)
                assert "X_THREAD" not in os.environ
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=capture)
        thread.start()
        thread.join()
        assert failed == []

    in_child(run)


def test_limits_are_read_where_nothing_can_be_imported() -> None:
    """As in the middle of an import; in development mode CPython looks up most codecs, though it needs none."""
    code = "from poolsafe.isolation import system; import sys; sys.meta_path.clear(); print(system._limits_text())"
    done = run_python("-X", "dev", "-c", code)
    assert done.returncode == 0, done.stderr
    assert ("open files" in done.stdout) == os.path.exists("/proc/self/limits")
