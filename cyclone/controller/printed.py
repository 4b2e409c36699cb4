"""How a worker tells its controller which row has printed what, in the one pipe that its outputs are.

Owns the framing, and knows no descriptor. What goes through the worker's own streams is cut into pieces, each behind a
mark with the row's number and the stream; both are one write, which the kernel does not mix with others. Whatever else
arrives was written past those streams, by a library or a child, and nobody knows whose it is.
"""

import struct
from typing import NamedTuple

from cyclone.protocol.messages import STDERR, STDOUT

MARK_BYTES = 16
"""How long a worker's mark is: random, so that nothing else looks like it."""

LOG = 3
"""The stream of what a worker logs, besides STDOUT and STDERR."""

DROPPED = 4
"""The stream of how many bytes a worker has not even passed on, as a number of ``DROPPED_BYTES`` bytes."""

DROPPED_BYTES = 8

_HEAD = struct.Struct("<QBH")  # row, stream, how many bytes follow
# pipe(7): up to PIPE_BUF bytes are written in one piece.
_DATA_BYTES_MAX = 4096 - MARK_BYTES - _HEAD.size
_STREAMS = frozenset({STDOUT, STDERR, LOG, DROPPED})


class Printed(NamedTuple):
    """What a row has printed; ``seq`` is its number, 0 where that is not said."""

    seq: int
    stream: int
    data: bytes


def marked(mark: bytes, seq: int, stream: int, data: bytes | memoryview) -> list[bytes]:
    """What is to be written, in as many writes; without data only that this is the row."""
    pieces = (data[start : start + _DATA_BYTES_MAX] for start in range(0, len(data) or 1, _DATA_BYTES_MAX))
    return [b"".join((mark, _HEAD.pack(seq, stream, len(piece)), piece)) for piece in pieces]


class Unmarker:
    """Takes apart what arrives through one pipe, in whatever portions that is read."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._rest = b""

    def take(self, data: bytes) -> list[Printed]:
        """What these bytes complete; neighbours of one row and stream are one."""
        data, self._rest = self._rest + data, b""
        found: list[tuple[int, int, list[bytes]]] = []
        at = 0
        while (begin := data.find(self._mark, at)) >= 0:
            start = begin + MARK_BYTES + _HEAD.size
            seq, stream, length = _HEAD.unpack_from(data, begin + MARK_BYTES) if start <= len(data) else (0, LOG, 1)
            if stream not in _STREAMS or length > _DATA_BYTES_MAX:
                # Somebody plays with our mark.
                _add(found, 0, STDOUT, data[at : begin + MARK_BYTES])
                at = begin + MARK_BYTES
                continue
            _add(found, 0, STDOUT, data[at:begin])
            at = begin
            if start + length > len(data):
                break
            _add(found, seq, stream, data[start : start + length])
            at = start + length
        end = len(data) if begin < 0 else at
        if begin < 0:
            end -= self._begun(data[max(at, len(data) - MARK_BYTES + 1) :])
            _add(found, 0, STDOUT, data[at:end])
        self._rest = data[end:]
        return [Printed(seq, stream, b"".join(pieces)) for seq, stream, pieces in found]

    def end(self) -> bytes:
        """What looked like the beginning of a mark, and is nothing more."""
        rest, self._rest = self._rest, b""
        return rest

    def _begun(self, data: bytes) -> int:
        """With how many bytes the data end that may be the beginning of a mark."""
        for size in range(len(data), 0, -1):
            if self._mark.startswith(data[-size:]):
                return size
        return 0


def _add(found: list[tuple[int, int, list[bytes]]], seq: int, stream: int, data: bytes) -> None:
    if data or seq:
        if found and found[-1][:2] == (seq, stream):
            found[-1][2].append(data)
        else:
            found.append((seq, stream, [data]))
