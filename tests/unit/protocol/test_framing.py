"""Frames in a stream: whole, in order, each copied once, whatever its size and in however many pieces it comes."""

import random
from collections.abc import Iterator

import msgspec
import pytest

from cyclone.errors import ProtocolError
from cyclone.protocol import limits
from cyclone.protocol.framing import RECEIVE_BYTES, Channel, FrameReader, framed, framed_pieces, socket_pair

SIZES = [0, 1, RECEIVE_BYTES - 5, RECEIVE_BYTES - 4, RECEIVE_BYTES - 3, RECEIVE_BYTES, 3 * RECEIVE_BYTES + 7]


class Message(msgspec.Struct, array_like=True):
    body: bytes


def stream(bodies: list[bytes]) -> bytes:
    return b"".join(len(body).to_bytes(4, "little") + body for body in bodies)


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, other = map(Channel, socket_pair())
    yield one, other
    one.close()
    other.close()


@pytest.mark.parametrize("seed", range(20))
def test_given_frames_around_the_size_of_the_buffer_in_pieces_then_all_come_out_whole_and_in_order(seed: int) -> None:
    rng = random.Random(seed)
    bodies = [rng.randbytes(rng.choice(SIZES)) for _ in range(8)]
    data, reader, found = stream(bodies), FrameReader(), []
    while data:
        room = reader.room()
        count = min(rng.choice([1, 3, 5000, len(room)]), len(room), len(data))
        room[:count] = data[:count]
        data = data[count:]
        found += [bytes(body) for body in reader.received(count)]
    assert found == bodies


def test_given_a_large_frame_then_what_is_behind_it_is_not_received_into_it() -> None:
    reader = FrameReader()
    reader.feed((4 * RECEIVE_BYTES).to_bytes(4, "little"))
    assert len(reader.room()) == 4 * RECEIVE_BYTES


@pytest.mark.parametrize("length", [limits.MESSAGE_BYTES_MAX + 1, (1 << 32) - 1])
def test_given_a_length_beyond_the_limit_then_nothing_is_allocated_for_it(length: int) -> None:
    reader = FrameReader()
    with pytest.raises(ProtocolError, match=f"a frame of {length} bytes"):
        reader.feed(length.to_bytes(4, "little"))
    assert len(reader.room()) == RECEIVE_BYTES


@pytest.mark.parametrize("size", SIZES)
def test_given_a_message_then_its_frame_is_its_length_and_its_msgpack(size: int) -> None:
    message = Message(bytes(size))
    assert framed(message) == stream([msgspec.msgpack.encode(message)])


def test_given_pieces_then_their_frame_is_that_of_the_whole() -> None:
    assert b"".join(framed_pieces(b"ab", b"", b"c")) == stream([b"abc"])


def test_given_more_than_the_socket_takes_then_the_rest_goes_when_there_is_room(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    bodies = [bytes([number]) * (3 * limits.BATCH_BYTES_TARGET) for number in range(6)]
    for body in bodies:
        one.send(*framed_pieces(body[:1000], body[1000:]))
    assert one.unsent_bytes > 0
    found: list[bytes] = []
    while len(found) < len(bodies):
        found += [bytes(body) for body in other.read(1 << 20)]
        one.write()
    assert found == bodies
    assert one.unsent_bytes == 0


def test_given_many_small_frames_then_none_is_lost(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    count = 300
    one.send(*(piece for number in range(count) for piece in framed_pieces(b"%d" % number)))
    found = list(other.read(1 << 20))
    assert found == [b"%d" % number for number in range(count)]


def test_given_an_end_that_is_gone_then_the_channel_says_so_and_drops_what_is_unsent(
    ends: tuple[Channel, Channel],
) -> None:
    one, other = ends
    other.close()
    assert list(one.read(100)) == []
    assert one.closed
    one.send(b"lost")
    assert one.unsent_bytes == 0


def test_given_rubbish_then_nothing_that_comes_behind_it_is_believed(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    one.send(b"rubbish, and more of it")
    with pytest.raises(ProtocolError):
        list(other.read(1 << 20))
    one.send(*framed_pieces(b"completed"))
    assert list(other.read(1 << 20)) == []
    one.send(b"rubbish, and more of it")
    one.close()
    assert list(other.read(1 << 20)) == []
    assert list(other.read(1 << 20)) == []
    assert other.closed
