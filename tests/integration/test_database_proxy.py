"""The database proxy against a real MariaDB, while either of them, or what is between, is harmed: every row once."""

import json
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cyclone.config import load
from cyclone.settings import DatabaseSettings
from cyclone.sinks.layouts import load_layout
from cyclone.sinks.rows import rows
from cyclone.sinks.stores import mysql_schema
from cyclone.sinks.stores.base import Batch, StoreUnavailable
from cyclone.sinks.stores.mysql import MysqlStore
from cyclone.sinks.stores.mysql_schema import Changes
from tests.support.lab import Lab, Started
from tests.support.mariadb import ADMIN, DATABASE, PASSWORD, CommitCutter, MariaDb, install
from tests.support.parts import program
from tests.support.procfs import wait_until
from tests.support.recording import RECORDING
from tests.support.sink_sender import JOURNAL, Sender, block, probe

pytestmark = pytest.mark.slow

TABLE = "lustre_ost_io"
ROWS_PER_BLOCK = 1000
# What the original makes.
ORIGINAL_TABLE = """CREATE TABLE ost_performance (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    read_timestamp TIMESTAMP NOT NULL DEFAULT '0000-00-00 00:00:00',
    write_timestamp TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    ost CHAR(7) NOT NULL, size BIGINT UNSIGNED NOT NULL, read_throughput BIGINT NOT NULL,
    write_throughput BIGINT NOT NULL, read_duration INT NOT NULL, write_duration INT NOT NULL
) ENGINE=MyISAM DEFAULT CHARSET=latin1"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("db") / "template")


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[MariaDb]:
    database = MariaDb(tmp_path_factory.mktemp("db") / "d", template)
    yield database
    database.kill()


@pytest.fixture
def server(shared_server: MariaDb) -> MariaDb:
    """The server with an empty database."""
    shared_server.execute(f"DROP DATABASE {DATABASE}")
    shared_server.execute(f"CREATE DATABASE {DATABASE}")
    return shared_server


def start(lab: Lab, keys: dict[str, str], *options: str, **sections: dict[str, str]) -> Started:
    config = lab.config({"db": keys, **sections}, "proxy.conf")
    return lab.start("cyclone-database-proxy", "-f", config, *options)


def proxy(lab: Lab, keys: dict[str, str], **sections: dict[str, str]) -> Started:
    started = start(lab, keys, **sections)
    started.says("database proxy at ")
    return started


def as_admin(server: MariaDb, **keys: str) -> dict[str, str]:
    return {"socket": str(server.socket), "user": ADMIN, "password": PASSWORD, "database": DATABASE, **keys}


def create(lab: Lab, server: MariaDb, **keys: str) -> Started:
    """The command, for whoever wants to know what it says."""
    made = start(lab, as_admin(server, **keys), "--create-table")
    assert made.exits() == 0, made.stderr()
    return made


def make_tables(server: MariaDb, layout: str = "lustre", **keys: str) -> Changes:
    """What the command does, without a process."""
    return mysql_schema.create(settings_of(as_admin(server, **keys)), load_layout(layout))


def settings_of(keys: dict[str, str]) -> DatabaseSettings:
    return load(None, [f"db.{key}={value}" for key, value in keys.items()], "database_proxy").db


def probes(server: MariaDb) -> tuple[MysqlStore, Batch]:
    """A store, and ten rows for it."""
    [table] = load_layout("lustre").tables[:1]
    batch = Batch({table: [table.cells(row) for row in rows(JOURNAL, block(1, [probe(1)] * 10)) if row.ordinal]})
    return MysqlStore(settings_of(server.proxy_keys())), batch


def outages(started: Started) -> int:
    return started.stderr().count("cannot store, rows stay in the spool")


class Flow:
    """Blocks on their way through a proxy, so many at a time."""

    def __init__(self, lab: Lab, server: MariaDb, sender: Sender) -> None:
        self.lab = lab
        self.server = server
        self._sender = sender
        self.rows = 0

    def send(self, blocks: int) -> None:
        first = self.rows + 1
        starts = range(first, first + blocks * ROWS_PER_BLOCK, ROWS_PER_BLOCK)
        self._sender.send([block(at, [probe(ost) for ost in range(ROWS_PER_BLOCK)]) for at in starts])
        self.rows += blocks * ROWS_PER_BLOCK

    def arrives(self, rows: int | None = None, table: str = TABLE) -> None:
        wanted = self.rows if rows is None else rows
        wait_until(lambda: self.server.count(table) >= wanted, f"{wanted} rows are stored")

    @contextmanager
    def harmed(self, started: Started) -> Iterator[None]:
        """Harm begins while rows flow, and ends when the proxy has noticed."""
        before, known = self.server.count(TABLE), outages(started)
        self.send(4)
        self.arrives(before + ROWS_PER_BLOCK)
        yield
        self.send(8)
        wait_until(lambda: outages(started) > known, "the proxy notices")


def assert_each_row_once(server: MariaDb, rows: int, table: str = TABLE) -> None:
    found = server.execute(f"SELECT count(*), count(DISTINCT cyclone_row), min(task_id), max(task_id) FROM {table}")
    assert found == [(rows, rows, 1, rows)]


def test_given_100000_rows_when_server_connection_and_proxy_are_harmed_one_after_the_other_then_each_is_there_once(
    lab: Lab, server: MariaDb
) -> None:
    make_tables(server)
    cutter = CommitCutter(server.port)
    keys = server.proxy_keys(host=f"127.0.0.1:{cutter.port}", timeout="1s", store_max_count="1000")
    started = proxy(lab, keys)
    with Sender(lab.port) as sender:
        flow = Flow(lab, server, sender)
        with flow.harmed(started):
            cutter.armed.set()
        flow.arrives()
        assert cutter.cuts == 1
        started.says("were stored already, by an attempt that had no answer")

        with flow.harmed(started):
            server.kill()
        server.start()
        flow.arrives()

        with flow.harmed(started):
            server.freeze()
        server.thaw()
        flow.arrives()
        assert "no answer within [db] timeout" in started.stderr()

        with flow.harmed(started):
            server.execute("SET GLOBAL read_only = 1")
        assert "1290" in started.stderr()
        server.execute("SET GLOBAL read_only = 0")
        flow.arrives()

        flow.send(12)
        flow.arrives(flow.rows - 10 * ROWS_PER_BLOCK)
        started.signal(signal.SIGKILL)
        assert started.exits() == -signal.SIGKILL
        started = proxy(lab, keys)
        flow.arrives()

        with flow.harmed(started):
            server.stop()
        server.start()
        flow.send((100_000 - flow.rows) // ROWS_PER_BLOCK)
        sender.wait()
        flow.arrives()
    started.signal(signal.SIGTERM)
    assert started.exits() == 0, started.stderr()
    assert started.stderr().count("storing again after") == outages(started) >= 1
    assert "0 blocks stay spooled" in started.stderr()
    assert_each_row_once(server, 100_000)
    cutter.close()


def test_given_a_database_that_is_full_when_it_has_room_again_then_nothing_is_missing(
    lab: Lab, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = MariaDb(tmp_path_factory.mktemp("db") / "f", template)
    try:
        server.stop()
        room = (server.data / "ibdata1").stat().st_size // (1 << 20) + 2
        server.start("--innodb-file-per-table=0", f"--innodb-data-file-path=ibdata1:4M:autoextend:max:{room}M")
        make_tables(server)
        started = proxy(lab, server.proxy_keys())
        with Sender(lab.port) as sender:
            flow = Flow(lab, server, sender)
            flow.send(20)
            started.says("1114 The table 'lustre_ost_io' is full")
            server.stop()
            server.start("--innodb-file-per-table=0")
            flow.arrives()
        assert_each_row_once(server, 20_000)
        started.signal(signal.SIGTERM)
        assert started.exits() == 0
    finally:
        server.kill()


def test_given_a_wrong_password_and_no_table_when_both_are_mended_then_what_waited_is_stored(
    lab: Lab, server: MariaDb
) -> None:
    secret = lab.folder / "password"
    secret.write_text("n0t-this\n")
    keys = server.proxy_keys(password_file=str(secret))
    del keys["password"]
    started = proxy(lab, keys)
    with Sender(lab.port, [block(1, [probe(1)] * 10)]) as sender:
        sender.wait()
        started.says("1045 Access denied")
        secret.write_text(f"{PASSWORD}\n")
        started.says(
            "1146 Table 'monitoring.lustre_ost_io' doesn't exist; cyclone-database-proxy --create-table makes it"
        )
        make_tables(server)
        started.says("storing again after")
        wait_until(lambda: server.count(TABLE) == 10, "the rows are stored")
    assert outages(started) == 1
    assert PASSWORD not in started.stderr() and "n0t-this" not in started.stderr()


def test_given_rows_that_the_server_will_never_take_then_they_are_in_the_file_with_the_reason_and_all_others_stored(
    lab: Lab, server: MariaDb
) -> None:
    make_tables(server)
    server.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT small CHECK (size_bytes < 100)")
    records = [probe(ost, size_bytes=7) for ost in range(1000)]
    records[0]["size_bytes"] = 100
    records[500]["ost"] = "OST12345"
    records[998]["size_bytes"] = 1 << 63
    records[999]["fs"] = "lustre\U0001f41f' \\ \x1a\n\"; DROP TABLE x; --"
    started = proxy(lab, server.proxy_keys())
    with Sender(lab.port, [block(1, records)]) as sender:
        sender.wait()
        wait_until(lambda: server.count(TABLE) == 997, "the others are stored")
    [(fs,)] = server.execute(f"SELECT fs FROM {TABLE} WHERE task_id = 1000")
    assert fs == records[999]["fs"]
    lines = (lab.folder / "state" / "cyclone" / "rejected.jsonl").read_text().splitlines()
    rejected = {line["task_id"]: line for line in map(json.loads, lines)}
    assert len(lines) == 3
    assert rejected[1]["error"].startswith("4025 CONSTRAINT `small` failed")
    assert rejected[1]["fields"] == records[0]
    assert rejected[501]["error"] == "ost CHAR(7): 'OST12345' is longer than 7 characters"
    assert rejected[999]["error"].startswith("4025 ")
    started.says("a row of lustre_ost_io is rejected (task ")


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


def test_given_rows_that_wait_for_others_when_stopped_then_they_are_stored_first(lab: Lab, server: MariaDb) -> None:
    make_tables(server)
    started = proxy(lab, server.proxy_keys(store_timeout="1h"))
    with Sender(lab.port, [block(1, [probe(1)] * 10)]) as sender:
        sender.wait()
        started.signal(signal.SIGTERM)
        assert started.exits() == 0, started.stderr()
    assert server.count(TABLE) == 10


def test_given_a_server_that_hangs_when_stopped_twice_then_it_ends_at_once_and_the_next_one_stores_the_rows(
    lab: Lab, server: MariaDb
) -> None:
    make_tables(server)
    keys = server.proxy_keys(store_timeout="1h", timeout="60s")
    started = proxy(lab, keys)
    server.freeze()
    with Sender(lab.port, [block(1, [probe(1)] * 10)]) as sender:
        sender.wait()
    started.signal(signal.SIGTERM)
    started.says("storing what waits")

    def is_ended_by_another() -> bool:
        # The first of these may come before the process has done with the signal before.
        started.signal(signal.SIGTERM)
        return not started.alive

    wait_until(is_ended_by_another, "the second one ends it", 5.0)
    server.thaw()
    assert started.exits() == -signal.SIGTERM
    proxy(lab, server.proxy_keys())
    wait_until(lambda: server.count(TABLE) == 10, "the rows are stored")


def test_given_tls_when_the_server_has_none_or_a_certificate_of_somebody_else_then_nothing_is_stored(
    lab: Lab, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("db")
    request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([program("openssl"), *request, *names, *files], check=True, capture_output=True)
    server = MariaDb(folder / "t", template)
    try:
        make_tables(server)
        required = proxy(lab, server.proxy_keys(tls="required"))
        with Sender(lab.port, [block(1, [probe(1)] * 10)]) as sender:
            sender.wait()
            required.says("the server does not encrypt, and [db] tls = required")
            assert server.count(TABLE) == 0
            server.stop()
            server.start(f"--ssl-cert={folder}/cert.pem", f"--ssl-key={folder}/key.pem", "--require-secure-transport=1")
            wait_until(lambda: server.count(TABLE) == 10, "the rows are stored")
        required.signal(signal.SIGTERM)
        assert required.exits() == 0
        stranger = proxy(lab, server.proxy_keys(tls="verify"))
        with Sender(lab.port, [block(1, [probe(1)] * 10), block(11, [probe(1)] * 10)]) as sender:
            sender.wait()
            stranger.says("certificate verify failed")
            stranger.signal(signal.SIGTERM)
            assert stranger.exits() == 0
        assert server.count(TABLE) == 10
        proxy(lab, server.proxy_keys(tls="verify", tls_ca=str(folder / "cert.pem")))
        wait_until(lambda: server.count(TABLE) == 20, "the rows are stored")
    finally:
        server.kill()


@pytest.mark.parametrize("driver", ["sqlite", "jsonlines"])
def test_given_a_file_when_the_proxy_is_killed_while_rows_flow_then_each_row_is_there_once(
    lab: Lab, driver: str
) -> None:
    path = lab.folder / f"rows.{driver}"
    keys = {"driver": driver, "path": str(path), "store_max_count": "500"}

    def row_ids() -> list[str]:
        if not path.exists():
            return []
        if driver == "jsonlines":
            # A line that is being written may be half there.
            return [json.loads(line)["cyclone_row"] for line in path.read_bytes().splitlines() if line.endswith(b"}")]
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (TABLE,)).fetchone():
                return []
            return [row for (row,) in db.execute(f"SELECT cyclone_row FROM {TABLE}")]

    starts = range(1, 15_001, 500)
    with Sender(lab.port, [block(at, [probe(at % 784)] * 500) for at in starts]) as sender:
        for least in (2_000, 8_000):
            started = proxy(lab, keys)
            wait_until(lambda least=least: len(row_ids()) >= least, "some rows are stored")  # type: ignore[misc]
            started.signal(signal.SIGKILL)
            started.exits()
        started = proxy(lab, keys)
        sender.wait()
        started.signal(signal.SIGTERM)
        assert started.exits() == 0, started.stderr()
    found = row_ids()
    assert len(found) == 15_000
    assert len(set(found)) == 15_000


def test_given_a_master_when_its_tasks_make_records_then_they_are_in_the_tables_of_a_layout_of_ones_own(
    lab: Lab,
) -> None:
    layout = lab.folder / "own.conf"
    layout.write_text(
        "[table samples]\nrecord = sample\ncolumns =\n    task = BIGINT from $task_id\n    number = INT from number\n"
        "    ordinal = INT from ordinal\n"
    )
    path = lab.folder / "rows.sqlite"
    started = proxy(lab, {"path": str(path), "layout": str(layout)}, sink={"results": "yes"})
    targets = {"targets": f"127.0.0.1:{lab.port}"}
    run = lab.run(lab.config({"task_generator": RECORDING, "recording": {"count": "300"}, "sink": targets}))
    assert run.exits() == 0, run.stderr()
    started.signal(signal.SIGTERM)
    assert started.exits() == 0, started.stderr()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*), sum(task) FROM samples").fetchone() == (300, 45_050)
        results = db.execute("SELECT count(*), count(DISTINCT task_id), min(state), max(state) FROM cyclone_results")
        assert results.fetchone() == (300, 300, "completed", "completed")


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
