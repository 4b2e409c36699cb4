"""Folders on a disk that may lose its power: a name lasts only when the folder that it stands in is synced, too."""

import os
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
