"""What the tasks of a job come to: sums over blocks of results, and over tasks that have none yet.

Owns how a block is added up without a look at each of its rows, and how far one answer goes. Values are not opened.
What a task comes to is what ``cyclone.task_rows`` tells of it.
"""

import bisect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from operator import itemgetter

import msgspec

from cyclone.error_kinds import OTHERS, error_kind
from cyclone.protocol import states
from cyclone.protocol.figure_messages import TaskFigures
from cyclone.protocol.job_lists import COMPLETED, PROCESSED
from cyclone.protocol.job_messages import JobBlock
from cyclone.results import OpenBlock
from cyclone.task_rows import Stretch, open_block

KINDS_MAX = 100
"""So many kinds of errors are told apart."""

Ranges = Sequence[tuple[int, int]]
"""Of indexes, both ends included, in their order."""

# What one answer looks at: some milliseconds. In rows of a block that is done; what else costs time, in such rows.
_COST_MAX = 32768
_COST_PER_BLOCK = 128
_COST_PER_ERROR = 20
_BODY_BYTES_PER_ROW = 512
# A row that does not count, in a column of statuses.
_NONE = 0xFF


class Figures:
    """Sums over tasks: see ``TaskFigures``, of which this is the form that grows."""

    def __init__(self) -> None:
        self.tasks: Counter[str] = Counter()
        self.nodes: set[str] = set()
        self.attempts = self.ran = self.peak_bytes = 0
        self.seconds = self.longest_s = self.cpu_s = self.finished = 0.0
        self.shortest_s = self.started = math.inf
        self._failures: dict[str, tuple[int, int]] = {}

    @property
    def failures(self) -> list[tuple[str, int, int]]:
        """Kinds of errors with how many there are and an index that shows it, the most frequent first."""
        found = ((kind, count, index) for kind, (count, index) in self._failures.items())
        return sorted(found, key=lambda one: -one[1])

    def add(self, more: TaskFigures) -> None:
        """Those of other tasks."""
        self.tasks.update(more.tasks)
        self.attempts += more.attempts
        self.nodes.update(more.nodes)
        for kind, count, index in more.failures:
            self._add_failure(kind, count, index)
        if more.ran:
            self._add_times(more.ran, more.seconds, more.shortest_s, more.longest_s, more.started, more.finished)
            self._add_usage(more.cpu_s, more.peak_bytes)

    def add_open(self, state: str, count: int, attempt: int, controller: str) -> None:
        """So many tasks without a result, all alike."""
        self.tasks[state] += count
        self.attempts += attempt * count
        if controller:
            self.nodes.add(controller)

    def add_block(self, block: JobBlock, low: int, high: int, processed: Ranges) -> None:
        """Of a block the tasks with indexes from ``low`` up to ``high``. ``processed`` are indexes that count so there.

        The caller owes that the block reaches from the one to the other.
        """
        opened = open_block(block)
        start, stop = low - block.index, high - block.index
        statuses = opened.statuses[start:stop]
        if block.accepted is not None:
            pairs = zip(statuses, block.accepted[start:stop], strict=True)
            statuses = bytes(status if counts else _NONE for status, counts in pairs)
        missing = statuses.count(_NONE)
        count = len(statuses) - missing
        if not count:
            return
        completed = statuses.count(states.COMPLETED)
        for status in set(statuses) - {_NONE} if completed < count else {states.COMPLETED}:
            self.tasks[states.STATE_NAMES[status]] += statuses.count(status)
        self._move_processed(statuses, low, processed)
        self.attempts += block.attempt * count
        if block.controller:
            self.nodes.add(block.controller)
        if completed < count:
            self._add_errors(opened, statuses, start, low)
        if count == len(block.statuses):
            self._add_all_rows(opened)
        else:
            self._add_rows(opened, [start + row for row, status in enumerate(statuses) if status != _NONE])

    def told(self) -> TaskFigures:
        """As they are sent."""
        figures = TaskFigures(dict(self.tasks), self.attempts, sorted(self.nodes), failures=self.failures)
        if not self.ran:
            return figures
        return msgspec.structs.replace(
            figures,
            ran=self.ran,
            seconds=self.seconds,
            shortest_s=self.shortest_s,
            longest_s=self.longest_s,
            cpu_s=self.cpu_s,
            peak_bytes=self.peak_bytes,
            started=self.started,
            finished=self.finished,
        )

    def _move_processed(self, statuses: bytes, low: int, processed: Ranges) -> None:
        for first, last in islice(processed, bisect.bisect_left(processed, low, key=itemgetter(1)), None):
            if first >= low + len(statuses):
                break
            count = statuses.count(states.COMPLETED, max(0, first - low), max(0, last + 1 - low))
            if count:
                self.tasks[COMPLETED] -= count
                self.tasks[PROCESSED] += count
        if COMPLETED in self.tasks and not self.tasks[COMPLETED]:
            del self.tasks[COMPLETED]

    def _add_errors(self, opened: OpenBlock, statuses: bytes, start: int, low: int) -> None:
        for row, status in enumerate(statuses):
            if status not in (states.COMPLETED, _NONE):
                error = opened.outcomes[start + row]
                self._add_failure(error_kind(f"{error.type}: {error.message}"), 1, low + row)

    def _add_failure(self, kind: str, count: int, index: int) -> None:
        if kind not in self._failures and len(self._failures) >= KINDS_MAX:
            kind = OTHERS
        before, example = self._failures.get(kind, (0, index))
        self._failures[kind] = before + count, example

    def _add_all_rows(self, opened: OpenBlock) -> None:
        started, seconds = opened.columns.started, opened.seconds
        # What was never started has no moment, as in a list.
        if started:
            total_s = sum(seconds)
            self._add_times(len(seconds), total_s, min(seconds), max(seconds), started, started + total_s)
            self._add_usage(*opened.usage_of_all())

    def _add_rows(self, opened: OpenBlock, rows: Sequence[int]) -> None:
        for row in rows:
            started, took_s = opened.started(row), opened.seconds[row]
            if started:
                self._add_times(1, took_s, took_s, took_s, started, started + took_s)
                self._add_usage(*opened.usage(row))

    def _add_times(
        self, ran: int, seconds: float, shortest_s: float, longest_s: float, started: float, finished: float
    ) -> None:
        self.ran += ran
        self.seconds += seconds
        self.shortest_s = min(self.shortest_s, shortest_s)
        self.longest_s = max(self.longest_s, longest_s)
        self.started = min(self.started, started)
        self.finished = max(self.finished, finished)

    def _add_usage(self, cpu_s: float, peak_bytes: int) -> None:
        self.cpu_s += cpu_s
        self.peak_bytes = max(self.peak_bytes, peak_bytes)


