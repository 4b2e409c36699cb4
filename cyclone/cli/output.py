"""The one way in which verbs print: tables, lines of a script, JSON, answers and errors.

Standard output is data, standard error is for people. Rows are printed as they come and none is kept, so that a list
may be as long as it likes. ``--json`` prints exactly one value with a versioned schema; where that breaks off, it is no
JSON, and the exit code says so. Colour is for terminals, and not where ``$NO_COLOR`` is set. What values look like is
``cyclone.cli.columns``.
"""

import argparse
import codecs
import os
import re
import shutil
import string
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from cyclone.cli import tables
from cyclone.cli.columns import Column, Listing, safe
from cyclone.errors import ConfigError, CycloneError, UsageError

_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\\\": "\\"}
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


class OutputLost(CycloneError):
    """Standard output takes no more: a full disk, for instance."""


class Shape(NamedTuple):
    """What ``-o`` asked for: these columns, or with a template lines of it."""

    columns: tuple[Column, ...]
    template: tuple[tuple[str, Column | None, str], ...] = ()


def add_json_option(parser: argparse.ArgumentParser, what: str = "one JSON value") -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help=f"print {what}; an error is one, too, on standard error")


def add_list_options(parser: argparse.ArgumentParser, listing: Listing) -> None:
    """``--json``, ``-o``, ``--no-header``, ``--parsable``: how ``print_rows`` is to print this list."""
    group = parser.add_argument_group("output")
    names = ", ".join(column.name for column in listing.columns)
    add_json_option(group, f"one JSON value, {listing.schema}")  # type: ignore[arg-type]
    option = group.add_argument(
        "-o",
        "--format",
        metavar="FIELDS",
        dest="shape",
        type=_shape_of(listing),
        help=f"which fields, such as -o {','.join(column.name for column in listing.columns[:2])}, or a template for "
        f"each line, such as '{{{listing.columns[0].name}}} is {{{listing.columns[1].name}:>10}}'. The fields: {names}",
    )
    option.completer = _complete_fields(listing)  # type: ignore[attr-defined]
    group.add_argument("--no-header", action="store_true", help="no line with the names of the fields")
    group.add_argument(
        "--parsable",
        action="store_true",
        help="for scripts: fields with a tab between them, moments in UTC, durations in seconds, sizes in bytes",
    )


def print_rows(listing: Listing, rows: Iterable[Any], args: argparse.Namespace, at_once: bool = False) -> int:
    """Print them as the command line wishes, each at once if so said; how many they were. Raises ConfigError."""
    shape: Shape | None = args.shape
    columns = list(shape.columns) if shape else [column for column in listing.columns if column.shown]
    if args.json:
        if shape and shape.template:
            raise UsageError("--json has no template: name the fields, such as -o id,state")
        lines = _json_lines(listing, columns if shape else listing.columns, rows)
    elif shape and shape.template:
        lines = _template_lines(shape, rows)
    elif args.parsable:
        lines = _parsable_lines(columns, rows, not args.no_header)
    elif listing.lines:
        lines = _object_lines(columns if shape else listing.columns, rows)
    else:
        lines = tables.lines(columns, rows, not args.no_header, _paper(is_whole=shape is not None))
    count = 0
    is_json = args.json or (listing.lines and not args.parsable and not (shape and shape.template))
    for is_row, line in lines:
        write(line, is_json)
        count += is_row
        if at_once:
            sys.stdout.flush()
    sys.stdout.flush()
    return count


