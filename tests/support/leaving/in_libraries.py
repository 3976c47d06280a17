"""Kinds of state that modules of the standard library keep, and NumPy; and the standard library, patched.

Used by: the table of all kinds in this package. Modules are imported by one name (``from urllib import request``), as
patched names are put back in the modules that a project's own refer to. What may go wrong: a kind does not exist on
this Python; it is left out.
"""

from __future__ import annotations

import asyncio
import builtins
import calendar
import contextlib
import copyreg
import csv
import datetime
import decimal
import gettext
import json
import locale
import logging
import math
import mimetypes
import multiprocessing
import os
import pathlib
import platform
import random
import shutil
import socket
import sqlite3
import ssl
import string
import subprocess
import sys
import tempfile
import time
import warnings
import zoneinfo
from email import charset
from typing import Any
from unittest import mock
from urllib import request
from xml.etree import ElementTree

from .kind import Kind, held, patch

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]


def change_decimal() -> None:
    decimal.getcontext().prec += 1


def divide() -> str:
    try:
        return str(decimal.Decimal(1) / 3)
    except decimal.Inexact:
        return "refused"


def set_policy() -> None:
    class Policy(asyncio.DefaultEventLoopPolicy):  # type: ignore[name-defined,misc]
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.set_event_loop_policy(Policy())


def policy() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return type(asyncio.get_event_loop_policy()).__name__


class Chatty(logging.Logger):
    pass


def named() -> logging.Logger:
    return logging.getLogger("poolsafe.tests.named")


def switch_start_method() -> None:
    now = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("fork" if now == "spawn" else "spawn", force=True)


def patch_and_import() -> None:
    import colorsys

    colorsys.rgb_to_hsv = no_number  # type: ignore[assignment]


def no_number(value: complex) -> Any:
    return str, (str(value),)


def import_differently() -> None:
    before = builtins.__import__
    builtins.__import__ = lambda *args, **kwds: before(*args, **kwds)


logging.getLogger("poolsafe.tests.handled").addHandler(logging.StreamHandler())
HANDLER = logging.getLogger("poolsafe.tests.handled").handlers[0]
FORMAT = logging.Formatter("%(message)s")

