"""``python -m poolsafe audit``: run an unchanged program with pools that watch, and tell what its tasks leak.

Who calls it: `__main__`. The program runs in an interpreter of its own, as it would without us: `_audited` gets into it
through ``PYTHONPATH`` and replaces `multiprocessing.Pool` there. When the program has ended, this process reads what
its pools left in a folder, and reports on stderr; stdout is the program's.

What may go wrong: the program ends by a signal or `os._exit` (pools that could not tell are counted as such); the
interpreter was told to ignore its environment (a usage error, since the program could not be watched).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .leaks import Leak, Leaks

_WIDTH: Final = 120
#: Seconds after which to look for the program's end though no signal told of it.
_LOOK: Final = 0.2
#: Signals that are passed on to the program.
_PASSED_ON: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def main(argv: Sequence[str]) -> int:
    """Run the command line `argv`; return the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    if sys.flags.ignore_environment or sys.flags.no_site:
        parser.error("cannot watch a program under -E, -I or -S: start without these")
    with tempfile.TemporaryDirectory(prefix="poolsafe-audit-") as folder:
        try:
            # Now, because a mistyped path should not be found out after an hour.
            report = None if options.json is None else open(options.json, "w", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            parser.error(f"argument --json: {error}")
        status = run(_command(options), _environment(options, folder))
        seen = Seen.read(folder)
    print(seen.text(), file=sys.stderr, flush=True)
    if report is not None:
        with report:
            json.dump({**seen.as_data(), "status": status}, report, indent=2)
            report.write("\n")
    if seen.leaks or not seen.watched:
        return status if status > 0 and not seen.leaks else 1
    if status < 0:
        _end_by(-status)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m poolsafe audit",
        usage="%(prog)s [--isolation LEVEL] [--keep TARGET] [--json FILE] (SCRIPT | -m MODULE) [ARGS...]",
        description="Run a program unchanged, but with pools that watch, and report which tasks leak what. "
        "The exit status is 1 when something leaked, else the program's own.",
    )
    parser.add_argument(
        "--isolation",
        choices=["globals", "fork", "process", "none"],
        default="globals",
        help="globals (the default): put globals back before every task, as IsolatedPool does; "
        "fork, process: a fresh process for each task; none: only watch",
    )
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="TARGET",
        help="a global that may stay changed, such as app:model; may be given several times",
    )
    parser.add_argument("--json", metavar="FILE", help="write the report to this file, too, as JSON")
    parser.add_argument("-m", dest="module", action="store_true", help="the program is a module, as in python -m")
    parser.add_argument("program", metavar="SCRIPT", help="the program: a file, or a module after -m")
    parser.add_argument("arguments", metavar="ARGS", nargs=argparse.REMAINDER, help="its arguments")
    return parser


def _command(options: argparse.Namespace) -> list[str]:
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    program = ["-m", options.program] if options.module else [options.program]
    return [sys.executable, *flags, *program, *options.arguments]


def _environment(options: argparse.Namespace, folder: str) -> dict[str, str]:
    home = Path(__file__).resolve().parent
    before = os.environ.get("PYTHONPATH")
    settings = {
        "folder": folder,
        "home": str(home),
        "isolation": None if options.isolation == "none" else options.isolation,
        "keep": options.keep,
        "pythonpath": before,
    }
    path = os.pathsep.join([str(home / "_audited"), *([before] if before else [])])
    return {**os.environ, "PYTHONPATH": path, "POOLSAFE_AUDIT": json.dumps(settings)}


