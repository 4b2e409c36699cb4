"""The file of ``--results``: one record per task, as JSON lines, CSV or an SQLite table, by the file's ending.

Owns the format of the three; must not know where blocks come from. A record has these fields, in this order:

    task_id task_class args state value error attempt controller worker_pid started finished seconds cpu_seconds
    peak_memory_bytes

``args`` is the list of the constructor properties. ``value`` is absent (null, an empty cell, NULL) unless the state is
*completed*, ``error`` unless it is not.

    .jsonl   one object per line; ``error`` is an object of type, message, traceback; times are RFC 3339 text in UTC
             with microseconds, or null where a controller told one that is in no calendar
    .csv     RFC 4180 in UTF-8 with a header; ``args`` and ``value`` are JSON text, ``error`` is the columns error_type,
             error_message, error_traceback; times as in .jsonl
    .sqlite  the table ``results`` with the columns of .csv; times are seconds since 1970 (REAL), to calculate with

``cyclone.json_values`` says how a value that JSON does not have is written.

The caller owes ``flush`` now and then: what was flushed survives a kill of this process at any moment. A kill in the
middle of a write can leave one torn last line in .jsonl and .csv, never in .sqlite.
"""

import abc
import contextlib
from collections.abc import Callable
from itertools import accumulate, chain, repeat
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from cyclone import json_values
from cyclone.errors import ConfigError
from cyclone.moments import rfc3339
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord
from cyclone.results import OpenBlock, RecordedBlock

# Lines are gathered up to this size: a write call for each block of one task would cost more than the record.
_PENDING_BYTES_MAX = 256 * 1024


class ResultsFile(abc.ABC):
    """A results file that is being written, from one thread. OSError and sqlite3.Error say that the disk failed."""

    @abc.abstractmethod
    def write(self, block: RecordedBlock) -> None:
        """Add the block's results that count."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Hand everything written so far to the operating system."""

    @abc.abstractmethod
    def close(self) -> None:
        """Flush and close; the file is complete. Again has no effect."""


def open_results_file(path: Path, anew: bool = False) -> ResultsFile:
    """A new results file; ConfigError says what is wrong with the name.

    A file that holds anything is refused, not replaced and not appended to: it may be the result of a week, and mixed
    with another run's it would have two records for one task id. The folder must exist: made from a mistyped name, it
    would only be found when the results are missed. An existing empty file is taken, as ``mktemp`` makes it. With
    ``anew`` a file is replaced: the caller knows that it is of the same run, whose results it still has.
    """
    kinds: dict[str, Callable[[Path], ResultsFile]]
    kinds = {".jsonl": _JsonLinesFile, ".csv": _CsvFile, ".sqlite": _SqliteFile}
    open_kind = kinds.get(path.suffix.lower())
    if open_kind is None:
        raise ConfigError(f"results file {path}: its ending chooses the format and must be .jsonl, .csv or .sqlite")
    if not path.parent.is_dir():
        raise ConfigError(
            f"results file {path}: there is no folder {path.parent}; make it first, or choose another name"
        )
    if anew:
        _remove(path)
    return open_kind(path)


def _remove(path: Path) -> None:
    try:
        # What a killed run has left beside a database would be taken for the new one's.
        for name in (f"{path}-wal", f"{path}-shm", path) if path.suffix.lower() == ".sqlite" else (path,):
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"results file {path}: cannot be written anew: {error.strerror}") from error


def _create(path: Path) -> BinaryIO:
    """The file, new or empty, for unbuffered writing."""
    try:
        with contextlib.suppress(FileExistsError):
            return path.open("xb", buffering=0)
        if path.stat().st_size == 0:
            return path.open("wb", buffering=0)
    except OSError as error:
        raise ConfigError(f"results file {path}: cannot be written: {error.strerror}") from error
    raise ConfigError(f"results file {path}: holds results already; remove it, or choose another name")


class _Record(msgspec.Struct, gc=False):
    """A task's record; names and order are those of the JSON object. ``args`` and ``value`` are in JSON form."""

    task_id: int
    task_class: str
    args: Any
    state: str
    value: Any
    error: dict[str, str] | None
    attempt: int
    controller: str
    worker_pid: int
    started: str | float | None
    finished: str | float | None
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int

    def cells(self) -> tuple[Any, ...]:
        """The record as a row of a table: JSON text for ``args`` and ``value``, three cells for ``error``."""
        error = self.error
        return (
            self.task_id,
            self.task_class,
            json_values.encode(self.args).decode(),
            self.state,
            None if error else json_values.encode(self.value).decode(),
            *((error["type"], error["message"], error["traceback"]) if error else (None, None, None)),
            self.attempt,
            self.controller,
            self.worker_pid,
            self.started,
            self.finished,
            self.seconds,
            self.cpu_seconds,
            self.peak_memory_bytes,
        )


