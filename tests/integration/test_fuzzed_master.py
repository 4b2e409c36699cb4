"""Malformed messages at a real master with a real controller at work: nothing changes, hardly anything is logged."""

import itertools
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import zmq

from cyclone.errors import ProtocolError
from cyclone.protocol import client_messages, limits, messages, wire
from cyclone.protocol.sockets import ClientKeys
from cyclone.security.peers import client_keys
from tests.support.fuzzing import GENERATOR, MESSAGES, SEED, for_a_master, old_peer, raw_openings
from tests.support.keys import Keys
from tests.support.lab import Lab, Started
from tests.support.malformed import Frames
from tests.support.procfs import wait_until

_BATCH = 500
_PEERS = 4
_ENDLESS_FRAMES = 100_000
_GROWTH_BYTES_MAX = 64 << 20
_HANDSHAKE_S = 5.0
_BAD = re.compile(r"dropped a bad message of (?:peer|controller) (\w+) \((\d+) in all\)")


class Stranger:
    """A peer that is in no session, with a key or without."""

    _questions = itertools.count(1_000_000)

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", port: int, keys: ClientKeys | None = None) -> None:
        self._socket = context.socket(zmq.DEALER)
        if keys:
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server)
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDTIMEO, 20_000)
        self._socket.setsockopt(zmq.RCVTIMEO, 20_000)
        self._socket.connect(f"tcp://127.0.0.1:{port}")

    def send(self, frames: Frames, flags: int = 0) -> None:
        self._socket.send_multipart(frames, flags)

    def await_answer(self) -> None:
        """Ask something harmless. The answer shows that all that was sent before has been looked at."""
        number = next(self._questions)
        text = f"session {number} is not known here"
        self.send(question(number))
        while True:
            message = wire.decode_from_master(self._socket.recv_multipart())
            assert isinstance(message, messages.Refused)
            if message.text == text:
                return

    def hears(self, wait_ms: int) -> bool:
        """Whether anything comes within this time."""
        return bool(self._socket.poll(wait_ms))

    def close(self) -> None:
        self._socket.close()


def question(session: int) -> Frames:
    """A message of a session that does not exist: it is answered, and changes nothing."""
    return wire.encode(messages.Goodbye(session, "fuzz"))


def is_bad(frames: Frames) -> bool | None:
    """Whether a master refuses the frames; None for a greeting or a client's request: what these ask for, it does."""
    try:
        message = wire.decode_for_master(frames)
        return None if isinstance(message, messages.Hello | client_messages.FromClient) else False
    except ProtocolError:
        return True


@contextmanager
def at_work(lab: Lab, keys: Keys | None = None, strike_limit: int = 0) -> Iterator[tuple[Started, Started]]:
    """A master and a controller in the midst of tasks; at the end all of them must have run once, undisturbed.

    Without a limit of strikes the master goes on listening to whoever is wrong, so that all of it is read.
    """
    control = {"exit_when_done": "yes", "controller_timeout": "20s"}
    comm = {"strike_limit": str(strike_limit)} | ({"keys": str(keys.folder)} if keys else {})
    config = lab.config({"control": control, "comm": comm, "task_generator": {"class": GENERATOR}})
    master = lab.master(config)
    controller = lab.controller(config, "steady", *([f"comm.key_file={keys.add('steady')}"] if keys else []))
    lab.noted("square", 50)
    yield master, controller
    before = len(lab.notes("square"))
    lab.noted("square", before + 50)
    lab.open("enough")
    assert (master.exits(), controller.exits()) == (0, 0)
    squares = sorted(lab.notes("square"), key=lambda entry: int(entry["task"]))
    assert [entry["task"] for entry in squares] == list(range(1, len(squares) + 1))
    assert sorted(entry["number"] for entry in squares) == list(range(len(squares)))
    assert {entry["attempt"] for entry in squares} == {1}
    assert all(entry["value"] == entry["number"] ** 2 for entry in squares)
    assert controller.stderr().count("welcomed by the master") == 1
    assert master.stderr().count(" joined ") == 1


