"""A file that is there as a whole or not at all, whoever reads it and whenever the power fails.

Owns how it is replaced. Its folder must be there.
"""

import contextlib
import os
from pathlib import Path

from cyclone.folders import sync_folder


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Put this in the place of what was there, on the disk when it returns. Raises OSError, and leaves nothing then."""
    # Hidden and under another ending, so that nobody takes it for the file: one writer, so one name is enough.
    made = path.with_name(f".{path.name}.tmp")
    try:
        with open(made, "wb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as file:
            file.write(content)
            file.flush()
            # The umask must not take from those who read it.
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        made.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            made.unlink()
        raise
    sync_folder(path.parent)
