"""What comes out of an archive, and what must never come out of one."""

import contextlib
import io
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclone.bundles import BundleError, unpacking
from cyclone.bundles.unpacking import _Member, _Unpacker, unpack
from tests.support.archives import Entry, make_tar, make_zip

MANY = 1 << 30
PROGRAM = b"#!/bin/sh\n"

Make = Callable[..., Path]


def unpacked(archive: Path, bytes_max: int = MANY) -> Path:
    folder = archive.parent / "files"
    folder.mkdir()
    unpack(archive, folder, bytes_max)
    return folder


def modes(folder: Path) -> dict[str, int]:
    """Of all in it, by name."""
    return {str(p.relative_to(folder)): stat.S_IMODE(p.lstat().st_mode) for p in folder.rglob("*")}


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_given_an_archive_then_its_files_are_there_to_be_read_and_executed_by_us_alone(
    tmp_path: Path, make: Make
) -> None:
    archive = make(
        tmp_path / "archive",
        Entry("bin", kind=tarfile.DIRTYPE, mode=0o777),
        Entry("bin/run", PROGRAM, mode=0o6777),
        Entry("./data/deep/table", b"1,2\n", mode=0o666),
        Entry("empty", mode=0),
    )

    folder = unpacked(archive)

    assert modes(folder) == {
        "bin": 0o500,
        "bin/run": 0o500,
        "data": 0o500,
        "data/deep": 0o500,
        "data/deep/table": 0o400,
        "empty": 0o400,
    }
    assert (folder / "data/deep/table").read_bytes() == b"1,2\n"


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_given_a_compressed_tar_file_then_it_is_known_by_its_content(tmp_path: Path, mode: Any) -> None:
    archive = make_tar(tmp_path / "archive.zip", Entry("a", b"x" * 10_000), mode=mode)

    assert (unpacked(archive) / "a").read_bytes() == b"x" * 10_000


def test_given_a_zip_file_without_modes_then_programs_are_known_by_their_beginning(tmp_path: Path) -> None:
    archive = make_zip(
        tmp_path / "a", Entry("run", PROGRAM), Entry("elf", b"\x7fELF\x02"), Entry("text", b"# !"), unix=False
    )

    assert modes(unpacked(archive)) == {"run": 0o500, "elf": 0o500, "text": 0o400}


def test_given_links_that_stay_inside_then_they_are_there(tmp_path: Path) -> None:
    archive = make_tar(
        tmp_path / "archive",
        Entry("lib/deep/real", b"content"),
        Entry("lib/deep/beside", kind=tarfile.SYMTYPE, target="real"),
        Entry("lib/up", kind=tarfile.SYMTYPE, target="../lib/./deep//real"),
        Entry("top", kind=tarfile.SYMTYPE, target="lib"),
        Entry("same", kind=tarfile.LNKTYPE, target="lib/deep/real"),
    )

    folder = unpacked(archive)

    for name in ("lib/deep/beside", "lib/up", "top/deep/real", "same"):
        assert (folder / name).read_bytes() == b"content"


def test_given_a_link_in_a_zip_file_then_it_is_one(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", Entry("real", b"x"), Entry("link", kind=tarfile.SYMTYPE, target="real"))

    assert (unpacked(archive) / "link").readlink() == Path("real")


HOSTILE = {
    "an absolute name": ([Entry("/tmp/evil", b"x")], "leads to '/tmp/evil', out of its folder"),
    "a name that leads upwards": ([Entry("a/../../evil", b"x")], "leads to 'a/../../evil', out of its folder"),
    "a folder that leads upwards": ([Entry("..", kind=tarfile.DIRTYPE)], "out of its folder"),
    "a name of nothing": ([Entry(".", b"x")], "'.' in it is no name of a file"),
    "a file twice": ([Entry("a", b"x"), Entry("./a", b"y")], "'./a' is in it twice"),
    "a file over a folder": ([Entry("a/b", b"x"), Entry("a", b"y")], "'a' is in it twice"),
    "a file beneath a file": ([Entry("a", b"x"), Entry("a/b", b"y")], "'a/b' in it lies beneath something"),
    "a link to an absolute name": (
        [Entry("a", kind=tarfile.SYMTYPE, target="/etc/passwd")],
        "'a' in it is a link to '/etc/passwd', which leads out",
    ),
    "a link that leads out": ([Entry("d/a", kind=tarfile.SYMTYPE, target="../../x")], "which leads out of its folder"),
    "a link up through another one": (
        [Entry("d", kind=tarfile.SYMTYPE, target="."), Entry("a", kind=tarfile.SYMTYPE, target="d/d/..")],
        "'a' in it is a link to 'd/d/..', which leads out",
    ),
    "a file through a link": (
        [Entry("a", kind=tarfile.SYMTYPE, target="b"), Entry("b", kind=tarfile.DIRTYPE), Entry("a/evil", b"x")],
        "'a/evil' in it lies beneath something that is no folder",
    ),
    "a device": ([Entry("a", kind=tarfile.CHRTYPE)], "'a' in it is neither a file nor a folder nor a link"),
    "a very deep name": ([Entry("d/" * 64 + "a", b"x")], "too deep"),
}


@pytest.mark.parametrize("make", [make_tar, make_zip])
@pytest.mark.parametrize("what", HOSTILE)
def test_given_what_must_not_be_in_an_archive_then_it_is_refused_and_nothing_is_outside(
    tmp_path: Path, make: Make, what: str
) -> None:
    entries, message = HOSTILE[what]

    with pytest.raises(BundleError, match=message):
        unpacked(make(tmp_path / "archive", *entries))

    assert {p.name for p in tmp_path.iterdir()} == {"archive", "files"}


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "later", "link", "folder"])
def test_given_a_hard_link_to_anything_but_a_file_before_it_then_it_is_refused(tmp_path: Path, target: str) -> None:
    archive = make_tar(
        tmp_path / "archive",
        Entry("folder", kind=tarfile.DIRTYPE),
        Entry("link", kind=tarfile.SYMTYPE, target="later"),
        Entry("a", kind=tarfile.LNKTYPE, target=target),
        Entry("later", b"x"),
    )

    with pytest.raises(BundleError, match="'a' in it"):
        unpacked(archive)


