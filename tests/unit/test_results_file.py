"""The three formats of --results: what goes in comes out, and nothing is overwritten, torn or lost on the way."""

import csv
import datetime
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cyclone import values
from cyclone.errors import ConfigError
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord, ResultColumns
from cyclone.results import RecordedBlock, encode_columns, pack_seconds
from cyclone.results_file import open_results_file

strict = msgspec.json.decode
ENDINGS = [".jsonl", ".csv", ".sqlite"]
STARTED = 1_700_000_000.25
FIELDS = "task_id task_class args state value error attempt controller worker_pid started finished seconds"
FIELDS += " cpu_seconds peak_memory_bytes"


def recorded(
    outcomes: Iterable[tuple[int, Any]],
    first: int = 1,
    args: list[Any] | None = None,
    accepted: bytes | None = None,
    usage: list[tuple[int, float, int]] | None = None,
    runs: list[tuple[str, int]] | None = None,
) -> RecordedBlock:
    """A block of (status, value or ErrorRecord), each of half a second."""
    outcomes = list(outcomes)
    packed = [values.encode(o) if s == states.COMPLETED else msgspec.msgpack.encode(o) for s, o in outcomes]
    seconds = pack_seconds([0.5] * len(packed))
    columns = ResultColumns(packed, seconds, STARTED, 4242, cpu_s=0.3, peak_bytes=1000, usage=usage or [])
    return RecordedBlock(
        first=first,
        attempt=2,
        runs=runs or [("tasks.empty:EmptyTask", len(packed))],
        args=[values.encode(args if args is not None else [row]) for row in range(len(packed))],
        statuses=bytes(status for status, _ in outcomes),
        accepted=accepted,
        body=encode_columns(columns),
        controller="node-1",
    )


def completed(*found: Any, **options: Any) -> RecordedBlock:
    return recorded([(states.COMPLETED, value) for value in found], **options)


def written(path: Path, *blocks: RecordedBlock) -> list[dict[str, Any]]:
    """Write the blocks, close the file and read its records as a stranger would."""
    results = open_results_file(path)
    for block in blocks:
        results.write(block)
    results.close()
    return read(path)


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [strict(line) for line in path.read_bytes().splitlines()]
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [_from_cells(dict(row)) for row in csv.DictReader(file, strict=True)]
    with sqlite3.connect(path) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute("SELECT * FROM results ORDER BY task_id").fetchall()
    connection.close()
    return [_from_cells(dict(row)) for row in rows]


