"""From a block of results to what its tasks returned or raised.

Owns how rows are read, by value or not. Knows no future and no thread.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from cyclone.client import byvalue
from cyclone.client.task_errors import task_error
from cyclone.errors import TaskError
from cyclone.protocol import states
from cyclone.protocol.job_messages import JobBlock
from cyclone.protocol.messages import ErrorRecord, ResultColumns
from cyclone.results import UNREADABLE
from cyclone.values import decode

_decode_columns = msgspec.msgpack.Decoder(ResultColumns).decode
_decode_error = msgspec.msgpack.Decoder(ErrorRecord).decode


class Raised:
    """In the place of a value: what the task raised, and whether somebody has cancelled it."""

    __slots__ = ("error", "is_cancelled")

    def __init__(self, error: BaseException, is_cancelled: bool = False) -> None:
        self.error = error
        self.is_cancelled = is_cancelled


class Segment(NamedTuple):
    """``rows`` results from the index ``first`` on: a value or ``Raised`` each. ``failed``: there are such."""

    first: int
    rows: int
    task_id: int
    values: list[Any]
    failed: bool


def count(block: JobBlock) -> int:
    """How many of the rows are results of the job."""
    return len(block.statuses) - (0 if block.accepted is None else block.accepted.count(0))


def segments(block: JobBlock, job_id: int, by_value: bool) -> Iterator[Segment]:
    """The rows that count, in one piece where all do. What cannot be read is an error of its own task."""
    rows = len(block.statuses)
    failed = block.statuses.count(states.COMPLETED) < rows
    try:
        packed = _decode_columns(block.body).values
        if len(packed) != rows:
            raise ValueError(f"{len(packed)} values beside {rows} statuses")
    except UNREADABLE as error:
        failed, values = True, [Raised(_unreadable(error)) for _ in range(rows)]
    else:
        values, failed = _read(block, packed, job_id, by_value, failed)
    if block.accepted is None:
        yield Segment(block.index, rows, block.task_id, values, failed)
        return
    start = 0
    while start < rows:
        stop = block.accepted.find(0, start)
        stop = rows if stop < 0 else stop
        if stop > start:
            yield Segment(block.index + start, stop - start, block.task_id + start, values[start:stop], failed)
        start = stop + 1


def _read(block: JobBlock, packed: list[bytes], job_id: int, by_value: bool, failed: bool) -> tuple[list[Any], bool]:
    if not failed:
        try:
            return (byvalue.read_values(packed) if by_value else list(map(decode, packed))), False
        except Exception:  # by value anything may be raised; it belongs to one row, found below
            failed = True
    values: list[Any] = []
    for row, (status, value) in enumerate(zip(block.statuses, packed, strict=True)):
        try:
            if status == states.COMPLETED:
                values.append(byvalue.read_values([value])[0] if by_value else decode(value))
            else:
                error = task_error(status, _decode_error(value), by_value, job_id, block.index + row)
                values.append(Raised(error, status == states.CANCELLED))
        except Exception as error:  # the same
            values.append(Raised(_unreadable(error)))
    return values, failed


def _unreadable(error: Exception) -> TaskError:
    found = TaskError(f"the result cannot be read here: {type(error).__name__}: {error}")
    found.__cause__ = error
    return found