_CELLS = {
    "task_id": "INTEGER PRIMARY KEY",
    "task_class": "TEXT",
    "args": "TEXT",
    "state": "TEXT",
    "value": "TEXT",
    "error_type": "TEXT",
    "error_message": "TEXT",
    "error_traceback": "TEXT",
    "attempt": "INTEGER",
    "controller": "TEXT",
    "worker_pid": "INTEGER",
    "started": "REAL",
    "finished": "REAL",
    "seconds": "REAL",
    "cpu_seconds": "REAL",
    "peak_memory_bytes": "INTEGER",
}


class _TextFile(ResultsFile):
    """Whole lines, gathered and written at once, so that a kill rarely finds one half written."""

    def __init__(self, path: Path) -> None:
        self._file = _create(path)
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    @abc.abstractmethod
    def _lines(self, block: RecordedBlock) -> bytes: ...

    def write(self, block: RecordedBlock) -> None:
        if self._file.closed:
            raise ValueError("write to a closed results file")
        lines = self._lines(block)
        self._pending.append(lines)
        self._pending_bytes += len(lines)
        if self._pending_bytes >= _PENDING_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        rest = memoryview(b"".join(self._pending))
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        finally:
            # On a full disk the next attempt goes on at the byte where this one stopped, and no line is torn.
            self._pending = [bytes(rest)] if rest else []
            self._pending_bytes = len(rest)

    def close(self) -> None:
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()


class _JsonLinesFile(_TextFile):
    def _lines(self, block: RecordedBlock) -> bytes:
        return json_values.encode_lines(_records(block, rfc3339))


class _CsvFile(_TextFile):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._pending.append(self._text([tuple(_CELLS)]))
        self.flush()

    def _lines(self, block: RecordedBlock) -> bytes:
        return self._text([record.cells() for record in _records(block, rfc3339)])

    @staticmethod
    def _text(rows: list[tuple[Any, ...]]) -> bytes:
        import csv
        import io

        text = io.StringIO()
        # The line end stays CR LF: with another one, Python before 3.13 leaves a lone CR inside a cell unquoted.
        csv.writer(text).writerows(rows)
        return text.getvalue().encode()


class _SqliteFile(ResultsFile):
    def __init__(self, path: Path) -> None:
        import sqlite3

        _create(path).close()
        columns = ", ".join(f"{name} {kind}" for name, kind in _CELLS.items())
        self._insert = f"INSERT INTO results VALUES ({', '.join('?' * len(_CELLS))})"
        self._connection: sqlite3.Connection | None = sqlite3.connect(path, isolation_level=None)
        # With a write-ahead log a look into the file during the run, however long, cannot lock this writer out.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(f"CREATE TABLE results ({columns})")

    def write(self, block: RecordedBlock) -> None:
        if self._connection is None:
            raise ValueError("write to a closed results file")
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN")
        self._connection.executemany(self._insert, [record.cells() for record in _records(block, float)])

    def flush(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            self._connection.execute("COMMIT")

    def close(self) -> None:
        if self._connection is not None:
            try:
                self.flush()
            finally:
                self._connection.close()
                self._connection = None


def _records(recorded: RecordedBlock, as_time: Callable[[float], str | float | None]) -> list[_Record]:
    block = OpenBlock(recorded, json_values.from_packed)
    columns = block.columns
    accepted = recorded.accepted if recorded.accepted is not None else repeat(1, len(recorded.statuses))
    classes = chain.from_iterable(repeat(task_class, count) for task_class, count in recorded.runs)
    # A row starts where the one before it ended.
    times = [as_time(moment) for moment in accumulate(block.seconds, initial=columns.started)]
    records = []
    rows = zip(accepted, classes, recorded.args, block.statuses, block.outcomes, block.seconds, strict=True)
    for row, (taken, task_class, args, status, outcome, seconds) in enumerate(rows):
        if not taken:
            continue
        completed = status == states.COMPLETED
        records.append(
            _Record(
                recorded.first + row,
                task_class,
                json_values.from_packed(args),
                states.STATE_NAMES[status],
                outcome if completed else None,
                None if completed else _error(outcome),
                recorded.attempt,
                recorded.controller,
                columns.worker_pid,
                times[row],
                times[row + 1],
                seconds,
                *block.usage(row),
            )
        )
    return records


def _error(error: ErrorRecord) -> dict[str, str]:
    """What people get to see of it."""
    return {"type": error.type, "message": error.message, "traceback": error.traceback}
