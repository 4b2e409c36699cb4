"""Arrays: which entries each spelling stands for, lazily, and what is said of a wrong one."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cyclone.cli import arrays
from cyclone.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "entries", "parallel"),
    [
        ("0-3", [0, 1, 2, 3], None),
        ("7", [7], None),
        ("0-10:2", [0, 2, 4, 6, 8, 10], None),
        ("0-10/5", [0, 5, 10], None),
        ("1,3,5-8", [1, 3, 5, 6, 7, 8], None),
        ("5-8,1,3", [1, 3, 5, 6, 7, 8], None),
        ("0-4,2-6,4", [0, 1, 2, 3, 4, 5, 6], None),
        ("0-5!3", [0, 1, 2, 4, 5], None),
        ("0-99:50%10", [0, 50], 10),
    ],
)
def test_given_ranges_then_each_number_is_an_entry_once_and_in_order(
    text: str, entries: list[int], parallel: int | None
) -> None:
    found = arrays.numbers(text)
    assert (list(found.open()), found.parallel) == (entries, parallel)
    assert found.total in (None, len(entries))


def test_given_a_very_long_range_then_only_what_is_asked_for_is_made() -> None:
    found = arrays.numbers("0-999999999")
    assert (list(itertools.islice(found.open(), 2)), found.total) == ([0, 1], 1_000_000_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a range of numbers; write 0-2,5"),
        ("a", "is not a range of numbers"),
        ("5-1", "begins behind its end"),
        ("0-9%", "write 0-99%10"),
        ("0-9%0", "write 0-99%10"),
        ("0-9%x", "write 0-99%10"),
        ("0-1000000000", "holds more than 1,000,000,000 numbers"),
    ],
)
def test_given_a_wrong_range_then_the_error_says_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        arrays.numbers(text)


def test_given_a_pipe_that_is_filled_slowly_then_a_pause_says_that_what_came_has_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrays, "_PAUSE_S", 0.01)
    reading, writing = os.pipe()
    entries = arrays.lines(f"/dev/fd/{reading}").open()
    os.write(writing, b"a\nb\nrest")
    assert [next(entries), next(entries)] == ["a", "b"]
    assert isinstance(next(entries), arrays.Pause)
    os.write(writing, b" of c\n")
    os.close(writing)
    assert [entry for entry in entries if not isinstance(entry, arrays.Pause)] == ["rest of c"]
    os.close(reading)


def test_given_words_then_each_is_an_entry() -> None:
    command, lists = arrays.split_words(["gzip", "-k", ":::", "a", "b"])
    found = arrays.words(lists)
    assert (command, list(found.open()), found.total) == (["gzip", "-k"], ["a", "b"], 2)


def test_given_several_lists_of_words_then_each_combination_is_an_entry() -> None:
    _, lists = arrays.split_words([":::", "a", "b", ":::", "1", "2"])
    found = arrays.words(lists)
    assert list(found.open()) == [["a", "1"], ["a", "2"], ["b", "1"], ["b", "2"]]
    assert (found.total, found.lists) == (4, 2)


def test_given_no_word_behind_the_sign_then_it_is_refused() -> None:
    with pytest.raises(ValueError, match="has no words behind it"):
        arrays.words([["a"], []])


@pytest.mark.parametrize(
    ("read", "content", "entries"),
    [
        (arrays.lines, b"a\n\nb c\n", ["a", "b c"]),
        (arrays.lines, b"last has no end", ["last has no end"]),
        (arrays.lines, b"", []),
        (arrays.lines, b"caf\xe9\n", ["caf\udce9"]),
        (arrays.nul_separated, b"a\nb\0c\0", ["a\nb", "c"]),
        (arrays.json_values, b'[1, "a", null, {"b": [2]}]', [1, "a", None, {"b": [2]}]),
        (arrays.json_values, b"[\n 1,\n 2\n]\n", [1, 2]),
        (arrays.json_values, b"[]", []),
        (arrays.json_values, b"", []),
        (arrays.json_values, b' \n[1]\n[2, "x"]\n', [[1], [2, "x"]]),
        (arrays.json_values, b"[1, 2]\n", [1, 2]),
        (arrays.json_values, b'{"a": 1}\n\n{"a": 2}', [{"a": 1}, {"a": 2}]),
        (arrays.json_values, b"1\n2\n", [1, 2]),
        (arrays.json_values, '\ufeff["\u00e9\u2028"]'.encode(), ["\u00e9\u2028"]),
        (arrays.json_values, b'[{"base64":"Y2Fm6Q=="}, [{"base64":"YQ=="}]]', ["caf\udce9", [{"base64": "YQ=="}]]),
        (arrays.json_values, b'{"base64":"YQ"}\n{"base64":1}', [{"base64": "YQ"}, {"base64": 1}]),
    ],
)
def test_given_a_file_then_its_entries_are_these(
    read: Callable[[str], arrays.Entries], content: bytes, entries: list[Any], tmp_path: Path
) -> None:
    file = tmp_path / "input"
    file.write_bytes(content)
    assert list(read(str(file)).open()) == entries


def test_given_values_of_every_length_then_none_is_cut_where_a_block_of_the_file_ends(tmp_path: Path) -> None:
    values: list[Any] = [size * "é" if size % 2 else size**9 for size in range(0, 3000, 7)]
    import json

    for name, text in {
        "array": json.dumps(values, ensure_ascii=False),
        "lines": "\n".join(json.dumps(value, ensure_ascii=False) for value in values),
    }.items():
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        assert file.stat().st_size > 2 * 64 * 1024
        assert list(arrays.json_values(str(file)).open()) == values


@pytest.mark.parametrize(
    ("read", "content", "said"),
    [
        (arrays.json_values, b"[1, 2", "value 2: a comma or ] belongs behind it, not ''"),
        (arrays.json_values, b"[1 2]", "value 1: a comma or ] belongs behind it, not '2'"),
        (arrays.json_values, b"[1, x]", "value 2: is no JSON value: Expecting value"),
        (arrays.json_values, b"[1] [2]", "behind the array: nothing may follow"),
        (arrays.json_values, b"{}\nx", "line 2: is no JSON value"),
        (arrays.json_values, b'{"a":\xff}', "is not UTF-8 text"),
        (arrays.json_values, b"[" * 100_000, "is no JSON value"),
        (arrays.lines, b"x" * (5 << 20), "holds a line of more than 4,194,304 bytes"),
    ],
)
def test_given_a_wrong_file_then_the_error_names_it_and_the_place(
    read: Callable[[str], arrays.Entries], content: bytes, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "input"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="input: ") as caught:
        list(read(str(file)).open())
    assert said in str(caught.value)


def test_given_no_such_file_then_the_error_names_it() -> None:
    with pytest.raises(ConfigError, match="/nowhere: cannot be read: No such file"):
        list(arrays.lines("/nowhere").open())


def test_given_a_pipe_then_its_lines_come_while_it_is_still_open(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with open(write_end, "wb", buffering=0) as writer, open(read_end, "rb"):
        writer.write(b"first\n")
        entries = arrays.lines(f"/proc/self/fd/{read_end}").open()
        assert next(entries) == "first"
        writer.write(b'second\n{"a')
        assert next(entries) == "second"
