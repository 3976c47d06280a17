"""Where a target's value is bound: in a module, in a class or in an instance.

Called by `Plan`, in the parent to check the targets, and in each worker to capture. What may go wrong: the module
cannot be imported, or there is no such attribute; both are a `TargetError` with the target, the cause and the way out.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, Final

from ..errors import TargetError
from .kinds import ABSENT
from .modules import MP_MAIN, is_module, namespace_of, namespaces_of
from .shapes import Shapes, mro_of, type_dict

_shapes: Final = Shapes()


class Target:
    """A target as it was written, taken apart: ``"pkg.mod:Class.attr"``. A whole module has no path."""

    __slots__ = ("module", "path", "text")

    def __init__(self, text: str) -> None:
        self.text: str = text
        module, colon, path = text.partition(":")
        self.module: str = "__main__" if module == MP_MAIN else module
        self.path: tuple[str, ...] = tuple(path.split(".")) if colon else ()
        parts = (*self.module.split("."), *self.path)
        if not all(parts) or any(part != part.strip() or ":" in part for part in parts):
            raise TargetError(
                f"{text!r} is not a target",
                cause="A target is the name of a module, or a module and a name in it with one colon between them.",
                remedy="Write it as 'pkg.mod', 'pkg.mod:NAME' or 'pkg.mod:Class.attr'.",
                target=text,
            )

    def __reduce__(self) -> tuple[type[Target], tuple[str]]:
        return Target, (self.text,)

    def load(self) -> ModuleType:
        """Import the target's module.

        Raises:
            TargetError: There is no such module, or importing it failed.
        """
        try:
            module = sys.modules.get(self.module) or importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if not _names(error.name, self.module):
                raise self._broken(error) from error
            raise TargetError(
                f"there is no module {self.module!r} (target {self.text!r})",
                cause="The name is misspelt, or the module is in no directory of sys.path.",
                remedy=self._hint() or "Name a module that can be imported here, as 'pkg.mod' or 'pkg.mod:NAME'.",
                target=self.text,
            ) from error
        except Exception as error:
            raise self._broken(error) from error
        return module

    def _broken(self, error: BaseException) -> TargetError:
        return TargetError(
            f"importing {self.module!r} for the target {self.text!r} failed: {type(error).__name__}",
            cause="The module itself raised while it was imported; its traceback is above.",
            remedy="Make the module importable, or leave the target out.",
            target=self.text,
        )

    def _hint(self) -> str:
        owner, _, name = self.module.rpartition(".")
        space = vars(sys.modules[owner]) if owner in sys.modules else {}
        return f"Write {owner + ':' + name!r}: {name!r} is a name in the module {owner!r}." if name in space else ""


def _names(missing: str | None, module: str) -> bool:
    """Tell whether the module that was not found is the wanted one or a package of it, and not one that it imports."""
    return missing is not None and (module + ".").startswith(missing + ".")


class Place:
    """Where a value is bound.

    Args:
        owner: The module, class or instance.
        name: The last part of the target.

    Attributes:
        own: What the owner itself has under the name, or ABSENT.
        value: What is found there, be it inherited; or ABSENT.
    """

    __slots__ = ("_mirrors", "_slot", "_space", "name", "own", "owner", "value")

    def __init__(self, owner: Any, name: str) -> None:
        self.owner: Any = owner
        self.name: str = name
        self._space: dict[str, Any] | None = None
        self._mirrors: list[dict[str, Any]] = []
        self._slot: Any = None
        self.own: Any = ABSENT
        self.value: Any = ABSENT
        if issubclass(type(owner), type):
            self.own = type_dict(owner).get(name, ABSENT)
            self.value = _inherited(owner, name)
            return
        if is_module(owner):
            self._space, *self._mirrors = namespaces_of(owner)
            self.value = self._space.get(name, ABSENT)
            if self.value is ABSENT:  # made on demand by the module's __getattr__, which may also bind it
                self.value = getattr(owner, name, ABSENT)
            self.own = self._space.get(name, ABSENT)
            return
        shape = _shapes[type(owner)]
        self._space = shape.dict_of(owner) if shape.dict_of else None
        self._slot = next((slot for slot in shape.slots if slot.__name__ == name), None)
        self.own = self._own_of_instance()
        self.value = self.own if self.own is not ABSENT else _inherited(type(owner), name)

    def _own_of_instance(self) -> Any:
        if self._slot is not None:
            return read_slot(self._slot, self.owner)
        return ABSENT if self._space is None else self._space.get(self.name, ABSENT)

    @property
    def keys(self) -> list[object]:
        """What `Exempt.names` knows the owner by."""
        return [self._space, *self._mirrors] if is_module(self.owner) else [self.owner]

    @property
    def can_bind(self) -> bool:
        """Whether the owner has room for the name."""
        return issubclass(type(self.owner), type) or self._slot is not None or self._space is not None

    def record(self, *, anew: bool = False) -> tuple[str, tuple[Any, ...]]:
        """Return (group, record) for putting the binding back; with *anew*, for taking it away first."""
        value = ABSENT if anew else self.own
        if self._slot is not None:
            return "gapped_slots", (self.owner, (self._slot,), (value,))
        if self._space is not None:
            return "made_binding" if anew else "binding", (self._space, self.name, value)
        return "made_class_binding" if anew else "class_binding", (self.owner, self.name, value)

    def bind(self, value: object) -> None:
        """Bind a new value here."""
        if self._slot is not None:
            self._slot.__set__(self.owner, value)
        elif self._space is not None:
            for space in (self._space, *self._mirrors):
                space[self.name] = value
        else:
            type.__setattr__(self.owner, self.name, value)


def _inherited(cls: type, name: str) -> Any:
    for k in mro_of(cls):
        found = type_dict(k).get(name, ABSENT)
        if found is not ABSENT:
            return found
    return ABSENT


def read_slot(slot: Any, obj: object) -> Any:
    """Return the content of a slot, or ABSENT."""
    try:
        return slot.__get__(obj)
    except AttributeError:
        return ABSENT


def locate(target: Target, *, tolerate: bool = False) -> Place | None:
    """Find where the value of a target that has a path is bound.

    Args:
        target: The target.
        tolerate: Return None when a name is missing, instead of raising.

    Raises:
        TargetError: The module cannot be imported, or a name is missing.
    """
    owner: Any = target.load()
    for name in target.path[:-1]:
        found = Place(owner, name)
        if found.value is ABSENT:
            if tolerate:
                return None
            raise _missing(target, found)
        owner = found.value
        if type(owner) in (staticmethod, classmethod):
            owner = owner.__func__
    place = Place(owner, target.path[-1])
    if not place.can_bind:
        raise TargetError(
            f"the target {target.text!r} names an attribute of an instance of {type(owner).__name__}, which has none",
            cause="Only modules, classes and instances with a __dict__ or slots have attributes that can be put back.",
            remedy="Name the object that holds it; what is inside it is put back, too.",
            target=target.text,
        )
    if place.value is not ABSENT:
        return place
    if tolerate:
        return None
    raise _missing(target, place)


def _missing(target: Target, place: Place) -> TargetError:
    owner = place.owner
    if is_module(owner):
        holder, names = f"module {target.module!r}", list(namespace_of(owner))
    elif issubclass(type(owner), type):
        holder, names = f"class {owner.__name__!r}", [name for k in mro_of(owner) for name in type_dict(k)]
    else:
        holder, names = f"the instance of {type(owner).__name__!r}", []
    alike = importlib.import_module("difflib").get_close_matches(place.name, names, 1)
    guess = f" Did you mean {alike[0]!r}?" if alike else ""
    return TargetError(
        f"{holder} has no {place.name!r} (target {target.text!r})",
        cause="The name is misspelt, or nothing has bound it yet." + guess,
        remedy="Name a global that exists when the pool is made, or bind it in an initializer.",
        target=target.text,
    )
