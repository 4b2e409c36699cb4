"""Values at the edges of their types: as large, as long, as odd as a message may hold, and still well-formed.

``tests/support/malformed.py`` has what no codec lets through; this is what every codec must, so that only what stands
behind it can say no.
"""

import math
import random
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect

# Labels have an alphabet of their own; all other text may hold anything.
_LABELS = ("a", "default", "0", "a" * 255, "A0_.:/@-z", "0..")
_TEXTS = ("", "a", "x:Y", "default", "\0", "\n2026-01-01 forged\x1b[2J", "\N{SNOWMAN}", "last", "a/../b", "%s{}")
_BYTES = (b"", b"\x90", b"\xc1", b"\x91\xc4\x01\x00", bytes(16), b"\xdd\xff\xff\xff\xff")
_MANY = 40


class Extremes:
    """Draws from a seed."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def of(self, kind: type) -> Any:
        """One of this type, which ``msgspec`` describes."""
        return self._value(inspect.type_info(kind))

    def _value(self, info: inspect.Type) -> Any:
        match info:
            case inspect.Metadata(type=inner):
                return self._value(inner)
            case inspect.UnionType(types=types):
                return self._value(self._rng.choice(types))
            case inspect.LiteralType(values=values):
                return self._rng.choice(values)
            case inspect.NoneType():
                return None
            case inspect.BoolType():
                return self._rng.random() < 0.5
            case inspect.IntType():
                return self._int(info)
            case inspect.FloatType():
                return self._float(info)
            case inspect.StrType():
                return self._text(info)
            case inspect.BytesType():
                return self._bytes(info)
            case inspect.StructType():
                return self._struct(info)
        return self._collection(info)

    def _collection(self, info: inspect.Type) -> Any:
        match info:
            case inspect.TupleType(item_types=types):
                return tuple(self._value(one) for one in types)
            case inspect.VarTupleType(item_type=item):
                return tuple(self._value(item) for _ in range(self._length(info)))
            case inspect.ListType(
                item_type=inspect.TupleType(item_types=(inspect.IntType(), inspect.IntType()) as ends)
            ):
                # Ranges, in their order.
                numbers = sorted({self._value(ends[0]) for _ in range(2 * self._length(info))})
                return list(zip(numbers[::2], numbers[1::2], strict=False))
            case inspect.ListType(item_type=item):
                return [self._value(item) for _ in range(self._length(info))]
            case inspect.DictType(key_type=key, value_type=value):
                return {self._value(key): self._value(value) for _ in range(self._length(info))}
        raise AssertionError(f"no value is known for {info}")

    def _length(self, info: Any) -> int:
        low, high = info.min_length or 0, info.max_length or _MANY
        return self._rng.choice((low, max(low, min(1, high)), max(low, min(2, high)), min(high, _MANY)))

    def _int(self, info: inspect.IntType) -> int:
        low = info.ge if info.ge is not None else -(1 << 63)
        high = info.le if info.le is not None else (1 << 63) - 1
        near: Callable[[int], int] = lambda number: max(int(low), min(int(high), number))  # noqa: E731
        return near(self._rng.choice((int(low), int(high), near(0), near(1), near(2), near(9), near(1000))))

    def _float(self, info: inspect.FloatType) -> float:
        low = info.ge if info.ge is not None else math.nextafter(info.gt or 0.0, math.inf)
        high = info.le if info.le is not None else 1e300
        return float(self._rng.choice((low, high, max(low, min(high, 1.0)), max(low, min(high, 1e9)))))

    def _text(self, info: inspect.StrType) -> str:
        if info.pattern:
            empty = () if info.pattern.startswith("^[") else ("",)
            label: str = self._rng.choice((*_LABELS, *empty))
            return label
        low, high = info.min_length or 0, info.max_length or 5000
        longest = self._rng.choice("x\n\N{SNOWMAN}") * (high if self._rng.random() < 0.1 else min(high, 300))
        text = self._rng.choice((*_TEXTS, longest))
        return text if low <= len(text) <= high else "x" * low

    def _bytes(self, info: inspect.BytesType) -> bytes:
        low, high = info.min_length or 0, info.max_length or 5000
        data = self._rng.choice((*_BYTES, self._rng.randbytes(min(high, 100))))
        return data if low <= len(data) <= high else self._rng.randbytes(low)

    def _struct(self, info: inspect.StructType) -> msgspec.Struct:
        fields = {field.name: field for field in info.fields}
        # What may be left out often is, or everything would contradict something.
        chosen = {n: f for n, f in fields.items() if f.required or self._rng.random() < 0.3}
        made: msgspec.Struct = info.cls(**{name: self._value(field.type) for name, field in chosen.items()})
        return made
