"""How modules, classes, instances and functions get their names and parts back, in place.

The companion of `kinds`, under the same rules. What has names is never emptied first as a dictionary would be: code of
other threads, and the code that runs right now, looks names up in there at any moment.
"""

from __future__ import annotations

import _abc  # type: ignore[import-not-found]
import gc
import sys
from collections.abc import Collection, Iterable, Mapping
from operator import is_
from typing import Any, Final

from .kinds import ABSENT, Record
from .modules import is_module
from .shapes import type_dict

#: Names of class dictionaries that belong to the interpreter: neither put back nor taken away.
CLASS_INTERNALS: Final = frozenset(
    {
        "__dict__", "__weakref__", "_abc_impl", "__abstractmethods__", "__annotations_cache__", "__annotate__",
        "__annotate_func__", "__static_attributes__", "__firstlineno__",
    }
)  # fmt: skip

_name_of, _qualname_of = type.__dict__["__name__"].__get__, type.__dict__["__qualname__"].__get__
_bases_of = type.__dict__["__bases__"].__get__
_set_class = object.__dict__["__class__"].__set__
_set_attribute, _delete_attribute = type.__setattr__, type.__delattr__


def put_namespaces(records: Iterable[Record]) -> None:
    """(globals of a module, copy)"""
    for space, saved in records:
        space.update(saved)
        if len(space) != len(saved):
            drop_new_names(space, saved)


def check_namespaces(records: Iterable[Record]) -> None:
    """(globals of a module, copy): a quarter of the cost where nothing differs."""
    for space, saved in records:
        try:
            same = space == saved
        except BaseException:  # something that a finalizer left, with an __eq__ of its own
            same = False
        if not same:
            put_namespaces(((space, saved),))


def put_partial_namespaces(records: Iterable[Record]) -> None:
    """(globals or ``__dict__``, copy without them, names that are somebody else's: kept, or made by a factory)"""
    for space, saved, others in records:
        space.update(saved)
        if len(space) != len(saved) or not others.isdisjoint(space):
            drop_new_names(space, saved, others)


def drop_new_names(space: dict[str, Any], saved: dict[str, Any], others: Collection[str] = ()) -> None:
    """Delete the names that were added, except a package's submodules.

    The import system binds a submodule once, when it is first imported. Taken away it would never come back, and
    ``import package.sub`` of a later task would find no ``package.sub``: it becomes part of the pristine state.
    """
    for name in [name for name in list(space) if name not in saved and name not in others]:
        value = space[name]
        if is_module(value) and sys.modules.get(f"{space.get('__name__')}.{name}") is value:
            saved[name] = value
        else:
            space.pop(name, None)


def put_bindings(records: Iterable[Record]) -> None:
    """(globals or ``__dict__``, name, value or ABSENT)"""
    for space, name, value in records:
        if value is not ABSENT:
            space[name] = value
        else:
            space.pop(name, None)


def put_class_bindings(records: Iterable[Record]) -> None:
    """(class, name, value or ABSENT)"""
    for cls, name, value in records:
        bind_in_class(cls, name, value)


def bind_in_class(cls: type, name: str, value: Any) -> None:
    """Set or, for ABSENT, delete an attribute of a class itself, past its metaclass."""
    if type_dict(cls).get(name, ABSENT) is value:
        return
    if value is not ABSENT:
        _set_attribute(cls, name, value)
    else:
        _delete_attribute(cls, name)


def put_attached(records: Iterable[Record]) -> None:
    """(instance, type, ``__dict__`` or None, getter, setter): of which class it is, and which dictionary it has."""
    for obj, cls, space, get, put in records:
        if type(obj) is not cls:
            _set_class(obj, cls)
        if get is not None and get(obj) is not space:
            put(obj, space)


def put_attributes(records: Iterable[Record]) -> None:
    """(``__dict__``, copy, names). Emptied only when names came, went or moved."""
    for space, saved, names in records:
        if tuple(space) != names:
            space.clear()
        space.update(saved)


