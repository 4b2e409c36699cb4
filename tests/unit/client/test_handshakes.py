"""What a client makes of a master that does not shake hands with it: no right, said soon, and not a timeout."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq

from cyclone.client import connection
from cyclone.client.connection import Address, Connection, Words
from cyclone.errors import CycloneError, NotAllowed, Unreachable
from cyclone.protocol.client_messages import DrainRequest
from cyclone.protocol.sockets import POLLIN, ClientKeys, authenticator_socket

QUESTION = DrainRequest(2, "c1", undo=False)
TIMEOUT_S = 30.0
SERVER_PUBLIC, SERVER_SECRET = zmq.curve_keypair()


def keys() -> ClientKeys:
    public, secret = zmq.curve_keypair()
    return ClientKeys("bob", SERVER_PUBLIC, public, secret)


@contextmanager
def listening(refused: float) -> Iterator[int]:
    """The port of a master with keys that refuses so many connections for their keys."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    asked, over = authenticator_socket(context), threading.Event()
    socket = context.socket(zmq.ROUTER)
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = SERVER_PUBLIC, SERVER_SECRET
    port = socket.bind_to_random_port("tcp://127.0.0.1")

    def serve() -> None:
        count = 0
        while not over.is_set():
            if asked.poll(10, POLLIN):
                version, request, *_ = asked.recv_multipart()
                code = b"400" if count < refused else b"200"
                count += 1
                asked.send_multipart([version, request, code, b"", b"", b""])
        asked.close(linger=0)
        socket.close(linger=0)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield port
    finally:
        over.set()
        thread.join()
        context.term()


def ask(address: Address, timeout_s: float = TIMEOUT_S) -> tuple[CycloneError, float]:
    """What comes of it, and after how long."""
    begun = time.monotonic()
    with pytest.raises(CycloneError) as error, Connection(address, timeout_s) as opened:
        opened.ask(QUESTION)
    return error.value, time.monotonic() - begun


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_TRY_AGAIN_S", 0.02)


def test_given_an_unknown_key_then_it_is_no_right_and_not_waited_out() -> None:
    with listening(refused=float("inf")) as port:
        error, seconds = ask(Address("127.0.0.1", port, keys()))
    assert isinstance(error, NotAllowed)
    assert str(error).startswith(f"tcp://127.0.0.1:{port}: the master does not know our key: it was revoked")
    assert seconds < TIMEOUT_S / 2


def test_given_little_time_then_an_unknown_key_is_no_right_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_TRY_AGAIN_S", TIMEOUT_S)
    with listening(refused=float("inf")) as port:
        error, _ = ask(Address("127.0.0.1", port, keys()), timeout_s=0.1)
    assert isinstance(error, NotAllowed)


def test_given_a_key_that_was_added_just_now_then_it_is_tried_again() -> None:
    with listening(refused=1) as port, Connection(Address("127.0.0.1", port, keys()), TIMEOUT_S) as opened:
        while not opened.say(QUESTION):
            opened.hear(0.05)


def test_given_a_right_that_came_later_then_the_next_question_finds_it() -> None:
    with listening(refused=2) as port, Connection(Address("127.0.0.1", port, keys()), TIMEOUT_S) as opened:
        with pytest.raises(NotAllowed):
            opened.ask(QUESTION)
        opened.silence.timeout_s = 0.05
        with pytest.raises(Unreachable):
            opened.ask(QUESTION)


def test_given_nobody_there_then_it_is_told_how_a_master_is_started() -> None:
    words = Words("--connect X", "--key-file FILE", "--insecure", "this starts one")
    with Connection(Address("127.0.0.1", 1, words=words), TIMEOUT_S) as opened:
        assert str(opened.unreachable()).endswith("is this its address? Give --connect X; this starts one")


def test_given_no_key_where_one_is_wanted_then_it_is_no_right_and_says_what_to_write() -> None:
    words = Words("--connect X", "--key-file FILE", "--insecure")
    with listening(refused=0) as port:
        error, seconds = ask(Address("127.0.0.1", port, words=words))
        in_python, _ = ask(Address("127.0.0.1", port))
    assert isinstance(error, NotAllowed)
    assert seconds < TIMEOUT_S / 2
    assert "wants a key ([comm] key_file), or is no master; --key-file FILE gives it ours, or a profile" in str(error)
    assert 'key_file="FILE" gives it ours, or a profile' in str(in_python)
    assert "--" not in str(in_python)
