"""Which modules are the project's own, and safe access to their globals.

Used by the capture (`"auto"`, and to judge whose class or function a value is) and by `Plan.make`. Everything here
reads the modules' real dictionaries: a lazy module's ``__getattr__`` or ``__getattribute__`` is never triggered, so
looking at `sys.modules` imports nothing. What may go wrong: a module that tells a wrong ``__file__`` is judged by it.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any, Final, TypeGuard, cast

_lru: Final = functools._lru_cache_wrapper
_DICT_OF: Final[Any] = vars(ModuleType)["__dict__"]
#: Directories that only ever hold installed packages, wherever they are.
_INSTALL_DIRS: Final = frozenset({"site-packages", "dist-packages", "__pypackages__"})
#: The main module goes by this name in workers that were spawned; `sys.modules` has it under both names there.
MP_MAIN: Final = "__mp_main__"


def _stdlib_dirs() -> tuple[str, ...]:
    """Return the directories of the standard library, each also with its symbolic links resolved."""
    found = set()
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for prefix in (sys.base_prefix, sys.base_exec_prefix):
        found.add(os.path.join(prefix, sys.platlibdir, version))
        found.add(os.path.join(prefix, "lib", version))
        found.add(os.path.join(prefix, "lib", version.replace(".", "") + ".zip"))
    if sys.platform == "win32":
        found.update(os.path.join(sys.base_prefix, name) for name in ("Lib", "DLLs"))
    here = getattr(os, "__file__", None)
    if here:
        found.add(os.path.dirname(os.path.abspath(here)))
    found |= {os.path.realpath(path) for path in found}
    return tuple(os.path.normcase(path) + os.sep for path in found)


_STDLIB: Final = _stdlib_dirs()


def is_module(thing: object) -> TypeGuard[ModuleType]:
    """Tell whether something is a module by its real type; `isinstance` would ask a ``__class__`` that may lie."""
    return issubclass(type(thing), ModuleType)


def namespaces_of(module: ModuleType) -> list[dict[str, Any]]:
    """Return the module's globals, without asking the module: what its functions use comes first.

    There is more than one dictionary only for `__main__` in a worker that was spawned: `multiprocessing.spawn` runs the
    script by `runpy`, which hands out a copy of the globals. The functions of the script go on using the original, the
    module of that name has the copy.
    """
    space = cast("dict[str, Any]", _DICT_OF.__get__(module))
    if space.get("__name__") != MP_MAIN:
        return [space]
    for value in list(space.values()):
        for function in _functions_in(value):
            used = function.__globals__
            if used is not space and used.get("__name__") == MP_MAIN:
                return [used, space]
    return [space]


def _functions_in(value: object) -> list[FunctionType]:
    inside: list[Any] = [value]
    if issubclass(type(value), type):
        inside = list(type.__dict__["__dict__"].__get__(value).values())
    inside = [item.__func__ if type(item) in (staticmethod, classmethod) else item for item in inside]
    inside += [vars(item).get("__wrapped__") for item in inside if type(item) in (FunctionType, _lru)]
    return [item for item in inside if type(item) is FunctionType]


def namespace_of(module: ModuleType) -> dict[str, Any]:
    """Return the globals that the module's functions use."""
    return namespaces_of(module)[0]


def is_project_path(path: str) -> bool:
    """Tell whether a file or directory is neither the standard library's nor an installed package's."""
    path = os.path.normcase(path if os.path.isabs(path) else os.path.abspath(path))
    if path.startswith(_STDLIB):
        # A project may not live in there; what does and is no library is a site-packages directory, foreign too.
        return False
    return _INSTALL_DIRS.isdisjoint(path.split(os.sep))


def is_project_module(module: object) -> bool:
    """Tell whether a module is the project's own: not built in, not installed, not part of poolsafe.

    Namespace packages (which have no file) and editable installs are judged by where their files really are.
    """
    if not is_module(module) or type(module).__name__ == "_LazyModule":
        return False  # a lazy module that was not loaded yet has nothing to put back, and must not be loaded by us
    space = namespace_of(module)
    name = space.get("__name__")
    if name in ("__main__", MP_MAIN):
        return True
    if not isinstance(name, str) or name == "poolsafe" or name.startswith("poolsafe."):
        return False
    origin = getattr(space.get("__spec__"), "origin", None)
    if origin in ("frozen", "built-in"):
        return False
    file = space.get("__file__")
    if isinstance(file, str):
        return is_project_path(file)
    return any(is_project_path(path) for path in _search_path(space))


def _search_path(space: dict[str, Any]) -> list[str]:
    path = space.get("__path__")
    try:
        return [part for part in path if isinstance(part, str)] if isinstance(path, Iterable) else []
    except Exception:  # a namespace package's path looks at its parent package, which may be gone
        return []


def loaded_modules() -> dict[str, ModuleType]:
    """Return what is in `sys.modules` and is a module, each once, as ``{name: module}``."""
    # list() first: another thread may import while we look.
    found: dict[int, tuple[str, ModuleType]] = {}
    for name, module in list(sys.modules.items()):
        if is_module(module):
            found.setdefault(id(module), (name, module))
    return dict(found.values())


def newcomers(last: str, count: int) -> list[ModuleType] | None:
    """Return the modules that were loaded since, or None when that cannot be told without looking at all.

    Args:
        last: The name that was the last in `sys.modules` then.
        count: How many there were.
    """
    names: list[str] = []
    for name in reversed(sys.modules):
        if name == last:
            break
        names.append(name)
    if len(names) + count != len(sys.modules):
        return None
    return [module for name in names if is_module(module := sys.modules.get(name))]


def project_modules() -> list[ModuleType]:
    """Return the loaded modules that are the project's own, `__main__` included, in the order of their import."""
    return [module for module in loaded_modules().values() if is_project_module(module)]