def check_attributes(records: Iterable[Record]) -> None:
    """(``__dict__``, copy, names): put back only when something differs; enough for enum members."""
    for space, saved, names in records:
        try:
            same = space == saved
        except BaseException:  # something with an __eq__ of its own
            same = False
        if not same:
            put_attributes(((space, saved, names),))


def put_fields(records: Iterable[Record]) -> None:
    """(``__dict__``, those of its names that are put back)"""
    for space, saved in records:
        space.update(saved)


def put_slots(records: Iterable[Record]) -> None:
    """(instance, setters of its slots, values)"""
    for obj, setters, values in records:
        for put, value in zip(setters, values):  # noqa: B905 - of one length, and `strict` costs
            put(obj, value)


def put_gapped_slots(records: Iterable[Record]) -> None:
    """(instance, slots, values, some of them ABSENT)"""
    for obj, slots, values in records:
        for slot, value in zip(slots, values):  # noqa: B905 - as above
            if value is not ABSENT:
                slot.__set__(obj, value)
            else:
                try:  # noqa: SIM105 - contextlib.suppress() costs many times as much
                    slot.__delete__(obj)
                except AttributeError:  # unset, as it should be
                    pass


def put_cells(records: Iterable[Record]) -> None:
    """(closure cell, content)"""
    for cell, saved in records:
        cell.cell_contents = saved


def put_empty_cells(records: Iterable[Record]) -> None:
    """(closure cell that was empty,)"""
    for (cell,) in records:
        try:  # noqa: SIM105 - contextlib.suppress() costs many times as much
            del cell.cell_contents
        except ValueError:  # empty, as it should be
            pass


class ClassWatch:
    """All captured classes together: one call into C lists what all their dictionaries hold now.

    A class's own dictionary is behind a read-only view, and may be changed through the class only; `gc.get_referents`
    shows it.
    """

    __slots__ = ("_classes", "_dicts", "_held", "_names", "_parts", "_records")

    def __init__(self, records: list[Record], *, doubtful: bool = False) -> None:
        #: (class, read-only view, copy without the others, names that are somebody else's, identity)
        self._records = records
        self._classes = [record[0] for record in records]
        self._names = [] if doubtful else list(map(_name_of, self._classes))
        self._parts = [] if doubtful else gc.get_referents(*map(_bases_of, self._classes))
        self._dicts = [gc.get_referents(record[1])[0] for record in records]
        self._held = [] if doubtful else gc.get_referents(*self._dicts)

    def put(self) -> None:
        """Put back what differs in any class; values that are equal without being the same differ, too."""
        held = gc.get_referents(*self._dicts)
        same = len(held) == len(self._held) and all(map(is_, held, self._held))
        if not (same and list(map(_name_of, self._classes)) == self._names and self._same_bases()):
            self._put_all()

    def _same_bases(self) -> bool:
        parts = gc.get_referents(*map(_bases_of, self._classes))
        return len(parts) == len(self._parts) and all(map(is_, parts, self._parts))

    def check(self) -> None:
        """Like `put`, by equality, which costs a quarter."""
        try:
            same = gc.get_referents(*self._dicts) == self._held
        except BaseException:  # something with an __eq__ of its own
            same = False
        if not same:
            self._put_all()

    def _put_all(self) -> None:
        failed: BaseException | None = None
        for record in self._records:
            try:
                _put_class(*record)
            except BaseException as error:
                failed = failed or error
        self._held = gc.get_referents(*self._dicts)  # in the order of now: that of a class's names cannot be put back
        self._names = list(map(_name_of, self._classes))
        self._parts = gc.get_referents(*map(_bases_of, self._classes))
        if failed is not None:
            raise failed


def identity_of(cls: type) -> tuple[str, str, tuple[type, ...]]:
    """Return what a class is called and what it inherits from, past its metaclass."""
    return _name_of(cls), _qualname_of(cls), _bases_of(cls)


