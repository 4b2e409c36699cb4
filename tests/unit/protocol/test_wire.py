"""The wire: what each message looks like in bytes, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cyclone.errors import ProtocolError
from cyclone.protocol import limits, wire
from cyclone.protocol.client_messages import CancelRequest
from cyclone.protocol.job_messages import AnyFromClient, AnyToClient
from cyclone.protocol.messages import (
    AnyFromController,
    AnyFromMaster,
    Cancel,
    Job,
    Recorded,
    Refused,
    ResultBatch,
    Results,
    Returned,
    State,
    TaskBatch,
    TaskRange,
    Tasks,
)
from cyclone.protocol.sink_messages import AnyFromSink, AnyToSink
from tests.support.golden_messages import FROM_CLIENT, FROM_CONTROLLER, FROM_MASTER, FROM_SINK, TO_CLIENT, TO_SINK

pack = msgspec.msgpack.encode

AnyMessage = AnyFromController | AnyFromClient | AnyFromMaster | AnyToClient | AnyToSink | AnyFromSink
Golden = list[tuple[AnyMessage, str]]
TO_MASTER: Golden = [*FROM_CONTROLLER, *FROM_CLIENT]
# Who may not say something is told so by the same message, whoever it is.
REFUSED: Golden = [(message, body) for message, body in FROM_MASTER if isinstance(message, Refused)]
FOR_CLIENT: Golden = [*TO_CLIENT, *REFUSED]
OF_A_SINK: Golden = [*FROM_SINK, *REFUSED]
ALL: Golden = [*TO_MASTER, *FROM_MASTER, *TO_CLIENT, *TO_SINK, *FROM_SINK]


def frames(body: bytes) -> list[bytes]:
    return [b"CYC1", body]


@pytest.mark.parametrize(("message", "body"), ALL, ids=lambda item: type(item).__name__)
def test_given_a_message_when_encoded_then_its_bytes_are_the_golden_ones(message: AnyMessage, body: str) -> None:
    magic, encoded = wire.encode(message)
    assert magic == b"CYC1"
    assert encoded.hex() == body.replace(" ", "")


@pytest.mark.parametrize(
    ("decode", "message", "body"),
    [
        *((wire.decode_for_master, *golden) for golden in TO_MASTER),
        *((wire.decode_from_master, *golden) for golden in FROM_MASTER),
        *((wire.decode_for_client, *golden) for golden in FOR_CLIENT),
        *((wire.decode_for_sink, *golden) for golden in TO_SINK),
        *((wire.decode_from_sink, *golden) for golden in OF_A_SINK),
    ],
    ids=lambda item: getattr(item, "__name__", type(item).__name__),
)
def test_given_golden_bytes_when_decoded_by_their_receiver_then_the_message_is_back(
    decode: Callable[[list[bytes]], AnyMessage], message: AnyMessage, body: str
) -> None:
    assert decode(frames(bytes.fromhex(body))) == message


@pytest.mark.parametrize(
    ("decode", "own"),
    [
        (wire.decode_for_master, TO_MASTER),
        (wire.decode_from_master, FROM_MASTER),
        (wire.decode_for_client, FOR_CLIENT),
        (wire.decode_for_sink, TO_SINK),
        (wire.decode_from_sink, OF_A_SINK),
    ],
    ids=["for_master", "from_master", "for_client", "for_sink", "from_sink"],
)
def test_given_golden_bytes_when_decoded_by_anybody_else_then_they_are_refused(
    decode: Callable[[list[bytes]], AnyMessage], own: Golden
) -> None:
    for message, body in ALL:
        if (message, body) in own:
            continue
        with pytest.raises(ProtocolError, match=f"Invalid value {type(message).__struct_config__.tag}"):
            decode(frames(bytes.fromhex(body)))


def test_given_every_kind_of_message_then_it_is_among_the_golden_ones() -> None:
    golden = {type(message) for message, _ in ALL}
    assert golden == set(AnyMessage.__args__)


def test_given_a_job_of_an_earlier_minor_version_then_its_other_options_are_what_they_were_before() -> None:
    earlier = pack([102, 5, 1, 1, [[1, "m:A", None]], [[1, 1, [[1, 1]], [b"\x90"]]]])
    message = wire.decode_from_master(frames(earlier))
    assert isinstance(message, Tasks)
    assert message.jobs == [Job(1, "m:A", None, retries=0, retry_delay_s=1.0, retry_on=(), exclusive=False)]


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
    assert wire.decode_for_master(wire.encode(say(ASCENDING))) == say(ASCENDING)
    for held in (ASCENDING[::-1], [*ASCENDING, ASCENDING[-1]], [TaskRange(1, 4, 7, 1), TaskRange(4, 1, 7, 1)]):
        with pytest.raises(ProtocolError, match="out of order, or named twice"):
            wire.decode_for_master(wire.encode(say(held)))


def test_given_tasks_to_cancel_then_they_too_must_be_in_order_and_apart() -> None:
    assert wire.decode_from_master(wire.encode(Cancel(5, ASCENDING))) == Cancel(5, ASCENDING)
    with pytest.raises(ProtocolError, match="out of order, or named twice"):
        wire.decode_from_master(wire.encode(Cancel(5, ASCENDING[::-1])))


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
        pytest.param(frames(pack([299, 5])), "Invalid value 299", id="an unknown tag of a client"),
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
            wire.encode(Results(5, 1, 0, [ResultBatch(1, 7, 1, b"\0\6", b"")])), "status 6", id="cancelled by itself"
        ),
        pytest.param(
            wire.encode(Results(5, 1, 0, [ResultBatch(1, 7, 1, b"\0\7", b"")])), "status 7", id="lost by itself"
        ),
        pytest.param(wire.encode(CancelRequest(1, 42, 17, "", "")), "tasks from 42 to 17", id="a range turned round"),
        pytest.param(frames(pack([202, 1, 0, 5, "", ""])), ">= 1", id="a client's task zero"),
        pytest.param(frames(pack([202, 1, 1, 5, "x" * 4097, ""])), "length <= 4096", id="a client's class too long"),
        pytest.param(frames(pack([203, 1, "", False])), "length >= 1", id="a controller without a name"),
        pytest.param(frames(pack([203, 1, "c1", 1])), "Expected `bool`", id="a number for a truth value"),
        pytest.param(frames(pack([201, -1])), ">= 0", id="a negative number of a request"),
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
        wire.decode_for_master(refused)
    assert reason.lower() in str(error.value).lower()


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        pytest.param([1, "m:A", None, -1], ">= 0", id="fewer than no retries"),
        pytest.param([1, "m:A", None, 1, -1.0], ">= 0", id="a negative delay"),
        pytest.param([1, "m:A", None, 1, float("nan")], ">= 0", id="a delay that is not a number"),
        pytest.param([1, "m:A", None, 1, 1.0, [""]], "length >= 1", id="an exception without a name"),
        pytest.param([1, "m:A", None, 1, 1.0, "OSError"], "Expected `array`", id="a name for a list of names"),
        pytest.param([1, "m:A", None, 1, 1.0, [], 1], "Expected `bool`", id="a number for exclusive"),
    ],
)
def test_given_a_job_with_options_that_make_no_sense_then_the_tasks_are_refused(job: list[Any], reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        wire.decode_from_master(frames(pack([102, 5, 1, 1, [job], [[1, 1, [[1, 1]], [b"\x90"]]]])))


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
    lines = re.findall(r"^    ([CMP]>[CMP])  (\w+).*\n((?:         [0-9a-f ]+\n)+)", page, re.MULTILINE)
    assert len(lines) == 18
    decoders: dict[str, Callable[[list[bytes]], AnyMessage]] = {
        "C>M": wire.decode_for_master,
        "M>C": wire.decode_from_master,
        "P>M": wire.decode_for_master,
        "M>P": wire.decode_for_client,
    }
    for way, name, body in lines:
        message = decoders[way](frames(bytes.fromhex(body)))
        assert type(message).__name__ == name
        assert wire.encode(message) == frames(bytes.fromhex(body))
