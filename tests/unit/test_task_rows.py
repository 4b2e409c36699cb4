"""Rows of a list, made of recorded results."""

import pytest

from cyclone.protocol import states
from cyclone.protocol.job_messages import JobBlock, TaskRow
from cyclone.protocol.messages import OUTPUT_RECORD, ErrorRecord, ResultColumns
from cyclone.results import encode_columns, pack_seconds
from cyclone.task_rows import Stretch, Wanted, list_rows
from cyclone.values import encode

PRINTED = encode({"stdout": b"said"})
TRACEBACK = 'Traceback (most recent call last):\n  File "work.py", line 7, in execute\nValueError: no\n'


def rows(count: int, with_values: bool, page: int = 100) -> tuple[list[TaskRow], int | None]:
    """Of a block in which every other task failed."""
    error = encode_columns(ErrorRecord("ValueError", "no", TRACEBACK * 100))
    outcomes = [error if row % 2 else encode(row) for row in range(count)]
    records = [(1, "other", b""), (1, OUTPUT_RECORD, PRINTED)]
    body = encode_columns(ResultColumns(outcomes, pack_seconds([0.1] * count), 1.7e9, 4711, records=records))
    statuses = bytes(states.FAILED if row % 2 else states.COMPLETED for row in range(count))
    block = JobBlock(0, 1, 1, statuses, None, body, "node1")
    wanted = Wanted(0, (), lambda _: False, with_values)
    return list_rows([Stretch(0, count, block)], wanted, page)


@pytest.mark.parametrize("with_values", [True, False])
def test_given_a_failed_task_then_its_traceback_comes_where_values_do(with_values: bool) -> None:
    found, following = rows(2, with_values)
    assert [row.traceback for row in found] == ["", TRACEBACK * 100 if with_values else ""]
    assert [row.printed for row in found] == [b"", PRINTED if with_values else b""]
    assert found[1].error == "ValueError: no"
    assert following is None


def test_given_long_tracebacks_then_a_page_ends_early() -> None:
    _, following = rows(1000, with_values=True, page=1000)
    assert following is not None
    assert rows(1000, with_values=False, page=1000)[1] is None
