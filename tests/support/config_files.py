"""What the tests of the configuration share: a file in its own folder, and the message of its fault."""

from pathlib import Path

import pytest

from cyclone.config import Role, Settings, load
from cyclone.errors import ConfigError

GENERATOR = "[task_generator]\nmodule = gens\nclass = Gen\n"


def separate_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration's folder, with another one to run in, so that the two cannot be taken for each other."""
    for name in ("work", "conf"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "conf"


def write(folder: Path, text: str, name: str = "test.conf") -> Path:
    """The path of a new file."""
    path = folder / name
    path.write_text(text)
    return path


def failure(path: Path | None, role: Role = "controller", *sets: str) -> str:
    """The message with which loading fails."""
    with pytest.raises(ConfigError) as caught:
        load(path, sets, role)
    return str(caught.value)


def origin(settings: Settings, section: str, key: str) -> str:
    """Where a value came from."""
    return next(row.origin for row in settings.rows() if (row.section, row.key) == (section, key))
