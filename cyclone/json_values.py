"""Packed task properties and result values as JSON, for results files and whoever else must show them as text.

JSON has less than ``cyclone.values``. What it lacks is written so:

    bytes                             {"base64": "..."}
    datetime                          ISO 8601 text
    a float that is not finite        "NaN", "Infinity" or "-Infinity"
    a dict key that is not text       its JSON text; where two keys become the same: {"pairs": [[key, value], ...]}
    text that is not valid Unicode    with \\udc80 escapes, as Python's json module writes and reads it (file names)
"""

import binascii
import math
from collections.abc import Callable
from typing import Any

import msgspec

from cyclone import values

_AS_IS = frozenset({type(None), bool, int, str})


def from_packed(packed: bytes) -> Any:
    """The JSON form of a value that ``values.encode`` packed: what ``encode`` and ``encode_lines`` take.

    Raises msgspec.DecodeError, NotSerialisable or another error for bytes that ``values.encode`` did not make.
    """
    return _json_form(_decode(packed))


def encode_value(value: Any) -> bytes:
    """The JSON of a value that ``values.decode`` gave, or of a list or a dict of such values."""
    form = _json_form(value)
    try:
        return encode(form)
    except UnicodeEncodeError:
        # Only Python's own json module can escape a lone surrogate, and it knows no datetime.
        import json

        return json.dumps(form, separators=(",", ":"), default=msgspec.to_builtins).encode("ascii")


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
    return form if type(form) is str else encode(form).decode()


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _extension_as_json(code: int, data: memoryview) -> Any:
    value = values.decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(code, bytes(data))))
    if type(value) is not str:
        return value
    # Only Python's own json module can escape a lone surrogate; msgspec takes its text over as it stands.
    import json

    return msgspec.Raw(json.dumps(value).encode("ascii"))


_decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(ext_hook=_extension_as_json).decode
_encoder = msgspec.json.Encoder()
encode = _encoder.encode
encode_lines = _encoder.encode_lines
