"""Presets for the registries of the standard library: dialects, formats, charsets, namespaces, adapters.

Used by `process_state`, which puts all presets back together, and by `poolsafe.presets`, where users find them. A
module that is not loaded costs nothing; when a task imports it, what its import made is the pristine state.

What may go wrong: nothing that is known.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any, ClassVar, Final

from .modules import is_module, is_project_module
from .preset import Preset, Probe, Values, same


class _Fresh(Preset):
    """A module of plain Python whose import does nothing but define: a second import tells what is pristine."""

    def defaults(self) -> Values:
        values = self.read()
        fresh = self.fresh()
        if fresh is None:
            return values
        for name in self.contents:
            values[self.path(name, "[:]")] = fresh[name].copy()
        for name in self.bound:
            values[self.path(name)] = fresh.get(name)
        return values

    def fresh(self) -> dict[str, Any] | None:
        """Return what the module has when it was imported just now; None where it has no source to be found."""
        import importlib.util

        spec = importlib.util.find_spec(self.module)
        if spec is None or spec.loader is None:
            return None
        fresh = ModuleType(self.module)
        vars(fresh).update(__spec__=spec, __file__=spec.origin)
        spec.loader.exec_module(fresh)
        return vars(fresh)


class _Csv(Preset):
    """The dialects of `csv`, and the limit of a field's size."""

    name = "csv"
    module = "_csv"
    label = "csv"
    calls: ClassVar[Mapping[str, str]] = {"field_size_limit": "field_size_limit"}

    def read(self) -> Values:
        csv = self.space
        dialects = {name: csv["get_dialect"](name) for name in csv["list_dialects"]()}
        return {**super().read(), "csv.get_dialect[:]": dialects}

    def write(self, values: Values, now: Values) -> None:
        super().write(values, now)
        for name in now["csv.get_dialect[:]"].keys() - values["csv.get_dialect[:]"].keys():
            self.space["unregister_dialect"](name)
        for name, dialect in values["csv.get_dialect[:]"].items():
            if now["csv.get_dialect[:]"].get(name) is not dialect:
                self.space["register_dialect"](name, dialect)

    def probes(self, values: Values) -> Iterator[Probe]:
        yield from super().probes(values)
        dialects = values["csv.get_dialect[:]"]
        get, names = self.space["get_dialect"], self.space["list_dialects"]
        yield (lambda: {name: get(name) for name in names()}), dialects

    def defaults(self) -> Values:
        values = self.read()
        found = values["csv.get_dialect[:]"]
        known = {name: found[name] for name in ("excel", "excel-tab", "unix") if name in found}
        return {**values, "csv.field_size_limit()": 131072, "csv.get_dialect[:]": known}


class _Calendar(Preset):
    """``calendar.setfirstweekday``."""

    name = "calendar"
    module = "calendar"
    calls: ClassVar[Mapping[str, str]] = {"firstweekday": "setfirstweekday"}
    pristine: ClassVar[Mapping[str, Any]] = {"calendar.firstweekday()": 0}


class _Zoneinfo(Preset):
    """Where time zones are looked for (``zoneinfo.reset_tzpath``)."""

    name = "zoneinfo"
    module = "zoneinfo._tzpath"
    label = "zoneinfo"
    bound: ClassVar[tuple[str, ...]] = ("TZPATH",)

    def defaults(self) -> Values:
        self.space["reset_tzpath"]()
        return self.read()


class _Ssl(Preset):
    """How contexts for HTTPS are made (``ssl._create_default_https_context``)."""

    name = "ssl"
    module = "ssl"
    bound: ClassVar[tuple[str, ...]] = ("_create_default_https_context",)

    def defaults(self) -> Values:
        return {"ssl._create_default_https_context": self.space["create_default_context"]}


class _UrlOpener(Preset):
    """``urllib.request.install_opener``."""

    name = "url_opener"
    module = "urllib.request"
    bound: ClassVar[tuple[str, ...]] = ("_opener",)
    pristine: ClassVar[Mapping[str, Any]] = {"urllib.request._opener": None}

    def used(self, values: Values, now: Values) -> Values:
        opener = now["urllib.request._opener"]
        if values["urllib.request._opener"] is None and type(opener) is self.space["OpenerDirector"]:
            usual = self.space["build_opener"]()  # what `urlopen` does
            if same(_looks(opener), _looks(usual), depth=6):
                return {"urllib.request._opener": opener}
        return values


def _looks(opener: Any) -> tuple[Any, Any]:
    """Return what an opener is made of; the handlers know it as their parent."""
    parts = [
        (type(handler), {name: _trait(value) for name, value in vars(handler).items() if name != "parent"})
        for handler in opener.handlers
    ]
    return parts, opener.addheaders


def _trait(value: Any) -> Any:
    """Return what two of a kind have in common when they were made in the same way."""
    if callable(value):
        return type(value)
    if type(value).__name__ == "SSLContext":  # from Python 3.12 on each handler for HTTPS makes one
        return value.protocol, value.verify_mode, value.check_hostname, int(value.options), value.cert_store_stats()
    return value


