"""The tests of poolsafe; docs/contributing.md says which folder holds which kind."""

from __future__ import annotations
