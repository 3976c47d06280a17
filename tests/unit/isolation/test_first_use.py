"""What a module of the standard library fills at its first use is no task's doing; what a task does beyond it is told.

Every case runs in a forked child, since it changes what belongs to the process.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from poolsafe.isolation.process_state import ProcessState
from tests.unit.isolation.test_process_state import in_child, labels, named

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

Case = tuple[str, str, str, set[str]]
MIMETYPES = "import mimetypes; mimetypes.inited, mimetypes._db = False, None"
ASYNCIO = "import asyncio; asyncio.events._event_loop_policy = None\nasync def main(): pass\n"
URLLIB = "import urllib.request as u; u._opener = None"
PROXY = "\nimport os; os.environ['http_proxy'] = 'http://localhost:3'"
TEMPFILE = "import tempfile; tempfile.tempdir = None"
#: Preset, what comes before the capture, what a task does, and the paths that are told.
CASES: list[Case] = [
    ("tempfile", TEMPFILE, "tempfile.gettempdir()", set()),
    ("tempfile", TEMPFILE, "tempfile.TemporaryFile().close()", set()),
    ("tempfile", TEMPFILE, "tempfile.tempdir = '/elsewhere'", {"tempfile.tempdir"}),
    ("tempfile", TEMPFILE, "import os; tempfile.tempdir = os.getcwd()", {"tempfile.tempdir"}),
    ("tempfile", TEMPFILE, "tempfile.gettempdir(); tempfile.template = 'x'", {"tempfile.template"}),
    ("tempfile", TEMPFILE + "; tempfile.tempdir = '/elsewhere'", "tempfile.tempdir = '/tmp'", {"tempfile.tempdir"}),
    ("mimetypes", MIMETYPES, "mimetypes.guess_type('a.txt')", set()),
    ("mimetypes", MIMETYPES, "mimetypes.add_type('text/x-mine', '.mine')", {"mimetypes.types_map['.mine']"}),
    ("mimetypes", MIMETYPES, "mimetypes.add_type('text/x-mine', '.mine', False)", {"mimetypes.common_types['.mine']"}),
    ("mimetypes", MIMETYPES, "mimetypes.init(); mimetypes._db = 3", {"mimetypes._db"}),
    (
        "mimetypes",
        MIMETYPES,
        "mimetypes.init(); mimetypes.encodings_map['.z'] = 'z'",
        {"mimetypes.encodings_map['.z']"},
    ),
    (
        "mimetypes",
        MIMETYPES + "; mimetypes.init()",
        "mimetypes.suffix_map['.y'] = '.z'",
        {"mimetypes.suffix_map['.y']"},
    ),
    ("asyncio_policy", ASYNCIO, "asyncio.run(main())", set()),
    ("asyncio_policy", ASYNCIO + "asyncio.run(main())", "asyncio.run(main())", set()),
    (
        "asyncio_policy",
        ASYNCIO,
        "asyncio.set_event_loop(asyncio.new_event_loop())",
        {"asyncio.get_event_loop()['_loop']"},
    ),
    (
        "asyncio_policy",
        ASYNCIO + "class Mine(type(asyncio.get_event_loop_policy())): pass\nasyncio.events._event_loop_policy = None",
        "asyncio.set_event_loop_policy(Mine())",
        {"asyncio._event_loop_policy"},
    ),
    ("url_opener", URLLIB, "u.urlopen('file:' + __file__).close()", set()),
    ("url_opener", URLLIB, "u.install_opener(u.build_opener(u.HTTPCookieProcessor()))", {"urllib.request._opener"}),
    ("url_opener", URLLIB + PROXY, "u.urlopen('file:' + __file__).close()", set()),
    (
        "url_opener",
        URLLIB,
        "u.install_opener(u.build_opener(u.ProxyHandler({'http': 'x:1'})))",
        {"urllib.request._opener"},
    ),
    (
        "url_opener",
        URLLIB + PROXY,
        "u.install_opener(u.build_opener(u.ProxyHandler({'http': 'x:1'})))",
        {"urllib.request._opener"},
    ),
    (
        "url_opener",
        URLLIB + "\nimport ssl",
        "u.install_opener(u.build_opener(u.HTTPSHandler(context=ssl._create_unverified_context())))",
        {"urllib.request._opener"},
    ),
    ("url_opener", URLLIB, "o = u.build_opener(); o.addheaders = []; u.install_opener(o)", {"urllib.request._opener"}),
    ("decimal", "import decimal as d", "d.Decimal(1) / 3", set()),
    ("decimal", "import decimal as d", "d.Decimal(1) / 3; d.getcontext().prec = 5", {"decimal.getcontext().prec"}),
    ("decimal", "import decimal as d", "d.setcontext(d.Context()); d.Decimal(1) / 3", set()),
]


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
@pytest.mark.parametrize("case", CASES, ids=labels(CASES))
def test_what_goes_beyond_a_first_use_is_told(case: Case, together: bool) -> None:
    name, before, task, told = case

    def run() -> None:
        space: dict[str, Any] = {"__name__": "__main__", "__file__": __file__}
        exec(before, space)
        preset = ProcessState() if together else named(name)
        state = preset.capture()
        for _ in range(2):  # also after it was put back once
            exec(task, space)
            assert {path for path, _, _ in preset.differences(state)} == told
            preset.restore(state)
            assert preset.differences(state) == []

    in_child(run)
