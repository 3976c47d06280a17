"""What is carried is known by its type: from when on, and not before it can be known."""

from __future__ import annotations

import multiprocessing.synchronize
import sys
import threading
from types import ModuleType

import pytest

from poolsafe.queues import carry

NAME = "multiprocessing.synchronize"


def test_a_module_that_another_thread_is_importing_is_left_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "_unseen", {NAME})
    half = ModuleType(NAME)
    half.Lock = threading.Lock  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, NAME, half)
    carry.packing()
    assert carry._unseen == {NAME}
    monkeypatch.setitem(sys.modules, NAME, multiprocessing.synchronize)
    carry.packing()
    assert carry._unseen == set()


def test_a_module_that_is_not_imported_is_left_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "_unseen", {NAME})
    monkeypatch.delitem(sys.modules, NAME)
    carry.packing()
    assert carry._unseen == {NAME}