def _put_class(
    cls: type, view: Mapping[str, Any], saved: dict[str, Any], others: Collection[str], identity: tuple[Any, ...]
) -> None:
    name, qualname, bases = identity
    if _bases_of(cls) != bases:
        type.__dict__["__bases__"].__set__(cls, bases)
    if (_name_of(cls), _qualname_of(cls)) != (name, qualname):
        type.__dict__["__name__"].__set__(cls, name)
        type.__dict__["__qualname__"].__set__(cls, qualname)
    for name in [name for name in list(view) if name not in saved and name not in others]:
        _delete_attribute(cls, name)
    for name, value in saved.items():
        if view.get(name, ABSENT) is not value:
            _set_attribute(cls, name, value)


class RegistrationWatch:
    """The classes registered with abstract classes (``Base.register(cls)``). A counter in C tells when one was."""

    __slots__ = ("_count", "_records")

    def __init__(self, records: list[Record], *, doubtful: bool = False) -> None:
        #: (abstract class, classes that were registered with it)
        self._records = records
        self._count = None if doubtful else _abc.get_cache_token()

    def put(self) -> None:
        """Forget what was registered since."""
        if _abc.get_cache_token() != self._count:
            for cls, registered in self._records:
                _abc._reset_registry(cls)
                _abc._reset_caches(cls)
                for one in registered:
                    _abc._abc_register(cls, one)
            self._count = _abc.get_cache_token()


def registered_with(cls: type) -> tuple[type, ...]:
    """Return the classes that were registered with an abstract class."""
    held = (reference() for reference in _abc._get_dump(cls)[0])
    return tuple(one for one in held if one is not None)


class FunctionWatch:
    """All captured functions together: one call into C tells whether any of them may have got other parts.

    `gc.get_referents` lists everything that the functions refer to. Equal lists mean that nothing was exchanged, except
    for defaults that are equal without being the same (``(1,)`` and ``(True,)``); where there are any, they are looked
    at one by one.
    """

    __slots__ = ("_defaults", "_functions", "_keywords", "_parts", "_records", "_spaces")

    def __init__(self, records: list[Record], *, doubtful: bool = False) -> None:
        #: (function, __defaults__, __kwdefaults__, __code__, __dict__ or None when it had none, names)
        self._records = records
        self._functions = [record[0] for record in records]
        self._defaults = [(record[0], record[1]) for record in records if record[1]]
        self._keywords = [(record[0], record[2]) for record in records if record[2]]
        self._parts = [] if doubtful else gc.get_referents(*self._functions)
        #: Dictionaries that came into being since, and must stay empty: what is put in there changes no reference.
        self._spaces: list[dict[str, Any]] = []

    def put(self) -> None:
        """Put back what was exchanged in any of the functions."""
        if not self._same():
            failed: BaseException | None = None
            for record in self._records:
                try:
                    _put_function(*record)
                except BaseException as error:
                    failed = failed or error
            self._spaces = [record[0].__dict__ for record in self._records if record[4] is None]
            self._parts = gc.get_referents(*self._functions)
            if failed is not None:
                raise failed

    def _same(self) -> bool:
        try:
            if gc.get_referents(*self._functions) != self._parts or any(self._spaces):
                return False
        except BaseException:  # a part with an __eq__ of its own
            return False
        for function, defaults in self._defaults:
            if function.__defaults__ is not defaults:
                return False
        return all(function.__kwdefaults__ is keywords for function, keywords in self._keywords)


def names_of(function: Any) -> tuple[str, str, Any]:
    """Return what a function is called, and its docstring."""
    return function.__name__, function.__qualname__, function.__doc__


def _put_function(
    function: Any, defaults: Any, keywords: Any, code: Any, space: dict[str, Any] | None, names: tuple[Any, ...]
) -> None:
    function.__name__, function.__qualname__, function.__doc__ = names
    if function.__defaults__ is not defaults:
        function.__defaults__ = defaults
    if function.__kwdefaults__ is not keywords:
        function.__kwdefaults__ = keywords
    if function.__code__ is not code:
        function.__code__ = code
    if space is None:
        function.__dict__.clear()
    elif function.__dict__ is not space:
        function.__dict__ = space


def put_watched(records: Iterable[Record]) -> None:
    """(watch,)"""
    for (watch,) in records:
        watch.put()


def check_watched(records: Iterable[Record]) -> None:
    """(watch,)"""
    for (watch,) in records:
        watch.check()
