"""The JSON that people and programs get to see: of packed task properties and result values, and of all else.

Owns that any parser takes it, however strict. JSON has less than ``cyclone.values``; what a value has besides is
written so:

    bytes                             {"base64": "..."}
    text that stands for other bytes  the same, of those bytes: ``os.listdir`` gives it for file names that are no UTF-8
    text that is not Unicode at all   text, with each lone surrogate as an escape: \\ud800
    datetime                          ISO 8601 text
    a float that is not finite        "NaN", "Infinity" or "-Infinity"
    a dict key that is not text       its JSON text; where two keys become the same: {"pairs": [[key, value], ...]}

What is no value of a task (names, paths, messages) is text wherever it stands, with escapes where it is not Unicode.
"""

import binascii
import math
from collections.abc import Callable
from typing import Any

import msgspec

from cyclone import values

_AS_IS = frozenset({type(None), bool, int, str})
_encoder = msgspec.json.Encoder()
_encode = _encoder.encode


def from_packed(packed: bytes) -> Any:
    """The JSON form of a value that ``values.encode`` packed: what ``encode`` and ``encode_lines`` take.

    Raises msgspec.DecodeError, NotSerialisable or another error for bytes that ``values.encode`` did not make.
    """
    return _json_form(_decode(packed))


def for_people(packed: bytes) -> Any:
    """The same with all text as text, for who reads it and decodes no base64: what is not Unicode shows as escapes."""
    return _json_form(_decode_for_people(packed))


def encode_value(value: Any) -> bytes:
    """The JSON of a value that ``values.decode`` gave, or of a list or a dict of such values."""
    form = _json_form(value)
    try:
        return _encode(form)
    except UnicodeEncodeError:
        return _encode(_with_texts(form, text_form))


def encode(value: Any) -> bytes:
    """The JSON of whatever msgspec takes, with forms of values in it; what is not Unicode of other text is escaped."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_with_texts(msgspec.to_builtins(value), visible))


encode_lines = _encoder.encode_lines
"""The same of many at once, a line each, whose texts came as msgpack and are Unicode therefore."""


def text_form(text: str) -> Any:
    """The JSON form of a text that is a value: itself, or that of the bytes which it stands for."""
    if values.is_unicode(text):
        return text
    try:
        return {"base64": _base64(text.encode("utf-8", "surrogateescape"))}
    except UnicodeEncodeError:
        return visible(text)


def visible(text: str) -> str:
    """The text with each lone surrogate as an escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def text_of(form: Any) -> Any:
    """What ``text_form`` was given, of what it made; anything else as it is."""
    if type(form) is not dict or form.keys() != {"base64"} or type(form["base64"]) is not str:
        return form
    try:
        text = binascii.a2b_base64(form["base64"], strict_mode=True).decode("utf-8", "surrogateescape")
    except ValueError:
        return form
    return form if values.is_unicode(text) else text


def _json_form(value: Any) -> Any:
    """The value as msgspec's JSON encoder is to see it, which alone would write bytes as text and NaN as null."""
    kind = type(value)
    if kind in _AS_IS:
        return value
    if kind is list:
        return [item if type(item) in _AS_IS else _json_form(item) for item in value]
    if kind is dict:
        named = {key if type(key) is str else _key_text(key): _json_form(item) for key, item in value.items()}
        if len(named) == len(value):
            return named
        return {"pairs": [[_json_form(key), _json_form(item)] for key, item in value.items()]}
    if kind is bytes:
        return {"base64": _base64(value)}
    if kind is float and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _key_text(key: Any) -> str:
    """A dict key that is not text, as JSON text without quotes: 1, 1.5, true, null, base64 of bytes."""
    form = _base64(key) if type(key) is bytes else _json_form(key)
    return form if type(form) is str else _encode(form).decode()


def _with_texts(form: Any, text: Callable[[str], Any]) -> Any:
    """The form with another one of each text in it. A key is text in any case."""
    if isinstance(form, str):
        return text(form)
    if isinstance(form, list | tuple):
        return [_with_texts(item, text) for item in form]
    if isinstance(form, dict):
        return {visible(key) if isinstance(key, str) else key: _with_texts(item, text) for key, item in form.items()}
    return form


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _decoder(text: Callable[[str], Any]) -> Callable[[bytes], Any]:
    """Reads packed values, with such a form of text that is not Unicode."""

    def extension(code: int, data: memoryview) -> Any:
        value = values.decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(code, bytes(data))))
        return text(value) if type(value) is str else value

    return msgspec.msgpack.Decoder(ext_hook=extension).decode


_decode = _decoder(text_form)
_decode_for_people = _decoder(visible)
