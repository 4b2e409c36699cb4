"""How often the journal waits for the disk, as ``cyclone bench`` tells it."""

from collections.abc import Callable

import pytest

from cyclone.journal import SqliteJournal, sqlite_journal
from tests.support.journals import JOBS, added

Opened = Callable[..., SqliteJournal]


def test_given_appends_then_each_is_one_sync_whatever_it_holds(opened: Opened) -> None:
    journal = opened()
    before = journal.syncs
    journal.append([*JOBS, added(1, 100), added(101, 5)])
    for first in (106, 107, 108):
        journal.append([added(first, 1)])
    assert journal.syncs - before == 4


def test_given_a_checkpoint_then_the_log_and_the_database_are_synced(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened()
    journal.append([*JOBS, added(1, 100)])
    before = journal.syncs
    journal.tend(0, idle=True)
    assert journal.syncs == before
    monkeypatch.setattr(sqlite_journal, "_WAL_BYTES_IDLE", 1)
    journal.tend(0, idle=True)
    assert journal.syncs == before + 2
