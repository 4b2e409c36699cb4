"""``#CYCLONE --time-limit 10m`` in a script: options of ``cyclone submit`` that travel with it.

Owns which lines count: those that begin so, or with a blank behind the # as formatters of Python put one there, before
the first line that is neither blank nor a comment. What the command line says wins over them. Lines of other systems
are not read; it can be told of those that say what is not said here.
"""

import argparse
import re
from typing import NoReturn

from cyclone.cli import foreign_lines
from cyclone.cli.parsing import meant
from cyclone.cli.submit_options import Given, add_options, given
from cyclone.cli.submit_spec import make_spec
from cyclone.errors import ConfigError

MARK = "#CYCLONE"
# With the blank it is ours only where options follow, and no sentence.
_LINE = re.compile(r"#CYCLONE(?:\s(?P<close>.*))?|# CYCLONE\s+(?P<apart>-.*)")
_FOREIGN = re.compile(rf"({'|'.join(foreign_lines.MARKS)})\s+(-.*)")
# What a script does not say of itself: what runs is the script.
_NOT_HERE = ("task_class", "properties", "key")


class _Wrong(Exception):
    """What the parser has to say."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Wrong(message)


def directives(source: str, name: str) -> Given:
    """The options that a script asks for. Raises ConfigError naming script, line and option."""
    found = _found(source)
    if not found:
        return {}
    import shlex

    parser = _parser()
    args = argparse.Namespace()
    for number, text in found:
        place = f"{name}, line {number}: {MARK} {text}"
        try:
            _, unknown = parser.parse_known_args(shlex.split(text, comments=True), args)
        except (_Wrong, ValueError) as error:
            raise ConfigError(f"{place}: {error}") from None
        if unknown:
            hint = meant(unknown[0], parser) or "`cyclone submit --help` lists what there is"
            raise ConfigError(f"{place}: {unknown[0]!r} is no option: {hint}")
        wrong = [field for field in _NOT_HERE if field in vars(args)]
        if wrong:
            raise ConfigError(f"{place}: this belongs on the command line, not into a script")
    asked = given(args)
    try:
        make_spec(asked, lambda option: option.flags)
    except ValueError as error:
        raise ConfigError(f"{name}: {MARK} {error}") from None
    return asked


def unread(source: str, name: str, asked: Given) -> list[str]:
    """What is to be told of lines for other systems: of each what nobody has ``asked`` for here."""
    lines = [(number, match) for number, line in _head(source) if (match := _FOREIGN.fullmatch(line.rstrip()))]
    if not lines:
        return []
    parser = _parser()
    told = []
    for number, line in lines:
        found = foreign_lines.translated(line[1], line[2])
        if left := [(theirs, ours) for theirs, ours in found if not (ours and _fields(ours, parser) <= asked.keys())]:
            advice = foreign_lines.advice(line[1], left, parser._option_string_actions)
            told.append(f"{name}, line {number}: {line[0]} is not read here: {advice}")
    return told


def _fields(text: str, parser: _Parser) -> set[str]:
    """Which fields an option of ours is about; one that cannot be read is about itself."""
    import shlex

    try:
        return set(given(parser.parse_known_args(shlex.split(text))[0]))
    except (_Wrong, ValueError):
        return {text}


def _parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    add_options(parser)
    return parser


def _found(source: str) -> list[tuple[int, str]]:
    """The lines that count, and what stands in them."""
    return [
        (number, (match["close"] or match["apart"] or "").strip())
        for number, line in _head(source)
        if (match := _LINE.fullmatch(line.rstrip()))
    ]


def _head(source: str) -> list[tuple[int, str]]:
    """The comments that a script begins with, by line."""
    head = []
    for number, line in enumerate(source.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            break
        if line.startswith("#"):
            head.append((number, line))
    return head
