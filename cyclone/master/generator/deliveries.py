"""Results on their way to the generator: in order, in few frames, and never in one that is too large.

Owns what is gathered and how many frames are under way. A frame costs the generator far more than a result in it, so
that while it is busy with earlier ones, results wait here for company; a generator that waits gets each at once.
The caller owes: ``consumed`` whenever the generator tells how far it is, ``due`` at the end of each turn.
"""

from collections import deque

from cyclone.master.generator import feed_pipe
from cyclone.protocol import limits
from cyclone.results import RecordedBlock

# One that it works on, and one that it finds when it is done with that.
_UNDER_WAY_MAX = 2


class Deliveries:
    """``number`` is that of the last results that were added."""

    def __init__(self, number: int) -> None:
        self.number = number
        # Of so many blocks.
        self._pieces: list[bytes] = []
        self._blocks = 0
        self._bytes = 0
        # Frames that results did not fit into any more.
        self._full: list[list[bytes]] = []
        self._under_way: deque[int] = deque()

    def add(self, number: int, block: RecordedBlock) -> None:
        """Results, without a gap."""
        assert number == self.number + 1, f"results {number} delivered after {self.number}"
        # Encoded at once, so that the size is known: to count the arguments costs 12 ns a task.
        sealed = feed_pipe.seal(block)
        size = sum(map(len, sealed))
        if self._blocks and self._bytes + size > limits.BATCH_BYTES_TARGET:
            self._full.append(self._frame())
        self.number = number
        self._pieces += sealed
        self._blocks += 1
        self._bytes += size

    def consumed(self, number: int) -> None:
        """The generator has seen all results up to this number."""
        while self._under_way and self._under_way[0] <= number:
            self._under_way.popleft()

    def due(self) -> list[list[bytes]]:
        """What may go now: frames in pieces; those that are not full wait while the generator has enough to do."""
        due, self._full = self._full, []
        if self._blocks and len(self._under_way) < _UNDER_WAY_MAX:
            due.append(self._frame())
        return due

    def _frame(self) -> list[bytes]:
        pieces = feed_pipe.pack_sealed(self.number, self._blocks, self._pieces)
        self._under_way.append(self.number)
        self._pieces, self._blocks, self._bytes = [], 0, 0
        return pieces
