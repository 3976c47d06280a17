"""Runs chosen tests of the stdlib with unittest and writes what becomes of each as lines of JSON.

    python -m stdpool_run --list MODULE ...             print {module: {class: [test, ...]}}
    python -m stdpool_run OUTPUT LIMIT MODULE:CLASS.TEST ...

Who calls it: `tests.conformance.runs`, one process for each class and start method. What may go wrong: a test hangs;
after LIMIT seconds the stacks of all threads go to stderr, and the caller kills the process. Lines are written as
things happen, so what hung is the last that was begun. Workers import this module as their main module: it does
nothing by itself.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import sys
import time
import traceback
import unittest
from typing import Any


class Reporter(unittest.TestResult):
    """Writes each event as a line ``{"test": ..., "event": ..., "detail": ...}``."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self._output = output
        self._began = 0.0

    def write(self, test: str, event: str, detail: str = "") -> None:
        """Put one line out at once; the process may not live to write another."""
        line = {"test": test, "event": event, "detail": detail, "seconds": round(time.monotonic() - self._began, 3)}
        self._output.write(json.dumps(line) + "\n")
        self._output.flush()

    @staticmethod
    def _name(test: Any) -> str:
        # What fails in setUpClass or setUpModule is reported for a stand-in that has no method of its own.
        return str(getattr(test, "_testMethodName", test))

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self._began = time.monotonic()
        self.write(self._name(test), "begun")

    def addSuccess(self, test: Any) -> None:
        self.write(self._name(test), "passed")

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self.write(self._name(test), "skipped", reason)

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self.write(self._name(test), "failed", "".join(traceback.format_exception(*err)))

    addFailure = addError

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.write(self._name(test), "failed", f"{subtest}\n" + "".join(traceback.format_exception(*err)))

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        self.write(self._name(test), "passed")

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self.write(self._name(test), "failed", "unexpected success")


def every_test(names: list[str]) -> dict[str, dict[str, list[str]]]:
    """List the test classes of modules and the tests of each."""
    loader = unittest.TestLoader()
    return {
        name: {
            cls.__name__: list(loader.getTestCaseNames(cls))
            for cls in vars(importlib.import_module(name)).values()
            if isinstance(cls, type) and issubclass(cls, unittest.TestCase)
        }
        for name in names
    }


def run(output: Any, wanted: list[str]) -> None:
    """Run tests, given as ``module:Class.test``, in one suite, so that class and module fixtures hold."""
    from test import support

    if all("WithThreads" in name for name in wanted):
        # Before 3.13 test_terminate waits this long for a thread whose task began early; the default is five minutes.
        # The stdlib's own runner sets this, too. No pool of ours is concerned.
        support.LONG_TIMEOUT = 10
    suite = unittest.TestSuite()
    for name in wanted:
        module, _, test = name.partition(":")
        suite.addTest(unittest.defaultTestLoader.loadTestsFromName(test, importlib.import_module(module)))
    reporter = Reporter(output)
    suite(reporter)
    reporter.write("", "end", "environment altered" if support.environment_altered else "")


def main(arguments: list[str]) -> None:
    """See the module's docstring."""
    if arguments[0] == "--list":
        print(json.dumps(every_test(arguments[1:])))
        return
    faulthandler.enable()
    faulthandler.dump_traceback_later(float(arguments[1]), exit=False)
    with open(arguments[0], "w", encoding="utf-8") as output:
        run(output, arguments[2:])
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main(sys.argv[1:])
