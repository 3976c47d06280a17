"""The hub when its thread cannot be started, or a signal's handler raises while it is."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

from poolsafe.engine.signals import Retractable
from poolsafe.queues import hub
from tests.support import leaks
from tests.support.gates import DEADLINE


class Store:
    closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("runs", [False, True])
def test_a_signal_whose_handler_raises_while_the_thread_starts(monkeypatch: pytest.MonkeyPatch, runs: bool) -> None:
    """What was raised comes through, and what was opened is closed once: here, or by the thread that is there."""
    threads, failures = list[threading.Thread](), list[Any]()
    entered, store = threading.Event(), Store()
    run = hub.Hub._run

    def noted(self: hub.Hub) -> None:
        entered.set()
        run(self)

    def start(thread: threading.Thread) -> None:
        threads.append(thread)
        if runs:
            thread.start()
            assert entered.wait(DEADLINE)
        raise KeyboardInterrupt

    monkeypatch.setattr(hub.Hub, "_run", noted)
    monkeypatch.setattr(hub, "start_deaf", start)
    monkeypatch.setattr(threading, "excepthook", failures.append)
    before = leaks.footprint()
    made = hub.Hub()
    with pytest.raises(KeyboardInterrupt):
        made.create(store)
    gc.collect()
    if not runs:
        threads[0].start()  # as one that comes late
    threads[0].join(DEADLINE)
    assert not threads[0].is_alive()
    assert isinstance(threads[0], Retractable)
    assert entered.is_set() == runs
    assert (failures, store.closed, made.over) == ([], 1, True)
    assert leaks.wait_until_clean(before) == []
