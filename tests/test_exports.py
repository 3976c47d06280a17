"""The public names: complete, lazily resolved, named after the package, picklable by reference."""

from __future__ import annotations

import ast
import json
import pickle
import re
from pathlib import Path
from types import ModuleType

import pytest

import poolsafe
from poolsafe import errors, failures
from tests.support.scripts import ROOT, run_python


def errors_in(module: ModuleType) -> set[str]:
    """Exceptions and warnings that *module* defines for users."""
    found = (value for name, value in vars(module).items() if not name.startswith("_"))
    return {v.__name__ for v in found if isinstance(v, type) and issubclass(v, errors.PoolsafeError | Warning)}


@pytest.mark.parametrize("name", sorted(set(poolsafe.__all__) - {"__version__"}))
def test_public_name(name: str) -> None:
    value = getattr(poolsafe, name)
    assert value.__module__ == "poolsafe"
    assert value.__qualname__ == name
    assert pickle.loads(pickle.dumps(value)) is value


def test_every_error_and_warning_is_public() -> None:
    assert errors_in(errors) | errors_in(failures) <= set(poolsafe.__all__)


def test_pool_and_resetter_are_public() -> None:
    assert {"IsolatedPool", "Resetter"} <= set(poolsafe.__all__)


def test_type_checkers_find_the_same_names() -> None:
    tree = ast.parse(Path(poolsafe.__file__).read_text(encoding="utf-8"))
    named = [alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert {name for name in named if name} | {"__version__"} == set(poolsafe.__all__)


def test_star_import_gives_all() -> None:
    namespace: dict[str, object] = {}
    exec("from poolsafe import *", namespace)
    assert set(poolsafe.__all__) <= namespace.keys()


def test_dir_lists_the_public_names() -> None:
    assert set(poolsafe.__all__) <= set(dir(poolsafe))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        poolsafe.no_such_name  # noqa: B018


def test_import_is_lazy() -> None:
    code = (
        "import json, sys, typing, __future__; before = set(sys.modules)\n"
        "import poolsafe; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["poolsafe"]


def test_version_is_that_of_the_project() -> None:
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared
    assert poolsafe.__version__ == declared[1]
