"""Which record goes into which table, with which columns, and from which of its fields: the layout of ``[db] layout``.

Owns the format of layout files, of which Cyclone's own are in ``layout_files``; docs/database-proxy.md describes it.
Knows no database: ``stores`` make SQL of a layout, and ``columns`` values of fields. Names are checked here, so that
whoever quotes them need not look again.

Each table has two columns besides those of its layout: ``id``, counted by the database, and ``cyclone_row``, which is
unique and names the record: it makes a replay harmless.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from cyclone.config_text import Given, Section, Sections, did_you_mean, read_ini
from cyclone.errors import ConfigError
from cyclone.sinks.columns import Type, as_json, read_type
from cyclone.sinks.rows import RESULT, Row

ID_COLUMN = "id"
ROW_COLUMN = "cyclone_row"
# The id of a journal, of a task, and the place of the record in it.
ROW_COLUMN_CHARS = 64
_OWN_FOLDER = Path(__file__).parent / "layout_files"
OWN_LAYOUTS = ("lustre", "lustre-original", "results")

# How the error of a record begins that ``rows`` could not open.
_UNREADABLE_ROW = "UnreadableRow: "
_NAME = re.compile(r"[A-Za-z0-9_$-]{1,64}")
_COLUMN = re.compile(r"(?P<name>\S+)\s*=\s*(?P<type>.+?)\s+from\s+(?P<sources>\S+(?:\s+or\s+\S+)*?)(?P<cut>\s+cut)?")
_VIEW_COLUMN = re.compile(r"(?P<name>\S+)\s*=\s*(?:(?P<whole>whole)\s+)?(?P<column>\S+)")
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_TABLE_KEYS = ("record", "columns", "indexes")

Read = Callable[[Row], Any]


def row_id(row: Row) -> str:
    """The value of ``cyclone_row``: the same for the same record, however often it comes, and for no other."""
    return f"{row.journal_id}-{row.task_id}-{row.ordinal}"


_ATTRIBUTES: dict[str, Read] = {
    "$journal": lambda row: row.journal_id,
    "$task_id": lambda row: row.task_id,
    "$task_uid": lambda row: f"{row.journal_id}-{row.task_id}",
    "$attempt": lambda row: row.attempt,
    "$ordinal": lambda row: row.ordinal,
    "$name": lambda row: row.name,
    "$state": lambda row: row.state,
    "$task_class": lambda row: row.task_class,
    "$node": lambda row: row.node,
    "$worker_pid": lambda row: row.worker_pid,
    "$started": lambda row: row.started,
    "$finished": lambda row: row.started + row.seconds,
    "$seconds": lambda row: row.seconds,
    "$cpu_s": lambda row: row.cpu_s,
    "$peak_bytes": lambda row: row.peak_bytes,
    "$error": lambda row: row.error or None,
}
# What goes into a column as JSON, also where it is text.
_VALUES: dict[str, Read] = {
    "$fields": lambda row: row.fields,
    "$value": lambda row: row.fields.get("value"),
    "$args": lambda row: row.fields.get("args"),
}


class Column(NamedTuple):
    """A column: its name, its type, and where its value comes from."""

    name: str
    type: Type
    read: Read


@dataclass(frozen=True, slots=True)
class Table:
    """A table: which records it takes (``result`` for the results of tasks), its columns, its indexes."""

    name: str
    record: str
    columns: tuple[Column, ...]
    indexes: tuple[tuple[str, ...], ...] = ()

    def cells(self, row: Row) -> tuple[Any, ...]:
        """The row's values in the order of the columns, ``cyclone_row`` last. ValueError says what is wrong."""
        if row.ordinal and row.error.startswith(_UNREADABLE_ROW):
            raise ValueError(row.error)
        cells = []
        for name, kind, read in self.columns:
            try:
                cells.append(kind.convert(read(row)))
            except ValueError as error:
                raise ValueError(f"{name} {kind.sql}: {error}") from None
        cells.append(row_id(row))
        return tuple(cells)

    def column_names(self) -> tuple[str, ...]:
        """The names of what ``cells`` gives."""
        return (*(column.name for column in self.columns), ROW_COLUMN)


class ViewColumn(NamedTuple):
    """A column of a view: its name, that of the table's, and whether it shows as a whole number, -1 for NULL."""

    name: str
    column: str
    whole: bool


