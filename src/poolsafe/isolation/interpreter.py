"""Presets for the interpreter's own state: what `sys` and `gc` hold.

Used by `process_state`, which puts all presets back together, and by `poolsafe.presets`, where users find them.

What may go wrong: a standard stream that was closed (`ResetError`).

What cannot be seen or undone: audit hooks (``sys.addaudithook``), functions registered with ``atexit`` or
``os.register_at_fork``, error handlers and search functions registered with ``codecs``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, ClassVar, Final

from .modules import is_module, is_project_module
from .preset import Preset, Probe, Values, cannot_undo


class _ImportSystem(Preset):
    """What decides about imports: ``sys.path``, ``sys.meta_path``, ``sys.path_hooks``.

    Finders and hooks that are not of the project's own classes stay: libraries put them there when they are imported,
    and rely on them ever after.
    """

    name = "import_system"
    bound: ClassVar[tuple[str, ...]] = ("dont_write_bytecode", "pycache_prefix", "path_importer_cache", "modules")
    contents: ClassVar[tuple[str, ...]] = ("path", "meta_path", "path_hooks")

    def write(self, values: Values, now: Values) -> None:
        for name in ("meta_path", "path_hooks"):
            known, found = values[f"sys.{name}[:]"], now[f"sys.{name}[:]"]
            foreign = [one for one in found if not any(one is other for other in known) and not _is_project(one)]
            first = [one for one in foreign if found.index(one) == 0 or found[0] in foreign[: found.index(one)]]
            known[:] = first + known + [one for one in foreign if one not in first]
        super().write(values, now)


def _is_project(thing: Any) -> bool:
    owner = thing if isinstance(thing, type) or hasattr(thing, "__globals__") else type(thing)
    module = sys.modules.get(getattr(owner, "__module__", None) or "")
    return module is None or (is_module(module) and is_project_module(module))


class _Streams(Preset):
    """The standard streams, and the hooks of the interpreter.

    ``sys.stdin`` and its like, ``sys.excepthook`` and its like, trace and profile functions, hooks for asynchronous
    generators.
    """

    name = "streams"
    bound: ClassVar[tuple[str, ...]] = (
        "stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__", "displayhook", "excepthook",
        "unraisablehook", "breakpointhook", "warnoptions",
    )  # fmt: skip
    calls: ClassVar[Mapping[str, str]] = {
        "gettrace": "settrace",
        "getprofile": "setprofile",
        "get_coroutine_origin_tracking_depth": "set_coroutine_origin_tracking_depth",
        "get_asyncgen_hooks": "set_asyncgen_hooks",
    }
    _ATTRIBUTES: Final = attrgetter("closed", "encoding", "errors", "line_buffering")

    def read(self) -> Values:
        hooks = tuple(sys.get_asyncgen_hooks())
        modes = {f"sys.{name}.<mode>": self._mode(name) for name in ("stdout", "stderr")}
        return {**super().read(), "sys.get_asyncgen_hooks()": hooks, **modes}

    def write(self, values: Values, now: Values) -> None:
        super().write(values, now)
        for name in ("stdout", "stderr"):
            mode = values[f"sys.{name}.<mode>"]
            if mode is not None and self._mode(name) != mode:
                closed, encoding, errors, line_buffering = mode
                stream = values[f"sys.{name}"]
                if stream.closed and not closed:
                    raise cannot_undo(f"sys.{name}", "The task closed it.")
                stream.reconfigure(encoding=encoding, errors=errors, line_buffering=line_buffering)

    def probes(self, values: Values) -> Iterator[Probe]:
        yield from super().probes(values)
        for name in ("stdout", "stderr"):
            if values[f"sys.{name}.<mode>"] is not None:
                yield partial(self._ATTRIBUTES, values[f"sys.{name}"]), values[f"sys.{name}.<mode>"]

    def _mode(self, name: str) -> Any:
        stream = getattr(sys, name, None)
        return self._ATTRIBUTES(stream) if type(stream) is sys.modules["io"].TextIOWrapper else None

    def call_setter(self, setter: str, value: Any) -> None:
        if setter == "set_asyncgen_hooks":
            sys.set_asyncgen_hooks(*value)
        else:
            super().call_setter(setter, value)


class _Argv(Preset):
    """The arguments of the program (``sys.argv``)."""

    name = "argv"
    bound: ClassVar[tuple[str, ...]] = ("argv",)
    contents: ClassVar[tuple[str, ...]] = ("argv",)


class _RecursionLimit(Preset):
    """``sys.setrecursionlimit``."""

    name = "recursion_limit"
    calls: ClassVar[Mapping[str, str]] = {"getrecursionlimit": "setrecursionlimit"}


class _SwitchInterval(Preset):
    """``sys.setswitchinterval``."""

    name = "switch_interval"
    calls: ClassVar[Mapping[str, str]] = {"getswitchinterval": "setswitchinterval"}


class _IntMaxStrDigits(Preset):
    """``sys.set_int_max_str_digits``."""

    name = "int_max_str_digits"
    calls: ClassVar[Mapping[str, str]] = {"get_int_max_str_digits": "set_int_max_str_digits"}


class _Gc(Preset):
    """The garbage collector: whether it is on, its thresholds and debug flags, its callbacks, what is frozen."""

    name = "gc"
    module = "gc"
    contents: ClassVar[tuple[str, ...]] = ("callbacks",)

    def read(self) -> Values:
        gc = sys.modules["gc"]
        values: Values = {**super().read(), "gc.isenabled()": gc.isenabled(), "gc.get_threshold()": gc.get_threshold()}
        # Counting what is frozen takes time in proportion: only whether it was nothing is of interest.
        return {**values, "gc.get_debug()": gc.get_debug(), "gc.get_freeze_count()": gc.get_freeze_count() > 0}

    def write(self, values: Values, now: Values) -> None:
        super().write(values, now)
        gc = sys.modules["gc"]
        if now["gc.get_freeze_count()"] and not values["gc.get_freeze_count()"]:
            gc.unfreeze()
        gc.set_threshold(*values["gc.get_threshold()"])
        gc.set_debug(values["gc.get_debug()"])
        (gc.enable if values["gc.isenabled()"] else gc.disable)()

    def probes(self, values: Values) -> Iterator[Probe]:
        yield from super().probes(values)
        gc = sys.modules["gc"]
        for name in ("isenabled", "get_threshold", "get_debug"):
            yield getattr(gc, name), values[f"gc.{name}()"]
        if not values["gc.get_freeze_count()"]:
            yield gc.get_freeze_count, 0


import_system: Final = _ImportSystem()
streams: Final = _Streams()
argv: Final = _Argv()
recursion_limit: Final = _RecursionLimit()
switch_interval: Final = _SwitchInterval()
int_max_str_digits: Final = _IntMaxStrDigits()
gc: Final = _Gc()
