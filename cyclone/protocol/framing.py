"""Length-prefixed frames over a stream socket, for the pipes between a daemon and its own children.

``framed`` and ``FrameReader`` are the format; ``Channel`` is the daemon's end, which must never block.

The other end may run user code that writes on any descriptor, so a length beyond the limit is an error and never an
allocation.
"""

import socket
import struct
from collections import deque
from collections.abc import Iterator
from itertools import islice

import msgspec

from cyclone.errors import ProtocolError
from cyclone.protocol import limits

_LENGTH = struct.Struct("<I")
_encode_into = msgspec.msgpack.Encoder().encode_into
# What is read at once of small frames. A frame that does not fit gets a buffer of its own.
RECEIVE_BYTES = 1 << 16
# What the kernel may hold for each direction of a pipe, as far as it allows: a whole batch of large arguments, so that
# neither end has to be woken for each piece of it.
_PIPE_BYTES = 2 * limits.BATCH_BYTES_TARGET
# Buffers that are given to one call of sendmsg; IOV_MAX is 1024.
_PIECES_PER_SEND = 64


def framed(message: msgspec.Struct) -> bytearray:
    """A message as msgpack, with its length in front."""
    # Encoded in its place: to put the length before a megabyte afterwards took as long as to encode it.
    buffer = bytearray(_LENGTH.size)
    _encode_into(message, buffer, _LENGTH.size)
    _LENGTH.pack_into(buffer, 0, len(buffer) - _LENGTH.size)
    return buffer


def framed_pieces(*pieces: bytes) -> list[bytes]:
    """A message that is there in pieces, as the pieces of a frame: nothing is copied."""
    return [_LENGTH.pack(sum(map(len, pieces))), *pieces]


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """A daemon's end and its child's."""
    ends = socket.socketpair()
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIPE_BYTES)
    return ends


class FrameReader:
    """Cuts a stream of bytes into frames.

    Bytes are received straight into ``room()``, and ``received`` is owed then. A large frame is received into a buffer
    of its size, so that it is copied once and no matter in how many pieces it comes.
    """

    def __init__(self) -> None:
        self._small = bytearray(RECEIVE_BYTES)
        self._filled = 0
        # The frame that is larger than that, while it is coming, and how much of it is there.
        self._large: bytearray | None = None

    def room(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        return memoryview(self._small if self._large is None else self._large)[self._filled :]

    def received(self, count: int) -> list[bytes]:
        """So many bytes have come: the frames that are complete now. Raises ProtocolError when they make no sense."""
        self._filled += count
        large = self._large
        if large is None:
            return self._cut()
        if self._filled < len(large):
            return []
        self._large, self._filled = None, 0
        # As good as bytes for whoever decodes it, and not another copy of a megabyte.
        return [large]  # type: ignore[list-item]

    def feed(self, data: bytes | bytearray) -> list[bytes]:
        """The same for bytes that were received elsewhere."""
        frames = []
        view = memoryview(data)
        while view:
            room = self.room()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            room.release()
            frames += self.received(count)
            view = view[count:]
        return frames

    def _cut(self) -> list[bytes]:
        """The whole frames of what has come; the rest moves to the front, or into a buffer of its own."""
        small, filled, at = self._small, self._filled, 0
        frames = []
        while filled - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(small, at)
            if length > limits.MESSAGE_BYTES_MAX:
                self._filled = 0
                raise ProtocolError(f"a frame of {length} bytes, the limit is {limits.MESSAGE_BYTES_MAX}")
            stop = at + _LENGTH.size + length
            if stop > filled:
                if _LENGTH.size + length > len(small):
                    self._large = bytearray(length)
                    at += _LENGTH.size
                break
            frames.append(bytes(memoryview(small)[at + _LENGTH.size : stop]))
            at = stop
        rest = self._filled = filled - at
        if rest and at:
            (small if self._large is None else self._large)[:rest] = small[at:filled]
        return frames


class Channel:
    """A daemon's end of a pipe to a child. What the socket does not take at once waits in ``unsent_bytes``.

    ``closed`` says that the child's end is gone; whether the child is, only its pidfd can tell. Once something has made
    no sense, here or to who decodes it, the channel is ``distrusted``: what follows is read and thrown away, because a
    child that wrote rubbish may go on with a whole frame, which nobody should believe any more.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._reader = FrameReader()
        self._unsent: deque[memoryview] = deque()
        self.unsent_bytes = 0
        self.closed = False
        self.distrusted = False

    def fileno(self) -> int:
        """To be polled for reading, and for writing while ``unsent_bytes`` is not 0."""
        return self._socket.fileno()

    def send(self, *pieces: bytes | bytearray) -> None:
        """Send a frame, in one piece or several, or as much of it as goes now."""
        self._unsent.extend(map(memoryview, pieces))
        self.unsent_bytes += sum(map(len, pieces))
        self.write()

    def write(self) -> None:
        """Send what is unsent, as far as the socket takes it."""
        unsent = self._unsent
        try:
            while unsent:
                sent = self._socket.sendmsg(islice(unsent, _PIECES_PER_SEND))
                self.unsent_bytes -= sent
                while unsent and sent >= len(unsent[0]):
                    sent -= len(unsent.popleft())
                if sent:
                    unsent[0] = unsent[0][sent:]
        except BlockingIOError:
            return
        except OSError:
            unsent.clear()
            self.unsent_bytes = 0

    def read(self, bytes_max: int) -> Iterator[bytes]:
        """The frames that are there, up to about so many bytes. Raises ProtocolError when the stream makes no sense."""
        reader = self._reader
        while bytes_max > 0:
            room = reader.room()
            try:
                count = self._socket.recv_into(room)
            except BlockingIOError:
                return
            except ConnectionError:
                count = 0
            if not count:
                self.closed = True
                return
            try:
                frames = reader.received(count)
            except ProtocolError:
                if not self.distrusted:
                    self.distrusted = True
                    raise
                frames = []
            if not self.distrusted:
                yield from frames
            # Of a large frame the next piece is on its way, and the rest of the loop costs more than asking for it.
            if count < len(room) <= RECEIVE_BYTES:
                return
            bytes_max -= count

    def end(self) -> None:
        """Tell the child that nothing more will come."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give the socket up."""
        self._socket.close()