class View(NamedTuple):
    """A table under another name with other columns."""

    name: str
    table: str
    columns: tuple[ViewColumn, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a database proxy stores, and where."""

    name: str
    tables: tuple[Table, ...]
    view: View | None = None

    @property
    def takes_results(self) -> bool:
        """Whether the results of tasks go into a table, and not only their records."""
        return any(table.record == RESULT for table in self.tables)

    def tables_of(self, row: Row) -> Iterator[Table]:
        """The tables that take this row: none, or one, seldom more."""
        # A task may call its record "result"; the result of a task is another thing.
        is_record = row.ordinal > 0
        for table in self.tables:
            if table.record == row.name and is_record == (table.record != RESULT):
                yield table


def load_layout(name: str, table: str = "", results: bool = False) -> Layout:
    """The layout of that name, or of that file. Raises ConfigError, with file and line where there are any.

    ``table`` is the name of its table, or of its view where it has one; '' for those that it gives. With ``results`` it
    has a table for results in any case; without, it must not have one.
    """
    path = _OWN_FOLDER / f"{name}.conf" if name in OWN_LAYOUTS else Path(name)
    if name not in OWN_LAYOUTS and not path.is_file():
        near = did_you_mean(name, OWN_LAYOUTS)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(OWN_LAYOUTS)}, and files of your own"
        raise ConfigError(f"[db] layout: {name!r} is neither a layout of Cyclone's nor a file; {hint}")
    layout = _named(_read(name, path), table)
    if results and not layout.takes_results:
        more = _read("results", _OWN_FOLDER / "results.conf").tables
        layout = replace(layout, tables=(*layout.tables, *more))
    elif layout.takes_results and not results:
        raise ConfigError(f"[db] layout: {name} stores the results of tasks: write results = yes in [sink]")
    _refuse_doubles(layout)
    return layout


def _named(layout: Layout, table: str) -> Layout:
    """With ``[db] table`` in its place."""
    if not table:
        return replace(layout, view=None) if layout.view and not layout.view.name else layout
    _check_name(table, "[db] table")
    if layout.view:
        return replace(layout, view=layout.view._replace(name=table))
    if len(layout.tables) > 1:
        raise ConfigError(f"[db] table: layout {layout.name} has {len(layout.tables)} tables: name them in its file")
    return replace(layout, tables=(replace(layout.tables[0], name=table),))


def _refuse_doubles(layout: Layout) -> None:
    names = [table.name for table in layout.tables] + ([layout.view.name] if layout.view else [])
    # Some servers do not tell upper from lower case.
    for name in names:
        if [other.lower() for other in names].count(name.lower()) > 1:
            raise ConfigError(f"layout {layout.name}: two tables or views are called {name}: name one otherwise")


def _read(name: str, path: Path) -> Layout:
    sections = read_ini(path)
    lines = _Lines(path)
    tables = tuple(_table(title, section, lines) for title, section in sections.items() if title != "view")
    if not tables:
        raise ConfigError(f"{path}: there is no table: write [table NAME]")
    return Layout(path.stem if name != path.stem else name, tables, _view(sections, tables, lines))


class _Lines:
    """Finds the lines of a value again: configparser leaves comments out and does not count."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = path.read_text(encoding="utf-8-sig").split("\n")

    def of(self, value: Given) -> Iterator[tuple[str, str]]:
        """Each line of the value that is not empty, with its file:line."""
        number = int(value.origin.rpartition(":")[2])
        for text in filter(None, map(str.strip, value.text.split("\n"))):
            while not self._lines[number - 1].strip().endswith(text):
                number += 1
            yield text, f"{self._path}:{number}"
            number += 1


def _table(title: str, section: Section, lines: _Lines) -> Table:
    kind, _, name = title.partition(" ")
    if kind != "table" or not name.strip():
        raise ConfigError(f"{section.origin}: [{title}]: no such section; a layout has [table NAME] and [view]")
    _check_keys(title, section, _TABLE_KEYS, required=("record", "columns"))
    record = section.keys["record"]
    if not record.text:
        raise ConfigError(f"{record.origin}: record: the name that tasks give it, or {RESULT} for their results")
    columns: dict[str, Column] = {}
    for text, place in lines.of(section.keys["columns"]):
        column = _column(text, place)
        if column.name.lower() in columns:
            raise ConfigError(f"{place}: column {column.name} is given twice, keep one")
        columns[column.name.lower()] = column
    if not columns:
        raise ConfigError(f"{section.keys['columns'].origin}: [{title}] has no columns: write name = TYPE from field")
    indexes = tuple(_indexes(section, columns, lines))
    return Table(_check_name(name.strip(), f"{section.origin}: table"), record.text, tuple(columns.values()), indexes)


def _column(text: str, place: str) -> Column:
    match = _COLUMN.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{place}: {text!r} is no column: write name = TYPE from field, such as ost = CHAR(7) from ost"
        )
    name = _check_name(match["name"], f"{place}: column")
    if name.lower() in (ID_COLUMN, ROW_COLUMN):
        raise ConfigError(
            f"{place}: column {name}: each table has {ID_COLUMN} and {ROW_COLUMN} by itself, name it otherwise"
        )
    try:
        kind = read_type(match["type"], cut=bool(match["cut"]))
    except ValueError as error:
        raise ConfigError(f"{place}: column {name}: {error}") from None
    return Column(name, kind, _source(re.split(r"\s+or\s+", match["sources"]), kind, place))


