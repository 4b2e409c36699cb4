"""One way of printing: tables, lines for scripts, JSON, templates, errors."""

import argparse
import io
import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from cyclone.cli import columns, output
from cyclone.cli.columns import (
    DURATION,
    ID,
    MOMENT,
    NAMES,
    NUMBER,
    PACKED,
    PAIRS,
    SIZE,
    STATE,
    TALLY,
    TEXT,
    Column,
    Listing,
)
from cyclone.errors import ConfigError, CycloneError, UsageError
from cyclone.values import encode


class Row(NamedTuple):
    id: int = 5
    name: str = "one"
    state: str = "failed"
    count_of: int = 1234
    at: float = 1_700_000_000.0
    seconds: float | None = 90.5
    size: int = 1536
    tally: dict[str, int] = {"failed": 3, "completed": 0}  # noqa: RUF012
    pairs: dict[str, str] = {"a": "1", "b": "2"}  # noqa: RUF012
    names: tuple[str, ...] = ("x", "y")
    value: bytes = encode({"b": b"\xff", "n": 1.5})


LISTING = Listing(
    "cyclone.rows/1",
    "rows",
    (
        Column("id", lambda row: row.id, ID),
        Column("name", lambda row: row.name, TEXT),
        Column("state", lambda row: row.state, STATE),
        Column("count", lambda row: row.count_of, NUMBER, shown=False),
        Column("at", lambda row: row.at, MOMENT, shown=False),
        Column("seconds", lambda row: row.seconds, DURATION, shown=False),
        Column("size", lambda row: row.size, SIZE, shown=False),
        Column("tally", lambda row: row.tally, TALLY, shown=False),
        Column("pairs", lambda row: row.pairs, PAIRS, shown=False),
        Column("names", lambda row: row.names, NAMES, shown=False),
        Column("value", lambda row: row.value, PACKED, shown=False),
    ),
)


def parsed(*words: str, listing: Listing = LISTING) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    output.add_list_options(parser, listing)
    return parser.parse_args(words)


def printed(capsys: pytest.CaptureFixture[str], *words: str, rows: Any = None, listing: Listing = LISTING) -> str:
    output.print_rows(listing, [Row()] if rows is None else rows, parsed(*words))
    return capsys.readouterr().out


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_given_rows_then_a_table_has_them_under_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row(), Row(id=12, name="longer", state="completed")]
    assert printed(capsys, rows=rows).splitlines() == [
        "ID  NAME    STATE",
        " 5  one     failed",
        "12  longer  completed",
    ]
    assert printed(capsys, "--no-header", "-o", "state,id").splitlines() == ["failed  5"]


