"""Spans: runs of consecutive task ids that share an attempt and a holder. The scheduler's batch-sized task table.

PURE. A span keeps one byte per task, 1 while the task is open, so that leasing, recording and giving back are slices
and never a Python object per task. ``SpanIndex`` finds the spans that overlap a range of ids; its spans never overlap
each other. Tasks that were never leased live in the fresh queue and not in the index: an id that the index does not
know is done or fresh.
"""

import bisect
from collections.abc import Iterable, Iterator

from cyclone.protocol.job_spec import GENERATOR_JOB
from cyclone.protocol.messages import TaskRange
from cyclone.protocol.runs import Runs, slice_runs


class Span:
    """Tasks ``first .. first+count-1`` of the lane ``job_id``, open or done, all in the same attempt with the same
    holder.

    ``holder`` is the session that the span is leased to, None while it waits to be leased again. ``seq`` is the number
    of the message that leased it, ``leased_at`` the moment; while it is delayed, ``until`` is when that ends, and until
    ``over_at`` its lease may go on. ``epoch`` is that of the lease; 0 where an earlier epoch may have leased it and
    nobody has said so yet.
    """

    __slots__ = (
        "args",
        "attempt",
        "count",
        "epoch",
        "first",
        "holder",
        "job_id",
        "leased_at",
        "open",
        "open_count",
        "over_at",
        "runs",
        "seq",
        "until",
    )

    def __init__(
        self,
        first: int,
        attempt: int,
        runs: Runs,
        args: list[bytes],
        opened: bytearray | None = None,
        job_id: int = GENERATOR_JOB,
    ) -> None:
        self.job_id = job_id
        self.first = first
        self.attempt = attempt
        self.epoch = 0
        self.runs = runs
        self.args = args
        self.count = count = len(args)
        self.open = bytearray(b"\x01") * count if opened is None else opened
        self.open_count = count if opened is None else opened.count(1)
        self.holder: int | None = None
        self.seq = 0
        self.leased_at = self.until = self.over_at = 0.0

    @property
    def token(self) -> tuple[int, int]:
        """The fence: of two leases of a task the later one has the higher token."""
        return self.epoch, self.attempt

    @property
    def end(self) -> int:
        """One behind the last id."""
        return self.first + self.count

    def close(self, start: int, stop: int) -> int:
        """Mark the ids from start up to stop as done; how many were open."""
        low, high = start - self.first, stop - self.first
        closed = self.open.count(1, low, high)
        self.open[low:high] = bytes(high - low)
        self.open_count -= closed
        return closed

    def split(self, at: int) -> "Span":
        """Cut before the id ``at``; this span keeps what is below, the new span has the rest."""
        row = at - self.first
        runs = slice_runs(self.runs, row, self.count)
        right = Span(at, self.attempt, runs, self.args[row:], self.open[row:], self.job_id)
        right.epoch = self.epoch
        right.holder, right.seq, right.leased_at = self.holder, self.seq, self.leased_at
        right.until, right.over_at = self.until, self.over_at
        self.runs = slice_runs(self.runs, 0, row)
        # Not in place: the list is also that of an event or a message of this turn, which are not written yet.
        self.args = self.args[:row]
        self.count = row
        del self.open[row:]
        self.open_count -= right.open_count
        return right

    def open_ids(self) -> list[int]:
        """The ids that are not done."""
        return [self.first + row for row, mark in enumerate(self.open) if mark]

    def open_runs(self) -> list[tuple[int, int]]:
        """The stretches ``(first, stop)`` of ids that are not done."""
        found = []
        start = self.open.find(1)
        while start >= 0:
            stop = self.open.find(0, start)
            stop = self.count if stop < 0 else stop
            found.append((self.first + start, self.first + stop))
            start = self.open.find(1, stop)
        return found


class SpanIndex:
    """Disjoint spans by id."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._spans: dict[int, Span] = {}

    def __len__(self) -> int:
        return len(self._firsts)

    def __iter__(self) -> Iterator[Span]:
        return iter(list(self._spans.values()))

    def add(self, span: Span) -> None:
        """Take a span in; its ids must not be in the index."""
        # New leases have the highest ids of all, so that an append is the rule.
        if not self._firsts or span.first > self._firsts[-1]:
            self._firsts.append(span.first)
        else:
            bisect.insort(self._firsts, span.first)
        self._spans[span.first] = span

    def remove(self, span: Span) -> None:
        """Forget a span."""
        del self._spans[span.first]
        del self._firsts[bisect.bisect_left(self._firsts, span.first)]

    def split(self, span: Span, at: int) -> Span:
        """Cut a span of the index in two, see ``Span.split``."""
        right = span.split(at)
        self.add(right)
        return right

    def overlapping(self, start: int, stop: int) -> list[tuple[Span, int, int]]:
        """The spans with ids from start up to stop, each with the part it shares, in id order."""
        firsts, spans = self._firsts, self._spans
        found = []
        for place in range((bisect.bisect_right(firsts, start) or 1) - 1, len(firsts)):
            first = firsts[place]
            if first >= stop:
                break
            span = spans[first]
            end = first + span.count
            if end > start:
                found.append((span, first if first > start else start, end if end < stop else stop))
            if end >= stop:
                break
        return found


class Holdings:
    """What a controller says it holds, made searchable."""

    def __init__(self, held: Iterable[TaskRange]) -> None:
        # By lease, because a controller may hold two attempts of one task; within an attempt ranges are disjoint.
        self._by_token: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for part in held:
            self._by_token.setdefault((part.epoch, part.attempt), []).append((part.first, part.first + part.count))
        for ranges in self._by_token.values():
            ranges.sort()

    def has(self, part: TaskRange) -> bool:
        """Whether any of these tasks is held by this lease."""
        end = part.first + part.count
        return any(
            first < end and stop > part.first for first, stop in self._by_token.get((part.epoch, part.attempt), ())
        )

    def gaps(self, span: Span) -> list[tuple[int, int]]:
        """The stretches ``(start, stop)`` of a span that are not held and have open tasks."""
        ranges = self._by_token.get(span.token, [])
        at, gaps = span.first, []
        for first, end in ranges[max(0, bisect.bisect_right(ranges, (at, span.end)) - 1) :]:
            if first >= span.end:
                break
            if first > at:
                gaps.append((at, first))
            at = max(at, end)
        if at < span.end:
            gaps.append((at, span.end))
        return [(a, b) for a, b in gaps if span.open.find(1, a - span.first, b - span.first) >= 0]
