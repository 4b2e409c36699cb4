"""Where a journal may lie."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from cyclone import file_systems
from cyclone.errors import ConfigError
from cyclone.journal import open_journal
from tests.support.journals import ORIGIN


def mount(monkeypatch: pytest.MonkeyPatch, *mounts: tuple[str, str]) -> None:
    partitions = [SimpleNamespace(mountpoint=point, fstype=kind) for point, kind in (("/", "ext4"), *mounts)]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: partitions)  # noqa: A006 -- psutil's name


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "ceph", "beegfs", "fuse.sshfs", "9p", "afs", "ocfs2"]
)
def test_given_a_network_file_system_then_it_is_refused_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mount(monkeypatch, (str(tmp_path), kind))
    with pytest.raises(ConfigError, match=rf"{tmp_path} is a network file system \({kind}\).*a local disk"):
        open_journal(tmp_path / "runs" / "1" / "journal.sqlite", ORIGIN)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["ext4", "xfs", "tmpfs", "zfs", "fuseblk", "overlay"])
def test_given_a_local_file_system_then_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mount(monkeypatch, (str(tmp_path), kind))
    open_journal(tmp_path / "journal.sqlite", ORIGIN).close()


def test_given_mounts_within_mounts_then_the_innermost_and_uppermost_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    mount(monkeypatch, (str(inner), "xfs"), (str(tmp_path), "nfs"), (str(inner), "btrfs"), (str(tmp_path / "in"), "9p"))
    assert file_systems.file_system(inner / "new" / "journal") == ("btrfs", str(inner))
    assert file_systems.file_system(tmp_path / "journal") == ("nfs", str(tmp_path))


def test_given_a_link_to_a_network_file_system_then_it_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to("far")
    mount(monkeypatch, (str(tmp_path / "far"), "nfs"))
    assert file_systems.file_system(tmp_path / "near" / "journal")[0] == "nfs"


def test_given_folders_that_are_missing_then_they_are_made_for_the_owner_alone(tmp_path: Path) -> None:
    open_journal(tmp_path / "a" / "b" / "journal.sqlite", ORIGIN).close()
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o700, 0o700]


def test_given_a_folder_as_the_file_then_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        open_journal(tmp_path, ORIGIN)


def test_given_a_place_where_nothing_can_be_made_then_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made"):
        open_journal(tmp_path / "file" / "journal.sqlite", ORIGIN)
