"""Tasks that take their time, or die now and then; importable in a worker, and without pytest.

Who uses it: the tests of time limits and retries.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from tests.support.gates import Gate, Tally


def wait_for_ever() -> NoReturn:
    while True:
        time.sleep(60)


def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def burn() -> NoReturn:
    while True:
        pass


def hold_the_gil() -> None:
    ctypes.PyDLL(None).pause()


def hold_the_gil_for(seconds: float) -> None:
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def be_deaf() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wait_for_ever()


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    wait_for_ever()


def close_everything() -> None:
    """But for what the channel needs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.closerange(900, 1024)
    wait_for_ever()


def around(job: tuple[Tally, int, float]) -> int:
    tally, i, seconds = job
    tally.add(i)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return i


def outcome(results: Any) -> Any:
    """In the parent: the next value, or the name of its error."""
    try:
        return results.next(30)
    except Exception as error:
        return type(error).__name__


def _is_first(tally: Tally, i: int) -> bool:
    first = str(i) not in tally.entries()
    tally.add(i)
    return first


def die_once(job: tuple[Tally, int, bool]) -> tuple[int, int]:
    tally, i, mortal = job
    if _is_first(tally, i) and mortal:
        os.kill(os.getpid(), signal.SIGKILL)
    return i, i * i


def wait_once(job: tuple[Tally, int, bool]) -> int:
    tally, i, slow = job
    if _is_first(tally, i) and slow:
        wait_for_ever()
    return i


def die_always(tally: Tally) -> None:
    tally.add(os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_one(i: int) -> tuple[int, int]:
    if i == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return i, i


def note_and(tally: Tally, deed: Callable[[], Any]) -> None:
    tally.add(os.getpid())
    deed()


def raise_value_error() -> NoReturn:
    raise ValueError("on purpose")


class Stopping(Exception):
    pass


def _stop(number: int, frame: object) -> None:
    raise Stopping


def _exit(number: int, frame: object) -> None:
    sys.exit(0)


def _wait_for_ever_with(handler: Callable[[int, Any], None]) -> NoReturn:
    signal.signal(signal.SIGTERM, handler)
    wait_for_ever()


def raise_when_told(tally: Tally) -> None:
    """Takes too long, and fails in its own way when it is told to end; so do the next two."""
    tally.add(os.getpid())
    _wait_for_ever_with(_stop)


def exit_when_told(tally: Tally) -> None:
    tally.add(os.getpid())
    _wait_for_ever_with(_exit)


def return_a_lock_when_told(tally: Tally) -> Any:
    tally.add(os.getpid())
    try:
        _wait_for_ever_with(_stop)
    except Stopping:
        return threading.Lock()


def return_when_told(value: int) -> int:
    try:
        _wait_for_ever_with(_stop)
    except Stopping:
        return value


def raise_at_one_when_told(i: int) -> int:
    if i == 1:
        _wait_for_ever_with(_stop)
    return i


def even_ones_tidy_up(i: int) -> int:
    """Takes too long, and fails in its own way when it is told to end."""
    if i % 2 == 0:
        _wait_for_ever_with(_stop)
    return i


class Lingering:
    def __del__(self) -> None:
        time.sleep(1.5)


left: Any = None


def leave_what_lingers() -> str:
    global left
    left = Lingering()
    return "done"


def fork_one_that_is_terminated() -> None:
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            a_child_of_a_task(tell)
        finally:
            os._exit(1)
    os.read(told, 1)
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    os.close(told)
    os.close(tell)


def a_child_of_a_task(tell: int) -> None:
    os.write(tell, b"!")
    wait_for_ever()


def set_a_handler() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def large_after(seconds: float) -> bytes:
    time.sleep(seconds)
    return bytes(10_000_000)


def note_and_wait(job: tuple[Tally, int, Gate | None]) -> int:
    tally, i, gate = job
    tally.add(i)
    if gate is not None:
        gate.wait()
    return i


def say_and_wait(word: str) -> NoReturn:
    print(word, file=sys.stderr)
    wait_for_ever()
