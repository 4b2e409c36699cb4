"""Columns: which types there are, and what becomes of a field in each."""

import datetime
import math
from typing import Any

import pytest

from cyclone.protocol import limits
from cyclone.sinks.columns import read_type, sqlite_type

UTC = datetime.UTC


@pytest.mark.parametrize(
    ("sql", "value", "expected"),
    [
        ("INT", 7, 7),
        ("INT", 7.6, 8),
        ("INT", -1, -1),
        ("INT", True, 1),
        ("INT", "12", 12),
        ("INT", "1e3", 1000),
        ("INT", math.nan, None),
        ("BIGINT UNSIGNED", (1 << 64) - 1, (1 << 64) - 1),
        ("TINYINT", -128, -128),
        ("DOUBLE", 1, 1),
        ("DOUBLE", 0.1, 0.1),
        ("DOUBLE", math.inf, None),
        ("DOUBLE", "nan", None),
        ("DECIMAL(10,2)", 1.25, 1.25),
        ("BOOLEAN", True, 1),
        ("BOOLEAN", 0.0, 0),
        ("CHAR(7)", "OST000a", "OST000a"),
        ("VARCHAR(3)", 1.5, "1.5"),
        ("VARCHAR(9)", b"abc", "abc"),
        ("VARCHAR(9)", "caf\xe9 \U0001f41f", "caf\xe9 \U0001f41f"),
        ("VARCHAR(9)", "a\udcff", "a\\udcff"),
        ("TEXT", [1, "a"], '[1,"a"]'),
        ("BLOB", b"\x00\xff", b"\x00\xff"),
        ("BLOB", "a\udcff", b"a\xff"),
        ("JSON", {"a": None}, '{"a":null}'),
        ("JSON", "text", '"text"'),
        ("JSON", b"\xff", '{"base64":"/w=="}'),
        ("JSON", ["a\udcff", "\ud800"], '[{"base64":"Yf8="},"\\\\ud800"]'),
        ("DATETIME(6)", 1_780_000_001.25, "2026-05-28 20:26:41.250000"),
        ("DATETIME(6)", 0, "1970-01-01 00:00:00.000000"),
        ("DATETIME(6)", -0.5, "1969-12-31 23:59:59.500000"),
        ("TIMESTAMP", "2026-05-28T22:26:41+02:00", "2026-05-28 20:26:41.000000"),
        ("TIMESTAMP", datetime.datetime(2026, 5, 28, 20, 26, 41), "2026-05-28 20:26:41.000000"),
        ("TIMESTAMP", datetime.datetime(2026, 5, 28, 20, 26, 41, tzinfo=UTC), "2026-05-28 20:26:41.000000"),
        ("DATETIME", math.nan, None),
    ],
)
def test_given_a_field_when_converted_then_it_is_a_value_of_the_type(sql: str, value: Any, expected: Any) -> None:
    found = read_type(sql).convert(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "sql",
    ["INT", "DOUBLE", "BOOLEAN", "CHAR(1)", "TEXT", "BLOB", "VARBINARY(2)", "JSON", "DATETIME(6)", "DECIMAL(4,1)"],
)
def test_given_nothing_when_converted_then_it_is_null(sql: str) -> None:
    assert read_type(sql).convert(None) is None


@pytest.mark.parametrize(
    ("sql", "value", "problem"),
    [
        ("INT", 1 << 31, "2147483648 is not within -2147483648 and 2147483647"),
        ("BIGINT UNSIGNED", -1, "-1 is not within 0 and"),
        ("INT", "many", "'many' is not a number"),
        ("DOUBLE", [1], "[1] is not a number"),
        ("CHAR(7)", "OST12345", "'OST12345' is longer than 7 characters"),
        ("TINYTEXT", "\xe9" * 128, "is longer than 255 bytes"),
        ("DATETIME", "soon", "'soon' is not a moment, such as 2026-11-21T17:28:23Z"),
        ("DATETIME", 1e18, "1e+18 is in no calendar"),
    ],
)
def test_given_a_field_that_does_not_fit_when_converted_then_the_error_says_why(
    sql: str, value: Any, problem: str
) -> None:
    with pytest.raises(ValueError) as caught:
        read_type(sql).convert(value)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "value", "expected"), [("VARCHAR(3)", "abcdef", "abc"), ("TINYTEXT", "\xe9" * 200, "\xe9" * 127)]
)
def test_given_text_that_is_too_long_when_it_may_be_cut_then_it_is(sql: str, value: str, expected: str) -> None:
    assert read_type(sql, cut=True).convert(value) == expected


@pytest.mark.parametrize(
    ("text", "cut", "problem"),
    [
        ("STRING", False, "'STRING' is no type: there are BOOLEAN, INT"),
        ("VARCHAR", False, "'VARCHAR' is no type"),
        ("INT; DROP TABLE x", False, "is no type"),
        ("DATETIME(7)", False, "is no type"),
        ("INT", True, "'INT' cannot be cut: that is for text"),
    ],
)
def test_given_no_type_when_read_then_the_error_says_what_there_is(text: str, cut: bool, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_type(text, cut)
    assert problem in str(caught.value)


def test_given_a_value_as_deep_as_values_may_be_when_it_becomes_json_then_it_does() -> None:
    value: Any = 1
    for _ in range(limits.NESTING_MAX):
        value = [value]
    # A column may take more than one of them, as $args does.
    text = "[" * (limits.NESTING_MAX + 1) + "1" + "]" * (limits.NESTING_MAX + 1)
    assert read_type("JSON").convert([value]) == text


def test_given_a_moment_of_long_ago_when_converted_then_its_year_has_four_digits() -> None:
    assert read_type("DATETIME(6)").convert("0987-06-05T04:03:02Z") == "0987-06-05 04:03:02.000000"


def test_given_a_type_in_any_spelling_when_read_then_it_is_as_sql_has_it() -> None:
    assert read_type("bigint   unsigned").sql == "BIGINT UNSIGNED"
    assert read_type("decimal ( 10 , 2 )").sql == "DECIMAL(10,2)"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INT", "INTEGER"), ("BIGINT UNSIGNED", "INTEGER"), ("BOOLEAN", "INTEGER"), ("DOUBLE", "REAL"),
        ("DECIMAL(10,2)", "REAL"), ("CHAR(7)", "TEXT"), ("LONGTEXT", "TEXT"), ("DATETIME(6)", "TEXT"),
        ("TIMESTAMP", "TEXT"), ("JSON", "TEXT"), ("VARBINARY(3)", "BLOB"), ("LONGBLOB", "BLOB"),
    ],
)  # fmt: skip
def test_given_a_type_when_sqlite_gets_it_then_it_has_the_affinity_of_its_values(sql: str, expected: str) -> None:
    assert sqlite_type(sql) == expected