def _from_cells(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a table in the shape of the JSON object."""
    error = {name: row.pop(f"error_{name}") for name in ("type", "message", "traceback")}
    row["error"] = error if error["type"] else None
    row["args"] = strict(row["args"])
    row["value"] = strict(row["value"]) if row["value"] else None
    for name in ("task_id", "attempt", "worker_pid", "peak_memory_bytes"):
        row[name] = int(row[name])
    for name in ("seconds", "cpu_seconds"):
        row[name] = float(row[name])
    return row


@pytest.fixture(params=ENDINGS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"results{request.param}"


def test_given_a_completed_task_when_written_then_each_field_is_there(path: Path) -> None:
    [record] = written(path, completed({"sha256": "ab", "bytes": 3}, first=17, args=["/etc/hosts", None]))

    is_text = path.suffix != ".sqlite"
    assert record == {
        "task_id": 17,
        "task_class": "tasks.empty:EmptyTask",
        "args": ["/etc/hosts", None],
        "state": "completed",
        "value": {"sha256": "ab", "bytes": 3},
        "error": None,
        "attempt": 2,
        "controller": "node-1",
        "worker_pid": 4242,
        "started": "2023-11-14T22:13:20.250000Z" if is_text else STARTED,
        "finished": "2023-11-14T22:13:20.750000Z" if is_text else STARTED + 0.5,
        "seconds": 0.5,
        "cpu_seconds": 0.3,
        "peak_memory_bytes": 1000,
    }


def test_given_jsonl_when_written_then_fields_stand_in_the_documented_order(tmp_path: Path) -> None:
    [record] = written(tmp_path / "results.jsonl", completed(1))
    assert list(record) == FIELDS.split()


def test_given_a_row_after_others_when_written_then_it_starts_where_they_ended(tmp_path: Path) -> None:
    records = written(tmp_path / "results.sqlite", completed(*range(4), accepted=b"\1\0\0\1"))
    assert [record["started"] for record in records] == [STARTED, STARTED + 1.5]
    assert records[1]["finished"] == STARTED + 2.0


@pytest.mark.parametrize("status", [status for status in states.STATE_NAMES if status != states.COMPLETED])
def test_given_any_other_state_when_written_then_it_has_its_error_and_no_value(path: Path, status: int) -> None:
    error = ErrorRecord("ValueError", 'no "such"\r\nthing\r, \N{SNOWMAN}', 'Traceback:\n  File "x"\n')

    [record] = written(path, recorded([(status, error)]))

    assert record["state"] == states.STATE_NAMES[status]
    assert record["value"] is None
    assert record["error"] == {"type": error.type, "message": error.message, "traceback": error.traceback}


def test_given_mixed_states_and_classes_when_written_then_rows_keep_their_own(path: Path) -> None:
    outcomes = [(states.COMPLETED, 1), (states.FAILED, ErrorRecord("E", "m")), (states.COMPLETED, None)]

    records = written(path, recorded(outcomes, runs=[("a:A", 1), ("b:B", 2)]))

    assert [(r["task_class"], r["state"], r["value"]) for r in records] == [
        ("a:A", "completed", 1),
        ("b:B", "failed", None),
        ("b:B", "completed", None),
    ]


def test_given_an_accepted_mask_when_written_then_only_rows_that_count_are_there(path: Path) -> None:
    records = written(path, completed("a", "b", "c", first=5, accepted=b"\0\1\1"))
    assert [(r["task_id"], r["value"]) for r in records] == [(6, "b"), (7, "c")]


def test_given_measured_rows_when_written_then_the_others_share_the_rest_of_the_batch(path: Path) -> None:
    records = written(path, completed(1, 2, 3, usage=[(1, 2.5, 9000)]))
    assert [r["cpu_seconds"] for r in records] == pytest.approx([0.15, 2.5, 0.15])
    assert [r["peak_memory_bytes"] for r in records] == [1000, 9000, 1000]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None),
        (True, True),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
        (0.1, 0.1),
        (float("nan"), "NaN"),
        ([float("inf"), {"x": -float("inf")}], ["Infinity", {"x": "-Infinity"}]),
        (b"\0\xff", {"base64": "AP8="}),
        ([[b""]], [[{"base64": ""}]]),
        ('a "quoted",\r\nline\0 \N{SNOWMAN}', 'a "quoted",\r\nline\0 \N{SNOWMAN}'),
        ("a\rb", "a\rb"),
        ("caf\udce9.txt", {"base64": "Y2Fm6S50eHQ="}),
        ({"name": ["\ud800"]}, {"name": ["\\ud800"]}),
        (datetime.datetime(2026, 1, 2, 3, 4, 5, 6), "2026-01-02T03:04:05.000006"),
        (datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), "2026-01-02T03:04:05Z"),
        ({1: "a", 1.5: "b", None: "c", b"k": "d"}, {"1": "a", "1.5": "b", "null": "c", "aw==": "d"}),
        ({False: 0, True: 1}, {"false": 0, "true": 1}),
        ({1: "a", "1": "b"}, {"pairs": [[1, "a"], ["1", "b"]]}),
    ],
)
def test_given_any_value_when_written_then_it_is_read_back_or_in_its_documented_form(
    path: Path, value: Any, found: Any
) -> None:
    [record] = written(path, completed(value, args=[value]))
    assert record["value"] == found
    assert record["args"] == [found]


def test_given_several_blocks_when_closed_then_the_file_is_complete(path: Path) -> None:
    blocks = [completed(*range(500), first=first) for first in range(1, 5000, 500)]
    records = written(path, *blocks)
    assert [r["task_id"] for r in records] == list(range(1, 5001))
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name]


def test_given_no_results_when_closed_then_the_file_is_there_and_empty_of_records(path: Path) -> None:
    assert written(path) == []
    assert path.exists()


def test_given_a_closed_file_when_closed_again_then_nothing_happens_and_writing_is_refused(path: Path) -> None:
    results = open_results_file(path)
    results.close()
    results.close()
    with pytest.raises(ValueError, match="closed"):
        results.write(completed(1))


def test_given_flushed_results_when_another_reads_during_the_run_then_it_sees_them(path: Path) -> None:
    results = open_results_file(path)
    results.write(completed("first"))
    results.flush()
    assert [r["value"] for r in read(path)] == ["first"]

    results.write(completed("second", first=2))
    results.close()
    assert [r["value"] for r in read(path)] == ["first", "second"]


def test_given_a_killed_writer_when_read_then_what_was_flushed_is_there(path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from cyclone.results_file import open_results_file
from tests.unit.test_results_file import completed
results = open_results_file(Path(sys.argv[1]))
results.write(completed(*range(1000)))
results.flush()
results.write(completed("not flushed", first=1001))
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", script, str(path)], env={**os.environ, "PYTHONPATH": str(root)}, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert [r["value"] for r in read(path)] == list(range(1000))


def _torn(**changes: Any) -> RecordedBlock:
    good = completed(1, 2)
    columns = msgspec.msgpack.decode(good.body, type=ResultColumns)
    if changes.keys() & set(ResultColumns.__struct_fields__):
        return msgspec.structs.replace(good, body=encode_columns(msgspec.structs.replace(columns, **changes)))
    return msgspec.structs.replace(good, **changes)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "sqlite"])
@pytest.mark.parametrize(
    ("block", "states_read"),
    [
        (_torn(body=b"\xc1"), ["failed", "failed"]),
        (_torn(values=[values.encode(1)]), ["failed", "failed"]),
        (_torn(seconds=b"123"), ["failed", "failed"]),
        (_torn(usage=[(1, 0.1, 2**63)]), ["failed", "failed"]),
        (_torn(values=[values.encode(1), b"\xc1"]), ["completed", "failed"]),
        (
            _torn(values=[values.encode(1), msgspec.msgpack.encode(msgspec.msgpack.Ext(99, b""))]),
            ["completed", "failed"],
        ),
        (_torn(values=[values.encode(1), b"\x91" * 100_000]), ["completed", "failed"]),
        (_torn(statuses=bytes([states.COMPLETED, states.TIMED_OUT])), ["completed", "timed_out"]),
    ],
)
def test_given_results_that_cannot_be_read_when_written_then_each_has_a_record_that_says_so(
    tmp_path: Path, ending: str, block: RecordedBlock, states_read: list[str]
) -> None:
    path = tmp_path / f"results.{ending}"
    results = open_results_file(path)
    results.write(block)
    results.write(completed("good", first=3))
    results.close()
    records = read(path)
    assert [record["state"] for record in records] == [*states_read, "completed"]
    for record in records:
        assert (record["error"] or {}).get("type") == (None if record["state"] == "completed" else "UnreadableResult")


@pytest.mark.parametrize("started", [float("nan"), float("inf"), 1e300, -1e300])
def test_given_a_time_outside_of_the_calendar_when_written_then_it_is_null(tmp_path: Path, started: float) -> None:
    path = tmp_path / "results.jsonl"
    results = open_results_file(path)
    results.write(_torn(started=started))
    results.close()
    assert [(r["state"], r["started"], r["finished"]) for r in read(path)] == [("completed", None, None)] * 2


def test_given_a_full_disk_when_it_has_room_again_then_no_line_is_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.jsonl"
    results = open_results_file(path)
    results.write(completed(*range(100)))
    file = results._file  # type: ignore[attr-defined]

    class Full:
        closed = False
        room = True

        def write(self, data: memoryview) -> int:
            self.room = not self.room
            if self.room:
                raise OSError(28, "No space left on device")
            return int(file.write(data[:777]))

    with monkeypatch.context() as patch:
        patch.setattr(results, "_file", Full())
        with pytest.raises(OSError, match="No space left"):
            results.flush()
    results.close()
    assert [r["value"] for r in read(path)] == list(range(100))


@pytest.mark.parametrize("name", ["results.json", "results", "results.txt", ".csv"])
def test_given_another_ending_when_opened_then_the_message_lists_the_three(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"\.jsonl, \.csv or \.sqlite"):
        open_results_file(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_given_a_missing_folder_when_opened_then_it_is_named_and_not_made(path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder .*missing"):
        open_results_file(path.parent / "missing" / path.name)
    assert not (path.parent / "missing").exists()


def test_given_a_file_with_results_when_opened_then_it_is_refused_and_untouched(path: Path) -> None:
    written(path, completed(1))
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="holds results already; remove it, or choose another name"):
        open_results_file(path)
    assert path.read_bytes() == before


def test_given_an_empty_file_when_opened_then_it_is_taken(path: Path) -> None:
    path.touch()
    assert [r["value"] for r in written(path, completed(7))] == [7]


def test_given_a_folder_of_that_name_when_opened_then_it_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigError, match=f"results file {path}"):
        open_results_file(path)


def test_given_an_upper_case_ending_when_opened_then_it_counts(tmp_path: Path) -> None:
    open_results_file(tmp_path / "RESULTS.JSONL").close()
    assert (tmp_path / "RESULTS.JSONL").exists()
