"""The tasks of one job that wait: first come, first served, and what was given back goes in front. PURE.

Fresh tasks lie in blocks as they came. Behind them there may be blocks that are *stored* only: a journal keeps them,
and this module no more than where they are, so that memory is bounded however much waits. Tasks that were leased before
lie as spans, ordered by id, so that a task that was given back keeps its place before all that came after it. The spans
are shared with the scheduler's index; this module only orders them, and counts what is open.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice

from cyclone.master.spans import Span
from cyclone.protocol.runs import Runs, slice_runs

# Up to this mean size, in bytes, to join arguments takes a third of the time of asking each for its length.
_JOINED_MEAN_MAX = 1024


class _Block:
    """Fresh tasks, taken from the front; ``taken`` of them are gone, and ``bytes_left`` of their arguments are left."""

    __slots__ = ("args", "bytes_left", "first", "job_id", "runs", "taken")

    def __init__(self, job_id: int, first: int, runs: Runs, args: list[bytes], args_bytes: int) -> None:
        self.job_id = job_id
        self.first = first
        self.runs = runs
        self.args = args
        self.taken = 0
        self.bytes_left = args_bytes

    def take(self, count_max: int, bytes_max: int) -> Span:
        """A span off the front: at least one task, else within both bounds."""
        args, count = self.args, len(self.args)
        start, stop = self.taken, min(self.taken + count_max, count)
        if self.bytes_left > bytes_max:
            stop = min(stop, fitting(args, start, stop, bytes_max))
        self.taken = stop
        # Nearly every block goes in one piece: then nothing is copied, and nothing counted.
        if stop - start < count:
            args = args[start:stop]
        if stop < count:
            is_small = self.bytes_left <= _JOINED_MEAN_MAX * (count - start)
            taken_bytes = len(b"".join(args)) if is_small else sum(map(len, args))
            self.bytes_left = max(0, self.bytes_left - taken_bytes)
        else:
            self.bytes_left = 0
        return Span(self.first + start, 0, slice_runs(self.runs, start, stop), args, job_id=self.job_id)


def fitting(args: list[bytes], start: int, stop: int, bytes_max: int) -> int:
    """The first row that does not fit into bytes_max any more, but at least one row."""
    size = 0
    for row in range(start, stop):
        size += len(args[row])
        if size > bytes_max and row > start:
            return row
    return stop


class Window:
    """What all queues of a master hold together: that is what memory is for."""

    __slots__ = ("bytes_added", "fresh_bytes", "fresh_count", "returned_count", "stored_count", "tasks_added")

    def __init__(self) -> None:
        self.fresh_count = 0
        self.fresh_bytes = 0
        self.stored_count = 0
        self.returned_count = 0
        self.tasks_added = 0
        self.bytes_added = 0

    @property
    def in_memory(self) -> int:
        """Tasks that wait and are not only in the journal."""
        return self.fresh_count + self.returned_count

    @property
    def waiting(self) -> int:
        """All that has no lease."""
        return self.fresh_count + self.returned_count + self.stored_count

    @property
    def bytes_in_memory(self) -> int:
        """About how large their arguments are: what was given back is taken to be average."""
        return self.fresh_bytes + self.returned_count * self.mean_bytes

    @property
    def mean_bytes(self) -> int:
        """How large the arguments of a task are, on average."""
        return self.bytes_added // self.tasks_added if self.tasks_added else 0


class TaskQueue:
    """What waits to be leased. ``in_memory`` counts what can be leased now, ``waiting`` also what is stored only.

    ``window`` has the sums over all queues, ``last_id`` is the highest id that ever waited here.
    """

    __slots__ = (
        "_fresh",
        "_pushes",
        "_returned",
        "_stored",
        "bytes_added",
        "fresh_count",
        "job_id",
        "last_id",
        "offered_to",
        "returned_count",
        "stored_count",
        "tasks_added",
        "window",
    )

    def __init__(self, job_id: int, window: Window) -> None:
        self._fresh: deque[_Block] = deque()
        self._stored: deque[tuple[int, int]] = deque()
        self._returned: list[tuple[int, int, Span]] = []
        self._pushes = 0
        self.job_id = job_id
        self.window = window
        self.last_id = 0
        self.fresh_count = 0
        self.stored_count = 0
        self.returned_count = 0
        self.tasks_added = 0
        self.bytes_added = 0
        self.offered_to = 0

    @property
    def in_memory(self) -> int:
        """What can be leased now."""
        return self.fresh_count + self.returned_count

    @property
    def waiting(self) -> int:
        """All that has no lease."""
        return self.fresh_count + self.returned_count + self.stored_count

    @property
    def head(self) -> int:
        """The first id that waits, 0 where nothing does."""
        if self.returned_count and (span := self.next_returned()):
            return span.first
        return self.next_new()

    def stored_within(self, first: int, last: int) -> int:
        """How many tasks from ``first`` to ``last`` are not in memory."""
        return sum(max(0, min(start + count - 1, last) - max(start, first) + 1) for start, count in self._stored)

    def add_fresh(self, first: int, runs: Runs, args: list[bytes], args_bytes: int) -> None:
        """Tasks that were never leased, behind all others."""
        count, window = len(args), self.window
        self.bytes_added += args_bytes
        self.tasks_added += count
        window.bytes_added += args_bytes
        window.tasks_added += count
        self.last_id = max(self.last_id, first + count - 1)
        self._fresh.append(_Block(self.job_id, first, runs, args, args_bytes))
        self.fresh_count += count
        window.fresh_count += count
        window.fresh_bytes += args_bytes

    def add_stored(self, first: int, count: int) -> None:
        """The same for a block that is not in memory."""
        self.last_id = max(self.last_id, first + count - 1)
        self._stored.append((first, count))
        self._count_stored(count)

    def next_stored(self, count: int) -> list[int]:
        """With which ids the next stored blocks begin, at most so many."""
        return [first for first, _ in islice(self._stored, count)]

    def next_fresh(self) -> int | None:
        """The first id that take_fresh would give, None when there is none."""
        return self._fresh[0].first + self._fresh[0].taken if self._fresh else None

    def next_new(self) -> int:
        """The first id that was never leased, wherever it lies; 0 where there is none."""
        if self._fresh:
            block = self._fresh[0]
            return block.first + block.taken
        return self._stored[0][0] if self._stored else 0

    def new_within(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """What was never leased of the ids from ``start`` up to ``stop``: from where to where, in order."""
        fresh = ((block.first + block.taken, block.first + len(block.args)) for block in self._fresh)
        for first, end in chain(fresh, ((first, first + count) for first, count in self._stored)):
            if first >= stop:
                return
            if end > start:
                yield max(first, start), min(end, stop)

    def holds_up_to(self, last_id: int) -> bool:
        """Whether a task up to this id has never been leased."""
        return 0 < self.next_new() <= last_id

    def load(self, first: int, runs: Runs, args: list[bytes], args_bytes: int) -> None:
        """The next stored block is in memory now."""
        expected, count = self._stored.popleft()
        assert (expected, count) == (first, len(args)), f"block {expected} with {count} tasks was to be loaded"
        self._count_stored(-count)
        self.add_fresh(first, runs, args, args_bytes)

    def unload(self) -> list[tuple[int, int]]:
        """Whatever is whole and was never offered is stored only, as before it was loaded: a journal has it.

        What that is: first ids and counts.
        """
        unloaded = []
        while self._fresh and not self._fresh[-1].taken:
            block = self._fresh.pop()
            count = len(block.args)
            self._stored.appendleft((block.first, count))
            self.fresh_count -= count
            self.window.fresh_count -= count
            self.window.fresh_bytes -= block.bytes_left
            self._count_stored(count)
            unloaded.append((block.first, count))
        return unloaded

    def add_returned(self, span: Span) -> None:
        """A span without a holder, in front of what has higher ids."""
        self._count_returned(span.open_count)
        self.push(span)

    def drop_returned(self, count: int) -> None:
        """So many tasks of spans that wait do so no more: they are held, or done."""
        self._count_returned(-count)
        if not self.returned_count:
            self._returned.clear()

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
        block, window = self._fresh[0], self.window
        before = block.bytes_left
        span = block.take(count_max, bytes_max)
        self.fresh_count -= span.count
        window.fresh_count -= span.count
        window.fresh_bytes += block.bytes_left - before
        count = len(block.args)
        self.offered_to = block.first + count - 1
        if block.taken == count:
            self._fresh.popleft()
        return span

    def _count_stored(self, count: int) -> None:
        self.stored_count += count
        self.window.stored_count += count

    def _count_returned(self, count: int) -> None:
        self.returned_count += count
        self.window.returned_count += count
