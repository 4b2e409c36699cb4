"""docs/json.md against the code: each schema, and of each the very fields, types and nulls of what verbs print."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cyclone.cli import events, jobs, keys_options, namespaces, nodes, results, stats, tasks
from cyclone.cli.columns import Listing
from cyclone.cli.main import _run
from cyclone.client.event_log import MISSED
from cyclone.protocol.event_messages import EVENT_KINDS
from tests.support.json_examples import COMMANDS, IN_FILE, examples, world
from tests.support.offenders import refuse

__all__ = ["world"]
ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
LISTINGS: dict[str, Listing] = {
    one.LISTING.schema: one.LISTING for one in (jobs, tasks, results, events, nodes, namespaces, stats, keys_options)
}
# Of these each row is an object by itself.
A_LINE_EACH = ("cyclone.events/1",)
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")


class Field(NamedTuple):
    """A row of a table."""

    kind: str
    when: str = ""

    @property
    def may_be_null(self) -> bool:
        return bool(re.search(r"\bnull\b", self.when))

    @property
    def may_be_absent(self) -> bool:
        return bool(re.search(r"\babsent\b", self.when))


Fields = Mapping[str, Field]


def _list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is list and all(type(one) is kind for one in value)


def _object_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is dict and all(type(one) is kind for one in value.values())


KINDS: dict[str, Callable[[Any], bool]] = {
    "any": lambda _: True,
    "string": lambda value: type(value) is str,
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
    "boolean": lambda value: type(value) is bool,
    "moment": lambda value: type(value) is str and bool(MOMENT.fullmatch(value)),
    "object": lambda value: type(value) is dict,
    "list of objects": _list_of(dict),
    "list of strings": _list_of(str),
    "object of integers": _object_of(int),
    "object of strings": _object_of(str),
    "object of objects": _object_of(dict),
}


def tables() -> dict[str, dict[str, Field]]:
    """The fields of each heading, as they stand there."""
    found: dict[str, dict[str, Field]] = {}
    for line in PAGE.splitlines():
        if line.startswith("#"):
            fields: dict[str, Field] = {}
            if line.startswith("### "):
                found[line.removeprefix("### ")] = fields
        elif line.startswith("| `"):
            name, kind, _, when = (cell.strip() for cell in line[1:-1].split("|"))
            path = name.strip("`")
            assert path not in fields, line
            fields[path] = Field(kind, when)
    return found


TABLES = tables()
# The schema that each heading is about, and which of its examples.
HEADINGS = {heading: heading.split("`")[1] + (IN_FILE if "the file" in heading else "") for heading in TABLES}


def expanded(heading: str) -> dict[str, Field]:
    """The same from the top of the object on, with the fields of rows that belong to another table."""
    schema = HEADINGS[heading]
    fields = dict(TABLES[heading])
    if schema in LISTINGS and schema not in A_LINE_EACH:
        key = LISTINGS[schema].key
        fields = {key: Field("list of objects"), **{f"{key}[].{name}": field for name, field in fields.items()}}
    for path, field in tuple(fields.items()):
        if row := re.fullmatch(r"row of \[(`.+`)\]\(#\w+\)", field.kind):
            fields[path] = Field("object")
            fields |= {f"{path}.{name}": of_row for name, of_row in TABLES[row[1]].items()}
    return fields


class Comparison:
    """Of values with a table: what is wrong with any of them, and which fields they had, and had as null."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self.wrong: list[str] = []
        self.valued: set[str] = set()
        self.null: set[str] = set()

    def look(self, value: Any, path: str = "") -> None:
        """Compare a value, which stands at this path."""
        if path and not path.endswith(("[]", "*")):
            self._look_at(value, path)
        if isinstance(value, dict) and (inside := set(self._inside(f"{path}." if path else ""))):
            self._look_inside(value, path, inside)
        elif isinstance(value, list) and any(one.startswith(f"{path}[]") for one in self._fields):
            for one in value:
                self.look(one, f"{path}[]")

    def _inside(self, start: str) -> Iterator[str]:
        """Names of what a table says to be directly inside of an object."""
        for path in self._fields:
            if path.startswith(start):
                yield re.split(r"\.|\[\]", path.removeprefix(start))[0]

    def _look_inside(self, value: dict[str, Any], path: str, inside: set[str]) -> None:
        for name, one in value.items():
            self.look(one, f"{path}.{'*' if '*' in inside else name}" if path else name)
        for name in inside - {"*"} - value.keys():
            where = f"{path}.{name}" if path else name
            if not self._fields[where].may_be_absent:
                self.wrong.append(f"{where}: is absent")

    def _look_at(self, value: Any, path: str) -> None:
        field = self._fields.get(path)
        if field is None:
            self.wrong.append(f"{path}: is not on the page")
        elif value is None:
            self.null.add(path)
            if not field.may_be_null:
                self.wrong.append(f"{path}: is null")
        else:
            self.valued.add(path)
            if not KINDS[field.kind](value):
                self.wrong.append(f"{path}: {value!r} where the page says {field.kind}")


