"""A journal of an older version goes on: in place, in one transaction, and whatever reads it without a master sees it."""

import json
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from cyclone.errors import ConfigError
from cyclone.journal import SqliteJournal, schema
from cyclone.journal.export import read_records
from cyclone.journal.salvage import salvage
from cyclone.journal.stats import read_stats
from cyclone.journal.verify import verify
from cyclone.master.events import (
    AttemptsEnded,
    CancelWanted,
    ControllerJoined,
    ControllerMarked,
    GeneratorAdvanced,
    HorizonMoved,
    JobEnded,
    JobSealed,
    Recorded,
    TasksAdded,
)
from cyclone.master.progress import GeneratorProgress
from cyclone.protocol import states
from tests.support.journals import JOBS, Book, added, added_to, check, check_file, finish, recorded, submitted

Opened = Callable[..., SqliteJournal]

FIXTURE = Path(__file__).with_name("version_1.sql")
# What was appended to it, and then it was tidied up.
TURNS: list[list[Recorded]] = [
    [*JOBS, added(1, 4, keys=[b"k" * 16, b"", b"", b""]), added(5, 4), added(9, 2)],
    [HorizonMoved(8), ControllerJoined("node-1", "a" * 32)],
    [GeneratorAdvanced(GeneratorProgress(b"xyz", 10, 1, 10, 2)), AttemptsEnded(6, 1, 1, 1, states.CRASHED, "node-1")],
    [recorded(1, 1, [states.COMPLETED, states.FAILED, states.COMPLETED])],
    [recorded(2, 4, [states.COMPLETED, states.TIMED_OUT, states.COMPLETED], b"\x01\x01\x00", attempt=2)],
]


@pytest.fixture
def book(path: Path) -> Book:
    """The old file is there, and this is in it."""
    with apsw.Connection(str(path)) as db:
        db.execute(FIXTURE.read_text(encoding="utf-8"))
    model = Book()
    for events in TURNS:
        model.add(events)
    return model


def test_given_an_old_journal_then_a_master_goes_on_with_it(opened: Opened, path: Path, book: Book) -> None:
    journal = opened()
    assert journal.epoch == 2
    check(journal, book)
    replayed = list(journal.recover())
    assert CancelWanted(6, 10, "") in replayed
    assert ControllerMarked("node-2", True) in replayed
    assert journal.claim([b"k" * 16]) == [False]
    check_file(path, book)
    more: list[list[Recorded]] = [
        [submitted(3), added_to(3, 11, 3), added(14, 2), HorizonMoved(15, ((0, 15), (3, 13)))],
        [recorded(3, 9, [states.COMPLETED] * 7), JobSealed(3), JobEnded(3, 5.0)],
    ]
    for events in more:
        journal.append(events)
        book.add(events)
    finish(journal)
    journal.close()
    again = opened()
    check(again, book)
    again.close()
    check_file(path, book)


def test_given_an_old_journal_then_what_was_open_may_all_have_been_offered(opened: Opened, book: Book) -> None:
    journal = opened()
    replayed = list(journal.recover())
    assert [event for event in replayed if isinstance(event, HorizonMoved)] == [HorizonMoved(8, None)]
    assert [event.first for event in replayed if isinstance(event, TasksAdded)] == [5]
    journal.append([submitted(3), added_to(3, 11, 2), HorizonMoved(11, ((3, 11),))])
    (moved,) = [event for event in journal.recover() if isinstance(event, HorizonMoved)]
    assert moved == HorizonMoved(11, ((0, 8), (3, 11)))


def test_given_an_old_journal_then_a_migrated_one_is_like_a_new_one(opened: Opened, path: Path, book: Book) -> None:
    opened().close()
    with apsw.Connection(":memory:") as new, apsw.Connection(str(path)) as old:
        schema.create(new, schema.Origin("", {}))
        query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
        assert list(old.execute(query)) == list(new.execute(query))
        assert old.pragma("user_version") == new.pragma("user_version") == schema.SCHEMA_VERSION


def test_given_a_migration_that_is_cut_short_then_the_old_journal_is_as_it_was(
    opened: Opened, path: Path, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = (*schema._VERSION_2, "SELECT the power fails")
    monkeypatch.setattr(schema, "_MIGRATIONS", {1: statements})
    with pytest.raises(Exception, match="the power"):
        opened()
    monkeypatch.undo()
    with apsw.Connection(str(path)) as db:
        assert db.pragma("user_version") == 1
    check(opened(), book)


def test_given_an_old_journal_then_the_tools_read_it_and_change_nothing(path: Path, tmp_path: Path, book: Book) -> None:
    before = path.read_bytes()
    check_file(path, book)
    stats = read_stats(path)
    assert (stats.last_id, stats.jobs) == (10, {"open": 0, "ended": 0})
    out = tmp_path / "out.sqlite"
    assert list(salvage(path, out)) == []
    check_file(out, book)
    assert path.read_bytes() == before


def test_given_an_old_journal_with_a_damaged_first_page_then_salvage_finds_the_others(
    path: Path, tmp_path: Path, book: Book
) -> None:
    content = bytearray(path.read_bytes())
    content[:4096] = b"\xaa" * 4096
    path.write_bytes(content)
    out = tmp_path / "out.sqlite"
    assert list(salvage(path, out)) == []
    check_file(out, book)


def test_given_a_migrated_journal_with_a_damaged_first_page_then_salvage_finds_the_new_tables_too(
    opened: Opened, path: Path, tmp_path: Path, book: Book
) -> None:
    journal = opened()
    events: list[Recorded] = [submitted(3), added_to(3, 11, 3), JobSealed(3)]
    journal.append(events)
    book.add(events)
    journal.close()
    content = bytearray(path.read_bytes())
    with apsw.Connection(":memory:") as new:
        schema.create(new, schema.Origin("", {}))
        (roots,) = new.execute("SELECT value FROM meta WHERE key = 'roots'").get, 
    content[:4096] = b"\xaa" * 4096
    path.write_bytes(content)
    out = tmp_path / "out.sqlite"
    assert list(salvage(path, out)) == []
    check_file(out, book)
    assert json.loads(roots)


def test_the_first_page_has_room_for_all_tables() -> None:
    roots = {name: at for at, name in enumerate(("submitted", "job_keys"), 40)}
    page = schema.first_page(roots)
    # Of a page of a table: its kind, a leaf, behind which no other one follows.
    assert page[100] == 13
    assert len(page) == 4096


def test_given_a_format_before_the_first_then_it_is_refused(opened: Opened, path: Path, book: Book) -> None:
    with apsw.Connection(str(path)) as db:
        db.pragma("user_version", 0)
    with pytest.raises(ConfigError):
        opened()
    assert list(verify(path)) != [] or read_records(path)
