"""Who gets in: the processes of this program, and nobody else, whatever they say."""

from __future__ import annotations

import multiprocessing as mp
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from poolsafe import QueueGone
from poolsafe.queues import face, hub, link, wire
from tests.support.gates import wait_for

LIMIT = 10


@pytest.fixture
def q() -> Iterator[Any]:
    queue: Any = face.Queue._made()
    queue.put("secret")
    yield queue
    assert queue.get_nowait() == "secret"


def connect(q: Any) -> socket.socket:
    address = q._held.hub.address
    stranger = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, socket.SOCK_STREAM)
    stranger.settimeout(LIMIT)
    stranger.connect(address)
    return stranger


def is_sent_away(stranger: socket.socket) -> bool:
    try:
        while stranger.recv(1 << 16):
            continue
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("noise", [b"\0" * 48, b"GET / HTTP/1.1\r\n\r\n" * 10, bytes(range(256)) * 100])
def test_noise_gets_nowhere(q: Any, noise: bytes) -> None:
    with connect(q) as stranger:
        stranger.sendall(noise)
        assert is_sent_away(stranger)


def test_a_request_without_proof_is_not_answered(q: Any) -> None:
    with connect(q) as stranger:
        stranger.sendall(b"x" * (wire.NONCE + wire.PROOF) + wire.REQUEST.pack(wire.GET, 0, q._ident, 0))
        assert is_sent_away(stranger)


def test_another_programs_key_does_not_fit(q: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(q) as stranger:
        nonce = stranger.recv(wire.NONCE)
        monkeypatch.setattr(mp.current_process(), "authkey", b"guessed")
        proof = wire.client_proof(q._held.hub.address, nonce, b"n" * wire.NONCE)
        monkeypatch.undo()
        stranger.sendall(b"n" * wire.NONCE + proof)
        assert is_sent_away(stranger)


def test_a_false_owner_is_not_believed() -> None:
    listener, address = wire.listen()
    listener.setblocking(True)

    def play() -> None:
        connected, _ = listener.accept()
        with connected:
            connected.sendall(os.urandom(wire.NONCE))
            connected.recv(wire.NONCE + wire.PROOF)
            connected.sendall(os.urandom(wire.PROOF))

    player = threading.Thread(target=play)
    player.start()
    with pytest.raises(QueueGone):
        link.Link(address)
    player.join(LIMIT)
    listener.close()


def test_who_says_nothing_is_sent_away(q: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 0.05)
    with connect(q) as stranger:
        assert is_sent_away(stranger)


def test_a_crowd_of_strangers_keeps_nobody_out(q: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "STRANGERS", 3)
    monkeypatch.setattr(hub, "CROWD_PATIENCE", 0.05)
    crowd = [connect(q) for _ in range(10)]
    friend = link.Link(q._held.hub.address)
    assert friend.ask(wire.SIZE, q._ident) == (wire.OK, wire.SIZES.pack(1, 0))
    assert is_sent_away(crowd[0])
    for stranger in crowd:
        stranger.close()
    friend.close()


@pytest.mark.parametrize(("operation", "length"), [(77, 0), (wire.TAKEN, 0), (wire.PUT, 1 << 62)])
def test_a_friend_that_loses_its_mind_is_sent_away(q: Any, operation: int, length: int) -> None:
    friend = link.Link(q._held.hub.address)
    friend._socket.settimeout(LIMIT)
    friend._socket.sendall(wire.REQUEST.pack(operation, 0, q._ident, length))
    assert is_sent_away(friend._socket)
    friend.close()


def test_a_torn_item_is_no_item(q: Any) -> None:
    for size in (100, 1 << 20):
        friend = link.Link(q._held.hub.address)
        friend._socket.sendall(wire.REQUEST.pack(wire.PUT, 0, q._ident, size) + b"x" * (size // 2))
        friend.close()
    wait_for(lambda: not q._held.hub._clients, LIMIT, "the end of its connection")
    assert q.qsize() == 1


def test_nothing_is_left_when_nobody_holds_a_queue() -> None:
    queue: Any = face.Queue._made()
    owner = queue._held.hub
    friend = link.Link(owner.address)
    del queue
    wait_for(lambda: owner.over and owner._listener.fileno() < 0, LIMIT, "the hub's end")
    with pytest.raises(QueueGone):
        friend.ask(wire.SIZE, 1)
    with pytest.raises(QueueGone):
        link.Link(owner.address)
