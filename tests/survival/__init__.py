"""What a pool must survive: every way in which tasks, users and machines are known to kill pools."""

from __future__ import annotations
