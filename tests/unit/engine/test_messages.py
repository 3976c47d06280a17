"""Pickling as multiprocessing would, payloads, frames, and words for objects that resist."""

from __future__ import annotations

import copyreg
import multiprocessing as mp
import pickle
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn

import pytest

from poolsafe.engine import messages
from poolsafe.engine.messages import (
    all_atomic,
    by_reference,
    call_payload,
    chunk_payload,
    dumps,
    loads,
    safe_repr,
    safe_str,
)
from tests.support.tasks import square


class Thing:
    """Something with a reducer of its own, given by a test."""

    def __init__(self, name: str = "") -> None:
        self.name = name


def first(thing: Thing) -> Any:
    return Thing, ("first",)


def second(thing: Thing) -> Any:
    return Thing, ("second",)


@pytest.fixture
def registries() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    tables: list[dict[Any, Any]] = [copyreg.dispatch_table, ForkingPickler._extra_reducers]  # type: ignore[attr-defined]
    copies = [table.copy() for table in tables]
    yield
    for table, copy in zip(tables, copies, strict=True):
        table.clear()
        table.update(copy)


@pytest.mark.parametrize(
    "value", [1, 1.5, 2j, True, "text", b"bytes", None, (1, "a"), [1], {"a": [None]}, {1, 2}, square, int]
)
def test_what_pickles_comes_back(value: Any) -> None:
    assert loads(dumps(value)) == value


def test_a_reducer_of_multiprocessing_is_used(registries: None) -> None:
    ForkingPickler.register(Thing, first)
    assert loads(dumps([Thing("given")]))[0].name == "first"


def test_a_reducer_registered_later_is_used(registries: None) -> None:
    assert loads(dumps(Thing("given"))).name == "given"
    copyreg.pickle(Thing, first)  # type: ignore[arg-type]
    assert loads(dumps(Thing("given"))).name == "first"
    copyreg.pickle(Thing, second)  # type: ignore[arg-type]
    assert loads(dumps(Thing("given"))).name == "second"
    ForkingPickler.register(Thing, first)
    assert loads(dumps(Thing("given"))).name == "first"


def test_multiprocessing_comes_before_copyreg(registries: None) -> None:
    copyreg.pickle(Thing, first)  # type: ignore[arg-type]
    ForkingPickler.register(Thing, second)
    assert loads(dumps(Thing("given"))).name == "second"


def test_what_is_inherited_only_does_not_pickle() -> None:
    with pytest.raises(RuntimeError, match="inheritance"):
        dumps(mp.get_context("spawn").Lock())


def test_what_a_reducer_raises_comes_through() -> None:
    class Bad:
        def __reduce__(self) -> NoReturn:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dumps(Bad())


def test_a_call_is_told_from_a_chunk() -> None:
    call = call_payload(square, (3,), {})
    chunk = chunk_payload(messages.MAP, dumps(square), True, [1, 2], None, (2, 3))
    assert call[:1] == messages.SINGLE
    assert messages.open_payload(call) == (True, False, 0, 0, call[17:])
    assert loads(call[17:]) == (square, (3,), {})
    assert chunk[:1] == messages.CHUNK
    assert messages.open_payload(chunk)[:4] == (False, False, 2, 3)
    assert messages.open_payload(call_payload(square, (3,), {}, (0, 5), True))[:4] == (True, True, 0, 5)
    chunk = chunk_payload(messages.MAP, dumps(square), True, [1, 2], None, (2, 3), True)
    assert messages.open_payload(chunk)[:4] == (False, True, 2, 3)
    assert loads(chunk[17:]) == (messages.MAP, dumps(square), True, False, [1, 2])


def test_a_chunk_of_pickled_items() -> None:
    chunk = chunk_payload(messages.STARMAP, dumps(square), False, [], [dumps([1])])
    assert loads(chunk[17:]) == (messages.STARMAP, dumps(square), False, True, [dumps([1])])


