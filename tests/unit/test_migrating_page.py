"""docs/migrating-from-2.md against the table that ``cyclone config check`` goes by."""

import re
from pathlib import Path

import pytest

from cyclone import original, taskfile
from cyclone.original import Change

PAGE = Path(__file__).parents[2] / "docs" / "migrating-from-2.md"
SCOPES = list(dict.fromkeys(change.scope for change in [*original.THINGS, *original.KEYS]))


def row(change: Change) -> str:
    name, now = (
        text if text.startswith(("a ", "the ")) or not text else f"`{text}`" for text in (change.name, change.now)
    )
    return f"| {name} | {change.fate} | {now} | {change.why} |"


def tables() -> dict[str, list[str]]:
    """The rows under each heading, by the scope that stands in brackets behind it."""
    found: dict[str, list[str]] = {}
    rows: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"### .*<!-- (\w+) -->", line):
            rows = found[heading[1]] = []
        elif line.startswith("| ") and not line.startswith(("| there", "|---")):
            rows.append(line)
    return found


@pytest.mark.parametrize("scope", SCOPES)
def test_given_the_page_then_it_says_what_the_table_says(scope: str) -> None:
    changes = [change for change in [*original.THINGS, *original.KEYS] if change.scope == scope]
    assert tables()[scope] == [row(change) for change in changes]


def test_given_the_page_then_it_has_nothing_else() -> None:
    assert list(tables()) == SCOPES


def test_given_the_classes_of_task_files_then_both_tables_name_the_same() -> None:
    named = {change.name: change.now for change in original.THINGS if change.now.startswith("tasks.")}
    assert named.items() <= taskfile._FORMER_CLASSES.items()
    assert set(named.values()) == set(taskfile._FORMER_CLASSES.values())


def test_given_the_generators_then_the_page_names_those_that_are_found() -> None:
    named = {change.name: change.now for change in original.THINGS if change.now.startswith("task_generators.")}
    assert set(named.values()) == set(original.GENERATORS.values())
