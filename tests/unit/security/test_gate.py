"""The master's door with real sockets: what comes through, from whom, and what is done about the rest."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import zmq

from cyclone.errors import ConfigError
from cyclone.protocol import messages, wire
from cyclone.protocol.client_messages import CancelRequest, DrainRequest, StatusRequest
from cyclone.protocol.event_messages import EventsRequest
from cyclone.protocol.figure_messages import FiguresRequest
from cyclone.protocol.job_messages import (
    AnyFromClient,
    CancelJobsRequest,
    NamespaceRequest,
    NamespacesRequest,
    SubmitRequest,
)
from cyclone.protocol.job_spec import JobSelection, JobSpec, Namespace
from cyclone.protocol.messages import AnyFromController, AnyFromMaster, Goodbye, Refused
from cyclone.protocol.sockets import ClientKeys, master_socket, receive_with_keys
from cyclone.security.authenticator import LOOK_EVERY_S
from cyclone.security.gate import GateOptions, PeerGate
from cyclone.security.peers import client_keys
from cyclone.security.registry import Registry
from cyclone.security.roles import PeerRole
from tests.support.masters import hello

WAIT_MS = 5000
SUBMIT = SubmitRequest(1, bytes(16), JobSpec(task_class="tasks.empty:EmptyTask"))
PURGE = NamespaceRequest(1, "purge", Namespace(name="night"))
# Long enough for a handshake on loopback, of which there is none to come.
NOTHING_MS = 300
QUESTION = wire.encode(Goodbye(5, "x"))


class Door:
    """A master's socket behind its gate, on a clock of its own."""

    def __init__(self, options: GateOptions) -> None:
        self.now = 100.0
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.gate = PeerGate(self.context, options, wire.decode_for_master)
        self.socket, self.port = master_socket(self.context, "127.0.0.1", 0, self.gate.keys)
        self._peers: list[zmq.Socket[bytes]] = []

    def peer(self, keys: ClientKeys | None = None) -> "zmq.Socket[bytes]":
        """A connection to it."""
        # Not a controller's socket, which drops what is sent before it is connected.
        socket = self.context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        if keys:
            socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server)
            socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
            socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        socket.connect(f"tcp://127.0.0.1:{self.port}")
        self._peers.append(socket)
        return socket

    def refuses(self, keys: ClientKeys | None) -> None:
        """Somebody comes whose handshake fails; where it has failed already, nothing can be said any more."""
        with suppress(zmq.Again):
            self.peer(keys).send_multipart(wire.encode(hello("node17")), zmq.DONTWAIT)

    def takes(self, wait_ms: int = WAIT_MS, bad: int = 1 << 30) -> list[AnyFromController | AnyFromClient | Refused]:
        """What comes through next, or nothing once so many bad messages have come or nothing happens any more."""
        poller = zmq.Poller()
        for readable in (self.socket, *self.gate.readable):
            poller.register(readable, zmq.POLLIN)
        while ready := dict(poller.poll(wait_ms)):
            self.gate.serve(self.now)
            if self.socket in ready:
                found = list(self.gate.receive(self.socket, 1000, self.now))
                for peer, message, _ in found:
                    if isinstance(message, Refused):
                        self.socket.send_multipart([peer, *wire.encode(message)])
                if found or self.gate.bad_messages >= bad:
                    return [message for _, message, _ in found]
        return []

    def close(self) -> None:
        for socket in (*self._peers, self.socket):
            socket.close()
        self.gate.close()
        self.context.term()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "keys")
    registry.init("tcp://127.0.0.1:5678")
    return registry


@contextmanager
def door(registry: Registry | None = None, strike_limit: int = 5) -> Iterator[Door]:
    one = Door(GateOptions(registry, strike_limit))
    try:
        yield one
    finally:
        one.close()


def answer(peer: "zmq.Socket[bytes]") -> AnyFromMaster:
    assert peer.poll(WAIT_MS)
    return wire.decode_from_master(peer.recv_multipart())


def test_given_no_keys_then_everybody_is_heard_until_it_is_wrong_too_often(caplog: pytest.LogCaptureFixture) -> None:
    with door() as one:
        bad, good = one.peer(), one.peer()
        for number in range(5):
            bad.send_multipart([b"rubbish", b"%d" % number])
            assert one.takes(bad=number + 1) == []
        bad.send_multipart(QUESTION)
        assert one.takes(NOTHING_MS) == []
        good.send_multipart(QUESTION)
        assert one.takes() == [Goodbye(5, "x")]
        one.now += 60
        bad.send_multipart(QUESTION)
        assert one.takes() == [Goodbye(5, "x")]
        assert one.gate.bad_messages == 5
    assert [record.message.partition(" of peer ")[0] for record in caplog.records[:1]] == ["dropped a bad message"]
    assert len(caplog.records) == 2
    assert "is ignored for 60 s" in caplog.text


def test_given_a_registered_key_then_it_is_heard_and_no_other_is(registry: Registry) -> None:
    other = Registry(registry.folder.parent / "other")
    other.init("tcp://127.0.0.1:5678")
    known = client_keys(registry.add("node17", "controller"))
    stranger = client_keys(other.add("node17", "controller"))
    forger = ClientKeys("node17", known.server, stranger.public, stranger.secret)
    thief = ClientKeys("node17", known.server, known.public, stranger.secret)
    with door(registry) as one:
        for keys in (None, stranger, forger, thief):
            one.refuses(keys)
        assert one.takes(NOTHING_MS) == []
        one.peer(known).send_multipart(wire.encode(hello("node17")))
        assert one.takes() == [hello("node17")]
        assert one.gate.bad_messages == 0


