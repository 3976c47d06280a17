"""The documentation: its examples are the files that are run, they print what it says, and the tests it names exist."""

from __future__ import annotations

import ast
import itertools
import multiprocessing as mp
import re
from itertools import pairwise
from pathlib import Path

import pytest

import poolsafe
from tests.support.blocks import blocks_of, run_script
from tests.support.leaving import KINDS, OPEN, SOMETIMES
from tests.support.scripts import ROOT, run_python

DOCS = ROOT / "docs"
#: Those of the audit are run by its own tests.
EXAMPLES = sorted(path for path in DOCS.glob("examples/*.py") if not path.name.startswith("audit_"))
PAGES = sorted(DOCS.glob("*.md"))


def examples_on(page: Path) -> dict[str, tuple[str, str]]:
    """Name of the file -> its code and its output, as the page shows them."""
    shown: dict[str, tuple[str, str]] = {}
    for block, after in pairwise(blocks_of(page)):
        link = re.search(r"\[`(\w+\.py)`\]\(examples/\1\)", block.lead)
        if block.language == "python" and link:
            assert after.language == "text", f"{page.name} must show what {link[1]} prints"
            shown[link[1]] = block.text, after.text
    return shown


SHOWN = {name: shown for page in ("tutorial", "how-to") for name, shown in examples_on(DOCS / f"{page}.md").items()}


def test_pages_are_complete() -> None:
    assert {page.stem for page in PAGES} == {
        "index", "tutorial", "how-to", "guarantees", "troubleshooting", "benchmarks", "architecture", "contributing",
    }  # fmt: skip


def test_every_example_is_on_a_page() -> None:
    assert sorted(SHOWN) == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_the_page_shows_the_file(name: str) -> None:
    source = (DOCS / "examples" / name).read_text(encoding="utf-8")
    body = source.split('"""\n', 1)[1].lstrip("\n")  # the page says in prose what the file says in its docstring
    assert SHOWN[name][0] == body


METHODS = itertools.cycle(mp.get_all_start_methods())  # an example shows a use; others prove it under each method


@pytest.mark.parametrize(
    ("example", "start_method"), list(zip(EXAMPLES, METHODS, strict=False)), ids=lambda it: getattr(it, "stem", it)
)
def test_example_prints_what_the_page_says(example: Path, start_method: str, tmp_path: Path) -> None:
    done = run_script(example, start_method, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == SHOWN[example.name][1]


def test_the_audit_reports_what_the_page_says(start_method: str, tmp_path: Path) -> None:
    """But for seconds, and for which of two workers told first."""
    [block] = [block for block in blocks_of(DOCS / "how-to.md") if block.text.startswith("poolsafe audit:")]
    script = DOCS / "examples" / "audit_services.py"
    done = run_python("-m", "poolsafe", "audit", script, "--start-method", start_method, cwd=tmp_path)
    assert done.returncode == 1
    assert words_of(done.stderr) == words_of(block.text)


def words_of(report: str) -> list[str]:
    """The words of a report that do not hang on timing."""
    report = report.replace("__mp_main__", "__main__")  # as spawned workers call it
    plain = re.sub(r"work\('\w+'\)|task \d+|\d+\.\d+", "...", report)
    return sorted(plain.split())


def named_tests(page: Path) -> set[str]:
    return set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)*)`", page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_tests_that_a_page_names_exist(page: Path) -> None:
    missing = [name for name in named_tests(page) if not exists(name)]
    assert not missing


def exists(name: str) -> bool:
    path, *inner = name.split("::")
    if not (ROOT / path).is_file():
        return False
    body: list[ast.stmt] = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    for part in inner:
        found = [n for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name == part]
        if not found:
            return False
        body = found[0].body
    return True


def guarantee_rows() -> list[str]:
    lines = (DOCS / "guarantees.md").read_text(encoding="utf-8").splitlines()
    return [
        line for line in lines if line.startswith("| ") and not re.match(r"^[| :-]+$", line) and "Proof |" not in line
    ]


def test_there_are_guarantees() -> None:
    assert len(guarantee_rows()) > 20


@pytest.mark.parametrize("row", guarantee_rows(), ids=lambda row: row.split("|")[1].strip()[:40])
def test_every_guarantee_names_its_proof(row: str) -> None:
    assert re.search(r"`tests/[\w/]+\.py::\w+", row.rstrip(" |").rsplit("|", 1)[1]), "the last cell must name a test"


def kinds_proved_by(test: str) -> set[str]:
    """The kinds of state in the rows of the page of guarantees that name this test as their proof."""
    listed = [row.split("|")[2] for row in guarantee_rows() if row.rstrip(" |").endswith(f"{test}`")]
    return {kind.strip().strip("`") for cell in listed for kind in cell.split(", ")}


def test_every_kind_of_state_is_listed() -> None:
    closed = kinds_proved_by("tests/test_process_state.py::test_no_task_sees_what_another_one_left")
    assert set(KINDS) <= closed
    assert closed - set(KINDS) <= SOMETIMES
    assert kinds_proved_by("tests/test_process_state.py::test_what_is_said_to_be_left_alone_is") == set(OPEN)


def test_every_error_and_warning_has_a_remedy() -> None:
    named = set(re.findall(r"^\| `(\w+)`", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE))
    public = {name: getattr(poolsafe, name) for name in poolsafe.__all__}
    kinds = (poolsafe.PoolsafeError, poolsafe.PoolsafeWarning)
    ours = {name for name, one in public.items() if isinstance(one, type) and issubclass(one, kinds)}
    assert ours - named == {"PoolsafeError"}  # the base of all


def headings(page: Path) -> set[str]:
    """What links to parts of a page are called."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda path: path.stem)
def test_parts_of_pages_that_a_page_links_to_exist(page: Path) -> None:
    for target, part in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        assert part in headings(page.parent / target if target else page), (target, part)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md"], ids=lambda path: path.stem)
def test_names_of_poolsafe_on_a_page_exist(page: Path) -> None:
    """Whatever a page imports from poolsafe, or calls `poolsafe.something`, is there."""
    text = page.read_text(encoding="utf-8")
    names = set(re.findall(r"`poolsafe\.([A-Z]\w+)", text))
    for imports in re.findall(r"^from poolsafe import (.*)$", text, re.MULTILINE):
        names |= {name.strip() for name in imports.partition("#")[0].split(",")}
    assert names <= {*poolsafe.__all__, "presets"}  # a module, which is there once it is imported


def test_architecture_names_every_module() -> None:
    """The module table is the list of what there is, no more and no less."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    table = text.split("## Modules", 1)[1].split("\n## ", 1)[0]
    named = set(re.findall(r"^\| `([\w/]+\.py)`", table, re.MULTILINE))
    source = Path(poolsafe.__file__).parent
    there = {
        p.relative_to(source).as_posix() for p in source.rglob("*.py") if p.parent == source or p.name != "__init__.py"
    }
    assert named == there
