"""Parameters as the driver puts them into a statement, at half of its price for what nearly all of them are.

Owns one class for the driver's documented hook, ``converter_class``; imported with the driver, when a connection is
made. Text with anything in it that has to be escaped is left to the driver, and so is all else that is not plain here.
"""

import re
from typing import Any

from mysql.connector.conversion import MySQLConverter

_has_special = re.compile(r"[\\\n\r'\"\x1a\x00]").search


class PlainValues(MySQLConverter):
    """What the driver asks for in three steps, value by value, is done in the first."""

    def to_mysql(self, value: Any) -> Any:
        """The value as a literal of SQL."""
        kind = type(value)
        if kind is str and not _has_special(value):
            return b"'%b'" % value.encode()
        if kind is int:
            return b"%d" % value
        if kind is float:
            return repr(value).encode()
        if value is None:
            return b"NULL"
        if kind is bytes:
            # Between quotes it would have to be text of the connection's character set.
            return b"X'%b'" % value.hex().encode()
        # The session's sql_mode is ours, and has no NO_BACKSLASH_ESCAPES.
        return MySQLConverter.quote(MySQLConverter.escape(super().to_mysql(value)))

    @staticmethod
    def escape(value: Any, sql_mode: Any = None) -> Any:
        """It is escaped already."""
        return value

    @staticmethod
    def quote(buf: Any) -> Any:
        """It is quoted already."""
        return buf
