"""Reading Markdown: fenced blocks, and running the programs in them under every start method.

Who uses it: tests of the README and of the documentation. What may go wrong: a fence that is never closed is an error
here, not a block that silently runs to the end of the page.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.support.scripts import run_python


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str
    text: str
    #: The last line of text before the block, empty lines left out.
    lead: str


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of *page*, in order."""
    found: list[Block] = []
    lead = language = ""
    inside: list[str] | None = None
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = re.match(r"^```(\w*)$", line)
        if fence and inside is None:
            language, inside = fence[1], []
        elif fence and inside is not None:
            assert not fence[1], f"{page}: a block opens inside another one: {line}"
            found.append(Block(language, "\n".join(inside) + "\n", lead))
            inside, lead = None, ""
        elif inside is not None:
            inside.append(line)
        elif line.strip():
            lead = line.strip()
    assert inside is None, f"{page}: the last block is never closed"
    return found


def run_script(script: Path, start_method: str, workspace: Path) -> subprocess.CompletedProcess[str]:
    """Run *script* as a user would, on a platform whose default start method is *start_method*."""
    site = workspace / "site"
    site.mkdir(exist_ok=True)
    # Children run this as well; what their parent told them about the start method comes later and wins.
    (site / "sitecustomize.py").write_text(
        f"import multiprocessing\nmultiprocessing.set_start_method({start_method!r})\n"
    )
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return run_python(script, cwd=workspace, env={"PYTHONPATH": path})