KINDS: dict[str, Kind] = {
    # logging
    "logging level": Kind(lambda: logging.getLogger().level, lambda: logging.getLogger().setLevel(1)),
    "logging.disable": Kind(lambda: logging.root.manager.disable, lambda: logging.disable(10)),
    "logger's handlers": Kind(lambda: len(named().handlers), lambda: named().addHandler(logging.StreamHandler())),
    "logger's filters": Kind(lambda: len(named().filters), lambda: named().addFilter(logging.Filter())),
    "propagation": Kind(lambda: named().propagate, lambda: setattr(named(), "propagate", False)),
    "handler's level": Kind(lambda: HANDLER.level, lambda: HANDLER.setLevel(7)),
    "handler's formatter": Kind(lambda: HANDLER.formatter is FORMAT, lambda: HANDLER.setFormatter(FORMAT)),
    "logger class": Kind(lambda: logging.getLoggerClass().__name__, lambda: logging.setLoggerClass(Chatty)),
    "level name": Kind(lambda: logging.getLevelName(7), lambda: logging.addLevelName(7, "SEVEN")),
    "record factory": Kind(
        lambda: logging.getLogRecordFactory() is no_number, lambda: logging.setLogRecordFactory(no_number)
    ),
    "captured warnings": Kind(lambda: warnings.showwarning.__module__, lambda: logging.captureWarnings(True)),
    "raiseExceptions": Kind(lambda: logging.raiseExceptions, lambda: setattr(logging, "raiseExceptions", False)),
    # Numbers, time, language
    "decimal": Kind(lambda: decimal.getcontext().prec, change_decimal),
    "decimal traps": Kind(divide, lambda: decimal.getcontext().traps.__setitem__(decimal.Inexact, True)),
    "decimal default": Kind(lambda: decimal.DefaultContext.prec, lambda: setattr(decimal.DefaultContext, "prec", 3)),
    "decimal local context": Kind(
        lambda: decimal.getcontext().prec, lambda: decimal.localcontext(decimal.Context(prec=3)).__enter__()
    ),
    "calendar": Kind(calendar.firstweekday, lambda: calendar.setfirstweekday(3)),
    "zoneinfo": Kind(lambda: zoneinfo.TZPATH, lambda: zoneinfo.reset_tzpath(["/x"])),
    "locale": Kind(lambda: locale.setlocale(locale.LC_NUMERIC), lambda: locale.setlocale(locale.LC_NUMERIC, "C.UTF-8")),
    "text domain": Kind(gettext.textdomain, lambda: gettext.textdomain("poolsafe")),
    "domain's directory": Kind(
        lambda: gettext.bindtextdomain("poolsafe"), lambda: gettext.bindtextdomain("poolsafe", "/x")
    ),
    "gettext.install": Kind(lambda: hasattr(builtins, "_"), lambda: gettext.install("poolsafe")),
    # Registries
    "csv": Kind(csv.field_size_limit, lambda: csv.field_size_limit(77)),
    "csv dialect": Kind(
        lambda: "poolsafe" in csv.list_dialects(), lambda: csv.register_dialect("poolsafe", delimiter=";")
    ),
    "mimetypes": Kind(lambda: mimetypes.guess_type("a.psx")[0], lambda: mimetypes.add_type("x/y", ".psx")),
    "archive format": Kind(
        lambda: len(shutil.get_archive_formats()), lambda: shutil.register_archive_format("psx", print)
    ),
    "unpack format": Kind(
        lambda: len(shutil.get_unpack_formats()),
        lambda: shutil.unregister_unpack_format(shutil.get_unpack_formats()[0][0]),
    ),
    "email charset": Kind(lambda: "x-psx" in charset.CHARSETS, lambda: charset.add_charset("x-psx")),
    "XML namespace": Kind(
        lambda: "http://psx" in ElementTree._namespace_map,  # type: ignore[attr-defined]
        lambda: ElementTree.register_namespace("psx", "http://psx"),
    ),
    "sqlite adapter": Kind(lambda: len(sqlite3.adapters), lambda: sqlite3.register_adapter(complex, str)),
    "sqlite converter": Kind(lambda: len(sqlite3.converters), lambda: sqlite3.register_converter("psx", bytes)),
    "copyreg": Kind(lambda: copyreg.dispatch_table[complex] is no_number, lambda: copyreg.pickle(complex, no_number)),
    # Network, processes, files
    "socket timeout": Kind(socket.getdefaulttimeout, lambda: socket.setdefaulttimeout(99)),
    "HTTPS context": held(ssl, "_create_default_https_context", ssl._create_unverified_context),
    "URL opener": Kind(
        lambda: request._opener is None,  # type: ignore[attr-defined]
        lambda: request.install_opener(request.build_opener()),
    ),
    "tempdir": Kind(lambda: tempfile.tempdir, lambda: setattr(tempfile, "tempdir", "/x")),
    "prefix of temporary files": Kind(lambda: tempfile.template, lambda: setattr(tempfile, "template", "x")),
    "asyncio policy": Kind(policy, set_policy),
    "start method": Kind(lambda: multiprocessing.get_start_method(allow_none=True), switch_start_method),
    # The standard library, patched
    "time.time": patch(time, "time"),
    "os.listdir": patch(os, "listdir"),
    "json.dumps": patch(json, "dumps"),
    "math.sqrt": patch(math, "sqrt"),
    "random.random": patch(random, "random"),
    "subprocess.run": patch(subprocess, "run"),
    "platform.system": patch(platform, "system"),
    "request.urlopen": patch(request, "urlopen"),
    "pathlib.Path": patch(pathlib, "Path"),
    "datetime.date": patch(datetime, "date"),
    "builtins.sorted": patch(builtins, "sorted"),
    "builtins.__import__": Kind(lambda: type(builtins.__import__).__name__, import_differently),
    "mock.patch": Kind(lambda: type(time.sleep).__name__, lambda: mock.patch("time.sleep").start()),
    "mock.patch.dict": Kind(
        lambda: os.environ.get("POOLSAFE_Z"), lambda: mock.patch.dict(os.environ, POOLSAFE_Z="1").start()
    ),
    "os.path.exists": Kind(lambda: os.path.exists is no_number, lambda: setattr(os.path, "exists", no_number)),
    "standard module that the task imports first": Kind(
        lambda: getattr(sys.modules.get("colorsys"), "rgb_to_hsv", None) is no_number, patch_and_import
    ),
    "attribute of a standard class": Kind(
        lambda: logging.Formatter.converter is no_number, lambda: setattr(logging.Formatter, "converter", no_number)
    ),
    "method of a standard class": Kind(
        lambda: json.JSONEncoder.default is no_number, lambda: setattr(json.JSONEncoder, "default", no_number)
    ),
    "new attribute of a standard class": Kind(
        lambda: hasattr(subprocess.Popen, "note"), lambda: setattr(subprocess.Popen, "note", 1)
    ),
    "added builtin": Kind(lambda: hasattr(builtins, "psx"), lambda: setattr(builtins, "psx", 1)),
    "broken builtin": Kind(lambda: any([1]), lambda: setattr(builtins, "any", lambda _: False)),
    "added function": Kind(lambda: hasattr(math, "double"), lambda: setattr(math, "double", no_number)),
    "string constant": Kind(lambda: string.digits, lambda: setattr(string, "digits", "x")),
}

if sys.version_info >= (3, 14):
    del KINDS["asyncio policy"]
if hasattr(contextlib, "chdir"):
    KINDS["contextlib.chdir"] = Kind(os.getcwd, lambda: contextlib.chdir("/").__enter__())
if np is not None:
    KINDS["numpy print options"] = Kind(lambda: str(np.array(1 / 3)[None]), lambda: np.set_printoptions(precision=2))
    KINDS["numpy error state"] = Kind(lambda: np.geterr()["divide"], lambda: np.seterr(divide="raise"))
