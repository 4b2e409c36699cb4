"""What an error of SQLite means for the journal: nothing happened, or nobody knows.

Owns the one table of it. The rule: an error that says that nothing was written, for want of room, may be met by trying
again; after all others, above all after a failed sync, the operating system may have dropped what it had not written,
and a second sync would lie.
"""

from pathlib import Path

import apsw

from cyclone.journal.blocks import DamagedRow
from cyclone.master.journal import JournalBroken, JournalFull

ERRORS = (apsw.Error, DamagedRow)
"""What reading and writing the file can raise, and ``failure`` explains."""

_FOR_WANT_OF_ROOM = {
    apsw.SQLITE_FULL: "the disk is full",
    apsw.SQLITE_IOERR_WRITE: "the disk takes no more (full, a quota or a limit of the file size)",
    apsw.SQLITE_IOERR_TRUNCATE: "the disk takes no more (full, a quota or a limit of the file size)",
    apsw.SQLITE_IOERR_SHMSIZE: "there is no room for the shared memory file",
    apsw.SQLITE_IOERR_SHMOPEN: "the shared memory file cannot be opened",
    apsw.SQLITE_IOERR_NOMEM: "there is no memory",
    apsw.SQLITE_NOMEM: "there is no memory",
}
# Whatever the extended code.
_FOR_WANT_OF_ACCESS = {
    apsw.SQLITE_CANTOPEN: "its files cannot be opened",
    apsw.SQLITE_BUSY: "another program holds it locked",
}
_DAMAGED = (apsw.SQLITE_CORRUPT, apsw.SQLITE_NOTADB)


def failure(error: apsw.Error | DamagedRow, path: Path) -> JournalFull | JournalBroken:
    """What the master is to be told."""
    if isinstance(error, DamagedRow):
        return damaged(path, error)
    code, extended = _codes(error)
    reason = _FOR_WANT_OF_ROOM.get(extended) or _FOR_WANT_OF_ACCESS.get(code)
    if reason:
        return JournalFull(f"journal {path}: {reason}: {error}")
    if code in _DAMAGED:
        return damaged(path, error)
    return JournalBroken(f"journal {path}: nobody knows what is on the disk after this error: {error}")


def damaged(path: Path, error: Exception) -> JournalBroken:
    """The file itself is wrong."""
    return JournalBroken(
        f"journal {path}: is damaged or no journal: {error}. `cyclone journal verify` says what is wrong with it, "
        "`cyclone journal salvage` saves what can be read of it"
    )


def _codes(error: apsw.Error) -> tuple[int, int]:
    # An error of apsw itself, such as the use of a closed connection, has no code.
    return getattr(error, "result", 0), getattr(error, "extendedresult", 0)
