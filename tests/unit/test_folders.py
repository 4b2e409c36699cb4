"""Folders whose names last."""

import os
from pathlib import Path

import pytest

from cyclone.folders import make_folder


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
