"""Blocks of results and the rows that a generator sees of them."""

import itertools
import re
import time
from typing import Any

import msgspec
import pytest

from cyclone import values
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord, ResultColumns
from cyclone.results import (
    OpenBlock,
    RecordedBlock,
    columns_part,
    encode_columns,
    overruled_columns,
    pack_seconds,
    row_columns,
    unpack_seconds,
)

ERROR = ErrorRecord("ValueError", "no", "Traceback...")
THREE = (states.COMPLETED, states.FAILED, states.COMPLETED)


def columns(statuses: tuple[int, ...] = THREE, **changes: Any) -> ResultColumns:
    """A row per status: the value is the row's number, a row takes 1 s more than the one before, from 1 s."""
    return ResultColumns(
        values=[
            values.encode(row) if status == states.COMPLETED else encode_columns(ERROR)
            for row, status in enumerate(statuses)
        ],
        seconds=pack_seconds([row + 1.0 for row in range(len(statuses))]),
        started=100.0,
        worker_pid=7,
        **changes,
    )


def block(rows: tuple[int, ...] = THREE, opened: ResultColumns | None = None, **changes: Any) -> RecordedBlock:
    recorded = RecordedBlock(
        first=10,
        attempt=2,
        runs=[("m:A", len(rows))],
        args=[values.encode([row, "x"]) for row in range(len(rows))],
        statuses=bytes(rows),
        accepted=None,
        body=encode_columns(opened or columns(rows)),
        controller="node-1",
    )
    return msgspec.structs.replace(recorded, **changes)


def test_given_a_completed_row_then_its_result_tells_all_of_it() -> None:
    result = list(OpenBlock(block()))[2]

    assert (result.task_id, result.state, result.ok, result.task_class) == (12, "completed", True, "m:A")
    assert (result.args, result.value, result.error) == ([2, "x"], 2, None)
    assert (result.attempt, result.controller, result.worker_pid) == (2, "node-1", 7)
    assert (result.started, result.seconds, result.finished) == (103.0, 3.0, 106.0)
    assert repr(result) == "<TaskResult 12 completed of m:A>"


def test_given_a_failed_row_then_its_result_has_an_error_and_no_value() -> None:
    result = list(OpenBlock(block()))[1]

    assert (result.state, result.ok, result.value, result.error) == ("failed", False, None, ERROR)


@pytest.mark.parametrize("state", ["failed", "timed_out", "quarantined"])
def test_given_any_end_but_completion_then_the_state_is_spelled_as_everywhere(state: str) -> None:
    status = next(number for number, name in states.STATE_NAMES.items() if name == state)

    (result,) = OpenBlock(block((status,)))

    assert (result.state, result.ok, result.error) == (state, False, ERROR)


def test_given_a_result_then_its_attributes_cannot_be_set() -> None:
    (result,) = OpenBlock(block((states.COMPLETED,)))

    with pytest.raises(AttributeError):
        result.value = 1  # type: ignore[misc]


def test_given_runs_of_several_classes_then_each_row_has_its_own() -> None:
    statuses = (states.COMPLETED,) * 5

    results = OpenBlock(block(statuses, runs=[("m:A", 2), ("m:B", 0), ("m:C", 3)]))

    assert [(result.task_id, result.task_class) for result in results] == [
        (10, "m:A"),
        (11, "m:A"),
        (12, "m:C"),
        (13, "m:C"),
        (14, "m:C"),
    ]


def test_given_rows_that_do_not_count_then_they_are_passed_over() -> None:
    recorded = block((states.COMPLETED, states.FAILED, states.COMPLETED, states.FAILED), accepted=b"\x00\x01\x01\x00")

    assert [(result.task_id, result.value) for result in OpenBlock(recorded)] == [(11, None), (12, 2)]
    assert (recorded.count(), recorded.completed()) == (2, 1)


@pytest.mark.parametrize(
    ("runs", "accepted", "left"),
    [
        ([("m:A", 3)], None, [10, 11, 12]),
        ([("m:A", 1), ("", 2)], None, [10]),
        ([("", 1), ("m:A", 2)], b"\1\1\0", [11]),
        ([("", 3)], None, []),
    ],
)
def test_given_tasks_that_the_journal_has_let_go_then_their_rows_are_passed_over(
    runs: list[tuple[str, int]], accepted: bytes | None, left: list[int]
) -> None:
    known = block(runs=runs, accepted=accepted).of_known_tasks()
    assert [result.task_id for result in OpenBlock(known)] == left


@pytest.mark.parametrize(("row", "records"), [(0, []), (1, ["b", "c"]), (2, ["a"])])
def test_given_a_row_of_a_batch_alone_then_it_has_its_own_records_and_no_others(row: int, records: list[str]) -> None:
    made = [(2, "a", b"\x80"), (1, "b", b"\x80"), (1, "c", b"\x80")]
    body = row_columns(encode_columns(columns(records=made)), row)
    opened = OpenBlock(block((THREE[row],), msgspec.msgpack.decode(body, type=ResultColumns)))
    assert [(of_row, name) for of_row, name, _ in opened.columns.records] == [(0, name) for name in records]


def test_given_that_all_rows_count_then_they_are_counted_by_status() -> None:
    assert (block().count(), block().completed()) == (3, 2)


def test_given_measured_rows_then_the_others_share_the_rest_by_wall_time() -> None:
    opened = OpenBlock(block(opened=columns(cpu_s=0.8, peak_bytes=1000, usage=[(1, 1.5, 2000)])))

    assert [result.cpu_s for result in opened] == pytest.approx([0.2, 1.5, 0.6])
    assert [result.peak_bytes for result in opened] == [1000, 2000, 1000]


