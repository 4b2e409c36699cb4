"""The JSON that is printed: any parser takes it, and of what JSON lacks as little as possible is lost."""

import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cyclone import json_values, values

strict = msgspec.json.decode
"""Refuses what Python's own parser takes, as most others do: lone surrogates, NaN."""

LATIN_1 = {"base64": "Y2Fm6Q=="}
TEXTS = [
    ("", ""),
    ("caf\xe9 \N{SNOWMAN} \U0001f300", "caf\xe9 \N{SNOWMAN} \U0001f300"),
    ("caf\udce9", LATIN_1),
    ("\udcff\0\n", {"base64": "/wAK"}),
    ("\xe9\udce9", {"base64": "w6np"}),
    # Bytes that are UTF-8, though not at once.
    ("\udcc3\udca9", {"base64": "w6k="}),
    # No bytes: half a pair, a pair in two halves, and a half beside a byte.
    ("a\ud800b", "a\\ud800b"),
    ("\ud83d\ude00", "\\ud83d\\ude00"),
    ("\udcff\udfff", "\\udcff\\udfff"),
]


@pytest.mark.parametrize(("text", "form"), TEXTS)
def test_given_a_text_when_it_is_a_value_then_it_is_itself_or_its_bytes(text: str, form: Any) -> None:
    nested = {"a": [text, 1.5, None], "b": {"c": text}, "d": b"\xff", "e": float("nan"), "f": datetime.datetime.min}
    expected = {
        "a": [form, 1.5, None],
        "b": {"c": form},
        "d": {"base64": "/w=="},
        "e": "NaN",
        "f": "0001-01-01T00:00:00",
    }
    for value, found in ((text, form), (nested, expected), ([[text]], [[form]])):
        packed = values.encode(value)
        assert strict(json_values.encode(json_values.from_packed(packed))) == found
        assert strict(json_values.encode_value(values.decode(packed))) == found
        assert strict(json_values.encode_lines([json_values.from_packed(packed)])) == found
    assert json_values.text_form(text) == form


@pytest.mark.parametrize(("text", "form"), TEXTS)
def test_given_a_text_that_stands_for_bytes_when_its_form_is_read_back_then_these_are_the_same(
    text: str, form: Any
) -> None:
    read = json_values.text_of(form)
    # A text is never written so where its bytes are UTF-8 as it stands: then somebody else has meant an object.
    is_text = form in (text, LATIN_1) or (isinstance(form, dict) and form != {"base64": "w6k="})
    assert read == (text if is_text else form)


@pytest.mark.parametrize(
    "other",
    [None, 1, {"base64": "YQ=="}, [{"base64": "YQ=="}], {}, {"base64": 1}, {"base64": "YQ=="} | {"a": 1}, {"a": "YQ=="}]
    + [{"base64": text} for text in ("YQ", "Y Q==", "\xe9", "=", "YQ==YQ==")],
)
def test_given_what_is_no_form_of_a_text_when_read_back_then_it_stays_as_it_is(other: Any) -> None:
    assert json_values.text_of(other) is other


@pytest.mark.parametrize(("text", "_"), TEXTS)
def test_given_a_text_when_it_is_no_value_or_for_people_then_it_is_text_in_any_case(text: str, _: Any) -> None:
    shown = text.encode("utf-8", "backslashreplace").decode()
    assert strict(json_values.encode(json_values.for_people(values.encode({"a": [text]})))) == {"a": [shown]}

    class Told(msgspec.Struct):
        text: str
        more: Any

    told = Told(text, {text: (text, b"\xff", Path.__name__), 5: datetime.datetime.min})
    assert strict(json_values.encode(told)) == {
        "text": shown,
        "more": {shown: [shown, "/w==", "Path"], "5": "0001-01-01T00:00:00"},
    }
    assert json_values.visible(text) == shown


def test_given_keys_then_what_is_no_text_is_its_json_and_none_is_lost() -> None:
    value = {1: "\udcff", b"\xff": 2, None: 3, 1.5: 4}
    found = {"1": {"base64": "/w=="}, "/w==": 2, "null": 3, "1.5": 4}
    assert strict(json_values.encode_value(value)) == found
    assert strict(json_values.encode(json_values.from_packed(values.encode(value)))) == found
    twice = {1: "a", "1": "\udcff"}
    assert strict(json_values.encode_value(twice)) == {"pairs": [[1, "a"], ["1", {"base64": "/w=="}]]}
    # Such a key cannot be packed, but may stand in what is packed by name.
    assert strict(json_values.encode_value({"\udcff": 1})) == {"\\udcff": 1}
