"""What is read of a recorded block: each result with its records behind it, and whatever cannot be read, as a row."""

import random
from typing import Any

import msgspec
import pytest

from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord, ResultColumns
from cyclone.results import RecordedBlock, encode_columns, pack_seconds
from cyclone.sinks.rows import Row, rows
from cyclone.values import encode

JOURNAL = "a" * 32
NONE = encode(None)
BROKEN = b"\xc1"


def packed(
    statuses: bytes = bytes([states.COMPLETED, states.FAILED]),
    values: list[bytes] | None = None,
    records: list[tuple[int, str, bytes]] | None = None,
    **changes: Any,
) -> bytes:
    """A block of two tasks, 7 and 8, of which the second failed."""
    error = encode_columns(ErrorRecord("ValueError", "no such file"))
    columns = ResultColumns(
        values if values is not None else [encode("read"), error],
        pack_seconds([2.0, 3.0]),
        1000.0,
        42,
        0.5,
        4096,
        [(1, 2.5, 8192)],
        records or [],
    )
    block = RecordedBlock(
        7, 3, [("tests:Task", 2)], [encode([1, "a"]), encode([2, "b"])], statuses, None, encode_columns(columns), "n1"
    )
    return msgspec.msgpack.encode(msgspec.structs.replace(block, **changes))


def test_given_a_block_then_each_result_is_a_row_with_all_that_is_known_of_it() -> None:
    assert list(rows(JOURNAL, packed())) == [
        Row(
            JOURNAL,
            task_id=7,
            attempt=3,
            ordinal=0,
            name="result",
            state="completed",
            task_class="tests:Task",
            node="n1",
            worker_pid=42,
            started=1000.0,
            seconds=2.0,
            cpu_s=0.5,
            peak_bytes=4096,
            error="",
            fields={"value": "read", "args": [1, "a"]},
        ),
        Row(
            JOURNAL,
            task_id=8,
            attempt=3,
            ordinal=0,
            name="result",
            state="failed",
            task_class="tests:Task",
            node="n1",
            worker_pid=42,
            started=1002.0,
            seconds=3.0,
            cpu_s=2.5,
            peak_bytes=8192,
            error="ValueError: no such file",
            fields={"value": None, "args": [2, "b"]},
        ),
    ]


def test_given_records_then_each_stands_behind_its_task_in_the_order_in_which_it_was_made() -> None:
    made = [
        (1, "io", encode({"ost": 1})),
        (0, "io", encode({"ost": 2, "size": None})),
        (1, "result", encode({})),
        (1, "io", encode({"ost": 3})),
    ]
    found = list(rows(JOURNAL, packed(records=made)))
    assert [(row.task_id, row.ordinal, row.name, dict(row.fields)) for row in found if row.ordinal] == [
        (7, 1, "io", {"ost": 2, "size": None}),
        (8, 1, "io", {"ost": 1}),
        (8, 2, "result", {}),
        (8, 3, "io", {"ost": 3}),
    ]
    assert [row.ordinal for row in found] == [0, 1, 0, 1, 2, 3]
    # What happened to the task is said of its records, too.
    assert {row.state for row in found if row.task_id == 8} == {"failed"}
    assert {row.error for row in found if row.task_id == 8} == {"ValueError: no such file"}


def test_given_rows_that_do_not_count_then_neither_they_nor_their_records_show() -> None:
    made = [(0, "io", encode({"ost": 1})), (1, "io", encode({"ost": 2}))]
    found = list(rows(JOURNAL, packed(records=made, accepted=b"\x00\x01")))
    assert [(row.task_id, row.ordinal) for row in found] == [(8, 0), (8, 1)]


@pytest.mark.parametrize(
    "block",
    [b"", b"rubbish", msgspec.msgpack.encode([1, 2]), packed(statuses=b"\x00"), packed(statuses=b"\x00\x63"), NONE],
    ids=["nothing", "rubbish", "too short", "torn columns", "no such status", "none"],
)
def test_given_a_block_that_cannot_be_read_then_it_is_one_row_that_says_so(block: bytes) -> None:
    (row,) = rows(JOURNAL, block)
    assert (row.journal_id, row.task_id, row.ordinal, row.state, dict(row.fields)) == (JOURNAL, 0, 0, "failed", {})
    assert row.error.startswith("UnreadableRow: this block cannot be read: ")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"body": BROKEN}, "UnreadableResult: "),
        ({"values": [BROKEN, NONE]}, "UnreadableResult: "),
        ({"args": [BROKEN, encode([2])]}, "UnreadableRow: this task's arguments cannot be read: "),
    ],
)
def test_given_what_one_task_left_cannot_be_read_then_its_row_says_so(changes: dict[str, Any], error: str) -> None:
    first, second = rows(JOURNAL, packed(**changes))
    assert first.error.startswith(error)
    assert (first.task_id, second.task_id) == (7, 8)


@pytest.mark.parametrize("fields", [BROKEN, b"", encode([1]), encode(1), encode("text")])
def test_given_a_record_that_cannot_be_read_then_its_row_says_so_and_the_others_are_there(fields: bytes) -> None:
    made = [(0, "io", fields), (0, "io", encode({"ost": 2}))]
    result, bad, good, _ = rows(JOURNAL, packed(records=made))
    assert (result.error, good.error, dict(good.fields)) == ("", "", {"ost": 2})
    assert (bad.ordinal, bad.name, dict(bad.fields)) == (1, "io", {})
    assert bad.error.startswith("UnreadableRow: this record cannot be read: ")


def test_given_a_block_that_was_damaged_anywhere_then_there_are_rows_and_nothing_is_raised() -> None:
    made = [(0, "io", encode({"ost": 1})), (1, "io", encode([]))]
    whole, chance = packed(records=made), random.Random(1)
    unreadable = 0
    for _ in range(3000):
        block = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            block[chance.randrange(len(block))] = chance.randrange(256)
        found = list(rows(JOURNAL, bytes(block[: chance.randint(1, len(block))] if chance.random() < 0.1 else block)))
        assert all(isinstance(row, Row) and row.journal_id == JOURNAL for row in found)
        unreadable += any(row.error.startswith("Unreadable") for row in found)
    assert unreadable > 500


def test_given_a_record_of_a_row_that_there_is_not_then_the_others_are_there() -> None:
    made = [(2, "io", encode({})), (1, "io", encode({"ost": 1}))]
    assert [(row.task_id, row.ordinal) for row in rows(JOURNAL, packed(records=made))] == [(7, 0), (8, 0), (8, 1)]
