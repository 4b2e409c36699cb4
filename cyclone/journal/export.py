"""``cyclone journal export``: a record for each task, in the order of ids.

Owns the format of the records; values and times are written as in results files (``cyclone.results_file``). It goes
through the journal block by block, with a read transaction for each, so that it may take as long as it likes beside a
running master: a task appears as it was when its block was read.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any, cast

import msgspec

from cyclone import json_values
from cyclone.journal import blocks
from cyclone.journal.blocks import Columns, Part
from cyclone.journal.job_queries import Processed
from cyclone.journal.reader import Reader
from cyclone.moments import rfc3339
from cyclone.protocol.job_lists import COMPLETED, PROCESSED
from cyclone.protocol.job_spec import GENERATOR_JOB
from cyclone.protocol.limits import TASKS_PER_BATCH_MAX
from cyclone.results import OpenBlock, RecordedBlock

QUEUED = "queued"
_CELLS = (
    *("id", "class", "args", "state", "value", "error_type", "error_message", "error_traceback"),
    *("attempt", "controller", "started", "finished", "job", "index"),
)

_NEXT_BLOCK = (
    "SELECT first, count, '' FROM tasks WHERE first = (SELECT min(first) FROM tasks WHERE first >= :at) UNION ALL "
    "SELECT first, count, ended FROM done WHERE first = (SELECT min(first) FROM done WHERE first >= :at) ORDER BY 1"
)
_NEXT_BLOCK_OF_JOB = (
    "SELECT b.first, b.count, coalesce(d.ended, '') FROM job_blocks b LEFT JOIN done d ON d.first = b.first"
    " WHERE b.job_id = :job AND b.first >= :at ORDER BY b.offset LIMIT 1"
)


class TaskRecord(msgspec.Struct, gc=False):
    """A task; names and order are those of the JSON object. A queued task has only the first four, and where it is of a
    submitted job that job's number and its own in it.
    """

    id: int
    task_class: str = msgspec.field(name="class")
    args: Any
    state: str
    value: Any = None
    error: dict[str, str] | None = None
    attempt: int | None = None
    controller: str | None = None
    started: str | None = None
    finished: str | None = None
    job: int | None = None
    index: int | None = None

    def cells(self) -> tuple[Any, ...]:
        """The record as a row of CSV: JSON text for ``args`` and ``value``, three cells for ``error``."""
        error = self.error or {}
        return (
            self.id,
            self.task_class,
            json_values.encode(self.args).decode(),
            self.state,
            None if error or self.state == QUEUED else json_values.encode(self.value).decode(),
            *(error.get(name) for name in ("type", "message", "traceback")),
            self.attempt,
            self.controller,
            self.started,
            self.finished,
            self.job,
            self.index,
        )


def export(path: Path, form: str, state: str | None, job_id: int | None = None) -> Iterator[bytes]:
    """The text of all tasks, or of those in a state or of a job, piece by piece; ``form`` is ``jsonl`` or ``csv``."""
    if form == "csv":
        yield _csv([_CELLS])
    for records in read_records(path, state, job_id):
        yield json_values.encode_lines(records) if form == "jsonl" else _csv(record.cells() for record in records)


def read_records(path: Path, state: str | None = None, job_id: int | None = None) -> Iterator[list[TaskRecord]]:
    """The records of all tasks, or of those in a state or of a submitted job, block by block."""
    recorded_state = COMPLETED if state == PROCESSED else state
    query = _NEXT_BLOCK if job_id is None else _NEXT_BLOCK_OF_JOB
    with Reader(path) as reader:
        at = 0
        while True:
            with reader.snapshot():
                rows = reader.db.execute(query, {"at": at, "job": job_id}).fetchall()
                if not rows:
                    return
                # The last is the JSON text of the counts by state of a closed block, else empty.
                first, count, ended = cast(tuple[int, int, str], rows[0])
                passed_over = state is not None and ended and f'"{recorded_state}"' not in ended
                records = [] if passed_over else _read_block(reader, first, count, bool(ended))
            at = first + count
            chosen = [record for record in records if state in (None, record.state)]
            if chosen:
                yield chosen


def _read_block(reader: Reader, first: int, count: int, closed: bool) -> list[TaskRecord]:
    columns, parts = _closed(reader, first) if closed else _open(reader, first, count)
    found: dict[int, TaskRecord] = {}
    for part in parts:
        recorded = reader.lookup.recorded(part)
        low, high = max(part.first, first) - part.first, min(part.end, first + count) - part.first
        taken = recorded.accepted or b"\x01" * len(part.statuses)
        recorded.accepted = bytes(low) + taken[low:high] + bytes(len(taken) - high)
        found.update((record.id, record) for record in _records(recorded))
    classes = chain.from_iterable(repeat(reader.lookup.task_class(job), length) for job, length in columns.runs)
    records = [
        found.get(task_id) or TaskRecord(task_id, task_class, json_values.from_packed(args), QUEUED)
        for task_id, (task_class, args) in enumerate(zip(classes, columns.args, strict=True), first)
    ]
    if columns.job_id != GENERATOR_JOB:
        processed = Processed(reader.db, columns.job_id)
        for index, record in enumerate(records, columns.offset):
            record.job, record.index = columns.job_id, index
            if record.state == COMPLETED and processed.has(index):
                record.state = PROCESSED
    return records


def _closed(reader: Reader, first: int) -> tuple[Columns, list[Part]]:
    block = reader.lookup.closed(first)
    assert block is not None, "the transaction that found it is still open"
    shared = [part for number in block.shared if (part := reader.lookup.part(number))]
    return block.columns, [*block.parts.values(), *shared]


def _open(reader: Reader, first: int, count: int) -> tuple[Columns, list[Part]]:
    columns = reader.lookup.tasks(first)
    assert columns is not None, "the transaction that found it is still open"
    rows = reader.db.execute(
        f"SELECT {blocks.RESULTS} FROM results WHERE first > ? AND first < ? ORDER BY number",
        (first - TASKS_PER_BATCH_MAX, first + count),
    )
    return columns, [part for part in map(blocks.part_of, rows) if part.count(first, first + count)]


def _records(recorded: RecordedBlock) -> Iterator[TaskRecord]:
    for result in OpenBlock(recorded, json_values.from_packed):
        row = result.task_id - recorded.first
        error = result.error
        yield TaskRecord(
            result.task_id,
            result.task_class,
            json_values.from_packed(recorded.args[row]),
            result.state,
            result.value,
            None if error is None else {"type": error.type, "message": error.message, "traceback": error.traceback},
            result.attempt,
            # What the master ended by its own word has run nowhere, and at no time.
            result.controller or None,
            rfc3339(result.started) if result.started else None,
            rfc3339(result.finished) if result.started else None,
        )


def _csv(rows: Iterable[tuple[Any, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
