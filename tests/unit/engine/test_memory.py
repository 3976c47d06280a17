"""How much memory a process has: of this one and of others, and of such as do not exist."""

from __future__ import annotations

import subprocess
import sys

import pytest

from poolsafe.engine import memory


def test_what_is_used_counts() -> None:
    before = memory.resident()
    assert before is not None
    block = bytearray(b"x") * (64 << 20)
    with_it = memory.resident()
    del block
    assert with_it is not None
    assert with_it - before > 48 << 20


def test_of_another_process() -> None:
    code = "import sys; block = bytearray(b'x') * (64 << 20); print('there', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        used = memory.resident(other.pid)
        assert other.stdin is not None
        other.stdin.close()
    assert used is not None
    assert 64 << 20 < used < 512 << 20
    assert memory.resident(other.pid) is None


@pytest.mark.parametrize(
    ("size", "words"),
    [(5, "5 bytes"), (2048, "2 KiB"), (1_600_000, "1.526 MiB"), (5 << 30, "5 GiB"), (1 << 44, "1.638e+04 GiB")],
)
def test_in_words(size: int, words: str) -> None:
    assert memory.in_words(size) == words
