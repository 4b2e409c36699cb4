"""Where a master is looked for, and what becomes of answers that are none."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import zmq

from cyclone.client import connection
from cyclone.client.connection import ENVIRONMENT, Address, Connection, find_address, parse_address
from cyclone.client.patience import Patience
from cyclone.errors import ConfigError, CycloneError, Unreachable
from cyclone.protocol import wire
from cyclone.protocol.client_messages import Answer, DrainRequest
from cyclone.protocol.job_messages import OutputAnswer, OutputRequest
from cyclone.protocol.messages import UNRECORDED, Refused
from cyclone.protocol.sockets import POLLIN

QUESTION = DrainRequest(2, "c1", undo=False)
GRANTED = Answer(2, True, 1, "done")
Frames = list[bytes]


@pytest.mark.parametrize(
    ("text", "target", "port"),
    [
        ("tcp://node:5777", "node", 5777),
        ("tcp://node", "node", 5678),
        ("node:5777", "node", 5777),
        ("node", "node", 5678),
        ("tcp://127.0.0.1:1/", "127.0.0.1", 1),
        ("tcp://[::1]:1", "::1", 1),
    ],
)
def test_given_an_address_then_it_is_read(text: str, target: str, port: int) -> None:
    assert parse_address(text) == Address(target, port)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "tcp://",
            "tcp://:5678",
            "http://node",
            "tcp://node:x",
            "tcp://node:65536",
            "tcp://node:0",
            "tcp://node:-1",
        ),
        *("tcp://node:1/path", "tcp://node:1?query", "tcp://node:1#part", "tcp://somebody@node:1", "::1"),
    ],
)
def test_given_anything_else_then_it_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ConfigError, match="expected tcp://HOST or tcp://HOST:PORT"):
        parse_address(text)


def test_given_an_address_of_ipv6_then_it_is_shown_as_it_is_written() -> None:
    assert str(parse_address("tcp://[::1]:1")) == "tcp://[::1]:1"


@pytest.mark.parametrize(
    ("connect", "with_file", "environment", "expected"),
    [
        pytest.param("127.0.0.1:1", True, "localhost:3", "tcp://127.0.0.1:1", id="what is said counts first"),
        pytest.param(None, True, "localhost:3", "tcp://127.0.0.1:2", id="then the file"),
        pytest.param(None, False, "localhost:3", "tcp://localhost:3", id="then the environment"),
        pytest.param(None, False, None, "tcp://127.0.0.1:5678", id="then here"),
    ],
)
def test_given_several_ways_to_say_it_then_their_order_is_fixed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    connect: str | None,
    with_file: bool,
    environment: str | None,
    expected: str,
) -> None:
    file = tmp_path / "master.conf"
    file.write_text("[comm]\ntarget = *\nport = 2\n[task_generator]\nclass = a:B\n")
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    if environment:
        monkeypatch.setenv(ENVIRONMENT, environment)
    assert str(find_address(connect, file if with_file else None, None, insecure=False)) == expected


def test_given_another_host_and_no_key_then_nothing_goes_over_the_network_unless_it_is_wished() -> None:
    with pytest.raises(ConfigError, match="tcp://192.0.2.1:5678 is not this host, and there is no key"):
        find_address("192.0.2.1", None, None, insecure=False)
    assert find_address("192.0.2.1", None, None, insecure=True).target == "192.0.2.1"


def test_given_a_socket_file_then_it_is_asked_without_a_key_where_its_folder_is_ours_alone(tmp_path: Path) -> None:
    text = f"ipc://{tmp_path}/master"
    tmp_path.chmod(0o700)
    assert find_address(text, None, None, insecure=False) == Address(text, 0)
    assert str(parse_address(text)) == text
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="others may enter .mode 755; chmod 700 closes it., and there is no key"):
        find_address(text, None, None, insecure=False)
    assert find_address(text, None, None, insecure=True) == Address(text, 0)
    with pytest.raises(ConfigError, match="is no socket file"):
        parse_address("ipc://master")


def test_given_a_configuration_with_a_socket_file_then_its_master_is_found_there(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    file = tmp_path / "master.conf"
    file.write_text(f"[comm]\ntarget = ipc://{tmp_path}/master\n[task_generator]\nclass = a:B\n")
    assert find_address(None, file, None, insecure=False) == Address(f"ipc://{tmp_path}/master", 0)


@contextmanager
def answering(answer: Callable[[int, Frames], list[Frames]]) -> Iterator[Address]:
    """A port where each question, counted from 0, is answered with these messages."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket, over = context.socket(zmq.ROUTER), threading.Event()
    port = socket.bind_to_random_port("tcp://127.0.0.1")

    def serve() -> None:
        asked = 0
        while not over.is_set():
            if socket.poll(20, POLLIN):
                peer, *frames = socket.recv_multipart()
                for said in answer(asked, frames):
                    socket.send_multipart([peer, *said])
                asked += 1
        socket.close(linger=0)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Address("127.0.0.1", port)
    finally:
        over.set()
        thread.join()
        context.term()