def print_json(schema: str, fields: dict[str, Any]) -> None:
    """One JSON object. Its values are what msgspec takes."""
    write_json({"schema": schema, **fields})
    sys.stdout.flush()


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and what is to be said of them, in two columns; nothing of what is empty. A text may have several lines."""
    chosen = [(name, text) for name, text in pairs if text]
    width = max((len(name) for name, _ in chosen), default=0)
    for name, text in chosen:
        for number, line in enumerate(text.splitlines()):
            write(f"{'' if number else name:<{width}}{tables.GAP}{safe(line)}")


def write(line: str, is_json: bool = False) -> None:
    """A line on standard output, whatever its encoding can say."""
    sys.stdout.write(f"{_sayable(line, _encoding(), is_json)}\n")


def write_json(value: Any) -> None:
    """A line that is one JSON value, of what msgspec takes."""
    write(_json(value), is_json=True)


def _json(value: Any) -> str:
    from cyclone import json_values

    return json_values.encode(value).decode()


def _sayable(line: str, encoding: str, is_json: bool) -> str:
    if line.isascii():
        return line
    if is_json and codecs.lookup(encoding).name != "utf-8":
        import json

        # It is UTF-8, or ASCII with escapes of its own.
        line = _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], line)
    return line.encode(encoding, "backslashreplace").decode(encoding)


def note(text: str, as_json: bool = False) -> None:
    """A line for people, on standard error; for programs an object."""
    if as_json:
        _say_json({"note": text})
    else:
        print(safe(text), file=sys.stderr)


def say_error(prog: str, error: BaseException, exit_code: int, as_json: bool) -> None:
    """What was wrong, on standard error; for programs with the exit code that follows."""
    if as_json:
        _say_json({"error": {"exit_code": exit_code, "type": type(error).__name__, "message": str(error)}})
    else:
        print(f"{prog}: {error}", file=sys.stderr)


def _say_json(value: Any) -> None:
    print(_sayable(_json(value), sys.stderr.encoding or "utf-8", is_json=True), file=sys.stderr)


def confirm(question: Callable[[], str], args: argparse.Namespace) -> None:
    """Ask a person before something is destroyed. Raises CycloneError unless it is ``yes``; a script is not asked."""
    if args.yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    sys.stderr.write(f"{safe(question())} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CycloneError("nothing was done: say y, or -y beforehand")


def add_yes_option(parser: argparse.ArgumentParser) -> None:
    """``-y``, for ``confirm``."""
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask, even where everything is meant")


def is_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def _paper(is_whole: bool) -> tables.Paper:
    """Standard output; tables have to fit there where a person reads it, unless they are wanted whole."""
    if not is_terminal():
        return tables.Paper(_encoding())
    colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return tables.Paper(_encoding(), None if is_whole else shutil.get_terminal_size().columns, colours)


def _encoding() -> str:
    return sys.stdout.encoding or "utf-8"


def _shape_of(listing: Listing) -> Callable[[str], Shape]:
    """The parser of ``-o``. Raises ArgumentTypeError."""

    def column(name: str) -> Column:
        found = listing.named(name.strip())
        if found is None:
            names = ", ".join(one.name for one in listing.columns)
            raise argparse.ArgumentTypeError(f"there is no field {name!r}; there are {names}")
        return found

    def shape(text: str) -> Shape:
        if "{" not in text:
            if "%" in text:
                first, second, *_ = listing.columns
                example = f"{{{first.name}}} {{{(listing.named('state') or second).name}}}"
                raise argparse.ArgumentTypeError(f"{text!r}: a field stands in braces: --format '{example}'")
            return Shape(tuple(map(column, text.split(","))))
        for escape, meant in _ESCAPES.items():
            text = text.replace(escape, meant)
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no template: {error}") from None
        if any(conversion for *_, conversion in parts):
            raise argparse.ArgumentTypeError(f"{text!r}: a field is written {{name}} or {{name:>10}}")
        template = tuple(
            (literal, None if field is None else column(field), spec or "") for literal, field, spec, _ in parts
        )
        for _, one, spec in template:
            try:
                format(0 if one and one.kind.right else "", spec)
            except ValueError as error:
                raise argparse.ArgumentTypeError(f"{text!r}: {spec!r} is no format: {error}") from None
        return Shape(tuple(one for _, one, _ in template if one), template)

    return shape


def _complete_fields(listing: Listing) -> Callable[..., list[str]]:
    """For completion: each further field of a list with commas."""

    def complete(prefix: str, **_: object) -> list[str]:
        before, comma, _rest = prefix.rpartition(",")
        taken = before.split(",")
        return [f"{before}{comma}{one.name}" for one in listing.columns if one.name not in taken]

    return complete


# Each yields (whether it is a row, line).
_Lines = Iterator[tuple[bool, str]]


def _json_lines(listing: Listing, columns: Sequence[Column], rows: Iterable[Any]) -> _Lines:
    """A line for each row, all together one value. Nothing before the first row is there: an error has the word."""
    start = f'{{"schema":"{listing.schema}","{listing.key}":['
    comma = ""
    for encoded in _encoded(columns, rows):
        if not comma:
            yield False, start
        yield True, f"{comma}{encoded}"
        comma = ","
    yield False, "]}" if comma else f"{start}]}}"


def _object_lines(columns: Sequence[Column], rows: Iterable[Any]) -> _Lines:
    return ((True, encoded) for encoded in _encoded(columns, rows))


def _encoded(columns: Sequence[Column], rows: Iterable[Any]) -> Iterator[str]:
    from cyclone import json_values

    encode = json_values.encode
    for row in rows:
        yield encode({one.name: one.kind.as_json(one.get(row)) for one in columns}).decode()


def _template_lines(shape: Shape, rows: Iterable[Any]) -> _Lines:
    for row in rows:
        yield True, "".join(f"{text}{_filled(column, spec, row)}" for text, column, spec in shape.template)


def _filled(column: Column | None, spec: str, row: Any) -> str:
    if column is None:
        return ""
    value = column.get(row)
    text = safe(column.kind.for_scripts(value))
    if not spec:
        return text
    try:
        return format(value if column.kind.right and isinstance(value, int | float) else text, spec)
    except ValueError as error:
        raise ConfigError(f"the template's {{{column.name}:{spec}}} does not fit {text!r}: {error}") from None


def _parsable_lines(columns: Sequence[Column], rows: Iterable[Any], header: bool) -> _Lines:
    if header:
        yield False, "\t".join(column.name for column in columns)
    for row in rows:
        yield True, "\t".join(safe(column.kind.for_scripts(column.get(row))) for column in columns)