@pytest.mark.parametrize(("make", "written"), [(make_tar, ["a"]), (make_zip, [])])
def test_given_more_bytes_than_agreed_then_no_file_is_begun_of_which_that_is_known(
    tmp_path: Path, make: Make, written: list[str]
) -> None:
    archive = make(tmp_path / "archive", Entry("a", bytes(600_000)), Entry("b", bytes(600_000)))

    with pytest.raises(BundleError, match="unpacked it has 1,200,000 bytes or more, and may have 1,000,000"):
        unpacked(archive, 1_000_000)

    assert list(modes(tmp_path / "files")) == written


def test_given_more_bytes_in_a_file_than_it_says_then_unpacking_ends(tmp_path: Path) -> None:
    member = _Member("a", "file", size_bytes=1, open=lambda: io.BytesIO(bytes(3_000_000)))

    with pytest.raises(BundleError, match=r"unpacked it has 2,097,152 bytes or more, and may have 1,500,000"):
        _Unpacker(tmp_path, 1_500_000).add(member)


@pytest.mark.parametrize(("make", "written"), [(make_tar, 4), (make_zip, 0)])
def test_given_more_files_than_allowed_then_unpacking_ends_and_of_a_zip_file_nothing_is_written(
    tmp_path: Path, make: Make, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "FILES_MAX", 3)

    with pytest.raises(BundleError, match="it has 4 files and folders or more, and may have 3"):
        unpacked(make(tmp_path / "archive", *(Entry(f"f{number}") for number in range(4))))

    assert len(modes(tmp_path / "files")) == written


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_given_more_folders_than_allowed_in_the_names_of_few_files_then_unpacking_ends(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "FILES_MAX", 7)
    fits = (Entry("a/b/c", kind=tarfile.DIRTYPE), Entry("a", kind=tarfile.DIRTYPE), Entry("a/b/x"), Entry("d/e/y"))
    (tmp_path / "fitting").mkdir()
    unpack(make(tmp_path / "fits", *fits), tmp_path / "fitting", MANY)

    with pytest.raises(BundleError, match="it has 8 files and folders or more, and may have 7"):
        unpacked(make(tmp_path / "archive", *fits, Entry("z")))


def _truncated(archive: Path) -> Path:
    archive.write_bytes(archive.read_bytes()[:-2000])
    return archive


def _flipped(archive: Path) -> Path:
    content = bytearray(archive.read_bytes())
    content[60] ^= 0xFF
    archive.write_bytes(content)
    return archive


def _plain(path: Path) -> Path:
    path.write_bytes(b"this is no archive at all\n" * 100)
    return path


def _encrypted(path: Path) -> Path:
    archive = bytearray(make_zip(path, Entry("a", b"x" * 100)).read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        archive[archive.index(header) + flags] |= 1
    path.write_bytes(archive)
    return path


def _empty(path: Path) -> Path:
    path.touch()
    return path


CONTENT = Entry("a", os.urandom(20_000))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_plain, "^it is neither a zip nor a tar file$"),
        (_empty, "^it is neither a zip nor a tar file$"),
        (lambda path: _truncated(make_tar(path, CONTENT, mode="w:gz")), "the archive is malformed"),
        (lambda path: _truncated(make_tar(path, CONTENT, mode="w:xz")), "the archive is malformed"),
        (lambda path: _truncated(make_zip(path, CONTENT)), "the archive is malformed"),
        (lambda path: _flipped(make_zip(path, CONTENT)), "the archive is malformed"),
        (_encrypted, "'a' in it is encrypted"),
    ],
)
def test_given_a_broken_archive_then_the_failure_says_so(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        unpacked(make(tmp_path / "archive"))


def test_given_a_tar_file_that_ends_with_a_zip_file_then_it_is_a_tar_file(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as zipped:
        zipped.writestr("evil", "x")
    archive = make_tar(tmp_path / "archive", Entry("a.zip", inner.getvalue()))

    assert list(modes(unpacked(archive))) == ["a.zip"]


PATHS = st.lists(st.sampled_from(["a", "b", "..", "."]), min_size=1, max_size=3).map("/".join)
KINDS = st.sampled_from(["file", "folder", "link", "link", "hard link"])
MEMBERS = st.builds(_Member, PATHS, KINDS, target=PATHS, open=st.just(io.BytesIO))


@given(members=st.lists(MEMBERS, min_size=1, max_size=6))
@settings(max_examples=20, deadline=None)
def test_given_any_members_then_nothing_is_outside_and_no_link_leads_there(members: list[_Member]) -> None:
    with tempfile.TemporaryDirectory() as name:
        around = Path(name).resolve()
        folder = around / "files"
        folder.mkdir()
        unpacker = _Unpacker(folder, MANY)
        for member in members:
            with contextlib.suppress(BundleError):
                unpacker.add(member)

        assert list(around.iterdir()) == [folder]
        leads_to = [os.path.realpath(place) for place in folder.rglob("*") if place.is_symlink()]
        assert [place for place in leads_to if not Path(place).is_relative_to(folder)] == []
