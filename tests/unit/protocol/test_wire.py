"""The wire: what each message looks like in bytes, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cyclone.errors import ProtocolError
from cyclone.protocol import limits, wire
from cyclone.protocol.messages import (
    AnyFromController,
    AnyFromMaster,
    Recorded,
    ResultBatch,
    Results,
    Returned,
    State,
    TaskBatch,
    TaskRange,
    Tasks,
)
from tests.support.golden_messages import FROM_CONTROLLER, FROM_MASTER

pack = msgspec.msgpack.encode


def frames(body: bytes) -> list[bytes]:
    return [b"CYC1", body]


@pytest.mark.parametrize(("message", "body"), [*FROM_CONTROLLER, *FROM_MASTER], ids=lambda item: type(item).__name__)
def test_given_a_message_when_encoded_then_its_bytes_are_the_golden_ones(
    message: AnyFromController | AnyFromMaster, body: str
) -> None:
    magic, encoded = wire.encode(message)
    assert magic == b"CYC1"
    assert encoded.hex() == body.replace(" ", "")


@pytest.mark.parametrize(("message", "body"), FROM_CONTROLLER, ids=lambda item: type(item).__name__)
def test_given_golden_bytes_of_a_controller_when_decoded_then_the_message_is_back(
    message: AnyFromController, body: str
) -> None:
    assert wire.decode_from_controller(frames(bytes.fromhex(body))) == message


@pytest.mark.parametrize(("message", "body"), FROM_MASTER, ids=lambda item: type(item).__name__)
def test_given_golden_bytes_of_a_master_when_decoded_then_the_message_is_back(
    message: AnyFromMaster, body: str
) -> None:
    assert wire.decode_from_master(frames(bytes.fromhex(body))) == message


def test_given_every_kind_of_message_then_it_is_among_the_golden_ones() -> None:
    golden = {type(message) for message, _ in [*FROM_CONTROLLER, *FROM_MASTER]}
    assert golden == set(AnyFromController.__args__) | set(AnyFromMaster.__args__)


ASCENDING = [
    TaskRange(1, 9, 6, 3),
    TaskRange(1, 4, 7, 1),
    TaskRange(5, 2, 7, 1),
    TaskRange(9, 1, 7, 1),
    TaskRange(1, 9, 7, 2),
]


@pytest.mark.parametrize("say", [lambda held: State(5, 1, 0, 0, 2, 0, held), lambda held: Returned(5, 0, held)])
def test_given_ranges_in_order_and_apart_then_they_are_taken_and_no_others(
    say: Callable[[list[TaskRange]], Any],
) -> None:
    assert wire.decode_from_controller(wire.encode(say(ASCENDING))) == say(ASCENDING)
    for held in (ASCENDING[::-1], [*ASCENDING, ASCENDING[-1]], [TaskRange(1, 4, 7, 1), TaskRange(4, 1, 7, 1)]):
        with pytest.raises(ProtocolError, match="out of order, or named twice"):
            wire.decode_from_controller(wire.encode(say(held)))


def test_given_a_later_version_with_more_fields_then_the_known_ones_are_read() -> None:
    later = b"\x94\x67" + pack(5) + pack([1]) + pack({"new": [1, 2]})
    assert wire.decode_from_master(frames(later)) == Recorded(5, [1])


GOOD = wire.encode(Returned(5, 0, []))[1]


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        pytest.param([], "0 frames where 2 belong", id="nothing"),
        pytest.param([b"CYC1"], "1 frames where 2 belong", id="no body"),
        pytest.param([b"CYC1", GOOD, b""], "3 frames where 2 belong", id="a frame too many"),
        pytest.param([b"", b"CYC1", GOOD], "3 frames where 2 belong", id="the delimiter of a REQ socket"),
        pytest.param([b"CYC2", GOOD], "magic b'CYC2' is not b'CYC1'", id="another major version"),
        pytest.param([b"GET / HTTP/1.1", GOOD], "magic b'GET / HT' is not b'CYC1'", id="a stranger"),
        pytest.param(frames(b""), "truncated", id="an empty body"),
        pytest.param(frames(GOOD[:-1]), "truncated", id="a cut body"),
        pytest.param(frames(GOOD + b"\xc0"), "trailing", id="a body with something behind"),
        pytest.param(frames(bytes(limits.MESSAGE_BYTES_MAX + 1)), "bytes are more than", id="an oversize body"),
        pytest.param(frames(pack({"t": 4})), "Expected `array`", id="a map"),
        pytest.param(frames(pack([99, 5])), "Invalid value 99", id="an unknown tag"),
        pytest.param(frames(pack([101, 5])), "Invalid value 101", id="a tag of the other direction"),
        pytest.param(frames(pack(["4", 5, 0, []])), "Expected `int`", id="a tag of another type"),
        pytest.param(frames(pack([4, 5, 0])), "at least length", id="a field too few"),
        pytest.param(frames(pack([4, 0, 0, []])), ">= 1", id="a session of zero"),
        pytest.param(frames(pack([4, -5, 0, []])), ">= 1", id="a negative session"),
        pytest.param(frames(pack([4, 1 << 63, 0, []])), "<= 9223372036854775807", id="a session beyond 63 bits"),
        pytest.param(frames(pack([4, 5.0, 0, []])), "Expected `int`", id="a float for an integer"),
        pytest.param(frames(pack([4, None, 0, []])), "Expected `int`", id="nil for an integer"),
        pytest.param(frames(pack([4, 5, 0, [[1, 0, 7, 1]]])), ">= 1", id="an empty range"),
        pytest.param(frames(pack([4, 5, 0, [[1, 1, 7, 1, 0]]])), "at most length 4", id="a range of five fields"),
        pytest.param(frames(pack([5, 5, "x" * 4097])), "length <= 4096", id="a text too long"),
        pytest.param(frames(b"\x93\x05\x05\xa1\xff"), "utf", id="a text that is not UTF-8"),
        pytest.param(frames(b"\x94\x04\x05\x00" + b"\xdd\xff\xff\xff\xff"), "length <= 65536", id="a length that lies"),
        pytest.param(frames(b"\x95\x04\x05\x00\x90" + b"\x91" * 200_000 + b"\x90"), "", id="nested without end"),
        pytest.param(frames(pack([3, 5, 1, 0, []])), "length >= 1", id="results without a batch"),
        pytest.param(frames(pack([3, 5, 1, 0, [[1, 7, 1, b"", b""]]])), "length >= 1", id="a batch without a row"),
        pytest.param(
            wire.encode(Results(5, 1, 0, [ResultBatch(1, 7, 1, b"\0\4", b"")])), "status 4", id="no status of its own"
        ),
        pytest.param(
            wire.encode(Results(5, 1, 0, [ResultBatch(limits.ID_MAX, 7, 1, b"\0\0", b"")])), "too large", id="huge ids"
        ),
        pytest.param(
            wire.encode(State(5, 1, 0, 0, limits.SLOTS_MAX + 1, 0, [])), "<= 4096", id="more slots than there may be"
        ),
        pytest.param(
            wire.encode(Returned(5, 0, [TaskRange(1, 1, 7, 1)] * (limits.RANGES_PER_MESSAGE_MAX + 1))),
            "length <= 65536",
            id="more ranges than there may be",
        ),
    ],
)  # fmt: skip
def test_given_anything_else_from_a_controller_then_it_is_refused_with_the_reason(
    refused: list[bytes], reason: str
) -> None:
    with pytest.raises(ProtocolError) as error:
        wire.decode_from_controller(refused)
    assert reason.lower() in str(error.value).lower()


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        pytest.param(TaskBatch(1, 1, [(1, 2)], [b""]), "runs of 2 tasks with 1 arguments", id="columns of two lengths"),
        pytest.param(TaskBatch(limits.ID_MAX, 1, [(1, 2)], [b"", b""]), "too large", id="ids too large"),
        pytest.param(TaskBatch(1, 0, [(1, 1)], [b""]), ">= 1", id="attempt zero"),
        pytest.param(TaskBatch(1, 1, [(0, 1)], [b""]), ">= 1", id="job zero"),
        pytest.param(TaskBatch(1, 1, [(1, 0)], [b""]), ">= 1", id="an empty run"),
        pytest.param(TaskBatch(1, 1, [], []), "length >= 1", id="no tasks"),
    ],
)
def test_given_tasks_that_do_not_fit_together_then_they_are_refused(batch: TaskBatch, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        wire.decode_from_master(wire.encode(Tasks(5, 1, 1, [], [batch])))


def test_given_the_conversation_in_the_protocol_page_then_it_is_what_the_codec_makes_of_it() -> None:
    page = Path(__file__).parents[3].joinpath("docs", "protocol.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    (C>M|M>C)  (\w+).*\n((?:         [0-9a-f ]+\n)+)", page, re.MULTILINE)
    assert len(lines) == 9
    for way, name, body in lines:
        decode = wire.decode_from_controller if way == "C>M" else wire.decode_from_master
        message = decode(frames(bytes.fromhex(body)))
        assert type(message).__name__ == name
        assert wire.encode(message) == frames(bytes.fromhex(body))
