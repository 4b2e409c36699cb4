"""verify, stats, export and salvage, by the command line as users have them."""

import csv
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from cyclone.cli.main import _run
from cyclone.errors import ConfigError, CycloneError
from cyclone.journal import SqliteJournal, open_journal
from cyclone.journal.export import read_records
from cyclone.journal.salvage import salvage
from cyclone.journal.verify import verify
from cyclone.master.events import (
    AttemptsEnded,
    ControllerJoined,
    GeneratorAdvanced,
    HorizonMoved,
    JobEnded,
    JobRestored,
    JobSealed,
    NamespaceSet,
    Recorded,
    TasksProcessed,
)
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.protocol import states
from cyclone.protocol.job_spec import JobSelection, Namespace
from tests.support.journal_checks import check, check_file
from tests.support.journals import (
    JOBS,
    ORIGIN,
    Book,
    added,
    added_to,
    finish,
    key_of,
    kill,
    random_turns,
    recorded,
    submitted,
)

Opened = Callable[..., SqliteJournal]

TURNS: list[list[Recorded]] = [
    [*JOBS, added(1, 4), added(5, 4), added(9, 2), HorizonMoved(8), ControllerJoined("node-1", "a" * 32)],
    [GeneratorAdvanced(GeneratorProgress(b"xyz", 10, 1, 10, 2)), AttemptsEnded(6, 1, 1, 1, states.CRASHED, "node-1")],
    [recorded(1, 1, [states.COMPLETED, states.FAILED, states.COMPLETED])],
    [recorded(2, 4, [states.COMPLETED, states.TIMED_OUT, states.COMPLETED], b"\x01\x01\x00", attempt=2)],
]


def fill(journal: SqliteJournal) -> Book:
    book = Book()
    for events in TURNS:
        journal.append(events)
        book.add(events)
    finish(journal)
    return book


