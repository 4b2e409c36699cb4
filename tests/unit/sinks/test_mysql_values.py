"""Parameters in a statement: what is made here is what the driver makes of the same."""

from typing import Any

import pytest
from mysql.connector import conversion


def literal(converter: Any, value: Any) -> bytes:
    """As the driver's cursors do it."""
    return bytes(converter.quote(converter.escape(converter.to_mysql(value), "TRADITIONAL")))


@pytest.mark.parametrize(
    "value",
    [
        None, 0, -1, 1 << 64, 0.1, -1e300, 5e-324, "", "plain", "\xe9\u20ac\U0001f41f", "it's", '"', "\\", "\\'",
        "a\nb\rc", "\x1a", "\x00", "%s", "'; DROP TABLE x; --",
    ],
)  # fmt: skip
def test_given_a_value_then_its_literal_is_that_of_the_driver(value: Any) -> None:
    from cyclone.sinks.stores.mysql_values import PlainValues

    assert literal(PlainValues("utf8mb4"), value) == literal(conversion.MySQLConverter("utf8mb4"), value)


def test_given_bytes_then_their_literal_is_hexadecimal() -> None:
    from cyclone.sinks.stores.mysql_values import PlainValues

    assert literal(PlainValues("utf8mb4"), b"\x00'\xff") == b"X'0027ff'"
