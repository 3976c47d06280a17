"""Structure as data: which module may import which, what a worker may load, how long a file may be.

A new module of the package must be entered in `LAYERS`: deciding where it stands is part of writing it.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import poolsafe
from tests.support.scripts import ROOT, run_python

SRC = Path(poolsafe.__file__).parent

#: Every module has its layer. Inside a layer imports are free, as long as they make no circle.
LAYERS: dict[str, set[str]] = {
    "package": {"__init__"},
    "errors": {"errors", "later"},
    # What is put back, and how; needs no process.
    "isolation": {
        "isolation",
        "isolation.arrivals",
        "isolation.import_watch",
        "isolation.baseline",
        "isolation.compare",
        "isolation.contents",
        "isolation.costs",
        "isolation.differences",
        "isolation.guard",
        "isolation.interpreter",
        "isolation.iterators",
        "isolation.kinds",
        "isolation.leaks",
        "isolation.library",
        "isolation.links",
        "isolation.logs",
        "isolation.modules",
        "isolation.packages",
        "isolation.patches",
        "isolation.places",
        "isolation.preset",
        "isolation.process_state",
        "isolation.registries",
        "isolation.routes",
        "isolation.sameness",
        "isolation.scopes",
        "isolation.seeds",
        "isolation.shapes",
        "isolation.snapshot",
        "isolation.surroundings",
        "isolation.system",
        "isolation.targets",
        "isolation.texts",
        "isolation.walk",
    },
    # What decides; needs nothing.
    "core": {"engine.state", "engine.ledger", "engine.recovery", "engine.cancelling", "engine.core"},
    # What a worker runs.
    "worker": {
        "engine",
        "engine.fds",
        "engine.messages",
        "engine.page",
        "engine.memory",
        "engine.outbox",
        "engine.stderr",
        "engine.setup",
        "engine.ends",
        "engine.imports",
        "engine.lifeline",
        "engine.signals",
        "engine.telling",
        "engine.child",
        "engine.boot",
        "engine.ear",
        "engine.offspring",
        "engine.template",
    },
    # Queues that pass to tasks; both sides, for what is the owner here may be a client there.
    "queues": {
        "queues",
        "queues.actor",
        "queues.carried",
        "queues.carry",
        "queues.choice",
        "queues.clients",
        "queues.dial",
        "queues.face",
        "queues.forks",
        "queues.guest",
        "queues.hub",
        "queues.link",
        "queues.maker",
        "queues.primitives",
        "queues.sender",
        "queues.store",
        "queues.travel",
        "queues.wire",
    },
    # What the parent's side of the engine consists of.
    "parent": {
        "engine.latch",
        "engine.timers",
        "engine.registry",
        "engine.reports",
        "engine.poller",
        "engine.channels",
        "engine.beginning",
        "engine.starting",
        "engine.pages",
        "engine.workers",
        "engine.recipe",
        "engine.crew",
        "engine.intake",
        "engine.tally",
        "engine.mortuary",
        "engine.starvation",
        "engine.watchdog",
        "engine.delivery",
        "engine.deadlines",
        "engine.collapse",
        "engine.supervisor",
    },
    # What users hold in their hands.
    "surface": {
        *(
            "deaths",
            "failures",
            "callbacks",
            "results",
            "iterators",
            "submission",
            "calls",
            "leaks",
            "watching",
            "options",
        ),
        *("stats", "machinery", "pool", "presets", "alike", "verdict", "verification"),
    },
    "command": {"demo", "audit", "_audited", "_audited.hook", "_audited.pools", "_audited.sitecustomize", "__main__"},
}

#: Layer -> the layers below it that its modules may import from. Imports for type checkers alone are not counted.
MAY_IMPORT: dict[str, set[str]] = {
    "package": set(),
    "errors": set(),
    "isolation": {"errors"},
    "core": set(),
    "worker": set(),
    "queues": {"errors", "worker"},
    "parent": {"errors", "core", "worker"},
    "surface": {"errors", "isolation", "core", "worker", "queues", "parent"},
    "command": {"package", "surface"},
}

LAYER_OF = {module: layer for layer, members in LAYERS.items() for module in members}

#: The pure core decides; whoever needs the world around it does not belong there.
WORLD = {"os", "threading", "time", "select", "selectors", "socket", "signal", "subprocess", "multiprocessing"}

#: What a worker may load beyond what any child of multiprocessing that was handed a pipe has.
WORKER_MODULES = {
    "poolsafe",
    *(f"poolsafe.{module}" for module in LAYERS["isolation"] | LAYERS["worker"] | LAYERS["errors"]),
    *("__future__", "mmap", "gc", "_pickle", "pickle", "_compat_pickle", "_struct", "struct", "copyreg", "fcntl"),
    "faulthandler",
    *("importlib", "importlib._bootstrap", "importlib._bootstrap_external"),
    *("typing", "typing.io", "typing.re", "_typing"),
    *("contextvars", "_contextvars"),
}
#: What the class itself consists of.
INTERFACE = {"poolsafe.pool", "poolsafe.calls", "poolsafe.queues", "poolsafe.queues.maker"}


def modules() -> list[str]:
    names = []
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "__init__")
    return names


def path_of(name: str) -> Path:
    if name == "__init__":
        return SRC / "__init__.py"
    plain = SRC.joinpath(*name.split("."))
    return plain / "__init__.py" if plain.is_dir() else plain.with_suffix(".py")


def tree_of(name: str) -> ast.Module:
    tree = ast.parse(path_of(name).read_text(encoding="utf-8"))

    class DropTyping(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            self.generic_visit(node)
            return node.orelse if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING") else node

    return DropTyping().visit(tree)


def package_of(name: str) -> list[str]:
    """The package that relative imports of *name* start from, without the leading 'poolsafe'."""
    parts = [] if name == "__init__" else name.split(".")
    return parts if path_of(name).name == "__init__.py" else parts[:-1]


def imported(name: str) -> set[str]:
    """Full names of the modules that *name* imports anywhere, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _base(name, node)
            # `from package import module` imports the module; anything else comes out of the package itself.
            found |= {_join(base, alias.name) if is_ours(_join(base, alias.name)) else base for alias in node.names}
    return found


