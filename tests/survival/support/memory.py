"""Tasks that take memory, or say last words; importable in a worker, and without pytest.

Who uses it: the tests of `max_memory=` and of what errors tell.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import warnings
from multiprocessing import util
from typing import Any, NoReturn

from tests.support.gates import Gate

MIB = 1 << 20

_hoard: list[bytearray] = []


def hoard(mebibytes: int) -> int:
    """Take memory that stays; say who has it."""
    _hoard.append(bytearray(b"x") * (mebibytes * MIB))
    return os.getpid()


def hold_for_a_while(mebibytes: int) -> int:
    """Take memory that goes again."""
    size = len(bytearray(b"x") * (mebibytes * MIB))
    return size // MIB


def devour(_: Any = None) -> NoReturn:
    """Take more and more, up to a size that a test can afford, and stay."""
    kept = []
    for _ in range(60):
        kept.append(bytearray(b"x") * (16 * MIB))
    while True:
        time.sleep(60)


def devour_and_say(word: str) -> NoReturn:
    print(word, file=sys.stderr)
    devour()


def say_and_die(word: str) -> None:
    """By all the ways of writing to stderr that Python has."""
    print(word, file=sys.stderr)
    logging.getLogger("tests").warning("logged %s", word)
    warnings.warn(f"warned of {word}", stacklevel=1)
    os.kill(os.getpid(), signal.SIGKILL)


def say(word: str) -> int:
    print(word, file=sys.stderr)
    return os.getpid()


def say_much_and_die(lines: int) -> None:
    for i in range(lines):
        print(f"line {i}", file=sys.stderr)
    os._exit(3)


def crash_deep_down() -> None:
    _crash()


def _crash() -> None:
    faulthandler._sigsegv()  # type: ignore[attr-defined]


def say_late(word: str, gate: Gate) -> None:
    """Say something when the task is done, from a thread that it leaves."""

    def speak() -> None:
        gate.wait()
        print(word, file=sys.stderr)

    threading.Thread(target=speak).start()


def say_and_fail(word: str) -> NoReturn:
    """An initializer that ends the process."""
    print(word, file=sys.stderr)
    os._exit(4)


def die(gate: Gate) -> None:
    os._exit(0 if gate.is_open() else 5)


# -- what leaves a stack behind though nothing is lost -----------------------------------------------------------------
def crash_in_a_copy() -> None:
    pid = os.fork()
    if not pid:
        faulthandler._sigsegv()  # type: ignore[attr-defined]
    os.waitpid(pid, 0)


def crash_at_the_end() -> int:
    """In a process that ends with this task; say which that is."""
    util.Finalize(None, crash_deep_down, exitpriority=10)
    return os.getpid()


def survive_sigterm() -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)
    os.kill(os.getpid(), signal.SIGTERM)


def wait_for_ever() -> NoReturn:
    time.sleep(600)
