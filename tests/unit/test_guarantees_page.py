"""docs/guarantees.md: each promise names tests that exist, and what it says to run is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| promise |")
]
NAMED = re.compile(r"`([\w/.]+)::(test_\w+)`")


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_given_a_promise_then_the_tests_that_its_row_names_exist(row: list[str]) -> None:
    promise, how, tests, *_ = row
    assert len(row) == 5 and promise and how
    named = NAMED.findall(tests)
    assert named
    assert NAMED.sub("", tests).strip() == "", "nothing but tests"
    for file, name in named:
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"\bdef {name}\(", source), (file, name)


def test_given_the_page_then_it_has_the_rows_of_every_kind_of_fault() -> None:
    assert len(ROWS) > 40


def test_given_a_program_to_measure_with_then_it_is_there() -> None:
    modules = {name.replace(".", "/") for name in re.findall(r"python -m ((?:benchmarks|tests)[\w.]*)", PAGE)}
    scripts = set(re.findall(r"python (benchmarks/\w+\.py)", PAGE))
    assert modules and scripts
    assert [name for name in scripts if not (ROOT / name).is_file()] == []
    assert [
        name for name in modules if not (ROOT / f"{name}.py").is_file() and not (ROOT / name / "__main__.py").is_file()
    ] == []
    verbs = set(re.findall(r"`make (\w+)", PAGE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [verb for verb in verbs if not re.search(rf"^{verb}:", makefile, re.MULTILINE)] == []
