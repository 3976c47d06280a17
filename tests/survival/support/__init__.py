"""What the survival tests share: chores for workers, ways of submitting them, hostile objects, programs."""

from __future__ import annotations
