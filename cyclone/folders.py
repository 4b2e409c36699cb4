"""Folders on a disk that may lose its power: a name lasts only when the folder that it stands in is synced, too."""

import errno
import os
import stat
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make what is missing of it, for its owner alone, and have it last. Raises OSError."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
        sync_folder(missing.parent)


def sync_folder(folder: Path) -> None:
    """Make a name that has come or gone in this folder last. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_folder(folder: Path) -> None:
    """Make it, or see that it is one and nobody else's, below a folder where others may write, too. Raises OSError."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "is no folder", str(folder)) from None
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            what = f"belongs to user {found.st_uid} and has mode {stat.S_IMODE(found.st_mode):03o}, not to us alone"
            raise PermissionError(errno.EPERM, what, str(folder)) from None