def raw(port: int, data: bytes) -> socket.socket:
    """A bare connection on which this was sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    # The master may have hung up in the middle of it.
    with suppress(ConnectionError):
        connection.sendall(data)
    return connection


def is_closed_by_peer(connection: socket.socket) -> bool:
    """Whether the other end hangs up within the socket's time-out."""
    try:
        while connection.recv(65536):
            continue
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def bad_in_all(
    master: Started, context: "zmq.Context[zmq.Socket[bytes]]", port: int, keys: ClientKeys | None = None
) -> int:
    """How many bad messages the master has counted: it tells in the line about a peer that was never bad before."""
    lines = len(_BAD.findall(master.stderr()))
    stranger = Stranger(context, port, keys)
    stranger.send([b"bad"])
    stranger.await_answer()
    stranger.close()
    wait_until(lambda: len(_BAD.findall(master.stderr())) > lines, "a line about a new peer")
    return int(_BAD.findall(master.stderr())[-1][1]) - 1


@pytest.mark.timeout(300)
@pytest.mark.parametrize("authenticated", [False, True])
def test_given_malformed_messages_at_a_working_master_then_they_are_counted_and_nothing_else_changes(
    lab: Lab, tmp_path: Path, authenticated: bool
) -> None:
    keys = Keys(lab) if authenticated else None
    # One key for each, so that each has its line in the log.
    held = [client_keys(keys.add(f"stranger{n}")) if keys else None for n in range(_PEERS + 1)]
    with at_work(lab, keys) as (master, _), zmq.Context() as context:
        strangers = [Stranger(context, lab.port, one) for one in held[1:]]
        process = psutil.Process(master.pid)
        sent, bad = 0, 0
        rss = [process.memory_info().rss]
        malformed = iter(for_a_master())
        for stranger in itertools.cycle(strangers):
            if sent >= MESSAGES:
                break
            batch = list(itertools.islice(malformed, min(_BATCH, MESSAGES - sent)))
            verdicts = [is_bad(frames) for frames in batch]
            try:
                for frames, verdict in zip(batch, verdicts, strict=True):
                    if verdict is not None:
                        stranger.send(frames)
                stranger.await_answer()
                assert master.alive
            except (AssertionError, zmq.Again) as error:
                kept = tmp_path / "messages"
                kept.write_text("\n".join(b"|".join(frames).hex() for frames in batch))
                raise AssertionError(
                    f"CYCLONE_FUZZ_SEED={SEED}: one of the messages {sent} to {sent + len(batch)}, which are in {kept}:"
                    f"\n{master.stderr()[-2000:]}"
                ) from error
            sent += len(batch)
            bad += verdicts.count(True)
            rss.append(process.memory_info().rss)
        assert bad > MESSAGES // 2
        assert bad_in_all(master, context, lab.port, held[0]) == bad
        said = _BAD.findall(master.stderr())
        assert len({peer for peer, _ in said}) == len(said) == _PEERS + 1
        assert len(master.stderr().splitlines()) < 20
        print(f"{sent} messages, {bad} bad, RSS {rss[0] >> 20} MiB at first, {max(rss) >> 20} at most")
        assert max(rss) - rss[0] < _GROWTH_BYTES_MAX
        for stranger in strangers:
            stranger.close()


