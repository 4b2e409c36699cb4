"""Tables in a real MariaDB: made, migrated and mended, and what they hold of what tasks have recorded."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from mysql.connector import MySQLConnection

from cyclone.sinks.stores.base import StoreUnavailable
from tests.support.lab import Lab
from tests.support.mariadb import ADMIN, DATABASE, CommitCutter, MariaDb
from tests.support.procfs import wait_until
from tests.support.proxies import TABLE, create, make_tables, probes, proxy, start
from tests.support.sink_sender import Sender, block, probe

pytestmark = pytest.mark.slow

# What the original makes.
ORIGINAL_TABLE = """CREATE TABLE ost_performance (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    read_timestamp TIMESTAMP NOT NULL DEFAULT '0000-00-00 00:00:00',
    write_timestamp TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    ost CHAR(7) NOT NULL, size BIGINT UNSIGNED NOT NULL, read_throughput BIGINT NOT NULL,
    write_throughput BIGINT NOT NULL, read_duration INT NOT NULL, write_duration INT NOT NULL
) ENGINE=MyISAM DEFAULT CHARSET=latin1"""


def test_given_the_table_of_the_original_when_it_is_migrated_then_its_readers_find_what_they_know(
    lab: Lab, server: MariaDb
) -> None:
    with server.connect(database=DATABASE) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = '', time_zone = '+00:00'")
        cursor.execute(ORIGINAL_TABLE)
        cursor.execute("INSERT INTO ost_performance VALUES (NULL, 0, 0, 'OST0001', 1, 2, 3, 4, 5)")
    keys = {"table": "ost_performance", "layout": "lustre-original"}
    made = create(lab, server, **keys)
    assert made.stdout().count("ALTER TABLE `ost_performance` ADD") == 2
    assert "ost_performance: is of the engine MyISAM" in made.stderr()
    assert "nothing is missing" in create(lab, server, **keys).stdout()
    cutter = CommitCutter(server.port)
    started = proxy(lab, server.proxy_keys(host=f"127.0.0.1:{cutter.port}", **keys))
    failed = probe(9, read_timestamp=None, read_bytes_per_s=None, read_s=None, error="OSError: gone")
    cutter.armed.set()
    with Sender(lab.port, [block(1, [probe(0), failed])]) as sender:
        sender.wait()
        started.says("storing again after")
    assert cutter.cuts == 1
    with server.connect(database=DATABASE) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION time_zone = '+00:00'")
        cursor.execute(
            "SELECT id, read_timestamp + 0, write_timestamp + 0, ost, size, read_throughput, write_throughput,"
            " read_duration, write_duration FROM ost_performance ORDER BY id"
        )
        _, first, second = cursor.fetchall()
    assert first[1:] == (20260528202642, 20260528202641, "OST0000", 1 << 30, 1_500_000_000, 1_100_000_000, 1, 1)
    assert second[1:] == (20260528202641, 20260528202641, "OST0009", 1 << 30, -1, 1_100_000_000, -1, 1)
    cutter.close()


def test_given_the_new_tables_when_made_with_a_view_then_it_shows_them_as_the_original_did(
    lab: Lab, server: MariaDb
) -> None:
    made = create(lab, server, table="ost_performance")
    assert "CREATE VIEW `ost_performance`" in made.stdout()
    server.execute("ALTER TABLE lustre_ost_io DROP COLUMN error, DROP KEY write_timestamp, DROP KEY cyclone_row")
    mended = create(lab, server, table="ost_performance")
    assert "ADD COLUMN `error` TEXT NULL" in mended.stdout()
    assert "ADD UNIQUE KEY `cyclone_row` (`cyclone_row`), ADD KEY `write_timestamp`" in mended.stdout()
    proxy(lab, server.proxy_keys(table="ost_performance"))
    with Sender(lab.port, [block(1, [probe(10, read_bytes_per_s=None, read_s=None, error="gone")])]) as sender:
        sender.wait()
        wait_until(lambda: server.count(TABLE) == 1, "the row is stored")
    [shown] = server.execute(
        "SELECT ost, size, read_throughput, write_throughput, read_duration, write_duration FROM ost_performance"
    )
    assert shown == ("OST000a", 1 << 30, -1, 1_100_000_000, -1, 1)
    printed = start(lab, {"driver": "mysql", "table": "ost_performance"}, "--print-ddl")
    assert printed.exits() == 0
    server.execute(f"DROP DATABASE {DATABASE}")
    server.execute(f"CREATE DATABASE {DATABASE}")
    for statement in printed.stdout().split(";\n"):
        server.execute(statement)
    assert "nothing is missing" in create(lab, server, table="ost_performance").stdout()


def test_given_a_transaction_that_has_not_ended_when_the_same_rows_come_then_they_wait_for_what_it_comes_to(
    lab: Lab, server: MariaDb
) -> None:
    make_tables(server)
    dying, batch = probes(server)
    next_one, _ = probes(server)
    try:
        dying.insert(batch)
        with pytest.raises(StoreUnavailable, match="1205 Lock wait timeout exceeded"):
            next_one.insert(batch)
        dying.commit()
        outcome = next_one.insert(batch)
        next_one.commit()
        assert (sum(outcome.stored.values()), outcome.present, outcome.rejected) == (0, 10, [])
    finally:
        dying.close()
        next_one.close()
    assert server.count(TABLE) == 10


def test_given_a_server_that_freezes_just_after_it_was_asked_whether_it_is_there_then_the_timeout_is_what_is_told(
    server: MariaDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tables(server)
    store, batch = probes(server)
    store.insert(batch)
    store.commit()
    is_connected = MySQLConnection.is_connected

    def is_connected_for_the_last_time(connection: MySQLConnection) -> bool:
        answered = is_connected(connection)
        server.freeze()
        return answered

    monkeypatch.setattr(MySQLConnection, "is_connected", is_connected_for_the_last_time)
    try:
        with pytest.raises(StoreUnavailable, match="no answer within \\[db\\] timeout"):
            store.insert(batch)
    finally:
        server.thaw()
        store.close()


def test_given_a_server_whose_language_has_another_word_order_when_rows_come_again_then_they_are_known(
    server: MariaDb,
) -> None:
    make_tables(server)
    server.execute("SET GLOBAL lc_messages = 'ja_JP'")
    store, batch = probes(server)
    try:
        for present in (0, 10):
            outcome = store.insert(batch)
            store.commit()
            assert (outcome.present, outcome.rejected) == (present, [])
    finally:
        store.close()
        server.execute("SET GLOBAL lc_messages = 'en_US'")


@pytest.mark.parametrize("key", ["", ", ADD KEY cyclone_row (cyclone_row)", ", ADD UNIQUE KEY (cyclone_row, id)"])
def test_given_a_table_without_its_unique_key_then_nothing_is_stored_that_could_come_twice(
    server: MariaDb, key: str
) -> None:
    make_tables(server)
    server.execute(f"ALTER TABLE {TABLE} DROP KEY cyclone_row{key}")
    store, batch = probes(server)
    try:
        with pytest.raises(StoreUnavailable, match=f"{TABLE} has no unique key cyclone_row .*--create-table adds it"):
            store.insert(batch)
    finally:
        store.close()
    assert server.count(TABLE) == 0


def test_given_a_table_that_is_altered_for_longer_than_the_timeout_then_the_command_waits_for_it(
    server: MariaDb,
) -> None:
    make_tables(server)
    server.execute(f"ALTER TABLE {TABLE} DROP COLUMN error")
    waiting = f"SELECT TIME_MS > 1200 FROM information_schema.PROCESSLIST WHERE USER = '{ADMIN}' AND INFO LIKE 'ALTER%'"
    with ThreadPoolExecutor(1) as pool, server.connect(database=DATABASE) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT * FROM {TABLE}")
        cursor.fetchall()
        made = pool.submit(make_tables, server, timeout="1s")
        wait_until(lambda: made.done() or server.execute(waiting) == [(1,)], "it waits for the one who reads")
        cursor.execute("COMMIT")
        assert made.result().done == [f"ALTER TABLE `{TABLE}` ADD COLUMN `error` TEXT NULL"]


def test_given_a_field_of_each_type_when_stored_then_the_server_has_what_the_task_recorded(
    lab: Lab, server: MariaDb
) -> None:
    # Type, what the task records, and what the server has.
    cases: list[tuple[str, Any, Any]] = [
        ("BOOLEAN", True, 1),
        ("TINYINT", -128, -128),
        ("BIGINT UNSIGNED", (1 << 64) - 1, (1 << 64) - 1),
        ("FLOAT", 1.5, 1.5),
        ("DOUBLE", 1.7976931348623157e308, 1.7976931348623157e308),
        ("DOUBLE", 5e-324, 5e-324),
        ("DOUBLE", float("nan"), None),
        ("DECIMAL(12,3)", 123456.789, Decimal("123456.789")),
        ("VARCHAR(20)", "%s %% \\' \" \n\r\t\x00\x1a\U0001f41f", "%s %% \\' \" \n\r\t\x00\x1a\U0001f41f"),
        ("LONGTEXT", "x" * 3_000_000, "x" * 3_000_000),
        ("VARBINARY(8)", b"\x00\xff'\\\n\xed\xa0\x80", b"\x00\xff'\\\n\xed\xa0\x80"),
        ("LONGBLOB", bytes(range(256)), bytes(range(256))),
        ("DATETIME(6)", 1_780_000_001.25, datetime(2026, 5, 28, 20, 26, 41, 250000)),
        ("TIMESTAMP(3)", 1_780_000_001.25, datetime(2026, 5, 28, 20, 26, 41, 250000)),
        ("JSON", {"a": ["'", None]}, '{"a":["\'",null]}'),
        ("INT", None, None),
    ]
    columns = "".join(f"    c{n} = {kind} from c{n}\n" for n, (kind, _, _) in enumerate(cases))
    layout = lab.folder / "types.conf"
    layout.write_text(f"[table types]\nrecord = sample\ncolumns =\n{columns}")
    make_tables(server, str(layout))
    proxy(lab, server.proxy_keys(layout=str(layout)))
    record = {f"c{n}": value for n, (_, value, _) in enumerate(cases)}
    with Sender(lab.port, [block(1, [record], "sample")]) as sender:
        sender.wait()
        wait_until(lambda: server.count("types") == 1, "the row is stored")
    with server.connect(database=DATABASE) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION time_zone = '+00:00'")
        cursor.execute("SELECT * FROM types")
        [row] = cursor.fetchall()
    assert list(row[1:-1]) == [expected for _, _, expected in cases]