def test_given_a_master_with_another_key_then_nothing_is_said_to_it(registry: Registry) -> None:
    other = Registry(registry.folder.parent / "other")
    other.init("tcp://127.0.0.1:5678")
    keys = client_keys(registry.add("node17", "controller"))
    other.add("node17", "controller")
    copied = (registry.folder / "peers" / "node17.pub").read_bytes()
    (other.folder / "peers" / "node17.pub").write_bytes(copied)
    with door(other) as one:
        one.refuses(keys)
        assert one.takes(NOTHING_MS) == []


@pytest.mark.parametrize(
    ("role", "name", "part"),
    [
        ("controller", "node18", "not for a controller named node18"),
        ("client", "node17", "role client, which may not be a controller"),
        ("monitor", "node17", "role monitor, which may not be a controller"),
    ],
)
def test_given_a_key_that_is_not_for_this_then_its_holder_is_told_so(
    registry: Registry, role: PeerRole, name: str, part: str
) -> None:
    keys = client_keys(registry.add("node17", role))
    with door(registry) as one:
        peer = one.peer(keys)
        peer.send_multipart(wire.encode(hello(name)))
        (refused,) = one.takes()
        assert refused == answer(peer)
        assert isinstance(refused, Refused)
        assert (refused.code, refused.incarnation) == (messages.FORBIDDEN, hello().incarnation)
        assert part in refused.text
        assert one.gate.bad_messages == 1


@pytest.mark.parametrize(
    ("role", "request_", "allowed"),
    [
        ("client", StatusRequest(1), True),
        ("client", CancelRequest(1, 1, 2, "", ""), False),
        ("client", DrainRequest(1, "node17", False), False),
        ("client", SUBMIT, True),
        ("client", NamespacesRequest(1), True),
        ("client", EventsRequest(1), True),
        ("client", PURGE, False),
        ("admin", CancelRequest(1, 1, 2, "", ""), True),
        ("admin", DrainRequest(1, "node17", False), True),
        ("admin", SUBMIT, True),
        ("admin", PURGE, True),
        ("admin", StatusRequest(1), True),
        ("monitor", StatusRequest(1), True),
        ("monitor", CancelRequest(1, 1, 2, "", ""), False),
        ("monitor", DrainRequest(1, "node17", False), False),
        ("monitor", SUBMIT, False),
        ("monitor", NamespacesRequest(1), True),
        ("monitor", EventsRequest(1), True),
        ("monitor", FiguresRequest(1, 1), True),
        ("monitor", CancelJobsRequest(1, JobSelection(last=True)), False),
        ("controller", StatusRequest(1), False),
        ("controller", EventsRequest(1), False),
        ("controller", FiguresRequest(1, 1), False),
        ("controller", CancelRequest(1, 1, 2, "", ""), False),
        ("controller", SUBMIT, False),
        ("master", SUBMIT, False),
    ],
)
def test_given_a_request_then_the_role_decides_and_who_may_not_is_told_so(
    registry: Registry, role: PeerRole, request_: AnyFromClient, allowed: bool
) -> None:
    keys = client_keys(registry.add("bob", role))
    with door(registry) as one:
        peer = one.peer(keys)
        peer.send_multipart(wire.encode(request_))
        (taken,) = one.takes()
        if allowed:
            assert taken == request_
        else:
            assert isinstance(taken, Refused) and taken == answer(peer)
            assert taken.code == messages.FORBIDDEN
            assert f"role {role}, which may not " in taken.text


def test_given_a_key_when_revoked_then_its_connection_is_of_no_use_any_more(registry: Registry) -> None:
    keys = client_keys(registry.add("node17", "controller"))
    with door(registry) as one:
        peer = one.peer(keys)
        peer.send_multipart(QUESTION)
        assert one.takes() == [Goodbye(5, "x")]
        registry.revoke("node17")
        one.now += LOOK_EVERY_S
        for _ in range(5):
            peer.send_multipart(QUESTION)
            (refused,) = one.takes()
            assert isinstance(refused, Refused)
            assert refused.code == messages.FORBIDDEN and "revoked" in refused.text
        peer.send_multipart(QUESTION)
        assert one.takes(NOTHING_MS) == []
        one.peer(keys).send_multipart(QUESTION)
        assert one.takes(NOTHING_MS) == []


def test_given_a_key_that_is_wrong_too_often_then_all_its_connections_are_cut_and_no_others(
    registry: Registry,
) -> None:
    bad, good = (client_keys(registry.add(name, "controller")) for name in ("bad", "good"))
    with door(registry) as one:
        first, second, other = one.peer(bad), one.peer(bad), one.peer(good)
        for number in range(5):
            (first, second)[number % 2].send_multipart([b"rubbish"])
            assert one.takes(bad=number + 1) == []
        for peer in (first, second, one.peer(bad)):
            peer.send_multipart(QUESTION)
        assert one.takes(NOTHING_MS) == []
        other.send_multipart(QUESTION)
        assert one.takes() == [Goodbye(5, "x")]


def test_given_a_connection_that_nobody_was_asked_about_then_it_has_no_user() -> None:
    with door() as one:
        one.peer().send_multipart([b"a", b"", b"b"])
        assert one.socket.poll(WAIT_MS)
        ((user_id, frames),) = receive_with_keys(one.socket, 10)
        assert (user_id, frames[1:]) == ("", [b"a", b"", b"b"])


def test_given_keys_that_cannot_be_used_then_there_is_no_door(registry: Registry) -> None:
    (registry.folder / "server.key").chmod(0o640)
    with zmq.Context() as context, pytest.raises(ConfigError, match="chmod 600"):
        PeerGate(context, GateOptions(registry), wire.decode_for_master)
