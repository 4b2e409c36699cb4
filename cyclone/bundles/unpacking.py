"""An archive that somebody has sent, unpacked into a folder of our own, and nothing of it anywhere else.

Owns what may be in it: files, folders, and links that stay inside. Names that are absolute or lead upwards, links that
lead out, devices, a file twice, and more than was agreed end the unpacking. What comes out is only to be read and
executed, by its owner alone: no setuid, no writing. Its caller owes a new folder, and removes it after a failure.

Zip and tar files come to the same here, and what is allowed is less than tarfile's data filter allows, which some of
the Pythons that we support do not have.
"""

import contextlib
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cyclone.bundles import BundleError

FILES_MAX = 100_000
"""How many files, folders and links a bundle may have."""

_DEPTH_MAX = 64
_BLOCK_BYTES = 1 << 20
_LINK_BYTES_MAX = 4096
_EXECUTABLES = (b"#!", b"\x7fELF")
_MALFORMED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    struct.error,
    NotImplementedError,  # a compression that zipfile does not know
    UnicodeError,
    ValueError,
)


@dataclass(frozen=True)
class _Member:
    """One of an archive. ``mode`` is None where the archive knows none, ``target`` what a link leads to.

    ``size_bytes`` is what the archive says of a file.
    """

    name: str
    kind: str  # "file", "folder", "link", "hard link"
    mode: int | None = None
    target: str = ""
    size_bytes: int = 0
    open: Callable[[], IO[bytes]] | None = None


def unpack(archive: Path, folder: Path, bytes_max: int) -> None:
    """Unpack a zip or tar file. Raises BundleError with the reason why not."""
    unpacker = _Unpacker(folder, bytes_max)
    try:
        with _members(archive, bytes_max) as members:
            for member in members:
                unpacker.add(member)
        unpacker.finish()
    except _MALFORMED as error:
        raise BundleError(f"the archive is malformed: {error or type(error).__name__}") from error
    except OSError as error:
        raise BundleError(f"the archive cannot be unpacked: {error}") from error


class _Unpacker:
    """Puts one member after the other in its place, never through a link, never over another."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._members = 0
        self._others = 0
        self._size = 0
        self._folder = folder
        self._bytes_max = bytes_max
        # Those that we have made, and so no links: () is the folder itself.
        self._folders: set[tuple[str, ...]] = {()}
        self._files: set[tuple[str, ...]] = set()

    def add(self, member: _Member) -> None:
        """BundleError where it must not be there."""
        place = _place(member.name, member.name)
        if member.kind == "folder":
            self._make_folder(place, member.name)
        else:
            self._put(member, place)
            self._others += 1
        self._members += 1
        # Folders also come with the names of what is in them, and a member may say nothing new.
        _check_count(max(self._members, len(self._folders) - 1 + self._others))

    def finish(self) -> None:
        """Nobody is to write into it any more: many tasks share it."""
        for place in sorted(self._folders, key=len, reverse=True):
            self._folder.joinpath(*place).chmod(0o500)

    def _put(self, member: _Member, place: tuple[str, ...]) -> None:
        if not place:
            raise BundleError(f"{member.name!r} in it is no name of a file")
        self._make_folder(place[:-1], member.name)
        path = self._folder.joinpath(*place)
        try:
            if member.kind == "link":
                path.symlink_to(_inside(member, place))
            elif member.kind == "hard link":
                self._link(member, place)
            else:
                self._write(member, path)
                self._files.add(place)
        except FileExistsError:
            raise BundleError(f"{member.name!r} is in it twice") from None

    def _make_folder(self, place: tuple[str, ...], name: str) -> None:
        for length in range(len(place) + 1):
            part = place[:length]
            if part not in self._folders:
                try:
                    self._folder.joinpath(*part).mkdir(mode=0o700)
                except FileExistsError:
                    raise BundleError(f"{name!r} in it lies beneath something that is no folder") from None
                self._folders.add(part)

    def _link(self, member: _Member, place: tuple[str, ...]) -> None:
        target = _place(member.target, member.name)
        if target not in self._files:
            raise BundleError(f"{member.name!r} in it is a link to {member.target!r}, which is no file before it")
        os.link(self._folder.joinpath(*target), self._folder.joinpath(*place), follow_symlinks=False)
        self._files.add(place)

    def _write(self, member: _Member, path: Path) -> None:
        assert member.open is not None
        _check_size(self._size + member.size_bytes, self._bytes_max)
        begin = b""
        with member.open() as source, open(path, "xb") as file:
            # What the archive says of its size is not believed.
            while block := source.read(_BLOCK_BYTES):
                begin = begin or block[:4]
                self._size += len(block)
                _check_size(self._size, self._bytes_max)
                file.write(block)
            executable = begin.startswith(_EXECUTABLES) if member.mode is None else member.mode & 0o111
            os.fchmod(file.fileno(), 0o500 if executable else 0o400)


def _check_count(count: int) -> None:
    """BundleError where it has so many files, folders and links, or more, and that is too much."""
    if count > FILES_MAX:
        raise BundleError(f"it has {count:,} files and folders or more, and may have {FILES_MAX:,}")


def _check_size(size_bytes: int, bytes_max: int) -> None:
    """The same of what they take."""
    if size_bytes > bytes_max:
        raise BundleError(f"unpacked it has {size_bytes:,} bytes or more, and may have {bytes_max:,}")


def _place(name: str, of: str) -> tuple[str, ...]:
    """The parts of a name that leads downwards, and of nothing else."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts or "\0" in name or len(parts) > _DEPTH_MAX:
        raise BundleError(f"{of!r} in it leads to {name!r}, out of its folder or too deep")
    return parts


