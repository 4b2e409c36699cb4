"""TaskResult, and the blocks in which results travel from the master to a generator or a results file.

A block keeps its columns; a ``TaskResult`` is a row that has its value and makes everything else that it is asked for.
That is what makes a million results a second affordable for a generator that only looks at ``value``.
"""

import array
import contextlib
import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from cyclone.errors import CycloneError
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord, ResultColumns
from cyclone.values import decode as _decode

_COMPLETED = states.COMPLETED
_COMPLETED_BYTE, _FAILED_BYTE = bytes([states.COMPLETED]), bytes([states.FAILED])
# What reading bytes that hold anything at all can raise, in a block and in what it holds.
UNREADABLE = (msgspec.MsgspecError, CycloneError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError)


class RecordedBlock(msgspec.Struct, array_like=True, gc=False):
    """Results as the master recorded them: consecutive task ids, with what each task was.

    ``args`` and ``statuses`` have a row per task, ``runs`` is ``[(task class, count), ...]``; ``accepted`` has a byte
    per row, 0 where the row was recorded earlier or by another attempt and must be passed over, or is None when all
    count. ``body`` is a ``ResultColumns`` in msgpack.
    """

    first: int
    attempt: int
    runs: list[tuple[str, int]]
    args: Sequence[bytes]
    statuses: bytes
    accepted: bytes | None
    body: bytes
    controller: str

    def count(self) -> int:
        """How many results count."""
        return len(self.statuses) - (0 if self.accepted is None else self.accepted.count(0))

    def completed(self) -> int:
        """How many of them are completed."""
        if self.accepted is None:
            return self.statuses.count(states.COMPLETED)
        return sum(
            1
            for status, taken in zip(self.statuses, self.accepted, strict=True)
            if taken and status == states.COMPLETED
        )

    def without(self, stretches: Iterable[tuple[int, int]]) -> "RecordedBlock":
        """Without these rows, ``(first row, count)`` each; a block of no rows where nothing else is left."""
        accepted = bytearray(b"\x01" * len(self.statuses)) if self.accepted is None else bytearray(self.accepted)
        for row, count in stretches:
            accepted[row : row + count] = bytes(count)
        if 1 in accepted:
            return msgspec.structs.replace(self, accepted=bytes(accepted))
        return msgspec.structs.replace(self, runs=[], args=[], statuses=b"", accepted=None, body=_NO_ROWS)

    def of_known_tasks(self) -> "RecordedBlock":
        """Without the rows of tasks that the journal has let go: they have no class any more, and no arguments."""
        if all(task_class for task_class, _ in self.runs):
            return self
        known = b"".join(bytes([bool(task_class)]) * count for task_class, count in self.runs)
        accepted = known if self.accepted is None else bytes(map(min, known, self.accepted))
        return msgspec.structs.replace(self, accepted=accepted)


