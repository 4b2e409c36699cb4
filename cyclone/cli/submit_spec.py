"""From options to a ``JobSpec``: whether they are within bounds, and do not contradict each other.

Owns this check, for the command line, the directives of a script and job files alike. Its caller says how an option is
called there, and adds where it stands.
"""

import math
import re
import time
from collections.abc import Callable

import msgspec

from cyclone.cli.arrays import numbers
from cyclone.cli.submit_options import OPTIONS, Given, Option
from cyclone.cli.submit_values import NAME_FORMS, is_unicode
from cyclone.protocol.job_checks import unprintable
from cyclone.protocol.job_spec import JobSpec

SPEC_FIELDS = frozenset(JobSpec.__struct_fields__)

_PLACE = re.compile(r" - at `\$\.?([a-z_]*)(.*)`$")
_BOUND = re.compile(r"Expected `(\w+)`( of length)? ([<>])=? (-?[0-9.e+]+)")
_PATTERN = "Expected `str` matching regex"


def make_spec(options: Given, call: Callable[[Option], str]) -> JobSpec:
    """The job of these options; other fields are passed over. ValueError names the one that is wrong as ``call`` does.

    Where there is no ``task_class`` yet, only the rest is checked.
    """
    fields = {"task_class": "a:B", **{name: value for name, value in options.items() if name in SPEC_FIELDS}}

    def called(field: str) -> str:
        return next((call(option) for option in OPTIONS if option.field == field), field or "the job")

    if "array" in options:
        numbers(options["array"])
    for field, value in fields.items():
        if not all(map(is_unicode, _texts(value))):
            raise ValueError(f"{called(field)}: {value!r} is not UTF-8 text")
    if fields.get("not_after", math.inf) <= fields.get("not_before", 0.0):
        raise ValueError(f"{called('not_after')} is not after {called('not_before')}: none of its tasks could start")
    # With a key, this may be said again of a job that is there.
    if fields.get("not_after", math.inf) <= time.time() and "key" not in options:
        raise ValueError(f"{called('not_after')} is a moment that has passed: none of its tasks could start")
    try:
        spec = msgspec.convert(fields, JobSpec)
    except msgspec.ValidationError as error:
        field = field_of(error)
        raise ValueError(f"{called(field)}: {in_words(error, fields.get(field))}") from None
    if field := unprintable(spec):
        raise ValueError(f"{called(field)} has characters that cannot be printed: write text in one line")
    return spec


def field_of(error: msgspec.ValidationError) -> str:
    """Which field it is about."""
    place = _PLACE.search(str(error))
    return place[1] if place else ""


def in_words(error: msgspec.ValidationError, value: object = None) -> str:
    """What is wrong for those who have never heard of types, without where; a bound with the number that is beyond."""
    text = _PLACE.sub("", str(error))
    if text.startswith(_PATTERN):
        return f"not a name: {NAME_FORMS}"
    found = _BOUND.match(text)
    if not found:
        text = text.replace("`", "")
        return f"{text[:1].lower()}{text[1:]}"
    kind, of_length, sign, bound = found.groups()
    is_over = sign == "<"
    right = f"write at {'most' if is_over else 'least'} {float(bound):,.12g}"
    if kind in ("str", "bytes"):
        return f"too {'long' if is_over else 'short'}: {right} {'characters' if kind == 'str' else 'bytes'}"
    if of_length:
        return f"too {'many' if is_over else 'few'}: {right}"
    beyond = f"too {'great' if is_over else 'small'}: {right}"
    return f"{value:,.12g} is {beyond}" if isinstance(value, int | float) else beyond


def _texts(value: object) -> list[str]:
    """All text in the value of an option."""
    parts = [value]
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple):
        parts = list(value)
    return [part for part in parts if isinstance(part, str)]