def _inside(member: _Member, place: tuple[str, ...]) -> str:
    """Where a symbolic link leads to. It may go up at its beginning only.

    Farther on, what is left might be a link itself, and ".." lead elsewhere than the name says.
    """
    parts = [part for part in member.target.split("/") if part not in ("", ".")]
    ups = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    outside = member.target.startswith("/") or ups > len(place) - 1 or ".." in parts[ups:]
    if outside or "\0" in member.target or not member.target or len(member.target) > _LINK_BYTES_MAX:
        raise BundleError(f"{member.name!r} in it is a link to {member.target!r}, which leads out of its folder")
    return member.target


@contextlib.contextmanager
def _members(archive: Path, bytes_max: int) -> Iterator[Iterator[_Member]]:
    """What is in it, one after the other. Too much of it is refused before the first one where that can be known."""
    with open(archive, "rb") as file:
        begin = file.read(4)
        file.seek(0)
        # By its beginning: a tar file may well end with a zip file.
        if begin in (b"PK\x03\x04", b"PK\x05\x06"):
            with zipfile.ZipFile(file) as zipped:
                found = zipped.infolist()
                _check_count(len(found))
                _check_size(sum(info.file_size for info in found), bytes_max)
                yield map(lambda info: _zip_member(zipped, info), found)
        else:
            with _opened_tar(file) as tar:
                yield map(lambda info: _tar_member(tar, info), tar)


def _opened_tar(file: IO[bytes]) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r:*")
    except tarfile.ReadError as error:
        # It says of each compression why it is not that.
        raise BundleError("it is neither a zip nor a tar file") from error


def _zip_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if info.flag_bits & 1:
        raise BundleError(f"{info.filename!r} in it is encrypted")
    if kind == stat.S_IFLNK:
        with zipped.open(info) as file:
            return _Member(info.filename, "link", target=os.fsdecode(file.read(_LINK_BYTES_MAX + 1)))
    if info.is_dir():
        return _Member(info.filename, "folder")
    if kind not in (0, stat.S_IFREG):
        raise BundleError(f"{info.filename!r} in it is neither a file nor a folder nor a link")
    return _Member(info.filename, "file", mode or None, size_bytes=info.file_size, open=lambda: zipped.open(info))


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    if info.isdir():
        return _Member(info.name, "folder")
    if info.issym():
        return _Member(info.name, "link", target=info.linkname)
    if info.islnk():
        return _Member(info.name, "hard link", target=info.linkname)
    if not info.isreg():
        raise BundleError(f"{info.name!r} in it is neither a file nor a folder nor a link")

    def opened() -> IO[bytes]:
        file = tar.extractfile(info)
        assert file is not None
        return file

    return _Member(info.name, "file", info.mode, size_bytes=info.size, open=opened)