class TaskResult(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The one result of a task: a row of a block. All attributes are read-only.

    >>> [result] = client.results(job_id)
    >>> result.state, result.ok, result.value, result.error
    ('completed', True, 120, None)

    ``value`` is what ``execute`` returned, None where it did not complete; ``task_id`` counts from 1; ``task_class`` is
    ``module:Class``.
    """

    # Made in C, a column at a time: 40 ns instead of 100, and what most generators look at is there without a call.
    value: Any
    task_id: int
    task_class: str
    _block: "OpenBlock"

    def __repr__(self) -> str:
        return f"<TaskResult {self.task_id} {self.state} of {self.task_class}>"

    @property
    def _row(self) -> int:
        return self.task_id - self._block.recorded.first

    @property
    def state(self) -> str:
        """``completed``, ``failed``, ``timed_out``, ``quarantined``, ``refused`` or ``cancelled``."""
        return states.STATE_NAMES[self._block.statuses[self._row]]

    @property
    def ok(self) -> bool:
        """Whether the task completed."""
        return self._block.statuses[self._row] == _COMPLETED

    @property
    def args(self) -> list[Any]:
        """The task's constructor properties in order."""
        properties: list[Any] = _decode(self._block.recorded.args[self._row])
        return properties

    @property
    def error(self) -> ErrorRecord | None:
        """``type``, ``message`` and remote ``traceback`` of what went wrong; None when completed."""
        if self.ok:
            return None
        error: ErrorRecord = self._block.outcomes[self._row]
        return error

    @property
    def attempt(self) -> int:
        """Which lease of the task this is the result of."""
        return self._block.recorded.attempt

    @property
    def controller(self) -> str:
        """The name of the controller that reported it."""
        return self._block.recorded.controller

    @property
    def worker_pid(self) -> int:
        """The process that executed it, 0 where none is known."""
        return self._block.columns.worker_pid

    @property
    def seconds(self) -> float:
        """Wall time of the attempt."""
        return self._block.seconds[self._row]

    @property
    def started(self) -> float:
        """Unix time at which the attempt started."""
        return self._block.started(self._row)

    @property
    def finished(self) -> float:
        """Unix time at which the attempt ended."""
        return self.started + self.seconds

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the attempt: measured, or below a millisecond its share of the batch by wall time."""
        return self._block.usage(self._row)[0]

    @property
    def peak_bytes(self) -> int:
        """Peak resident memory of the worker and its children during the task or, below a millisecond, its batch."""
        return self._block.usage(self._row)[1]


class OpenBlock:
    """A recorded block with its columns decoded: iterates over the results that count.

    ``outcomes`` has a row per task: what ``read_value`` made of its value, or its ``ErrorRecord``. The master records
    what a controller sends without opening it, so it may be anything: where a value cannot be read, its task shows here
    as failed with an error of type ``UnreadableResult``, and where the columns cannot, all of the block's tasks do.

    Raises ValueError where the columns that are the master's own do not fit each other.
    """

    def __init__(self, recorded: RecordedBlock, read_value: Callable[[bytes], Any] = _decode) -> None:
        self.recorded = recorded
        self.statuses = recorded.statuses
        rows = len(recorded.statuses)
        lengths = [len(recorded.args), sum(count for _, count in recorded.runs)]
        if recorded.accepted is not None:
            lengths.append(len(recorded.accepted))
        if lengths.count(rows) != len(lengths):
            raise ValueError(f"recorded columns of {lengths} rows beside {rows} statuses")
        self.outcomes: list[Any]
        try:
            self.columns, self.seconds = _read_columns(recorded.body, rows)
        except UNREADABLE as error:
            self.columns, self.seconds = ResultColumns([], b"", 0.0, 0), unpack_seconds(bytes(8 * rows))
            self.statuses = recorded.statuses.replace(_COMPLETED_BYTE, _FAILED_BYTE)
            self.outcomes = [_unreadable(error)] * rows
        else:
            self.outcomes = self._read_outcomes(read_value)
        self._measured = {row: (cpu_s, peak) for row, cpu_s, peak in self.columns.usage}

    def _read_outcomes(self, read_value: Callable[[bytes], Any]) -> list[Any]:
        values = self.columns.values
        if self.statuses.count(_COMPLETED) == len(values):
            # Nearly every block: no look at a single row is needed.
            with contextlib.suppress(*UNREADABLE):
                return list(map(read_value, values))
        outcomes: list[Any] = []
        statuses = bytearray(self.statuses)
        for row, packed in enumerate(values):
            try:
                outcomes.append(read_value(packed) if statuses[row] == _COMPLETED else _decode_error(packed))
            except UNREADABLE as error:
                outcomes.append(_unreadable(error))
                if statuses[row] == _COMPLETED:
                    statuses[row] = states.FAILED
        self.statuses = bytes(statuses)
        return outcomes

    def __iter__(self) -> Iterator[TaskResult]:
        recorded, values = self.recorded, self.outcomes
        if self.statuses.count(_COMPLETED) < len(values):
            pairs = zip(self.statuses, values, strict=True)
            values = [outcome if status == _COMPLETED else None for status, outcome in pairs]
        classes = itertools.chain.from_iterable(itertools.starmap(itertools.repeat, recorded.runs))
        results = map(TaskResult, values, itertools.count(recorded.first), classes, itertools.repeat(self))
        return results if recorded.accepted is None else itertools.compress(results, recorded.accepted)

    def started(self, row: int) -> float:
        """Unix time at which the attempt of a row started."""
        return self._starts[row]

    def usage(self, row: int) -> tuple[float, int]:
        """CPU seconds and peak bytes of a row."""
        measured = self._measured.get(row)
        if measured is not None:
            return measured
        share = self.seconds[row] / self._shared_s if self._shared_s else 0.0
        return self.columns.cpu_s * share, self.columns.peak_bytes

    def usage_of_all(self) -> tuple[float, int]:
        """CPU seconds of all rows together, and the peak bytes of the one that took most."""
        measured = self._measured.values()
        cpu_s = sum(cpu_s for cpu_s, _ in measured) + (self.columns.cpu_s if self._shared_s else 0.0)
        peaks = [peak_bytes for _, peak_bytes in measured]
        if len(measured) < len(self.statuses):
            peaks.append(self.columns.peak_bytes)
        return cpu_s, max(peaks, default=0)

    @functools.cached_property
    def _starts(self) -> list[float]:
        return list(itertools.accumulate(self.seconds, initial=self.columns.started))

    @functools.cached_property
    def _shared_s(self) -> float:
        """Wall time of the rows that share the batch's CPU time."""
        if not self._measured:
            return sum(self.seconds)
        return sum(seconds for row, seconds in enumerate(self.seconds) if row not in self._measured)


_decode_columns = msgspec.msgpack.Decoder(ResultColumns).decode
_decode_error = msgspec.msgpack.Decoder(ErrorRecord).decode
encode_columns = msgspec.msgpack.Encoder().encode
_NO_ROWS = encode_columns(ResultColumns([], b"", 0.0, 0))


def _read_columns(body: bytes, rows: int) -> "tuple[ResultColumns, array.array[float]]":
    """A body's columns and its seconds; one of UNREADABLE where it holds something else."""
    columns = _decode_columns(body)
    seconds = unpack_seconds(columns.seconds)
    if len(columns.values) != rows or len(seconds) != rows:
        raise ValueError(f"{len(columns.values)} values and {len(seconds)} durations beside {rows} statuses")
    return columns, seconds


def _unreadable(error: Exception) -> ErrorRecord:
    return ErrorRecord("UnreadableResult", f"what the controller sent as the result cannot be read: {error}")


def pack_seconds(seconds: list[float]) -> bytes:
    """Durations as the wire's little-endian float64 column."""
    column = array.array("d", seconds)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def unpack_seconds(packed: bytes) -> "array.array[float]":
    """Durations from the wire's column; ValueError when it is torn."""
    column = array.array("d")
    column.frombytes(packed)
    if sys.byteorder == "big":
        column.byteswap()
    return column


def error_columns(
    error: ErrorRecord, worker_pid: int = 0, started: float = 0.0, seconds: float = 0.0, rows: int = 1
) -> bytes:
    """The body of a batch of results that are all the same error."""
    values = [encode_columns(error)] * rows
    return encode_columns(ResultColumns(values, pack_seconds([seconds] * rows), started, worker_pid))


@functools.lru_cache(maxsize=1)
def _kept_columns(body: bytes) -> tuple[ResultColumns, "array.array[float]", list[float]]:
    """A body's columns, its seconds and the starts of its rows; kept, because it is asked about row by row."""
    columns = _decode_columns(body)
    seconds = unpack_seconds(columns.seconds)
    return columns, seconds, list(itertools.accumulate(seconds, initial=columns.started))


def wants_retry(body: bytes, row: int) -> bool:
    """Whether a failure is one that its job wants tried again; not where nobody can read what it was."""
    try:
        columns, _, _ = _kept_columns(body)
        return _decode_error(columns.values[row]).retry
    except UNREADABLE:
        return False


def packed_error(body: bytes, row: int) -> bytes:
    """The ``ErrorRecord`` of a row, as it is; empty where it cannot be read."""
    try:
        return _kept_columns(body)[0].values[row]
    except UNREADABLE:
        return b""


def row_columns(body: bytes, row: int) -> bytes:
    """The body of a batch of one row of a batch; empty where it cannot be read."""
    try:
        columns, seconds, starts = _kept_columns(body)
        value, took_s = columns.values[row], pack_seconds([seconds[row]])
    except UNREADABLE:
        return b""
    records = [(0, name, packed) for of_row, name, packed in columns.records if of_row == row]
    return encode_columns(ResultColumns([value], took_s, starts[row], columns.worker_pid, records=records))


def columns_part(body: bytes, start: int, stop: int) -> bytes:
    """The body of a batch of some rows of a batch; empty where it cannot be read.

    CPU time that rows share is cut by wall time.
    """
    try:
        columns, seconds, starts = _kept_columns(body)
        values, took_s = columns.values[start:stop], list(seconds[start:stop])
        if not len(values) == len(took_s) == stop - start:
            return b""
        started = starts[start]
        share = sum(took_s) / whole_s if (whole_s := sum(seconds)) else 0.0
    except UNREADABLE:
        return b""
    usage = [(row - start, cpu_s, peak) for row, cpu_s, peak in columns.usage if start <= row < stop]
    records = [(row - start, name, packed) for row, name, packed in columns.records if start <= row < stop]
    packed_s = pack_seconds(took_s)
    return encode_columns(
        ResultColumns(
            values, packed_s, started, columns.worker_pid, columns.cpu_s * share, columns.peak_bytes, usage, records
        )
    )


def overruled_columns(body: bytes, rows: int, error: ErrorRecord) -> bytes:
    """The body of a batch whose rows all end with this error, whatever was reported of them: how long they ran stays.

    ``body`` is empty where nothing was reported, or nobody could read it.
    """
    if not body:
        return error_columns(error, rows=rows)
    values = [encode_columns(error)] * rows
    return encode_columns(msgspec.structs.replace(_decode_columns(body), values=values, records=[]))


def quarantine_columns(body: bytes, row: int, crashes: int) -> bytes:
    """The body of the one result of a quarantined task, from the crash report that was one too many."""
    try:
        columns, durations, starts = _kept_columns(body)
        cause = _decode_error(columns.values[row]).message
        started, seconds, pid = starts[row], durations[row], columns.worker_pid
    except UNREADABLE:
        cause, started, seconds, pid = "unknown", 0.0, 0.0, 0
    text = f"killed {crashes} worker{'s' * (crashes != 1)}, the last one: {cause}"
    return error_columns(ErrorRecord("Quarantined", text), pid, started, seconds)
