"""Process-wide and package state by name, for `reset=`.

    from poolsafe import IsolatedPool, presets

    IsolatedPool(reset=[presets.environ, presets.cwd, "app:CACHE"])

`reset="auto"` covers all of them (`ALL`); name single ones where only these may change, or where every microsecond
counts. Each one is a resetter: ``capture()`` returns its state, ``restore(state)`` puts it back, and
``differences(state)`` tells what differs now. State of a package that is not loaded costs nothing.

What may go wrong: something that the operating system does not give back, such as a hard limit that was lowered; the
worker is then replaced before its next task.
"""

from __future__ import annotations

from .isolation.interpreter import (
    argv,
    gc,
    import_system,
    int_max_str_digits,
    recursion_limit,
    streams,
    switch_interval,
)
from .isolation.library import (
    asyncio_policy,
    decimal,
    faulthandler,
    locale,
    socket_timeout,
    tempfile,
    threading_hooks,
    warnings,
)
from .isolation.logs import logging
from .isolation.packages import matplotlib, numpy, pandas
from .isolation.patches import stdlib_patches
from .isolation.preset import Preset
from .isolation.process_state import ALL, ProcessState
from .isolation.registries import (
    archive_formats,
    calendar,
    copyreg,
    csv,
    email_charsets,
    gettext,
    mimetypes,
    sqlite_adapters,
    ssl,
    start_method,
    url_opener,
    xml_namespaces,
    zoneinfo,
)
from .isolation.system import cwd, environ, limits, signals, umask

__all__ = [
    "ALL",
    "Preset",
    "ProcessState",
    "archive_formats",
    "argv",
    "asyncio_policy",
    "calendar",
    "copyreg",
    "csv",
    "cwd",
    "decimal",
    "email_charsets",
    "environ",
    "faulthandler",
    "gc",
    "gettext",
    "import_system",
    "int_max_str_digits",
    "limits",
    "locale",
    "logging",
    "matplotlib",
    "mimetypes",
    "numpy",
    "pandas",
    "recursion_limit",
    "signals",
    "socket_timeout",
    "sqlite_adapters",
    "ssl",
    "start_method",
    "stdlib_patches",
    "streams",
    "switch_interval",
    "tempfile",
    "threading_hooks",
    "umask",
    "url_opener",
    "warnings",
    "xml_namespaces",
    "zoneinfo",
]
