"""Malformed messages, endlessly, from a seed: what a broken, foreign or hostile peer may put into the frames.

Not everything that comes out is undecodable: some make no sense, some are even right. Whoever sends them must ask the
wire which is which.
"""

import datetime
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from cyclone.protocol import wire

Frames = list[bytes]

_pack = msgspec.msgpack.encode
_NESTED: Any = []
for _ in range(100):
    _NESTED = [_NESTED]
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 127, 128, 65536, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
    *(-(1 << 63), 0.5, -0.5, 1e308, float("nan"), float("inf"), "", "\0", "x" * 5000, "0" * 32, "\N{SNOWMAN}"),
    *(b"", b"\xc1", b"\xff" * 100, [], [[]], [0] * 5000, _NESTED, {}, {"a": 1}, {1: []}),
    *(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), msgspec.msgpack.Ext(5, b""), msgspec.msgpack.Ext(-1, b"x")),
)
# Headers that announce up to 2**32 items or bytes, without any: array, map, str, bin, ext.
_ANNOUNCING = (b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9")
_OPENERS = (b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\x9f", b"\x81\x91")


class Malformer:
    """``goldens`` are bodies that the receiver understands, ``foreign`` those of the other direction."""

    def __init__(self, goldens: Sequence[bytes], foreign: Sequence[bytes], seed: str) -> None:
        self._goldens = goldens
        self._foreign = foreign
        self._random = random.Random(seed)
        self._kinds: tuple[Callable[[], Frames], ...] = (
            self.flipped,
            self.refilled,
            self.random_bytes,
            self.nested,
            self.announcing,
            self.misframed,
            self.misdirected,
        )

    def __iter__(self) -> Iterator[Frames]:
        while True:
            (kind,) = self._random.choices(self._kinds, weights=(35, 35, 8, 5, 5, 8, 4))
            yield kind()

    def flipped(self) -> Frames:
        """A golden body with bytes changed, lost, doubled or put in."""
        body = bytearray(self._golden())
        for _ in range(self._random.randint(1, 4)):
            at = self._random.randrange(len(body) + 1)
            match self._random.randrange(5):
                case 0:
                    body[at : at + 1] = self._random.randbytes(1)
                case 1:
                    del body[at : at + self._random.randint(1, 8)]
                case 2:
                    body[at:at] = self._random.randbytes(self._random.randint(1, 8))
                case 3:
                    body[at:at] = body[: self._random.randint(1, 40)]
                case 4:
                    del body[at:]
        return [wire.MAGIC, bytes(body)]

    def refilled(self) -> Frames:
        """A golden body with another value somewhere, a field too few or too many, or another tag."""
        fields = msgspec.msgpack.decode(self._golden())
        place = fields
        while True:
            at = self._random.randrange(len(place))
            if not (isinstance(place[at], list) and place[at]) or self._random.random() < 0.3:
                break
            place = place[at]
        match self._random.randrange(4):
            case 0:
                del place[at]
            case 1:
                place.insert(at, self._random.choice(ODD_VALUES))
            case _:
                place[at] = self._random.choice(ODD_VALUES)
        return [wire.MAGIC, _pack(fields)]

    def random_bytes(self) -> Frames:
        """Noise behind the right magic."""
        return [wire.MAGIC, self._random.randbytes(self._random.choice((0, 1, 7, 100, 3000)))]

    def nested(self) -> Frames:
        """Lists in lists and maps in maps, at the start or within a golden body."""
        deep = self._random.choice(_OPENERS) * self._random.choice((10, 1000, 30_000)) + b"\xc0"
        body = self._golden()
        at = self._random.choice((0, self._random.randrange(len(body))))
        return [wire.MAGIC, body[:at] + deep]

    def announcing(self) -> Frames:
        """The header of something huge that does not follow."""
        size = self._random.choice((0xFFFFFFFF, 0x7FFFFFFF, 0x01000000)).to_bytes(4, "big")
        body = self._golden()
        at = self._random.choice((0, self._random.randrange(len(body))))
        return [wire.MAGIC, body[:at] + self._random.choice(_ANNOUNCING) + size + body[at:]]

    def misframed(self) -> Frames:
        """A golden body in the wrong number of frames, or behind another magic."""
        body = self._golden()
        return self._random.choice(
            (
                [b""],
                [wire.MAGIC],
                [body],
                [wire.MAGIC, b""],
                [b"", wire.MAGIC, body],
                [wire.MAGIC, body, b""],
                [wire.MAGIC, body] * 20,
                [b""] * 300,
                [b"CYC2", body],
                [wire.MAGIC + b"\0", body],
                [self._random.randbytes(self._random.randint(0, 300)), body],
                [b"GET / HTTP/1.1\r\n\r\n", body],
            )
        )

    def misdirected(self) -> Frames:
        """What only the receiver itself may say."""
        return [wire.MAGIC, self._random.choice(self._foreign)]

    def _golden(self) -> bytes:
        return self._random.choice(self._goldens)
