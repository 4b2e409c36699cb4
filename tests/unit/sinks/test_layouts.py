"""Layouts: Cyclone's own, files of one's own, and what each mistake in them is answered with."""

import re
from pathlib import Path
from typing import Any

import pytest

from cyclone.errors import ConfigError
from cyclone.sinks.layouts import OWN_LAYOUTS, Layout, load_layout, row_id
from cyclone.sinks.rows import Row

ROW = Row("ab" * 16, 7, 2, 1, "lustre_ost_io", "completed", "tasks:Probe", "node-1", 4711, 100.5, 2.0, 0.5, 99, "", {})


def own(tmp_path: Path, text: str, table: str = "", results: bool = False) -> Layout:
    path = tmp_path / "own.conf"
    path.write_text(text)
    return load_layout(str(path), table, results)


def cells(layout: Layout, **fields: Any) -> dict[str, Any]:
    table = layout.tables[0]
    return dict(zip(table.column_names(), table.cells(ROW._replace(fields=fields)), strict=True))


@pytest.mark.parametrize("name", OWN_LAYOUTS)
def test_given_a_layout_of_our_own_when_loaded_then_it_is_whole(name: str) -> None:
    layout = load_layout(name, results=name == "results")
    assert layout.name == name
    assert all(table.columns for table in layout.tables)
    assert layout.view is None


def test_given_lustre_with_a_table_then_that_is_the_name_of_the_view() -> None:
    layout = load_layout("lustre", "ost_performance")
    assert layout.view and layout.view.name == "ost_performance"
    assert [table.name for table in layout.tables] == [
        "lustre_ost_io",
        "lustre_file_creation_check",
        "lustre_migration",
    ]


def test_given_a_probe_when_it_becomes_a_row_of_the_new_table_then_each_field_has_its_place() -> None:
    found = cells(
        load_layout("lustre"), fs="lustre", ost="OST000a", read_timestamp=1.5, size_bytes=9, read_s=0.25, error=""
    )
    assert found == {
        "fs": "lustre",
        "ost": "OST000a",
        "node": "node-1",
        "task_id": 7,
        "attempt": 2,
        "read_timestamp": "1970-01-01 00:00:01.500000",
        # No field of that name: when the task started.
        "write_timestamp": "1970-01-01 00:01:40.500000",
        "size_bytes": 9,
        "read_bytes_per_s": None,
        "write_bytes_per_s": None,
        "read_s": 0.25,
        "write_s": None,
        "error": None,
        "cyclone_row": f"{'ab' * 16}-7-1",
    }


def test_given_a_failed_probe_when_it_becomes_a_row_of_the_original_table_then_it_has_what_the_original_wrote() -> None:
    layout = load_layout("lustre-original", "ost_performance")
    assert layout.tables[0].name == "ost_performance"
    found = cells(layout, ost="OST000a", write_timestamp=5.0, size_bytes=9, write_s=0.6, write_bytes_per_s=15.4)
    assert (found["read_timestamp"], found["read_throughput"], found["read_duration"]) == (
        "1970-01-01 00:00:05.000000",
        -1,
        -1,
    )
    assert (found["write_throughput"], found["write_duration"]) == (15, 1)


def test_given_results_are_wanted_then_any_layout_has_a_table_for_them_and_no_record_gets_there() -> None:
    layout = load_layout("lustre", results=True)
    result = ROW._replace(ordinal=0, name="result", fields={"value": {"a": 1}, "args": [1, "x"]})
    [table] = layout.tables_of(result)
    found = dict(zip(table.column_names(), table.cells(result), strict=True))
    assert (table.name, found["args"], found["value"], found["error"]) == (
        "cyclone_results",
        '[1,"x"]',
        '{"a":1}',
        None,
    )
    assert list(layout.tables_of(ROW._replace(name="result"))) == []
    assert list(layout.tables_of(ROW._replace(name="other"))) == []


def test_given_a_record_that_could_not_be_read_then_it_makes_no_row_of_nothing() -> None:
    [table] = load_layout("lustre").tables_of(ROW)
    with pytest.raises(ValueError, match="UnreadableRow: this record cannot be read: x"):
        table.cells(ROW._replace(error="UnreadableRow: this record cannot be read: x"))


def test_given_a_field_that_does_not_fit_then_the_error_names_the_column() -> None:
    [table] = load_layout("lustre").tables_of(ROW)
    with pytest.raises(ValueError, match=r"^ost CHAR\(7\): 'OST123456' is longer than 7 characters$"):
        table.cells(ROW._replace(fields={"ost": "OST123456"}))


def test_given_everything_that_is_known_of_a_task_when_a_layout_names_it_then_it_is_there(tmp_path: Path) -> None:
    expected = {
        "journal": "ab" * 16,
        "task_id": "7",
        "task_uid": f"{'ab' * 16}-7",
        "attempt": "2",
        "ordinal": "1",
        "name": "lustre_ost_io",
        "state": "completed",
        "task_class": "tasks:Probe",
        "node": "node-1",
        "worker_pid": "4711",
        "started": "100.5",
        "finished": "102.5",
        "seconds": "2.0",
        "cpu_s": "0.5",
        "peak_bytes": "99",
        "error": None,
        "fields": '{"a":1}',
        "cyclone_row": row_id(ROW),
    }
    names = [name for name in expected if name != "cyclone_row"]
    columns = "\n".join(f"    {name} = VARCHAR(99) from ${name}" for name in names)
    layout = own(tmp_path, f"[table t]\nrecord = lustre_ost_io\ncolumns =\n{columns}\n")
    assert cells(layout, a=1) == expected


