"""docs/security.md: each row of the threat table names a test that exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
FILES = {
    "security": "integration/test_security.py",
    "fuzz": "integration/test_fuzzed_master.py",
    "gate": "unit/security/test_gate.py",
    "files": "unit/security/test_key_files.py",
}


def test_given_a_threat_then_the_test_that_its_row_names_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    for short, name in FILES.items():
        assert re.search(rf"`{short}`\s+is\s+`{name}`", page)
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`?([\w/.]+)`?: `(test_\w+)`", row[3])
        assert named, row
        for file, test in named:
            source = (ROOT / "tests" / FILES.get(file, file)).read_text(encoding="utf-8")
            assert f"def {test}(" in source, (file, test)
