"""A captured state, and putting it back before each task.

`Plan.capture` makes a `Snapshot` from a finished `walk`; a worker calls `watch_imports` once and `restore` before every
task. What may go wrong: a record that cannot be put back (a class that
became read-only, an object whose buffer is exported), a factory or a resetter that raises. `restore` then still puts
back everything else, and raises the first error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, Final, TypeAlias

from . import kinds, scopes
from .arrivals import Records, absorb, bind_submodules
from .import_watch import ImportWatch
from .iterators import put_iterators
from .kinds import Put, Record
from .modules import is_project_module, loaded_modules, namespaces_of

#: Group of records -> how it is put back: at first, and again after everything was dropped that a task left behind
#: (finalizers run then, and may change what was put back already). None: not needed in that round, because nothing is
#: dropped there (first), or because the check is not worth its cost (again).
_ROUNDS: Final[dict[str, tuple[Put | None, Put | None]]] = {
    "lock": (None, kinds.put_locks),
    "rlock": (None, kinds.put_rlocks),
    "class": (scopes.put_watched, scopes.check_watched),
    "class_binding": (scopes.put_class_bindings, scopes.put_class_bindings),
    "namespace": (scopes.put_namespaces, scopes.check_namespaces),
    "partial_namespace": (scopes.put_partial_namespaces, scopes.put_partial_namespaces),
    "binding": (scopes.put_bindings, scopes.put_bindings),
    "attached": (scopes.put_attached, None),
    "attributes": (scopes.put_attributes, scopes.check_attributes),
    "quiet": (scopes.check_attributes, scopes.check_attributes),
    "slots": (scopes.put_slots, scopes.put_slots),
    "gapped_slots": (scopes.put_gapped_slots, scopes.put_gapped_slots),
    "fields": (scopes.put_fields, scopes.put_fields),
    "function": (scopes.put_watched, None),
    "registration": (scopes.put_watched, None),
    "cell": (scopes.put_cells, scopes.put_cells),
    "empty_cell": (scopes.put_empty_cells, scopes.put_empty_cells),
    "lru_empty": (kinds.put_lru_empty, kinds.put_lru_empty),
    "lru_unbounded": (kinds.put_lru_unbounded, kinds.put_lru_unbounded),
    "lru_bounded": (kinds.put_lru_bounded, kinds.put_lru_bounded),
    "made_binding": (scopes.put_bindings, None),
    "made_class_binding": (scopes.put_class_bindings, None),
    "default_factory": (kinds.put_default_factories, kinds.put_default_factories),
    "list": (kinds.put_lists, kinds.check_lists),
    "list_like": (kinds.put_list_likes, kinds.put_list_likes),
    "dict": (kinds.put_dicts, kinds.put_dicts),
    "ordered_dict": (kinds.put_ordered_dicts, kinds.put_ordered_dicts),
    "set": (kinds.put_sets, kinds.put_sets),
    "deque": (kinds.put_deques, kinds.put_deques),
    "weak": (kinds.put_weak, kinds.put_weak),
    "exception": (kinds.put_exceptions, kinds.put_exceptions),
    "ndarray_of_objects": (kinds.put_ndarrays, kinds.put_ndarrays),
    "bytearray": (None, kinds.put_bytearrays),
    "array": (None, kinds.put_arrays),
    "ndarray": (None, kinds.put_ndarrays),
    "frozen_ndarray": (None, kinds.put_frozen_ndarrays),
    "string_io": (None, kinds.put_string_ios),
    "bytes_io": (None, kinds.put_bytes_ios),
    "iterator": (None, put_iterators),
    "random": (None, kinds.put_random_states),
    "environ": (None, kinds.put_environments),
}

#: Groups whose records are looked at all together, as one record.
_WATCHES: Final[dict[str, Callable[..., object]]] = {
    "class": scopes.ClassWatch,
    "function": scopes.FunctionWatch,
    "registration": scopes.RegistrationWatch,
}

Step: TypeAlias = Callable[[], object]
#: Walks again: (modules to walk from, or None for all that the plan names; ids of what is captured already) -> records.
Extend: TypeAlias = Callable[["list[ModuleType] | None", set[int]], Records]


class Snapshot:
    """The state that every task starts from.

    Args:
        records: What a walk found, by group.
        extras: What is done after the records were put back: factories that bind new values, resetters.
        extend: Captures modules that are imported later; None when they are not to be captured.

    Attributes:
        records: The captured structure: ``{group: [(object, saved content, ...)]}``. To be read, for comparing; only
            the snapshot changes it.
    """

    def __init__(
        self, records: Mapping[str, list[Record]], extras: Iterable[Step] = (), *, extend: Extend | None = None
    ) -> None:
        self.records: dict[str, list[Record]] = {group: list(found) for group, found in records.items()}
        self._extras = list(extras)
        self._extend = extend
        self._modules = _settled_modules() if extend else {}
        self._loaded = len(sys.modules)
        self._before: Records = {}
        self._failure: BaseException | None = None
        self._arrange()

    def restore(self) -> None:
        """Put everything back.

        Raises:
            BaseException: The first error of a factory, of a resetter, or of a value that refused to be put back.
                Everything else was put back all the same. Or what went wrong when a module was captured that the
                last task imported.
        """
        error = self._failure
        if self._extend is not None and len(sys.modules) != self._loaded:
            self._include_strays()
        try:
            for put, records in self._rounds:
                put(records)
        except BaseException:
            error = self._restore_one_by_one()
        for step in self._extras:
            try:
                step()
            except BaseException as failed:
                error = error or failed
        if error is not None:
            raise error

    def _restore_one_by_one(self) -> BaseException | None:
        """Put everything back though some records raise; return the first error."""
        error: BaseException | None = None
        for put, records in self._rounds:
            todo = iter(records)
            while True:
                try:
                    put(todo)
                    break
                except BaseException as failed:  # the iterator goes on behind the record that raised
                    error = error or failed
        return error

    # -- modules that come later --------------------------------------------------------------------------------------

    def watch_imports(self) -> ImportWatch | None:
        """Capture the project's modules that are imported from now on, each at the end of its import.

        Does something for `"auto"` only. Returns what watches, for whoever wants to end that.
        """
        if self._extend is None:
            return None
        watch = ImportWatch(self._before_import, self._after_import)
        watch.install()
        return watch

    def _before_import(self, module: ModuleType) -> None:
        try:
            assert self._extend is not None
            before = self._extend(None, set())
            mine = {id(space) for space in namespaces_of(module)}  # in sys.modules already, and still empty
            self._before = {g: [one for one in found if id(one[0]) not in mine] for g, found in before.items()}
        except BaseException as error:
            self._failure = error

    def _after_import(self, failed: ModuleType | None) -> None:
        if self._failure is not None:
            return
        try:
            assert self._extend is not None
            if failed is not None:  # importlib will do so in a moment
                sys.modules.pop(vars(failed).get("__name__", ""), None)
            bind_submodules(self._modules)
            absorb(self.records, self._before, self._extend(None, set()))
            self._note_modules()
            self._arrange(doubtful=True)
        except BaseException as error:
            self._failure = error
        finally:
            self._before = {}

    def _include_strays(self) -> None:
        """Capture, as they are now, modules that came past the watch."""
        known = self._modules
        self._note_modules()
        new = [module for name, module in self._modules.items() if known.get(name) is not module]
        new = [module for module in new if is_project_module(module)]
        if new and self._extend is not None:
            captured = {id(record[0]) for found in self.records.values() for record in found}
            for group, found in self._extend(new, captured).items():
                self.records.setdefault(group, []).extend(found)
            self._arrange(doubtful=True)

    def _note_modules(self) -> None:
        self._loaded = len(sys.modules)
        self._modules = _settled_modules()

    def _arrange(self, *, doubtful: bool = False) -> None:
        """Lay out the two rounds of `restore`; `doubtful` when things are not as captured just now."""
        first: list[tuple[Put, list[Record]]] = []
        again: list[tuple[Put, list[Record]]] = []
        for group, (put, put_again) in _ROUNDS.items():
            found = self.records.get(group)
            if found:
                watch = _WATCHES.get(group)
                todo = [(watch(found, doubtful=doubtful),)] if watch else found
                first += [(put, todo)] if put else []
                again += [(put_again, todo)] if put_again else []
        self._rounds = first + again
        self.__dict__.pop("restore", None)
        # Never where modules may be added: a caller may have looked `restore` up, and holds on to what it found.
        fast = None if self._extras or self._extend else _fast_restore(self.records)
        if fast is not None:  # an attribute of the instance, which is found before the method of the class
            self.__dict__["restore"] = fast


def _settled_modules() -> dict[str, ModuleType]:
    """Return the loaded modules, without lazy ones that have yet to be loaded."""
    return {name: module for name, module in loaded_modules().items() if type(module).__name__ != "_LazyModule"}


def _fast_restore(records: Mapping[str, list[Record]]) -> Callable[[], None] | None:
    """Return a `restore` made for the commonest plan, one small global, or None when there is more to put back.

    Both rounds are written out: the second time is for the finalizers of what the first time dropped.
    """
    bindings = records.get("binding", [])
    others = [(group, record) for group, found in records.items() if group != "binding" for record in found]
    if len(bindings) != 1 or len(others) > 1 or bindings[0][2] is kinds.ABSENT:
        return None
    space, name, value = bindings[0]
    if not others:
        return partial(_bind_twice, space, name, value)
    group, record = others[0]
    if group not in ("list", "dict", "set") or type(record[0]) not in (list, dict, set):
        return None
    obj, saved = record

    def restore_list() -> None:
        space[name] = value
        obj[:] = saved
        space[name] = value
        try:
            same = obj == saved  # quicker than doing it twice where the list is long
        except BaseException:  # an item that a finalizer left, with an __eq__ of its own
            same = False
        if not same:
            obj[:] = saved

    def restore_table() -> None:
        space[name] = value
        obj.clear()
        obj.update(saved)
        space[name] = value
        obj.clear()
        obj.update(saved)

    return restore_list if group == "list" else restore_table


def _bind_twice(space: dict[str, Any], name: str, value: object) -> None:
    space[name] = value
    space[name] = value
