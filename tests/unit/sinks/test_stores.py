"""The stores without a server: files of SQLite and JSON lines."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from cyclone.sinks.stores.base import Cells, Rejected, Store, StoreUnavailable
from cyclone.sinks.stores.jsonlines import JsonLinesStore
from cyclone.sinks.stores.sqlite import SqliteStore
from tests.support.stores import JOURNAL, LAYOUT, TABLE, batch


def stored(store: Store, *rows: Cells, end: int = 1) -> tuple[int, int, Sequence[Rejected]]:
    outcome = store.insert(batch(*rows, end=end))
    store.commit()
    return outcome.stored[TABLE], outcome.present, outcome.rejected


# --- SQLite


def table_of(path: Path) -> list[tuple[Any, ...]]:
    db = apsw.Connection(str(path))
    try:
        return list(db.execute("SELECT a, cyclone_row FROM t ORDER BY id"))
    finally:
        db.close()


def test_given_rows_when_stored_again_then_they_are_there_once(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "folder" / "x.sqlite", LAYOUT)
    assert stored(store, (1, "r1"), (2, "r2")) == (2, 0, [])
    assert stored(store, (2, "r2"), (3, "r3")) == (1, 1, [])
    store.close()
    assert table_of(tmp_path / "folder" / "x.sqlite") == [(1, "r1"), (2, "r2"), (3, "r3")]


def test_given_a_table_of_an_earlier_layout_when_opened_then_what_it_lacks_is_added(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE t (other TEXT)")
    db.execute("INSERT INTO t VALUES ('kept')")
    db.close()
    store = SqliteStore(path, LAYOUT)
    store.create()
    assert stored(store, (1, "r1"))[0] == 1
    store.close()
    db = apsw.Connection(str(path))
    assert list(db.execute("SELECT other, a, cyclone_row FROM t")) == [("kept", None, None), (None, 1, "r1")]
    db.close()


def test_given_a_row_that_a_constraint_refuses_when_stored_then_only_that_one_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER CHECK (a < 10) UNIQUE)")
    db.close()
    store = SqliteStore(path, LAYOUT)
    # Twice the same a in different rows is no replay.
    count, present, rejected = stored(store, (1, "r1"), (10, "r2"), (1, "r3"), (2, "r4"))
    store.close()
    assert (count, present) == (2, 0)
    assert [(bad.place, bad.error.split(":")[0]) for bad in rejected] == [
        (1, "CHECK constraint failed"),
        (2, "UNIQUE constraint failed"),
    ]


def test_given_a_file_that_cannot_be_used_when_it_can_again_then_the_store_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.mkdir()
    store = SqliteStore(path, LAYOUT)
    with pytest.raises(StoreUnavailable, match=r"x\.sqlite: .*unable to open"):
        store.insert(batch((1, "r1")))
    path.rmdir()
    assert stored(store, (1, "r1"))[0] == 1
    store.close()


def test_given_an_insert_without_its_commit_when_the_batch_comes_again_then_it_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    store = SqliteStore(path, LAYOUT)
    store.insert(batch((1, "r1")))
    store.close()
    assert stored(store, (1, "r1")) == (1, 0, [])
    store.close()
    assert table_of(path) == [(1, "r1")]


def test_given_a_file_that_is_moved_away_or_deleted_when_rows_come_then_a_new_one_is_begun(tmp_path: Path) -> None:
    path, moved = tmp_path / "x.sqlite", tmp_path / "moved.sqlite"
    store = SqliteStore(path, LAYOUT)
    stored(store, (1, "r1"))
    path.rename(moved)
    assert stored(store, (2, "r2"))[0] == 1
    path.unlink()
    assert stored(store, (3, "r3"))[0] == 1
    store.close()
    assert table_of(moved) == [(1, "r1")]
    assert table_of(path) == [(3, "r3")]


# --- JSON lines


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def line(a: int) -> dict[str, Any]:
    return {"table": "t", "a": a, "cyclone_row": f"r{a}"}


def test_given_lines_when_the_file_is_opened_again_then_it_knows_which_blocks_it_has(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    store = JsonLinesStore(path)
    assert not store.has(JOURNAL, 1)
    assert stored(store, (1, "r1"), end=3) == (1, 0, ())
    store.close()
    store = JsonLinesStore(path)
    assert store.has(JOURNAL, 3) and not store.has(JOURNAL, 4) and not store.has("cd" * 16, 1)
    stored(store, (2, "r2"), end=4)
    store.close()
    assert lines_of(path) == [line(1), line(2)]


@pytest.mark.parametrize("tail", [b"", b'{"table": "t", "a": 9', b'{"table": "t", "a": 9}\n'])
def test_given_a_batch_that_a_crash_has_cut_when_it_comes_again_then_it_is_there_once(
    tmp_path: Path, tail: bytes
) -> None:
    path = tmp_path / "x.jsonl"
    store = JsonLinesStore(path)
    stored(store, (1, "r1"))
    store.insert(batch((2, "r2"), end=2))
    store.close()
    with path.open("ab") as file:
        file.write(tail)
    store = JsonLinesStore(path)
    assert not store.has(JOURNAL, 2)
    # And once more, without a crash in between.
    store.insert(batch((2, "r2"), end=2))
    stored(store, (2, "r2"), end=2)
    store.close()
    assert lines_of(path) == [line(1), line(2)]


def test_given_a_file_that_is_moved_away_when_lines_come_then_a_new_one_is_begun_and_the_old_one_whole(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.jsonl"
    store = JsonLinesStore(path)
    stored(store, (1, "r1"))
    path.rename(tmp_path / "x.jsonl.1")
    stored(store, (2, "r2"), end=2)
    assert store.has(JOURNAL, 2)
    store.close()
    assert lines_of(path) == [line(2)]
    assert lines_of(tmp_path / "x.jsonl.1") == [line(1)]


def test_given_a_file_that_is_made_empty_when_lines_come_then_it_holds_these_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    store = JsonLinesStore(path)
    stored(store, (1, "r1"), (2, "r2"))
    # As logrotate does with copytruncate.
    os.truncate(path, 0)
    stored(store, (3, "r3"), end=2)
    assert store.has(JOURNAL, 2)
    store.close()
    assert lines_of(path) == [line(3)]


def test_given_a_file_of_somebody_else_when_opened_then_nothing_of_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"kept": 1}\n')
    store = JsonLinesStore(path)
    stored(store, (2, "r2"))
    store.close()
    assert lines_of(path) == [{"kept": 1}, line(2)]


def test_given_a_folder_that_cannot_be_written_when_stored_then_it_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.mkdir()
    with pytest.raises(StoreUnavailable, match="Is a directory"):
        JsonLinesStore(path).has(JOURNAL, 1)
    other = tmp_path / "y.jsonl"
    other.with_name("y.jsonl.position").write_text("rubbish")
    with pytest.raises(StoreUnavailable, match="is not what was written there"):
        JsonLinesStore(other).has(JOURNAL, 1)