def _source(names: Sequence[str], kind: Type, place: str) -> Read:
    reads = [_reader(name, kind, place) for name in names]
    if len(reads) == 1:
        return reads[0]

    def first(row: Row) -> Any:
        # Empty text says as little as nothing.
        return next((value for read in reads if (value := read(row)) is not None and value != ""), None)

    return first


def _reader(name: str, kind: Type, place: str) -> Read:
    if name in _VALUES:
        read = _VALUES[name]
        # A column of JSON makes it of the value by itself, and would make JSON of JSON.
        return read if kind.sql == "JSON" else lambda row: as_json(read(row))
    if name.startswith("$"):
        if name not in _ATTRIBUTES:
            known = [*_ATTRIBUTES, *_VALUES]
            near = did_you_mean(name, known)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"{place}: {name}: nothing is known of a task by that name; {hint}")
        return _ATTRIBUTES[name]
    if _NUMBER.fullmatch(name):
        number = int(name)
        return lambda row: number
    return lambda row: row.fields.get(name)


def _indexes(section: Section, columns: dict[str, Column], lines: _Lines) -> Iterator[tuple[str, ...]]:
    if "indexes" not in section.keys:
        return
    for text, place in lines.of(section.keys["indexes"]):
        names = tuple(part.strip() for part in text.split(","))
        for name in names:
            if name.lower() not in columns:
                raise ConfigError(f"{place}: index of {name!r}: the table has no such column")
        yield names


def _view(sections: Sections, tables: Sequence[Table], lines: _Lines) -> View | None:
    section = sections.get("view")
    if section is None:
        return None
    _check_keys("view", section, ("name", "table", "columns"), required=("table", "columns"))
    of = section.keys["table"]
    table = next((table for table in tables if table.name == of.text), None)
    if table is None:
        raise ConfigError(f"{of.origin}: table: {of.text!r} is none of {', '.join(found.name for found in tables)}")
    known = {ID_COLUMN, *table.column_names()}
    columns = []
    for text, place in lines.of(section.keys["columns"]):
        match = _VIEW_COLUMN.fullmatch(text)
        if match is None or match["column"] not in known:
            raise ConfigError(f"{place}: {text!r}: write name = column, or name = whole column, of table {table.name}")
        columns.append(
            ViewColumn(_check_name(match["name"], f"{place}: column"), match["column"], bool(match["whole"]))
        )
    name = section.keys["name"] if "name" in section.keys else Given("", "")
    return View(_check_name(name.text, f"{name.origin}: name") if name.text else "", table.name, tuple(columns))


def _check_keys(title: str, section: Section, known: Sequence[str], required: Sequence[str]) -> None:
    for key, given in section.keys.items():
        if key not in known:
            near = did_you_mean(key, known)
            hint = (
                f"did you mean {near}?" if near else f"it has {', '.join(known)}; columns stand indented below theirs"
            )
            raise ConfigError(f"{given.origin}: [{title}] {key}: no such key; {hint}")
    for key in required:
        if key not in section.keys:
            raise ConfigError(f"{section.origin}: [{title}] has no {key}")


def _check_name(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{what}: {name!r} is no name: 1 to 64 of the letters a-z, digits, _, $ and -")
    return name