def printed(capfdbinary: pytest.CaptureFixture[bytes], *argv: str | Path) -> str:
    assert _run(["journal", *map(str, argv)]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    return out.decode()


def test_given_a_running_master_then_its_journal_is_exported_task_by_task(
    opened: Opened, path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    book = fill(opened())
    records = [json.loads(line) for line in printed(capfdbinary, "export", path).splitlines()]
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


def test_given_a_sound_journal_then_verify_says_so_and_writes_nothing(
    opened: Opened, path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    journal = opened()
    fill(journal)
    journal.close()
    before = path.read_bytes()
    assert printed(capfdbinary, "verify", path) == f"{path}: sound\n"
    assert path.read_bytes() == before


DAMAGE = [
    ("DELETE FROM tasks WHERE first = 9", "2 tasks are missing, but 0 are said to be dropped"),
    ("DELETE FROM done", "4 tasks are missing, but 0 are said to be dropped"),
    ("DELETE FROM results WHERE number = 2", "closed block 1 shares the results"),
    ("DELETE FROM parts", "not found there"),
    ("DELETE FROM progress", "totals are"),
    ("DELETE FROM jobs", "job 2, which is not known"),
    ("DELETE FROM fence", "epoch is missing"),
    ("UPDATE results SET attempt = 9", "row 2 of the table results does not fit its checksum"),
    ("UPDATE attempts SET status = 0", "row 6 of the table attempts does not fit its checksum"),
    ("UPDATE done SET last_number = 1", "row 1 of the table done does not fit its checksum"),
    ("UPDATE tasks SET count = 5 WHERE first = 5", "row 5 of the table tasks does not fit its checksum"),
]


JOB_TURNS: list[list[Recorded]] = [
    [*JOBS, submitted(3), submitted(4, keep_s=60.0), submitted(5), NamespaceSet(Namespace(name="other"))],
    [added_to(3, 1, 3), added_to(4, 4, 2), added(6, 2), added_to(3, 8, 2, offset=3), added_to(5, 10, 2)],
    [HorizonMoved(11, ((0, 7), (3, 9), (4, 5), (5, 11))), recorded(1, 2, [states.COMPLETED] * 4), JobSealed(4)],
    [recorded(2, 1, [states.FAILED]), JobEnded(4, 4e9), TasksProcessed(4, ((0, 0),)), TasksProcessed(3, ((1, 2),))],
]

JOB_DAMAGE = [
    ("DELETE FROM submitted WHERE job_id = 3", "the job 3 is listed, but was never submitted"),
    ("DELETE FROM open_jobs WHERE job_id = 3", "the job 3 is neither open nor ended"),
    ("DELETE FROM ended_jobs", "the job 4 is neither open nor ended"),
    ("DELETE FROM open_jobs WHERE job_id = 3", "of the job 3, which is not known"),
    ("UPDATE submitted SET class = 'a:B' WHERE job_id = 3", "row 3 of the table submitted does not fit its checksum"),
    ("UPDATE ended_jobs SET owner = 'eve'", "row 4 of the table ended_jobs does not fit its checksum"),
    ("UPDATE open_jobs SET crc = 1 WHERE job_id = 5", "row 5 of the table open_jobs does not fit its checksum"),
    ("DELETE FROM job_keys", "the job 3 is not found by its key"),
    ("DELETE FROM job_blocks WHERE first = 8", "the block 8 of the job 3 is not found by its index 3"),
    ("UPDATE job_blocks SET offset = 7 WHERE first = 8", "the block 8 of the job 3 is not found by its index 3"),
    ("UPDATE job_blocks SET first = 6 WHERE first = 8", "the block 6 is of the generator, but listed as of the job 3"),
    ("UPDATE job_blocks SET apart = 0", "nobody knows how long the closed block 4 is to be kept"),
    ("UPDATE done SET apart = 1 - apart", "nobody knows how long the closed block 1 is to be kept"),
    ("DELETE FROM job_results", "the results 1 of the job 3 are not found there"),
    ("INSERT INTO job_results VALUES (3, 77)", "job_results has 1 rows of results that are not there"),
    ("UPDATE processed SET last = 9 WHERE job_id = 3", "the job 3 of 5 tasks has processed ones from 1 to 9"),
    ("DELETE FROM processed WHERE job_id = 4", "the job 4 counts 1 processed tasks, but 0 are"),
    ("UPDATE namespaces SET body = '{}'", "row other of the table namespaces"),
]


@pytest.mark.parametrize(("statement", "problem"), JOB_DAMAGE)
def test_given_damage_in_what_is_said_of_jobs_then_verify_says_what_is_wrong(
    opened: Opened, path: Path, statement: str, problem: str
) -> None:
    journal = opened()
    for events in JOB_TURNS:
        journal.append(events)
    finish(journal)
    journal.close()
    assert list(verify(path)) == []
    with apsw.Connection(str(path)) as db:
        db.execute(statement)
    assert problem in "\n".join(verify(path))


SAVED = [
    # What is damaged, which jobs are open afterwards and which have ended, and how many tasks are there.
    ("", [3, 5], [4], 11),
    ("DELETE FROM open_jobs WHERE job_id = 3", [3, 5], [4], 11),
    ("DELETE FROM open_jobs", [3, 5], [4], 11),
    ("UPDATE ended_jobs SET owner = 'eve'", [3, 4, 5], [], 11),
    ("UPDATE submitted SET crc = 1 WHERE job_id = 3", [5], [4], 6),
    ("UPDATE submitted SET crc = 1", [], [], 2),
    ("UPDATE done SET crc = 1 WHERE first = 4", [3, 5], [4], 9),
    ("DELETE FROM results WHERE number = 1", [3, 4, 5], [], 11),
    ("UPDATE tasks SET crc = 1 WHERE first = 8", [3, 5], [4], 9),
    ("DELETE FROM job_blocks; DELETE FROM job_results", [3, 5], [4], 11),
    ("DELETE FROM job_keys", [3, 5], [4], 11),
    ("UPDATE namespaces SET body = 'x'", [3, 5], [4], 11),
    ("DELETE FROM progress", [3, 5], [4], 11),
]


@pytest.mark.parametrize(("statement", "still_open", "ended", "tasks"), SAVED)
def test_given_damage_in_what_is_said_of_jobs_then_salvage_saves_the_others(
    opened: Opened, path: Path, tmp_path: Path, statement: str, still_open: list[int], ended: list[int], tasks: int
) -> None:
    journal = opened()
    for events in JOB_TURNS:
        journal.append(events)
    finish(journal)
    journal.close()
    with apsw.Connection(str(path)) as db:
        db.execute(statement)
    out = tmp_path / "out.sqlite"
    lost = list(salvage(path, out))
    is_made_anew = not statement or statement.startswith("DELETE FROM job_")
    assert bool(lost) != is_made_anew
    assert list(verify(out)) == []
    again = open_journal(out, ORIGIN)
    replayed = list(again.recover())
    assert [event.submitted.job.job_id for event in replayed if isinstance(event, JobRestored)] == still_open
    assert [job.job_id for job in again.ended_jobs(JobSelection(), 0, 10)[0]] == ended
    assert sum(len(block) for block in read_records(out)) == tasks
    assert [again.job_of_key(key_of(job_id)) for job_id in (3, 4, 5)] == [3, 4, 5]
    for event in replayed:
        if isinstance(event, JobRestored):
            # What a client adds lies behind all that was ever added.
            job_id, last_id = event.submitted.job.job_id, again._progress.last_id
            again.append([added_to(job_id, last_id + 1, 1, offset=event.added)])
    again.close()
    assert list(verify(out)) == []


@pytest.mark.parametrize(("statement", "problem"), DAMAGE)
def test_given_a_damaged_journal_then_verify_says_what_is_wrong(
    opened: Opened, path: Path, capfdbinary: pytest.CaptureFixture[bytes], statement: str, problem: str
) -> None:
    journal = opened()
    fill(journal)
    journal.close()
    assert list(verify(path)) == []
    with apsw.Connection(str(path)) as db:
        db.execute(statement)
    assert _run(["journal", "verify", str(path)]) == 1
    assert problem in capfdbinary.readouterr().out.decode()


def test_given_events_that_no_master_would_record_then_verify_finds_them(opened: Opened, path: Path) -> None:
    journal = opened()
    journal.append([*JOBS, added(1, 4), HorizonMoved(2), recorded(1, 1, [0]), recorded(2, 1, [0]), recorded(3, 4, [0])])
    problems = "\n".join(verify(path))
    assert "the task 1 has two results" in problems
    assert "the task 4 has a result (3), but tasks were offered up to 2" in problems


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


@pytest.mark.parametrize("seed", range(3))
def test_given_a_sound_journal_then_salvage_makes_one_that_holds_the_same(
    opened: Opened, path: Path, tmp_path: Path, seed: int
) -> None:
    journal, book = opened(), Book()
    for events in random_turns(seed, 40, size=15):
        journal.append(events)
        book.add(events)
    finish(journal)
    kill(journal)
    out = tmp_path / "out" / "journal.sqlite"
    assert list(salvage(path, out)) == []
    check_file(out, book)
    again = open_journal(out, ORIGIN)
    check(again, book)
    assert again.epoch > journal.epoch
    assert again.journal_id == journal.journal_id
    again.close()


@pytest.mark.parametrize("seed", range(6))
def test_given_damaged_pages_then_salvage_saves_the_rest_and_says_what_is_lost(
    opened: Opened, path: Path, tmp_path: Path, seed: int
) -> None:
    journal, book = opened(), Book()
    for events in random_turns(seed, 150, size=15):
        journal.append(events)
        book.add(events)
    finish(journal)
    journal.close()
    rng = random.Random(seed)
    content = bytearray(path.read_bytes())
    for page in rng.sample(range(20, len(content) // 4096), 3):
        content[page * 4096 : page * 4096 + 4096] = rng.randbytes(4096)
    path.write_bytes(content)
    assert list(verify(path)) != []
    out = tmp_path / "out.sqlite"
    lost = list(salvage(path, out))
    assert lost
    assert path.read_bytes() == content
    assert list(verify(out)) == []
    saved = {record.id for block in read_records(out) for record in block}
    assert 0 < len(saved) <= book.last_id
    again = open_journal(out, ORIGIN)
    again.append([added(again._progress.last_id + 1, 3)])
    again.close()
    assert list(verify(out)) == []


@pytest.mark.parametrize("is_killed", [False, True])
def test_given_a_damaged_first_page_then_salvage_finds_the_others(
    opened: Opened, path: Path, tmp_path: Path, is_killed: bool
) -> None:
    journal, book = opened(), Book()
    for number, events in enumerate(random_turns(1, 40, size=15)):
        journal.append(events)
        book.add(events)
        if number == 20:
            journal.close()
            journal = opened()
    kill(journal) if is_killed else journal.close()
    content = bytearray(path.read_bytes())
    content[:4096] = random.Random(1).randbytes(4096)
    path.write_bytes(content)
    out = tmp_path / "out.sqlite"
    assert list(salvage(path, out)) == []
    assert path.read_bytes() == content
    check_file(out, book)
    assert not [name for name in tmp_path.iterdir() if name.is_dir()]


def test_given_an_existing_file_then_salvage_does_not_touch_it(opened: Opened, path: Path, tmp_path: Path) -> None:
    opened().close()
    out = tmp_path / "out"
    shutil.copy(path, out)
    with pytest.raises(ConfigError, match="exists already"):
        list(salvage(path, out))


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
