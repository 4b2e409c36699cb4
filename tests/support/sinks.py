"""A sink whose consumer only writes down what it gets, as a real process; and what a test reads of it.

What it wrote down is a SQLite table in which a block can stand once, and the consumer goes on behind the last sequence
in it: so that whatever comes twice, or out of order, is the spool's or the master's doing.
"""

import argparse
import contextlib
import logging
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cyclone.cli.common import guarded
from cyclone.processes import die_with_parent
from cyclone.security.gate import GateOptions
from cyclone.security.registry import Registry
from cyclone.sinks.receiver import Receiver, ReceiverOptions
from cyclone.sinks.rows import Row, rows
from cyclone.sinks.spool import Spool
from tests.support.lab import Lab, Started, free_port

_LOOK_S = 0.02


class BookKeeper:
    """A consumer. It takes nothing while the file ``hold`` stands in its folder."""

    def __init__(self, spool: Spool, folder: Path) -> None:
        self._spool = spool
        self._hold = folder / "hold"
        self._books = folder / "books.sqlite"
        self._news = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self, wake: Callable[[], None]) -> None:
        self._thread.start()

    def stored(self, now: float) -> None:
        self._news.set()

    def state(self) -> str:
        return "keeping books"

    def stop(self, wait_s: float) -> None:
        self._stopping = True
        self._news.set()
        self._thread.join(wait_s)

    def _work(self) -> None:
        db = sqlite3.connect(self._books)
        db.execute("PRAGMA journal_mode = wal")
        db.execute(
            "CREATE TABLE IF NOT EXISTS blocks(sequence INTEGER PRIMARY KEY, journal_id TEXT, number INTEGER,"
            " block BLOB, UNIQUE(journal_id, number))"
        )
        while True:
            self._news.wait(_LOOK_S)
            self._news.clear()
            (last,) = db.execute("SELECT coalesce(max(sequence), 0) FROM blocks").fetchone()
            while not self._hold.exists() and (entries := self._spool.take(1000, last)):
                with db:
                    db.executemany("INSERT INTO blocks VALUES (?, ?, ?, ?)", entries)
                last = entries[-1].sequence
                self._spool.done(last)
            if self._stopping:
                return


def main() -> int:
    """The process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--spool-max", type=int, default=1 << 30)
    parser.add_argument("--keys", type=Path)
    parser.add_argument("--parent-pid", type=int, required=True)
    args = parser.parse_args()
    die_with_parent(args.parent_pid)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with contextlib.closing(Spool(args.folder / "spool", args.spool_max)) as spool:
        gate = GateOptions(Registry(args.keys) if args.keys else None)
        options = ReceiverOptions("test sink", "127.0.0.1", args.port, 0.2, 5.0, gate)
        return Receiver(options, spool, BookKeeper(spool, args.folder)).run()


class Book(NamedTuple):
    """What one sink got of one journal."""

    numbers: list[int]
    rows: list[Row]


class SinkLab:
    """One sink of a lab, started and killed as often as the test likes; its port and its folder stay."""

    def __init__(self, lab: Lab, name: str, *options: str) -> None:
        self._lab = lab
        self._options = options
        self.folder = lab.folder / name
        self.folder.mkdir()
        self.port = free_port()
        self.target = f"127.0.0.1:{self.port}"

    def start(self, *options: str) -> Started:
        """The process, ready."""
        command = ["-m", "tests.support.sinks", str(self.folder), str(self.port), "--parent-pid", str(os.getpid())]
        started = self._lab.start(sys.executable, *command, *self._options, *options)
        started.says("test sink at ")
        return started

    def hold(self, is_held: bool) -> None:
        """Whether the consumer is to take nothing."""
        (self.folder / "hold").touch() if is_held else (self.folder / "hold").unlink()

    def books(self) -> dict[str, Book]:
        """What it got so far, in the order in which it came, by journal."""
        found: dict[str, Book] = {}
        for journal_id, number, block in self._entries():
            book = found.setdefault(journal_id, Book([], []))
            book.numbers.append(number)
            book.rows.extend(rows(journal_id, block))
        return found

    def results(self) -> int:
        """How many results it got so far."""
        return sum(row.ordinal == 0 for book in self.books().values() for row in book.rows)

    def _entries(self) -> Iterator[tuple[str, int, bytes]]:
        path = self.folder / "books.sqlite"
        if not path.exists():
            return
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            try:
                yield from db.execute("SELECT journal_id, number, block FROM blocks ORDER BY sequence").fetchall()
            except sqlite3.OperationalError:
                # It was not made yet.
                return


def assert_complete(book: Book, count: int) -> None:
    """Each of so many ``RecordingTask``s stands there once, its records behind it, and no block came out of order."""
    assert book.numbers == sorted(set(book.numbers))
    assert book.numbers == list(range(1, len(book.numbers) + 1))
    found: dict[int, list[int]] = {}
    for row in book.rows:
        found.setdefault(row.task_id, []).append(row.ordinal)
        assert (row.state, row.error) == ("completed", "")
        expected = {"number": row.task_id, "ordinal": row.ordinal - 1}
        if row.ordinal:
            assert (row.name, row.fields) == ("sample", expected)
    assert found == {task_id: list(range(task_id % 3 + 1)) for task_id in range(1, count + 1)}


if __name__ == "__main__":
    sys.exit(guarded("test-sink", lambda _: main()))
