"""Tables that have to fit: which columns give way, how far, and what is left of a text."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from cyclone.cli import columns, tables
from cyclone.cli.columns import ERROR, ID, MOMENT, NAMES, NUMBER, PACKED, PAIRS, STATE, TALLY, TEXT, Column
from cyclone.cli.tables import Paper, fitted, shortened, text_width
from cyclone.values import encode

A_DAY = 1_700_000_000.0
WIDTHS = (10, 40, 60, 80, 200)


class Job(NamedTuple):
    id: int = 1
    name: str = "resize-of-the-whole-archive"
    state: str = "failed"
    tasks: int = 100_000
    error: str = "OSError: cannot open /scratch/archive/2026/scene-000017.tif"


COLUMNS = (
    Column("id", lambda job: job.id, ID),
    Column("name", lambda job: job.name, TEXT),
    Column("state", lambda job: job.state, STATE),
    Column("tasks", lambda job: job.tasks, NUMBER),
    Column("error", lambda job: job.error, ERROR),
)
SHORT = Job(12, "nightly", "held", 3, "")


def table(*jobs: Job, encoding: str = "utf-8", width: int | None = None, colours: bool = False) -> list[str]:
    return [line for _, line in tables.lines(COLUMNS, jobs or (Job(), SHORT), True, Paper(encoding, width, colours))]


WHOLE = [
    "ID  NAME                         STATE     TASKS  ERROR",
    " 1  resize-of-the-whole-archive  failed  100,000  OSError: cannot open /scratch/archive/2026/scene-000017.tif",
    "12  nightly                      held          3",
]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            40,
            [
                "ID  NAME       STATE     TASKS  ERROR",
                " 1  resize-o…  failed  100,000  OSError…",
                "12  nightly    held          3",
            ],
        ),
        (
            60,
            [
                "ID  NAME                 STATE     TASKS  ERROR",
                " 1  resize-of-the-whol…  failed  100,000  OSError: cannot o…",
                "12  nightly              held          3",
            ],
        ),
        (
            80,
            [
                "ID  NAME                         STATE     TASKS  ERROR",
                " 1  resize-of-the-whole-archive  failed  100,000  OSError: cannot open /scratch…",
                "12  nightly                      held          3",
            ],
        ),
        (200, WHOLE),
        (None, WHOLE),
    ],
)
def test_given_a_width_then_texts_give_way_the_widest_first_and_nothing_else(
    width: int | None, lines: list[str]
) -> None:
    assert table(width=width) == lines
    assert max(map(len, lines)) == min(width or 200, len(WHOLE[1]))


NARROWEST = [
    "ID NAME     STATE    TASKS ERROR",
    " 1 resize-… failed 100,000 OSError…",
]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (39, ["ID  NAME      STATE     TASKS  ERROR", " 1  resize-…  failed  100,000  OSError…"]),
        (38, ["ID NAME       STATE    TASKS ERROR", " 1 resize-of… failed 100,000 OSError:…"]),
        (35, NARROWEST),
        (10, NARROWEST),
    ],
)
def test_given_less_room_than_it_needs_then_columns_move_together_and_a_table_is_as_wide_as_it_must_be(
    width: int, lines: list[str]
) -> None:
    assert table(Job(), width=width) == lines
    assert max(map(len, lines)) == max(35, width)


def test_given_the_name_of_a_field_then_it_is_never_shortened() -> None:
    long = (Column("id", lambda job: job.id, ID), Column("name", lambda job: job.name, TEXT, title="namespaces"))
    assert [line for _, line in tables.lines(long, [Job()], True, Paper(width=10))] == [
        "ID NAMESPACES",
        " 1 resize-of…",
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_given_colours_then_they_take_no_room(width: int) -> None:
    painted = table(width=width, colours=True)
    assert [line.replace("\x1b[31m", "").replace("\x1b[2m", "").replace("\x1b[0m", "") for line in painted] == table(
        width=width
    )
    assert re.search(r" \x1b\[31mfailed\x1b\[0m  ?100,000", painted[1])
    assert "\x1b" not in painted[0]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "iso8859-15"])
def test_given_an_encoding_without_an_ellipsis_then_three_dots_are_one_and_escapes_are_counted(encoding: str) -> None:
    jobs = (Job(), Job(2, "日本語"))
    assert table(*jobs, encoding=encoding, width=60) == [
        "ID  NAME                 STATE     TASKS  ERROR",
        " 1  resize-of-the-wh...  failed  100,000  OSError: cannot...",
        r" 2  \u65e5\u672c\u8a9e   failed  100,000  OSError: cannot...",
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_given_wide_characters_then_columns_still_stand_below_each_other(width: int) -> None:
    jobs = (Job(), Job(2, "日本語の名前がとても長い仕事"), Job(3, "e\u0301te\u0301" * 20), Job(4, "\U0001f300" * 20))
    lines = table(*jobs, width=width)
    starts = {text_width(line[: line.index("failed")]) for line in lines[1:]}
    assert starts == {lines[0].index("STATE")}
    assert max(map(text_width, lines)) == max(35, min(width, 23 + 60 + len(Job().error)))


def test_given_wide_characters_in_a_short_table_then_columns_stand_below_each_other() -> None:
    two = (COLUMNS[1], COLUMNS[2])
    rows = [Job(name="日本"), Job(name="e\u0301te"), Job(name="\u2764\ufe0f")]
    assert [line for _, line in tables.lines(two, rows, True, Paper())] == [
        "NAME  STATE",
        "日本  failed",
        "e\u0301te   failed",
        "\u2764\ufe0f     failed",
    ]


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("nightly", 7, "nightly"),
        ("nightly", 6, "night…"),
        ("", 8, ""),
        ("日本語", 6, "日本語"),
        # The second has two columns, and the ellipsis one.
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("e\u0301te\u0301", 3, "e\u0301te\u0301"),
        # A mark stays with its letter.
        ("ae\u0301tes", 3, "ae\u0301…"),
        ("\u2764\ufe0f no heart", 4, "\u2764\ufe0f n…"),
    ],
)
def test_given_a_text_then_what_is_left_of_it_has_room(text: str, width: int, cut: str) -> None:
    assert shortened(text, width) == cut
    assert text_width(cut) <= width


@pytest.mark.parametrize(
    ("wanted", "least", "room", "widths"),
    [
        ([5, 5], [5, 5], 20, [5, 5]),
        ([30, 10], [8, 8], 30, [20, 10]),
        ([30, 30], [8, 8], 31, [16, 15]),
        ([30, 30, 9], [8, 8, 8], 26, [9, 9, 8]),
        # What must not give way does not, however wide it is.
        ([30, 40], [8, 40], 50, [10, 40]),
        ([30, 40], [8, 40], 20, [8, 40]),
        ([30], [8], -2, [8]),
    ],
)
def test_given_widths_then_the_widest_give_way(
    wanted: list[int], least: list[int], room: int, widths: list[int]
) -> None:
    assert fitted(wanted, least, room) == widths


@pytest.mark.parametrize(
    ("kind", "value", "whole"),
    [
        (columns.TEXT, "a name that is long", False),
        (columns.ERROR, "ValueError: of no use", False),
        (TALLY, {"failed": 3, "completed": 1_000_000}, False),
        (PAIRS, {"a": "1", "b": "a long one", "c": "3"}, False),
        (NAMES, ("night", "default", "other"), False),
        (PACKED, encode(["a long", "list", "of values"]), False),
        (columns.PROGRAM, encode({"stdout": "a long output"}), False),
        (ID, "1234567.12345678", True),
        (NUMBER, 123_456_789_012, True),
        (STATE, "setup_failed", True),
        (MOMENT, A_DAY, True),
        (columns.DURATION, 100_800.0, True),
        (columns.SIZE, 1536, True),
        (columns.WORD, "2026-11-20T12:00:00Z", True),
    ],
)
def test_given_a_kind_then_it_is_whole_unless_it_is_free_text(kind: columns.Kind, value: object, whole: bool) -> None:
    column = Column("x", lambda row: row, kind)
    [(_, line)] = tables.lines([column], [value], False, Paper(width=9))
    assert line == (kind.for_people(value) if whole else shortened(kind.for_people(value), 9))
    assert line.endswith("…") != whole


def then(*unmeasured: Job) -> Iterator[Job]:
    """A list whose first rows are short, and need 25 columns of a terminal."""
    yield from (SHORT for _ in range(250))
    yield from unmeasured


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (33, " 1  resize-…  failed  100,000  OSError…"),
        (40, " 1  resize-o…  failed  100,000  OSError…"),
        (60, " 1  resize-of-the-whol…  failed  100,000  OSError: cannot o…"),
        (200, WHOLE[1]),
        (None, WHOLE[1]),
    ],
)
def test_given_a_row_that_was_not_measured_then_it_has_what_room_there_is(width: int | None, line: str) -> None:
    *others, found = table(*then(Job()), width=width)
    assert {text_width(other) for other in others[1:]} == {25}
    assert found == line


def test_given_a_narrow_table_then_rows_that_were_not_measured_stand_below_the_others() -> None:
    jobs = [Job(number) for number in range(200)]
    lines = table(*jobs, Job(200, "x" * 99), Job(201, "x" * 99, error=""), width=61)
    assert lines[-3:] == [
        "199  resize-of-the-whol…  failed  100,000  OSError: cannot o…",
        "200  xxxxxxxxxxxxxxxxxx…  failed  100,000  OSError: cannot o…",
        "201  xxxxxxxxxxxxxxxxxx…  failed  100,000",
    ]
