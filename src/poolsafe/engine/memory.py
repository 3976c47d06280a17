"""How much memory a process has, as far as the system tells it to anybody.

*Resident* memory: the pages that are in main memory now, those it shares with others (after a fork: with its parent)
included. It is what the second field of Linux's /proc/PID/statm counts (proc(5)) and what `ps` prints as RSS.

Used by: child (its own, after a task), watchdog (of workers, during one), options. What may go wrong: there is no such
process any more, or no descriptor left to look; then nobody can tell.
"""

from __future__ import annotations

import os
import sys

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
#: macOS: which facts `proc_pidinfo` is asked for, their size in bytes, and where the resident size stands (libproc.h).
_TASK_INFO, _TASK_INFO_SIZE, _RESIDENT_AT = 4, 96, 8


def resident(pid: int | None = None) -> int | None:
    """Bytes of resident memory of a process, this one by default; None when nobody can tell."""
    if sys.platform == "darwin":
        return _by_libproc(os.getpid() if pid is None else pid)
    try:
        with open(f"/proc/{'self' if pid is None else pid}/statm", "rb", buffering=0) as file:
            return int(file.read(200).split()[1]) * _PAGE
    except (OSError, IndexError):
        return None


def _by_libproc(pid: int) -> int | None:
    import ctypes

    buffer = ctypes.create_string_buffer(_TASK_INFO_SIZE)
    try:
        count = ctypes.CDLL(None).proc_pidinfo(pid, _TASK_INFO, ctypes.c_uint64(0), buffer, _TASK_INFO_SIZE)
    except (OSError, AttributeError):
        return None
    if count < _TASK_INFO_SIZE:
        return None
    return int.from_bytes(buffer.raw[_RESIDENT_AT : _RESIDENT_AT + 8], sys.byteorder)


def in_words(size: float) -> str:
    """A number of bytes as people write it: `1.5 GiB`."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"
