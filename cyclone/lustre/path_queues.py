"""The paths that wait, first in first out by source OST, without holding them: places in input files, read as needed.

Owns for each source how many of its paths were taken, counted from the first file on: that number is all that a cursor
has to keep. A place is one number: that of the input file and the offset in it. The caller owes the runs of each index
in the order of the files.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from cyclone.lustre.path_index import Run

_OFFSET_BITS = 44
OFFSET_MAX = (1 << _OFFSET_BITS) - 1
FILES_MAX = 1 << (64 - _OFFSET_BITS)
# Offsets that are read at once for a source.
_AHEAD = 256

Offsets = Callable[[int, int, int], "array[int]"]
"""The offsets of a run: file number, position, count."""


def place_of(number: int, offset: int) -> int:
    """A record of an input file as one number."""
    return number << _OFFSET_BITS | offset


def split_place(place: int) -> tuple[int, int]:
    """Number of the file, offset of the record."""
    return place >> _OFFSET_BITS, place & OFFSET_MAX


class _Stretch(NamedTuple):
    """A run, or what is left of it."""

    number: int
    position: int
    paths: int


class _Queue:
    """One source. ``skip`` of its first paths were taken before a crash."""

    def __init__(self, skip: int) -> None:
        self.taken = self.skip = skip
        self.waiting = 0
        self.stretches: deque[_Stretch] = deque()
        self.places: deque[int] = deque()


class PathQueues:
    """See the module. ``waiting`` is how many paths wait in all."""

    def __init__(self, offsets: Offsets, taken: Mapping[int, int]) -> None:
        self._offsets = offsets
        self._queues = {ost: _Queue(count) for ost, count in taken.items()}
        self.waiting = 0

    def add(self, number: int, runs: Iterable[Run]) -> int:
        """The runs of a segment of this file; how many of its paths were not taken before."""
        added = 0
        for ost, count, position in runs:
            queue = self._queues.setdefault(ost, _Queue(0))
            skipped = min(queue.skip, count)
            queue.skip -= skipped
            if left := count - skipped:
                queue.stretches.append(_Stretch(number, position + 8 * skipped, left))
                queue.waiting += left
                added += left
        self.waiting += added
        return added

    def sources(self) -> dict[int, int]:
        """How many paths of each source wait."""
        return {ost: queue.waiting for ost, queue in self._queues.items()}

    def taken(self) -> dict[int, int]:
        """How many paths of each source were taken: what the constructor takes."""
        return {ost: queue.taken for ost, queue in self._queues.items() if queue.taken}

    def first(self, ost: int) -> int | None:
        """The place of the path that is next, None where none waits."""
        queue = self._queues.get(ost)
        if queue is None or not queue.waiting:
            return None
        if not queue.places:
            number, position, count = queue.stretches.popleft()
            now = min(count, _AHEAD)
            queue.places.extend(place_of(number, offset) for offset in self._offsets(number, position, now))
            if count > now:
                queue.stretches.appendleft(_Stretch(number, position + 8 * now, count - now))
        return queue.places[0]

    def take(self, ost: int) -> int:
        """Take the path that is next; its place."""
        place = self.first(ost)
        assert place is not None, f"no path of OST {ost} waits"
        queue = self._queues[ost]
        queue.places.popleft()
        queue.taken += 1
        queue.waiting -= 1
        self.waiting -= 1
        return place
