"""A journal of an older version goes on: in place and in one transaction; who only reads it sees it as it would be."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apsw
import msgspec
import pytest

from cyclone.journal import SqliteJournal, schema
from cyclone.journal.reader import Reader
from cyclone.journal.salvage import salvage
from cyclone.journal.stats import read_stats
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
    ResultsRecorded,
    TasksAdded,
)
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.master.journal import JournalBroken
from cyclone.protocol import states
from tests.support.journal_checks import check, check_file
from tests.support.journals import JOBS, Book, added, added_to, finish, recorded, submitted

Opened = Callable[..., SqliteJournal]

FIXTURE = Path(__file__).with_name("version_1.sql")
# What was appended to it, and then it was tidied up.
TURNS: list[list[Recorded]] = [
    [*JOBS, added(1, 4, keys=[b"k" * 16, b"", b"", b""]), added(5, 4), added(9, 2)],
    [HorizonMoved(8), ControllerJoined("node-1", "a" * 32)],
    [GeneratorAdvanced(GeneratorProgress(b"xyz", 10, 1, 10, 2)), AttemptsEnded(6, 1, 1, 1, states.CRASHED, "node-1")],
    [recorded(1, 1, [states.COMPLETED, states.FAILED, states.COMPLETED])],
    [recorded(2, 4, [states.COMPLETED, states.TIMED_OUT, states.COMPLETED], b"\x01\x01\x00", attempt=2)],
    [CancelWanted(6, 10, ""), ControllerMarked("node-2", True)],
]


@pytest.fixture
def book(path: Path) -> Book:
    """The old file is there, and this is in it."""
    with contextlib.closing(apsw.Connection(str(path))) as db:
        db.execute(FIXTURE.read_text(encoding="utf-8"))
    with Reader(path) as reader:
        # As they were encoded then; what is in them is looked at by ``check_file``.
        bodies = {number: block.body for number, block in reader.lookup.results_after(0)}
    model = Book()
    for events in TURNS:
        model.add([_with_body(event, bodies) for event in events])
    return model


def _with_body(event: Recorded, bodies: dict[int, bytes]) -> Recorded:
    if not isinstance(event, ResultsRecorded):
        return event
    return replace(event, batch=msgspec.structs.replace(event.batch, body=bodies[event.number]))


def test_given_an_old_journal_then_a_master_goes_on_with_it(opened: Opened, path: Path, book: Book) -> None:
    journal = opened()
    assert journal.epoch == 2
    check(journal, book)
    replayed = list(journal.recover())
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
    with contextlib.closing(apsw.Connection(":memory:")) as new, contextlib.closing(apsw.Connection(str(path))) as old:
        schema.create(new, schema.Origin("", {}))
        query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
        assert list(old.execute(query)) == list(new.execute(query))
        assert old.pragma("user_version") == new.pragma("user_version") == schema.SCHEMA_VERSION


def test_given_a_migration_that_is_cut_short_then_the_old_journal_is_as_it_was(
    opened: Opened, path: Path, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = (*schema._VERSION_2, "SELECT the power fails")
    monkeypatch.setattr(schema, "_MIGRATIONS", {1: statements})
    with pytest.raises(JournalBroken, match="syntax error"):
        opened()
    monkeypatch.undo()
    with contextlib.closing(apsw.Connection(str(path))) as db:
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
    with contextlib.closing(apsw.Connection(":memory:")) as new, contextlib.closing(apsw.Connection(str(path))) as old:
        # So many that new tables begin elsewhere than in a new file.
        old.execute("BEGIN")
        old.executemany("INSERT INTO keys VALUES (?)", [(b"%016d" % number,) for number in range(1000)])
        old.execute("COMMIT")
        opened().close()
        schema.create(new, schema.Origin("", {}))
        roots, others = (json.loads(schema.read_meta(db)["roots"]) for db in (old, new))
    assert roots["tasks"] == others["tasks"]
    assert roots["submitted"] != others["submitted"]
    journal = opened()
    events: list[Recorded] = [submitted(3), added_to(3, 11, 3), JobSealed(3)]
    journal.append(events)
    book.add(events)
    journal.close()
    content = bytearray(path.read_bytes())
    content[:4096] = b"\xaa" * 4096
    path.write_bytes(content)
    out = tmp_path / "out.sqlite"
    assert list(salvage(path, out)) == []
    check_file(out, book)


def test_the_first_page_has_room_for_all_tables() -> None:
    roots = {name: at for at, name in enumerate(("submitted", "job_keys"), 40)}
    page = schema.first_page(roots)
    # Of a page of a table: its kind, a leaf, behind which no other one follows.
    assert page[100] == 13
    assert len(page) == 4096
