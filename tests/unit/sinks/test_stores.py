"""The stores without a server: files of SQLite and JSON lines, and how statements for MySQL are cut up."""

import json
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import apsw
import pytest
from mysql import connector

from cyclone.config import load
from cyclone.errors import ConfigError
from cyclone.sinks.columns import read_type
from cyclone.sinks.layouts import Column, Layout, Table, load_layout
from cyclone.sinks.stores.base import Batch, Cells, Rejected, Store, StoreUnavailable
from cyclone.sinks.stores.jsonlines import JsonLinesStore
from cyclone.sinks.stores.mysql import _STATEMENT_ROWS_MAX, MysqlStore, _Insert
from cyclone.sinks.stores.mysql_connection import check, is_bad_row, is_present, read_address
from cyclone.sinks.stores.mysql_schema import _plain, ddl
from cyclone.sinks.stores.sqlite import SqliteStore

JOURNAL = "ab" * 16
TABLE = Table("t", "a", (Column("a", read_type("INT"), lambda row: None),), (("a",),))
LAYOUT = Layout("own", (TABLE,))


def batch(*rows: Cells, end: int = 1) -> Batch:
    return Batch({TABLE: list(rows)}, {JOURNAL: end})


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


# --- MySQL


class Cursor:
    """Remembers statements, and refuses rows as a server does."""

    def __init__(self, bad: set[int] = frozenset(), present: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.calls: list[int] = []
        self.rows: list[int] = []
        self._bad = bad
        self._present = present

    def executemany(self, statement: str, rows: list[Cells]) -> None:
        assert statement == "INSERT INTO `t` (`a`, `cyclone_row`) VALUES (%s, %s)"
        self.calls.append(len(rows))
        for a, _ in rows:
            if a in self._bad:
                raise connector.Error("Data too long for column 'a' at row 1", errno=1406, sqlstate="22001")
            if a in self._present:
                raise connector.Error("Duplicate entry 'r1' for key 't.cyclone_row'", errno=1062, sqlstate="23000")
        self.rows += [a for a, _ in rows]


def inserted(cursor: Cursor, rows: list[Cells], packet_bytes_max: int = 16 << 20) -> _Insert:
    insert = _Insert(cast(Any, cursor), TABLE, rows, packet_bytes_max)
    insert.run()
    return insert


def test_given_many_rows_when_inserted_then_a_statement_has_so_many() -> None:
    cursor = Cursor()
    insert = inserted(cursor, [(n, f"r{n}") for n in range(2 * _STATEMENT_ROWS_MAX + 1)])
    assert cursor.calls == [_STATEMENT_ROWS_MAX, _STATEMENT_ROWS_MAX, 1]
    assert insert.stored == 2 * _STATEMENT_ROWS_MAX + 1


def test_given_bad_rows_and_rows_that_are_there_when_inserted_then_all_others_are_and_each_once() -> None:
    cursor = Cursor(bad={0, 37}, present={5, 6, 99})
    insert = inserted(cursor, [(n, f"r{n}") for n in range(100)])
    assert cursor.rows == [n for n in range(100) if n not in (0, 37, 5, 6, 99)]
    assert (insert.stored, insert.present) == (95, 3)
    assert [(bad.place, bad.error) for bad in insert.rejected] == [
        (0, "1406 Data too long for column 'a' at row 1"),
        (37, "1406 Data too long for column 'a' at row 1"),
    ]


def test_given_large_rows_when_inserted_then_no_statement_is_near_the_limit_and_what_never_fits_is_rejected() -> None:
    cursor = Cursor()
    rows = [(1, "x" * 100), (2, "x" * 90), (3, "'" * 550), (4, "x" * 600), (5, "\u20ac" * 340), (6, "y")]
    insert = inserted(cursor, rows, packet_bytes_max=1024)
    assert cursor.rows == [1, 2, 4, 6]
    assert all(call == 1 for call in cursor.calls)
    assert [bad.place for bad in insert.rejected] == [2, 4]
    assert insert.rejected[0].error == "longer than the server's max_allowed_packet"


def error(errno: int, sqlstate: str = "HY000", text: str = "") -> Any:
    return connector.Error(text, errno=errno, sqlstate=sqlstate)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Duplicate entry 'r' for key 'cyclone_row'", True),
        ("Duplicate entry 'r' for key 'lustre_ost_io.cyclone_row'", True),
        ("Duplicate entry 'cyclone_row' for key 'other'", False),
        ("Duplicate entry '1' for key 'not_cyclone_row'", False),
        ("Duplicate entry '1' for key 'PRIMARY'", False),
    ],
)
def test_given_a_duplicate_when_it_is_of_our_key_then_the_row_is_present(text: str, expected: bool) -> None:
    assert is_present(error(1062, "23000", text), "cyclone_row") is expected


@pytest.mark.parametrize(
    ("errno", "sqlstate", "expected"),
    [
        (1406, "22001", True), (1264, "22003", True), (1292, "22007", True), (1048, "23000", True),
        (1062, "23000", True), (1452, "23000", True), (4025, "23000", True), (1644, "45000", True),
        (1265, "01000", True), (1366, "HY000", True), (1364, "HY000", True), (3819, "HY000", True),
        (1054, "42S22", False), (1146, "42S02", False), (1142, "42000", False), (1045, "28000", False),
        (1205, "HY000", False), (1213, "40001", False), (1114, "HY000", False), (1290, "HY000", False),
        (1153, "08S01", False), (2055, "HY000", False), (2013, "HY000", False), (3024, "HY000", False),
        (1836, "HY000", False), (1021, "HY000", False), (1040, "08004", False), (1927, "70100", False),
    ],
)  # fmt: skip
def test_given_an_error_of_the_server_then_it_is_the_rows_fault_or_an_outage(
    errno: int, sqlstate: str, expected: bool
) -> None:
    assert is_bad_row(error(errno, sqlstate)) is expected


