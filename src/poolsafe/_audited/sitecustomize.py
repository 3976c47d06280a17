"""Begins to watch a program, before its first line runs.

Who runs it: `site`, in the program that ``python -m poolsafe audit`` starts, because the folder of this file comes
first in its ``PYTHONPATH``; and, by `runpy`, every child that this program spawns. It leaves no trace of itself: the
environment, the search path and `sitecustomize` are what the program would have without it.

What may go wrong: this file is not run when the interpreter ignores its environment or has no `site`; `audit` then says
that the program was not watched.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def begin(settings: dict[str, Any]) -> None:
    """Find poolsafe where the settings say, and replace the program's pools."""
    if "poolsafe" not in sys.modules:
        # Not by the search path, which is the program's: it may not lead to poolsafe, or to another one.
        import importlib.util

        file = os.path.join(settings["home"], "__init__.py")
        spec = importlib.util.spec_from_file_location("poolsafe", file, submodule_search_locations=[settings["home"]])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["poolsafe"] = module
        spec.loader.exec_module(module)
    from poolsafe._audited.hook import install

    install(settings)


def _take_settings() -> dict[str, Any]:
    """Read the settings, and put back what they came with."""
    settings: dict[str, Any] = json.loads(os.environ.pop("POOLSAFE_AUDIT"))
    if settings["pythonpath"] is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = settings["pythonpath"]
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    sys.path_importer_cache.pop(here, None)
    return settings


def _give_way() -> None:
    """Run the `sitecustomize` that the program would have had, or say that there is none."""
    del sys.modules["sitecustomize"]
    __import__("sitecustomize")  # an ImportError of this name is what `site` expects when there is none


if __name__ == "sitecustomize":
    _settings = _take_settings()
    begin(_settings)
    open(os.path.join(_settings["folder"], "watched"), "w").close()
    _give_way()
elif __name__ == "_poolsafe_audited":
    begin(globals()["_settings"])
