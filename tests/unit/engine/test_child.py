"""The worker's loop: chunks, the log, its beginning and its ends."""

from __future__ import annotations

import contextlib
import os
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from poolsafe.engine import boot, child, messages
from poolsafe.engine.ends import ParentGone
from poolsafe.engine.messages import Request, Sealed, call_payload, chunk_payload, dumps, frames_of, loads
from poolsafe.engine.page import IDLE, LOG_SIZE, RECEIVED, RUNNING, Page
from poolsafe.engine.setup import Setup
from tests.support.tasks import add, square

from .bench import Bench, FakeEnd, FakeGuard, Noting, events, fail, note


# -- chunks ------------------------------------------------------------------------------------------------------------
def chunk(
    func: Any, items: list[Any], *, mode: int = messages.MAP, shared: bool = True, together: bool = True
) -> bytes:
    blobs = None if together else [dumps(item) for item in items]
    return chunk_payload(mode, dumps(func), shared, items if together else [], blobs)


def test_a_chunk_is_logged_and_sent_at_its_end(bench: Bench) -> None:
    bench.ask(7, chunk(square, [1, 2, 3]), stop=3)
    with pytest.raises(ParentGone):
        bench.worker.serve()
    assert len(bench.end.sent) == 1
    assert [(job, index, loads(data)) for _, job, index, data in bench.end.frames] == [(7, 0, 1), (7, 1, 4), (7, 2, 9)]
    assert bench.page.log() == b""
    assert events == ["restore"] * 3


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_star_maps_and_their_kin(bench: Bench, together: bool, shared: bool) -> None:
    payload = chunk(add, [(1, 2), (3, 4)], mode=messages.STARMAP, together=together, shared=shared)
    bench.ask(7, payload, stop=2)
    with pytest.raises(ParentGone):
        bench.worker.serve()
    assert [loads(data) for *_, data in bench.end.frames] == [3, 7]


def test_what_cannot_be_shared_is_loaded_for_each_item(bench: Bench) -> None:
    bench.ask(7, chunk(Noting(), [1, 2], shared=False), stop=2)
    events.clear()
    with pytest.raises(ParentGone):
        bench.worker.serve()
    assert events.count("load") == 2


def test_the_log_holds_what_is_done_while_the_next_item_runs(bench: Bench) -> None:
    seen: list[Any] = []

    class Looking:
        def __call__(self, item: int) -> int:
            seen.append((bench.page.begun(), [index for _, _, index, _ in frames_of(bench.page.log())]))
            return item

    looking = Looking()
    child_loads = child.loads
    try:
        child.loads = lambda blob: looking if blob == b"looking" else child_loads(blob)  # type: ignore[assignment]
        payload = chunk_payload(messages.MAP, b"looking", True, [1, 2, 3], None)
        bench.ask(7, payload, stop=3)
        with pytest.raises(ParentGone):
            bench.worker.serve()
    finally:
        child.loads = child_loads  # type: ignore[assignment]
    assert seen == [((7, 0, RUNNING), []), ((7, 1, RUNNING), [0]), ((7, 2, RUNNING), [0, 1])]


def repeat(size: int) -> bytes:
    return b"x" * size


