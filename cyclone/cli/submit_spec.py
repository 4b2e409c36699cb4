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
from cyclone.cli.submit_values import is_unicode
from cyclone.protocol.job_checks import unprintable
from cyclone.protocol.job_spec import JobSpec

SPEC_FIELDS = frozenset(JobSpec.__struct_fields__)

_PLACE = re.compile(r" - at `\$\.?([a-z_]*)(.*)`$")


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
        place = _PLACE.search(str(error))
        text = _PLACE.sub("", str(error)).replace("`", "")
        raise ValueError(f"{called(place[1] if place else '')}: {text[:1].lower()}{text[1:]}") from None
    if field := unprintable(spec):
        raise ValueError(f"{called(field)} has characters that cannot be printed: write text in one line")
    return spec


def _texts(value: object) -> list[str]:
    """All text in the value of an option."""
    parts = [value]
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple):
        parts = list(value)
    return [part for part in parts if isinstance(part, str)]