def test_given_a_terminal_then_states_have_colours_unless_nobody_wants_them(
    capsys: pytest.CaptureFixture[str], terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[31mfailed\x1b[0m" in printed(capsys)
    assert "\x1b" not in printed(capsys, "--parsable") + printed(capsys, "--json") + printed(capsys, "-o", "{state}")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in printed(capsys)


LONG = [Row(name="x" * 99)]


def test_given_a_terminal_then_values_are_for_people_and_a_table_fits(
    capsys: pytest.CaptureFixture[str], terminal: None
) -> None:
    assert printed(capsys, "-o", "count,seconds,size,tally", "--no-header").split("  ") == [
        "1,234", "1m30s", "1.5 KiB", "3 failed\n",
    ]  # fmt: skip
    assert printed(capsys, rows=LONG).splitlines() == [
        f"ID  NAME{' ' * 24}  STATE",
        f" 5  {'x' * 27}…  \x1b[31mfailed\x1b[0m",
    ]


@pytest.mark.parametrize("words", ["-o id,name,state", "-o {name}", "--parsable", "--json"])
def test_given_a_terminal_then_what_was_asked_for_is_whole(
    capsys: pytest.CaptureFixture[str], terminal: None, words: str
) -> None:
    assert LONG[0].name in printed(capsys, *words.split(), rows=LONG)


def test_given_a_pipe_then_a_table_is_for_people_too_without_colours_and_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert printed(capsys, "--no-header", rows=LONG) == f"5  {'x' * 99}  failed\n"
    [line] = printed(capsys, "-o", "count,seconds,state,name", "--no-header", rows=LONG).splitlines()
    assert line == f"1,234  1m30s  failed  {'x' * 99}"


def test_given_a_script_then_values_are_plain_and_moments_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    fields = "count,at,seconds,size,tally,pairs,names"
    assert printed(capsys, "--parsable", "-o", fields).splitlines() == [
        fields.replace(",", "\t"),
        "1234\t2023-11-14T22:13:20Z\t90.5\t1536\tfailed=3,completed=0\ta=1,b=2\tx,y",
    ]


def test_given_json_then_it_is_one_value_with_all_fields_and_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(printed(capsys, "--json", rows=[Row(), Row(id=6, at=0.0, seconds=None)])) == {
        "schema": "cyclone.rows/1",
        "rows": [
            {
                "id": 5,
                "name": "one",
                "state": "failed",
                "count": 1234,
                "at": "2023-11-14T22:13:20Z",
                "seconds": 90.5,
                "size": 1536,
                "tally": {"failed": 3, "completed": 0},
                "pairs": {"a": "1", "b": "2"},
                "names": ["x", "y"],
                "value": {"b": {"base64": "/w=="}, "n": 1.5},
            },
            {
                "id": 6,
                "name": "one",
                "state": "failed",
                "count": 1234,
                "at": None,
                "seconds": None,
                "size": 1536,
                "tally": {"failed": 3, "completed": 0},
                "pairs": {"a": "1", "b": "2"},
                "names": ["x", "y"],
                "value": {"b": {"base64": "/w=="}, "n": 1.5},
            },
        ],
    }
    assert json.loads(printed(capsys, "--json", rows=[])) == {"schema": "cyclone.rows/1", "rows": []}
    assert json.loads(printed(capsys, "--json", "-o", "id"))["rows"] == [{"id": 5}]


def test_given_a_list_of_lines_then_each_row_is_an_object_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    listing = LISTING._replace(lines=True, columns=LISTING.columns[:2])
    lines = printed(capsys, rows=[Row(), Row(id=6)], listing=listing).splitlines()
    assert [json.loads(line) for line in lines] == [{"id": 5, "name": "one"}, {"id": 6, "name": "one"}]


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("{id} is {state}", "5 is failed"),
        ("{id:>4}|{name:<5}|", "   5|one  |"),
        ("{count:,} {seconds:.0f}", "1,234 90"),
        (r"{id}\t{at}", "5\t2023-11-14T22:13:20Z"),
        ("{{{id}}}", "{5}"),
        ("{value}", '{"b":{"base64":"/w=="},"n":1.5}'),
    ],
)
def test_given_a_template_then_a_line_is_made_of_it(
    capsys: pytest.CaptureFixture[str], template: str, line: str
) -> None:
    assert printed(capsys, "--format", template) == f"{line}\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-o", "id,nmae"], "there is no field 'nmae'; there are id, name"),
        (["-o", "{nothing}"], "no field 'nothing'"),
        (["-o", "{id.__class__}"], "no field"),
        (["-o", "{id!r}"], r"a field is written \{name\}"),
        (["-o", "{id"], "is no template"),
        (["-o", "{name:,}"], r"'\{name:,\}': ',' is no format: Cannot specify ',' with 's'"),
        (["-o", "{id:>>z}"], "'>>z' is no format"),
    ],
)
def test_given_fields_that_are_not_there_then_it_is_said_which_are(words: list[str], says: str) -> None:
    with pytest.raises(argparse.ArgumentError, match=says):
        parsed(*words)


def test_given_a_template_that_does_not_fit_then_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"\{seconds:d\} does not fit"):
        printed(capsys, "-o", "{seconds:d}")
    with pytest.raises(UsageError, match="--json has no template"):
        printed(capsys, "--json", "-o", "{name}")


def test_given_names_of_strangers_then_no_control_character_reaches_a_terminal(
    capsys: pytest.CaptureFixture[str], terminal: None
) -> None:
    bad = Row(name="a\x1b[2Jb\nc\u202ed")
    for words in ([], ["--parsable"], ["-o", "{name}"], ["-o", "name,id"]):
        text = printed(capsys, *words, rows=[bad])
        assert "\x1b[2J" not in text
        assert "\u202e" not in text
        assert r"a\x1b[2Jb\nc\u202ed" in text


def test_given_a_value_that_nobody_can_read_then_it_is_shown_as_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row(value=b"\x80\x05garbage\xc1"), Row(value=b"")]
    first, second = json.loads(printed(capsys, "--json", "-o", "value", rows=rows))["rows"]
    assert set(first["value"]) == {"base64"}
    assert second == {"value": None}


