"""The pages against what they describe: keys, links, decisions.

Their commands are run by tests/integration/test_docs_commands.py.
"""

import re
from pathlib import Path

import pytest

from cyclone.config_keys import KEYS, SECTIONS, Key

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MUST_EXIST = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/architecture.md",
    "docs/configuration.md",
    "docs/dependencies.md",
    "docs/guarantees.md",
    "docs/journal.md",
    "docs/metrics.md",
    "docs/migrating-from-2.md",
    "docs/operating.md",
    "docs/protocol.md",
    "docs/task-states.md",
    "docs/tutorial.md",
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
KINDS = {"path": "path", "host": "host", "name": "name", "python": "Python name", "text": "text", "integer": "number"}
DECISION_LINES_MAX = 30
ROLE_NAMES = {
    "run": "cyclone run",
    "database_proxy": "cyclone-database-proxy",
    "pushgateway_client": "cyclone-pushgateway-client",
}


def configuration_row(key: Key) -> str:
    default = "computed" if key.default is None else f"`{key.default}`" if key.default else "empty"
    for role, text in key.defaults:
        default += f"; `{ROLE_NAMES[role]}`: `{text}`"
    unit = key.kind.unit or KINDS.get(key.kind.name, key.kind.name)
    return f"| `{key.name}` | {default} | {unit} | {', '.join(key.roles)} | {key.help} |"


def configuration_tables() -> dict[str, list[str]]:
    """The rows of each section's table."""
    tables: dict[str, list[str]] = {}
    rows: list[str] = []
    for line in (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"## `\[(\w+)\]`", line):
            rows = tables[heading[1]] = []
        elif line.startswith("## "):
            rows = []
        elif line.startswith("| `"):
            rows.append(line)
    return tables


def test_given_the_configuration_page_then_it_says_of_each_key_what_the_code_says() -> None:
    expected = {section: [configuration_row(key) for key in KEYS if key.section == section] for section in SECTIONS}
    assert configuration_tables() == expected


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [page.relative_to(ROOT).as_posix() for page in PAGES])
def test_given_a_page_then_what_it_links_to_in_this_folder_exists(page: str) -> None:
    path = ROOT / page
    broken = []
    for link in LINK.findall(FENCED.sub("", path.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_given_the_pages_that_the_readme_promises_then_they_are_there() -> None:
    assert [name for name in MUST_EXIST if not (ROOT / name).is_file()] == []


def test_given_the_decisions_then_they_are_numbered_short_and_alike() -> None:
    records = sorted((ROOT / "docs" / "decisions").iterdir())
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        lines = record.read_text(encoding="utf-8").splitlines()
        assert len(lines) < DECISION_LINES_MAX, record.name
        assert lines[0].startswith(f"# {record.name[:4]}: "), record.name
        parts = [line.split("**")[1] for line in lines if line.startswith("**")]
        assert parts == ["Context.", "Decision.", "Consequence."], record.name