def test_a_full_log_is_sent_and_a_big_answer_goes_by_itself(bench: Bench) -> None:
    sizes = [LOG_SIZE // 2, LOG_SIZE // 3, LOG_SIZE // 2, LOG_SIZE * 2, 5]
    bench.ask(7, chunk(repeat, sizes), stop=5)
    with pytest.raises(ParentGone):
        bench.worker.serve()
    assert [len(loads(data)) for *_, data in bench.end.frames] == sizes
    assert [len(frames_of(data)) for data in bench.end.sent] == [2, 1, 1, 1]


def test_a_part_of_a_chunk(bench: Bench) -> None:
    bench.ask(7, chunk(square, [1, 2, 3, 4]), start=2, stop=4)
    with pytest.raises(ParentGone):
        bench.worker.serve()
    assert [(index, loads(data)) for _, _, index, data in bench.end.frames] == [(2, 9), (3, 16)]
    assert bench.page.begun() == (7, 4, IDLE)


# -- ends --------------------------------------------------------------------------------------------------------------
def test_a_stop_ends_the_loop(bench: Bench) -> None:
    bench.end.requests.append((Request(messages.STOP, 0, 0, 0, b""), True))
    bench.worker.serve()
    assert bench.end.sent == []


def test_a_worker_leaves_when_a_task_left_what_cannot_be_undone(bench: Bench) -> None:
    """Its answer goes out first; of a chunk the rest is for another worker, of a single call there is none."""
    bench.ask(6, chunk(square, [1, 2, 3]), start=0, stop=3)
    bench.guard.left = "a thread"
    bench.worker.serve()
    [answer, leaving] = bench.end.frames
    assert answer[:3] == (messages.VALUE, 6, 0)
    assert (*leaving[:3], loads(leaving[3])) == (messages.LEAVING, 6, 1, "a thread")
    assert bench.page.begun() == (6, 1, IDLE)
    bench.ask(7, call_payload(square, (1,), {}))
    bench.worker.serve()
    assert bench.end.frames[-1][:3] == (messages.LEAVING, 0, 1)


def test_items_have_the_numbers_of_their_submission(bench: Bench) -> None:
    bench.ask(6, chunk_payload(messages.MAP, dumps(square), True, [1, 2, 3], None, (4, 100)), start=1, stop=3)
    bench.ask(7, call_payload(square, (1,), {}, (0, 7)))
    with pytest.raises(ParentGone):
        bench.worker.serve()
    assert bench.guard.numbers == [(4, 101), (4, 102), (0, 7)]


def test_globals_that_cannot_be_put_back_retire_the_worker(bench: Bench) -> None:
    bench.ask(6, chunk(square, [1, 2]), stop=2)
    bench.ask(7, chunk(square, [1, 2, 3]), stop=3)
    bench.ask(8, call_payload(square, (1,), {}))
    restored = iter([None, None, None, ValueError("of a factory")])
    plain = bench.guard.begin

    def begin(stream: int, index: int) -> None:
        bench.guard.failure = next(restored)
        plain(stream, index)

    bench.worker._begin = begin
    bench.worker.serve()
    kinds = [(kind, job, index) for kind, job, index, _ in bench.end.frames]
    assert kinds == [
        (messages.VALUE, 6, 0), (messages.VALUE, 6, 1), (messages.VALUE, 7, 0), (messages.RETIRE, 7, 1),
    ]  # fmt: skip
    what, facts = loads(bench.end.frames[-1][3])
    assert (what, facts["type"], facts["text"]) == ("reset", "ValueError", "of a factory")
    assert bench.page.begun() == (7, 1, RECEIVED), "not begun"
    assert len(bench.end.requests) == 1, "the next request is left for another worker"


def test_arguments_that_did_not_arrive_retire_the_worker(bench: Bench) -> None:
    bench.ask(7, b"", whole=False)
    bench.worker.serve()
    [(kind, job, index, data)] = bench.end.frames
    assert (kind, job, index) == (messages.RETIRE, 7, 0)
    assert loads(data)[0] == "receive"


def fork_and_return() -> int:
    return os.fork()


def test_a_copy_of_the_worker_neither_answers_nor_takes_tasks(page: Page) -> None:
    reader, writer = os.pipe()

    class Telling(FakeEnd):
        def send(self, data: bytes | memoryview) -> None:
            os.write(writer, b"%d " % os.getpid())

    bench = Bench(page)
    bench.end = bench.worker._end = bench.worker._out._end = Telling()  # type: ignore[assignment]
    bench.ask(7, call_payload(fork_and_return, (), {}))
    bench.ask(8, call_payload(square, (1,), {}))
    with contextlib.suppress(ParentGone):
        bench.worker.serve()
    assert os.wait()[1] == 0
    os.close(writer)
    with open(reader, "rb") as file:
        assert file.read().split() == [b"%d" % os.getpid()] * 2


# -- the beginning -----------------------------------------------------------------------------------------------------
class Baseline:
    def restore(self) -> None:
        events.append("baseline")


def setup(initializer: Any = None, initargs: Any = (), baseline: Any = None, max_memory: int | None = None) -> Any:
    events.clear()
    made: Any = Setup.__new__(Setup)
    made.end = FakeEnd()
    made.page = SimpleNamespace(stack_file=lambda: -1)
    made.initializer = Sealed((initializer, initargs))
    made.options = Sealed((FakeGuard(), None, None))
    made.baseline = baseline
    made.forks = made.each = False
    made.max_memory = max_memory
    return made


def test_the_order_of_the_beginning() -> None:
    made = setup(note, ("initialize",), Baseline())
    assert boot.prepare(made) is not None
    assert events == ["baseline", "prepare", "initialize", "capture"]
    assert [kind for kind, *_ in made.end.frames] == [messages.READY]


@pytest.mark.parametrize("error", [ValueError("words"), SystemExit(2), KeyboardInterrupt()])
def test_an_initializer_that_fails_is_told(error: BaseException) -> None:
    made = setup(fail, (error,))
    assert boot.prepare(made) is None
    [(kind, _, _, data)] = made.end.frames
    assert kind == messages.INIT_FAILED
    what, facts = loads(data)
    assert (what, facts["type"]) == ("raised", type(error).__name__)
    assert "capture" not in events


def test_the_baseline_stays_in_the_parent() -> None:
    made = setup(baseline="what the parent captured")
    for name in ("end", "page", "initializer", "options"):
        setattr(made, name, None)
    assert pickle.loads(pickle.dumps(made)).baseline is None


def fork_in_the_initializer(report: int) -> None:
    os.write(report, b"forked " if os.fork() else b"copied ")


def test_a_fresh_worker_that_is_too_large_is_told() -> None:
    made = setup(max_memory=1)
    assert boot.prepare(made) is None
    [(kind, _, _, data)] = made.end.frames
    assert kind == messages.INIT_FAILED
    what, facts = loads(data)
    assert (what, facts["most"]) == ("memory", 1)
    assert facts["used"] > 1_000_000


def test_a_copy_that_an_initializer_made_does_not_serve() -> None:
    reader, writer = os.pipe()
    made = setup(fork_in_the_initializer, (writer,))
    worker = boot.prepare(made)
    os.write(writer, b"ready ")  # the copy would say so as well
    assert worker is not None
    assert os.wait()[1] == 0
    os.close(writer)
    with open(reader, "rb") as file:
        assert sorted(file.read().split()) == [b"copied", b"forked", b"ready"]


# -- memory ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("used", "leaves"), [(2001, True), (2000, False), (None, False)])
def test_a_worker_that_has_grown_leaves_after_the_item(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, used: int | None, leaves: bool
) -> None:
    monkeypatch.setattr(child, "resident", lambda: used)
    bench.worker._most = 2000
    bench.ask(7, chunk(square, [1, 2]), stop=2)
    if leaves:
        bench.worker.serve()
        assert [(kind, job, index) for kind, job, index, _ in bench.end.frames] == [
            (messages.VALUE, 7, 0),
            (messages.LEAVING, 7, 1),
        ]
        assert "max_memory" in loads(bench.end.frames[-1][3])
        assert bench.page.begun().phase == IDLE
    else:
        with pytest.raises(ParentGone):
            bench.worker.serve()
        assert [kind for kind, *_ in bench.end.frames] == [messages.VALUE] * 2
