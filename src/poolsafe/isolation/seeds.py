"""Random numbers: from the seed and the task's number alone, or, without a seed, never the same twice.

Used by: guard (in each worker), `poolsafe.rng`. Tasks are numbered in the order of submission. With `seed=`, a task's
streams are derived from the seed and its number, so they are equal with any number of workers, any chunk size and any
start method, and after any crash:

- `random`'s module-level functions: ``random.seed(f"poolsafe:{seed}:{stream}:{number}")``, which hashes the text by
  SHA-512;
- `poolsafe.rng()`: ``numpy.random.default_rng(SeedSequence(seed).spawn(...)[number])``, NumPy's way to make independent
  streams (https://numpy.org/doc/stable/reference/random/parallel.html);
- NumPy's legacy generator (``numpy.random.seed``): from words of another child of that sequence;
- generators that are globals of the project's modules (`random.Random`, `numpy.random.Generator` and `RandomState`):
  likewise, each from its own name.

Without a seed all of these are seeded from the operating system when a worker starts, because forked workers would all
draw the same.

What may go wrong: a generator that is no global (an attribute, a closure), or of a subclass that cannot be seeded like
that, is left alone, and goes on from where the last task left it.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Container
from types import ModuleType
from typing import Any, NamedTuple

from .import_watch import ImportWatch
from .modules import MP_MAIN, is_project_module, namespace_of, newcomers, project_modules


class Number(NamedTuple):
    """A task's number: in its stream, 0 being that of all tasks but those of inputs whose length nobody knows."""

    stream: int
    index: int  # type: ignore[assignment]  # tuple.index is not missed here

    @property
    def key(self) -> tuple[int, ...]:
        """As a spawn key: the tasks of stream 0 are ``SeedSequence(seed).spawn(n)``."""
        return (self.index,) if not self.stream else (self.index, self.stream)


#: The seed and the number of the task that runs in this process, and its generator once it was asked for.
_current: list[Any] = [None, None, None]


def check_seed(seed: Any) -> int | None:
    """Return the seed as an int.

    Raises:
        TypeError: It is no integer.
        ValueError: It is negative.
    """
    if seed is None:
        return None
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(f"seed must be an int or None, not {type(seed).__name__}") from None
    if number < 0:
        raise ValueError(f"seed must not be negative: {number}")
    return number


class Seeder:
    """Seeds everything there is, in one worker.

    Args:
        seed: The pool's, or None.
    """

    def __init__(self, seed: int | None) -> None:
        self.seed = seed
        self._loaded = 0
        self._last = ""
        self._exempt: Container[int] = ()
        self._own: list[tuple[str, Any]] = []
        self._random: Any = None
        self._setting = _Setting()
        self._bits: Any = None
        self._text = ""

    def start(self, exempt: Container[int] = ()) -> None:
        """At the worker's start: seed everything from the operating system.

        This comes before the initializer, which may seed as it likes.

        Args:
            exempt: Ids of generators that are somebody else's.
        """
        _current[:] = None, None, None  # a pool within a task is not of that task's seed
        self._exempt = exempt
        self._own = [(name, value) for name, value in self._own if id(value) not in exempt]
        ImportWatch(_ignore, self._modules_came).install()
        if "numpy.random" not in sys.modules:
            ImportWatch(_ignore, self._numpy_came, lambda name, _: name == "numpy.random").install()
        if self.seed is not None:
            import random  # a task that imports it would get one that was seeded by the operating system

            self._random = random
            return
        if "random" in sys.modules:
            self._watch_random()
        else:
            ImportWatch(_ignore, lambda _: self._watch_random(), lambda name, _: name == "random").install()
        self.diverge()

    def _watch_random(self) -> None:
        if "random" in sys.modules:
            self._random = sys.modules["random"]
            self._setting.watch(self._random)
            self._random.seed()
            self._setting.was_set = False

    def survey(self) -> None:
        """In the parent: finds the generators of the modules there are, so that forked workers need not look.

        To look at a module is to write to its memory (the count of references), which a forked process then copies.
        """
        self._generators()

    def _modules_came(self, _: object) -> None:
        """A task has imported modules: their generators must not be as the source says, in every worker the same."""
        known = {id(generator) for _, generator in self._own}
        for name, generator in self._generators():
            if id(generator) not in known and self.seed is None:
                _seed_from_system(generator)
            elif id(generator) not in known and _current[1] is not None:
                self._seed_by_name(name, generator, _current[1])

    def _numpy_came(self, failed: object) -> None:
        """The task that runs has imported NumPy: its draws must be those of a worker that had it before."""
        if failed is None and self.seed is None:
            self._seed_legacy()
        elif failed is None and _current[1] is not None:
            _legacy().seed(_words(_current[0], _current[1], "numpy.random"))

    def settle(self) -> None:
        """After the initializer, which may have seeded as it likes."""
        self._setting.was_set = False
        if self._bits is not None and self._bits.seed_seq is None:
            self._bits = None

    def renew(self) -> None:
        """Before a task, without a seed: a predecessor that has seeded must not decide what this one draws."""
        if self._setting.was_set:
            self._random.seed()
            self._setting.was_set = False
        if self._bits is not None and self._bits.seed_seq is None:  # as ``numpy.random.seed`` leaves it
            self._seed_legacy()

    def diverge(self) -> None:
        """Without a seed, at a process's start: all generators are seeded anew, but for `random`'s, which does that."""
        self._seed_legacy()
        for _, generator in self._generators():
            _seed_from_system(generator)

    def _seed_legacy(self) -> None:
        legacy = _legacy()
        if hasattr(legacy, "set_bit_generator"):  # NumPy 1.24
            self._bits = legacy.MT19937()
            legacy.set_bit_generator(self._bits)
        elif legacy is not None:
            legacy.seed()

    def begin(self, number: Number) -> None:
        """Before a task."""
        if self.seed is None:
            return
        seed, key = self.seed, number.key
        _current[:] = seed, key, None
        self._text = text = ":".join(map(str, ("poolsafe", seed, number.stream, number.index)))
        self._random.seed(text)
        legacy = _legacy()
        if legacy is not None:
            legacy.seed(_words(seed, key, "numpy.random"))
        for name, generator in self._generators():
            self._seed_by_name(name, generator, key)

    def _seed_by_name(self, name: str, generator: Any, key: tuple[int, ...]) -> None:
        seed, text = self.seed, f"{self._text}:{name}"
        assert seed is not None
        numpy = sys.modules.get("numpy.random")
        try:
            if numpy is None or isinstance(generator, self._random.Random):
                generator.seed(text)
            elif isinstance(generator, numpy.RandomState):
                generator.seed(_words(seed, key, text))
            else:
                kind = type(generator.bit_generator)
                generator.bit_generator.state = kind(numpy.SeedSequence([seed, *text.encode()], spawn_key=key)).state
        except Exception:  # of a subclass that is none of ours to understand
            return

    def _generators(self) -> list[tuple[str, Any]]:
        """The project's global generators, each once, by its first name."""
        if len(sys.modules) != self._loaded:
            came = newcomers(self._last, self._loaded)
            modules = project_modules() if came is None else [one for one in came if is_project_module(one)]
            self._loaded, self._last = len(sys.modules), next(reversed(sys.modules))
            if came is None or modules:
                self._find(modules, {} if came is None else {id(value): (name, value) for name, value in self._own})
        return self._own

    def _find(self, modules: list[ModuleType], found: dict[int, tuple[str, Any]]) -> None:
        kinds = _kinds()
        for module in modules:
            space = namespace_of(module)
            owner = "__main__" if space.get("__name__") == MP_MAIN else space.get("__name__")
            for name, value in list(space.items()):
                if isinstance(value, kinds) and id(value) not in found and id(value) not in self._exempt:
                    found[id(value)] = (f"{owner}:{name}", value)
        self._own = sorted(found.values(), key=operator.itemgetter(0))


