"""What says which row has printed what: it survives any cutting, and no bytes of a task can break it."""

import random

import pytest

from cyclone.controller.printed import LOG, MARK_BYTES, Printed, Unmarker, marked
from cyclone.protocol.messages import STDERR, STDOUT

MARK = bytes(range(0xF0, 0xF0 + MARK_BYTES))


def _joined(found: list[Printed]) -> list[tuple[int, int, bytes]]:
    joined: list[tuple[int, int, bytes]] = []
    for seq, stream, data in found:
        if joined and joined[-1][:2] == (seq, stream):
            joined[-1] = (seq, stream, joined[-1][2] + data)
        else:
            joined.append((seq, stream, data))
    return joined


def test_given_a_piece_then_no_write_is_larger_than_the_kernel_keeps_together() -> None:
    writes = marked(MARK, 7, STDERR, b"x" * 10_000)
    assert max(map(len, writes)) <= 4096
    assert _joined(Unmarker(MARK).take(b"".join(writes))) == [(7, STDERR, b"x" * 10_000)]


@pytest.mark.parametrize("seed", range(20))
def test_given_any_portions_then_the_same_is_found(seed: int) -> None:
    rng = random.Random(seed)
    expected: list[tuple[int, int, bytes]] = []
    wire = b""
    for seq in range(1, 30):
        raw = rng.randbytes(rng.choice((0, 1, 5, 300))) + MARK[: rng.choice((0, 0, 1, 7))]
        data = rng.randbytes(rng.randint(1, 6000))
        stream = rng.choice((STDOUT, STDERR, LOG))
        wire += raw + b"".join(marked(MARK, seq, stream, data))
        expected += [(0, STDOUT, raw)] if raw else []
        expected.append((seq, stream, data))
    unmarker, found, at = Unmarker(MARK), list[Printed](), 0
    while at < len(wire):
        size = rng.choice((1, 2, 15, 100, 5000, 65536))
        found += unmarker.take(wire[at : at + size])
        at += size
    assert _joined(found) == expected
    assert unmarker.end() == b""


def test_given_the_beginning_of_a_mark_that_never_comes_then_it_is_told_at_the_end() -> None:
    unmarker = Unmarker(MARK)
    assert unmarker.take(b"text" + MARK[:3]) == [(0, STDOUT, b"text")]
    assert unmarker.end() == MARK[:3]


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"\1" + bytes(7) + b"\x09" + b"\1\0", id="no such stream"),
        pytest.param(b"\1" + bytes(7) + b"\x01" + b"\xff\xff", id="more than is written at once"),
    ],
)
def test_given_somebody_who_plays_with_the_mark_then_it_is_what_he_has_printed(head: bytes) -> None:
    sane = b"".join(marked(MARK, 2, STDERR, b"sane"))
    found = _joined(Unmarker(MARK).take(MARK + head + sane))
    assert found == [(0, STDOUT, MARK + head), (2, STDERR, b"sane")]
