"""What a list shows: its fields, and how a value of each kind is written for people, for scripts and as JSON.

Owns the kinds of values. Knows nothing of where rows come from and how lines are printed (``cyclone.cli.output``). What
others have named (tasks, nodes, errors) never reaches a terminal as it is: control characters are shown as escapes.

    kind        in a table              for scripts          in JSON
    text        as it is                as it is             text
    word        the same: one of few, and never shortened
    error       without its module      as it is             text
    number      1,234                   1234                 number
    moment      12:03:44, Nov 20 12:03  2026-11-20T12:03:44Z RFC 3339 in UTC, null for none
    duration    1h30m                   5400.0               seconds
    size        1.5 GiB                 1610612736           bytes
    tally       3 failed, 5 completed   failed=3,completed=5 object
    pairs       a=1 b=2                 a=1,b=2              object
    names       a, b                    a,b                  list
    packed      the JSON of the value, however it is asked for; only in a table text is text, even if it is not Unicode
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from cyclone.protocol.job_messages import JobSummary

# Control characters, and those that turn the direction of what follows.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Of "package.module.Type: message" what says little to people.
_MODULE = re.compile(r"(?:\w+\.)+(?=\w+(?::|\Z))")


class Kind(NamedTuple):
    """How values of a kind are written. ``paints``: the text is the name of a state, and may be coloured by it.

    ``free``: it is of any length, and may be shortened for people.
    """

    for_people: Callable[[Any], str]
    for_scripts: Callable[[Any], str]
    as_json: Callable[[Any], Any]
    right: bool = False
    paints: bool = False
    free: bool = False


class Column(NamedTuple):
    """A field: ``get`` takes it out of a row. Only those that are ``shown`` stand in a table that nobody asked more of.

    ``title`` is the head of the column, the name where it is empty.
    """

    name: str
    get: Callable[[Any], Any]
    kind: Kind
    shown: bool = True
    title: str = ""


class Listing(NamedTuple):
    """A list: the schema of its JSON (``cyclone.jobs/1``), under which name its rows stand there, and their fields.

    ``lines``: it is a JSON object a line unless something else is asked for.
    """

    schema: str
    key: str
    columns: Sequence[Column]
    lines: bool = False

    def named(self, name: str) -> Column | None:
        """The column of this name."""
        return next((column for column in self.columns if column.name == name), None)


def safe(text: str) -> str:
    """The text for a terminal or a table: on one line, with control characters as escapes."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def sayable(text: str, encoding: str) -> str:
    """The same, of the characters that an encoding has: others are escapes, too."""
    text = safe(text)
    return text if text.isascii() else text.encode(encoding, "backslashreplace").decode(encoding)


def moment_json(unix_s: float) -> str | None:
    """RFC 3339 in UTC, None for 0, which stands for no moment."""
    if not unix_s:
        return None
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(unix_s, UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


def moment_text(unix_s: float) -> str:
    """For people, in their zone: the time of today, day and time of this year, else the date."""
    if not unix_s:
        return ""
    from datetime import datetime

    moment, today = datetime.fromtimestamp(unix_s), datetime.now()
    if moment.date() == today.date():
        return f"{moment:%H:%M:%S}"
    return f"{moment:%b %d %H:%M}" if moment.year == today.year else f"{moment:%Y-%m-%d}"


def duration_text(seconds: float) -> str:
    """For people, in two units at most: ``1d4h``, ``5m03s``, ``12.3s``, ``45ms``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms" if seconds >= 0.0005 else f"{seconds * 1e6:.0f}us" if seconds else "0s"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    rest = round(seconds)
    days, hours, minutes = rest // 86400, rest // 3600 % 24, rest // 60 % 60
    if days:
        return f"{days}d{hours}h"
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest % 60:02}s"


def error_text(text: str) -> str:
    """An error for people: its type without the module that has it."""
    match = _MODULE.match(text)
    return text[match.end() :] if match else text


def _error_line(text: str | None) -> str:
    return error_text(text or "").partition("\n")[0]


def summary_text(job: "JobSummary") -> str:
    """How a job is, in a line."""
    hint = f"; cyclone show {job.job_id} says why" if job.state == "failed" else ""
    return f"job {job.job_id} {job.state}: {_tally_text(job.tasks) or 'no tasks'}{hint}"


def counted(count: int, what: str) -> str:
    """``1 task``, ``1,234 tasks``."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def _microseconds(seconds: float | None) -> float | None:
    """Without the digits that no clock has."""
    return None if seconds is None else round(seconds, 6)


def _size_text(size_bytes: int) -> str:
    from cyclone.units import format_size

    return format_size(size_bytes) if size_bytes else ""


def _tally_text(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def _pairs(sign: str) -> Callable[[dict[str, Any]], str]:
    return lambda pairs: sign.join(f"{name}={value}" for name, value in pairs.items())


def _packed_json(packed: bytes, is_for_people: bool = False) -> Any:
    """The JSON form of msgpack that somebody else has made."""
    if not packed:
        return None
    from cyclone import json_values, values
    from cyclone.results import UNREADABLE

    form = json_values.for_people if is_for_people else json_values.from_packed
    try:
        return form(packed)
    except UNREADABLE:
        # By value, for instance: opened only where it was made for.
        return form(values.encode(packed))


def _packed_text(packed: bytes, is_for_people: bool = False) -> str:
    from cyclone import json_values

    return json_values.encode(_packed_json(packed, is_for_people)).decode() if packed else ""


def _packed_shown(packed: bytes) -> str:
    return _packed_text(packed, is_for_people=True)


def program_texts(packed: bytes) -> dict[str, Any]:
    """What a program has printed and left, by name (``OUTPUT_RECORD``): text, also of bytes that are not UTF-8."""
    from cyclone.values import decode

    fields = decode(packed) if packed else {}
    return {
        name: part.decode("utf-8", "surrogateescape") if isinstance(part, bytes) else part
        for name, part in fields.items()
    }


def _of_texts(show: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """The same of what a program has left."""

    def show_texts(packed: bytes) -> Any:
        from cyclone.values import encode

        return show(encode(program_texts(packed)) if packed else b"")

    return show_texts


def _plain(value: Any) -> str:
    return "" if value is None else str(value)


TEXT = Kind(_plain, _plain, lambda value: value, free=True)
WORD = Kind(_plain, _plain, lambda value: value)
ERROR = Kind(_error_line, _plain, lambda value: value, free=True)
STATE = Kind(_plain, _plain, lambda value: value, paints=True)
NUMBER = Kind(lambda value: "" if value is None else f"{value:,}", _plain, lambda value: value, right=True)
ID = Kind(_plain, _plain, lambda value: value, right=True)
MOMENT = Kind(moment_text, lambda unix_s: moment_json(unix_s) or "", moment_json)
DURATION = Kind(
    lambda seconds: "" if seconds is None else duration_text(seconds),
    lambda seconds: _plain(_microseconds(seconds)),
    lambda seconds: _microseconds(seconds),
    right=True,
)
SIZE = Kind(_size_text, _plain, lambda size_bytes: size_bytes, right=True)
TALLY = Kind(_tally_text, _pairs(","), lambda counts: counts, free=True)
PAIRS = Kind(_pairs(" "), _pairs(","), lambda pairs: pairs, free=True)
NAMES = Kind(", ".join, ",".join, list, free=True)
PACKED = Kind(_packed_shown, _packed_text, _packed_json, free=True)
PROGRAM = Kind(_of_texts(_packed_shown), _of_texts(_packed_text), _of_texts(_packed_json), free=True)
