"""The columns of a table: which types a layout may name, and how a field becomes a value of one.

Owns the conversion alone; knows no database. The value that it makes is one that each driver takes as a parameter, and
that a JSON line holds: None, int, float, text, bytes. What cannot be made one raises ValueError whose text says why.

What a field may lack is not an error: None, NaN and the infinities are NULL. Text of which Unicode knows nothing, as in
some file names, shows with ``\\udc80`` escapes. Moments are ``YYYY-MM-DD hh:mm:ss.ffffff`` in UTC.
"""

import datetime
import functools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from cyclone import json_values

Convert = Callable[[Any], Any]

_INTEGER_BITS = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 24, "INT": 32, "INTEGER": 32, "BIGINT": 64}
_TEXT_BYTES = {"TINYTEXT": (1 << 8) - 1, "TEXT": (1 << 16) - 1, "MEDIUMTEXT": (1 << 24) - 1, "LONGTEXT": (1 << 32) - 1}
_BLOBS = ("TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB")
_TYPE = re.compile(
    r"(?P<integer>TINYINT|SMALLINT|MEDIUMINT|INT|INTEGER|BIGINT)(?: (?P<unsigned>UNSIGNED))?"
    r"|(?P<float>FLOAT|DOUBLE)|(?P<decimal>DECIMAL)\([0-9]{1,2}(?:,[0-9]{1,2})?\)|(?P<boolean>BOOLEAN)"
    r"|(?P<chars>CHAR|VARCHAR)\((?P<length>[0-9]{1,5})\)|(?P<text>TINYTEXT|TEXT|MEDIUMTEXT|LONGTEXT)"
    r"|(?P<blob>(?:VAR)?BINARY\([0-9]{1,5}\)|TINYBLOB|BLOB|MEDIUMBLOB|LONGBLOB)"
    r"|(?P<moment>DATETIME|TIMESTAMP)(?:\([0-6]\))?|(?P<json>JSON)"
)
_FORMS = (
    "BOOLEAN, INT, BIGINT UNSIGNED..., FLOAT, DOUBLE, DECIMAL(p,s), CHAR(n), VARCHAR(n), TEXT, MEDIUMTEXT, LONGTEXT, "
    "VARBINARY(n), BLOB, DATETIME(6), TIMESTAMP, JSON"
)


class Type(NamedTuple):
    """A column's type: its name as SQL has it, and what makes a value of it."""

    sql: str
    convert: Convert


def read_type(text: str, cut: bool = False) -> Type:
    """The type of a layout's line. With ``cut``, text that is too long is cut. Raises ValueError."""
    sql = re.sub(r"\s+", " ", re.sub(r"\s*([(),])\s*", r"\1", text.strip().upper()))
    match = _TYPE.fullmatch(sql)
    if match is None:
        raise ValueError(f"{text!r} is no type: there are {_FORMS}")
    if cut and not (match["chars"] or match["text"]):
        raise ValueError(f"{text!r} cannot be cut: that is for text")
    if match["integer"]:
        return Type(sql, _integers(_INTEGER_BITS[match["integer"]], bool(match["unsigned"])))
    if match["chars"]:
        return Type(sql, _texts(int(match["length"]), cut))
    if match["text"]:
        return Type(sql, _long_texts(_TEXT_BYTES[match["text"]], cut))
    if match["blob"]:
        return Type(sql, _bytes)
    if match["json"]:
        return Type(sql, as_json)
    if match["moment"]:
        return Type(sql, _moment)
    return Type(sql, _boolean if match["boolean"] else _number)


def sqlite_type(sql: str) -> str:
    """The affinity that SQLite gives to columns of it: it keeps to the value, and not to the name of a type."""
    if sql.startswith(("CHAR", "VARCHAR", "DATETIME", "TIMESTAMP", "JSON")) or sql.endswith("TEXT"):
        return "TEXT"
    if "BINARY" in sql or sql in _BLOBS:
        return "BLOB"
    return "REAL" if sql.startswith(("FLOAT", "DOUBLE", "DECIMAL")) else "INTEGER"


def _integers(bits: int, unsigned: bool) -> Convert:
    low, high = (0, (1 << bits) - 1) if unsigned else (-(1 << bits - 1), (1 << bits - 1) - 1)

    def convert(value: Any) -> int | None:
        number = value if type(value) is int else _whole(value)
        if number is not None and not low <= number <= high:
            raise ValueError(f"{number} is not within {low} and {high}")
        return number

    return convert


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else round(number)


def _number(value: Any) -> int | float | None:
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is int or value is None:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return int(value)
    if kind is str:
        try:
            return _number(float(value) if re.search(r"[.eEnN]", value) else int(value))
        except ValueError:
            pass
    raise ValueError(f"{_shown(value)} is not a number")


def _boolean(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(bool(number))


def _texts(chars_max: int, cut: bool) -> Convert:
    def convert(value: Any) -> str | None:
        text = value if type(value) is str and value.isascii() else _text(value)
        if text is not None and len(text) > chars_max:
            if not cut:
                raise ValueError(f"{_shown(text)} is longer than {chars_max} characters")
            return text[:chars_max]
        return text

    return convert


def _long_texts(bytes_max: int, cut: bool) -> Convert:
    def convert(value: Any) -> str | None:
        text = _text(value)
        if text is None or len(text) * 4 <= bytes_max:
            return text
        encoded = text.encode()
        if len(encoded) <= bytes_max:
            return text
        if not cut:
            raise ValueError(f"{_shown(text)} is longer than {bytes_max} bytes")
        return encoded[:bytes_max].decode(errors="ignore")

    return convert


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if type(value) is not str:
        value = value.decode(errors="backslashreplace") if type(value) is bytes else as_json(value)
    if value.isascii():
        return value  # type: ignore[no-any-return]
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode(errors="backslashreplace").decode()  # type: ignore[no-any-return]
    return value  # type: ignore[no-any-return]


def _bytes(value: Any) -> bytes | None:
    if value is None or type(value) is bytes:
        return value
    text = value if type(value) is str else as_json(value)
    return None if text is None else text.encode(errors="surrogateescape")


def as_json(value: Any) -> str | None:
    """The value as JSON text; None stays None."""
    return None if value is None else json_values.encode_value(value).decode()


def _moment(value: Any) -> str | None:
    """Unix seconds, a datetime, or text of one; one without a zone is in UTC."""
    if value is None:
        return None
    if type(value) is str:
        try:
            value = datetime.datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{_shown(value)} is not a moment, such as 2026-11-21T17:28:23Z") from None
    if isinstance(value, datetime.datetime):
        zoned = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        value = zoned.timestamp()
    number = _number(value)
    if number is None:
        return None
    try:
        second, microseconds = divmod(round(number * 1_000_000), 1_000_000)
        return f"{_second(second)}.{microseconds:06d}"
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{_shown(value)} is in no calendar") from None


@functools.lru_cache(maxsize=256)
def _second(unix_s: int) -> str:
    """Kept, because the calendar costs more than all else of a row."""
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).replace(tzinfo=None).isoformat(" ")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
