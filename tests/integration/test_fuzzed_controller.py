"""Malformed messages at a real controller with real workers, from a master that comes to its senses again."""

import itertools
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import zmq

from cyclone.errors import ProtocolError
from cyclone.protocol import limits, wire
from cyclone.protocol.messages import (
    AnyFromMaster,
    Goodbye,
    Hello,
    Job,
    Pong,
    Recall,
    Recorded,
    Refused,
    Stop,
    TaskBatch,
    Tasks,
    Welcome,
)
from tests.support.fake_master import FakeMaster, packed
from tests.support.fuzzing import GREETING, MESSAGES, SEED, SQUARES, for_a_controller
from tests.support.lab import Lab, Started
from tests.support.malformed import Frames

_BATCH = 250
_GROWTH_BYTES_MAX = 64 << 20
_SQUARE = Job(1, SQUARES)
# The golden messages are of session 5: what of them can be decoded must be of another one.
_SESSION = 77


def is_harmless(frames: Frames) -> bool:
    """Whether a controller must not care: not what opens its session, ends it or belongs to it."""
    try:
        message = wire.decode_from_master(frames)
    except ProtocolError:
        return True
    if isinstance(message, Refused):
        return message.incarnation != ""
    return isinstance(message, Welcome) or message.session != _SESSION


@contextmanager
def under_test(lab: Lab) -> Iterator[tuple[Started, FakeMaster]]:
    """A controller that has just said hello; at the end it must still work, and stop when told."""
    with FakeMaster(lab.port) as master:
        controller = lab.controller(lab.config(), "target", welcomed=False)
        master.await_message(Hello)
        yield controller, master
        assert controller.alive
        first = max(master.results, default=0) + 1
        squares(master, first, 20)
        master.await_answer()
        master.send(Stop(master.session, "enough"))
        master.await_message(Goodbye)
        assert controller.exits() == 0


def squares(master: FakeMaster, first: int, count: int) -> None:
    """Have tasks executed, and see that they were."""
    master.add(_SQUARE, first, [packed(number) for number in range(count)])
    results = master.await_results(range(first, first + count))
    assert [result.value for result in results] == [number**2 for number in range(count)]


def fuzz(lab: Lab, master: FakeMaster, controller: Started, malformed: Iterator[Frames], count: int) -> None:
    """Send so many; with a session there are tasks at the same time."""
    sent = first = 0
    while sent < count:
        batch = [*filter(is_harmless, itertools.islice(malformed, min(_BATCH, count - sent)))]
        try:
            for frames in batch:
                master.send_frames(frames)
            if master.session:
                master.add(_SQUARE, first + 1, [packed(first)])
                first += 1
            master.serve()
            assert controller.alive
        except (AssertionError, zmq.ZMQError) as error:
            kept = lab.folder / "messages"
            kept.write_text("\n".join(b"|".join(frames).hex() for frames in batch))
            raise AssertionError(
                f"CYCLONE_FUZZ_SEED={SEED}: one of the last messages up to {sent + _BATCH}, which are in {kept}:"
                f"\n{controller.stderr()[-2000:]}"
            ) from error
        sent += min(_BATCH, count - sent)
    results = master.await_results(range(1, first + 1))
    assert [result.value for result in results] == [number**2 for number in range(first)]


