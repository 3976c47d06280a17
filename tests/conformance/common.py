"""What the drop-in tests share.

Who uses it: `conftest` and `test_dropin*`. What may go wrong: nothing of its own.
"""

from __future__ import annotations

import multiprocessing.pool
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from tests.support.gates import Gate

MakePool = Callable[..., multiprocessing.pool.Pool]
MakeGate = Callable[[str], Gate]
Error = TypeVar("Error", bound=BaseException)

#: Seconds that no result takes, unless something hangs.
LONG = 20


def error_of(kind: type[Error], function: Callable[..., Any], *args: Any) -> Error:
    """Call a function that must fail with `kind` and return its error."""
    with pytest.raises(kind) as raised:
        function(*args)
    return raised.value
