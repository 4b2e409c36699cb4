"""Length-prefixed frames over a stream socket, for the pipes between a daemon and its own children.

The other end may run user code that writes on any descriptor, so a length beyond the limit is an error and never an
allocation.
"""

import struct

from cyclone.errors import ProtocolError
from cyclone.protocol import limits

_LENGTH = struct.Struct("<I")


def frame(body: bytes) -> bytes:
    """The body with its length in front."""
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now. Raises ProtocolError when the stream makes no sense."""
        buffer = self._buffer
        buffer += data
        frames, at = [], 0
        while len(buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if length > limits.MESSAGE_BYTES_MAX:
                raise ProtocolError(f"a frame of {length} bytes, the limit is {limits.MESSAGE_BYTES_MAX}")
            stop = at + _LENGTH.size + length
            if stop > len(buffer):
                break
            frames.append(bytes(memoryview(buffer)[at + _LENGTH.size : stop]))
            at = stop
        if at:
            del buffer[:at]
        return frames
