"""How the values of ``cyclone submit`` are read from text, on a command line, in a script's directives and a job file.

Owns the grammar of each value. A ValueError starts with the offending text and ends with what would be right; its
caller adds where the text came from. Reads the wall clock, because people name moments by it, and the environment.
"""

import os
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from typing import TypeVar

from cyclone.protocol import limits
from cyclone.units import parse_duration, parse_size

MOMENT_FORMS = "now+10m, 18:30, 2026-11-22, 2026-11-22T18:30 or 2026-11-22T18:30:00+01:00"
PAST_FORMS = "10m (ago), 20:00, 2026-11-20 or 2026-11-20T12:00"
NAME_FORMS = f"write letters, digits and _.:/@-, {limits.NAME_CHARS_MAX} at most, the first a letter, digit or _"

_NUMBER = re.compile(r"[0-9][0-9_]{0,18}")
_DIGITS = re.compile(r"[+-]?[0-9]{18,}")
_SIGNED = re.compile(r"[+-]?[0-9]{1,18}")
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_VARIABLE = re.compile(r"[^=\x00]+")
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@-]{0,254}")
# What Cyclone itself tells its tasks and its commands by.
_OUR_VARIABLES = "CYCLONE_"
_MEMORY_BYTES_MIN = 1 << 20

Value = TypeVar("Value")


def argument(read: Callable[[str], Value]) -> Callable[[str], Value]:
    """The reader for argparse, which shows what a ValueError says only of an error of its own."""

    def checked(text: str) -> Value:
        try:
            return read(text)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    return checked


def duration(text: str) -> float:
    """Seconds."""
    return parse_duration(text)


def limit(text: str) -> float:
    """Seconds, and some."""
    seconds = parse_duration(text)
    if not seconds:
        raise ValueError(f"{text!r} is no time at all: write 90, 10m, 1h30m; without a limit leave it out")
    return seconds


def memory(text: str) -> int:
    """Bytes. A small number without a unit is refused: elsewhere it would be megabytes."""
    size_bytes = parse_size(text)
    if not size_bytes:
        raise ValueError(f"{text!r} is no memory at all: write 512M, or 4G; without a need leave it out")
    if size_bytes < _MEMORY_BYTES_MIN and text.strip().isdecimal():
        raise ValueError(f"{text!r} is a number of bytes, and no task has so few: write {text.strip()}M, or 4G")
    return size_bytes


def number(text: str) -> int:
    """A whole number from 0 on; underscores may group its digits."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(_too_long(text) or f"{text!r} is not a whole number: write 0, 1, 2...")
    return int(text.replace("_", ""))


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not _NUMBER.fullmatch(text) or not (found := int(text.replace("_", ""))):
        raise ValueError(_too_long(text) or f"{text!r} is not a number of things: write 1, 2, 3...")
    return found


def signed(text: str) -> int:
    """A whole number."""
    if not _SIGNED.fullmatch(text):
        raise ValueError(_too_long(text) or f"{text!r} is not a whole number: write 10 or -10")
    return int(text)


def _too_long(text: str) -> str:
    return f"{text[:30]!r} is too great a number" if _DIGITS.fullmatch(text) else ""


def crash_limit(text: str) -> int:
    """How many workers a task may kill, as ``hq`` writes it, too: ``never`` to start it again, or ``unlimited``."""
    named = {"never": 1, "unlimited": limits.ID_MAX}
    if text in named:
        return named[text]
    try:
        return positive(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a crash limit: write 1, 2, 3..., never or unlimited") from None


def label(text: str) -> str:
    """A name of a namespace, a tag, a limit, a resource."""
    if not _LABEL.fullmatch(text):
        raise ValueError(f"{text!r} is not a name: {NAME_FORMS}")
    return text


def line(text: str) -> str:
    """Text that a list can show."""
    if not text.isprintable() or len(text) > limits.NAME_CHARS_MAX:
        raise ValueError(f"{text!r:.80} is not a line of text: write at most {limits.NAME_CHARS_MAX} characters")
    return text


def labels(text: str) -> list[str]:
    """Names with commas between them."""
    return [label(part.strip()) for part in text.split(",")]


def words(text: str) -> list[str]:
    """Texts with commas between them, none empty."""
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise ValueError(f"{text!r} holds an empty name: write names with one comma between two")
    return found


def amount(text: str) -> tuple[str, int]:
    """``name=N``."""
    name, _, rest = text.rpartition("=")
    try:
        return label(name), positive(rest)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an amount: write name=number, such as gpus=2 ({error})") from None


def tag(text: str) -> tuple[str, str]:
    """``name=text``."""
    name, equals, rest = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not a tag: write name=text, such as campaign=2026")
    return label(name), rest


def nodes(text: str) -> list[str]:
    """Names of nodes: ``node[001-176]``, ``node1,node2``, ``@group``."""
    from cyclone.ranges import node_set

    return node_set(text)


def variable(text: str) -> tuple[str, str]:
    """``NAME=TEXT``, or ``NAME`` alone for what it is here."""
    name, equals, rest = text.partition("=")
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"{text!r} is not a variable: write NAME=TEXT, or NAME for what it is here")
    if not equals:
        if name not in os.environ:
            raise ValueError(f"{text!r} is not set here: write {text}=TEXT, or export it")
        rest = os.environ[name]
    return name, rest


def all_variables(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Those of a shell that a job can have, and the names of those that are too long for one, or no text."""
    own = {name: text for name, text in environment.items() if not name.startswith(_OUR_VARIABLES)}
    unfit = [name for name, text in own.items() if not _fits(name, limits.NAME_CHARS_MAX) or not _fits(text)]
    return {name: text for name, text in own.items() if name not in unfit}, unfit


