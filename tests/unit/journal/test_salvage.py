"""cyclone journal salvage: what can be read of a damaged journal makes a sound one."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from cyclone.errors import ConfigError
from cyclone.journal import SqliteJournal, open_journal
from cyclone.journal.export import read_records
from cyclone.journal.salvage import salvage
from cyclone.journal.verify import verify
from cyclone.master.events import JobRestored
from cyclone.protocol.job_spec import JobSelection
from tests.support.journal_checks import check, check_file
from tests.support.journal_tools import JOB_TURNS
from tests.support.journals import ORIGIN, Book, added, added_to, finish, key_of, kill, random_turns

Opened = Callable[..., SqliteJournal]


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