@pytest.mark.timeout(300)
def test_given_malformed_messages_at_a_controller_then_nothing_changes_before_and_in_a_session(lab: Lab) -> None:
    with under_test(lab) as (controller, master):
        process = psutil.Process(controller.pid)
        before = process.memory_info().rss
        malformed = iter(for_a_controller())
        fuzz(lab, master, controller, malformed, MESSAGES // 2)
        master.welcome(_SESSION)
        fuzz(lab, master, controller, malformed, MESSAGES - MESSAGES // 2)
        master.await_answer()
        growth = process.memory_info().rss - before
        print(f"{MESSAGES} messages, {len(master.results)} tasks, RSS grew by {growth >> 20} MiB")
        assert growth < _GROWTH_BYTES_MAX
        assert controller.stderr().count("dropped a bad message from the master") in (1, 2)
        assert controller.stderr().count("welcomed by the master") == 1


def test_given_too_many_or_too_large_frames_at_a_controller_then_it_goes_on_or_says_hello_again(lab: Lab) -> None:
    with under_test(lab) as (controller, master):
        master.welcome(_SESSION)
        master.send_frames([b""] * 100_000)
        master.await_answer()
        # The connection is cut.
        master.send_frames([wire.MAGIC, bytes(limits.MESSAGE_BYTES_MAX + 1)])
        master.forget()
        master.welcome(_SESSION + 1)
        squares(master, 1, 10)
        assert controller.stderr().count("dropped a bad message from the master") == 1


# One that breaks the greeting, one that breaks the handshake after it, and one that is taken for ZMTP 1.0.
@pytest.mark.parametrize(
    "opening",
    [b"\xff" * 4096, GREETING + b"\x04\x05HELLO", b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    ids=["greeting", "handshake", "http"],
)
def test_given_a_stranger_on_the_port_when_the_master_takes_it_then_the_controller_finds_it(
    lab: Lab, opening: bytes
) -> None:
    with socket.create_server(("127.0.0.1", lab.port)) as stranger:
        controller = lab.controller(lab.config(), "target", welcomed=False)
        connection, _ = stranger.accept()
        connection.sendall(opening)
        connection.close()
    with FakeMaster(lab.port) as master:
        master.welcome(_SESSION)
        squares(master, 1, 2)
        assert controller.alive


NONSENSE: list[AnyFromMaster] = [
    Tasks(_SESSION, 1, limits.ID_MAX, [_SQUARE], [TaskBatch(limits.ID_MAX, 1, [(1, 1)], [packed(1)])]),
    Tasks(_SESSION, 2, 1 << 40, [_SQUARE], [TaskBatch(1, 1, [(1, 4096)], [packed(1)] * 4096)] * 8),
    Recorded(_SESSION, [1, 2, 3, limits.ID_MAX]),
    Recall(_SESSION, limits.ID_MAX),
    Pong(_SESSION, limits.ID_MAX, 3, 0),
    Pong(_SESSION, 1, limits.ID_MAX, limits.ID_MAX),
    Pong(_SESSION + 1, 1, limits.ID_MAX, limits.ID_MAX),
    Refused("superseded", "e" * 32, "somebody else"),
    Refused("no such code", "e" * 32, "\x1b[2Jcontrol\ncharacters"),
    Welcome(_SESSION + 2, "e" * 32, 9, "d" * 32, 0.0, 0.0, []),
    Stop(_SESSION + 1, "not for you"),
]


def test_given_messages_that_make_no_sense_in_a_session_then_no_task_starts_and_the_next_session_is_a_good_one(
    lab: Lab,
) -> None:
    with under_test(lab) as (controller, master):
        for message in NONSENSE:
            master.welcome(_SESSION)
            master.await_answer()
            master.send(message)
            master.await_answer()
            assert not master.results, message
            # What it has lost count of, a new session counts from the start.
            master.send(Refused("no_session", "", "start again"))
            master.forget()
        master.welcome(_SESSION)
        assert controller.stderr().count("welcomed by the master") == len(NONSENSE) + 1
        assert len(controller.stderr().splitlines()) < len(NONSENSE) + 10


MISSING = "tests.support.fuzzing:Missing"
# Of each: the class, and the arguments.
SENSELESS = [
    (SQUARES, b""),
    (SQUARES, b"\xc1"),
    (SQUARES, b"\x91" * 100_000),
    (SQUARES, b"\xdd\xff\xff\xff\xff"),
    (SQUARES, b"\x00"),
    (SQUARES, b"\x91\xc7\x00\x63"),
    (SQUARES, packed(1, 2, 3)),
    (SQUARES, packed("text")),
    ("no.such.module:Class", packed(1)),
    (MISSING, packed(1)),
    ("tests.support.fuzzing:SteadyGenerator", packed(1)),
    ("os:system", packed("touch pwned")),
    ("\0:\n", packed(1)),
    (":", packed(1)),
]


def test_given_tasks_that_make_no_sense_then_each_fails_and_no_worker_dies_of_it(lab: Lab) -> None:
    with under_test(lab) as (_, master):
        master.welcome(_SESSION)
        for number, (task_class, args) in enumerate(SENSELESS):
            master.add(Job(2 + number, task_class), 1 + number, [args])
        for result in master.await_results(range(1, len(SENSELESS) + 1)):
            task_class, _ = SENSELESS[result.task_id - 1]
            assert result.state == {SQUARES: "failed", MISSING: "setup_failed"}.get(task_class, "refused"), task_class
            assert result.error
            assert result.error.message
        squares(master, len(SENSELESS) + 1, 10)
        assert len({result.worker_pid for result in master.results.values()}) <= 2
        assert not (lab.folder / "pwned").exists()