def _base(name: str, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    package = ["poolsafe", *package_of(name)]
    return ".".join(package[: len(package) - node.level + 1] + ([node.module] if node.module else []))


def _join(base: str, name: str) -> str:
    return f"{base}.{name}"


def is_ours(name: str) -> bool:
    return name.removeprefix("poolsafe.") in modules() and name.startswith("poolsafe.")


def own_imports(name: str) -> set[str]:
    ours = {m.removeprefix("poolsafe.") for m in imported(name) if m.split(".")[0] == "poolsafe"}
    return {"__init__" if m == "poolsafe" else m for m in ours}


def test_every_module_has_its_layer() -> None:
    assert sorted(LAYER_OF) == sorted(modules())
    assert sum(map(len, LAYERS.values())) == len(LAYER_OF), "a module stands in two layers"


@pytest.mark.parametrize("name", modules())
def test_imports_go_down(name: str) -> None:
    allowed = {LAYER_OF[name]} | MAY_IMPORT[LAYER_OF[name]]
    assert not {used for used in own_imports(name) if LAYER_OF.get(used) not in allowed}


@pytest.mark.parametrize(
    "graph", [MAY_IMPORT, {name: own_imports(name) for name in modules()}], ids=["layers", "modules"]
)
def test_nothing_goes_in_circles(graph: dict[str, set[str]]) -> None:
    left = dict(graph)
    while left:
        leaves = [name for name, uses in left.items() if not uses & left.keys()]
        assert leaves, f"these import each other: {sorted(left)}"
        for name in leaves:
            del left[name]


def test_every_allowed_direction_is_used() -> None:
    used: dict[str, set[str]] = {layer: set() for layer in LAYERS}
    for name in modules():
        used[LAYER_OF[name]] |= {LAYER_OF[other] for other in own_imports(name)} - {LAYER_OF[name]}
    assert used == MAY_IMPORT


@pytest.mark.parametrize("name", sorted(LAYERS["core"]))
def test_core_is_pure(name: str) -> None:
    assert not {used.split(".")[0] for used in imported(name)} & WORLD


BARE_AND_REAL = """
import json, multiprocessing, sys

def loaded():
    return sorted(sys.modules)

def write(path, end):
    with open(path, "w") as file:
        json.dump(loaded(), file)

if __name__ == "__main__":
    ctx = multiprocessing.get_context("spawn")
    end, other = ctx.Pipe()
    bare = ctx.Process(target=write, args=(sys.argv[1], end))
    bare.start(), bare.join()
    from poolsafe import IsolatedPool  # here, not above: spawn runs the head of this script in the worker
    with IsolatedPool(1, context=ctx) as pool:
        print(json.dumps([json.load(open(sys.argv[1])), pool.apply(loaded)]))
"""


def test_worker_stays_light(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(BARE_AND_REAL)
    done = run_python(script, tmp_path / "bare.json")
    assert done.returncode == 0, done.stderr
    bare, real = map(set, json.loads(done.stdout))
    assert "poolsafe.engine.child" in real
    assert real - bare <= WORKER_MODULES


CLASS_ABOVE = """
import json, multiprocessing, sys
import multiprocessing.pool
from poolsafe import IsolatedPool

def loaded():
    return sorted(sys.modules)

if __name__ == "__main__":
    with IsolatedPool(1, context=multiprocessing.get_context(sys.argv[1])) as pool:
        print(json.dumps(pool.apply(loaded)))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_worker_whose_main_module_imports_the_pool_is_light_as_well(tmp_path: Path, method: str) -> None:
    """As most programs do: the class comes without what pools are made of."""
    script = tmp_path / "script.py"
    script.write_text(CLASS_ABOVE)
    done = run_python(script, method)
    assert done.returncode == 0, done.stderr
    ours = {name for name in json.loads(done.stdout) if name.startswith("poolsafe")}
    assert "poolsafe.pool" in ours
    assert ours - WORKER_MODULES == INTERFACE
    assert not {"dataclasses", "logging", "hashlib"} & set(json.loads(done.stdout))


@pytest.mark.parametrize("name", modules())
def test_no_file_is_too_long(name: str) -> None:
    assert len(path_of(name).read_text(encoding="utf-8").splitlines()) <= 350


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is(name: str) -> None:
    tree = ast.parse(path_of(name).read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    if len(tree.body) > 1:
        second = tree.body[1]
        assert isinstance(second, ast.ImportFrom)
        assert second.module == "__future__"


def test_every_test_folder_is_run() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r"^testpaths = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    assert match
    named = set(re.findall(r'"tests/(\w+)"', match[1])) | {"conformance"}  # run by name, see docs/contributing.md
    holding = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("*/**/test_*.py")}
    assert holding <= named
