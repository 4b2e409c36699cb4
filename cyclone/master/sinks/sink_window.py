"""Blocks on their way to one sink: what is gathered for the next message, and what is under way. PURE.

Owns the bounds: how much is gathered, how much may be unacknowledged, what fits a message. Like ``deliveries.py`` for
the generator: a sink that has nothing to do gets each block at once; while it is busy with two messages, blocks wait
here for company, up to a message full. The caller owes the blocks in order of their numbers, without a gap: for what is
not to be had any more ``skip``.
"""

from collections import deque

from cyclone.protocol import limits

BYTES_MAX = 8 << 20
"""What may be unacknowledged; one message may be in any case."""
MESSAGES_MAX = 64
# One that it spools, and one that it finds when it is done with that.
_MESSAGES_AT_ONCE = 2
# An empty block stands for one that is not to be had any more.
_GONE = b""


class Window:
    """``stored`` is the last number that the sink has on its disk, ``taken`` the last that was added here."""

    def __init__(self, stored: int) -> None:
        self.stored = self.taken = stored
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        # The last number of each message, and its bytes.
        self._under_way: deque[tuple[int, int]] = deque()
        self._under_way_bytes = 0
        self.probing = False

    @property
    def has_room(self) -> bool:
        """Whether more may be added: no message is full yet."""
        return not self._is_full

    @property
    def waits(self) -> bool:
        """Whether an answer of the sink is due."""
        return bool(self._under_way)

    def add(self, block: bytes) -> None:
        """The next block."""
        self.taken += 1
        self._gathered.append(block)
        self._gathered_bytes += len(block)

    def skip(self, number: int) -> bool:
        """All up to this number are not to be had any more; whether that is any."""
        count = max(0, number - self.taken)
        self._gathered += [_GONE] * count
        self.taken += count
        return count > 0

    def due(self) -> tuple[int, list[bytes]] | None:
        """What may be sent now: the number of the first block, and the blocks; it is under way then."""
        under_way = len(self._under_way)
        if not self._gathered or (under_way >= _MESSAGES_AT_ONCE and not self._is_full):
            return None
        if under_way and (self.probing or under_way >= MESSAGES_MAX or self._under_way_bytes >= BYTES_MAX):
            return None
        count, size = self._message()
        if under_way and self._under_way_bytes + size > BYTES_MAX:
            return None
        blocks, self._gathered = self._gathered[:count], self._gathered[count:]
        self._gathered_bytes -= size
        self._under_way_bytes += size
        last = self.taken - len(self._gathered)
        self._under_way.append((last, size))
        return last - count + 1, blocks

    def acknowledged(self, number: int) -> bool:
        """The sink has all up to this number; whether that can be: False for what it was never sent."""
        if number > (self._under_way[-1][0] if self._under_way else self.stored):
            return False
        self.stored = max(self.stored, number)
        while self._under_way and self._under_way[0][0] <= number:
            self._under_way_bytes -= self._under_way.popleft()[1]
        return True

    @property
    def _is_full(self) -> bool:
        blocks = len(self._gathered)
        return self._gathered_bytes >= limits.BATCH_BYTES_TARGET or blocks >= limits.BATCHES_PER_MESSAGE_MAX

    def _message(self) -> tuple[int, int]:
        """How many of the gathered blocks make the next message, and their bytes."""
        count = size = 0
        for block in self._gathered[: limits.BATCHES_PER_MESSAGE_MAX]:
            if count and size + len(block) > limits.BATCH_BYTES_TARGET:
                break
            count += 1
            size += len(block)
        return count, size
