"""Where a journal may lie, and who has it: file systems, folders, modes and the lock.

Owns everything about the files that SQLite does not. The caller owes ``close`` of the lock when the database is closed,
not before.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from cyclone.errors import AlreadyRunning, ConfigError
from cyclone.file_systems import network_fault
from cyclone.folders import make_folder


class FileLock:
    """The lock on ``<file>.lock``: one master at a time. It goes with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(f"journal {path}: {self.path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise AlreadyRunning(
                f"journal {path}: another master has it (process {holder or 'unknown'}): stop that one first"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def close(self) -> None:
        """Unlock. The file stays: removed, two processes could hold a lock on two files of one name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def prepare(path: Path, create: bool) -> None:
    """See to it that the file is there, empty if it was not, in a folder where a journal may lie; or ConfigError."""
    if fault := network_fault(path):
        raise ConfigError(f"journal {path}: {fault}, by [journal] path or [control] state_dir")
    if path.is_dir():
        raise ConfigError(f"journal {path}: is a folder: name a file in it")
    if path.exists():
        return
    if not create:
        raise ConfigError(f"journal {path}: there is no such file")
    try:
        make_folder(path.parent)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise ConfigError(f"journal {path}: cannot be made: {error.strerror}") from None


def size_bytes(path: Path) -> int:
    """How large a journal is with its write-ahead log; 0 where it is not there."""
    size = 0
    for part in (path, path.with_name(f"{path.name}-wal")):
        with contextlib.suppress(FileNotFoundError):
            size += part.stat().st_size
    return size
