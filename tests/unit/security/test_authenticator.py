"""The ZAP handler, asked as ZeroMQ asks it; and what it makes of changes in the folder of keys."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from cyclone.errors import ConfigError
from cyclone.security import key_files
from cyclone.security.authenticator import LOOK_EVERY_S, Authenticator
from cyclone.security.registry import Registry


class Asked:
    """An authenticator and a clock; ``asks`` is libzmq's question about a connection."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.now = 100.0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.one = Authenticator(self._context, registry)
        self._asker = self._context.socket(zmq.REQ)
        self._asker.connect("inproc://zeromq.zap.01")

    def close(self) -> None:
        self.one.close()
        self._asker.close()
        self._context.term()

    def added(self, name: str) -> str:
        """The public key of a new controller."""
        return key_files.read_peer_key(self.registry.add(name, "controller")).public

    def asks(self, public: str, mechanism: bytes = b"CURVE") -> tuple[bytes, bytes]:
        """The status and the user id of the answer."""
        credentials = [bytes.fromhex(public)] if public else []
        self._asker.send_multipart([b"1.0", b"7", b"cyclone", b"192.0.2.1", b"", mechanism, *credentials])
        assert self.one.socket.poll(5000)
        self.one.serve(self.now)
        version, request, status, _, user_id, _ = self._asker.recv_multipart()
        assert (version, request) == (b"1.0", b"7")
        return status, user_id

    def later(self) -> None:
        self.now += LOOK_EVERY_S


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "keys")
    registry.init("tcp://localhost:5678")
    return registry


@pytest.fixture
def asked(registry: Registry) -> Iterator[Asked]:
    asked = Asked(registry)
    yield asked
    asked.close()


def test_given_a_key_when_asked_about_then_only_a_registered_one_gets_in_and_is_its_own_user_id(asked: Asked) -> None:
    stranger = "0" * 64
    assert asked.asks(stranger) == (b"400", b"")
    known = asked.added("node17")
    asked.later()
    assert asked.asks(known) == (b"200", known.encode())
    assert asked.asks(stranger) == (b"400", b"")
    assert asked.one.refused == 2


@pytest.mark.parametrize("mechanism", [b"NULL", b"PLAIN", b"GSSAPI", b"curve", b""])
def test_given_another_mechanism_when_asked_about_then_nobody_gets_in(asked: Asked, mechanism: bytes) -> None:
    known = asked.added("node17")
    asked.later()
    assert asked.asks(known, mechanism) == (b"400", b"")
    assert asked.asks("") == (b"400", b"")


def test_given_a_running_master_when_keys_come_and_go_then_it_knows_within_one_look(asked: Asked) -> None:
    first = asked.added("node17")
    assert asked.one.identify(first, asked.now) is not None
    asked.registry.revoke("node17")
    asked.later()
    assert asked.one.identify(first, asked.now) is None
    second = asked.added("node17")
    asked.later()
    entry = asked.one.identify(second, asked.now)
    assert entry and entry.name == "node17"
    assert asked.one.identify(first, asked.now) is None


def test_given_an_entry_that_is_broken_later_then_that_key_alone_is_out(
    asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = asked.added("good"), asked.added("bad")
    assert asked.one.identify(bad, asked.now)
    (asked.registry.folder / "peers" / "bad.pub").chmod(0o644)
    asked.later()
    assert asked.one.identify(bad, asked.now) is None
    assert asked.one.identify(good, asked.now)
    assert "bad.pub" in caplog.text


def test_given_a_machine_that_cannot_read_the_keys_at_the_moment_then_those_known_before_remain(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = asked.added("node17")
    assert asked.one.identify(known, asked.now)
    late = asked.added("node18")

    def fails(*_: Any, **__: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fails)
        asked.later()
        assert asked.one.identify(known, asked.now)
        assert asked.one.identify(late, asked.now) is None
    assert "cannot be read again" in caplog.text
    asked.later()
    assert asked.one.identify(late, asked.now)


def test_given_an_entry_that_cannot_be_used_when_started_then_it_is_an_error(registry: Registry) -> None:
    registry.add("bad", "client")
    (registry.folder / "peers" / "bad.pub").chmod(0o644)
    with zmq.Context() as context, pytest.raises(ConfigError, match=r"bad\.pub.*chmod 600"):
        Authenticator(context, registry)