def ask(address: Address, timeout_s: float = 10.0) -> object:
    with Connection(address, timeout_s) as opened:
        return opened.ask(QUESTION)


def test_given_a_question_then_its_answer_comes_back() -> None:
    questions = []

    def answer(_: int, frames: Frames) -> list[Frames]:
        questions.append(wire.decode_for_master(frames))
        return [wire.encode(GRANTED)]

    with answering(answer) as address:
        assert ask(address) == GRANTED
    assert questions == [QUESTION]


def test_given_an_answer_to_another_question_then_ours_is_waited_for() -> None:
    with answering(lambda *_: [wire.encode(Answer(1, False, 0, "old")), wire.encode(GRANTED)]) as address:
        assert ask(address) == GRANTED


def test_given_a_child_that_was_forked_then_it_is_told_so_instead_of_waiting_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering(lambda *_: [wire.encode(GRANTED)]) as address, Connection(address, 10.0) as opened:
        monkeypatch.setattr(connection, "os", SimpleNamespace(getpid=lambda: os.getpid() + 1))
        with pytest.raises(CycloneError, match="belongs to the process that was forked: make another one"):
            opened.ask(QUESTION)


def test_given_a_question_that_got_lost_then_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_RESEND_S", 0.02)
    with answering(lambda asked, _: [wire.encode(GRANTED)] if asked else []) as address:
        assert ask(address) == GRANTED


def test_given_no_connection_yet_then_the_question_is_asked_as_soon_as_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_RESEND_S", 60.0)
    with answering(lambda *_: [wire.encode(GRANTED)]) as address, Connection(address, 10.0) as opened:
        # Nothing can be sent before ZeroMQ has shaken hands.
        assert not opened.say(QUESTION)
        assert opened.is_blocked
        assert opened.ask(QUESTION) == GRANTED
        assert not opened.is_blocked


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param([b"HTTP/1.1 400"], "is no master of this version: 1 frames where 2 belong", id="a stranger"),
        pytest.param([b"CYC2", b"\x90"], "is no master of this version: magic", id="another major version"),
        pytest.param(wire.encode(Refused("forbidden", "", "not you")), "refuses: not you", id="a master that refuses"),
    ],
)
def test_given_something_else_for_an_answer_then_it_says_what_and_whose(said: Frames, reason: str) -> None:
    with answering(lambda *_: [said]) as address, pytest.raises(CycloneError, match=reason) as error:
        ask(address)
    assert str(address) in str(error.value)
    assert not isinstance(error.value, Unreachable)


FULL = wire.encode(Refused(UNRECORDED, "", "nothing can be recorded: the disk is full"))


def test_given_a_master_that_can_record_nothing_then_it_is_asked_on_until_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_RESEND_S", 0.02)
    told: list[str] = []
    with (
        answering(lambda asked, _: [FULL] if 0 < asked < 5 else [wire.encode(GRANTED)]) as address,
        Connection(address, 10.0, patience=Patience(20.0, told.append, 0.01)) as opened,
    ):
        assert opened.ask(QUESTION) == GRANTED
        assert opened.ask(QUESTION) == GRANTED
    assert told == [
        "the master does not answer; trying on for 20 s: nothing can be recorded: the disk is full",
        "the master answers again",
    ]


def test_given_a_master_that_can_record_nothing_for_too_long_then_that_is_the_reason() -> None:
    reason = "no answer from .* within 0.1 s: nothing can be recorded: the disk is full"
    with answering(lambda *_: [FULL]) as address, pytest.raises(Unreachable, match=reason):
        ask(address, 0.1)


def test_given_no_answer_then_it_is_unreachable_and_says_where_it_looked_and_that_it_may_be_done() -> None:
    with answering(lambda *_: []) as address, pytest.raises(Unreachable, match=f"at {address} within 0.2 s") as error:
        ask(address, 0.2)
    assert error.value.may_be_done


def test_given_a_question_that_the_master_lets_wait_then_that_time_is_given_besides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_RESEND_S", 0.2)
    question, answer = OutputRequest(2, 1, 0, wait_s=1.0), OutputAnswer(2, 1, 0, [], 0, True, "completed")
    with (
        answering(lambda asked, _: [wire.encode(answer)] if asked else []) as address,
        Connection(address, 0.1) as opened,
    ):
        assert opened.ask(question) == answer


def test_given_nobody_there_then_nothing_is_done() -> None:
    with pytest.raises(Unreachable) as error:
        ask(Address("127.0.0.1", 9), 0.1)
    assert not error.value.may_be_done