# -- running -----------------------------------------------------------------------------------------------------------
def run(command: list[str], environment: Mapping[str, str]) -> int:
    """Run a program as if we were not there; return its exit status, negative for a signal."""
    if not hasattr(signal, "sigtimedwait"):
        return _run_simply(command, environment)
    # What the terminal sends reaches the program by itself; what is sent to us alone is passed on.
    signals = {signal.SIGCHLD, *(signal.Signals[name] for name in _PASSED_ON)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    ignored = [signal.SIGPIPE, signal.SIGXFSZ]  # by Python, for itself
    try:
        pid = os.posix_spawn(command[0], command, environment, setsigmask=mask, setsigdef=ignored)
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            told = signal.sigtimedwait(signals, _LOOK)  # another thread may have been given the child's signal
            if told is not None and told.si_signo != signal.SIGCHLD and told.si_code <= 0:
                os.kill(pid, told.si_signo)  # sent by a process, not by the kernel
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _run_simply(command: list[str], environment: Mapping[str, str]) -> int:
    program = subprocess.Popen(command, env=environment)
    while True:
        try:
            return program.wait()
        except KeyboardInterrupt:  # the program got it, too, and decides
            continue


def _end_by(number: int) -> None:
    """End as the program did, for whoever looks."""
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


# -- reporting ---------------------------------------------------------------------------------------------------------
@dataclass
class Seen:
    """What the pools of a program saw.

    Attributes:
        watched: Whether the program was watched at all.
        pools: How many pools it made.
        silent: How many of them could not tell what they saw.
        leaks: Of all pools.
        advice: What to do about them.
        stats: Of all pools, added up.
    """

    watched: bool = False
    pools: int = 0
    silent: int = 0
    leaks: Leaks = field(default_factory=Leaks)
    advice: dict[str, str] = field(default_factory=dict)
    stats: dict[str, Any] = field(
        default_factory=lambda: {
            "tasks": 0,
            "lost": 0,
            "retried": 0,
            "retired": {},
            "seconds_in_tasks": 0.0,
            "seconds_in_resets": 0.0,
            "dearest": [],
            "carried": {},
        }
    )

    @classmethod
    def read(cls, folder: str) -> Seen:
        """Read what the pools left."""
        seen = cls(watched=os.path.exists(os.path.join(folder, "watched")))
        for path in sorted(Path(folder).glob("pool-*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
            seen._add(json.loads(path.read_text(encoding="utf-8")))
        return seen

    def _add(self, told: dict[str, Any] | None) -> None:
        self.pools += 1
        if told is None:
            self.silent += 1
            return
        for leak in told["leaks"]:
            self.leaks.add(Leak(**leak))
        self.leaks.dropped += told["dropped"]
        for sentence in told["advice"]:
            self.advice.setdefault(sentence.partition(" ")[0], sentence)  # it begins with what it is about
        for name, value in told["stats"].items():
            if name in ("retired", "carried"):
                for what, count in value.items():
                    self.stats[name][what] = self.stats[name].get(what, 0) + count
            elif name == "dearest":
                sums = dict(self.stats["dearest"])
                for target, seconds in value:
                    sums[target] = sums.get(target, 0.0) + seconds
                self.stats["dearest"] = sorted(map(list, sums.items()), key=lambda pair: -pair[1])
            else:
                self.stats[name] += value

    def as_data(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "leaks": self.leaks.as_data(),
            "stats": self.stats,
            "pools": self.pools,
            "silent": self.silent,
            "dropped": self.leaks.dropped,
        }

    def text(self) -> str:
        """Return all of it for people."""
        if not self.watched:
            return "poolsafe audit: the program was not watched: its interpreter did not get as far as `site`."
        if not self.pools:
            return "poolsafe audit: the program made no multiprocessing.Pool."
        tasks = f"{_count(self.stats['tasks'], 'task')} in {_count(self.pools, 'pool')}"
        if self.leaks:
            lines = [
                f"poolsafe audit: {_count(len(self.leaks) + self.leaks.dropped, 'leak')} from {tasks}",
                "",
                str(self.leaks),
            ]
            lines += ["", *(textwrap.fill(said, _WIDTH) for said in self.advice.values()), ""] if self.advice else [""]
        else:
            lines = [f"poolsafe audit: nothing leaked from {tasks}"]
        if self.silent:
            lines.append(f"{_count(self.silent, 'pool')} could not tell: the process was killed or left by os._exit().")
        if self.stats["carried"]:
            carried = ", ".join(f"{name} ({count})" for name, count in sorted(self.stats["carried"].items()))
            lines.append(f"Carried to tasks, which multiprocessing.Pool refuses: {carried}.")
        if self.pools > self.silent:
            lines.append(self._cost())
        return "\n".join(lines)

    def _cost(self) -> str:
        resets, tasks = self.stats["seconds_in_resets"], self.stats["seconds_in_tasks"]
        share = f", {resets / (resets + tasks):.1%} of the workers' time" if resets + tasks else ""
        cost = f"Isolating them took {resets:.3f} s beside {tasks:.3f} s in tasks{share}."
        dearest = ", ".join(f"{target} ({seconds:.3f} s)" for target, seconds in self.stats["dearest"][:3])
        return f"{cost} Dearest: {dearest}." if dearest else cost


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
