"""How the rows of the journal look inside: msgpack bodies, each with a checksum over the whole row.

Owns the encoding, and nothing that touches a database. Rows are blocks: nothing here loops over tasks, and what came
from a generator or a controller as bytes is stored as these bytes.
"""

import zlib
from dataclasses import replace
from itertools import compress
from typing import Any

import msgspec

from cyclone.errors import CycloneError
from cyclone.master.events import AttemptsEnded, ResultsRecorded, TasksAdded
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.protocol import states
from cyclone.protocol.job_spec import GENERATOR_JOB, RowOptions
from cyclone.protocol.limits import TASKS_PER_BATCH_MAX
from cyclone.protocol.messages import Job, ResultBatch
from cyclone.protocol.runs import Runs

Row = tuple[Any, ...]


class DamagedRow(CycloneError):
    """A row is not as it was written."""


class Part(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A ``ResultsRecorded`` as it is stored: the batch with its bytes, whichever of its rows count."""

    number: int
    first: int
    epoch: int
    attempt: int
    statuses: bytes
    accepted: bytes | None
    controller: str
    body: bytes

    @property
    def end(self) -> int:
        """One behind the last id."""
        return self.first + len(self.statuses)

    def counts(self, low: int, high: int) -> dict[str, int]:
        """How many accepted rows of the ids from ``low`` up to ``high`` ended in which state."""
        start, stop = max(low - self.first, 0), max(high - self.first, 0)
        statuses = self.statuses[start:stop]
        if self.accepted is not None:
            statuses = bytes(compress(statuses, self.accepted[start:stop]))
        # Nearly always all are completed, which a count sees at a tenth of what a set costs.
        found = sorted(set(statuses)) if statuses.count(states.COMPLETED) < len(statuses) else statuses[:1]
        return {states.STATE_NAMES[status]: statuses.count(status) for status in found}

    def count(self, low: int, high: int) -> int:
        """How many rows of the ids from ``low`` up to ``high`` are accepted."""
        start, stop = max(low - self.first, 0), min(max(high - self.first, 0), len(self.statuses))
        return max(0, stop - start) if self.accepted is None else self.accepted.count(1, start, stop)

    def is_within(self, low: int, high: int) -> bool:
        """Whether no id outside of ``low`` up to ``high`` has an accepted row."""
        if self.accepted is None:
            return low <= self.first and self.end <= high
        return self.count(low, high) == self.accepted.count(1)


class Done(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A closed block: the body of its row in ``tasks``, the results that lie wholly within it, and the numbers of those
    that stay in ``results``: it shares them with other blocks, or they are large.
    """

    tasks: bytes
    parts: list[Part]
    shared: list[int]


class Progress(msgspec.Struct, omit_defaults=True):
    """The one row that changes with nearly every turn.

    ``ended`` counts the tasks of all blocks that were ever closed, by state; ``dropped`` those of them that ``keep``
    has let go since, with ``dropped_numbers`` batches of results. Of both, ``jobs_ended`` and ``jobs_dropped`` are of
    submitted jobs. ``apart`` counts the tasks in closed blocks that stay for as long as their job says.
    ``generator_horizon`` is the highest id of the generator that was ever offered, None where nobody knows better than
    ``horizon``, of it and of all jobs.
    """

    last_id: int = 0
    number: int = 0
    horizon: int = 0
    generator: GeneratorProgress | None = None
    ended: dict[str, int] = {}
    dropped: dict[str, int] = {}
    dropped_numbers: int = 0
    last_job_id: int = 0
    jobs_ended: dict[str, int] = {}
    jobs_dropped: dict[str, int] = {}
    apart: int = 0
    generator_horizon: int | None = None


class Columns(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The body of a row of ``tasks``; the last three only where it is of a submitted job."""

    runs: Runs
    args: list[bytes]
    job_id: int = GENERATOR_JOB
    offset: int = 0
    options: tuple[RowOptions, ...] = ()


pack = msgspec.msgpack.Encoder().encode
_decode_columns = msgspec.msgpack.Decoder(Columns).decode
_decode_done = msgspec.msgpack.Decoder(Done).decode
_decode_progress = msgspec.msgpack.Decoder(Progress).decode
_decode_counts = msgspec.json.Decoder(dict[str, int]).decode
_decode_job = msgspec.msgpack.Decoder(Job).decode

TASKS = "first, count, crc, body"
RESULTS = "number, first, count, epoch, attempt, statuses, accepted, controller, crc, body"
ATTEMPTS = "first, count, epoch, attempt, status, controller, crc, body"
# With the body, where that is not larger than the parameter.
RESULTS_UP_TO = RESULTS.replace(" body", " CASE WHEN length(body) <= ? THEN body END")
DONE = "first, count, last_number, finished, ended, crc, body"
JOBS = "job_id, crc, body"
JOB_BLOCKS = "first, job_id, offset, count, apart"
CANCELLATIONS = "first, last, task_class, job_id, status, reason"
PROGRESS = "id, crc, body"


def checksum(body: bytes, *columns: Any) -> int:
    """Of a row: its body, and the other columns in their order, which a flipped bit would change as badly."""
    return zlib.crc32(body, zlib.crc32(pack(columns)))


def tasks_row(block: TasksAdded) -> Row:
    """A row of ``tasks``."""
    columns: Row = (block.runs, block.args)
    if block.job_id != GENERATOR_JOB:
        columns = (*columns, block.job_id, block.offset, block.options)
    body = pack(columns)
    count = len(block.args)
    return block.first, count, checksum(body, block.first, count), body


def results_row(event: ResultsRecorded) -> Row:
    """A row of ``results``."""
    batch = event.batch
    head = (event.number, batch.first, len(batch.statuses), batch.epoch, batch.attempt)
    columns = (*head, batch.statuses, event.accepted, event.controller)
    return (*columns, checksum(batch.body, *columns), batch.body)


def cut_attempts(event: AttemptsEnded) -> list[AttemptsEnded]:
    """The same in pieces of at most a batch, so that whatever overlaps an id is found near to it."""
    starts = range(event.first, event.first + event.count, TASKS_PER_BATCH_MAX)
    if len(starts) == 1:
        return [event]
    end = event.first + event.count
    return [replace(event, first=at, count=min(TASKS_PER_BATCH_MAX, end - at)) for at in starts]


def attempts_row(event: AttemptsEnded) -> Row:
    """A row of ``attempts``."""
    columns = (event.first, event.count, event.epoch, event.attempt, event.status, event.controller)
    return (*columns, checksum(event.body, *columns), event.body)


def job_row(job: Job) -> Row:
    """A row of ``jobs``."""
    body = pack(job)
    return job.job_id, checksum(body, job.job_id), body


def progress_row(progress: Progress) -> Row:
    """The row of ``progress``."""
    body = pack(progress)
    return 1, checksum(body, 1), body


def done_row(first: int, count: int, last_number: int, finished: int, ended: dict[str, int], done: Done) -> Row:
    """A row of ``done``."""
    body, counts = pack(done), msgspec.json.encode(ended).decode()
    columns = (first, count, last_number, finished, counts)
    return (*columns, checksum(body, *columns), body)


def check(table: str, row: Row) -> None:
    """DamagedRow where a row, with its columns as listed above, does not fit its checksum."""
    *columns, crc, body = row
    if checksum(body, *columns) != crc:
        raise DamagedRow(f"the row {row[0]} of the table {table} does not fit its checksum")


def columns_of(row: Row) -> Columns:
    """Of a row of ``tasks``."""
    check("tasks", row)
    return _decode_columns(row[-1])


def columns_in(done: Done) -> Columns:
    """Of a closed block."""
    return columns_of_body(done.tasks)


def columns_of_body(body: bytes) -> Columns:
    """Of a row of ``tasks`` that was checked."""
    return _decode_columns(body)


def block_of(first: int, columns: Columns) -> TasksAdded:
    """What was recorded, without keys."""
    return TasksAdded(
        first, columns.runs, columns.args, job_id=columns.job_id, offset=columns.offset, options=columns.options
    )


def part_of(row: Row) -> Part:
    """Of a row of ``results``."""
    check("results", row)
    return _part(row, row[-1])


def part_without_body(row: Row) -> Part:
    """The same of a row whose body was not read, so that nothing could be checked."""
    return _part(row, b"")


def _part(row: Row, body: bytes) -> Part:
    number, first, _, epoch, attempt, statuses, accepted, controller, _, _ = row
    return Part(number, first, epoch, attempt, statuses, accepted, controller, body)


def part_of_event(event: ResultsRecorded) -> Part:
    """Of what is just being recorded."""
    batch = event.batch
    head = (event.number, batch.first, batch.epoch, batch.attempt, batch.statuses, event.accepted, event.controller)
    return Part(*head, batch.body)


def event_of_part(part: Part, low: int, high: int, accepted: bytes | None) -> ResultsRecorded:
    """The part cut to the ids from ``low`` up to ``high``, without its body."""
    statuses = part.statuses[low - part.first : high - part.first]
    batch = ResultBatch(low, part.epoch, part.attempt, statuses, b"")
    return ResultsRecorded(part.number, batch, accepted, part.controller)


def attempts_of(row: Row) -> AttemptsEnded:
    """Of a row of ``attempts``."""
    check("attempts", row)
    first, count, epoch, attempt, status, controller, _, body = row
    return AttemptsEnded(first, count, epoch, attempt, status, controller, body)


def job_of(row: Row) -> Job:
    """Of a row of ``jobs``."""
    check("jobs", row)
    return _decode_job(row[-1])


def progress_of(row: Row) -> Progress:
    """Of the row of ``progress``."""
    check("progress", row)
    return _decode_progress(row[-1])


def done_of(row: Row) -> Done:
    """Of a row of ``done``."""
    check("done", row)
    return _decode_done(row[-1])


def counts_of(row: Row) -> dict[str, int]:
    """The tasks by state of a row of ``done``."""
    return counts_in(row[4])


def counts_in(text: str) -> dict[str, int]:
    """Of its column ``ended``."""
    return _decode_counts(text)


def add_counts(total: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    """The sums by state, as a new dict."""
    return {state: total.get(state, 0) + more.get(state, 0) for state in [*total, *(more.keys() - total.keys())]}
