"""The stdlib's multiprocessing tests under `fork`: what Lib/test/test_multiprocessing_fork contains.

Who imports it: `stdpool_run`, and workers that look for a function of a test class. A driver of our own, because some
distributions of CPython lack theirs. What may go wrong: without the stdlib's test package the import fails.
"""

from __future__ import annotations

from test._test_multiprocessing import install_tests_in_module_dict

install_tests_in_module_dict(globals(), "fork")
