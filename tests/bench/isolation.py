"""``python -m tests.bench.isolation``: what isolation costs each task, in one process and without a pool.

Who calls it: humans, by hand or by ``nox -s bench``. Each case is measured in an interpreter of its own by
``tests.bench.guarded``, over a project that is written for it; figures are medians of the repeats, over those of the
bare call. What may go wrong: other work on the machine. ``--check`` is therefore no part of the test suite.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
MODULES = ("orders", "prices", "people", "places", "reports")
NAMES = 200

#: A module of a project as there are many: 40 names, of which the tasks are the last.
MODULE = """
import functools, json, logging, os, re

log = logging.getLogger(__name__)
WORDS = re.compile("[a-z]+")
VERSION, LIMIT, RATE, TITLE, DEBUG, NOBODY = "1.2", 100, 0.25, "title", False, None
known, queue, seen, names, totals, options = {}, [], set(), ["a", "b"], {"all": 0}, {"mode": "fast", "tags": []}

class Entry:
    kinds = ["a", "b"]
    def __init__(self): self.items = []
    def add(self, item): self.items.append(item)

class Special(Entry):
    level = 1

class Failed(Exception):
    pass

entry = Entry()
table = {"first": Entry(), "second": [1, 2, 3]}
default = (1, 2, 3)

@functools.lru_cache
def load(name): return name

