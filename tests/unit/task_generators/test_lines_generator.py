"""LinesTaskGenerator: what xargs and GNU parallel would do with the same lines."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cyclone.errors import ConfigError
from task_generators.lines import LinesTaskGenerator
from tests.support.drive import drive
from tests.support.generator_lives import Book, live

ECHO = "tests.support.sample_tasks:PlainTask"


def generator(content: bytes | None, folder: Path, **options: str) -> LinesTaskGenerator:
    if content is not None:
        (folder / "lines").write_bytes(content)
    return LinesTaskGenerator({"lines": {"file": "lines", **options}}, folder)


def lines(made: LinesTaskGenerator) -> list[Any]:
    return [vars(task)["first"] for task in made.generate()]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"\n\na\n\n", ["a"]),
        (b" a \n\tb\r\n", [" a ", "\tb\r"]),
        (b"caf\xe9\n\xc3\xa9\n", [os.fsdecode(b"caf\xe9"), "é"]),
        (b"a\0b\n", ["a\0b"]),
    ],
)
def test_given_lines_then_each_that_is_not_empty_is_taken_as_it_is(
    tmp_path: Path, content: bytes, expected: list[str]
) -> None:
    assert lines(generator(content, tmp_path, task=ECHO)) == expected


@pytest.mark.parametrize(("content", "expected"), [(b"a\nb\0c\0", ["a\nb", "c"]), (b"\0\0a", ["a"]), (b"a\n", ["a\n"])])
def test_given_nul_as_separator_then_newlines_are_ordinary(tmp_path: Path, content: bytes, expected: list[str]) -> None:
    assert lines(generator(content, tmp_path, task=ECHO, separator="nul")) == expected


def test_given_lines_across_the_blocks_that_are_read_then_none_is_cut(tmp_path: Path) -> None:
    expected = [str(number) * 7 for number in range(60_000)]

    assert lines(generator("\n".join(expected).encode(), tmp_path, task=ECHO)) == expected


def test_given_a_line_that_never_ends_then_the_error_asks_for_the_separator(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a line of more than 1048576 bytes; is the separator right"):
        lines(generator(bytes(3_000_000), tmp_path, task=ECHO))


def test_given_a_command_then_each_line_takes_the_place_of_the_braces_in_quotes(tmp_path: Path) -> None:
    made = generator(b"a b\n$HOME; 'x'\n", tmp_path, command="printf '<%s>' {} {}")

    assert [result.value["stdout"] for result in drive(made)] == ["<a b><a b>", "<$HOME; 'x'><$HOME; 'x'>"]


def test_given_a_command_without_braces_then_the_line_goes_to_its_end(tmp_path: Path) -> None:
    made = generator(b"a b\n", tmp_path, command="printf '<%s>'")

    assert [result.value["stdout"] for result in drive(made)] == ["<a b>"]


def test_given_a_line_that_is_not_utf_8_then_the_command_gets_its_bytes(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).write_text("found")
    made = generator(os.fsencode(tmp_path) + b"/caf\xe9\n", tmp_path, command="cat {}")

    assert [result.value["stdout"] for result in drive(made)] == ["found"]


def test_given_neither_command_nor_task_then_each_line_is_a_command(tmp_path: Path) -> None:
    made = generator(b"echo 1; echo 2\nexit 3\n", tmp_path)

    first, second = drive(made)

    assert first.value["stdout"] == "1\n2\n"
    assert second.error is not None and "exit code 3" in second.error.message


def resumed(content: bytes | None, folder: Path, count: int, **options: str) -> LinesTaskGenerator:
    """A generator that goes on from the cursor of one that has yielded so many."""
    first = generator(content, folder, task=ECHO, **options)
    source = first.generate()
    assert len(list(itertools.islice(source, count))) == count
    second = generator(None, folder, task=ECHO, **options)
    second.resume(first.cursor())
    return second


@pytest.mark.parametrize("content", [b"a\nbb\n\n\nccc\n", b"a\nbb\n\nccc", b"\n\na\nbb\nccc\n\n"])
def test_given_a_cursor_then_what_follows_goes_on_behind_that_line(tmp_path: Path, content: bytes) -> None:
    for count in range(4):
        assert lines(resumed(content, tmp_path, count)) == ["a", "bb", "ccc"][count:]


def test_given_a_file_that_was_read_to_its_end_then_it_is_not_needed_any_more(tmp_path: Path) -> None:
    first = generator(b"a\n", tmp_path, task=ECHO)
    assert lines(first) == ["a"]
    second = generator(None, tmp_path, task=ECHO)
    second.resume(first.cursor())
    (tmp_path / "lines").unlink()

    assert lines(second) == []


def test_given_lines_that_were_appended_after_the_cursor_then_they_are_read_too(tmp_path: Path) -> None:
    second = resumed(b"a\nb\n", tmp_path, 2)
    (tmp_path / "lines").write_bytes(b"a\nb\nc\n")

    assert lines(second) == ["c"]


@pytest.mark.parametrize(("content", "now"), [(b"a\nb\n", b"a\nb"), (b"a\nb\n", b""), (b"a\nb", b"a\nbc\n")])
def test_given_a_file_that_has_changed_before_the_cursor_then_the_error_says_where(
    tmp_path: Path, content: bytes, now: bytes
) -> None:
    second = resumed(content, tmp_path, 2)
    (tmp_path / "lines").write_bytes(now)

    with pytest.raises(
        ConfigError, match=r"^\[lines\] file = lines: has changed since the run began: its line 2 ended at"
    ):
        lines(second)


def test_given_a_crash_at_any_time_then_each_line_is_there_once(tmp_path: Path) -> None:
    names = [f"line {number}" for number in range(12)]
    content = "\n\n".join(names).encode()
    for kill_after in range(20):
        book = live(Book(kill_after), lambda: generator(content, tmp_path, task=ECHO), [kill_after, kill_after])

        assert book.tasks() == names


@pytest.fixture
def standard_input() -> Iterator[int]:
    """The writing end of a pipe that is this process's standard input for the time of a test."""
    reading, writing = os.pipe()
    saved = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    yield writing
    os.dup2(saved, 0)
    os.close(saved)


