"""Configuration as text: INI files and ``--set``, each value with the place it came from.

Owns the syntax. Which sections and keys exist, and what their values mean, is not known here.
"""

import configparser
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cyclone.errors import ConfigError
from cyclone.units import format_size

SET = "--set"
_CHARS_MAX = 1 << 20


class Given(NamedTuple):
    """A value as it was written, and its origin: ``file:line`` or ``--set``."""

    text: str
    origin: str


class Section(NamedTuple):
    """The keys of a section, and where it begins."""

    origin: str
    keys: dict[str, Given]


Sections = dict[str, Section]


def read_ini(path: Path) -> Sections:
    """Every section of a file. Raises ConfigError naming the file, and the line where there is one.

    Only ``=`` separates, only a whole line is a comment (values may hold ``#``), nothing is interpolated, and keys are
    lower-cased, as in the original.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_CHARS_MAX + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: the configuration file cannot be read: {error.strerror}") from None
    if len(text) > _CHARS_MAX:
        raise ConfigError(
            f"{path}: is larger than {format_size(_CHARS_MAX)}, which no configuration is: name another file"
        )
    # No header can be empty, so that [DEFAULT] has no magic.
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#", ";"), default_section="")
    try:
        parser.read_string(text, source=str(path))
    except configparser.Error as error:
        raise ConfigError(_syntax(path, error)) from None
    lines = _lines(text)
    if parser.has_section("DEFAULT"):
        raise ConfigError(
            f"{path}:{lines['DEFAULT', '']}: [DEFAULT] is not supported: write its keys in their sections"
        )
    return {
        name: Section(
            f"{path}:{lines[name, '']}",
            {key: Given(value, f"{path}:{lines[name, key]}") for key, value in parser[name].items()},
        )
        for name in parser.sections()
    }


def split_set(text: str) -> tuple[str, str]:
    """The dotted name and the value of a ``--set``. Raises ConfigError."""
    name, equals, value = text.partition("=")
    name = name.strip()
    section, dot, key = name.rpartition(".")
    if not (equals and dot and section and key):
        raise ConfigError(f"{SET} {text!r}: write section.key=value, such as control.crash_limit=5")
    return name, value.strip()


def did_you_mean(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """The one of ``names`` that ``name`` is nearly the same as, or ''."""
    import difflib

    known = {candidate.casefold(): candidate for candidate in names}
    found = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=cutoff)
    return known[found[0]] if found else ""


def _syntax(path: Path, error: configparser.Error) -> str:
    match error:
        case configparser.DuplicateOptionError():
            return f"{path}:{error.lineno}: [{error.section}] {error.option}: given twice, keep one"
        case configparser.DuplicateSectionError():
            return f"{path}:{error.lineno}: [{error.section}]: given twice, join the two"
        case configparser.MissingSectionHeaderError():
            line = error.line.strip()
            fault = _unclosed(line) or f"{line!r} stands before any section: write [section] above it"
            return f"{path}:{error.lineno}: {fault}"
        case configparser.ParsingError():
            number, line = error.errors[0]
            # Python 3.13 gives the line as it is, before it was its repr.
            line = line.strip("'").removesuffix("\\n").strip()
            fault = _unclosed(line) or f"{line!r} is not understood: write key = value, [section] or # comment"
            return f"{path}:{number}: {fault}"
        case _:
            return f"{path}: {error}"


def _unclosed(line: str) -> str:
    """What is wrong with a section's header that does not end, '' for any other line."""
    return f"{line!r} lacks its ]: write {line}]" if line.startswith("[") and "]" not in line else ""


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Where each key stands, and under the key '' each section: configparser knows, and does not tell."""
    where: dict[tuple[str, str], int] = {}
    section, indent, in_value = "", 0, False
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        column = len(line) - len(line.lstrip())
        if not stripped or stripped[0] in "#;" or (in_value and column > indent):
            continue
        indent = column
        header = configparser.RawConfigParser.SECTCRE.match(stripped)
        in_value = header is None
        if header:
            section = header["header"]
        where.setdefault((section, "" if header else stripped.partition("=")[0].strip().lower()), number)
    return where
