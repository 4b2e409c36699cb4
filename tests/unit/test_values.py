"""Values as msgpack: what goes in comes out, and what would come out as something else is refused with the reason."""

import collections
import datetime
import decimal
import enum
import os
import pathlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclone import values
from cyclone.errors import NotSerialisable, PayloadTooLarge
from cyclone.protocol import limits

EAST = datetime.timezone(datetime.timedelta(hours=14))


class Colour(enum.IntEnum):
    RED = 1


Point = collections.namedtuple("Point", "x y")

any_text = st.text(st.characters(categories=None))
integers = st.integers(-(2**63), 2**64 - 1)
# Far enough from the ends of the calendar to exist in UTC, whatever the zone.
zoned = st.datetimes(datetime.datetime(2, 1, 1), datetime.datetime(9998, 1, 1), timezones=st.timezones())
scalars = st.none() | st.booleans() | integers | st.floats() | any_text | st.binary() | st.datetimes() | zoned
keys = st.none() | st.booleans() | integers | st.floats(allow_nan=False) | st.text() | st.binary()
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20)


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down; not-a-number equals itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(a, b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, datetime.datetime) and (left.utcoffset() is None) != (right.utcoffset() is None):
        return False
    if isinstance(left, datetime.datetime) and left.utcoffset() is not None:
        # By the moment: in an hour that a zone skipped or repeated no time equals itself in another zone (PEP 495).
        return bool(left.timestamp() == right.timestamp())
    return bool(left == right or (left != left and right != right))


@settings(derandomize=True, deadline=None)
@given(anything)
def test_given_any_value_then_it_comes_out_as_it_went_in(value: Any) -> None:
    assert same(values.decode(values.encode(value)), value)


@settings(derandomize=True, deadline=None)
@given(st.lists(anything, max_size=4))
def test_given_any_properties_then_they_come_out_as_they_went_in(properties: list[Any]) -> None:
    names = tuple("abcd"[: len(properties)])

    assert same(values.decode(values.encode_properties(names, tuple(properties))), properties)


@pytest.mark.parametrize("value", [-(2**63), 2**63, 2**64 - 1])
def test_given_an_integer_of_64_bits_then_it_is_taken(value: int) -> None:
    assert values.decode(values.encode([value])) == [value]


@pytest.mark.parametrize("value", [-(2**63) - 1, 2**64])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: {value: None}])
def test_given_a_larger_integer_then_it_is_refused(value: int, wrap: Any) -> None:
    with pytest.raises(NotSerialisable, match="holds an integer of more than 64 bits"):
        values.encode(wrap(value))


def test_given_a_file_name_that_is_not_utf_8_then_it_comes_back_also_from_within() -> None:
    name = os.fsdecode(b"caf\xe9")

    assert values.decode(values.encode({"names": [name]})) == {"names": [name]}
    assert os.fsencode(values.decode(values.encode(name))) == b"caf\xe9"


def test_given_a_tuple_then_it_comes_back_as_a_list() -> None:
    assert values.decode(values.encode((1, (2, 3)))) == [1, [2, 3]]


def test_given_a_datetime_with_a_zone_then_the_same_instant_comes_back_in_utc() -> None:
    value = datetime.datetime(2024, 5, 6, 7, 8, 9, 123456, EAST)

    assert values.decode(values.encode(value)) == value
    assert values.decode(values.encode(value)).tzinfo is datetime.UTC


def test_given_a_datetime_without_a_zone_then_none_is_added() -> None:
    value = datetime.datetime(2024, 5, 6, 7, 8, 9, 123456)

    assert values.decode(values.encode([value])) == [value]
    assert values.decode(values.encode([value]))[0].tzinfo is None


def test_given_a_datetime_that_utc_does_not_have_then_it_is_refused() -> None:
    with pytest.raises(
        NotSerialisable, match="holds 0001-01-01T00:00:00\\+14:00, which is outside of the years 1 to 9999"
    ):
        values.encode(datetime.datetime(1, 1, 1, tzinfo=EAST))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({1, 2}, "builtins.set"),
        (frozenset(), "builtins.frozenset"),
        (Colour.RED, "Colour"),
        (decimal.Decimal("1.5"), "decimal.Decimal"),
        (Point(1, 2), "Point"),
        (collections.OrderedDict(a=1), "collections.OrderedDict"),
        (datetime.date(2024, 1, 1), "datetime.date"),
        (bytearray(b"x"), "builtins.bytearray"),
        (pathlib.PurePosixPath("/"), "PurePosixPath"),
        (object(), "builtins.object"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"key": [value]}])
def test_given_a_type_without_an_exact_form_then_it_is_refused_by_name(value: Any, name: str, wrap: Any) -> None:
    with pytest.raises(NotSerialisable, match=rf"^holds a .*{name}; it may hold None, bool"):
        values.encode(wrap(value))


@pytest.mark.parametrize("key", [(1, 2), datetime.datetime(2024, 1, 1), Colour.RED])
def test_given_a_dict_key_without_an_exact_form_then_it_is_refused(key: Any) -> None:
    with pytest.raises(NotSerialisable, match="has a dict key of type"):
        values.encode({key: 1})


def test_given_a_dict_key_that_is_not_unicode_then_it_is_refused() -> None:
    with pytest.raises(NotSerialisable, match="which is not valid Unicode"):
        values.encode({os.fsdecode(b"caf\xe9"): 1})


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_given_nesting_then_64_levels_are_taken_and_65_refused() -> None:
    assert values.decode(values.encode(nested(64))) == nested(64)
    with pytest.raises(NotSerialisable, match="is nested more than 64 deep"):
        values.encode(nested(65))


def test_given_a_list_that_holds_itself_then_it_is_refused() -> None:
    value: list[Any] = []
    value += [value, value]

    with pytest.raises(NotSerialisable, match="is nested more than 64 deep"):
        values.encode(value)


def test_given_shared_lists_that_unfold_without_end_then_they_are_refused_in_time() -> None:
    value: Any = [None] * 1000
    for _ in range(60):
        value = [value, value]

    with pytest.raises(PayloadTooLarge, match=f"takes more than {limits.VALUE_BYTES_MAX} bytes"):
        values.encode(value)


def test_given_a_value_at_the_limit_then_it_is_taken_and_one_byte_more_refused() -> None:
    header = 5
    largest = bytes(limits.VALUE_BYTES_MAX - header)

    assert len(values.encode(largest)) == limits.VALUE_BYTES_MAX
    with pytest.raises(PayloadTooLarge, match=f"takes {limits.VALUE_BYTES_MAX + 1} bytes, the limit is .* a file"):
        values.encode(largest + b"x")
    with pytest.raises(PayloadTooLarge, match="^the value of 'b' takes"):
        values.encode_properties(("a", "b"), (1, largest + b"x"))


def test_given_properties_then_the_one_that_does_not_fit_is_named() -> None:
    with pytest.raises(NotSerialisable, match="^the value of 'second' holds a builtins.set"):
        values.encode_properties(("first", "second"), (1, {2}))


def test_given_properties_that_fit_one_by_one_but_not_together_then_they_are_refused() -> None:
    half = bytes(limits.VALUE_BYTES_MAX // 2)

    with pytest.raises(PayloadTooLarge, match="the values of 'a', 'b' together take"):
        values.encode_properties(("a", "b"), (half, half))


def test_given_an_extension_of_somebody_else_then_decoding_says_so() -> None:
    with pytest.raises(NotSerialisable, match="unknown msgpack extension type 9"):
        values.decode(b"\xd4\x09\x00")
