"""The checks for humans: ``nox -l`` lists them, ``nox -s tests-3.12`` runs one. ``.ci/run`` runs the same commands."""

from __future__ import annotations

from pathlib import Path

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)  # the classifiers are the one list of Pythons

nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The suite that the README names."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs)


@nox.session(python=PYTHONS)
def conformance(session: nox.Session) -> None:
    """CPython's own pool tests, run against IsolatedPool."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "2", "tests/conformance", *session.posargs)


@nox.session
def fallback(session: nox.Session) -> None:
    """The suite over the fallback transport, as on platforms without SEQPACKET sockets."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs, env={"POOLSAFE_TRANSPORT": "pipe"})


@nox.session
@nox.parametrize("level", ["fork", "process"])
def levels(session: nox.Session, level: str) -> None:
    """The suites of survival and isolation where each task has a process of its own; slow where that is a new start."""
    session.install("-e", ".[test]")
    isolation = [f"tests/test_{name}.py" for name in ("context", "experiment", "process_state", "seeds")]
    limits = ("-o", "timeout=300", "-o", "faulthandler_timeout=290")
    command = ("python", "-m", "pytest", "-n", "2", *limits, "tests/survival", *isolation, *session.posargs)
    session.run(*command, env={"POOLSAFE_TEST_LEVEL": level})


@nox.session
def coverage(session: nox.Session) -> None:
    """Branch coverage, worker processes included, of all but the suite that kills workers; fails below the gate."""
    session.install("-e", ".[test]")
    session.run("coverage", "erase")
    limits = ("-o", "timeout=180", "-o", "faulthandler_timeout=150")
    folders = ("tests/unit", "tests/contract", "tests/model", "tests/queues")
    tests = sorted(str(path) for path in Path("tests").glob("test_*.py"))
    session.run("coverage", "run", "-m", "pytest", "-n", "2", *limits, *tests, *folders, *session.posargs)
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    session.install("ruff>=0.8")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy in strict mode; pyright: every public name is fully typed."""
    session.install("-e", ".[dev]")
    session.run("mypy")
    session.run("pyright", "--verifytypes", "poolsafe", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """Every example of the documentation and the README is run, every test they name exists."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "tests/test_docs.py", "tests/test_readme.py", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """The demo under every start method."""
    session.install(".")
    for method in ("fork", "spawn", "forkserver"):
        session.run("python", "-m", "poolsafe", "--start-method", method)


@nox.session
def bench(session: nox.Session) -> None:
    """Speed, and what isolation costs; ``nox -s bench -- --check`` holds both to the declared figures."""
    session.install("-e", ".[bench]")
    session.run("python", "-m", "tests.bench.compare", *session.posargs)
    session.run("python", "-m", "tests.bench.isolation", *session.posargs)
    session.run("python", "-m", "tests.bench.queues", *session.posargs)
    session.run("python", "-m", "tests.bench.limits", *session.posargs)
    session.run("python", "-m", "tests.bench.fresh")


@nox.session
def build(session: nox.Session) -> None:
    """Wheel and source distribution."""
    session.install("build>=1.2")
    session.run("python", "-m", "build", *session.posargs)
