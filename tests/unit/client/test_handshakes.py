"""What a client makes of a master that does not shake hands with it: no right, said soon, and not a timeout; nor does
an Executor wait for ever.
"""

import math
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import zmq

from cyclone.client import connection, handshakes
from cyclone.client.connection import Address, Connection, Words
from cyclone.client.executor import Executor
from cyclone.client.server import Running
from cyclone.client.stream import Stream
from cyclone.errors import CycloneError, NotAllowed
from cyclone.protocol.client_messages import DrainRequest, StatusRequest
from cyclone.protocol.job_messages import AnyFromClient, AnyToClient, SubmitRequest
from cyclone.protocol.messages import FORBIDDEN, Refused
from cyclone.protocol.sockets import ClientKeys
from tests.support.played_master import PlayedMaster

QUESTION = DrainRequest(2, "c1", undo=False)
TIMEOUT_S = 30.0
# ZMTP 3.1 as it begins, and then no command that there is: ZeroMQ never tries again with whoever says so.
NO_MASTER = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(48) + b"\x04\x04\x03ODD"
SERVER_PUBLIC, SERVER_SECRET = zmq.curve_keypair()


def keys() -> ClientKeys:
    public, secret = zmq.curve_keypair()
    return ClientKeys("bob", SERVER_PUBLIC, public, secret)


@pytest.fixture
def closed() -> Iterator[PlayedMaster]:
    """A master that wants keys."""
    with PlayedMaster(keys=(SERVER_PUBLIC, SERVER_SECRET)) as played:
        yield played


@pytest.fixture
def shut(closed: PlayedMaster) -> PlayedMaster:
    """The same, and it knows none."""
    closed.refusals = math.inf
    return closed


def of(master: PlayedMaster, own: ClientKeys | None = None) -> Address:
    return Address("127.0.0.1", master.port, own or keys())


def ask(address: Address, timeout_s: float = TIMEOUT_S) -> tuple[CycloneError, float]:
    """What comes of it, and after how long."""
    begun = time.monotonic()
    with pytest.raises(CycloneError) as error, Connection(address, timeout_s) as opened:
        opened.ask(QUESTION)
    return error.value, time.monotonic() - begun


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "_TRY_AGAIN_S", 0.02)
    monkeypatch.setattr(connection, "_RESEND_S", 0.02)


def test_given_an_unknown_key_then_it_is_no_right_and_not_waited_out(shut: PlayedMaster) -> None:
    error, seconds = ask(of(shut))
    assert isinstance(error, NotAllowed)
    assert str(error).startswith(f"tcp://127.0.0.1:{shut.port}: the master does not know our key: it was revoked")
    assert seconds < TIMEOUT_S / 2


def test_given_little_time_then_an_unknown_key_is_no_right_either(
    shut: PlayedMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "_TRY_AGAIN_S", TIMEOUT_S)
    error, _ = ask(of(shut), timeout_s=0.1)
    assert isinstance(error, NotAllowed)


def test_given_a_key_that_was_added_just_now_then_it_is_tried_again(closed: PlayedMaster) -> None:
    closed.refusals = 1
    with Connection(of(closed), TIMEOUT_S) as opened:
        assert opened.ask(StatusRequest(2)).request == 2


def test_given_a_right_that_came_later_then_the_next_question_finds_it(closed: PlayedMaster) -> None:
    closed.refusals = 2
    with Connection(of(closed), TIMEOUT_S) as opened:
        with pytest.raises(NotAllowed):
            opened.ask(QUESTION)
        assert opened.ask(StatusRequest(3)).request == 3


def test_given_nobody_there_then_it_is_told_how_a_master_is_started() -> None:
    words = Words("--connect X", "--key-file FILE", "--insecure", "this starts one")
    with Connection(Address("127.0.0.1", 1, words=words), TIMEOUT_S) as opened:
        assert str(opened.unreachable()).endswith("is this its address? Give --connect X; this starts one")


def test_given_no_key_where_one_is_wanted_then_it_is_no_right_and_says_what_to_write(closed: PlayedMaster) -> None:
    error, seconds = ask(Address("127.0.0.1", closed.port, words=Words("--connect X", "--key-file FILE", "--insecure")))
    in_python, _ = ask(Address("127.0.0.1", closed.port))
    assert isinstance(error, NotAllowed)
    assert seconds < TIMEOUT_S / 2
    assert "wants a key ([comm] key_file), or is no master; --key-file FILE gives it ours, or a profile" in str(error)
    assert 'key_file="FILE" gives it ours, or a profile' in str(in_python)
    assert "--" not in str(in_python)


