"""Presets for what modules of the standard library keep: warnings, decimal, locale, asyncio, threading.

Used by `process_state`, which puts all presets back together, and by `poolsafe.presets`, where users find them. A
module that is not loaded costs nothing; when a task imports it, what its import made is the pristine state.

What may go wrong: nothing that is known. What cannot be seen: what C libraries keep for themselves, state in other
threads than the main one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, Final

from .preset import Preset, Probe, Values, refill, same

_CONTEXT_PARTS: Final = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "flags", "traps")


class _Warnings(Preset):
    """The filters of warnings, and how warnings are shown."""

    name = "warnings"
    module = "warnings"
    bound: ClassVar[tuple[str, ...]] = (
        "defaultaction",
        "_defaultaction",
        "showwarning",
        "formatwarning",
        "_showwarnmsg_impl",
    )
    contents: ClassVar[tuple[str, ...]] = ("filters", "onceregistry")

    def write(self, values: Values, now: Values) -> None:
        super().write(values, now)
        space = self.space
        if "_filters_mutated" in space:
            space["_filters_mutated"]()  # warnings that were given once may be given again
        elif "_filters_mutated_lock_held" in space:  # Python 3.14
            with space["_lock"]:
                space["_filters_mutated_lock_held"]()


class _Decimal(Preset):
    """The decimal context of the main thread, and the contexts that new ones are made from."""

    name = "decimal"
    module = "decimal"
    _NAMES: Final = ("DefaultContext", "BasicContext", "ExtendedContext")

    @property
    def loaded(self) -> bool:
        return hasattr(sys.modules.get("decimal"), "ExtendedContext")

    def read(self) -> Values:
        contexts = {f"decimal.{name}": self.space[name] for name in self._NAMES}
        contexts["decimal.getcontext()"] = self.space["getcontext"]()
        values: Values = dict(contexts)
        for path, context in contexts.items():
            parts = context.__reduce__()[1]
            values.update((f"{path}.{name}", part) for name, part in zip(_CONTEXT_PARTS, parts, strict=True))
        return values

    def write(self, values: Values, now: Values) -> None:
        self.space["setcontext"](values["decimal.getcontext()"])
        for path in ("decimal.getcontext()", *(f"decimal.{name}" for name in self._NAMES)):
            context = values[path]
            for name in _CONTEXT_PARTS[:-2]:
                setattr(context, name, values[f"{path}.{name}"])
            for name, signals in (("flags", context.flags), ("traps", context.traps)):
                for signal in signals:
                    signals[signal] = signal in values[f"{path}.{name}"]
        self.space.update({name: values[f"decimal.{name}"] for name in self._NAMES})

    def probes(self, values: Values) -> Iterator[Probe]:
        yield self.space["getcontext"], values["decimal.getcontext()"]
        for path in ("decimal.getcontext()", "decimal.DefaultContext"):
            yield values[path].__reduce__, values[path].__reduce__()

    def used(self, values: Values, now: Values) -> Values:
        """Flags are set by mere arithmetic; and a context that differs in nothing else is as good as another."""
        values = {**values}
        for name in ("decimal.getcontext()", *(f"decimal.{name}" for name in self._NAMES)):
            flags = f"{name}.flags"
            values[flags] = now[flags]
            parts = [f"{name}.{part}" for part in _CONTEXT_PARTS]
            if all(same(values[part], now[part]) for part in parts):
                values[name] = now[name]
        return values

    def defaults(self) -> Values:
        values = self.read()
        invalid, zero, overflow = (self.space[name] for name in ("InvalidOperation", "DivisionByZero", "Overflow"))
        traps = {name: [invalid, zero, overflow] for name in ("DefaultContext", "getcontext()")}
        traps["BasicContext"] = [invalid, zero, overflow, self.space["Underflow"], self.space["Clamped"]]
        for name in (*self._NAMES, "getcontext()"):
            first: tuple[Any, ...] = (
                (28 if name in ("DefaultContext", "getcontext()") else 9),
                "ROUND_HALF_EVEN",
                -999999,
                999999,
                1,
                0,
            )
            parts = (*first, [], traps.get(name, []))
            values.update((f"decimal.{name}.{part}", value) for part, value in zip(_CONTEXT_PARTS, parts, strict=True))
        values["decimal.BasicContext.rounding"] = "ROUND_HALF_UP"
        return values


class _Locale(Preset):
    """The locale of the process (``locale.setlocale``), category by category."""

    name = "locale"
    module = "_locale"

    def read(self) -> Values:
        locale = self.space
        names = sorted(name for name in locale if name.startswith("LC_") and name != "LC_ALL")
        return {f"locale.{name}": locale["setlocale"](locale[name], None) for name in names}

    def write(self, values: Values, now: Values) -> None:
        for path, value in values.items():
            if now[path] != value:
                self.space["setlocale"](self.space[path.partition(".")[2]], value)

    def probes(self, values: Values) -> Iterator[Probe]:
        ask = partial(self.space["setlocale"], self.space["LC_ALL"], None)
        yield ask, ask()

    def defaults(self) -> Values:
        values = dict.fromkeys(self.read(), "C")
        # The one category that Python sets at its start, by the environment variables.
        values["locale.LC_CTYPE"] = self.space["setlocale"](self.space["LC_CTYPE"], "")
        return values


class _SocketTimeout(Preset):
    """``socket.setdefaulttimeout``."""

    name = "socket_timeout"
    module = "_socket"
    label = "socket"
    calls: ClassVar[Mapping[str, str]] = {"getdefaulttimeout": "setdefaulttimeout"}
    pristine: ClassVar[Mapping[str, Any]] = {"socket.getdefaulttimeout()": None}


class _Tempfile(Preset):
    """The directory for temporary files (``tempfile.tempdir``), and the beginning of their names."""

    name = "tempfile"
    module = "tempfile"
    bound: ClassVar[tuple[str, ...]] = ("tempdir", "template")
    pristine: ClassVar[Mapping[str, Any]] = {"tempfile.tempdir": None, "tempfile.template": "tmp"}

    def used(self, values: Values, now: Values) -> Values:
        if values["tempfile.tempdir"] is not None or now.get("tempfile.tempdir") is None:
            return values
        return {**values, "tempfile.tempdir": self.space["_get_default_tempdir"]()}  # as `gettempdir` does


_LOOP: Final = "asyncio.get_event_loop()[:]"


class _AsyncioPolicy(Preset):
    """The policy of asyncio, and the main thread's current event loop."""

    name = "asyncio_policy"
    module = "asyncio.events"
    label = "asyncio"
    bound: ClassVar[tuple[str, ...]] = ("_event_loop_policy",)
    pristine: ClassVar[Mapping[str, Any]] = {"asyncio._event_loop_policy": None, _LOOP: {}}

    def read(self) -> Values:
        policy = self.space.get("_event_loop_policy")
        return {**super().read(), _LOOP: dict(_locals_of(policy) or {})}

    def write(self, values: Values, now: Values) -> None:
        super().write(values, now)
        of_thread = _locals_of(values["asyncio._event_loop_policy"])
        if of_thread is not None:
            refill(of_thread, values[_LOOP])

    def used(self, values: Values, now: Values) -> Values:
        """``asyncio.run`` leaves a policy, and that there is no loop (any more)."""
        of_thread = {**values[_LOOP], **{key: one for key, one in now[_LOOP].items() if key != "_loop"}}
        if now[_LOOP].get("_loop", of_thread) is None:
            of_thread.setdefault("_loop", None)
        values = {**values, _LOOP: of_thread}
        policy = now.get("asyncio._event_loop_policy")
        if values.get("asyncio._event_loop_policy") is None and type(policy) in _default_policies():
            values["asyncio._event_loop_policy"] = policy
        return values

    def probes(self, values: Values) -> Iterator[Probe]:
        of_thread = _locals_of(values["asyncio._event_loop_policy"])
        if of_thread is not None:
            yield partial(dict, of_thread), values[_LOOP]


