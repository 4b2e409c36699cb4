"""Results of a submitted job, from blocks of results, whoever keeps them: as blocks of the job, and as rows of a list.

Owns how a block is cut to a job, how a row is made of a block's columns, and where a page of rows ends. Values are not
opened: only the columns are, and what says why a task did not complete.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from cyclone.protocol import states
from cyclone.protocol.job_lists import COMPLETED, PROCESSED
from cyclone.protocol.job_messages import JobBlock, TaskRow
from cyclone.protocol.limits import BATCH_BYTES_TARGET, TASKS_PER_BATCH_MAX, TEXT_CHARS_MAX
from cyclone.protocol.messages import OUTPUT_RECORD
from cyclone.results import OpenBlock, RecordedBlock, columns_part

# About what a row takes in a message besides its bytes.
_ROW_BYTES = 128
# A page has so many rows at most, and looks at so many that it does not show: some 5 ms.
_ROWS_MAX = 1024
_LOOKS_MAX = TASKS_PER_BATCH_MAX
# What it costs to pass a block over, in rows.
_PASSED_OVER = 16


OwnOptions = tuple[float | None, float | None]
"""Of a task: its not-before (Unix time) and its time limit in seconds; None for what its job says."""


class Stretch(NamedTuple):
    """Of a block the rows with indexes from ``low`` up to ``high``; without a block, that nothing there is wanted."""

    low: int
    high: int
    block: JobBlock | None


def _nothing(_: JobBlock) -> Sequence[bytes]:
    return ()


class Wanted(NamedTuple):
    """Which rows, and what of them: from an index on, in these states (none for all), with their values or not;
    who has none has the traceback of its error instead.

    ``args_of`` gives the arguments of a block's tasks, a row for each, or nothing where nobody asked; ``options_of``
    their own options, for the few rows that have some.
    """

    start: int
    states: Sequence[str]
    is_processed: Callable[[int], bool]
    with_values: bool
    args_of: Callable[[JobBlock], Sequence[bytes]] = _nothing
    options_of: Callable[[JobBlock], Mapping[int, OwnOptions]] = lambda _: {}

    def may_be_among(self, found: Collection[str]) -> bool:
        """Whether tasks whose recorded states are these can be meant."""
        return not self.states or any((COMPLETED if state == PROCESSED else state) in found for state in self.states)


def job_block(block: RecordedBlock, index: int, row: int, count: int) -> JobBlock:
    """Of a block the ``count`` rows from ``row`` on, which are a job's from ``index`` on, and nothing of the others."""
    statuses, accepted, body = block.statuses, block.accepted, block.body
    if count < len(statuses):
        rows = slice(row, row + count)
        statuses, body = statuses[rows], columns_part(body, row, row + count)
        accepted = None if accepted is None else accepted[rows]
    if accepted is not None and 0 not in accepted:
        accepted = None
    return JobBlock(index, block.first + row, block.attempt, statuses, accepted, body, block.controller)


def list_rows(stretches: Iterable[Stretch], wanted: Wanted, rows_max: int) -> tuple[list[TaskRow], int | None]:
    """A page of rows in the order of indexes, and where the next one starts: see ``Journal.task_rows``.

    The caller owes the stretches in the order of ``low``, from one on that reaches ``wanted.start``. Those that lie
    wholly before may be among them, and rows that do not count.
    """
    page = _Page(min(rows_max, _ROWS_MAX))
    # The next row of each stretch that is being read, by index.
    heads: list[tuple[int, int, TaskRow, Iterator[TaskRow]]] = []
    looked_at = 0
    for number, stretch in enumerate(stretches):
        if stretch.high <= wanted.start:
            continue
        if not page.take(heads, stretch.low):
            return page.rows, page.next
        if looked_at >= _LOOKS_MAX and stretch.low > wanted.start:
            return page.rows, stretch.low
        looked_at += _PASSED_OVER
        block = stretch.block
        if block and wanted.may_be_among({states.STATE_NAMES[status] for status in set(block.statuses)}):
            looked_at += len(block.statuses)
            rows = _rows(stretch, block, wanted)
            for row in rows:
                heapq.heappush(heads, (row.index, number, row, rows))
                break
    page.take(heads, None)
    return page.rows, page.next


class _Page:
    """Rows in their order, so many or about a mebibyte of them; ``next`` is the first that did not fit."""

    def __init__(self, rows_max: int) -> None:
        self.rows: list[TaskRow] = []
        self.next: int | None = None
        self._rows_max = rows_max
        self._bytes = 0

    def take(self, heads: list[tuple[int, int, TaskRow, Iterator[TaskRow]]], below: int | None) -> bool:
        """Add the rows with indexes below that; whether there was room for them."""
        while heads and (below is None or heads[0][0] < below):
            _, number, row, rows = heads[0]
            told = (row.args, row.value, row.error, row.traceback, row.printed)
            self._bytes += _ROW_BYTES + sum(map(len, told))
            if len(self.rows) >= self._rows_max or (self.rows and self._bytes > BATCH_BYTES_TARGET):
                self.next = row.index
                return False
            self.rows.append(row)
            following = next(rows, None)
            if following is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (following.index, number, following, rows))
        return True


def _rows(stretch: Stretch, block: JobBlock, wanted: Wanted) -> Iterator[TaskRow]:
    """The rows of a stretch that count and are wanted."""
    opened = open_block(block)
    args, options = wanted.args_of(block), wanted.options_of(block)
    records = opened.columns.records if wanted.with_values else []
    printed = {row: packed for row, name, packed in records if name == OUTPUT_RECORD}
    for row in range(max(stretch.low, wanted.start) - block.index, stretch.high - block.index):
        if block.accepted is not None and not block.accepted[row]:
            continue
        index = block.index + row
        state = states.STATE_NAMES[opened.statuses[row]]
        is_completed = state == COMPLETED
        if is_completed and wanted.is_processed(index):
            state = PROCESSED
        if wanted.states and state not in wanted.states:
            continue
        outcome = opened.outcomes[row]
        cpu_s, peak_bytes = opened.usage(row)
        not_before, time_limit_s = options.get(row, (None, None))
        yield TaskRow(
            index,
            block.task_id + row,
            state,
            block.attempt,
            block.controller,
            opened.started(row),
            opened.seconds[row],
            cpu_s,
            peak_bytes,
            "" if is_completed else f"{outcome.type}: {outcome.message}"[:TEXT_CHARS_MAX],
            args[row] if args else b"",
            outcome if is_completed and wanted.with_values else b"",
            not_before,
            time_limit_s,
            traceback="" if is_completed or not wanted.with_values else outcome.traceback,
            printed=b"" if is_completed else printed.get(row, b""),
        )


def open_block(block: JobBlock) -> OpenBlock:
    """Its columns, with the values as they are."""
    count = len(block.statuses)
    recorded = RecordedBlock(
        block.task_id,
        block.attempt,
        [("", count)],
        [b""] * count,
        block.statuses,
        block.accepted,
        block.body,
        block.controller,
    )
    return OpenBlock(recorded, bytes)
