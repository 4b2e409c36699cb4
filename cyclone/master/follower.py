"""Results in the order of their numbers, for whoever takes them one by one: out of the journal when it is behind, live
when it has caught up. And where there is no journal, the latest of them in memory.

Owns the place of one reader, and of what it read ahead nothing. Must not know who reads. The caller owes: results that
are recorded just now go past ``follows`` before ``next`` is asked for them.
"""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Earlier(Protocol[T_co]):
    """Where results come from that were recorded earlier: see ``Journal.results_after``."""

    def results_after(self, number: int) -> Iterator[tuple[int, T_co]]:
        """In order, from the number behind this one on, and what is recorded meanwhile."""


class Follower(Generic[T]):
    """``position`` is the number of the last results that were passed on."""

    def __init__(self, earlier: Earlier[T], position: int) -> None:
        self.position = position
        self._earlier = earlier
        self._reading: Iterator[tuple[int, T]] | None = None

    def follows(self, number: int) -> bool:
        """Whether results that are recorded just now are the next ones; then they count as passed on."""
        if number != self.position + 1:
            return False
        self.position = number
        self._reading = None
        return True

    def next(self, last: int) -> tuple[int, T] | None:
        """The next results that were recorded earlier, with their number; ``last`` is that of the latest there are.

        The number jumps where some are not to be had any more. None: there are none at all up to ``last``.
        """
        if self._reading is None:
            self._reading = self._earlier.results_after(self.position)
        reading, self._reading = self._reading, None
        # Where that raises, or ends, nothing of it is used again.
        found = next(reading, None)
        if found is not None:
            self.position = found[0]
            # A reader that has caught up would keep what it has read.
            self._reading = reading if found[0] < last else None
        return found

    def go_to(self, position: int) -> None:
        """Go on behind this number."""
        self.position = position
        self._reading = None


class Recent:
    """The latest results in memory, up to so many bytes; beyond them the oldest go, and are counted.

    ``number`` is that of the last results before the first that is added.
    """

    def __init__(self, number: int, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        # In order of their numbers, without a gap up to the last.
        self._kept: dict[int, bytes] = {}
        self.last = number
        self.bytes = 0
        self.dropped = 0

    def add(self, number: int, sealed: bytes) -> None:
        """The next results; one block is kept in any case."""
        assert number == self.last + 1, f"results {number} come behind {self.last}"
        self._kept[number] = sealed
        self.last = number
        self.bytes += len(sealed)
        while self.bytes > self._bytes_max and len(self._kept) > 1:
            self._drop_oldest()
            self.dropped += 1

    def forget(self, number: int) -> None:
        """Nobody asks for results up to this number any more."""
        while self._kept and self._oldest <= number:
            self._drop_oldest()

    def results_after(self, number: int) -> Iterator[tuple[int, bytes]]:
        """See ``Earlier``."""
        while number < self.last:
            number = max(number + 1, self._oldest)
            if number > self.last:
                return
            yield number, self._kept[number]

    @property
    def _oldest(self) -> int:
        return self.last + 1 - len(self._kept)

    def _drop_oldest(self) -> None:
        self.bytes -= len(self._kept.pop(self._oldest))
