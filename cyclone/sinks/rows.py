"""What a recorded block holds, row by row: each task's result, and behind it the records that the task made.

Owns the reading of what controllers and generators wrote, for whoever stores it. Knows no spool, no socket and no
database. Nobody on the way has opened these bytes, so they may hold anything: what cannot be read is a row that says
so, never an exception.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from cyclone.protocol.messages import ErrorRecord
from cyclone.protocol.states import STATE_NAMES
from cyclone.results import UNREADABLE, OpenBlock, RecordedBlock, TaskResult
from cyclone.values import decode

RESULT = "result"
"""The name of the row that is a task's result itself."""

_decode_block = msgspec.msgpack.Decoder(RecordedBlock).decode


class Row(NamedTuple):
    """A result or a record. ``(journal_id, task_id, ordinal)`` is it alone, however often it comes.

    ``ordinal`` is 0 for the result itself, 1 and so on for the task's records in the order in which it made them.
    ``name`` is ``result``, or the record's; a record may have that name too, the ordinal tells. ``state`` and ``error``
    ("" or "Type: message") are the task's, except where this very row cannot be read: then its error says so and it
    has no fields. ``started`` is Unix time. ``fields`` are the record's; of a result ``{"value": ..., "args": [...]}``,
    where the value is None unless the task completed.
    """

    journal_id: str
    task_id: int
    attempt: int
    ordinal: int
    name: str
    state: str
    task_class: str
    node: str
    worker_pid: int
    started: float
    seconds: float
    cpu_s: float
    peak_bytes: int
    error: str
    fields: Mapping[str, Any]


def rows(journal_id: str, block: bytes) -> Iterator[Row]:
    """What a block holds, in the order of its tasks. One that cannot be read at all is one row of task 0."""
    try:
        opened = OpenBlock(_decode_block(block))
        if unknown := set(opened.statuses) - STATE_NAMES.keys():
            raise ValueError(f"there is no status {min(unknown)}")
    except UNREADABLE as error:
        text = _unreadable("block", error)
        yield Row(journal_id, 0, 0, 0, RESULT, "failed", "", "", 0, 0.0, 0.0, 0.0, 0, text, {})
        return
    made: defaultdict[int, list[tuple[str, bytes]]] = defaultdict(list)
    for of_row, name, packed in opened.columns.records:
        made[of_row].append((name, packed))
    first = opened.recorded.first
    for result in opened:
        row = _result_row(journal_id, result)
        yield row
        for ordinal, (name, packed) in enumerate(made.get(result.task_id - first, ()), 1):
            yield _record_row(row, ordinal, name, packed)


def _result_row(journal_id: str, result: TaskResult) -> Row:
    failure = result.error
    error = f"{failure.type}: {failure.message}" if isinstance(failure, ErrorRecord) else ""
    fields: Mapping[str, Any]
    try:
        fields = {"value": result.value, "args": result.args}
    except UNREADABLE as unreadable:
        error, fields = _unreadable("task's arguments", unreadable), {}
    return Row(
        journal_id,
        result.task_id,
        result.attempt,
        0,
        RESULT,
        result.state,
        result.task_class,
        result.controller,
        result.worker_pid,
        result.started,
        result.seconds,
        result.cpu_s,
        result.peak_bytes,
        error,
        fields,
    )


def _record_row(result: Row, ordinal: int, name: str, packed: bytes) -> Row:
    try:
        fields = decode(packed)
        if not isinstance(fields, dict):
            raise ValueError(f"it is a {type(fields).__name__}, where its fields belong")
    except UNREADABLE as error:
        return result._replace(ordinal=ordinal, name=name, error=_unreadable("record", error), fields={})
    return result._replace(ordinal=ordinal, name=name, fields=fields)


def _unreadable(what: str, error: Exception) -> str:
    return f"UnreadableRow: this {what} cannot be read: {error}"
