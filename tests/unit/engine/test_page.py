"""The shared page: marks, the log, and that nothing torn is ever taken for whole."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from multiprocessing import get_context

import pytest

from poolsafe.engine import messages
from poolsafe.engine.messages import frames_of
from poolsafe.engine.page import IDLE, LOG_SIZE, RECEIVED, RUNNING, SIZE, Begun, Page, Pages


@pytest.fixture
def pages() -> Iterator[Pages]:
    made = Pages(2)
    yield made
    made.close_fd()


def test_a_clean_page_names_nothing(pages: Pages) -> None:
    page = pages.take()
    assert page.begun() == Begun(0, 0, IDLE)
    assert page.log() == b""


def test_a_page_that_is_used_again_is_clean(pages: Pages) -> None:
    page = pages.take()
    page.mark(5, 6, RUNNING)
    page.write(0, b"frame")
    page.commit(5)
    pages.give_back(page)
    again = pages.take()
    assert again.slot == page.slot
    assert again.begun() == Begun(0, 0, IDLE)
    assert again.log() == b""


def test_pages_do_not_overlap(pages: Pages) -> None:
    first, second = pages.take(), pages.take()
    first.mark(1, 2, RUNNING)
    first.write(0, b"x" * LOG_SIZE)
    first.commit(LOG_SIZE)
    assert second.begun() == Begun(0, 0, IDLE)
    second.mark(3, 4, RECEIVED)
    second.write(0, b"y" * LOG_SIZE)
    second.commit(LOG_SIZE)
    assert first.log() == b"x" * LOG_SIZE
    assert first.begun() == Begun(1, 2, RUNNING)


def test_big_numbers_fit(pages: Pages) -> None:
    page = pages.take()
    page.mark(2**64 - 1, 2**32 - 1, RUNNING)
    assert page.begun() == Begun(2**64 - 1, 2**32 - 1, RUNNING)


def test_only_what_is_committed_counts(pages: Pages) -> None:
    page = pages.take()
    one = messages.frame(messages.VALUE, 1, 0, b"one")
    two = messages.frame(messages.VALUE, 1, 1, b"two")
    page.write(0, one)
    page.commit(len(one))
    page.write(len(one), two)
    assert frames_of(page.log()) == [(messages.VALUE, 1, 0, b"one")]
    page.commit(len(one) + len(two))
    assert [index for _, _, index, _ in frames_of(page.log())] == [0, 1]
    page.commit(0)
    assert page.log() == b""


def test_a_senseless_length_does_not_read_past_the_page(pages: Pages) -> None:
    page = pages.take()
    page.commit(2**32 - 1)
    assert len(page.log()) == LOG_SIZE


def test_a_forked_process_writes_to_the_same_page(pages: Pages) -> None:
    page = pages.take()
    child = os.fork()
    if not child:
        page.mark(7, 8, RUNNING)
        os._exit(0)
    os.waitpid(child, 0)
    assert page.begun() == Begun(7, 8, RUNNING)


def write_to(page: Page) -> None:
    page.mark(7, 8, RUNNING)
    page.write(0, b"logged")
    page.commit(6)


def test_a_spawned_process_gets_its_own_page(pages: Pages) -> None:
    other, page = pages.take(), pages.take()
    process = get_context("spawn").Process(target=write_to, args=(page,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert page.begun() == Begun(7, 8, RUNNING)
    assert page.log() == b"logged"
    assert other.begun() == Begun(0, 0, IDLE)
    process.close()


def test_no_memory_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(12, "no memory")

    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(mmap, "mmap", fail)
    with pytest.raises(OSError, match="no memory"):
        Pages(3)
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_descriptor_is_closed_once(pages: Pages) -> None:
    pages.close_fd()
    pages.close_fd()
    assert pages.fd == -1


def test_slots_are_where_memory_can_be_mapped() -> None:
    assert SIZE % mmap.ALLOCATIONGRANULARITY == 0
