"""Presets for what very common packages keep: NumPy's print options and error state, pandas' options, matplotlib's.

Used by `process_state` and `poolsafe.presets`. A package is never imported from here. When a task imports one, the
state is what the package documents as its default.

What may go wrong: nothing that is known. NumPy 2 keeps its print options and its error state in context variables: each
task runs in a copy of the pristine context, so these presets see only what was set outside of tasks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from .preset import ABSENT, Preset, Probe, Values, same


class _Numpy(Preset):
    """NumPy's print options (``numpy.set_printoptions``) and what it does about errors (``numpy.seterr``)."""

    name = "numpy"
    module = "numpy"

    @property
    def loaded(self) -> bool:
        return all(hasattr(sys.modules.get("numpy"), name) for name in ("get_printoptions", "geterr", "geterrcall"))

    def read(self) -> Values:
        numpy: Any = sys.modules["numpy"]
        return {
            "numpy.get_printoptions()[:]": dict(numpy.get_printoptions()),
            "numpy.geterr()[:]": dict(numpy.geterr()),
            "numpy.geterrcall()": numpy.geterrcall(),
        }

    def write(self, values: Values, now: Values) -> None:
        numpy: Any = sys.modules["numpy"]
        if not same(values["numpy.get_printoptions()[:]"], now["numpy.get_printoptions()[:]"]):
            numpy.set_printoptions(**values["numpy.get_printoptions()[:]"])
        numpy.seterr(**values["numpy.geterr()[:]"])
        numpy.seterrcall(values["numpy.geterrcall()"])

    def probes(self, values: Values) -> Iterator[Probe]:
        numpy: Any = sys.modules["numpy"]
        yield numpy.get_printoptions, values["numpy.get_printoptions()[:]"]
        yield numpy.geterr, values["numpy.geterr()[:]"]
        yield numpy.geterrcall, values["numpy.geterrcall()"]

    def defaults(self) -> Values:
        options = {
            "edgeitems": 3, "threshold": 1000, "floatmode": "maxprec", "precision": 8, "suppress": False,
            "linewidth": 75, "nanstr": "nan", "infstr": "inf", "sign": "-", "formatter": None, "legacy": False,
            "override_repr": None,
        }  # fmt: skip
        values = self.read()
        known = {name: options.get(name, value) for name, value in values["numpy.get_printoptions()[:]"].items()}
        errors = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
        return {"numpy.get_printoptions()[:]": known, "numpy.geterr()[:]": errors, "numpy.geterrcall()": None}


class _Pandas(Preset):
    """The options of pandas (``pandas.set_option``)."""

    name = "pandas"
    module = "pandas._config.config"
    label = "pandas"

    @property
    def loaded(self) -> bool:
        return hasattr(sys.modules.get("pandas"), "DataFrame")

    def read(self) -> Values:
        return {f"pandas.options.{name}": value for name, value in _flat(self.space["_global_config"])}

    def write(self, values: Values, now: Values) -> None:
        for path, before in values.items():
            if not same(before, now.get(path, ABSENT)):
                name = path.removeprefix("pandas.options.")
                _, _, last = name.rpartition(".")
                # Past the checks and warnings of set_option, but not past what an option sets off.
                _holder(self.space["_global_config"], name)[last] = before
                registered = self.space["_registered_options"].get(name)
                if registered is not None and registered.cb is not None:
                    registered.cb(name)

    def probes(self, values: Values) -> Iterator[Probe]:
        config = self.space["_global_config"]
        held = [config, *_dicts_in(config)]
        ask = partial(sys.modules["gc"].get_referents, *held)
        yield ask, ask()

    def defaults(self) -> Values:
        values = self.read()
        for name, registered in self.space["_registered_options"].items():
            if f"pandas.options.{name}" in values:
                values[f"pandas.options.{name}"] = registered.defval
        return values


def _flat(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _dicts_in(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for value in config.values():
        if isinstance(value, dict):
            yield value
            yield from _dicts_in(value)


def _holder(config: dict[str, Any], name: str) -> dict[str, Any]:
    for part in name.split(".")[:-1]:
        config = config[part]
    return config


class _Matplotlib(Preset):
    """The settings of matplotlib (``matplotlib.rcParams``), but for the backend.

    Figures that a task left open in pyplot are closed.
    """

    name = "matplotlib"
    module = "matplotlib"

    @property
    def loaded(self) -> bool:
        return hasattr(sys.modules.get("matplotlib"), "rcParamsDefault")

    def read(self) -> Values:
        values: Values = {"matplotlib.rcParams": self.space["rcParams"]}
        values["matplotlib.rcParams[:]"] = _copied(self.space["rcParams"])
        figures = _figures()
        values["matplotlib.pyplot.get_fignums()"] = [] if figures is None else list(figures)
        return values

    def write(self, values: Values, now: Values) -> None:
        self.space["rcParams"] = params = values["matplotlib.rcParams"]
        for name, value in values["matplotlib.rcParams[:]"].items():
            if not same(value, now["matplotlib.rcParams[:]"].get(name, ABSENT)):
                dict.__setitem__(params, name, value.copy() if isinstance(value, (list, dict)) else value)
        for number in now["matplotlib.pyplot.get_fignums()"]:
            if number not in values["matplotlib.pyplot.get_fignums()"]:
                sys.modules["matplotlib.pyplot"].close(number)

    def probes(self, values: Values) -> Iterator[Probe]:
        params = values["matplotlib.rcParams"]
        lists = [value for name, value in _items(params) if isinstance(value, list)]
        ask = partial(sys.modules["gc"].get_referents, params, *lists)
        yield partial(self.space.get, "rcParams"), params
        yield ask, ask()
        figures = _figures()
        if figures is None:
            yield partial(sys.modules.get, "matplotlib._pylab_helpers"), None
        else:
            yield partial(list, figures), values["matplotlib.pyplot.get_fignums()"]

    def defaults(self) -> Values:
        # What the user's matplotlibrc says, as the import read it.
        values = {**self.read(), "matplotlib.pyplot.get_fignums()": []}
        values["matplotlib.rcParams[:]"] = _copied(self.space["rcParamsOrig"])
        return values


def _figures() -> Any:
    return getattr(getattr(sys.modules.get("matplotlib._pylab_helpers"), "Gcf", None), "figs", None)


def _items(params: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the settings past matplotlib's own access, which would choose a backend."""
    for name, value in dict.items(params):
        if not name.startswith("backend"):
            yield name, value


def _copied(params: dict[str, Any]) -> Values:
    return {name: value.copy() if isinstance(value, (list, dict)) else value for name, value in _items(params)}


numpy: Final = _Numpy()
pandas: Final = _Pandas()
matplotlib: Final = _Matplotlib()
