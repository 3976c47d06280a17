"""The demo and the command line: it shows the point under every start method, and refuses what it does not know."""

from __future__ import annotations

import re
import time

import pytest

from poolsafe import __main__ as command
from poolsafe import demo
from tests.support.scripts import run_python


def test_demo_shows_the_point() -> None:
    begin = time.monotonic()
    done = run_python("-m", "poolsafe", "demo", "--start-method", "fork")  # CI runs it under each
    took = time.monotonic() - begin
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    rows = [line for line in lines if line.strip().startswith("task ")]
    assert len(rows) == demo.TASKS
    assert all(row.endswith(f"['haha', {i}]") for i, row in enumerate(rows))
    assert "Pool, fast tasks" in done.stdout
    assert "Pool, slow tasks" in done.stdout
    assert re.search(r"Pool +still waiting after 3 s", done.stdout)
    assert re.search(r"IsolatedPool +WorkerLost after \d", done.stdout)
    assert "SIGKILL" in done.stdout
    assert took < 30, "the demo is to be seen in ten seconds; this machine may be busy, but not that busy"


def test_demo_is_what_runs_without_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []
    monkeypatch.setattr(demo, "run", lambda method: asked.append(method) or 0)
    assert command.main([]) == 0
    assert command.main(["demo"]) == 0
    assert command.main(["--start-method", "spawn"]) == 0
    assert asked == [None, None, "spawn"]


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["demo", "more"], ["--start-method", "teleport"]])
def test_unknown_argument_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m poolsafe" in capsys.readouterr().err


def test_demo_fails_when_isolation_does(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    leaky = [["haha", *range(i + 1)] for i in range(demo.TASKS)]
    monkeypatch.setattr(demo, "experiment", lambda context: {"Pool, fast tasks": leaky, "IsolatedPool": leaky})
    monkeypatch.setattr(demo, "deaths", lambda context: [("Pool", "…"), ("IsolatedPool", "WorkerLost after 0.01 s:")])
    assert demo.run() == 1
    assert "['haha', 0, 1] <- leaked" in capsys.readouterr().out


def test_demo_fails_when_a_loss_goes_unnoticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = [["haha", i] for i in range(demo.TASKS)]
    monkeypatch.setattr(demo, "experiment", lambda context: {"IsolatedPool": clean})
    monkeypatch.setattr(demo, "deaths", lambda context: [("IsolatedPool", "still waiting")])
    assert demo.run() == 1
    assert "still waiting" in capsys.readouterr().out