def test_given_peers_without_a_key_at_a_working_master_then_nothing_that_they_send_is_even_looked_at(
    lab: Lab,
) -> None:
    keys = Keys(lab)
    unknown = client_keys(Keys(lab, "other").add("steady"))
    known = client_keys(keys.add("known"))
    forged = ClientKeys("steady", known.server, unknown.public, unknown.secret)
    with at_work(lab, keys) as (master, _), zmq.Context() as context:
        strangers = [Stranger(context, lab.port, one) for one in (None, unknown, forged)]
        for frames in itertools.islice(for_a_master(), 100):
            for stranger in strangers:
                with suppress(zmq.Again):
                    stranger.send(frames, zmq.DONTWAIT)
        for connection in [raw(lab.port, opening) for opening in raw_openings()]:
            connection.close()
        assert not any(stranger.hears(500) for stranger in strangers)
        assert bad_in_all(master, context, lab.port, known) == 0
        assert master.stderr().count("refused a connection from 127.0.0.1") == 1
        for stranger in strangers:
            stranger.close()


def test_given_a_peer_that_keeps_sending_rubbish_then_it_is_ignored_and_the_others_are_not(lab: Lab) -> None:
    with at_work(lab, strike_limit=5) as (master, _), zmq.Context() as context:
        bad, good = Stranger(context, lab.port), Stranger(context, lab.port)
        bad.await_answer()
        for frames in itertools.islice((one for one in for_a_master() if is_bad(one)), 1000):
            bad.send(frames)
        bad.send(question(5))
        assert not bad.hears(500)
        good.await_answer()
        assert bad_in_all(master, context, lab.port) == 5
        assert master.stderr().count("is ignored for 60 s") == 1
        bad.close()
        good.close()


def test_given_too_many_or_too_large_frames_at_a_working_master_then_it_goes_on(lab: Lab) -> None:
    with at_work(lab) as (master, _), zmq.Context() as context:
        stranger = Stranger(context, lab.port)
        for frames in ([b""] * _ENDLESS_FRAMES, [wire.MAGIC, b"\x90"] * (_ENDLESS_FRAMES // 2)):
            stranger.send(frames)
            stranger.await_answer()
        assert bad_in_all(master, context, lab.port) == 2
        process = psutil.Process(master.pid)
        before = process.memory_info().rss
        for number in range(3):
            stranger.send([wire.MAGIC, bytes(limits.MESSAGE_BYTES_MAX + 1 + number)])
            # The connection is cut, and whatever else was on it is lost; the next one is as good as new.
            stranger.close()
            stranger = Stranger(context, lab.port)
            stranger.await_answer()
        assert process.memory_info().rss - before < _GROWTH_BYTES_MAX
        stranger.close()


def test_given_strangers_on_the_port_of_a_working_master_then_they_are_turned_away_or_do_no_harm(lab: Lab) -> None:
    with at_work(lab) as (master, _), zmq.Context() as context:
        openings = raw_openings()
        connections = [raw(lab.port, data) for opening in openings for data in (opening[:5], opening)]
        for connection, opening in zip(connections, [o for o in openings for _ in range(2)], strict=True):
            # Any other first byte is one of ZMTP 1.0, which has no greeting that could be late: it may stay, as a peer.
            if opening.startswith(b"\xff"):
                connection.settimeout(_HANDSHAKE_S + 10)
                assert is_closed_by_peer(connection), opening
        stranger = Stranger(context, lab.port)
        stranger.await_answer()
        stranger.close()
        for connection in connections:
            connection.close()
        said = [peer for peer, _ in _BAD.findall(master.stderr())]
        assert len(set(said)) == len(said) <= len(connections)


@pytest.mark.parametrize("version", [1, 2])
def test_given_a_peer_with_an_old_zmtp_at_a_working_master_then_its_messages_are_judged_like_any_other(
    lab: Lab, version: int
) -> None:
    with at_work(lab) as (master, _), zmq.Context() as context:
        bad = old_peer(version, [wire.MAGIC, b"\xc1"])
        connection = raw(lab.port, bad)
        asked = old_peer(version, question(5)).removeprefix(old_peer(version, []))
        connection.sendall(asked)
        answer = b""
        while b"session 5 is not known here" not in answer:
            part = connection.recv(65536)
            assert part, answer
            answer += part
        connection.close()
        assert bad_in_all(master, context, lab.port) == 1
