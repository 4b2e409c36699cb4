"""Results on their way to the generator: one frame at once for who waits, few for who is busy, none too large."""

import msgspec
import pytest

from cyclone.master.generator import feed_pipe
from cyclone.master.generator.deliveries import Deliveries
from cyclone.master.generator.feed_pipe import Deliver
from cyclone.protocol import limits
from cyclone.protocol.framing import FrameReader
from cyclone.results import RecordedBlock


def block(first: int, args: list[bytes], body: bytes = b"body") -> RecordedBlock:
    return RecordedBlock(first, 1, [("m:C", len(args))], args, bytes(len(args)), None, body, "c1")


def opened(pieces: list[bytes]) -> Deliver:
    (body,) = FrameReader().feed(b"".join(pieces))
    message = feed_pipe.decode_from_master(body)
    assert isinstance(message, Deliver)
    return message


@pytest.mark.parametrize("count", [1, 2, 15, 16, 300])
def test_given_blocks_when_they_go_then_they_arrive_as_they_were(count: int) -> None:
    deliveries = Deliveries(5)
    for number in range(6, 6 + count):
        deliveries.add(number, block(number, [b"a" * number, b""]))
    message = opened(*deliveries.due())
    assert message.number == 5 + count
    assert [(found.first, list(found.args), found.body) for found in message.blocks] == [
        (number, [b"a" * number, b""], b"body") for number in range(6, 6 + count)
    ]
    assert deliveries.due() == []


@pytest.mark.parametrize("accepted", [None, b"\1\0\1"])
@pytest.mark.parametrize("size", [1, 3 * (1 << 16) - 1, 3 * (1 << 16), 1 << 20])
def test_given_a_block_of_any_size_then_all_of_it_arrives_and_what_is_large_is_not_copied(
    size: int, accepted: bytes | None
) -> None:
    args, body = [b"", b"a" * 300, b"b" * (1 << 16)], b"c" * size
    block = RecordedBlock(1 << 40, 3, [("m:C", 2), ("m:D", 1)], args, b"\0\1\0", accepted, body, "c1")
    deliveries = Deliveries(0)
    deliveries.add(1, block)
    (pieces,) = deliveries.due()
    assert any(piece is body for piece in pieces) == (size >= 3 * (1 << 16))
    (found,) = opened(pieces).blocks
    assert list(found.args) == args
    assert msgspec.structs.replace(found, args=args, body=bytes(found.body)) == block


def test_given_arguments_that_nobody_asks_for_then_their_number_is_known_all_the_same() -> None:
    deliveries = Deliveries(0)
    deliveries.add(1, block(1, [b"a", b"bc", b""]))
    (found,) = opened(*deliveries.due()).blocks
    assert len(found.args) == 3
    assert (found.args[1], found.args[1:]) == (b"bc", [b"bc", b""])


def test_given_a_generator_that_is_busy_then_results_gather_until_it_is_done_with_what_it_has() -> None:
    deliveries = Deliveries(0)
    sent = []
    for number in range(1, 7):
        deliveries.add(number, block(number, [b"a"]))
        sent += [opened(frame).number for frame in deliveries.due()]
    assert sent == [1, 2]
    deliveries.consumed(0)
    assert deliveries.due() == []
    deliveries.consumed(1)
    assert opened(*deliveries.due()).number == 6


def test_given_large_results_then_a_frame_ends_before_it_is_too_large_and_goes_however_busy_the_generator_is() -> None:
    deliveries = Deliveries(0)
    body = bytes(limits.BATCH_BYTES_TARGET // 2 - 1000)
    for number in range(1, 8):
        deliveries.add(number, block(number, [b"a"], body))
    assert [len(opened(frame).blocks) for frame in deliveries.due()] == [2, 2, 2]


def test_given_one_block_beyond_the_target_then_it_goes_alone() -> None:
    deliveries = Deliveries(0)
    deliveries.add(1, block(1, [b"a"]))
    deliveries.add(2, block(2, [b"a"], bytes(2 * limits.BATCH_BYTES_TARGET)))
    assert [opened(frame).number for frame in deliveries.due()] == [1, 2]


def test_given_results_with_a_gap_then_they_are_refused() -> None:
    with pytest.raises(AssertionError, match="results 3 delivered after 1"):
        Deliveries(1).add(3, block(1, [b"a"]))
