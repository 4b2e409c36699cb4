"""The folder of a run: its name, its mode, and what is read back from it."""

import stat
from pathlib import Path

import pytest

from cyclone.cli.run_folder import Request, RunFolder
from cyclone.errors import ConfigError

REQUEST = Request("/srv/jobs", "/etc/a.conf", ["db.password=pssst", "control.crash_limit=5"], "/srv/jobs/results.csv")


def test_given_runs_that_start_in_the_same_second_with_the_same_pid_then_each_has_a_folder(tmp_path: Path) -> None:
    folders = [RunFolder.make(tmp_path / "state").path for _ in range(3)]
    assert len(set(folders)) == 3
    assert {folder.parent for folder in folders} == {tmp_path / "state" / "runs"}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (*folders, folders[0].parent)} == {0o700}


def test_given_what_was_asked_for_when_written_twice_then_the_last_one_is_read_back_by_its_owner_alone(
    tmp_path: Path,
) -> None:
    folder = RunFolder.make(tmp_path)
    folder.write(Request("/", "", []))
    folder.write(REQUEST)
    assert RunFolder(folder.path).read() == REQUEST
    (file,) = folder.path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_given_a_state_folder_that_cannot_be_made_then_it_is_named_with_the_key(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/runs: cannot be made: Not a directory; set \[control\] state_dir"):
        RunFolder.make(tmp_path / "file")
