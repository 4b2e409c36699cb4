"""The writer: what goes in comes out after a restart, and what goes wrong has its own outcome."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import apsw
import msgspec
import pytest

from cyclone.journal import SqliteJournal, blocks, compaction
from cyclone.journal.verify import verify
from cyclone.master.events import (
    AttemptsEnded,
    CancelWanted,
    ControllerJoined,
    ControllerLeft,
    ControllerMarked,
    GeneratorAdvanced,
    HorizonMoved,
    JobAdded,
    Recorded,
    ResultsRecorded,
    TasksAdded,
    TasksStored,
)
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.master.journal import JournalBroken, JournalFull
from cyclone.protocol import states
from cyclone.protocol.messages import Job
from tests.support.journal_checks import check
from tests.support.journals import JOBS, Book, added, all_closed, finish, kill, recorded

ROOT = Path(__file__).parents[3]
Opened = Callable[..., SqliteJournal]
PROGRESS = GeneratorProgress(b"cursor", 5, 2, 10, 3, 1, 1, True)


def completed(number: int, first: int, count: int, accepted: bytes | None = None) -> ResultsRecorded:
    return recorded(number, first, [states.COMPLETED] * count, accepted)


def closed_blocks(journal: SqliteJournal) -> int:
    return int(journal._db.execute("SELECT count(*) FROM done").get)


def test_given_a_new_journal_then_it_is_empty_and_in_its_first_epoch(opened: Opened, path: Path) -> None:
    journal = opened()
    assert journal.epoch == 1
    assert len(journal.journal_id) == 32
    assert journal.replays
    assert str(path) in journal.description
    assert list(journal.recover()) == [all_closed(0, 0, {}, last_job_id=0), HorizonMoved(0)]
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_given_every_event_when_opened_again_then_they_come_back_in_the_promised_order(opened: Opened) -> None:
    journal = opened()
    results = recorded(1, 2, [states.COMPLETED, states.FAILED], b"\x01\x01")
    late = recorded(2, 2, [states.COMPLETED] * 3, b"\x00\x00\x01")
    events: list[Recorded] = [
        *JOBS,
        JobAdded(Job(7, "a:B", 2.5)),
        added(1, 4, keys=[b"", b"k" * 16, b"", b"l" * 16]),
        added(5, 3),
        HorizonMoved(4),
        ControllerJoined("node-1", "a" * 32),
        ControllerJoined("node-2", "b" * 32),
        ControllerJoined("node-1", "c" * 32),
        ControllerLeft("node-2"),
        ControllerMarked("node-1", True),
        ControllerMarked("node-3", True),
        ControllerMarked("node-1", False),
        CancelWanted(2, 6, "a:B"),
        GeneratorAdvanced(GeneratorProgress()),
        GeneratorAdvanced(PROGRESS),
        AttemptsEnded(1, 3, 1, 1, states.CRASHED, "node-1", b"body"),
        results,
        late,
    ]
    journal.append(events)
    kill(journal)
    again = opened()
    assert (again.epoch, again.journal_id) == (2, journal.journal_id)
    closed, *rest = again.recover()
    assert closed == all_closed(7, 2, {}, last_job_id=7)
    without_body = recorded(1, 2, [states.COMPLETED, states.FAILED]).batch
    expected = [
        *JOBS,
        JobAdded(Job(7, "a:B", 2.5)),
        HorizonMoved(4),
        added(1, 4),
        TasksStored(5, 3),
        (1, 2, without_body.statuses, None),
        (2, 2, late.batch.statuses, b"\x00\x00\x01"),
        AttemptsEnded(1, 1, 1, 1, states.CRASHED, "node-1"),
        GeneratorAdvanced(PROGRESS),
        ControllerJoined("node-1", "c" * 32),
        ControllerMarked("node-3", True),
        CancelWanted(2, 6, "a:B"),
    ]
    assert [
        (e.number, e.batch.first, e.batch.statuses, e.accepted) if isinstance(e, ResultsRecorded) else e for e in rest
    ] == expected
    assert again.load(5) == added(5, 3)
    found = list(again.results_after(0))
    assert [(number, block.body) for number, block in found] == [(1, results.batch.body), (2, late.batch.body)]
    with pytest.raises(LookupError):
        again.load(6)


def test_given_results_across_closed_and_open_blocks_then_only_rows_of_open_ones_are_replayed(opened: Opened) -> None:
    journal = opened()
    book = Book()
    across = completed(1, 2, 7, accepted=b"\x01\x01\x01\x01\x00\x01\x01")
    turns: list[list[Recorded]] = [
        [*JOBS, added(1, 3), added(4, 2), added(6, 4), HorizonMoved(9)],
        [across],
        [completed(2, 1, 1)],
    ]
    for events in turns:
        journal.append(events)
        book.add(events)
    finish(journal)
    check(journal, book)
    closed, *rest = journal.recover()
    assert closed == all_closed(9, 2, {"completed": 5})
    assert [event.first for event in rest if isinstance(event, TasksAdded)] == [6]
    (result,) = [event for event in rest if isinstance(event, ResultsRecorded)]
    assert (result.number, result.batch.first, result.accepted) == (1, 6, b"\x00\x01\x01")
    assert result.batch.body == b""
    ((number, block),) = list(journal.results_after(0))[:1]
    assert (number, block.first, block.accepted, block.body) == (1, 2, across.accepted, across.batch.body)
    assert block.args == added(2, 7).args


def test_given_many_ended_attempts_in_one_then_those_of_open_tasks_come_back(opened: Opened) -> None:
    journal = opened()
    journal.append([*JOBS, added(1, 9000), HorizonMoved(9000), completed(1, 10, 5)])
    journal.append([AttemptsEnded(1, 9000, 1, 1, states.LOST, "node-1")])
    spans = [(e.first, e.first + e.count) for e in journal.recover() if isinstance(e, AttemptsEnded)]
    assert sorted(spans)[:2] == [(1, 10), (15, 4097)]
    assert sum(stop - start for start, stop in spans) == 9000 - 5


@pytest.mark.parametrize("idle", [False, True])
def test_given_finished_blocks_when_tended_then_they_are_closed_when_idle(opened: Opened, idle: bool) -> None:
    journal = opened()
    journal.append([*JOBS, added(1, 5), HorizonMoved(5), completed(1, 1, 5)])
    assert not journal.tend(0, idle)
    assert closed_blocks(journal) == (1 if idle else 0)
    # To the master it is all the same.
    assert list(journal.recover()) == [all_closed(5, 1, {"completed": 5}), *JOBS, HorizonMoved(5)]


def test_given_load_then_finished_blocks_are_closed_within_the_next_append(opened: Opened) -> None:
    journal = opened()
    journal.append([*JOBS, added(1, 5), HorizonMoved(5), completed(1, 1, 5)])
    assert closed_blocks(journal) == 0
    journal.append([added(6, 1)])
    assert closed_blocks(journal) == 1
    assert next(journal.recover()) == all_closed(6, 1, {"completed": 5})


def test_given_results_too_large_for_one_row_then_their_block_is_closed_all_the_same(
    opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "BODIES_BYTES_MAX", 250_000)
    journal = opened(keep_tasks=10)
    journal._db.limit(apsw.SQLITE_LIMIT_LENGTH, 300_000)
    journal.append([*JOBS, added(1, 10), HorizonMoved(10)])
    large = [completed(number, number, 1) for number in range(1, 11)]
    for event in large:
        journal.append([replace(event, batch=msgspec.structs.replace(event.batch, body=bytes(100_000)))])
    read = Mock(wraps=blocks.part_of)
    monkeypatch.setattr(blocks, "part_of", read)
    finish(journal)
    assert read.call_count == 2, "what stays where it is was read all the same"
    assert [event for event in journal.recover() if isinstance(event, TasksAdded)] == []
    assert [(number, block.first) for number, block in journal.results_after(0)] == [(n, n) for n in range(1, 11)]
    assert list(verify(path)) == []
    journal.append([added(11, 10), HorizonMoved(20), completed(11, 11, 10)])
    finish(journal, consumed=11)
    assert [number for number, _ in journal.results_after(0)] == [11]
    assert list(verify(path)) == []


def test_given_keys_then_each_is_new_once_also_after_a_restart(opened: Opened) -> None:
    journal = opened()
    one, two, three = (bytes([n]) * 16 for n in (1, 2, 3))
    assert journal.claim([one, b"", one, two, b""]) == [True, True, False, True, True]
    assert journal.claim([one]) == [False]
    journal.append([*JOBS, added(1, 2, keys=[one, b""])])
    kill(journal)
    assert journal._claimed == {two}
    again = opened()
    assert again.claim([one, two, three, three]) == [False, True, True, False]


def test_given_a_flipped_bit_in_an_open_block_then_it_is_not_taken_for_a_task(opened: Opened, path: Path) -> None:
    journal = opened()
    journal.append([*JOBS, added(1, 10, pad=50), HorizonMoved(10)])
    journal.close()
    content = bytearray(path.read_bytes())
    content[content.index(b"x" * 50) + 7] ^= 1
    path.write_bytes(content)
    again = opened()
    with pytest.raises(JournalBroken, match="row 1 of the table tasks"):
        list(again.recover())


def test_given_no_room_then_nothing_is_written_and_the_same_append_succeeds_later(opened: Opened) -> None:
    journal = opened()
    key = b"k" * 16
    book = Book()
    before: list[Recorded] = [*JOBS, added(1, 3), HorizonMoved(3), completed(1, 1, 3)]
    journal.append(before)
    book.add(before)
    pages = journal._db.pragma("page_count")
    journal._db.pragma("max_page_count", pages)
    assert journal.claim([key]) == [True]
    big: list[Recorded] = [added(4, 200, keys=[key] + [b""] * 199, pad=1000)]
    for _ in range(2):
        with pytest.raises(JournalFull, match="disk is full"):
            journal.append(big)
        journal.tend(0, idle=True)
        check(journal, book)
    journal._db.pragma("max_page_count", 1 << 30)
    journal.append(big)
    book.add(big)
    check(journal, book)
    kill(journal)
    again = opened()
    check(again, book)
    assert again.claim([key]) == [False]


def test_given_no_room_then_the_next_append_writes_nothing_but_its_own(opened: Opened) -> None:
    journal = opened()
    journal.append([*JOBS, added(1, 3), HorizonMoved(3), completed(1, 1, 3)])
    journal._db.pragma("max_page_count", journal._db.pragma("page_count"))
    with pytest.raises(JournalFull):
        journal.append([added(4, 200, pad=1000)])
    journal.append([HorizonMoved(3)])
    assert closed_blocks(journal) == 0
    journal.append([HorizonMoved(3)])
    assert closed_blocks(journal) == 1


FILE_LIMIT = """
import resource, sys
from pathlib import Path
from cyclone.journal import open_journal
from cyclone.master.journal import JournalFull
from tests.support.journal_checks import check
from tests.support.journals import JOBS, ORIGIN, Book, added
path = Path(sys.argv[1])
journal, book = open_journal(path, ORIGIN), Book()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, hard))
journal.append(JOBS)
book.add(JOBS)
refused = 0
while refused < 3:
    events = [added(book.last_id + 1, 10, pad=500)]
    try:
        journal.append(events)
    except JournalFull as error:
        refused += 1
    else:
        assert not refused
        book.add(events)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
