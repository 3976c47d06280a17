"""Kinds of state that nothing puts back by default: the page of guarantees names each of them.

Used by: the test that this is still so; a kind that is put back belongs into another table, and on the page into
another section. What may go wrong: a kind does not exist on this Python or platform; it is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import codecs
import collections.abc
import csv
import ctypes
import decimal
import fileinput
import hashlib
import http.cookiejar
import itertools
import json
import linecache
import logging
import mmap
import multiprocessing
import os
import queue
import random
import reprlib
import socketserver
import sqlite3
import sys
import tempfile
import threading
import tracemalloc
import types
import webbrowser
from email.message import EmailMessage
from typing import Any
from unittest import mock
from urllib import parse
from xml.dom import minidom
from xml.etree import ElementTree

from .kind import Kind, held

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]


class Mine:
    pass


class Worker(threading.Thread):
    done = 0


class Collecting(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.got.append(record.getMessage())


def numbers() -> Any:
    yield from range(100)


def make_ids() -> Any:
    ids = itertools.count()
    return lambda: next(ids)


def new_id(ids: Any = itertools.count()) -> int:  # noqa: B008 - that is what leaks
    return next(ids)


async def task_name() -> str:
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()


def first_line() -> str:
    try:
        return fileinput.input([__file__]).readline()
    except RuntimeError as error:
        return str(error)


def encode() -> str:
    try:
        return "\u1234".encode("ascii", "poolsafe").decode()
    except LookupError:
        return "no such handler"


def nothing() -> None:
    """For kinds that a look changes."""


def kept() -> logging.Logger:
    """A logger with a handler that no global holds."""
    return logging.getLogger("poolsafe.tests.kept")


kept().addHandler(Collecting())
DOCUMENT, ELEMENT, DATABASE = minidom.parseString("<a/>"), ElementTree.fromstring("<a/>"), sqlite3.connect(":memory:")
FILE = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a file that stays open
HASH, BUFFER, MEMORY = hashlib.sha256(), ctypes.create_string_buffer(4), mmap.mmap(-1, 4)
CONTEXT, SIMPLE, MAIL = decimal.Context(prec=5), queue.SimpleQueue[int](), EmailMessage()
CYCLE, ZIPPED, KEYS, GENERATOR = itertools.cycle("ab"), zip("abc", "abc", strict=True), iter({1: 1, 2: 2}), numbers()
IDS, CLOSED_ID, READER = {"id": itertools.count()}, make_ids(), csv.reader(["a", "b", "c"])
MOCK, ENCODER, PARSER = mock.Mock(), json.JSONEncoder(), argparse.ArgumentParser()
EVENT, THREAD, RANDOM = asyncio.Event(), Worker(), random.Random(1)

KINDS: dict[str, Kind] = {
    # Inside the standard library
    "attribute of a standard class that no function names": held(socketserver.TCPServer, "request_queue_size", 77),
    "list in a standard module": Kind(lambda: len(parse.uses_netloc), lambda: parse.uses_netloc.append("s3")),
    "object in a standard module": held(reprlib.aRepr, "maxlist", 2),
    "attribute of a standard function": held(json.dumps, "note", nothing),
    "name in a standard module that no function names": held(http.cookiejar, "CookieJar", nothing),
    "registration with a standard ABC": Kind(
        lambda: issubclass(Mine, collections.abc.Sequence),
        lambda: collections.abc.Sequence.register(Mine),  # type: ignore[type-abstract]
    ),
    "new entry of sys.modules": Kind(
        lambda: "poolsafe_fake" in sys.modules,
        lambda: sys.modules.__setitem__("poolsafe_fake", types.ModuleType("poolsafe_fake")),
    ),
    "browser": Kind(
        lambda: "poolsafe" in webbrowser._browsers,  # type: ignore[attr-defined]
        lambda: webbrowser.register("poolsafe", None),
    ),
    "fileinput": Kind(first_line, nothing),
    "cached source lines": Kind(
        lambda: linecache.getline("<psx>", 1), lambda: linecache.cache.update({"<psx>": (1, None, ["x\n"], "<psx>")})
    ),
    "name of the thread": Kind(
        lambda: threading.current_thread().name, lambda: setattr(threading.current_thread(), "name", "x")
    ),
    "name of the process": Kind(
        lambda: multiprocessing.current_process().name, lambda: setattr(multiprocessing.current_process(), "name", "x")
    ),
    "number in the name of a new thread": Kind(lambda: threading.Thread().name, nothing),
    "number in the name of an asyncio task": Kind(lambda: asyncio.run(task_name()), nothing),
    "logging handler that no global holds": Kind(
        lambda: len(kept().handlers[0].got),  # type: ignore[attr-defined]
        lambda: kept().error("x"),
    ),
    "attribute of a logger": held(kept(), "note", nothing),
    "codec error handler": Kind(encode, lambda: codecs.register_error("poolsafe", lambda e: ("?", 1))),
    "atexit": Kind(atexit._ncallbacks, lambda: atexit.register(nothing)),
    "audit hook": Kind(
        lambda: (sys.audit("poolsafe.tests", found := list[int]()), len(found))[1],
        lambda: sys.addaudithook(lambda name, args: args[0].append(1) if name == "poolsafe.tests" else None),
    ),
    "tracemalloc": Kind(tracemalloc.is_tracing, tracemalloc.start),
    # Objects of classes that are not the project's own, and objects of C
    "minidom document": Kind(DOCUMENT.toxml, lambda: DOCUMENT.documentElement.setAttribute("x", "1")),
    "Element of ElementTree": Kind(lambda: len(ELEMENT), lambda: ElementTree.SubElement(ELEMENT, "b")),
    "EmailMessage": Kind(lambda: len(MAIL), lambda: MAIL.add_header("X", "1")),
    "Mock": Kind(lambda: MOCK.call_count, MOCK),
    "JSONEncoder": Kind(lambda: ENCODER.encode([1]), lambda: setattr(ENCODER, "indent", 1)),
    "ArgumentParser": Kind(lambda: PARSER.get_default("x"), lambda: PARSER.set_defaults(x=1)),
    "asyncio.Event": Kind(EVENT.is_set, EVENT.set),
    "subclass of Thread": Kind(lambda: THREAD.done, lambda: setattr(THREAD, "done", 1)),
    "decimal.Context": Kind(lambda: CONTEXT.prec, lambda: setattr(CONTEXT, "prec", CONTEXT.prec + 1)),
    "SimpleQueue": Kind(SIMPLE.qsize, lambda: SIMPLE.put(1)),
    "database connection": Kind(
        lambda: len(DATABASE.execute("select * from sqlite_master").fetchall()),
        lambda: DATABASE.execute("create table if not exists t (a)"),
    ),
    "open file": Kind(FILE.tell, lambda: FILE.write("x")),
    "hash object": Kind(HASH.hexdigest, lambda: HASH.update(b"x")),
    "ctypes buffer": Kind(lambda: BUFFER.value, lambda: setattr(BUFFER, "value", b"x")),
    "mmap": Kind(lambda: MEMORY[0], lambda: MEMORY.__setitem__(0, MEMORY[0] + 1)),
    # Iterators that cannot be made anew, or that no module, class or instance has under a name
    "generator": Kind(lambda: next(GENERATOR), nothing),
    "itertools.cycle": Kind(lambda: next(CYCLE), nothing),
    "zip": Kind(lambda: next(ZIPPED), nothing),
    "iterator over a dict": Kind(lambda: next(KEYS), nothing),
    "csv.reader": Kind(lambda: next(READER), nothing),
    "count in a dict": Kind(lambda: next(IDS["id"]), nothing),
    "count in a closure": Kind(CLOSED_ID, nothing),
    "count in a default argument": Kind(new_id, nothing),
    # By design, and what is inside of what is put back
    "random numbers": Kind(random.random, nothing),
    "random.Random": Kind(RANDOM.random, nothing),
}

if hasattr(os, "setpgid"):
    KINDS["process group"] = Kind(lambda: os.getpgrp() == os.getpid(), lambda: os.setpgid(0, 0))
if hasattr(os, "sched_setscheduler"):
    KINDS["scheduling policy"] = Kind(
        lambda: os.sched_getscheduler(0), lambda: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    )
if os.path.isdir("/proc/self/fd"):
    KINDS["open descriptor"] = Kind(lambda: len(os.listdir("/proc/self/fd")), lambda: os.open(os.devnull, os.O_RDONLY))
if os.name == "posix":
    KINDS["os.putenv"] = Kind(
        lambda: ctypes.CDLL(None).getenv(b"POOLSAFE_W") != 0, lambda: os.putenv("POOLSAFE_W", "1")
    )
if np is not None:
    POLYNOMIAL = np.polynomial.Polynomial([1, 2])
    KINDS["name of an installed package"] = held(np, "poolsafe_note", nothing)
    KINDS["object of an installed package"] = Kind(
        lambda: POLYNOMIAL.coef.tolist(), lambda: POLYNOMIAL.coef.__setitem__(0, POLYNOMIAL.coef[0] + 1)
    )
