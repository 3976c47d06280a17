"""Benchmarks: poolsafe beside the standard library's pool, in one run. Not collected by pytest."""

from __future__ import annotations
