"""A file that is there as a whole or not at all."""

import os
from pathlib import Path

import pytest

from cyclone.sinks.whole_file import replace_file


def test_given_a_file_when_replaced_then_who_has_it_open_reads_the_former_one_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"former", 0o644)
    with path.open("rb") as reader:
        replace_file(path, b"new", 0o644)
        assert reader.read() == b"former"
    assert path.read_bytes() == b"new"


def test_given_an_error_while_it_is_written_then_the_former_one_stays_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    replace_file(path, b"former", 0o644)

    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output error"):
        replace_file(path, b"new", 0o644)

    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


def test_given_what_a_kill_has_left_then_it_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / ".file.tmp").write_bytes(b"half of something longer")

    replace_file(path, b"new", 0o600)

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_given_a_link_in_the_place_of_the_temporary_file_then_it_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / ".file.tmp").symlink_to(tmp_path / "victim")

    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        replace_file(tmp_path / "file", b"new", 0o644)

    assert (tmp_path / "victim").read_bytes() == b"precious"
