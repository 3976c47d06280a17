"""Tests of one module each, mirroring src/poolsafe; most of them start no process."""

from __future__ import annotations