def add_up(
    stretches: Iterable[Stretch], start: int, stop: int, processed: Callable[[int, int], Ranges]
) -> tuple[Figures, int | None]:
    """Sums over results with indexes from ``start`` up to ``stop``, and where to go on: see ``Journal.task_figures``.

    The caller owes the stretches in the order of ``low``, from one on that reaches ``start``. Those that lie wholly
    before may be among them, and rows that do not count. ``processed`` gives the ranges of indexes that count so among
    those from the one up to the other.
    """
    found = Figures()
    taken: list[tuple[Stretch, JobBlock]] = []
    cost, following = 0, None
    for stretch in stretches:
        block = stretch.block
        if stretch.low >= stop:
            break
        if stretch.high <= start or block is None:
            continue
        # Whatever it costs, there must be an index behind which the next answer goes on.
        if cost >= _COST_MAX and stretch.low > start:
            following = stretch.low
            break
        taken.append((stretch, block))
        cost += _cost(block)
    end = min(stop if following is None else following, max((stretch.high for stretch, _ in taken), default=start))
    ranges = processed(start, end)
    for stretch, block in taken:
        found.add_block(block, max(stretch.low, start), min(stretch.high, end), ranges)
    return found, following


def _cost(block: JobBlock) -> int:
    rows = len(block.statuses)
    errors = rows - block.statuses.count(states.COMPLETED)
    return _COST_PER_BLOCK + rows + errors * _COST_PER_ERROR + len(block.body) // _BODY_BYTES_PER_ROW
