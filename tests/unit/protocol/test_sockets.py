"""Keys are refused where ZeroMQ cannot keep what they promise; the poller misses nothing."""

import socket
from collections.abc import Iterator
from functools import partial

import pytest
import zmq

from cyclone.errors import ConfigError
from cyclone.protocol.sockets import (
    POLLIN,
    POLLOUT,
    ClientKeys,
    Poller,
    ServerKeys,
    controller_socket,
    master_socket,
    receive_all,
    receive_with_keys,
    require_curve,
    send_at_once,
)


def test_given_this_installation_then_it_can_do_curve() -> None:
    require_curve()


@pytest.mark.parametrize(
    ("version", "curve", "expected"),
    [((4, 3, 3), True, "keys need libzmq 4.3.4 or later"), ((4, 3, 5), False, "keys need CURVE")],
)
def test_given_a_zeromq_that_is_old_or_without_curve_then_no_socket_gets_keys(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], curve: bool, expected: str
) -> None:
    monkeypatch.setattr(zmq, "zmq_version_info", lambda: version)
    monkeypatch.setattr(zmq, "has", lambda _: curve)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    keys = bytes(32)
    with pytest.raises(ConfigError, match=expected):
        master_socket(context, "127.0.0.1", 0, ServerKeys(keys))
    with pytest.raises(ConfigError, match=expected):
        controller_socket(context, "127.0.0.1", 1, ClientKeys("c1", keys, keys, keys))
    context.destroy()


@pytest.mark.parametrize("size", [0, 1, (1 << 16) - 1, 1 << 16, 1 << 20])
def test_given_frames_of_any_size_then_they_arrive_as_they_were_sent(size: int) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sender, receiver = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    receiver.bind("inproc://frames")
    sender.connect("inproc://frames")
    frames = [b"peer", b"CYC1", bytes(range(256)) * (size // 256) + bytes(size % 256)]
    for _ in range(2):
        send_at_once(sender, frames)
    assert list(receive_all(receiver, 1)) == [frames]
    assert list(receive_with_keys(receiver, 2)) == [("", frames)]
    context.destroy()


class TestPoller:
    @pytest.fixture
    def pair(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        ours, theirs = socket.socketpair()
        yield ours, theirs
        ours.close()
        theirs.close()

    @pytest.fixture
    def poller(self) -> Iterator[Poller]:
        poller = Poller()
        yield poller
        poller.close()

    @pytest.mark.parametrize(
        ("flags", "said", "ended", "ready"),
        [
            pytest.param(POLLIN, b"", False, 0, id="nothing"),
            pytest.param(POLLIN, b"x", False, POLLIN, id="readable"),
            pytest.param(POLLIN, b"", True, POLLIN, id="the end is readable"),
            pytest.param(POLLOUT, b"x", False, POLLOUT, id="writable, which alone was asked for"),
            pytest.param(POLLIN | POLLOUT, b"x", False, POLLIN | POLLOUT, id="both"),
        ],
    )
    def test_given_a_descriptor_then_it_is_ready_for_what_was_asked(
        self,
        poller: Poller,
        pair: tuple[socket.socket, socket.socket],
        flags: int,
        said: bytes,
        ended: bool,
        ready: int,
    ) -> None:
        ours, theirs = pair
        theirs.sendall(said)
        if ended:
            theirs.close()
        poller.register(ours.fileno(), flags)
        assert poller.poll(0.0) == ({ours.fileno(): ready} if ready else {})

    def test_given_a_descriptor_that_is_registered_again_then_the_last_word_counts(
        self, poller: Poller, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours = pair[0].fileno()
        poller.register(ours, POLLIN | POLLOUT)
        poller.register(ours, POLLIN)
        assert poller.poll(0.0) == {}
        pair[1].close()
        for _ in range(2):
            poller.register(ours, 0)
            assert poller.poll(0.0) == {}
        poller.register(ours, POLLIN)
        assert poller.poll(0.0) == {ours: POLLIN}
        poller.unregister(ours)
        with pytest.raises(KeyError):
            poller.unregister(ours)

    @pytest.mark.parametrize("is_monitor", [False, True])
    @pytest.mark.parametrize("asked_before", [False, True])
    def test_given_messages_then_a_socket_is_ready_until_the_last_one_is_taken(
        self, poller: Poller, is_monitor: bool, asked_before: bool
    ) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        ours, theirs = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        ours.bind("inproc://here")
        theirs.connect("inproc://here")
        watch = poller.register_monitor if is_monitor else partial(poller.register, flags=POLLIN)
        if asked_before:
            watch(ours)
            assert poller.poll(0.0) == poller.poll(0.0) == {}
        theirs.send(b"one")
        theirs.send(b"two")
        if not asked_before:
            watch(ours)
        for message in (b"one", b"two"):
            # The descriptor itself tells of them only once.
            assert poller.poll(5.0) == {ours: POLLIN}
            assert poller.poll(5.0) == {ours: POLLIN}
            assert ours.recv() == message
        assert poller.poll(0.0) == poller.poll(0.0) == {}
        theirs.send(b"three")
        assert poller.poll(5.0) == {ours: POLLIN}
        context.destroy(linger=0)