def _locals_of(policy: Any) -> dict[str, Any] | None:
    """Return what a policy keeps for this thread."""
    held = getattr(policy, "_local", None)
    return None if held is None else vars(held)


def _default_policies() -> list[Any]:
    """Return the class of the policy that asyncio makes when it needs one."""
    found = [vars(sys.modules.get(f"asyncio.{system}_events", sys)) for system in ("unix", "windows")]
    names = ("DefaultEventLoopPolicy", "_DefaultEventLoopPolicy")  # before 3.14, and from then on
    return [space[name] for space in found for name in names if name in space]


class _ThreadingHooks(Preset):
    """``threading.excepthook``, ``settrace``, ``setprofile`` and ``stack_size``."""

    name = "threading_hooks"
    module = "threading"
    bound: ClassVar[tuple[str, ...]] = ("excepthook", "_trace_hook", "_profile_hook")
    calls: ClassVar[Mapping[str, str]] = {"stack_size": "stack_size"}
    pristine: ClassVar[Mapping[str, Any]] = {
        "threading._trace_hook": None,
        "threading._profile_hook": None,
        "threading.stack_size()": 0,
    }

    def defaults(self) -> Values:
        return {**super().defaults(), "threading.excepthook": self.space["__excepthook__"]}


class _Faulthandler(Preset):
    """Whether `faulthandler` is on."""

    name = "faulthandler"
    module = "faulthandler"
    calls: ClassVar[Mapping[str, str]] = {"is_enabled": "enable"}
    pristine: ClassVar[Mapping[str, Any]] = {"faulthandler.is_enabled()": False}

    def call_setter(self, setter: str, value: Any) -> None:
        if value:
            self.space["enable"](sys.__stderr__)
        else:
            self.space["disable"]()


warnings: Final = _Warnings()
decimal: Final = _Decimal()
locale: Final = _Locale()
socket_timeout: Final = _SocketTimeout()
tempfile: Final = _Tempfile()
asyncio_policy: Final = _AsyncioPolicy()
threading_hooks: Final = _ThreadingHooks()
faulthandler: Final = _Faulthandler()
