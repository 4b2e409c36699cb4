"""export and stats, and what all tools for journals have in common, by the command line as users have them."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from cyclone import values
from cyclone.cli.main import _run
from cyclone.errors import ConfigError, CycloneError
from cyclone.journal import SqliteJournal
from cyclone.journal.salvage import salvage
from cyclone.journal.verify import verify
from cyclone.master.events import HorizonMoved, ResultsRecorded, TasksAdded
from cyclone.protocol import states
from cyclone.protocol.messages import ResultBatch, ResultColumns
from cyclone.results import encode_columns, pack_seconds
from tests.support.journal_checks import check_file
from tests.support.journal_tools import fill, printed
from tests.support.journals import JOBS, ORIGIN, STARTED, kill

Opened = Callable[..., SqliteJournal]


def test_given_a_running_master_then_its_journal_is_exported_task_by_task(
    opened: Opened, path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    book = fill(opened())
    records = [msgspec.json.decode(line) for line in printed(capfdbinary, "export", path).splitlines()]
    assert [record["id"] for record in records] == list(range(1, 11))
    assert records[0] == {
        "id": 1,
        "class": "tests.tasks:Cube",
        "args": [1, ""],
        "state": "completed",
        "value": 1,
        "error": None,
        "attempt": 1,
        "controller": "node-1",
        "started": "2023-11-14T22:13:21.000000Z",
        "finished": "2023-11-14T22:13:21.100000Z",
        "job": None,
        "index": None,
    }
    assert records[1]["error"] == {"type": "ValueError", "message": "task 2", "traceback": ""}
    unknown = dict.fromkeys(("value", "error", "attempt", "controller", "started", "finished", "job", "index"))
    assert records[5] == {"id": 6, "class": "tests.tasks:Cube", "args": [6, ""], "state": "queued", **unknown}
    check_file(path, book)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_given_a_file_name_that_is_not_utf_8_then_any_parser_takes_the_export(
    form: str, opened: Opened, path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    packed = values.encode({"name": "caf\udce9"})
    columns = encode_columns(ResultColumns([packed], pack_seconds([0.1]), STARTED, 4711))
    batch = ResultBatch(1, 1, 1, bytes([states.COMPLETED]), columns)
    tasks = TasksAdded(1, [(1, 2)], [values.encode(["caf\udce9"]), values.encode(["a\ud800"])], None)
    opened().append([*JOBS, tasks, HorizonMoved(2), ResultsRecorded(1, batch, None, "node-1")])
    text = printed(capfdbinary, "export", path, "--format", form)
    if form == "jsonl":
        rows = [msgspec.json.decode(line) for line in text.splitlines()]
    else:
        cells = csv.DictReader(io.StringIO(text))
        rows = [{name: msgspec.json.decode(row[name] or "null") for name in ("args", "value")} for row in cells]
    form_of_it = {"base64": "Y2Fm6Q=="}
    assert [(row["args"], row["value"]) for row in rows] == [([form_of_it], {"name": form_of_it}), (["a\\ud800"], None)]


def test_given_a_master_that_was_killed_then_its_journal_is_exported(
    opened: Opened, path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    journal = opened()
    fill(journal)
    kill(journal)
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    assert len(printed(capfdbinary, "export", path).splitlines()) == 10


@pytest.mark.parametrize(("state", "ids"), [("queued", [6, 7, 8, 9, 10]), ("timed_out", [5]), ("cancelled", [])])
def test_given_a_state_then_only_such_tasks_are_exported(
    opened: Opened, path: Path, capfdbinary: pytest.CaptureFixture[bytes], state: str, ids: list[int]
) -> None:
    fill(opened())
    lines = printed(capfdbinary, "export", path, "--state", state).splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids


def test_given_csv_then_it_has_a_header_and_a_row_per_task(
    opened: Opened, path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    fill(opened())
    rows = list(csv.DictReader(io.StringIO(printed(capfdbinary, "export", path, "--format", "csv"))))
    assert [row["id"] for row in rows] == [str(task_id) for task_id in range(1, 11)]
    assert (rows[2]["args"], rows[2]["value"], rows[2]["error_type"]) == ('[3,""]', "9", "")
    assert (rows[4]["value"], rows[4]["error_message"], rows[4]["attempt"]) == ("", "task 5", "2")
    assert (rows[9]["state"], rows[9]["value"], rows[9]["attempt"]) == ("queued", "", "")


def test_given_a_journal_then_stats_counts_what_it_holds(
    opened: Opened, path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    journal = opened()
    fill(journal)
    stats: dict[str, Any] = json.loads(printed(capfdbinary, "stats", path, "--json"))
    assert stats.pop("file_bytes") > 0
    assert stats.pop("wal_bytes") > 0
    assert stats.pop("created_by").startswith("cyclone ")
    assert stats.pop("schema") == "cyclone.journal_stats/1"
    assert stats == {
        "journal_id": journal.journal_id,
        "generator_class": ORIGIN.generator_class,
        "epochs": 1,
        "tasks": {"queued": 5, "completed": 3, "failed": 1, "timed_out": 1},
        "last_id": 10,
        "horizon": 8,
        "blocks_open": 2,
        "blocks_closed": 1,
        "result_batches": 2,
        "attempts_ended": 1,
        "keys": 0,
        "tasks_dropped": 0,
        "jobs": {"open": 0, "ended": 0},
        "namespaces": [],
        "generator": {
            "pulled": 10,
            "consumed": 2,
            "cursor_pulled": 10,
            "cursor_consumed": 1,
            "cursor_bytes": 3,
            "exhausted": False,
        },
        "controllers": ["node-1"],
    }
    text = printed(capfdbinary, "stats", path)
    assert "10, offered up to 8" in text
    assert "2 open, 1 closed" in text


def test_given_no_journal_then_the_tools_say_so(path: Path, tmp_path: Path) -> None:
    for verb in ("verify", "stats", "export"):
        with pytest.raises(ConfigError, match="no such file"):
            _run(["journal", verb, str(path)])
    path.write_bytes(b"no database" * 1000)
    assert "not a database" in "\n".join(verify(path))
    with pytest.raises(CycloneError, match="journal salvage"):
        _run(["journal", "stats", str(path)])
    with pytest.raises(CycloneError, match="nothing can be saved"):
        list(salvage(path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_given_a_folder_that_may_not_be_written_then_a_closed_journal_is_read_all_the_same(
    opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened()
    book = fill(journal)
    journal.close()
    connection = apsw.Connection

    def refusing(name: str, **options: Any) -> apsw.Connection:
        if "mode=ro" in name:
            raise apsw.CantOpenError("unable to open database file")
        return connection(name, **options)

    monkeypatch.setattr(apsw, "Connection", refusing)
    check_file(path, book)
