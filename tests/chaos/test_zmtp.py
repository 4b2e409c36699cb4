"""What the proxy sees in a stream, however it is cut into pieces."""

import pytest

from tests.chaos.zmtp import GREETING_BYTES, Splitter, Unit

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
COMMAND = b"\x04\x06\x05READY"
MESSAGE = b"\x01\x04CYC1" + b"\x00\x02ab"
LONG = b"\x01\x04CYC1" + b"\x02" + (300).to_bytes(8) + bytes(300)
UNITS = [
    Unit(COMMAND),
    Unit(MESSAGE, (b"CYC1", b"ab")),
    Unit(LONG, (b"CYC1", bytes(300))),
]


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 64, 65, 1000])
def test_given_a_stream_in_pieces_then_its_units_come_whole(piece_bytes: int) -> None:
    stream = GREETING + COMMAND + MESSAGE + LONG
    splitter = Splitter()
    found = [unit for at in range(0, len(stream), piece_bytes) for unit in splitter.feed(stream[at : at + piece_bytes])]
    assert b"".join(unit.raw for unit in found) == stream
    assert found[-3:] == UNITS
    assert not splitter.sealed


def test_given_half_a_greeting_then_it_is_passed_on_because_the_other_end_waits_for_it() -> None:
    assert list(Splitter().feed(GREETING[:10])) == [Unit(GREETING[:10])]


def test_given_another_mechanism_then_the_stream_is_known_to_be_sealed() -> None:
    splitter = Splitter()
    list(splitter.feed(GREETING.replace(b"NULL\0", b"CURVE")))
    assert len(GREETING) == GREETING_BYTES
    assert splitter.sealed