def test_given_the_code_then_the_page_has_each_schema_and_no_other() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "cyclone" / "cli").glob("*.py"))
    known = set(re.findall(r'"(cyclone\.[\w-]+/\d+)"', code))
    assert known >= LISTINGS.keys() | {"cyclone.status/1"}
    assert set(re.findall(r"cyclone\.[\w-]+/\d+", PAGE)) == known
    assert {schema.removesuffix(IN_FILE) for schema in HEADINGS.values()} == known
    assert sorted(HEADINGS.values()) == sorted(COMMANDS)


@pytest.mark.parametrize("schema", LISTINGS)
def test_given_a_list_then_its_table_has_its_columns_in_their_order(schema: str) -> None:
    listing = LISTINGS[schema]
    assert list(TABLES[f"`{schema}`"]) == [column.name for column in listing.columns]
    if schema not in A_LINE_EACH:
        text = PAGE.partition(f"### `{schema}`\n")[2].partition("|")[0]
        assert f"under `{listing.key}`" in text


@pytest.mark.parametrize("heading", TABLES)
def test_given_a_schema_then_what_verbs_print_has_the_fields_types_and_nulls_of_its_table(
    heading: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = HEADINGS[heading]
    fields = expanded(heading)
    compared = Comparison(fields)
    for value in examples(schema, world, capsys):
        assert value.pop("schema") == schema.removesuffix(IN_FILE)
        compared.look(value)
    # Of a row of another table its own examples show the rest.
    own = {path: field for path, field in fields.items() if path in TABLES[heading] or schema in LISTINGS}
    unseen = [path for path in own if path not in compared.valued and not path.endswith("[]")]
    not_null = [path for path, field in own.items() if field.may_be_null and path not in compared.null]
    refuse(
        [
            *compared.wrong,
            *(f"{path}: no example has it" for path in unseen),
            *(f"{path}: null in no example" for path in not_null),
        ]
    )


def test_given_results_without_json_then_they_are_the_same_rows_a_line_each(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (whole,) = examples("cyclone.results/1", world, capsys)
    assert _run(["results", "5"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == whole["results"]


def test_given_kinds_of_events_then_the_page_names_them() -> None:
    (row,) = re.findall(r"^\| `kind` \| string \| (.*) \| \|$", PAGE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == [*EVENT_KINDS, MISSED]


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"a": "x", "b": [{"c": 1}], "d": {"any": {"e": 1.5}}}, []),
        ({"b": [], "d": {}}, []),
        ({"a": None, "b": [{"c": None}], "d": {}}, ["a: is null"]),
        ({"a": "x", "b": [{}], "d": {"any": {"e": 1, "f": 2}}}, ["b[].c: is absent", "d.*.f: is not on the page"]),
        ({"b": [{"c": True}], "d": {}, "g": 1}, ["b[].c: True where the page says integer", "g: is not on the page"]),
    ],
)
def test_given_what_differs_from_a_table_then_the_comparison_finds_it(value: Any, wrong: list[str]) -> None:
    table = {
        "a": Field("string", "absent here"),
        "b": Field("list of objects"),
        "b[].c": Field("integer", "null there"),
    }
    compared = Comparison({**table, "d": Field("object of objects"), "d.*.e": Field("number")})
    compared.look(value)
    assert compared.wrong == wrong