def test_given_standard_input_then_a_line_is_a_task_before_the_next_one_is_there(
    tmp_path: Path, standard_input: int
) -> None:
    source = generator(None, tmp_path, file="-", task=ECHO).generate()

    for word in (b"one", b"two"):
        os.write(standard_input, word + b"\n")
        assert [vars(task)["first"] for task in itertools.islice(source, 1)] == [word.decode()]
    os.write(standard_input, b"three")
    os.close(standard_input)

    assert [vars(task)["first"] for task in source] == ["three"]
    assert os.fstat(0), "standard input must stay open: it is not the generator's to close"


def test_given_standard_input_that_is_a_pipe_then_it_cannot_go_on_and_says_so(
    tmp_path: Path, standard_input: int
) -> None:
    os.write(standard_input, b"one\ntwo\n")
    second = resumed(None, tmp_path, 1, file="-")
    os.close(standard_input)

    with pytest.raises(ConfigError, match=r"\[lines\] file = -: is a pipe, of which 1 lines had been read"):
        lines(second)


def test_given_standard_input_that_is_a_file_then_it_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"title\na\nb\nc\n")
    saved = os.dup(0)
    with open(tmp_path / "input", "rb") as file:
        os.dup2(file.fileno(), 0)
    try:
        # Somebody has read the title before us.
        os.lseek(0, len(b"title\n"), os.SEEK_SET)
        assert lines(resumed(None, tmp_path, 2, file="-")) == ["c"]
    finally:
        os.dup2(saved, 0)
        os.close(saved)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": ""}, r"\[lines\] file is missing"),
        ({"file": "absent"}, r"\[lines\] file = absent: there is no .*/absent"),
        ({"file": "/"}, r"\[lines\] file = /: is a folder"),
        ({"separator": "tab"}, r"\[lines\] separator = tab: expected newline or nul"),
        ({"task": "m"}, r"\[lines\] task = m: .*write module:Class"),
        ({"task": ECHO, "command": "x"}, r"\[lines\] command and task: give one of them"),
    ],
)
def test_given_a_bad_option_then_section_and_key_are_named(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        generator(b"a\n", tmp_path, **options)