def read(path, seen=[]): return path
def write(path, text=""): return len(text)
def parse(text): return WORDS.findall(text)
def show(entry): return json.dumps(entry.items)
def total(items): return sum(items)
def find(name): return known.get(name)
def store(name, value): known[name] = value
def base(path): return os.path.basename(path)
def check(value): return value is not None
def make(): return Entry()
def scale(x): return x * RATE
def quiet(value): return value
def leaky(value): queue.append(value); totals["all"] += 1
def moving(value): os.environ["WHERE"] = "there"
"""

#: Another one of 40 names, that hold hardly anything.
PLAIN_MODULES = tuple(f"plain_{name}" for name in MODULES)
PLAIN_MODULE = "import json, logging, os, re\n\nqueue, known = [], {}\n" + "".join(
    f"NUMBER_{i} = {i}\ndef function_{i}(value): return value\n" for i in range(17)
)

#: What holds many objects to put back, by their kind.
MANY = {
    "lists": "[[i] for i in range({count})]",
    "dicts": "[{{'key': i}} for i in range({count})]",
    "sets": "[{{i}} for i in range({count})]",
    "instances": "[Thing(i) for i in range({count})]",
}
THING = "class Thing:\n    def __init__(self, value): self.value = value\n\nDATA = "


class Line(NamedTuple):
    """One line of the table.

    Attributes:
        name: What is measured.
        reset: What is put back.
        task: ``module:function``; nothing for one that returns its argument.
        figure: Makes the figure to show of the medians in microseconds: ``around``, ``resets``, ``watched``.
        unit: Of the figure.
        most: What it should be at most; None: shown only.
        watches: Whether leaks are watched for.
        modules: What the process has imported before.
    """

    name: str
    reset: str | Sequence[str]
    task: str
    figure: Callable[[dict[str, float]], float]
    unit: str = "us"
    most: float | None = None
    watches: bool = False
    modules: tuple[str, ...] = ()


def around(found: dict[str, float]) -> float:
    return found["around"]


def resets(found: dict[str, float]) -> float:
    return found["resets"]


def watching(found: dict[str, float]) -> float:
    return (found["watched"] - found["resets"]) / found["resets"]


def per_thousand(count: int) -> Callable[[dict[str, float]], float]:
    return lambda found: found["resets"] / count * 1000


LINES = [
    Line("one small global", "small:declared", "", resets, most=0.5),
    Line("... all around a task", "small:declared", "", around),
    Line("auto, 200 names of all sorts", "auto", "orders:quiet", resets, most=10, modules=MODULES),
    Line("... its modules alone", MODULES, "orders:quiet", resets, modules=MODULES),
    Line("... the process alone", "presets", "orders:quiet", resets, modules=MODULES),
    Line("... all around a task", "auto", "orders:quiet", around, modules=MODULES),
    Line("... that changes globals", "auto", "orders:leaky", around, modules=MODULES),
    Line("... that changes os.environ", "auto", "orders:moving", around, modules=MODULES),
    Line("auto, 200 plain names", "auto", "", resets, most=10, modules=PLAIN_MODULES),
    Line("... its modules alone", PLAIN_MODULES, "", resets, modules=PLAIN_MODULES),
    *(
        Line(f"{count:,} {kind}, per 1,000", f"many_{kind}_{count}:DATA", "", per_thousand(count))
        for kind, counts in (("lists", (1_000, 10_000, 100_000)), ("dicts", (10_000,)), ("sets", (10_000,)),
                             ("instances", (1_000, 10_000, 100_000)))
        for count in counts
    ),
    Line("watching: one small global", "small:declared", "", watching, "x reset", 3, True),
    Line("watching: auto, nothing changed", "auto", "orders:quiet", watching, "x reset", 3, True, MODULES),
    Line("watching: auto, tasks that change", "auto", "orders:leaky", watching, "x reset", None, True, MODULES),
    Line("watching: 10,000 lists", "many_lists_10000:DATA", "", watching, "x reset", 3, True),
    Line("watching: 10,000 instances", "many_instances_10000:DATA", "", watching, "x reset", 3, True),
]  # fmt: skip


def write_project(folder: Path) -> None:
    """Write all modules that are measured, and what measures them, beside each other."""
    installed, project = folder / "site-packages", folder / "project"
    installed.mkdir()
    project.mkdir()
    shutil.copy(HERE / "guarded.py", installed)
    (project / "small.py").write_text("declared = ['haha']\n")
    for modules, text in ((MODULES, MODULE), (PLAIN_MODULES, PLAIN_MODULE)):
        space: dict[str, object] = {"__name__": "counted"}
        exec(text, space)
        assert len([name for name in space if not name.startswith("__")]) * len(modules) == NAMES
        for name in modules:
            (project / f"{name}.py").write_text(text)
    for line in LINES:
        module, _, kind_and_count = str(line.reset).partition(":")[0].partition("_")
        if module == "many":
            kind, _, count = kind_and_count.partition("_")
            text = MANY[kind].format(count=count)
            (project / f"many_{kind_and_count}.py").write_text(f"{THING}{text}\n")


def measure(line: Line, folder: Path, repeats: int) -> dict[str, float]:
    """Return the medians of the repeats."""
    paths = [str(folder / "site-packages"), str(folder / "project")]
    program = f"import sys; sys.path[:0] = {paths!r}; import guarded; guarded.main()"
    watch = "watch" if line.watches else ""
    arguments = [json.dumps(line.reset), line.task, str(repeats), watch, *line.modules]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{line.name}: {done.stderr}")
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.isolation", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15, help="measurements of each kind (default: %(default)s)")
    parser.add_argument("--only", default="", help="only lines whose name contains this text")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a declared figure is missed")
    options = parser.parse_args(argv)

    print(f"{'':34} {'figure':>10} {'unit':10} wanted")
    missed = []
    with tempfile.TemporaryDirectory(prefix="poolsafe-bench-") as folder:
        write_project(Path(folder))
        for line in LINES:
            if options.only not in line.name:
                continue
            figure = line.figure(measure(line, Path(folder), options.repeats))
            good = line.most is None or figure <= line.most
            wanted = "" if line.most is None else f"at most {line.most:g}{'' if good else '   MISSED'}"
            print(f"{line.name:34} {figure:10,.2f} {line.unit:10} {wanted}".rstrip(), flush=True)
            if not good:
                missed.append(line.name)
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
