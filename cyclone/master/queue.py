"""The tasks that wait: first come, first served, and what was given back goes in front. PURE.

Fresh tasks lie in blocks as they came. Behind them there may be blocks that are *stored* only: a journal keeps them,
and this module no more than where they are, so that memory is bounded however much waits. Tasks that were leased before
lie as spans, ordered by id, so that a task that was given back keeps its place before all that came after it. The spans
are shared with the scheduler's index; this module only orders them, and counts what is open.
"""

import heapq
from collections import deque
from itertools import islice

from cyclone.master.spans import Span
from cyclone.protocol.runs import Runs, slice_runs


class _Block:
    """Fresh tasks, taken from the front; ``taken`` of them are gone, and ``bytes_left`` of their arguments are left."""

    __slots__ = ("args", "bytes_left", "first", "runs", "taken")

    def __init__(self, first: int, runs: Runs, args: list[bytes], args_bytes: int) -> None:
        self.first = first
        self.runs = runs
        self.args = args
        self.taken = 0
        self.bytes_left = args_bytes

    def take(self, count_max: int, bytes_max: int) -> Span:
        """A span off the front: at least one task, else within both bounds."""
        start, stop = self.taken, min(self.taken + count_max, len(self.args))
        if self.bytes_left > bytes_max:
            stop = min(stop, fitting(self.args, start, stop, bytes_max))
        self.taken = stop
        # Nearly every block goes in one piece: then nothing is copied, and nothing counted.
        args = self.args if stop - start == len(self.args) else self.args[start:stop]
        self.bytes_left = max(0, self.bytes_left - sum(map(len, args))) if stop < len(self.args) else 0
        return Span(self.first + start, 0, slice_runs(self.runs, start, stop), args)


def fitting(args: list[bytes], start: int, stop: int, bytes_max: int) -> int:
    """The first row that does not fit into bytes_max any more, but at least one row."""
    size = 0
    for row in range(start, stop):
        size += len(args[row])
        if size > bytes_max and row > start:
            return row
    return stop


class TaskQueue:
    """What waits to be leased. ``len`` counts what can be leased now, ``waiting`` also what is stored only."""

    def __init__(self) -> None:
        self._fresh: deque[_Block] = deque()
        self._stored: deque[tuple[int, int]] = deque()
        self._returned: list[tuple[int, int, Span]] = []
        self._pushes = 0
        self.fresh_count = 0
        self.fresh_bytes = 0
        self.stored_count = 0
        self.tasks_added = 0
        self.bytes_added = 0
        self.returned_count = 0
        self.offered_to = 0

    def __len__(self) -> int:
        return self.fresh_count + self.returned_count

    @property
    def waiting(self) -> int:
        """All that has no lease."""
        return self.fresh_count + self.returned_count + self.stored_count

    @property
    def bytes_in_memory(self) -> int:
        """About how large the arguments are that can be leased now: what was given back is taken to be average."""
        return self.fresh_bytes + self.returned_count * self.mean_bytes

    @property
    def mean_bytes(self) -> int:
        """How large the arguments of a task are, on average."""
        return self.bytes_added // self.tasks_added if self.tasks_added else 0

    def stored_within(self, first: int, last: int) -> int:
        """How many tasks from ``first`` to ``last`` are not in memory."""
        return sum(max(0, min(start + count - 1, last) - max(start, first) + 1) for start, count in self._stored)

    def add_fresh(self, first: int, runs: Runs, args: list[bytes], args_bytes: int) -> None:
        """Tasks that were never leased, behind all others."""
        block = _Block(first, runs, args, args_bytes)
        self._fresh.append(block)
        self.fresh_count += len(args)
        self.fresh_bytes += block.bytes_left
        self.tasks_added += len(args)
        self.bytes_added += block.bytes_left

    def add_stored(self, first: int, count: int) -> None:
        """The same for a block that is not in memory."""
        self._stored.append((first, count))
        self.stored_count += count

    def next_stored(self, count: int) -> list[int]:
        """With which ids the next stored blocks begin, at most so many."""
        return [first for first, _ in islice(self._stored, count)]

    def next_fresh(self) -> int | None:
        """The first id that take_fresh would give, None when there is none."""
        return self._fresh[0].first + self._fresh[0].taken if self._fresh else None

    def holds_up_to(self, last_id: int) -> bool:
        """Whether a task up to this id has never been leased."""
        first = self.next_fresh()
        if first is None and self._stored:
            first = self._stored[0][0]
        return first is not None and first <= last_id

    def load(self, first: int, runs: Runs, args: list[bytes], args_bytes: int) -> None:
        """The next stored block is in memory now."""
        expected, count = self._stored.popleft()
        assert (expected, count) == (first, len(args)), f"block {expected} with {count} tasks was to be loaded"
        self.stored_count -= count
        self.add_fresh(first, runs, args, args_bytes)

    def add_returned(self, span: Span) -> None:
        """A span without a holder, in front of what has higher ids."""
        self.returned_count += span.open_count
        self.push(span)

    def push(self, span: Span) -> None:
        """Order a part of a waiting span that was cut; its tasks are counted already."""
        self._pushes += 1
        heapq.heappush(self._returned, (span.first, self._pushes, span))

    def next_returned(self) -> Span | None:
        """The waiting span with the lowest ids, None when only fresh tasks wait. It stays until it has a holder."""
        while self._returned:
            span = self._returned[0][2]
            if span.holder is None and span.open_count:
                return span
            heapq.heappop(self._returned)
        return None

    def take_fresh(self, count_max: int, bytes_max: int) -> Span | None:
        """A span of fresh tasks within the bounds (but at least one task), None when there is none.

        ``offered_to`` is the last id of the last block of which something was taken.
        """
        if not self._fresh:
            return None
        block = self._fresh[0]
        self.fresh_bytes -= block.bytes_left
        span = block.take(count_max, bytes_max)
        self.fresh_count -= span.count
        self.fresh_bytes += block.bytes_left
        self.offered_to = block.first + len(block.args) - 1
        if block.taken == len(block.args):
            self._fresh.popleft()
        return span
