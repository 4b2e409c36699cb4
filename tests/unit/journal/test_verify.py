"""cyclone journal verify: what is sound, and each damage by its name."""

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from cyclone.cli.main import _run
from cyclone.journal import SqliteJournal
from cyclone.journal.verify import verify
from cyclone.master.events import HorizonMoved
from tests.support.journal_tools import JOB_TURNS, fill, printed
from tests.support.journals import JOBS, added, finish, recorded

Opened = Callable[..., SqliteJournal]


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
