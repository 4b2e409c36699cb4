"""How far a migration is: a small JSON file that its generator replaces now and then, and whoever asks reads.

Owns the file's form. Rates are over the last minutes of this generator's life, so that an estimate follows what
happens now. Knows no wall clock: how old a status is, is the age of its file.
"""

import os
from collections import deque
from pathlib import Path

import msgspec

from cyclone.errors import CycloneError

PAUSED = "paused"
NO_LEVELS = "waiting for fill levels"
RUNNING = "running"
ENDED = "ended"
# What is said of a status whose generator was stopped or killed.
NOBODY = "nobody is at work"
_RATE_OVER_S = 600.0
_SAMPLES_MAX = 600


class OstStatus(msgspec.Struct):
    """One OST in one role. ``fill_percent`` is None where nobody knows it."""

    state: str
    fill_percent: float | None
    streams: int
    streams_permitted: int
    waiting: int = 0


class MigrationStatus(msgspec.Struct):
    """``state`` is one of those above, or waiting for sources or targets; ``left_s`` is None while no rate is known."""

    state: str
    files: int
    waiting: int
    under_way: int
    retrying: int
    outcomes: dict[str, int]
    moved_bytes: int
    bad_records: int
    unindexed_bytes: int
    files_per_s: float
    bytes_per_s: float
    left_s: float | None
    sources: dict[int, OstStatus]
    targets: dict[int, OstStatus]


class Rates:
    """Files and bytes a second, over the last minutes."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=_SAMPLES_MAX)

    def note(self, now: float, files: int, size_bytes: int) -> tuple[float, float]:
        """So many in all by now; the rates."""
        samples = self._samples
        samples.append((now, files, size_bytes))
        while now - samples[0][0] > _RATE_OVER_S:
            samples.popleft()
        began, files_then, bytes_then = samples[0]
        seconds = now - began
        return ((files - files_then) / seconds, (size_bytes - bytes_then) / seconds) if seconds else (0.0, 0.0)


def write_status(path: Path, status: MigrationStatus) -> None:
    """Replace the file; whoever reads it sees the one before or this one."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(msgspec.json.encode(status))
    beside.replace(path)


def read_status(path: Path) -> tuple[MigrationStatus, float]:
    """What was written last, and when, in Unix time. Raises CycloneError."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(), type=MigrationStatus), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        raise CycloneError(f"{path}: no migration has written its status there yet") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise CycloneError(f"{path}: cannot be read as a migration's status: {error}") from error