def _fits(text: str, chars_max: int = limits.TEXT_CHARS_MAX) -> bool:
    return len(text) <= chars_max and is_unicode(text)


def is_unicode(text: str) -> bool:
    """Whether text can travel as such; bytes of a shell that are not UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def moment(text: str) -> float:
    """Unix time of a moment: see ``MOMENT_FORMS``. What names no zone is local time; a time of day is the next one."""
    import datetime

    now = datetime.datetime.now().astimezone()
    stripped = text.strip()
    wrong = f"{text!r} is not a moment: write {MOMENT_FORMS}"
    if stripped == "now" or stripped.startswith("now+"):
        try:
            return now.timestamp() + (duration(stripped[4:]) if stripped != "now" else 0.0)
        except ValueError as error:
            raise ValueError(f"{wrong} ({error})") from None
    if clock := _CLOCK.fullmatch(stripped):
        hour, minute, second = (int(part or 0) for part in clock.groups())
        # Without a zone, so that the clock reads so also behind a change to or from summer time.
        found = now.replace(tzinfo=None, hour=hour, minute=minute, second=second, microsecond=0)
        if found <= now.replace(tzinfo=None):
            found += datetime.timedelta(days=1)
        return found.timestamp()
    try:
        seconds = datetime.datetime.fromisoformat(stripped).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(wrong) from None
    if seconds < 0:
        raise ValueError(f"{text!r} is before 1970: write {MOMENT_FORMS}")
    return seconds


def past(text: str) -> float:
    """Unix time of a moment that has been: see ``PAST_FORMS``. What names no zone is local; a time is the last one."""
    import datetime

    now = datetime.datetime.now().astimezone()
    stripped = text.strip()
    try:
        return now.timestamp() - parse_duration(stripped)
    except ValueError:
        pass
    try:
        if clock := _CLOCK.fullmatch(stripped):
            hour, minute, second = (int(part or 0) for part in clock.groups())
            found = datetime.datetime.combine(now.date(), datetime.time(hour, minute, second))
            found -= datetime.timedelta(days=found > now.replace(tzinfo=None))
        else:
            found = datetime.datetime.fromisoformat(stripped)
        return found.timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a moment that has been: write {PAST_FORMS}") from None


def key(text: str) -> str:
    """What ``key_of`` takes."""
    if not text:
        raise ValueError("'' is no key: write some text that no other job of yours has")
    return text


def key_of(text: str) -> bytes:
    """What makes a job the same as another one of the same user: 16 bytes that stand for a text."""
    from hashlib import blake2b

    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()


Reader = Callable[[str], object]
