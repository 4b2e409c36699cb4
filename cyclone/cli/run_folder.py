"""The folder of one ``cyclone run``: where its journal stands, and what it takes to continue it.

Owns the folder's name, its mode and the file ``run.json``. What the journal holds, and whether a configuration still
fits it, is the journal's to say.
"""

import datetime
import itertools
import os
import shutil
from pathlib import Path
from typing import Self

import msgspec

from cyclone.cli import common
from cyclone.errors import ConfigError

_REQUEST = "run.json"
_JOURNAL = "journal.sqlite"


class Request(msgspec.Struct, frozen=True):
    """What a run was asked for. ``directory`` is where it runs: relative paths, also those in tasks, start there.

    ``overrides`` are all that was set on the command line, in order.
    """

    directory: str
    config_file: str
    overrides: list[str]
    results: str | None = None


class RunFolder:
    """See the module. ``path`` is absolute."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @classmethod
    def make(cls, state_dir: Path) -> Self:
        """A new one in the state directory, named by time and process. Raises ConfigError."""
        runs = common.make_private_folder(state_dir / "runs").absolute()
        name = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"
        # Two containers that share a home may well start in the same second with the same process id.
        for number in itertools.count(1):
            path = runs / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            except OSError as error:
                raise ConfigError(f"run folder {path}: cannot be made: {error.strerror}") from None
            return cls(path)
        raise AssertionError("there is always another number")

    @property
    def journal(self) -> Path:
        """Where its journal stands."""
        return self.path / _JOURNAL

    def read(self) -> Request:
        """What the run was asked for. Raises ConfigError where this is not the folder of a run."""
        file = self.path / _REQUEST
        try:
            return msgspec.json.decode(file.read_bytes(), type=Request)
        except FileNotFoundError:
            raise ConfigError(
                f"{self.path} is not the folder of a run, it has no {_REQUEST}: give the one that cyclone run has named"
            ) from None
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} is not what cyclone run has written: {error}") from None

    def write(self, request: Request) -> None:
        """Keep what the run is asked for, for the next time. It may hold secrets, as a command line may."""
        new = self.path / f"{_REQUEST}.new"
        try:
            with open(new, "wb", opener=_private) as file:
                file.write(msgspec.json.format(msgspec.json.encode(request)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path / _REQUEST)
        except OSError as error:
            raise ConfigError(f"{new} cannot be written: {error.strerror}") from None

    def remove(self) -> None:
        """It was made for nothing."""
        shutil.rmtree(self.path)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
