"""Folders whose names last."""

import os
from pathlib import Path

import pytest

from cyclone.folders import make_folder, private_folder


def test_given_a_folder_below_others_that_are_missing_when_made_then_each_name_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    folder = tmp_path / "a" / "b" / "c"
    make_folder(folder)
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert folder.stat().st_mode & 0o777 == 0o700
    make_folder(folder)
    assert len(synced) == 3


def test_given_a_private_folder_then_it_is_made_for_us_alone_and_found_again(tmp_path: Path) -> None:
    for _ in range(2):
        private_folder(tmp_path / "ours")
    assert (tmp_path / "ours").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("what", "message"), [("open", "has mode 770"), ("link", "is no folder"), ("file", "is no fol")]
)
def test_given_what_others_could_have_put_there_then_it_is_no_private_folder(
    tmp_path: Path, what: str, message: str
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o770)
    (tmp_path / "ours").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("ours")
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match=message):
        private_folder(tmp_path / what)
