"""Telling the user something from a thread in which nobody could catch an exception.

Used by: supervisor (a worker could not be started), watching (leaks, costs). What may go wrong: the program's warning
filters turn the warning into an error; then it is printed.
"""

from __future__ import annotations

import sys
import warnings

from ..errors import PoolsafeWarning


def report(text: str) -> None:
    """Warns, from a thread in which nobody could catch an exception."""
    try:
        warnings.warn(f"poolsafe: {text}", PoolsafeWarning, stacklevel=2)
    except Exception as error:  # filters may turn a warning into an error
        print(f"poolsafe: {text} ({type(error).__name__})", file=sys.stderr)