class _Setting:
    """Tells when a task has set the state of the generator behind `random`'s functions, by whatever name it got there.

    `random.Random` sets `gauss_next` whenever its state is set (and in ``gauss``); here that is a property.
    """

    def __init__(self) -> None:
        self.was_set = False
        self._value: float | None = None

    def watch(self, module: Any) -> None:
        """Put the generator into a class of its own, which looks like the one that it had."""
        generator = module._inst
        if type(generator) is not module.Random:
            return  # somebody else's

        def put(_: Any, value: float | None) -> None:
            self._value, self.was_set = value, True

        body = {"__module__": "random", "__qualname__": "Random", "__slots__": ()}
        generator.__class__ = type(
            "Random", (module.Random,), {**body, "gauss_next": property(lambda _: self._value, put)}
        )


def rng() -> Any:
    """The NumPy generator of the task that is running.

    In a task of a pool with `seed=` it is ``numpy.random.default_rng(numpy.random.SeedSequence(seed).spawn(n)[i])`` for
    the task with number `i` in the order of submission, whatever worker runs it, and the same one however often it is
    asked for. Elsewhere it is one generator for the process, seeded by the operating system.

    Returns:
        A `numpy.random.Generator`.

    Raises:
        ImportError: NumPy is not installed.
    """
    import os

    seed, key, made = _current
    if seed is None:
        if made is None or made[0] != os.getpid():  # a forked child must not draw what its parent draws
            made = _current[2] = (os.getpid(), _numpy_random().default_rng())
        return made[1]
    if made is None:
        numpy = _numpy_random()
        made = _current[2] = numpy.default_rng(numpy.SeedSequence(seed, spawn_key=key))
    return made


rng.__module__ = "poolsafe"


def _ignore(module: ModuleType) -> None:
    """Nothing is to be done before NumPy is imported."""


def _numpy_random() -> Any:
    import importlib

    try:
        return importlib.import_module("numpy.random")
    except ImportError as error:
        raise ImportError("poolsafe.rng() makes a NumPy generator; install NumPy (pip install numpy)") from error


def _legacy() -> Any:
    return sys.modules.get("numpy.random") if "numpy.random.mtrand" in sys.modules else None


def _kinds() -> tuple[type, ...]:
    kinds: list[Any] = [getattr(sys.modules.get("random"), "Random", None)]
    loaded = sys.modules.get("numpy.random")
    kinds += [getattr(loaded, name, None) for name in ("Generator", "RandomState")]
    return tuple(kind for kind in kinds if isinstance(kind, type))


def _words(seed: int, key: tuple[int, ...], name: str) -> Any:
    """Words for a generator of the given name: of a sequence that nobody gets by spawning from the task's."""
    sequence = sys.modules["numpy.random"].SeedSequence
    return sequence([seed, *name.encode()], spawn_key=key).generate_state(8)


def _seed_from_system(generator: Any) -> None:
    try:
        if hasattr(generator, "bit_generator"):
            generator.bit_generator.state = type(generator.bit_generator)().state
        else:
            generator.seed()
    except Exception:  # of a subclass that is none of ours to understand
        return
