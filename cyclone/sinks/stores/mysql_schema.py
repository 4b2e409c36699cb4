"""The tables of a layout in MySQL or MariaDB: the statements that make them, and those that add what is missing.

Owns ``--print-ddl`` and ``--create-table``. It adds tables, columns, keys and the view, and nothing else: what is there
is never dropped, changed or filled. What it may not do it says. The statements are of the kind that both servers have
had for long: no IF NOT EXISTS of MariaDB alone, and no clause that one of them refuses.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cyclone.settings import DatabaseSettings
from cyclone.sinks.layouts import ID_COLUMN, ROW_COLUMN, ROW_COLUMN_CHARS, Layout, Table, View
from cyclone.sinks.stores.mysql import quoted
from cyclone.sinks.stores.mysql_connection import connect, explained, has_unique_key, new_cursor

if TYPE_CHECKING:
    from mysql.connector.abstracts import MySQLCursorAbstract

# Compared byte by byte, and a byte each: it is in an index.
_ROW_TYPE = f"VARCHAR({ROW_COLUMN_CHARS}) CHARACTER SET ascii COLLATE ascii_bin"
# How the servers show types that a layout calls otherwise.
_SHOWN = {"BOOLEAN": "TINYINT", "INTEGER": "INT", "JSON": "LONGTEXT"}


@dataclass(slots=True)
class Changes:
    """What ``create`` did, and what it leaves to people."""

    done: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def ddl(layout: Layout) -> list[str]:
    """The statements that make all of a layout in an empty database."""
    return [*map(_create_table, layout.tables), *([_create_view(layout.view)] if layout.view else [])]


def _definition(name: str, sql: str) -> str:
    # Without NULL an old server makes TIMESTAMP columns NOT NULL, and the first one change with each update.
    return f"{quoted(name)} {sql} NULL"


def _create_table(table: Table) -> str:
    lines = [f"{quoted(ID_COLUMN)} BIGINT UNSIGNED NOT NULL AUTO_INCREMENT"]
    lines += [_definition(column.name, column.type.sql) for column in table.columns]
    lines += [_definition(ROW_COLUMN, _ROW_TYPE), f"PRIMARY KEY ({quoted(ID_COLUMN)})"]
    lines += [f"UNIQUE KEY {quoted(ROW_COLUMN)} ({quoted(ROW_COLUMN)})"]
    lines += [f"KEY {quoted('_'.join(names))} ({', '.join(map(quoted, names))})" for names in table.indexes]
    listed = ",\n  ".join(lines)
    return f"CREATE TABLE {quoted(table.name)} (\n  {listed}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"


def _create_view(view: View) -> str:
    columns = ",\n  ".join(
        f"{f'CAST(ROUND(COALESCE({quoted(column)}, -1)) AS SIGNED)' if whole else quoted(column)} AS {quoted(name)}"
        for name, column, whole in view.columns
    )
    return f"CREATE VIEW {quoted(view.name)} AS SELECT\n  {columns}\nFROM {quoted(view.table)}"


def create(settings: DatabaseSettings, layout: Layout) -> Changes:
    """Make what is missing in the database. Raises StoreUnavailable, ConfigError."""
    changes = Changes()
    connection = connect(settings)
    # A large table takes as long as it takes, and who has typed the command can end it.
    connection.read_timeout = None
    try:
        with explained("--create-table"), new_cursor(connection) as cursor:
            # Strict as ever, but a table that has the zero date of the original as a default can be altered.
            cursor.execute("SET SESSION sql_mode = 'STRICT_ALL_TABLES'")
            for table in layout.tables:
                _Migration(cursor, table, changes).run()
            if layout.view:
                _make_view(cursor, layout.view, changes)
    finally:
        connection.close()
    return changes


def _make_view(cursor: "MySQLCursorAbstract", view: View, changes: Changes) -> None:
    kind, _ = _kind(cursor, view.name)
    if kind == "VIEW":
        return
    if kind:
        changes.notes.append(
            f"{view.name} is a table, so the view of {view.table} cannot have this name: write another one in [db] "
            f"table, or rename the table first: RENAME TABLE {quoted(view.name)} TO {quoted(f'{view.name}_until_now')}"
        )
        return
    _execute(cursor, _create_view(view), changes)


class _Migration:
    """One table: made, or what it lacks added."""

    def __init__(self, cursor: "MySQLCursorAbstract", table: Table, changes: Changes) -> None:
        self._cursor = cursor
        self._table = table
        self._changes = changes

    def run(self) -> None:
        """Do it."""
        kind, engine = _kind(self._cursor, self._table.name)
        if not kind:
            _execute(self._cursor, _create_table(self._table), self._changes)
            return
        if kind == "VIEW":
            self._note("is a view, where rows are to be stored: write another name in [db] table or in the layout")
            return
        if engine != "InnoDB":
            self._note(
                f"is of the engine {engine}, which forgets parts of a batch when its server dies: "
                f"ALTER TABLE {quoted(self._table.name)} ENGINE=InnoDB"
            )
        self._columns()
        self._keys()

    def _columns(self) -> None:
        present = {
            str(name).lower(): (str(kind), nullable == "YES", default, str(extra))
            for name, kind, nullable, default, extra in _select(
                self._cursor,
                "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA FROM information_schema.COLUMNS"
                " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
                self._table.name,
            )
        }
        wanted = {column.name: column.type.sql for column in self._table.columns} | {ROW_COLUMN: _ROW_TYPE}
        missing = {name: sql for name, sql in wanted.items() if name.lower() not in present}
        if missing:
            added = ", ".join(f"ADD COLUMN {_definition(name, sql)}" for name, sql in missing.items())
            _execute(self._cursor, f"ALTER TABLE {quoted(self._table.name)} {added}", self._changes)
        for name, sql in wanted.items():
            kind, nullable, *_ = present.get(name.lower(), (sql, True))
            if _plain(kind) != _plain(sql):
                self._note(f"{name} is {kind}, the layout has {sql}: it stays; values that do not fit are rejected")
            if not nullable:
                self._note(f"{name} is NOT NULL: a row without a value there is rejected")
        for name, (_, nullable, default, extra) in present.items():
            given = nullable or default is not None or "auto_increment" in extra.lower()
            if name not in map(str.lower, wanted) and not given:
                self._note(f"{name} is NOT NULL without a default and not in the layout: every row would be rejected")

    def _keys(self) -> None:
        present: dict[str, list[str]] = {}
        for key, column in _select(
            self._cursor,
            "SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s ORDER BY INDEX_NAME, SEQ_IN_INDEX",
            self._table.name,
        ):
            present.setdefault(str(key), []).append(str(column).lower())
        added = []
        if not has_unique_key(self._cursor, self._table.name, ROW_COLUMN):
            added.append(f"ADD UNIQUE KEY {quoted(ROW_COLUMN)} ({quoted(ROW_COLUMN)})")
        for names in self._table.indexes:
            if [name.lower() for name in names] not in present.values():
                added.append(f"ADD KEY {quoted('_'.join(names))} ({', '.join(map(quoted, names))})")
        if added:
            _execute(self._cursor, f"ALTER TABLE {quoted(self._table.name)} {', '.join(added)}", self._changes)

    def _note(self, text: str) -> None:
        self._changes.notes.append(f"{self._table.name}: {text}")


def _kind(cursor: "MySQLCursorAbstract", name: str) -> tuple[str, str]:
    """BASE TABLE or VIEW, and the engine; '' for neither."""
    rows = list(
        _select(
            cursor,
            "SELECT TABLE_TYPE, ENGINE FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
            name,
        )
    )
    return (str(rows[0][0]), str(rows[0][1])) if rows else ("", "")


def _select(cursor: "MySQLCursorAbstract", statement: str, name: str) -> Iterator[Any]:
    cursor.execute(statement, (name,))
    yield from cursor.fetchall()


def _execute(cursor: "MySQLCursorAbstract", statement: str, changes: Changes) -> None:
    cursor.execute(statement)
    changes.done.append(statement)


def _plain(sql: str) -> str:
    """A type without what the servers show in different ways: the width of integers, the character set."""
    sql = sql.upper().split(" CHARACTER SET ")[0]
    sql = re.sub(r"\b(TINYINT|SMALLINT|MEDIUMINT|INT|INTEGER|BIGINT)\([0-9]+\)", r"\1", sql)
    return _SHOWN.get(sql, sql)
