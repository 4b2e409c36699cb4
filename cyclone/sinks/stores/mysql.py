"""Rows into MySQL or MariaDB: one transaction a batch, many rows a statement, values as parameters alone.

Owns the connection, which is made with the first batch and anew after each error. It only inserts, and needs no other
right. A row that is there already is told by the unique ``cyclone_row``: an insert waits until a transaction that holds
the same value has ended, so that also what a dying connection has left in the middle of COMMIT is told rightly. There
is no INSERT IGNORE, which would take errors for warnings.
"""

import contextlib
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cyclone.settings import DatabaseSettings
from cyclone.sinks.layouts import ROW_COLUMN, Table
from cyclone.sinks.stores.base import Batch, Cells, Outcome, Rejected, StoreUnavailable
from cyclone.sinks.stores.mysql_connection import (
    connect,
    error_text,
    explained,
    has_unique_key,
    is_bad_row,
    is_present,
    new_cursor,
)

if TYPE_CHECKING:
    from mysql.connector import MySQLConnection
    from mysql.connector.abstracts import MySQLCursorAbstract

log = logging.getLogger("cyclone.sink")

# More gains little, and a bad row makes its statement be tried in halves.
_STATEMENT_ROWS_MAX = 2500
# A statement takes the server's memory, and there is a limit, by default 16 MiB (MariaDB) or 64 MiB (MySQL): a part of
# it is enough, whatever becomes of characters when they are encoded and quoted.
_STATEMENT_CHARS_MAX = 4 << 20
_STATEMENT_PART = 8
_QUOTED = ("\\", "'", '"', "\n", "\r", "\x1a")


def quoted(name: str) -> str:
    """A name in a statement. It has been checked when the layout was read."""
    return f"`{name}`"


class MysqlStore:
    """See the module and ``Store``."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._where = settings.host or str(settings.socket or settings.option_file)
        self._connection: MySQLConnection | None = None
        self._packet_bytes_max = 0
        # Tables of which this connection knows that a row cannot come twice.
        self._checked: set[Table] = set()

    def has(self, journal_id: str, number: int) -> bool:
        """Never known: ``cyclone_row`` tells."""
        return False

    def insert(self, batch: Batch) -> Outcome:
        """See ``Store``."""
        try:
            connection = self._connected()
            with explained(self._where):
                # Not closed after an error: that would be another error, which hides the first.
                cursor = new_cursor(connection)
                inserts = [_Insert(cursor, table, rows, self._packet_bytes_max) for table, rows in batch.rows.items()]
                for insert in inserts:
                    insert.run()
                # After the rows: of a table that is not there the server's own words say more.
                self._check_keys(cursor, batch.rows)
                cursor.close()
        except BaseException:
            self.close()
            raise
        rejected = [bad for insert in inserts for bad in insert.rejected]
        return Outcome(
            rejected, {insert.table: insert.stored for insert in inserts}, sum(insert.present for insert in inserts)
        )

    def commit(self) -> None:
        """See ``Store``."""
        assert self._connection, "insert comes first"
        try:
            with explained(self._where):
                self._connection.commit()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See ``Store``. What is not committed is rolled back by the server."""
        if self._connection:
            with contextlib.suppress(StoreUnavailable), explained(self._where):
                self._connection.close()
            self._connection = None
            self._checked.clear()

    def _connected(self) -> "MySQLConnection":
        if self._connection and not self._connection.is_connected():
            # It has been idle, and nothing was under way: no more than a reason for another one.
            self.close()
        if self._connection is None:
            connection = connect(self._settings)
            with explained(self._where), new_cursor(connection) as cursor:
                cursor.execute("SELECT @@innodb_flush_log_at_trx_commit, @@max_allowed_packet")
                flush, packet_bytes_max = map(int, cursor.fetchone() or ())  # type: ignore[arg-type]
            if flush != 1:
                log.warning(
                    "the database server has innodb_flush_log_at_trx_commit = %s: a second of what it has committed "
                    "can be lost when its host goes down",
                    flush,
                )
            self._connection, self._packet_bytes_max = connection, packet_bytes_max
        return self._connection

    def _check_keys(self, cursor: "MySQLCursorAbstract", tables: Iterable[Table]) -> None:
        for table in set(tables) - self._checked:
            if not has_unique_key(cursor, table.name, ROW_COLUMN):
                raise StoreUnavailable(
                    f"{self._where}: table {table.name} has no unique key {ROW_COLUMN} of that column alone, so that a "
                    "row could be stored twice; cyclone-database-proxy --create-table adds it"
                )
            self._checked.add(table)


class _Insert:
    """The rows of one table, within a transaction that somebody else ends."""

    def __init__(self, cursor: "MySQLCursorAbstract", table: Table, rows: list[Cells], packet_bytes_max: int) -> None:
        self.table = table
        self.rejected: list[Rejected] = []
        self.stored = self.present = 0
        self._cursor = cursor
        self._rows = rows
        self._packet_bytes_max = packet_bytes_max
        names = table.column_names()
        columns, values = ", ".join(map(quoted, names)), ", ".join(["%s"] * len(names))
        # The driver makes one statement of many rows of this form, and only of it.
        self._statement = f"INSERT INTO {quoted(table.name)} ({columns}) VALUES ({values})"

    def run(self) -> None:
        """Insert them all. What it raises is no row's fault."""
        chars_max = min(_STATEMENT_CHARS_MAX, self._packet_bytes_max // _STATEMENT_PART)
        first = chars = 0
        for place, cells in enumerate(self._rows):
            size = sum([len(cell) for cell in cells if type(cell) is str or type(cell) is bytes])
            chars += size
            if chars > chars_max or place - first >= _STATEMENT_ROWS_MAX:
                self._some(first, place)
                first, chars = place, size
            if size > chars_max and self._is_too_large(cells):
                # The server would close the connection, again and again.
                self.rejected.append(Rejected(self.table, place, "longer than the server's max_allowed_packet"))
                first, chars = place + 1, 0
        self._some(first, len(self._rows))

    def _is_too_large(self, cells: Cells) -> bool:
        size = len(self._statement)
        for cell in cells:
            text = cell.hex() if type(cell) is bytes else str(cell)
            size += len(text.encode()) + sum(map(text.count, _QUOTED)) + len("X'',")
        return size >= self._packet_bytes_max

    def _some(self, first: int, end: int) -> None:
        """Rows of these places; in halves, and so in the end one by one, where one is bad or there before."""
        from mysql.connector import Error

        if first == end:
            return
        try:
            # A statement that fails is undone alone, the transaction goes on; where an engine cannot do that, what it
            # has kept is there before when it is tried again.
            self._cursor.executemany(self._statement, self._rows[first:end])
        except Error as error:
            present = is_present(error, ROW_COLUMN)
            if not present and not is_bad_row(error):
                raise
            if end - first > 1:
                middle = (first + end) // 2
                self._some(first, middle)
                self._some(middle, end)
            elif present:
                self.present += 1
            else:
                self.rejected.append(Rejected(self.table, first, error_text(error)))
        else:
            self.stored += end - first
