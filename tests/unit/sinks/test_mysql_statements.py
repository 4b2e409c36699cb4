"""How statements for MySQL are cut up, and what a server says of them."""

import socket
import threading
from typing import Any, cast

import pytest
from mysql import connector

from cyclone.config import load
from cyclone.sinks.layouts import load_layout
from cyclone.sinks.stores.base import Cells, StoreUnavailable
from cyclone.sinks.stores.mysql import _STATEMENT_ROWS_MAX, MysqlStore, _Insert
from cyclone.sinks.stores.mysql_connection import is_bad_row, is_present
from cyclone.sinks.stores.mysql_schema import _plain, ddl
from tests.support.stores import TABLE, batch


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
