"""Where the tasks of a job lie: by index in the job, and by task id. Ranges of indexes that grow together. PURE.

Both hold what is consecutive as one entry, because a job may have a hundred million tasks, and another job may get its
own between them.
"""

import bisect
from array import array
from collections.abc import Iterable, Iterator

Piece = tuple[int, int, int]
"""Consecutive tasks of a job: the index of the first, its task id, how many."""


class Extents:
    """The blocks of a job. Who comes later in the job has both a higher index and a higher task id."""

    __slots__ = ("_counts", "_firsts", "_indexes")

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self._indexes = array("q")
        self._firsts = array("q")
        self._counts = array("q")
        for index, first, count in pieces:
            self.add(index, first, count)

    def __iter__(self) -> Iterator[Piece]:
        return zip(self._indexes, self._firsts, self._counts, strict=True)

    def __len__(self) -> int:
        return len(self._indexes)

    @property
    def first_id(self) -> int:
        """The lowest task id; there must be one."""
        return self._firsts[0]

    @property
    def last_id(self) -> int:
        """The highest task id; there must be one."""
        return self._firsts[-1] + self._counts[-1] - 1

    def add(self, index: int, first: int, count: int) -> None:
        """A block. New ones come behind all others; only a replay puts one between."""
        place = len(self._indexes)
        if place and index < self._indexes[-1]:
            place = bisect.bisect_right(self._indexes, index)
        before = place - 1
        if (
            place
            and index == self._indexes[before] + self._counts[before]
            and first == self._firsts[before] + self._counts[before]
        ):
            self._counts[before] += count
            return
        self._indexes.insert(place, index)
        self._firsts.insert(place, first)
        self._counts.insert(place, count)

    def by_index(self, start: int, stop: int) -> Iterator[Piece]:
        """What lies at the indexes from ``start`` up to ``stop``, in order."""
        for place in range(max(0, bisect.bisect_right(self._indexes, start) - 1), len(self._indexes)):
            index, first, count = self._indexes[place], self._firsts[place], self._counts[place]
            if index >= stop:
                return
            low, high = max(index, start), min(index + count, stop)
            if low < high:
                yield low, first + low - index, high - low

    def by_id(self, start: int, stop: int) -> Iterator[Piece]:
        """What lies at the task ids from ``start`` up to ``stop``, in order."""
        for place in range(max(0, bisect.bisect_right(self._firsts, start) - 1), len(self._firsts)):
            index, first, count = self._indexes[place], self._firsts[place], self._counts[place]
            if first >= stop:
                return
            low, high = max(first, start), min(first + count, stop)
            if low < high:
                yield index + low - first, low, high - low


class IndexSet:
    """Indexes as ranges with both ends included: in order, apart, and with a gap between any two."""

    __slots__ = ("_firsts", "_lasts", "count")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self.count = 0
        for low, high in ranges:
            self.add(low, high)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        """How many ranges that takes."""
        return len(self._firsts)

    def __contains__(self, index: int) -> bool:
        place = bisect.bisect_right(self._firsts, index) - 1
        return place >= 0 and index <= self._lasts[place]

    def covers(self, low: int, high: int) -> bool:
        """Whether all of these are in it."""
        place = bisect.bisect_right(self._firsts, low) - 1
        return place >= 0 and high <= self._lasts[place]

    def within(self, low: int, high: int) -> list[tuple[int, int]]:
        """The ranges that have indexes from ``low`` up to ``high``."""
        places = range(bisect.bisect_left(self._lasts, low), bisect.bisect_left(self._firsts, high))
        return [(self._firsts[place], self._lasts[place]) for place in places]

    def add(self, low: int, high: int) -> None:
        """These too, whether they are in it or not."""
        left = bisect.bisect_left(self._lasts, low - 1)
        right = bisect.bisect_right(self._firsts, high + 1)
        self.count += high - low + 1
        if left < right:
            self.count -= sum(self._lasts[place] - self._firsts[place] + 1 for place in range(left, right))
            merged_low, merged_high = min(low, self._firsts[left]), max(high, self._lasts[right - 1])
            self.count += merged_high - merged_low - (high - low)
            low, high = merged_low, merged_high
        self._firsts[left:right] = [low]
        self._lasts[left:right] = [high]
