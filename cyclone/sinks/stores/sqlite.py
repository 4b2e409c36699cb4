"""Rows into an SQLite database, which needs no server: the default where ``[db]`` names none.

Owns that file. Its tables are made, and their missing columns added, when it is opened: who may write the file may do
that. Another program may read it at any time.
"""

from collections.abc import Iterator
from pathlib import Path

import apsw

from cyclone.folders import make_folder, sync_folder
from cyclone.sinks.columns import sqlite_type
from cyclone.sinks.layouts import ID_COLUMN, ROW_COLUMN, Layout, Table
from cyclone.sinks.stores.base import Batch, Cells, Outcome, Rejected, StoreUnavailable

_BAD_ROW = (apsw.ConstraintError, apsw.TooBigError, apsw.MismatchError, OverflowError)
# Another program may hold the file for so long.
_BUSY_MS = 10_000


def quoted(name: str) -> str:
    """A name in a statement. It has been checked when the layout was read."""
    return f'"{name}"'


def table_ddl(table: Table) -> Iterator[str]:
    """The statements that make a table."""
    columns = [f"{quoted(ID_COLUMN)} INTEGER PRIMARY KEY"]
    columns += [f"{quoted(column.name)} {sqlite_type(column.type.sql)}" for column in table.columns]
    listed = ",\n  ".join([*columns, f"{quoted(ROW_COLUMN)} TEXT"])
    yield f"CREATE TABLE IF NOT EXISTS {quoted(table.name)} (\n  {listed}\n)"
    yield from index_ddl(table)


def index_ddl(table: Table) -> Iterator[str]:
    """The statements that make its indexes."""
    name = quoted(f"{table.name}_{ROW_COLUMN}")
    yield f"CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {quoted(table.name)} ({quoted(ROW_COLUMN)})"
    for columns in table.indexes:
        name = quoted("_".join([table.name, *columns]))
        yield f"CREATE INDEX IF NOT EXISTS {name} ON {quoted(table.name)} ({', '.join(map(quoted, columns))})"


def ddl(layout: Layout) -> list[str]:
    """The statements that make all of a layout."""
    statements = [statement for table in layout.tables for statement in table_ddl(table)]
    if layout.view:
        columns = ", ".join(
            f"CAST(ROUND(COALESCE({quoted(column)}, -1)) AS INTEGER) AS {quoted(name)}"
            if whole
            else f"{quoted(column)} AS {quoted(name)}"
            for name, column, whole in layout.view.columns
        )
        name, table = quoted(layout.view.name), quoted(layout.view.table)
        statements.append(f"CREATE VIEW IF NOT EXISTS {name} AS\n  SELECT {columns}\n  FROM {table}")
    return statements


class SqliteStore:
    """See the module and ``Store``. The file is opened with the first batch, and anew after each error."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path = path
        self._layout = layout
        self._db: apsw.Connection | None = None
        self._inode = 0

    def has(self, journal_id: str, number: int) -> bool:
        """Never known: ``cyclone_row`` tells."""
        return False

    def insert(self, batch: Batch) -> Outcome:
        """See ``Store``."""
        try:
            db = self._opened()
            db.execute("BEGIN IMMEDIATE")
            rejected: list[Rejected] = []
            stored: dict[Table, int] = {}
            present = 0
            for table, rows in batch.rows.items():
                before = db.total_changes()
                present += _insert(db, table, rows, rejected)
                stored[table] = db.total_changes() - before
            return Outcome(rejected, stored, present)
        except (apsw.Error, OSError) as error:
            raise self._unavailable(error) from error

    def commit(self) -> None:
        """See ``Store``."""
        try:
            self._opened().execute("COMMIT")
        except apsw.Error as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        """See ``Store``."""
        if self._db:
            self._db.close(True)
            self._db = None

    def create(self) -> None:
        """Make what is missing. Raises StoreUnavailable."""
        try:
            self._opened()
        except (apsw.Error, OSError) as error:
            raise self._unavailable(error) from error

    def _opened(self) -> apsw.Connection:
        if self._db is not None and not self._is_the_same():
            # What came now would be lost to all. And of a moved file SQLite takes no care when it closes it: part of
            # what it holds would stay behind in the log of the name that it had.
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self.close()
        if self._db is None:
            make_folder(self._path.parent)
            db = self._db = apsw.Connection(str(self._path))
            db.set_busy_timeout(_BUSY_MS)
            db.pragma("journal_mode", "wal")
            db.pragma("synchronous", "FULL")
            db.execute("BEGIN IMMEDIATE")
            for table in self._layout.tables:
                _add_columns(db, table)
            for statement in ddl(self._layout):
                db.execute(statement)
            db.execute("COMMIT")
            sync_folder(self._path.parent)
            self._inode = self._path.stat().st_ino
        return self._db

    def _is_the_same(self) -> bool:
        """Whether nobody has moved the file away, or deleted it."""
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        # An open transaction is rolled back by this.
        self.close()
        return StoreUnavailable(f"{self._path}: {error}")


def _add_columns(db: apsw.Connection, table: Table) -> None:
    present = {name.lower() for _, name, *_ in db.execute(f"PRAGMA table_info({quoted(table.name)})")}
    if not present:
        return
    kinds = {column.name: sqlite_type(column.type.sql) for column in table.columns} | {ROW_COLUMN: "TEXT"}
    for name, kind in kinds.items():
        if name.lower() not in present:
            db.execute(f"ALTER TABLE {quoted(table.name)} ADD COLUMN {quoted(name)} {kind}")


def _insert(db: apsw.Connection, table: Table, rows: list[Cells], rejected: list[Rejected]) -> int:
    """Insert what is not there; the number of rows that were."""
    names = table.column_names()
    # Of all conflicts, this one alone means that the row has come before.
    statement = (
        f"INSERT INTO {quoted(table.name)} ({', '.join(map(quoted, names))}) VALUES ({', '.join('?' * len(names))})"
        f" ON CONFLICT ({quoted(ROW_COLUMN)}) DO NOTHING"
    )
    before = db.total_changes()
    bad: list[Rejected] = []
    try:
        db.executemany(statement, rows)
    except _BAD_ROW:
        # Once more, one by one: those that went in before the bad one are present now, and counted as new all the same.
        for place, cells in enumerate(rows):
            try:
                db.execute(statement, cells)
            except _BAD_ROW as error:
                bad.append(Rejected(table, place, str(error)))
    rejected += bad
    return len(rows) - len(bad) - (db.total_changes() - before)
