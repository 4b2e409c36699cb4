"""The database proxy against a real MariaDB, while either of them, or what is between, is harmed: every row once."""

import json
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.lab import Lab, Started
from tests.support.mariadb import PASSWORD, CommitCutter, MariaDb
from tests.support.parts import program
from tests.support.procfs import wait_until
from tests.support.proxies import TABLE, make_tables, outages, proxy
from tests.support.recording import RECORDING
from tests.support.sink_sender import Sender, block, probe

pytestmark = pytest.mark.slow

ROWS_PER_BLOCK = 1000


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
