"""What the durable journal tells of itself."""

from pathlib import Path

import pytest

from cyclone.journal import Origin, open_journal
from cyclone.journal.location import size_bytes
from cyclone.master.events import ControllerJoined
from cyclone.master.journal import JournalBroken


def test_given_a_journal_when_it_commits_then_who_asked_for_it_is_told_how_long_that_took(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal", Origin("tests:Generator", {}))
    took: list[float] = []
    journal.append([ControllerJoined("c1", "1" * 32)])
    journal.on_commit = took.append
    for number in range(3):
        journal.append([ControllerJoined(f"c{number}", "2" * 32)])
    assert len(took) == 3
    assert all(0.0 < seconds < 10.0 for seconds in took)
    # Another master opens it: what is not recorded is not counted.
    journal._db.execute("UPDATE fence SET epoch = epoch + 1")
    with pytest.raises(JournalBroken):
        journal.append([ControllerJoined("c9", "3" * 32)])
    assert len(took) == 3
    journal.close()


def test_given_a_journal_then_its_size_is_that_of_the_file_and_its_log(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert size_bytes(path) == 0
    journal = open_journal(path, Origin("tests:Generator", {}))
    journal.append([ControllerJoined("c1", "1" * 32)])
    log = path.with_name("journal-wal")
    assert log.stat().st_size > 0
    assert size_bytes(path) == path.stat().st_size + log.stat().st_size
    journal.close()
    assert size_bytes(path) == path.stat().st_size > 0