@pytest.mark.parametrize("kind", ["JSON", "LONGTEXT"])
@pytest.mark.parametrize(
    ("source", "expected"), [("$fields", '{"value":"v","args":[1,"a"]}'), ("$value", '"v"'), ("$args", '[1,"a"]')]
)
def test_given_what_is_json_when_stored_then_it_is_json_once(
    tmp_path: Path, kind: str, source: str, expected: str
) -> None:
    layout = own(tmp_path, f"[table t]\nrecord = lustre_ost_io\ncolumns =\n    a = {kind} from {source}\n")
    assert cells(layout, value="v", args=[1, "a"])["a"] == expected
    assert cells(layout, value=None)["a"] == ('{"value":null}' if source == "$fields" else None)


def test_given_comments_and_blank_lines_between_columns_then_they_count_for_the_place_of_a_mistake(
    tmp_path: Path,
) -> None:
    text = "[table t]\nrecord = a\ncolumns =\n    a = INT from a\n\n    # of the read\n    b = NUMBER from b\n"
    with pytest.raises(ConfigError, match=r"own\.conf:7: column b: 'NUMBER' is no type"):
        own(tmp_path, text)


GOOD = "[table t]\nrecord = a\ncolumns =\n    a = INT from a\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "own.conf: there is no table: write [table NAME]"),
        ("[tables t]\nrecord = a\n", ":1: [tables t]: no such section; a layout has [table NAME] and [view]"),
        ("[table t]\ncolumns =\n    a = INT from a\n", ":1: [table t] has no record"),
        ("[table t]\nrecord = a\n", ":1: [table t] has no columns"),
        ("[table t]\nrecord = a\ncolumns =\n", ":3: [table t] has no columns: write name = TYPE from field"),
        ("[table t]\nrecord =\ncolumns =\n    a = INT from a\n", ":2: record: the name that tasks give it"),
        (GOOD + "index = a\n", ":5: [table t] index: no such key; did you mean indexes?"),
        (GOOD + "a = INT from a\n", ":5: [table t] a: no such key; it has record, columns, indexes; columns stand"),
        (GOOD + "    a INT\n", ":5: 'a INT' is no column: write name = TYPE from field"),
        (GOOD + "    A = INT from b\n", ":5: column A is given twice"),
        (GOOD + "    id = INT from b\n", ":5: column id: each table has id and cyclone_row by itself"),
        (GOOD + "    b`; = INT from b\n", ":5: column: 'b`;' is no name: 1 to 64 of the letters"),
        (
            GOOD + "    b = INT from $nodes\n",
            ":5: $nodes: nothing is known of a task by that name; did you mean $node?",
        ),
        (GOOD + "indexes =\n    a, b\n", ":6: index of 'b': the table has no such column"),
        (GOOD.replace("table t", "table t`"), ":1: table: 't`' is no name"),
        (GOOD + "[view]\ntable = x\ncolumns =\n    a = a\n", ":6: table: 'x' is none of t"),
        (GOOD + "[view]\nname = v\ntable = t\ncolumns =\n    a = b\n", ":9: 'a = b': write name = column, or name"),
        (GOOD + "[view]\nname = T\ntable = t\ncolumns =\n    a = a\n", "two tables or views are called t"),
        (GOOD.replace("= a\n", "= result\n", 1), "stores the results of tasks: write results = yes in [sink]"),
    ],
)
def test_given_a_mistake_in_a_layout_when_loaded_then_the_error_has_its_place(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        own(tmp_path, text)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("name", "table", "problem"),
    [
        ("lustr", "", "'lustr' is neither a layout of Cyclone's nor a file; did you mean lustre?"),
        ("lustre", "a b", "[db] table: 'a b' is no name"),
        ("lustre", "LUSTRE_OST_IO", "two tables or views are called"),
    ],
)
def test_given_a_name_that_is_wrong_when_loaded_then_the_error_says_what_would_be_right(
    name: str, table: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_layout(name, table)
    assert problem in str(caught.value)


def test_given_two_tables_without_a_view_when_one_name_is_given_then_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="layout own has 2 tables: name them in its file"):
        own(tmp_path, GOOD + GOOD.replace("table t", "table u"), table="x")


def test_given_the_layout_of_the_page_then_it_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "database-proxy.md").read_text(encoding="utf-8")
    [text] = re.findall(r"^```ini\n(# probes\.conf\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    layout = own(tmp_path, text)
    assert [table.name for table in layout.tables] == ["disk_probes"]
    assert layout.view and layout.view.name == "probes_per_host"
    assert cells(layout, device="sda")["free_bytes"] == -1
