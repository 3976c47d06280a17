"""The README: its programs run and print what it says, its two commands are there, its links lead somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.blocks import blocks_of, run_script
from tests.support.scripts import ROOT

README = ROOT / "README.md"
BLOCKS = blocks_of(README)
PROGRAMS = [block.text for block in BLOCKS if block.language == "python"]


def run_program(number: int, start_method: str, tmp_path: Path) -> str:
    script = tmp_path / "example.py"
    script.write_text(PROGRAMS[number], encoding="utf-8")
    done = run_script(script, start_method, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def text_after(program: str) -> str:
    """The output that the README shows under a program."""
    place = [block.text for block in BLOCKS].index(program)
    assert BLOCKS[place + 1].language == "text"
    return BLOCKS[place + 1].text


def lists_in(output: str) -> list[list[object]]:
    return [ast.literal_eval(text) for text in re.findall(r"\[.*?\]", output)]


def test_there_are_four_programs() -> None:
    assert len(PROGRAMS) == 4


def test_first_program_shows_the_problem(start_method: str, tmp_path: Path) -> None:
    # What it prints hangs on timing, which is its point; its shape does not.
    for output in (run_program(0, start_method, tmp_path), text_after(PROGRAMS[0])):
        seen = lists_in(output)
        assert [entry[0] for entry in seen] == ["haha"] * 5
        assert [entry[-1] for entry in seen] == list(range(5))
        assert seen != [["haha", i] for i in range(5)], "five tasks in two workers cannot all be first"


def test_second_program_prints_what_the_readme_says(start_method: str, tmp_path: Path) -> None:
    assert run_program(1, start_method, tmp_path) == text_after(PROGRAMS[1])


def test_second_program_is_the_first_with_another_import() -> None:
    renamed = PROGRAMS[0].replace("multiprocessing import Pool", "poolsafe import IsolatedPool")
    assert renamed.replace(" Pool(", " IsolatedPool(") == PROGRAMS[1]


@pytest.mark.parametrize("number", [2, 3])
def test_other_programs_print_their_comment(number: int, start_method: str, tmp_path: Path) -> None:
    comment = re.search(r"\)  # (\[.*\].*)$", PROGRAMS[number], re.MULTILINE)
    assert comment
    assert run_program(number, start_method, tmp_path) == comment[1] + "\n"


def test_two_commands_the_demo_then_the_tests() -> None:
    commands = [block.text for block in BLOCKS if block.language == "sh"]
    assert len(commands) == 2
    assert all(len(command.splitlines()) == 1 for command in commands)
    demo, tests = commands
    assert demo.rstrip().endswith("-m poolsafe")
    assert "pytest" in tests
    # Each works by itself: it makes the environment that it uses.
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)


@pytest.mark.parametrize("page", [README, *sorted(ROOT.glob("docs/*.md")), ROOT / "CHANGELOG.md"], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
