"""Programs of the survival tests' own, each run as the main script of a fresh interpreter."""

from __future__ import annotations
