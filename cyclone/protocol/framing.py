"""Length-prefixed frames over a stream socket, for the pipes between a daemon and its own children.

``frame`` and ``FrameReader`` are the format; ``Channel`` is the daemon's end, which must never block.

The other end may run user code that writes on any descriptor, so a length beyond the limit is an error and never an
allocation.
"""

import socket
import struct
from collections import deque
from collections.abc import Iterator

from cyclone.errors import ProtocolError
from cyclone.protocol import limits

_LENGTH = struct.Struct("<I")
# Above malloc's threshold each receive would map and unmap its buffer: 25 us instead of 3.
RECEIVE_BYTES = 1 << 16


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


class Channel:
    """A daemon's end of a pipe to a child. What the socket does not take at once waits in ``unsent_bytes``.

    ``closed`` says that the child's end is gone; whether the child is, only its pidfd can tell.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._reader = FrameReader()
        self._unsent: deque[bytes] = deque()
        self.unsent_bytes = 0
        self.closed = False

    def fileno(self) -> int:
        """To be polled for reading, and for writing while ``unsent_bytes`` is not 0."""
        return self._socket.fileno()

    def send(self, framed: bytes) -> None:
        """Send a frame, or as much of it as goes now."""
        self._unsent.append(framed)
        self.unsent_bytes += len(framed)
        self.write()

    def write(self) -> None:
        """Send what is unsent, as far as the socket takes it."""
        try:
            while self._unsent:
                head = self._unsent[0]
                sent = self._socket.send(head)
                self.unsent_bytes -= sent
                if sent == len(head):
                    self._unsent.popleft()
                else:
                    self._unsent[0] = head[sent:]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
            self.unsent_bytes = 0

    def read(self, bytes_max: int) -> Iterator[bytes]:
        """The frames that are there, up to about so many bytes. Raises ProtocolError when the stream makes no sense."""
        while bytes_max > 0:
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self.closed = True
                return
            yield from self._reader.feed(data)
            if len(data) < RECEIVE_BYTES:
                return
            bytes_max -= len(data)

    def end(self) -> None:
        """Tell the child that nothing more will come."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give the socket up."""
        self._socket.close()
