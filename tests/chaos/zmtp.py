"""Takes a byte stream of ZeroMQ apart into what travels as a whole: greeting, commands, messages. PURE.

ZMTP 3.x as the RFC 23 has it: a greeting of 64 bytes, then frames, each with a byte of flags and its length. Under
CURVE the messages are sealed: they are found, and their frames mean nothing to us.
"""

from collections.abc import Iterator
from dataclasses import dataclass

GREETING_BYTES = 64
_MORE, _LONG, _COMMAND = 1, 2, 4
_MECHANISM = slice(12, 32)


@dataclass(frozen=True, slots=True)
class Unit:
    """What is forwarded, lost, repeated or damaged as a whole. ``frames`` are those of a message, else empty."""

    raw: bytes
    frames: tuple[bytes, ...] = ()


class Splitter:
    """One direction of one connection."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._greeting = b""
        self._raw: list[bytes] = []
        self._frames: list[bytes] = []
        self.sealed = False

    def feed(self, data: bytes) -> Iterator[Unit]:
        """The units that are complete now."""
        missing = GREETING_BYTES - len(self._greeting)
        if missing:
            # Each end waits for the beginning of the other's before it goes on, so it cannot wait to be complete.
            begun, data = data[:missing], data[missing:]
            self._greeting += begun
            self.sealed = self._greeting[_MECHANISM].rstrip(b"\0") != b"NULL"
            yield Unit(begun)
        self._rest += data
        while (frame := self._next_frame()) is not None:
            flags, head, body = frame
            if flags & _COMMAND:
                yield Unit(head + body)
                continue
            self._raw.append(head + body)
            self._frames.append(body)
            if not flags & _MORE:
                yield Unit(b"".join(self._raw), tuple(self._frames))
                self._raw, self._frames = [], []

    def _next_frame(self) -> tuple[int, bytes, bytes] | None:
        if len(self._rest) < 2:
            return None
        flags = self._rest[0]
        head_bytes = 9 if flags & _LONG else 2
        if len(self._rest) < head_bytes:
            return None
        body_bytes = int.from_bytes(self._rest[1:head_bytes])
        if len(self._rest) < head_bytes + body_bytes:
            return None
        return flags, self._take(head_bytes), self._take(body_bytes)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._rest[:count])
        del self._rest[:count]
        return taken
