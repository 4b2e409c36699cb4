"""How many rows a second the database proxy stores in a real MariaDB, beside the bare driver's ``executemany``.

In turn, into the same table of the same server: the driver with the finished rows at hand, a commit for each batch; and
``cyclone-database-proxy`` as it runs in production, from blocks that a master sends to rows that are committed. Prints
one JSON object. It takes the servers that ``make test`` has unpacked.
"""

import argparse
import contextlib
import json
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from cyclone.sinks.layouts import Table, load_layout
from cyclone.sinks.rows import rows
from tests.support.lab import Lab, new_lab
from tests.support.mariadb import DATABASE, MariaDb, install
from tests.support.procfs import wait_until
from tests.support.sink_sender import JOURNAL, Sender, block, probe

_TABLE = "lustre_ost_io"
_BATCH = 5000
_PER_BLOCK = 1000


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of each measurement (default: 100000)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind (default: 3)")
    args = parser.parse_args()
    starts = range(1, args.rows + 1, _PER_BLOCK)
    blocks = [block(at, [probe(ost % 784) for ost in range(_PER_BLOCK)]) for at in starts]
    with tempfile.TemporaryDirectory(prefix="cyclone-db-") as name, _server(Path(name)) as server:
        bare, proxied, cpu = [], [], []
        for number in range(args.rounds):
            folder = Path(name) / f"lab-{number}"
            folder.mkdir()
            bare.append(len(blocks) * _PER_BLOCK / _executemany(server, blocks))
            with new_lab(folder) as lab:
                seconds, cpu_s = _proxy(lab, server, blocks)
            proxied.append(len(blocks) * _PER_BLOCK / seconds)
            cpu.append(cpu_s / (len(blocks) * _PER_BLOCK) * 1e6)
    report = {
        "rows": len(blocks) * _PER_BLOCK,
        "executemany_rows_per_s": round(statistics.median(bare)),
        "proxy_rows_per_s": round(statistics.median(proxied)),
        "ratio": round(statistics.median(proxied) / statistics.median(bare), 2),
        "proxy_cpu_us_per_row": round(statistics.median(cpu), 1),
        "rounds": {"executemany": [round(rate) for rate in bare], "proxy": [round(rate) for rate in proxied]},
    }
    print(json.dumps(report))


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[MariaDb]:
    server = MariaDb(folder / "s", install(folder / "template"))
    try:
        yield server
    finally:
        server.kill()


def _make_table(server: MariaDb) -> Table:
    from cyclone.sinks.stores.mysql_schema import ddl

    layout = load_layout("lustre")
    server.execute(f"DROP DATABASE {DATABASE}")
    server.execute(f"CREATE DATABASE {DATABASE}")
    for statement in ddl(layout):
        server.execute(statement)
    return layout.tables[0]


def _executemany(server: MariaDb, blocks: list[bytes]) -> float:
    table = _make_table(server)
    cells = [table.cells(row) for packed in blocks for row in rows(JOURNAL, packed) if row.ordinal]
    names = table.column_names()
    statement = f"INSERT INTO {_TABLE} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
    with server.connect(database=DATABASE) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        began = time.monotonic()
        for first in range(0, len(cells), _BATCH):
            cursor.executemany(statement, cells[first : first + _BATCH])
            connection.commit()
        seconds = time.monotonic() - began
    assert server.count(_TABLE) == len(cells)
    return seconds


def _proxy(lab: Lab, server: MariaDb, blocks: list[bytes]) -> tuple[float, float]:
    """Seconds from the first block to the last commit, and CPU seconds of the proxy."""
    _make_table(server)
    keys = server.proxy_keys(timeout="30s", store_timeout="5s", store_max_count=str(_BATCH))
    config = lab.config({"db": keys, "control": {"stop_timeout": "1h"}})
    proxy = lab.start("cyclone-database-proxy", "-f", config)
    proxy.says("database proxy at ")
    process = psutil.Process(proxy.pid)
    before = process.cpu_times()
    began = time.monotonic()
    with Sender(lab.port, blocks) as sender:
        sender.wait(deadline_s=120.0)
    # Stored within a batch's time of the last one: the rest is flushed by the stop.
    wait_until(lambda: server.count(_TABLE) > (len(blocks) - 1) * _PER_BLOCK - _BATCH, "nearly all is stored", 120.0)
    after = process.cpu_times()
    proxy.signal(signal.SIGTERM)
    assert proxy.exits() == 0, proxy.stderr()
    seconds = time.monotonic() - began
    assert server.count(_TABLE) == len(blocks) * _PER_BLOCK
    return seconds, after.user + after.system - before.user - before.system


if __name__ == "__main__":
    main()
