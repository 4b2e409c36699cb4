"""Task properties and result values as msgpack: what goes in comes out, or is refused with a reason.

msgspec would quietly turn a set into a list or an Enum into its value; a task that then meets another type than its
author wrote fails far from the cause. So only what has an exact msgpack form is taken: None, bool, int of 64 bits,
float, str, bytes, list, tuple (which arrives as a list), dict and datetime (one with a zone arrives as the same instant
in UTC). Two extension types of our own complete them: a datetime without a zone, and text that is not valid Unicode, as
``os.listdir`` gives it for file names that are not UTF-8.
"""

import datetime
from collections.abc import Callable
from typing import Any

import msgspec

from cyclone.errors import NotSerialisable, PayloadTooLarge
from cyclone.protocol import limits

_EXT_NAIVE_DATETIME = 1
_EXT_SURROGATE_TEXT = 2
_BYTES_MAX = limits.VALUE_BYTES_MAX
_TAKEN = "None, bool, int of 64 bits, float, str, bytes, list, tuple, dict or datetime"

SCALARS = frozenset({type(None), bool, int, float, bytes, str})
"""Types that ``pack`` takes as they are, but for an int of more than 64 bits and text with a lone surrogate."""

pack = msgspec.msgpack.Encoder().encode
"""Bare msgpack, for values that are known to be SCALARS; OverflowError or ValueError where one has no form."""


def _unpack_ext(code: int, data: memoryview) -> Any:
    if code == _EXT_NAIVE_DATETIME:
        return datetime.datetime.fromisoformat(bytes(data).decode("ascii"))
    if code == _EXT_SURROGATE_TEXT:
        return bytes(data).decode("utf-8", "surrogatepass")
    raise NotSerialisable(f"unknown msgpack extension type {code}")


decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(ext_hook=_unpack_ext).decode

decode_properties: Callable[[bytes], tuple[Any, ...]] = msgspec.msgpack.Decoder(tuple, ext_hook=_unpack_ext).decode
"""A task's constructor properties: an array, as the tuple that a call of its class makes anyway (25 ns of 400)."""


def encode(value: Any) -> bytes:
    """The msgpack form of a value. Raises NotSerialisable, whose message fits after 'the value of x'; where it is too
    much that is a PayloadTooLarge.
    """
    try:
        # A look at the outermost type spares the walk for what nearly all properties and results are.
        packed = pack(value if type(value) in SCALARS else _exact(value, 0, [_BYTES_MAX]))
    except UnicodeEncodeError:
        packed = pack(_exact(value, 0, [_BYTES_MAX]))
    except OverflowError:
        raise NotSerialisable("holds an integer of more than 64 bits") from None
    except ValueError as error:
        raise NotSerialisable(f"has no msgpack form: {error}") from None
    if len(packed) > _BYTES_MAX:
        raise PayloadTooLarge(_too_large("takes", len(packed)))
    return packed


def encode_properties(names: tuple[str, ...], values: tuple[Any, ...]) -> bytes:
    """The msgpack array of a task's constructor properties; NotSerialisable names the one that does not fit."""
    parts = []
    for name, value in zip(names, values, strict=True):
        try:
            parts.append(msgspec.Raw(encode(value)))
        except NotSerialisable as error:
            raise type(error)(f"the value of {name!r} {error}") from None
    packed = pack(parts)
    if len(packed) > _BYTES_MAX:
        together = ", ".join(map(repr, names))
        raise PayloadTooLarge(f"the values of {together} together {_too_large('take', len(packed))}")
    return packed


def _too_large(take: str, size_bytes: int) -> str:
    return f"{take} {size_bytes} bytes, the limit is {_BYTES_MAX}: pass the path of a file instead"


def _exact(value: Any, depth: int, room: list[int]) -> Any:
    """The value with our extension types put in; NotSerialisable for a type without an exact form.

    ``room`` holds how many more items may be met: each takes a byte at least, and containers that share their items
    can hold 2**64 of them in a few lines of code.
    """
    kind = type(value)
    if kind is str:
        return (
            value
            if is_unicode(value)
            else msgspec.msgpack.Ext(_EXT_SURROGATE_TEXT, value.encode("utf-8", "surrogatepass"))
        )
    if kind in SCALARS:
        return value
    if kind is datetime.datetime:
        return _exact_datetime(value)
    if kind is not list and kind is not tuple and kind is not dict:
        raise NotSerialisable(f"holds a {kind.__module__}.{kind.__qualname__}; it may hold {_TAKEN}")
    if depth >= limits.NESTING_MAX:
        raise NotSerialisable(f"is nested more than {limits.NESTING_MAX} deep")
    room[0] -= len(value)
    if room[0] < 0:
        raise PayloadTooLarge(f"takes more than {_BYTES_MAX} bytes, which is the limit: pass the path of a file")
    if kind is dict:
        return {_exact_key(key): _exact(item, depth + 1, room) for key, item in value.items()}
    return [_exact(item, depth + 1, room) for item in value]


def _exact_datetime(value: datetime.datetime) -> Any:
    if value.utcoffset() is None:
        return msgspec.msgpack.Ext(_EXT_NAIVE_DATETIME, value.replace(tzinfo=None).isoformat().encode("ascii"))
    try:
        return value.astimezone(datetime.UTC)
    except OverflowError:
        raise NotSerialisable(f"holds {value.isoformat()}, which is outside of the years 1 to 9999 in UTC") from None


def _exact_key(key: Any) -> Any:
    if type(key) not in SCALARS:
        raise NotSerialisable(
            f"has a dict key of type {type(key).__qualname__}; keys may be str, int, float, bool, bytes or None"
        )
    if type(key) is str and not is_unicode(key):
        raise NotSerialisable(f"has the dict key {key!r}, which is not valid Unicode")
    return key


def is_unicode(text: str) -> bool:
    """False where text holds a lone surrogate, which msgpack text cannot."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
