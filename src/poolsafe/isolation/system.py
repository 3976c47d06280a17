"""Presets for what the operating system keeps for the process: environment, directory, signals, limits.

Used by `process_state`, which puts all presets back together, and by `poolsafe.presets`, where users find them.

What may go wrong: a directory that is gone, a limit that was lowered for good, a signal handler from C that was
replaced (`ResetError`).

What cannot be seen: variables set by ``os.putenv`` or by C code, handlers of signals that C code installs,
``signal.siginterrupt``, descriptors that were exchanged by ``os.dup2`` or left open.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any, Final, cast

from .preset import ABSENT, Fixed, Preset, Probe, State, Values, cannot_undo, same

#: Status of the process, where Linux tells what can elsewhere be read by changing it only.
_STATUS: Final = "/proc/self/status"
_LIMITS: Final = "/proc/self/limits"
#: What a timer sends when it is up.
_TIMER_SIGNALS: Final = {"ITIMER_REAL": "SIGALRM", "ITIMER_VIRTUAL": "SIGVTALRM", "ITIMER_PROF": "SIGPROF"}
#: Another name of RLIMIT_NOFILE.
_ALIAS: Final = "RLIMIT_OFILE"
#: How `resource` calls what the kernel's list of limits calls otherwise.
_LIMIT_NAMES: Final = {
    "Max cpu time": "CPU", "Max file size": "FSIZE", "Max data size": "DATA", "Max stack size": "STACK",
    "Max core file size": "CORE", "Max resident set": "RSS", "Max processes": "NPROC", "Max open files": "NOFILE",
    "Max locked memory": "MEMLOCK", "Max address space": "AS", "Max pending signals": "SIGPENDING",
    "Max msgqueue size": "MSGQUEUE", "Max nice priority": "NICE", "Max realtime priority": "RTPRIO",
}  # fmt: skip


class _Environ(Preset):
    """The environment variables, and the time zone that follows from them (``time.tzset``)."""

    name = "environ"
    module = "os"

    def read(self) -> Values:
        environ = os.environ
        values: Values = {"os.environ": environ, "os.environ._data": getattr(environ, "_data", None)}
        try:
            values["os.environ[:]"] = dict(environ)
        except (TypeError, ValueError):  # a task put something else in its place
            values["os.environ[:]"] = {}
        if "environb" in vars(os):
            values["os.environb"] = os.environb
        if hasattr(sys.modules.get("time"), "tzset"):
            values["time.tzname"] = sys.modules["time"].tzname
        return values

    def write(self, values: Values, now: Values) -> None:
        for space, saved in self.fixed(values):
            space.update(saved)
        environ = os.environ
        wanted = values["os.environ[:]"]
        for name in [name for name in environ if name not in wanted]:
            del environ[name]
        for name, value in wanted.items():
            if environ.get(name) != value:
                environ[name] = value
        zone = values.get("time.tzname")
        if zone is not None and (
            sys.modules["time"].tzname != zone or now["os.environ[:]"].get("TZ") != wanted.get("TZ")
        ):
            sys.modules["time"].tzset()

    def fixed(self, values: Values) -> Iterator[Fixed]:
        yield vars(os), {name: values[f"os.{name}"] for name in ("environ", "environb") if f"os.{name}" in values}
        yield values["os.environ"].__dict__, {"_data": values["os.environ._data"]}

    def probes(self, values: Values) -> Iterator[Probe]:
        data = values["os.environ._data"]
        encoded = {
            values["os.environ"].encodekey(name): values["os.environ"].encodevalue(value)
            for name, value in values["os.environ[:]"].items()
        }
        # The very objects that are in there now: comparing them is a matter of identity then.
        known = {name: value for name, value in data.items() if encoded.get(name) == value}
        yield partial(data.__eq__, known if known.keys() == encoded.keys() else encoded), True
        if "time.tzname" in values:
            yield partial(getattr, sys.modules["time"], "tzname"), values["time.tzname"]


class _Cwd(Preset):
    """The working directory."""

    name = "cwd"
    module = "os"

    def read(self) -> Values:
        try:
            return {"os.getcwd()": os.getcwd()}
        except FileNotFoundError:
            return {"os.getcwd()": None}

    def write(self, values: Values, now: Values) -> None:
        path = values["os.getcwd()"]
        if path == now["os.getcwd()"]:
            return
        try:
            os.chdir("" if path is None else path)
        except OSError:  # somebody has deleted it, and who is still there is nowhere
            if now["os.getcwd()"] is not None:
                _go_nowhere()

    def probes(self, values: Values) -> Iterator[Probe]:
        yield os.getcwd, values["os.getcwd()"]


class _Umask(Preset):
    """The mask for the modes of new files (``os.umask``)."""

    name = "umask"
    module = "os"

    def read(self) -> Values:
        try:
            with open(_STATUS, "rb") as file:
                found = [line.split()[1] for line in file if line.startswith(b"Umask:")]
            return {"os.umask()": int(found[0], 8)}
        except (OSError, IndexError):
            mask = os.umask(0o077)
            os.umask(mask)
            return {"os.umask()": mask}

    def write(self, values: Values, now: Values) -> None:
        os.umask(values["os.umask()"])

    def probes(self, values: Values) -> Iterator[Probe]:
        yield partial(os.umask, values["os.umask()"]), values["os.umask()"]  # asks and puts back in one call

    def looks(self, state: State) -> list[Probe]:
        return [(partial(_umask, mask), mask) for _, mask in state.probes]


class _Signals(Preset):
    """The handlers of signals, timers, blocked signals and the wakeup descriptor.

    A timer that a task leaves running is ended. Those of processor time are looked for only where their signal is
    handled or another handler was changed: anywhere else such a timer would have ended the process.

    Only the main thread can see and change all of this.
    """

    name = "signals"
    module = "_signal"
    _TIMERS: Final = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")

    def read(self) -> Values:
        signal = sys.modules["_signal"]
        values: Values = {}
        for number in range(1, signal.NSIG):
            try:
                handler = signal.getsignal(number)
            except ValueError:  # not a signal of this system
                continue
            values[f"signal.getsignal({number})"] = int(handler) if isinstance(handler, int) else handler
        for timer in self._TIMERS:
            if hasattr(signal, timer):
                values[f"signal.{timer}"] = signal.getitimer(getattr(signal, timer)) != (0.0, 0.0)
        if hasattr(signal, "pthread_sigmask"):
            values["signal.pthread_sigmask()"] = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            descriptor = signal.set_wakeup_fd(-1)
        except ValueError:  # not the main thread
            return values
        if descriptor != -1:
            signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        values["signal.set_wakeup_fd()"] = descriptor
        return values

    def write(self, values: Values, now: Values) -> None:
        signal = sys.modules["_signal"]
        for timer in self._TIMERS:
            if values.get(f"signal.{timer}") is False and now[f"signal.{timer}"]:
                signal.setitimer(getattr(signal, timer), 0)
        mask = values.get("signal.pthread_sigmask()")
        for number in range(1, signal.NSIG):
            path = f"signal.getsignal({number})"
            before, after = values.get(path, ABSENT), now.get(path, ABSENT)
            if not same(before, after):
                if before is None:
                    raise cannot_undo(f"the handler of signal {number}", "It was not installed from Python.")
                signal.signal(number, before)
        descriptor = values.get("signal.set_wakeup_fd()")
        if descriptor is not None:
            signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # last: what was blocked comes now, to the right handler

    def probes(self, values: Values) -> Iterator[Probe]:
        signal = sys.modules["_signal"]
        numbers = [number for number in range(1, signal.NSIG) if f"signal.getsignal({number})" in values]
        handlers = [values[f"signal.getsignal({number})"] for number in numbers]
        getsignal = signal.getsignal
        yield (lambda: [*map(getsignal, numbers)]), handlers
        for timer in self._TIMERS:
            # Each look is a system call. A timer whose signal nobody handles comes with a new handler, which shows.
            its = getattr(signal, _TIMER_SIGNALS[timer], 0)
            if values.get(f"signal.{timer}") is False and (
                timer == "ITIMER_REAL" or not isinstance(values.get(f"signal.getsignal({its})"), int)
            ):
                yield partial(signal.getitimer, getattr(signal, timer)), (0.0, 0.0)
        if "signal.pthread_sigmask()" in values:
            yield partial(signal.pthread_sigmask, signal.SIG_BLOCK, ()), values["signal.pthread_sigmask()"]
        if values.get("signal.set_wakeup_fd()") == -1:
            yield partial(signal.set_wakeup_fd, -1), -1

    def looks(self, state: State) -> list[Probe]:
        return [(_wakeup_fd, -1) if was == -1 else (probe, was) for probe, was in state.probes]


def _go_nowhere() -> None:
    """Go to a directory that is deleted, where it is as in any other one that is."""
    import tempfile

    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def _umask(likely: int) -> int:
    """Return the mask for new files, which can only be read by setting it."""
    mask = os.umask(likely)
    if mask != likely:
        os.umask(mask)
    return mask


def _wakeup_fd() -> int:
    """Return the wakeup descriptor, likewise."""
    signal = sys.modules["_signal"]
    descriptor: int = signal.set_wakeup_fd(-1)
    if descriptor != -1:
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    return descriptor


class _Limits(Preset):
    """The limits of the operating system (``resource.setrlimit``), and the priority (``os.nice``).

    A hard limit that was lowered, or a priority that was given up, cannot be had back.
    """

    name = "limits"
    module = "os"

    def read(self) -> Values:
        values: Values = {}
        if hasattr(os, "getpriority"):
            values["os.getpriority()"] = os.getpriority(os.PRIO_PROCESS, 0)
        if hasattr(os, "sched_getaffinity"):
            values["os.sched_getaffinity()"] = os.sched_getaffinity(0)
        resource = sys.modules.get("resource")
        if resource is None:
            # Nobody can have changed a limit yet, and who does will have loaded it: the kernel's own words will do.
            return {**values, "resource": _limits_text()}
        for name in sorted(name for name in vars(resource) if name.startswith("RLIMIT_") and name != _ALIAS):
            try:
                values[f"resource.{name}"] = resource.getrlimit(getattr(resource, name))
            except (OSError, ValueError):  # not a limit of this system
                continue
        return values

    def write(self, values: Values, now: Values) -> None:
        resource = sys.modules.get("resource")
        if resource is not None and "resource" in values:
            values.update(_parse_limits(values.pop("resource"), resource.RLIM_INFINITY))
            values.update({path: limit for path, limit in now.items() if path not in values})
        for path, before in values.items():
            after = now.get(path, before)
            if path == "resource" or same(before, after):
                continue
            try:
                if path == "os.getpriority()":
                    os.setpriority(os.PRIO_PROCESS, 0, before)
                elif path == "os.sched_getaffinity()":
                    os.sched_setaffinity(0, before)
                else:
                    cast("Any", resource).setrlimit(getattr(resource, path.partition(".")[2]), before)
            except (OSError, ValueError) as error:
                raise cannot_undo(
                    path, f"It was {before} and is {after}; that is not to be had back: {error}."
                ) from error

    def differences(self, state: Any) -> list[tuple[str, object, object]]:
        resource = sys.modules.get("resource")
        if resource is not None and "resource" in state.values:
            state.values.update(_parse_limits(state.values.pop("resource"), resource.RLIM_INFINITY))
            state.values.update({path: limit for path, limit in self.read().items() if path not in state.values})
            self.arm(state)
        return super().differences(state)

    def probes(self, values: Values) -> Iterator[Probe]:
        if "os.getpriority()" in values:
            yield partial(os.getpriority, os.PRIO_PROCESS, 0), values["os.getpriority()"]
        if "os.sched_getaffinity()" in values:
            yield partial(os.sched_getaffinity, 0), values["os.sched_getaffinity()"]
        if "resource" in values:
            yield partial(sys.modules.get, "resource"), None
            return
        resource = sys.modules["resource"]
        for path, limit in values.items():
            if path.startswith("resource."):
                yield partial(resource.getrlimit, getattr(resource, path.partition(".")[2])), limit


def _limits_text() -> str:
    try:
        with open(_LIMITS, "rb") as file:
            return str(file.read(), "ascii")  # no codec is to be imported for it, nor is one in development mode
    except OSError:
        return ""


def _parse_limits(text: str, unlimited: int) -> Values:
    values: Values = {}
    for label, name in _LIMIT_NAMES.items():
        at = text.find(label + " ")
        if at >= 0:
            soft, hard = (unlimited if word == "unlimited" else int(word) for word in text[at + 26 :].split()[:2])
            values[f"resource.RLIMIT_{name}"] = (soft, hard)
    return values


environ: Final = _Environ()
cwd: Final = _Cwd()
umask: Final = _Umask()
signals: Final = _Signals()
limits: Final = _Limits()
