"""The shared page: marks, the log, and that nothing torn is ever taken for whole."""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Iterator
from itertools import count
from math import inf
from multiprocessing import get_context
from pathlib import Path

import pytest

from poolsafe.engine import messages
from poolsafe.engine.messages import frames_of
from poolsafe.engine.page import IDLE, LOG_SIZE, RECEIVED, RUNNING, SAID, SIZE, UNBORN, Begun, Page
from poolsafe.engine.pages import Pages
from tests.support.gates import Gate


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


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="such a page cannot be kept")
def test_a_page_whose_worker_cannot_be_ended_is_used_again_when_it_has_ended(pages: Pages) -> None:
    kept, _ = pages.take(), pages.take()
    go, pause = os.pipe()
    child = os.fork()
    if not child:
        os.close(pause)
        os.read(go, 1)
        os._exit(0)
    os.close(go)
    process = os.pidfd_open(child)
    pages.keep(kept, process)
    with pytest.raises(RuntimeError, match="cannot be ended"):
        pages.take()
    os.close(pause)
    os.waitpid(child, 0)
    assert pages.take().slot == kept.slot
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(process)


def test_the_processes_that_a_worker_has_forked(pages: Pages) -> None:
    page, other = pages.take(), pages.take()
    assert page.children() == []
    places = [page.expect_child(), page.expect_child()]
    assert page.children() == [UNBORN, UNBORN]
    page.tell_child(places[0], 3)  # after another one was forked
    assert page.children() == [3, UNBORN]
    page.tell_child(places[1], 4)
    page.tell_child(places[0], 0)
    assert page.children() == [4]
    page.write(0, b"frame")
    for pid in range(5, 16):
        page.tell_child(page.expect_child(), pid)
    page.tell_child(page.expect_child(), 16)
    assert sorted(page.children()) == list(range(4, 16)), "there is room for no more"
    page.commit(5)
    assert page.log() == b"frame"
    assert other.children() == []
    pages.give_back(page)
    assert pages.take().children() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_field_that_is_written_again_is_whole_at_every_moment(pages: Pages, tmp_path: Path) -> None:
    page, gate = pages.take(), Gate(tmp_path / "written")
    writer = os.fork()
    if not writer:
        try:
            place = page.expect_child()
            for turn in count():
                page.tell_child(place, 77)
                page.mark(2**63 + 5, 9, RUNNING)
                page.tell_holder(78)
                page.tell_times(1.5, 2.5)
                page.done()
                if not turn:
                    gate.open()
        finally:
            os._exit(1)
    try:
        gate.wait()
        seen = {(*page.children(), page.begun(), page.holder(), page.times(), page.since()) for _ in range(50_000)}
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    assert seen == {(77, Begun(2**63 + 5, 9, RUNNING), 78, (1.5, 2.5), inf)}


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
    def fail(*_: object, **__: object) -> None:
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


# -- what was written to stderr ----------------------------------------------------------------------------------------
def test_words_are_those_of_the_item_at_hand(pages: Pages) -> None:
    page = pages.take()
    assert page.said() == ""
    page.run(5, 1)
    page.say(b"one\n")
    page.say(b"two\n")
    assert page.said() == "one\ntwo\n"
    page.run(5, 2)
    assert page.said() == ""
    page.say(b"three\n")
    assert page.said() == "three\n"
    page.run(6, 2)
    assert page.said() == ""


def test_only_the_end_of_many_words_is_kept(pages: Pages) -> None:
    page, other = pages.take(), pages.take()
    page.run(5, 1)
    for i in range(1000):
        page.say(b"line %d\n" % i)
    lines = page.said().splitlines()
    assert lines == [f"line {i}" for i in range(1000 - len(lines), 1000)], "whole lines, the last ones"
    assert len(lines) > 100
    page.say(b"x" * 10_000)
    assert page.said() == "x" * SAID
    assert (page.log(), other.said(), other.log()) == (b"", "", b"")


def test_words_that_are_no_text(pages: Pages) -> None:
    page = pages.take()
    page.say(b"\xff!")
    assert page.said() == "\ufffd!"


def test_a_page_that_is_used_again_has_no_words(pages: Pages) -> None:
    page = pages.take()
    page.say(b"old")
    pages.give_back(page)
    assert pages.take().said() == ""


def test_a_stack_is_given_once(pages: Pages) -> None:
    page = pages.take()
    assert page.give_stack() == ""
    os.write(page.stack_file(), b"here")
    assert (page.give_stack(), page.take_stack()) == ("here", "")
    page.rewind_stack()
    os.write(page.stack_file(), b"there")
    assert (page.take_stack(), page.give_stack()) == ("there", "")
    os.close(page.stack_file())


def test_words_of_a_process_before(pages: Pages) -> None:
    page = pages.take()
    page.run(5, 1)
    page.say(b"old")
    page.hear_none()
    assert page.said() == ""
