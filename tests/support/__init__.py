"""What several test files share: leak check, gates, task functions, running scripts."""

from __future__ import annotations
