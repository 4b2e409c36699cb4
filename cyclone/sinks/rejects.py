"""Rows that no store will ever take, kept in a file with the reason: JSON lines, for people and for a second attempt.

Owns ``rejected.jsonl``. What is in it is on the disk before the batch of the row is committed, so that no row is lost
between the two. A kill just there leaves its line a second time, with the same ``cyclone_row``.
"""

import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from cyclone import json_values
from cyclone.folders import sync_folder
from cyclone.sinks.layouts import row_id
from cyclone.sinks.rows import Row

FILE_NAME = "rejected.jsonl"


class Reject(NamedTuple):
    """A row, the table that it was meant for, and why it is not there."""

    table: str
    row: Row
    error: str


class RejectFile:
    """See the module. Raises OSError where the disk does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, rejects: list[Reject]) -> None:
        """On the disk when it returns."""
        lines = b"".join(_line(reject) for reject in rejects)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(file).st_size
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            except OSError:
                # Half a line would spoil the next one.
                os.ftruncate(file, size)
                raise
            if not size:
                sync_folder(self.path.parent)
        finally:
            os.close(file)


def _line(reject: Reject) -> bytes:
    row = reject.row
    line = {
        "table": reject.table,
        "error": reject.error,
        "cyclone_row": row_id(row),
        "record": row.name,
        "task_id": row.task_id,
        "attempt": row.attempt,
        "node": row.node,
        "started": row.started,
        "fields": msgspec.Raw(json_values.encode_value(row.fields)),
    }
    return msgspec.json.encode(line) + b"\n"
