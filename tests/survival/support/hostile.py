"""Objects that do not pickle, do not unpickle, or raise from methods that nobody expects to raise.

Who uses it: survival tests, and workers. What may go wrong: everything here is meant to go wrong, in the process and
at the moment that the name says.
"""

from __future__ import annotations

import os
import pickle
import threading
from typing import Any, NoReturn

from tests.support.tasks import kill_self


class DoesNotPickle:
    """Raises while it is pickled."""

    def __init__(self, kind: type[BaseException] = TypeError) -> None:
        self.kind = kind

    def __reduce__(self) -> NoReturn:
        raise self.kind("this does not pickle")

    def __call__(self) -> NoReturn:
        raise AssertionError("it cannot have travelled")


class DoesNotLoad:
    """Pickles, and raises while it is unpickled, in whatever process."""

    def __init__(self, kind: type[BaseException] = ValueError) -> None:
        self.kind = kind

    def __reduce__(self) -> Any:
        return _refuse, (self.kind,)

    def __call__(self, *_: object) -> NoReturn:
        raise AssertionError("it cannot have travelled")


def _refuse(kind: type[BaseException]) -> NoReturn:
    raise kind("this does not load")


class KillsWherePickled:
    def __reduce__(self) -> NoReturn:
        kill_self()


class KillsWhereLoaded:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> Any:
        return kill_self, ()

    def __call__(self) -> NoReturn:
        raise AssertionError("it cannot have travelled")


class NoRepr:
    """Neither shows itself nor pickles."""

    def __init__(self, kind: type[BaseException] = RuntimeError) -> None:
        self.kind = kind

    def __repr__(self) -> NoReturn:
        raise self.kind("no repr")

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError(self)


class TwoArguments(Exception):
    """Unpickling calls it with one argument, and fails."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} because {why}")


class KeywordOnly(Exception):
    def __init__(self, *, reason: str) -> None:
        super().__init__(reason)


class HoldsALock(Exception):
    def __init__(self) -> None:
        super().__init__("with a lock")
        self.lock = threading.Lock()


class NoText(Exception):
    """Its text raises, and it does not pickle."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def __reduce__(self) -> NoReturn:
        raise TypeError("no pickle")


class LoadsAsSomethingElse(Exception):
    def __reduce__(self) -> Any:
        return str, ("no exception at all",)


class Bare(BaseException):
    """An exception outside `Exception` that is no exit."""


class EqualToNothing:
    """Compares, hashes and tests false by raising; pickles well."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class RaisesWhenDropped:
    """Raises from its finalizer, in the worker and in the parent."""

    def __del__(self) -> None:
        raise RuntimeError("no end")


def two_arguments() -> NoReturn:
    raise TwoArguments("it failed", "it had to")


def keyword_only() -> NoReturn:
    raise KeywordOnly(reason="on purpose")


def nested(depth: int) -> list[Any]:
    """A list in a list in a list..."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def nested_error(depth: int) -> NoReturn:
    raise ValueError(nested(depth))


def unpicklable_function() -> Any:
    return lambda value: value


def pid_where_loaded() -> PidWhereLoaded:
    return PidWhereLoaded()


class PidWhereLoaded:
    def __reduce__(self) -> Any:
        return os.getpid, ()


def pickling_error_of(value: Any) -> BaseException:
    """What pickling *value* raises."""
    try:
        pickle.dumps(value)
    except BaseException as error:
        return error
    raise AssertionError(f"{type(value)} pickles")


class KillsWhenLoaded:
    """Ends the process that unpickles it, after 20 MB of it were read."""

    def __reduce__(self) -> Any:
        return _kill_after, (bytes(20_000_000), os.getpid())


def _kill_after(data: bytes, maker: int) -> Any:
    assert len(data) == 20_000_000
    if os.getpid() != maker:
        kill_self()
    return data