def test_given_the_original_layout_when_its_statements_are_printed_then_they_are_what_both_servers_take() -> None:
    [statement] = ddl(load_layout("lustre-original", "ost_performance"))
    assert statement == (
        "CREATE TABLE `ost_performance` (\n"
        "  `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,\n"
        "  `read_timestamp` TIMESTAMP NULL,\n"
        "  `write_timestamp` TIMESTAMP NULL,\n"
        "  `ost` CHAR(7) NULL,\n"
        "  `size` BIGINT UNSIGNED NULL,\n"
        "  `read_throughput` BIGINT NULL,\n"
        "  `write_throughput` BIGINT NULL,\n"
        "  `read_duration` INT NULL,\n"
        "  `write_duration` INT NULL,\n"
        "  `cyclone_row` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,\n"
        "  PRIMARY KEY (`id`),\n"
        "  UNIQUE KEY `cyclone_row` (`cyclone_row`)\n"
        ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    )


@pytest.mark.parametrize(
    ("shown", "layout", "same"),
    [
        ("bigint(20) unsigned", "BIGINT UNSIGNED", True),
        ("bigint unsigned", "BIGINT UNSIGNED", True),
        ("int(11)", "INTEGER", True),
        ("tinyint(1)", "BOOLEAN", True),
        ("longtext", "JSON", True),
        ("json", "JSON", True),
        ("varchar(64)", "VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin", True),
        ("char(3)", "CHAR(7)", False),
        ("int(11)", "BIGINT", False),
    ],
)
def test_given_a_type_as_a_server_shows_it_then_it_is_the_same_or_not(shown: str, layout: str, same: bool) -> None:
    assert (_plain(shown) == _plain(layout)) is same


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\0", b"\x01\0\0\0\x0a"])
def test_given_a_port_of_something_else_when_rows_come_then_the_store_is_unavailable(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            client, _ = server.accept()
            client.sendall(answer)
            client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        settings = load(None, [f"db.host=127.0.0.1:{port}", "db.database=d", "db.timeout=2s"], "database_proxy").db
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port}: "):
            MysqlStore(settings).insert(batch((1, "r1")))
        thread.join()


# --- where the server is


def address(*overrides: str) -> Any:
    return read_address(load(None, [f"db.{override}" for override in overrides], "database_proxy").db)


def test_given_an_option_file_then_it_gives_what_is_not_given_here(tmp_path: Path) -> None:
    path = tmp_path / "my.cnf"
    path.write_text(
        "!includedir /nowhere\n[mysqld]\nport = 1\n[client]\nuser=\"monitor\"\npassword = 'p#w=1'\n"
        "host = db.example\nport = 3307\nskip-something\nssl_ca = /ca.pem\n"
    )
    found = address(f"option_file={path}", "database=d")
    assert (found.user, found.password, found.host, found.port) == ("monitor", "p#w=1", "db.example", 3307)
    assert found.tls_ca == Path("/ca.pem")
    found = address(f"option_file={path}", "database=d", "host=other:1234", "user=me", "password=mine")
    assert (found.user, found.password, found.host, found.port) == ("me", "mine", "other", 1234)
    assert "mine" not in repr(found) and "mine" not in str(found)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("db", ("db", 3306)),
        ("db:1", ("db", 1)),
        ("::1", ("::1", 3306)),
        ("[::1]:7", ("::1", 7)),
        ("[::1]", ("::1", 3306)),
    ],
)
def test_given_a_host_with_or_without_a_port_then_both_are_known(host: str, expected: tuple[str, int]) -> None:
    found = address(f"host={host}", "database=d")
    assert (found.host, found.port) == expected


def test_given_a_password_file_then_it_is_read_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("one\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert address("host=a", "database=d", "password_file=secret").password == "one"
    (tmp_path / "secret").write_text("two")
    assert address("host=a", "database=d", "password_file=secret").password == "two"


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (("host=a",), "[db] database: is empty"),
        (("host=a:b", "database=d"), "[db] host: 'a:b': 'b' is no port"),
        (("host=a", "database=d", "option_file=/no/such"), "[db] option_file: /no/such: No such file"),
        (("host=a", "database=d", "password=p", "password_file=x"), "there is a password too"),
        (("socket=/s", "database=d", "tls=verify"), "[db] tls: verify is for a host"),
    ],
)
def test_given_a_server_that_cannot_be_reached_like_this_then_the_error_says_why(
    overrides: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        address(*overrides)
    assert problem in str(caught.value)


def test_given_a_certificate_file_that_is_missing_when_checked_then_the_error_names_it() -> None:
    overrides = ["db.host=a", "db.database=d", "db.tls_ca=/no/such.pem"]
    with pytest.raises(ConfigError, match=r"\[db\] tls_ca: there is no file /no/such\.pem"):
        check(load(None, overrides, "database_proxy").db)
    check(load(None, [*overrides, "db.tls=off"], "database_proxy").db)


def test_given_an_option_file_with_a_port_that_is_none_then_the_error_says_where(tmp_path: Path) -> None:
    path = tmp_path / "my.cnf"
    path.write_text("[client]\nport = x\n")
    with pytest.raises(ConfigError, match=r"my\.cnf: port: 'x' is no port"):
        address("host=a", "database=d", f"option_file={path}")


def test_given_an_option_file_that_is_none_then_no_line_of_it_is_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "my.cnf"
    path.write_text("password = topsecret\n")
    with pytest.raises(ConfigError) as caught:
        address("host=a", "database=d", f"option_file={path}")
    assert "topsecret" not in str(caught.value)
    assert os.fspath(path) in str(caught.value)