class _XmlNamespaces(Preset):
    """Prefixes registered by ``xml.etree.ElementTree.register_namespace``."""

    name = "xml_namespaces"
    module = "xml.etree.ElementTree"
    contents: ClassVar[tuple[str, ...]] = ("_namespace_map",)
    pristine: ClassVar[Mapping[str, Any]] = {
        "xml.etree.ElementTree._namespace_map[:]": {
            "http://www.w3.org/XML/1998/namespace": "xml",
            "http://www.w3.org/1999/xhtml": "html",
            "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "rdf",
            "http://schemas.xmlsoap.org/wsdl/": "wsdl",
            "http://www.w3.org/2001/XMLSchema": "xs",
            "http://www.w3.org/2001/XMLSchema-instance": "xsi",
            "http://purl.org/dc/elements/1.1/": "dc",
        }
    }


class _EmailCharsets(_Fresh):
    """Character sets of e-mail (``email.charset.add_charset`` and its like)."""

    name = "email_charsets"
    module = "email.charset"
    contents: ClassVar[tuple[str, ...]] = ("CHARSETS", "ALIASES", "CODEC_MAP")


class _Mimetypes(_Fresh):
    """The types of files by their names (``mimetypes.add_type``, ``mimetypes.init``)."""

    name = "mimetypes"
    module = "mimetypes"
    bound: ClassVar[tuple[str, ...]] = ("_db", "inited")
    contents: ClassVar[tuple[str, ...]] = ("types_map", "encodings_map", "suffix_map", "common_types", "knownfiles")

    def used(self, values: Values, now: Values) -> Values:
        """The first question reads the tables of the system."""
        if values["mimetypes.inited"] or now["mimetypes.inited"] is not True:
            return values
        fresh = self.fresh()
        if fresh is None:
            return values
        fresh["init"]()
        values = {**values, "mimetypes.inited": True}
        values.update((self.path(name, "[:]"), fresh[name]) for name in self.contents)
        values.update((self.path(name), now[self.path(name)]) for name in self.contents)
        made = now["mimetypes._db"]
        return {**values, "mimetypes._db": made} if type(made) is self.space["MimeTypes"] else values


class _Gettext(_Fresh):
    """The domain of translations (``gettext.textdomain``), and where they are (``gettext.bindtextdomain``)."""

    name = "gettext"
    module = "gettext"
    bound: ClassVar[tuple[str, ...]] = ("_current_domain",)
    contents: ClassVar[tuple[str, ...]] = ("_localedirs",)


class _ArchiveFormats(_Fresh):
    """Formats registered by ``shutil.register_archive_format`` and its like."""

    name = "archive_formats"
    module = "shutil"
    contents: ClassVar[tuple[str, ...]] = ("_ARCHIVE_FORMATS", "_UNPACK_FORMATS")

    def defaults(self) -> Values:
        values = super().defaults()
        for name in self.contents:  # with the functions of the module that is in use
            now = self.space[name]
            values[self.path(name, "[:]")] = {key: now[key] for key in values[self.path(name, "[:]")] if key in now}
        return values


class _Copyreg(Preset):
    """How types are pickled (``copyreg.pickle``), and their short codes.

    Entries of libraries stay: they are made when the library is imported, and it relies on them ever after.
    """

    name = "copyreg"
    module = "copyreg"
    contents: ClassVar[tuple[str, ...]] = ("dispatch_table", "_extension_registry", "_inverted_registry")

    def write(self, values: Values, now: Values) -> None:
        known = values["copyreg.dispatch_table[:]"]
        for cls, function in now["copyreg.dispatch_table[:]"].items():
            module = sys.modules.get(getattr(function, "__module__", None) or "")
            if cls not in known and is_module(module) and not is_project_module(module):
                known[cls] = function
        super().write(values, now)


class _SqliteAdapters(Preset):
    """``sqlite3.register_adapter`` and ``sqlite3.register_converter``."""

    name = "sqlite_adapters"
    module = "sqlite3.dbapi2"
    label = "sqlite3"
    contents: ClassVar[tuple[str, ...]] = ("adapters", "converters")

    def defaults(self) -> Values:
        values = self.read()
        for name in self.contents:
            found = values[self.path(name, "[:]")]
            own = {key: one for key, one in found.items() if getattr(one, "__module__", "") == self.module}
            values[self.path(name, "[:]")] = own
        return values


class _StartMethod(Preset):
    """``multiprocessing.set_start_method``."""

    name = "start_method"
    module = "multiprocessing.context"
    label = "multiprocessing"

    def read(self) -> Values:
        return {"multiprocessing.get_start_method()": self.space["_default_context"]._actual_context}

    def write(self, values: Values, now: Values) -> None:
        if not same(values["multiprocessing.get_start_method()"], now["multiprocessing.get_start_method()"]):
            self.space["_default_context"]._actual_context = values["multiprocessing.get_start_method()"]

    def probes(self, values: Values) -> Iterator[Probe]:
        default = self.space["_default_context"]
        yield partial(getattr, default, "_actual_context"), values["multiprocessing.get_start_method()"]


csv: Final = _Csv()
calendar: Final = _Calendar()
zoneinfo: Final = _Zoneinfo()
ssl: Final = _Ssl()
url_opener: Final = _UrlOpener()
xml_namespaces: Final = _XmlNamespaces()
email_charsets: Final = _EmailCharsets()
mimetypes: Final = _Mimetypes()
gettext: Final = _Gettext()
archive_formats: Final = _ArchiveFormats()
copyreg: Final = _Copyreg()
sqlite_adapters: Final = _SqliteAdapters()
start_method: Final = _StartMethod()
