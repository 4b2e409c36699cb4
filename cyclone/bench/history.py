"""The last report of each kind of measurement, kept in the state directory so that the next one can say what changed.

Owns the folder ``bench`` there and its files, one for each name that a plan has. What cannot be read, or kept, costs
the comparison and not the measurement.
"""

import datetime
import os
from pathlib import Path
from typing import Any

import msgspec

from cyclone.errors import CycloneError


class Last(msgspec.Struct, frozen=True):
    """``when`` is UTC, for people."""

    when: str
    figures: dict[str, float]


class History:
    """See the module; ``folder`` is made when something is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def last(self, name: str) -> Last | None:
        """The figures of the last time, None where there are none that can be read."""
        try:
            return msgspec.json.decode(self._file(name).read_bytes(), type=Last)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def keep(self, name: str, figures: dict[str, float], report: dict[str, Any]) -> None:
        """Replace those of the last time; the whole report stands beside them. Raises CycloneError."""
        when = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M UTC}"
        file = self._file(name)
        new = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.write_bytes(msgspec.json.encode({"when": when, "figures": figures, "report": report}) + b"\n")
            new.replace(file)
        except OSError as error:
            raise CycloneError(f"{file}: the report cannot be kept for the next time: {error.strerror}") from error

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"
