"""A forked child lets go of the pools of its parent, each once."""

from __future__ import annotations

import os

from poolsafe.engine import registry


class Member:
    def __init__(self, report: int, name: bytes) -> None:
        self.report = report
        self.name = name

    def abandon(self) -> None:
        os.write(self.report, self.name)


def test_a_child_abandons_what_is_registered_and_the_parent_nothing() -> None:
    reader, writer = os.pipe()
    first, second, gone = (Member(writer, name) for name in (b"1", b"2", b"3"))
    for member in (first, second, gone):
        registry.add(member)
    registry.discard(gone)
    registry.discard(gone)
    child = os.fork()
    if not child:
        if not os.fork():  # a grandchild has nothing left to let go of
            os._exit(0)
        os.wait()
        os._exit(0)
    os.waitpid(child, 0)
    registry.discard(first)
    registry.discard(second)
    os.close(writer)
    with open(reader, "rb") as file:
        assert sorted(file.read()) == sorted(b"12")
