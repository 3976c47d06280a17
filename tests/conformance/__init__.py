"""CPython's own pool tests, run unchanged against IsolatedPool, and drop-in checks that they do not make."""

from __future__ import annotations
