"""What an error of SQLite means for the file: nothing happened, the file is wrong, or nobody knows.

Owns the one table of it. The rule: an error that says that nothing was written, for want of room, may be met by trying
again; after all others, above all after a failed sync, the operating system may have dropped what it had not written,
and a second sync would lie.
"""

import apsw

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


def want_of_room(error: apsw.Error) -> str:
    """Why nothing was written, and the same may be tried again later; '' for any other error."""
    code, extended = _codes(error)
    return _FOR_WANT_OF_ROOM.get(extended) or _FOR_WANT_OF_ACCESS.get(code) or ""


def is_damage(error: apsw.Error) -> bool:
    """Whether the file itself is wrong."""
    return _codes(error)[0] in _DAMAGED


def _codes(error: apsw.Error) -> tuple[int, int]:
    # An error of apsw itself, such as the use of a closed connection, has no code.
    return getattr(error, "result", 0), getattr(error, "extendedresult", 0)
