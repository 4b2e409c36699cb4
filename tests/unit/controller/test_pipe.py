"""The pipe to a worker: its bytes, and that nothing which user code may write there is believed."""

import msgspec
import pytest

from cyclone.controller import pipe
from cyclone.controller.pipe import Done, Execute, Ready
from cyclone.errors import ProtocolError
from cyclone.protocol import limits
from cyclone.protocol.framing import FrameReader
from cyclone.protocol.messages import Job

pack = msgspec.msgpack.encode

JOB = Job(
    *(2, "m:B", 2.5, 3, 0.5, ("OSError",), True),
    shared=b"\x91\x07",
    cpus=4,
    waits=(1.0, 2.0, 3.0),
    environment={"A": "b"},
    directory="/d",
    by_value=True,
    name="n",
    namespace="s",
)
GOLDEN: list[tuple[Execute | Ready | Done, str]] = [
    (
        Execute(4, 3, 10, 1, [Job(1, "m:A"), JOB], [(1, 1), (2, 1)], [b"\x90", b"\x91\x2a"], [(1, 2.5)]),
        "aa000000 99 01 04 03 0a 01 "
        "92 9f01a36d3a41c000cb3ff000000000000090c2c40001 93cb0000000000000000cb0000000000000000cb0000000000000000 "
        "80a0c2a0a0 "
        "9f02a36d3a42cb400400000000000003cb3fe000000000000091a74f534572726f72c3c402910704 "
        "93cb3ff0000000000000cb4000000000000000cb4008000000000000 81a141a162a22f64c3a16ea173 "
        "92920101920201 92c40190c402912a 919201cb4004000000000000",
    ),
    (Ready(42), "03000000 92 0b 2a"),
    (Done(4, b"\0\1", b"\x97", 0.5, True), "14000000 96 0c 04 c4020001 c40197 cb3fe0000000000000 c3"),
]


@pytest.mark.parametrize(("message", "expected"), GOLDEN, ids=lambda item: type(item).__name__)
def test_given_a_message_when_packed_then_its_bytes_are_the_golden_ones_and_it_comes_back(
    message: Execute | Ready | Done, expected: str
) -> None:
    packed = pipe.pack(message)
    assert packed.hex() == expected.replace(" ", "")
    (body,) = FrameReader().feed(packed)
    decode = pipe.decode_from_controller if isinstance(message, Execute) else pipe.decode_from_worker
    assert decode(body) == message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "truncated", id="nothing"),
        pytest.param(b"hello\n", "Expected `array`", id="text"),
        pytest.param(pack([99, 1]), "Invalid value 99", id="an unknown tag"),
        pytest.param(pack([1, 1, 1, 1, [], [], []]), "Invalid value 1", id="a message of the other direction"),
        pytest.param(pack([12, -1, b"\0", b"", 0.0, True]), ">= 0", id="a negative row"),
        pytest.param(
            pack([12, 1, b"\0\2", b"", 0.0, True]), "statuses 0002", id="a status that is not a worker's to say"
        ),
        pytest.param(pack([12, 1, bytes(4097), b"", 0.0, True]), "length <= 4096", id="too many rows"),
        pytest.param(pack([12, 1, b"\0", b"", -1.0, True]), ">= 0", id="a negative time"),
        pytest.param(pack([12, 1, b"\0", b"", float("nan"), True]), ">= 0", id="a time that is not a number"),
        pytest.param(pack([12, 1, b"\0", b"", float("inf"), True]), "<= 1", id="a time without end"),
        pytest.param(pack([12, 1, "\0", b"", 0.0, True]), "Expected `bytes`|base64", id="text for bytes"),
        pytest.param(b"\x93\x0b\x05" + b"\x91" * 200_000 + b"\x90", "recursion", id="nested without end"),
    ],
)
def test_given_anything_else_from_a_worker_then_it_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        pipe.decode_from_worker(body)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_given_a_stream_in_pieces_then_the_frames_come_out_whole_and_in_order(size: int) -> None:
    bodies = [b"", b"a", b"bc" * 40, b"d"]
    stream = b"".join(len(body).to_bytes(4, "little") + body for body in bodies)
    reader = FrameReader()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [body for piece in pieces for body in reader.feed(piece)] == bodies


def test_given_a_length_beyond_the_limit_then_the_stream_makes_no_sense() -> None:
    length = limits.MESSAGE_BYTES_MAX + 1
    with pytest.raises(ProtocolError, match=f"a frame of {length} bytes, the limit is {limits.MESSAGE_BYTES_MAX}"):
        FrameReader().feed(length.to_bytes(4, "little"))
