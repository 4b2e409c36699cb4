"""What an error of SQLite means for the journal: nothing happened, or nobody knows (``cyclone.sqlite_errors``)."""

from pathlib import Path

import apsw

from cyclone.journal.blocks import DamagedRow
from cyclone.master.journal import JournalBroken, JournalFull
from cyclone.sqlite_errors import is_damage, want_of_room

ERRORS = (apsw.Error, DamagedRow)
"""What reading and writing the file can raise, and ``failure`` explains."""


def failure(error: apsw.Error | DamagedRow, path: Path) -> JournalFull | JournalBroken:
    """What the master is to be told."""
    if isinstance(error, DamagedRow) or is_damage(error):
        return damaged(path, error)
    if reason := want_of_room(error):
        return JournalFull(f"journal {path}: {reason}: {error}")
    return JournalBroken(f"journal {path}: nobody knows what is on the disk after this error: {error}")


def damaged(path: Path, error: Exception) -> JournalBroken:
    """The file itself is wrong."""
    return JournalBroken(
        f"journal {path}: is damaged or no journal: {error}. `cyclone journal verify` says what is wrong with it, "
        "`cyclone journal salvage` saves what can be read of it"
    )