class Integer(int):
    """Looks atomic, and may carry anything."""


class Pair(tuple[int, int]):
    __slots__ = ()


@pytest.mark.parametrize(
    ("items", "atomic"),
    [
        ([], True),
        ([1, "a", None, 2.5, b"", 1j, True], True),
        ([(1, "a"), 2], True),
        ([((1, 2), 3)], False),
        ([[1]], False),
        ([Integer(1)], False),
        ([Pair((1, 2))], False),
        ([1, Thing()], False),
        ([(1, Thing())], False),
    ],
)
def test_only_what_cannot_be_shared_is_pickled_together(items: list[Any], atomic: bool) -> None:
    assert all_atomic(items) is atomic


@pytest.mark.parametrize(("func", "expected"), [(square, True), (len, True), (Thing, True), (Thing().__init__, False)])
def test_functions_that_pickle_as_a_name(func: Any, expected: bool) -> None:
    assert by_reference(func) is expected


def test_a_frame_is_its_header_and_its_payload() -> None:
    made = messages.frame(messages.VALUE, 1 << 40, 7, b"abc")
    assert messages.FRAME.unpack_from(made) == (3, messages.VALUE, 1 << 40, 7)
    assert made[messages.FRAME.size :] == b"abc"


# -- hostile objects ---------------------------------------------------------------------------------------------------
class Text(str):
    """A string that fights back."""

    __slots__ = ()

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __getitem__(self, index: Any) -> NoReturn:
        raise RuntimeError("no slices")

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("no pickling")


def hostile(result: Any) -> Any:
    """An object whose repr and str give `result`, or raise it."""

    class Hostile:
        def __repr__(self) -> str:
            if isinstance(result, BaseException):
                raise result
            return result  # type: ignore[no-any-return]

        __str__ = __repr__

    return Hostile()


@pytest.mark.parametrize("say", [safe_repr, safe_str])
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3), RecursionError()])
def test_an_object_whose_repr_raises_is_named(say: Any, error: BaseException) -> None:
    assert "Hostile" in say(hostile(error))
    assert type(error).__name__ in say(hostile(error))


@pytest.mark.parametrize("say", [safe_repr, safe_str])
def test_an_object_whose_repr_is_no_text_is_named(say: Any) -> None:
    assert "TypeError" in say(hostile(3))


@pytest.mark.parametrize("say", [safe_repr, safe_str])
@pytest.mark.parametrize("length", [5, 5000])
def test_what_is_said_is_plain_text(say: Any, length: int) -> None:
    said = say(hostile(Text("x" * length)))
    assert type(said) is str
    assert said.startswith("xxxxx")
    assert pickle.loads(pickle.dumps(said)) == said


def test_long_words_are_shortened() -> None:
    assert safe_repr("x" * 500) == "'" + "x" * 196 + "..."
    assert safe_str("x" * 500) == "x" * 500
    assert safe_str("x" * 501) == "x" * 497 + "..."


# -- Sealed ------------------------------------------------------------------------------------------------------------
def refuse() -> NoReturn:
    raise ValueError("does not load")


class Unloadable:
    def __reduce__(self) -> Any:
        return refuse, ()


def test_a_sealed_object_is_carried_as_it_is_within_a_process() -> None:
    value = object()
    assert messages.Sealed(value).open() is value


def test_a_sealed_object_fails_when_it_is_opened_not_before() -> None:
    sealed = pickle.loads(ForkingPickler.dumps(messages.Sealed(Unloadable())))
    with pytest.raises(ValueError, match="does not load"):
        sealed.open()


def test_a_sealed_object_travels_twice() -> None:
    sealed = pickle.loads(ForkingPickler.dumps(messages.Sealed([1, 2])))
    assert pickle.loads(ForkingPickler.dumps(sealed)).open() == [1, 2]


def test_a_sealed_object_that_does_not_pickle_says_so() -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        ForkingPickler.dumps(messages.Sealed(lambda: None))
