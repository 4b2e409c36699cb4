"""The paths whose migration failed, as a file that can be an input file again.

Owns the file and its size: what a crash has made the migration forget is cut off, and comes again.
"""

import os
from pathlib import Path

from cyclone.errors import CycloneError


class FailedList:
    """A line ``<OST> <path>`` for each. A name that holds the line's end is not listed: such lines would be two."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self.size = 0

    def begin(self) -> None:
        """Go on behind what earlier runs have left."""
        if self._path.exists():
            self.size = self._path.stat().st_size

    def resume(self, size: int) -> None:
        """Go on at this size."""
        self.size = size
        if self._path.exists() and self._path.stat().st_size > size:
            os.truncate(self._path, size)

    def add(self, ost: int, path: str) -> None:
        """Note one."""
        line = f"{ost} {path}\n".encode("utf-8", "surrogateescape")
        if line.count(b"\n") > 1:
            return
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self.size += os.write(self._file, line)
        except OSError as error:
            raise CycloneError(f"{self._path}: cannot be written: {error.strerror}") from error