def test_given_rows_that_took_no_time_then_no_cpu_time_is_shared_out() -> None:
    body = msgspec.structs.replace(columns(), seconds=pack_seconds([0.0] * 3), cpu_s=0.5)

    assert [result.cpu_s for result in OpenBlock(block(opened=body))] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "changes",
    [{"statuses": bytes(2)}, {"args": [b"\x90"] * 4}, {"runs": [("m:A", 2)]}, {"accepted": b"\x01"}],
    ids=["statuses", "args", "runs", "accepted"],
)
def test_given_columns_of_the_master_of_different_lengths_then_the_block_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="recorded columns of .* rows beside"):
        OpenBlock(block(**changes))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"\xc1", "invalid opcode"),
        (b"\x93\x01\x02\x03", "at least length"),
        (b"\x91" * 100_000, "at least length"),
        (encode_columns(msgspec.structs.replace(columns(), values=[b"\x01"])), "1 values and 3 durations"),
        (encode_columns(msgspec.structs.replace(columns(), seconds=pack_seconds([1.0]))), "3 values and 1 durations"),
        (encode_columns(msgspec.structs.replace(columns(), seconds=b"1234567")), "bytes length"),
        (encode_columns(msgspec.structs.replace(columns(), worker_pid=1 << 63)), "worker_pid|<= 9223372036854775807"),
        (encode_columns(msgspec.structs.replace(columns(), usage=[(0, 0.0, -1)])), ">= 0"),
    ],
)
def test_given_a_body_that_cannot_be_read_then_its_tasks_are_failed_and_nothing_is_raised(
    body: bytes, reason: str
) -> None:
    timed_out = (states.COMPLETED, states.FAILED, states.TIMED_OUT)

    results = list(OpenBlock(block(timed_out, body=body)))

    assert [(result.task_id, result.state) for result in results] == [(10, "failed"), (11, "failed"), (12, "timed_out")]
    for result in results:
        assert (result.value, result.seconds, result.started, result.cpu_s, result.worker_pid) == (None, 0, 0, 0, 0)
        assert result.error is not None
        assert result.error.type == "UnreadableResult"
        assert re.search(reason, result.error.message)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc1",
        b"\x01\x02",
        b"\xa1\xff",
        b"\x91" * 100_000,
        msgspec.msgpack.encode(msgspec.msgpack.Ext(99, b"")),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(1, b"no date")),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(-1, b"\xff" * 12)),
    ],
)
@pytest.mark.parametrize("status", [states.COMPLETED, states.FAILED])
def test_given_an_outcome_that_cannot_be_read_then_only_its_own_task_is_failed(packed: bytes, status: int) -> None:
    opened = msgspec.structs.replace(columns((0, 0, 0)), values=[b"\x07", packed, b"\x08"])

    results = list(OpenBlock(block((states.COMPLETED, status, states.COMPLETED), opened)))

    assert [(result.state, result.value) for result in results] == [
        ("completed", 7),
        ("failed", None),
        ("completed", 8),
    ]
    assert results[1].error is not None
    assert results[1].error.type == "UnreadableResult"
    assert results[1].seconds == 2.0


def test_given_a_large_block_then_start_times_are_not_added_up_anew_for_each_row() -> None:
    rows = 60_000
    opened = OpenBlock(block((states.COMPLETED,) * rows))
    began_s = time.process_time()

    started = [result.started for result in opened]

    # A sum per row would be 1.8 billion additions: many seconds on any machine.
    assert time.process_time() - began_s < 2.5
    assert started == list(itertools.accumulate(range(1, rows), initial=100.0))


def test_given_seconds_then_they_are_packed_little_endian_and_read_back() -> None:
    assert pack_seconds([1.0]) == bytes.fromhex("000000000000f03f")
    assert list(unpack_seconds(pack_seconds([0.5, 0.0, 1e9]))) == [0.5, 0.0, 1e9]


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (1, 3), (2, 3)])
def test_given_columns_that_do_not_fit_each_other_then_a_part_of_them_is_as_if_nothing_was_reported(
    start: int, stop: int
) -> None:
    torn = encode_columns(msgspec.structs.replace(columns(), seconds=pack_seconds([1.0, 2.0])))
    assert columns_part(torn, start, stop) == b""
    error = ErrorRecord("Cancelled", "no use")
    ended = RecordedBlock(1, 1, [("m:C", 1)], [b""], b"\4", None, overruled_columns(b"", 1, error), "")
    (result,) = OpenBlock(ended)
    assert result.error is not None and result.error.message == "no use"


def test_given_torn_seconds_then_they_are_refused() -> None:
    with pytest.raises(ValueError, match="bytes length"):
        unpack_seconds(bytes(7))


@pytest.mark.parametrize(
    ("accepted", "stretches", "left"),
    [
        (None, [(1, 1)], [10, 12, 13]),
        (None, [(0, 2), (3, 1)], [12]),
        (b"\x01\x00\x01\x01", [(3, 1)], [10, 12]),
        (b"\x01\x00\x01\x01", [(1, 1)], [10, 12, 13]),
        (None, [(0, 4)], []),
        (b"\x01\x00\x00\x00", [(0, 1)], []),
    ],
)
def test_given_rows_of_others_then_a_block_without_them_has_only_the_rest(
    accepted: bytes | None, stretches: list[tuple[int, int]], left: list[int]
) -> None:
    body = encode_columns(ResultColumns([b"\x01"] * 4, pack_seconds([0.0] * 4), 0.0, 1))
    block = RecordedBlock(10, 1, [("tasks.empty:EmptyTask", 4)], [b"\x90"] * 4, bytes(4), accepted, body, "node1")
    assert [result.task_id for result in OpenBlock(block.without(stretches))] == left