journal.append(events)
book.add(events)
check(journal, book)
print(book.last_id)
"""


def test_given_a_limit_of_the_file_size_then_it_is_met_as_a_full_disk(opened: Opened, path: Path) -> None:
    command = [sys.executable, "-c", FILE_LIMIT, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    last_id = int(done.stdout)
    assert last_id > 50
    # That process ended without closing, so this one finds what a crash leaves.
    assert next(opened().recover()) == all_closed(last_id, 0, {})


@pytest.mark.parametrize("error", [apsw.IOError("fsync failed"), apsw.CorruptError("malformed")])
def test_given_a_failed_sync_then_nothing_is_written_any_more(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, error: apsw.Error
) -> None:
    journal = opened()
    journal.append(JOBS)
    failing = _Failing(journal._db, error)
    monkeypatch.setattr(journal, "_db", failing)
    with pytest.raises(JournalBroken):
        journal.append([added(1, 1)])
    failing.error = None
    with pytest.raises(JournalBroken):
        journal.append([added(1, 1)])
    with pytest.raises(JournalBroken):
        journal.tend(0, idle=True)
    journal.close()
    assert next(opened().recover()) == all_closed(0, 0, {})


class _Failing:
    """A connection whose COMMIT fails."""

    def __init__(self, db: apsw.Connection, error: apsw.Error) -> None:
        self._db = db
        self.error: apsw.Error | None = error

    def execute(self, statement: str, *rest: object) -> object:
        if self.error and statement == "COMMIT":
            raise self.error
        return self._db.execute(statement, *rest)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._db, name)


def test_given_another_program_that_holds_the_file_then_it_is_met_as_a_full_disk(opened: Opened, path: Path) -> None:
    journal = opened()
    journal._db.set_busy_timeout(0)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalFull, match="another program"):
        journal.append(JOBS)
    other.execute("ROLLBACK")
    journal.append(JOBS)
    other.close()


def test_given_a_log_that_grows_then_it_is_copied_now_and_then(
    opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyclone.journal.sqlite_journal._WAL_BYTES_MAX", 100_000)
    journal = opened()
    journal.append(JOBS)
    for turn in range(40):
        journal.append([added(turn * 10 + 1, 10, pad=1000)])
        journal.tend(0, idle=False)
    assert path.with_name(path.name + "-wal").stat().st_size < 250_000
    assert path.stat().st_size > 200_000
    journal.close()
    assert not path.with_name(path.name + "-wal").exists()
