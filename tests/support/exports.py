"""What tests read of a journal: always by the command that users have, never by the code that wrote it."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.lab import Lab, program

COMMAND_S = 60


def state_folder(lab: Lab) -> Path:
    """Where everything of this lab lies that outlives a process."""
    return lab.folder / "state" / "cyclone"


def run_folders(lab: Lab) -> list[Path]:
    """The folders of ``cyclone run``, the oldest first."""
    runs = state_folder(lab) / "runs"
    return sorted(runs.iterdir()) if runs.exists() else []


def exported(lab: Lab, journal: Path) -> list[dict[str, Any]]:
    """A record for each task of a journal, in the order of their ids."""
    done = subprocess.run(
        [program("cyclone"), "journal", "export", str(journal)],
        env=lab.environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=True,
    )
    return sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda record: int(record["id"]))


def assert_each_once(records: Sequence[dict[str, Any]], count: int, key: str = "id") -> None:
    """As many tasks as there are numbers, each completed, none twice."""
    assert [record[key] for record in records] == list(range(1, count + 1))
    assert {record["state"] for record in records} == {"completed"}