@pytest.mark.parametrize("words", [[], ["--json"], ["--parsable"], ["-o", "{id}"]], ids=" ".join)
def test_given_a_long_list_then_no_row_is_kept(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    alive = 0

    class Counted(Row):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def rows() -> Iterator[Counted]:
        nonlocal alive
        for number in range(1000):
            alive += 1
            assert alive < 10
            yield Counted(id=number)

    class Nowhere:
        encoding = "utf-8"
        written = 0

        def write(self, text: str) -> None:
            self.written += text.count("\n")

        def flush(self) -> None:
            pass

    monkeypatch.setattr(sys, "stdout", nowhere := Nowhere())
    monkeypatch.setattr(output, "is_terminal", lambda: False)
    assert output.print_rows(LISTING, rows(), parsed(*words)) == 1000
    assert nowhere.written >= 1000


def test_given_an_error_before_the_first_row_then_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> Iterator[Row]:
        yield from map(refuse, range(1))

    def refuse(_: int) -> Row:
        raise ConfigError("no")

    for words in (["--json"], ["-o", "{id}"], []):
        with pytest.raises(ConfigError):
            printed(capsys, *words, rows=broken())
        assert capsys.readouterr().out == ""


def test_given_an_error_then_it_is_a_line_for_people_and_a_value_for_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.say_error("cyclone", ConfigError("bad"), 78, as_json=False)
    assert capsys.readouterr() == ("", "cyclone: bad\n")
    output.say_error("cyclone", ConfigError("bad"), 78, as_json=True)
    assert json.loads(capsys.readouterr().err) == {"error": {"exit_code": 78, "type": "ConfigError", "message": "bad"}}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0000421, "42us"), (0.0451, "45ms"), (12.34, "12.3s"), (59.97, "1m00s"), (303, "5m03s")]
    + [(5400, "1h30m"), (100_800, "1d4h")],
)
def test_given_a_duration_then_people_see_two_units_at_most(seconds: float, text: str) -> None:
    assert columns.duration_text(seconds) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("package.module.Type: a.b: no", "Type: a.b: no"),
        ("ValueError: x.y: no", "ValueError: x.y: no"),
        ("module.Type", "Type"),
        ("module.f.<locals>.Type: no", "module.f.<locals>.Type: no"),
        ("", ""),
    ],
)
def test_given_an_error_then_people_see_its_type_without_the_module(error: str, text: str) -> None:
    assert columns.error_text(error) == text


def test_given_a_text_of_several_lines_then_each_stands_below_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_pairs([("error", "one\ntwo\x1b[2J"), ("nothing", ""), ("a", "b")])
    assert capsys.readouterr().out == "error  one\n       two\\x1b[2J\na      b\n"


def test_given_a_moment_then_people_see_what_of_it_is_not_obvious(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import datetime, timedelta

    now = datetime.now()
    assert columns.moment_text(now.timestamp()) == f"{now:%H:%M:%S}"
    long_ago = now - timedelta(days=800)
    assert columns.moment_text(long_ago.timestamp()) == f"{long_ago:%Y-%m-%d}"
    assert columns.moment_text(0.0) == ""
    assert columns.moment_json(1_700_000_000.25) == "2023-11-14T22:13:20.250Z"


class Typing:
    def __init__(self, answer: str, terminal: bool = True) -> None:
        self._answer, self._terminal = answer, terminal

    def isatty(self) -> bool:
        return self._terminal

    def readline(self) -> str:
        return self._answer

    def write(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(
    ("answer", "is_terminal", "yes", "goes_on"),
    [("y\n", True, False, True), ("n\n", True, False, False), ("", True, False, False), ("", True, True, True)]
    + [("", False, False, True)],
)
def test_given_something_to_be_destroyed_then_a_person_is_asked_and_a_script_is_not(
    answer: str, is_terminal: bool, yes: bool, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Typing(answer, is_terminal))
    monkeypatch.setattr(sys, "stderr", Typing("", is_terminal))
    if goes_on:
        output.confirm(lambda: "really?", argparse.Namespace(yes=yes))
    else:
        with pytest.raises(CycloneError, match="nothing was done"):
            output.confirm(lambda: "really?", argparse.Namespace(yes=yes))


def test_given_the_fields_of_a_list_then_completion_offers_those_that_are_not_there_yet() -> None:
    parser = argparse.ArgumentParser()
    output.add_list_options(parser, LISTING)
    [option] = [one for one in parser._actions if one.dest == "shape"]
    offered = option.completer("id,na")  # type: ignore[attr-defined]
    assert list(itertools.islice(offered, 2)) == ["id,name", "id,state"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-16"])
def test_given_a_standard_output_of_another_encoding_then_json_is_still_json(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(taken, encoding))
    output.print_json("cyclone.test/1", {"text": "\xe9 \u20ac \U0001f300"})
    printed = taken.getvalue().decode(encoding)
    assert json.loads(printed) == {"schema": "cyclone.test/1", "text": "\xe9 \u20ac \U0001f300"}
    assert printed.isascii() == (encoding != "utf-8")


def test_given_a_terminal_without_an_ellipsis_then_a_table_has_three_dots(
    terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(taken, "latin-1"))
    output.print_rows(LISTING, LONG, parsed("--no-header"))
    assert taken.getvalue().startswith(b"5  " + b"x" * 26 + b"...  ")