# What an Executor makes of it.


@contextmanager
def connected(address: Address) -> Iterator[Executor]:
    executor = Executor.__new__(Executor)
    executor._begin(Stream(Running(address)), by_value=True, slots=1)
    yield executor
    executor.shutdown()


def no_right(future: Future[int]) -> str:
    error = future.exception(TIMEOUT_S)
    assert isinstance(error, NotAllowed)
    return str(error)


def test_given_a_key_that_is_revoked_while_the_master_is_away_then_all_that_waits_or_comes_later_is_told(
    closed: PlayedMaster,
) -> None:
    with connected(of(closed)) as executor:
        assert executor.submit(abs, -1).result(TIMEOUT_S) == 1
        closed.holding = True
        future, results = executor.submit(abs, -2), executor.map(abs, [-3])
        with closed.away():
            closed.refusals = math.inf
            late = executor.submit(abs, -4)
        told = f"tcp://127.0.0.1:{closed.port}: the master does not know our key: it was revoked"
        assert no_right(future).startswith(told)
        assert no_right(late).startswith(told)
        asks: list[Callable[[], object]] = [
            lambda: next(results),
            lambda: executor.submit(abs, -5),
            lambda: executor.map(abs, [-6]),
        ]
        for ask in asks:
            with pytest.raises(NotAllowed, match="it was revoked"):
                ask()


def test_given_a_master_that_is_away_and_comes_back_with_the_key_then_an_executor_goes_on(closed: PlayedMaster) -> None:
    with connected(of(closed)) as executor:
        assert executor.submit(abs, -1).result(TIMEOUT_S) == 1
        closed.holding = True
        future = executor.submit(abs, -2)
        with closed.away():
            # As a registry may that is read a moment before the key is added.
            closed.refusals = 1
            closed.holding = False
        assert future.result(TIMEOUT_S) == 2
        assert closed.refusals < 0


def test_given_an_executor_without_a_key_where_one_is_wanted_then_it_is_told_what_to_write(
    closed: PlayedMaster,
) -> None:
    with connected(Address("127.0.0.1", closed.port)) as executor:
        assert 'is no master; key_file="FILE" gives it ours' in no_right(executor.submit(abs, -1))


def test_given_a_key_that_is_revoked_while_it_is_connected_then_an_executor_is_told(
    master: PlayedMaster, executor: Executor
) -> None:
    usual, text = master.handle, "this key was revoked"

    def handle(peer: bytes, request: AnyFromClient) -> AnyToClient | Refused | None:
        return Refused(FORBIDDEN, "", text) if isinstance(request, SubmitRequest) else usual(peer, request)

    master.handle = handle  # type: ignore[assignment, method-assign]
    assert no_right(executor.submit(abs, -1)).endswith(f"refuses: {text}")
    with pytest.raises(NotAllowed, match=text):
        executor.submit(abs, -1)


@contextmanager
def stranger(port: int) -> Iterator[None]:
    """Somebody else holds the port until a client has come, and is gone when it has been answered."""
    with socket.create_server(("127.0.0.1", port)) as server:
        yield
        came, _ = server.accept()
        with came:
            came.sendall(NO_MASTER)
            while came.recv(4096):
                continue


def test_given_a_stranger_at_the_masters_place_for_a_while_then_an_executor_goes_on_with_the_master(
    master: PlayedMaster, executor: Executor
) -> None:
    with master.away(), stranger(master.port):
        future = executor.submit(abs, -1)
    assert future.result(TIMEOUT_S) == 1


def test_given_a_stranger_at_the_masters_place_for_a_while_then_a_question_is_asked_again(master: PlayedMaster) -> None:
    with ThreadPoolExecutor(1) as pool, Connection(Address("127.0.0.1", master.port), TIMEOUT_S) as opened:
        opened.ask(StatusRequest(1))
        with master.away(), stranger(master.port):
            asked = pool.submit(opened.ask, StatusRequest(2))
        assert asked.result(TIMEOUT_S).request == 2
