"""The preset for `logging`: loggers, their handlers, and what the module itself keeps.

Used by `process_state` and `poolsafe.presets`. Loggers that came since are given the state of new ones, and are not
taken away: the module that asked for one holds on to it.

What may go wrong: nothing that is known. A handler's own data (its stream, its buffer) stay as they are, except for
the stream of a plain `logging.StreamHandler`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar, Final

from .preset import Preset, Probe, Values, refill

_LOGGER_PARTS: Final = ("level", "propagate", "disabled")
_NEW: Final = {"level": 0, "propagate": True, "disabled": False}
_MANAGER_PARTS: Final = ("disable", "loggerClass", "logRecordFactory")


class _Logging(Preset):
    """Loggers with their levels, handlers and filters, ``logging.disable``, level names, the record factory."""

    name = "logging"
    module = "logging"
    bound: ClassVar[tuple[str, ...]] = (
        "raiseExceptions", "lastResort", "_loggerClass", "_logRecordFactory", "logThreads", "logMultiprocessing",
        "logProcesses", "logAsyncioTasks", "_warnings_showwarning",
    )  # fmt: skip
    contents: ClassVar[tuple[str, ...]] = ("_levelToName", "_nameToLevel")

    @property
    def loaded(self) -> bool:
        return hasattr(sys.modules.get("logging"), "captureWarnings")  # the last thing that the module defines

    def read(self) -> Values:
        values = super().read()
        manager = self._manager
        values.update((f"logging.Logger.manager.{name}", getattr(manager, name)) for name in _MANAGER_PARTS)
        for path, logger in self._loggers():
            values[path] = logger
            values.update((f"{path}.{name}", vars(logger)[name]) for name in _LOGGER_PARTS if name in vars(logger))
            for name in ("handlers", "filters"):
                values[f"{path}.{name}"] = getattr(logger, name)
                values[f"{path}.{name}[:]"] = getattr(logger, name).copy()
            for number, handler in enumerate(logger.handlers):
                for name in self._parts_of(handler):
                    values[f"{path}.handlers[{number}].{name}"] = vars(handler)[name]
                values[f"{path}.handlers[{number}].filters[:]"] = handler.filters.copy()
        return values

    def write(self, values: Values, now: Values) -> None:
        super().write(values, now)
        manager = self._manager
        for name in _MANAGER_PARTS:
            setattr(manager, name, values[f"logging.Logger.manager.{name}"])
        for path, logger in self._loggers():
            if path not in values:
                self._renew(logger)
        for path, logger in [*values.items()]:
            if path.endswith(")") or path == "logging.root":
                self._put_logger(path, logger, values)
        for path, logger in self._loggers():
            if path not in values:
                found = self._read_new(path, logger)
                values.update(found)
        manager._clear_cache()

    def probes(self, values: Values) -> Iterator[Probe]:
        yield from super().probes(values)
        manager = self._manager
        # Instances as well as their dictionaries: since Python 3.13 the values may be held by either.
        held: list[Any] = [manager, vars(manager), manager.loggerDict]
        for _, logger in self._loggers():
            held += [logger, vars(logger), logger.handlers, logger.filters]
            for handler in logger.handlers:
                held += [handler, vars(handler), handler.filters]
        # All that any of them refers to, in one call into C.
        ask = partial(sys.modules["gc"].get_referents, *held)
        yield ask, ask()

    def defaults(self) -> Values:
        space = self.space
        values = super().read()
        names = {"lastResort": "_defaultLastResort", "_loggerClass": "Logger", "_logRecordFactory": "LogRecord"}
        values.update((self.path(name), space[other]) for name, other in names.items())
        flags = ("raiseExceptions", "logThreads", "logMultiprocessing", "logProcesses", "logAsyncioTasks")
        values.update((self.path(name), True) for name in flags if name in space)
        values["logging._warnings_showwarning"] = None
        levels = {"CRITICAL": 50, "FATAL": 50, "ERROR": 40, "WARN": 30, "WARNING": 30, "INFO": 20, "DEBUG": 10}
        values["logging._nameToLevel[:]"] = {**levels, "NOTSET": 0}
        values["logging._levelToName[:]"] = {
            number: name for name, number in values["logging._nameToLevel[:]"].items() if name not in ("FATAL", "WARN")
        }
        values.update({f"logging.Logger.manager.{name}": None for name in _MANAGER_PARTS})
        values["logging.Logger.manager.disable"] = 0
        root = space["root"]
        new = {f"logging.root.{name}": value for name, value in _NEW.items()}
        values.update({"logging.root": root, **new, "logging.root.level": 30})
        for name in ("handlers", "filters"):
            values[f"logging.root.{name}"] = getattr(root, name)
            values[f"logging.root.{name}[:]"] = []
        return values

    def differences(self, state: Any) -> list[tuple[str, object, object]]:
        found = super().differences(state)
        new = [path for path, before, _ in found if path.endswith(")") and repr(before) == "<absent>"]
        fresh: Values = {}
        for path in new:  # a logger as it is when it is new is no difference
            fresh.update((f"{path}.{name}", value) for name, value in _NEW.items())
            fresh.update({f"{path}.handlers[:]": [], f"{path}.filters[:]": []})
        lists = {f"{path}.{name}" for path in new for name in ("handlers", "filters")}
        return [
            (path, fresh.get(path, before), after)
            for path, before, after in found
            if path not in new and path not in lists and (path not in fresh or fresh[path] != after)
        ]

    # -- single loggers ---------------------------------------------------------------------------------------------

    @property
    def _manager(self) -> Any:
        return self.space["Logger"].manager

    def _loggers(self) -> list[tuple[str, Any]]:
        kind = self.space["Logger"]
        found = [(n, one) for n, one in list(self._manager.loggerDict.items()) if isinstance(one, kind)]
        return [("logging.root", self.space["root"]), *((f"logging.getLogger({name!r})", one) for name, one in found)]

    def _parts_of(self, handler: Any) -> list[str]:
        names = ["level", "formatter"]
        # Others open their stream when they need it, and close it when they like.
        return names + ["stream"] if type(handler) is self.space["StreamHandler"] else names

    def _renew(self, logger: Any) -> None:
        """Give a logger that a task, or a library that it imported, asked for the state of a new one."""
        vars(logger).update(_NEW)
        silent = self.space["NullHandler"]
        logger.handlers[:] = [handler for handler in logger.handlers if type(handler) is silent]
        logger.filters.clear()

    def _read_new(self, path: str, logger: Any) -> Values:
        found: Values = {path: logger, **{f"{path}.{name}": value for name, value in _NEW.items()}}
        for name in ("handlers", "filters"):
            found[f"{path}.{name}"] = getattr(logger, name)
            found[f"{path}.{name}[:]"] = getattr(logger, name).copy()
        for number, handler in enumerate(logger.handlers):
            found.update({f"{path}.handlers[{number}].{name}": vars(handler)[name] for name in ("level", "formatter")})
            found[f"{path}.handlers[{number}].filters[:]"] = handler.filters.copy()
        return found

    def _put_logger(self, path: str, logger: Any, values: Values) -> None:
        if path != "logging.root":
            self._manager.loggerDict.setdefault(logger.name, logger)
        vars(logger).update({name: values[f"{path}.{name}"] for name in (*_LOGGER_PARTS, "handlers", "filters")})
        for name in ("handlers", "filters"):
            refill(values[f"{path}.{name}"], values[f"{path}.{name}[:]"])
        for number, handler in enumerate(logger.handlers):
            for name in self._parts_of(handler):
                if f"{path}.handlers[{number}].{name}" in values:
                    vars(handler)[name] = values[f"{path}.handlers[{number}].{name}"]
            refill(handler.filters, values.get(f"{path}.handlers[{number}].filters[:]", handler.filters.copy()))


logging: Final = _Logging()
