"""docs/migrating-from-2.md against the table that ``cyclone config check`` goes by, and against what there is."""

import configparser
import re
from pathlib import Path
from typing import get_args

import pytest

from cyclone import original
from cyclone.config_keys import BY_PLACE, Role
from cyclone.original import Change
from cyclone.original_keys import Fate
from cyclone.plugins import load_class
from cyclone.sinks.gauges import KINDS
from cyclone.task import BaseTask

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "migrating-from-2.md"
SCOPES = list(dict.fromkeys(change.scope for change in original.KEYS))


def row(change: Change) -> str:
    now = f"`{change.now}`" if change.now else ""
    return f"| `{change.name}` | {change.fate} | {now} | {change.why} |"


def tables() -> dict[str, list[str]]:
    """The rows under each heading, by the scope that stands in brackets behind it."""
    found: dict[str, list[str]] = {}
    rows: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"### .*<!-- (\w+) -->", line):
            rows = found[heading[1]] = []
        elif line.startswith("| ") and not line.startswith("| there"):
            rows.append(line)
    return found


def cells(scope: str) -> list[tuple[str, str, str]]:
    """What it was, its fate, and what it is."""
    rows = [[cell.strip(" `") for cell in line.split("|")] for line in tables()[scope]]
    return [(there, fate, here) for _, there, fate, here, _, _ in rows]


@pytest.mark.parametrize("scope", SCOPES)
def test_given_the_keys_of_a_file_then_the_page_says_what_the_table_says(scope: str) -> None:
    assert tables()[scope] == [row(change) for change in original.KEYS if change.scope == scope]


def test_given_the_page_then_it_has_each_table_once_and_uses_no_other_words() -> None:
    others = ["command", "file", "class", "metric", "port"]
    assert list(tables()) == [*others, *SCOPES]
    assert {fate for scope in others for _, fate, _ in cells(scope)} <= {*get_args(Fate), "gone"}


def test_given_the_commands_then_those_of_today_are_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    installed = {line.partition(" =")[0] for line in setup["options.entry_points"]["console_scripts"].split("\n")}
    named = [here.split()[0] for _, _, here in cells("command") if here.startswith("cyclone")]
    assert len(named) == 4
    assert set(named) <= installed


def test_given_the_classes_then_each_is_found_by_its_former_name_and_all_are_named() -> None:
    named = {there: here for there, fate, here in cells("class") if fate == "same"}
    assert set(named.values()) == {*original.TASKS.values(), *original.GENERATORS.values()}
    for there, here in named.items():
        if here.startswith("tasks."):
            assert original.current_task(f"task.former:{there}") == here
            assert load_class(here, BaseTask).__name__ == there
        else:
            assert original.current_generator(f"task.generator.former:{there}") == here


def test_given_the_metrics_and_ports_then_they_are_those_of_today() -> None:
    kind = KINDS["lustre_file_creation_check"]
    checks = f"{kind.values[0].name}{{target,{','.join(kind.labels)}}}"
    assert [there for there, _, _ in cells("metric")] == [kind.error.name, checks]
    port = BY_PLACE["comm", "port"]
    roles: tuple[Role, ...] = ("master", "database_proxy", "pushgateway_client")
    assert [there for there, _, _ in cells("port")] == [port.default_for(role) for role in roles]
