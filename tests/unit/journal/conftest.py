"""What the tests of the journal share."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cyclone.journal import SqliteJournal, open_journal
from tests.support.journals import ORIGIN


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: nothing here relies on a real sync, and each journal has many."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="cyclone-journal-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., SqliteJournal]]:
    """Opens the journal; those that are open at the end are closed."""
    journals: list[SqliteJournal] = []

    def opening(**options: Any) -> SqliteJournal:
        journals.append(open_journal(path, options.pop("origin", ORIGIN), **options))
        return journals[-1]

    yield opening
    for journal in journals:
        journal.close()
