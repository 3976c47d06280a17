"""The kernel's counts, from files as it writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from poolsafe.engine.starvation import Starvation

#: Of each case: the control group of the process, and where its count is.
GROUPS = {
    "v2": ("0::/user/job\n", "sys/fs/cgroup/user/job/memory.events"),
    "v2 in a container": ("0::/user/job\n", "sys/fs/cgroup/memory.events"),
    "v1": ("4:memory:/job\n1:cpu:/other\n0::/\n", "sys/fs/cgroup/memory/job/memory.oom_control"),
    "v1 with others": ("4:cpu,memory:/job\n", "sys/fs/cgroup/memory/job/memory.oom_control"),
    "none": ("1:cpu:/other\n", "proc/vmstat"),
    "unreadable": (None, "proc/vmstat"),
}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def count(path: Path, ended: int) -> None:
    write(path, f"low 7\noom 3\noom_kill {ended}\noom_group_kill 9\n")


@pytest.mark.parametrize("case", GROUPS)
def test_a_count_that_rises(tmp_path: Path, case: str) -> None:
    group, name = GROUPS[case]
    path = tmp_path / name
    if group is not None:
        write(tmp_path / "proc/self/cgroup", group)
    count(tmp_path / "proc/vmstat", 5)
    count(path, 2)
    starvation = Starvation(tmp_path)
    assert starvation.witness() == ""
    count(path, 3)
    word = starvation.witness()
    assert str(path) in word
    assert ("of the machine" in word) == (path.name == "vmstat")
    assert starvation.witness() == "", "one ended process is one dead worker"
    count(path, 5)
    assert [bool(starvation.witness()) for _ in range(3)] == [True, True, False]


def test_nobody_counts(tmp_path: Path) -> None:
    assert Starvation(tmp_path).witness() == ""


def test_a_count_that_goes_away(tmp_path: Path) -> None:
    count(tmp_path / "proc/vmstat", 5)
    starvation = Starvation(tmp_path)
    (tmp_path / "proc/vmstat").unlink()
    assert starvation.witness() == ""
    write(tmp_path / "proc/vmstat", "oom_kill many\n")
    assert starvation.witness() == ""
