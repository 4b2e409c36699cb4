"""A connection to MySQL or MariaDB: where to, with which rights, how long to wait, and what its errors mean.

Owns all that is particular to the driver, mysql-connector-python, which is imported only when a connection is made. The
password is read anew for each connection, so that it can be changed while the proxy runs, and is in no message.
"""

import configparser
import logging
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclone.errors import ConfigError
from cyclone.settings import DatabaseSettings
from cyclone.sinks.password_file import read_password
from cyclone.sinks.stores.base import StoreUnavailable

if TYPE_CHECKING:
    from mysql.connector import Error, MySQLConnection
    from mysql.connector.abstracts import MySQLCursorAbstract
    from mysql.connector.cursor import MySQLCursor

_PORT = 3306
_IDLE_MAX_S = 120
# Strict for every engine: a value that does not fit is an error, and never silently another one. It also rules out
# NO_BACKSLASH_ESCAPES, with which the driver's quoting of parameters would not be safe.
_SQL_MODE = "TRADITIONAL"
# Both servers have it, and nothing is sorted or compared by this connection.
_COLLATION = "utf8mb4_general_ci"
_DUPLICATE = 1062
# SQLSTATE classes that are about the values of a row: out of range, constraint, a trigger's SIGNAL.
_ROW_CLASSES = ("22", "23", "45")
# The same by number, where the class is a general one: row too large, truncated, no default, wrong string, wrong value
# for a function, no partition, check constraint.
_ROW_ERRORS = {1118, 1265, 1364, 1366, 1411, 1526, 3819}
# A key of one column, by the name that an error about it has. INSERT is right enough to ask.
_SELECT_KEY = (
    "SELECT min(COLUMN_NAME) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
    " AND INDEX_NAME = %s AND NON_UNIQUE = 0 GROUP BY INDEX_NAME HAVING count(*) = 1"
)
# What the driver raises over bytes that are no answer of a server.
_NONSENSE = (AttributeError, LookupError, TypeError, ValueError, struct.error)
# What an administrator is told besides.
_HINTS = {
    1045: "is [db] user and password right, and may the user come from this host?",
    1049: "is [db] database right?",
    1054: "cyclone-database-proxy --create-table adds what is missing",
    1142: "the user needs INSERT; to make tables also SELECT, CREATE, CREATE VIEW, ALTER and INDEX",
    1146: "cyclone-database-proxy --create-table makes it",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and as whom to go there. ``tls`` is that of ``[db]``."""

    host: str
    port: int
    socket: Path | None
    user: str
    password: str = field(repr=False)
    database: str
    tls: str
    tls_ca: Path | None

    def __str__(self) -> str:
        where = f"socket {self.socket}" if self.socket else f"{self.host}:{self.port}"
        return f"{self.user}@{where}"


def read_address(settings: DatabaseSettings) -> Address:
    """The server of ``[db]``, with what its option file and its password file say. Raises ConfigError."""
    given = _option_file(settings.option_file) if settings.option_file else {}
    host, port = _split_host(settings.host) if settings.host else (given.get("host", ""), 0)
    socket = settings.socket or (Path(given["socket"]) if "socket" in given and not settings.host else None)
    database = settings.database or given.get("database", "")
    if not database:
        raise ConfigError("[db] database: is empty, a MySQL or MariaDB server has many: name one")
    if socket and settings.tls in ("required", "verify"):
        raise ConfigError(f"[db] tls: {settings.tls} is for a host; a Unix socket leaves no wire to encrypt")
    return Address(
        host=host or "127.0.0.1",
        port=port or _port(given.get("port", str(_PORT)), f"[db] option_file: {settings.option_file}: port"),
        socket=socket,
        user=settings.user or given.get("user", ""),
        password=_password(settings) or given.get("password", ""),
        database=database,
        tls=settings.tls,
        tls_ca=settings.tls_ca or (Path(given["ssl-ca"]) if "ssl-ca" in given else None),
    )


def _split_host(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    # An IPv6 address has colons of its own, and stands in brackets where a port follows.
    if not colon or (":" in host and not host.endswith("]")):
        return text.strip("[]"), 0
    return host.strip("[]"), _port(port, f"[db] host: {text!r}")


def _port(text: str, where: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ConfigError(f"{where}: {text!r} is no port")
    return int(text)


def _password(settings: DatabaseSettings) -> str:
    if settings.password_file is None:
        return settings.password
    if settings.password:
        raise ConfigError("[db] password_file: there is a password too, keep one of them")
    return read_password(settings.password_file, "[db] password_file")


def _option_file(path: Path) -> dict[str, str]:
    """The [client] section of an option file: dashes and underscores mean the same, and values may be quoted."""
    path = path.expanduser()
    parser = configparser.RawConfigParser(
        allow_no_value=True, strict=False, delimiters=("=",), comment_prefixes=("#", ";")
    )
    try:
        text = path.read_text(encoding="utf-8")
        parser.read_string("\n".join(line for line in text.split("\n") if not line.startswith("!")))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"[db] option_file: {path}: {getattr(error, 'strerror', 'is not UTF-8')}") from None
    except configparser.Error:
        # Its text would quote the line, which may hold a password.
        raise ConfigError(f"[db] option_file: {path}: is no option file of MySQL") from None
    section = dict(parser["client"]) if parser.has_section("client") else {}
    return {key.replace("_", "-"): _unquoted(value) for key, value in section.items() if value}


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _driver() -> Any:
    try:
        import mysql.connector
    except ImportError:
        raise ConfigError(
            "[db] driver: mysql needs mysql-connector-python, which is not installed: pip install 'cyclone[mysql]'"
        ) from None
    # It tells of each connection how it is made.
    logging.getLogger("mysql.connector").setLevel(logging.WARNING)
    return mysql.connector


def check(settings: DatabaseSettings) -> None:
    """Raise the ConfigError that each connection would."""
    _driver()
    _tls(read_address(settings))


def connect(settings: DatabaseSettings) -> "MySQLConnection":
    """A connection whose every wait has an end. Raises StoreUnavailable, or ConfigError without a driver."""
    driver = _driver()
    from cyclone.sinks.stores.mysql_values import PlainValues

    address = read_address(settings)
    seconds = max(1, math.ceil(settings.timeout_s))
    options: dict[str, Any] = {
        "user": address.user,
        "password": address.password,
        "database": address.database,
        # The form in C waits inside of a library that cannot be given a limit for each wait, and brings an OpenSSL of
        # its own, which the one of Python may keep from being loaded.
        "use_pure": True,
        "charset": "utf8mb4",
        "collation": _COLLATION,
        "time_zone": "+00:00",
        "sql_mode": _SQL_MODE,
        "converter_class": PlainValues,
        "autocommit": False,
        "connection_timeout": seconds,
        "read_timeout": seconds,
        "write_timeout": seconds,
        # What a connection of ours that has died holds locked is waited for, and the wait ends before the connection's
        # own: the server says so, instead of leaving another session behind. And where the network has swallowed that
        # connection's end, the server must not keep its locks for the eight hours of its default.
        "init_command": f"SET SESSION innodb_lock_wait_timeout = {max(1, seconds // 2)}, wait_timeout = {_IDLE_MAX_S},"
        # Where a message has the name of a key is another place in some languages.
        " lc_messages = 'en_US'",
    }
    if address.socket:
        options |= {"unix_socket": str(address.socket), "ssl_disabled": True}
    else:
        options |= {"host": address.host, "port": address.port, **_tls(address)}
    with explained(f"{address}"):
        connection: MySQLConnection = driver.connect(**options)
        if address.tls in ("required", "verify") and not _is_encrypted(connection):
            connection.close()
            raise StoreUnavailable(f"{address}: the server does not encrypt, and [db] tls = {address.tls}")
        return connection


def _tls(address: Address) -> dict[str, Any]:
    if address.tls == "off":
        return {"ssl_disabled": True}
    if address.tls_ca and not address.tls_ca.is_file():
        # The driver's own error would not name it.
        raise ConfigError(f"[db] tls_ca: there is no file {address.tls_ca}")
    verified = address.tls == "verify"
    options: dict[str, Any] = {"ssl_verify_cert": verified, "ssl_verify_identity": verified}
    return options | ({"ssl_ca": str(address.tls_ca)} if address.tls_ca else {})


def new_cursor(connection: "MySQLConnection") -> "MySQLCursor":
    """A cursor, without asking the server.

    The connection's own ``cursor()`` asks whether the server is there. Where no answer comes in time, it says that
    there is no connection, and no longer why.
    """
    from mysql.connector.cursor import MySQLCursor

    return MySQLCursor(connection)


def _is_encrypted(connection: "MySQLConnection") -> bool:
    with new_cursor(connection) as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        row = cursor.fetchone()
    return isinstance(row, tuple) and bool(row[1])


@contextmanager
def explained(where: str) -> Iterator[None]:
    """What the driver and the network raise, as StoreUnavailable with a hint where there is one."""
    driver = _driver()
    errors = driver.errors
    try:
        yield
    except (errors.ConnectionTimeoutError, errors.ReadTimeoutError, errors.WriteTimeoutError) as error:
        raise StoreUnavailable(f"{where}: no answer within [db] timeout") from error
    except driver.Error as error:
        text = error_text(error)
        hint = _HINTS.get(error.errno or 0)
        raise StoreUnavailable(f"{where}: {text}{f'; {hint}' if hint else ''}") from error
    except OSError as error:
        raise StoreUnavailable(f"{where}: {error.strerror or error}") from error
    except _NONSENSE as error:
        raise StoreUnavailable(f"{where}: is no MySQL server, or its answer was cut: {error}") from error


def error_text(error: "Error") -> str:
    """What the server, or the driver, says, on one line."""
    text = " ".join(str(error.msg or error).split())
    return f"{error.errno} {text}" if error.errno and error.errno > 0 else text


def has_unique_key(cursor: "MySQLCursorAbstract", table: str, column: str) -> bool:
    """Whether the table has a unique key of this column alone, by its name: only so ``is_present`` can tell."""
    cursor.execute(_SELECT_KEY, (table, column))
    return [str(name).lower() for (name,) in cursor.fetchall()] == [column]


def is_present(error: "Error", key: str) -> bool:
    """Whether it says that a row with this value of this unique key is there already, and of no other key."""
    # MySQL since 8.0.19 puts the table in front: for key 'table.key'.
    return error.errno == _DUPLICATE and str(error.msg).rstrip("'").endswith((f"'{key}", f".{key}"))


def is_bad_row(error: "Error") -> bool:
    """Whether the values of a row are to blame, so that the same row would fail again for ever."""
    return error.errno in _ROW_ERRORS or (error.sqlstate or "")[:2] in _ROW_CLASSES
