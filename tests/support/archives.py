"""Archives as tests need them: what the usual tools make, and what they would never make."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple


class Entry(NamedTuple):
    """One in a zip or tar file: a file, or what ``kind`` says (SYMTYPE, LNKTYPE, FIFOTYPE, CHRTYPE, DIRTYPE of tar)."""

    name: str
    content: bytes = b""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE
    target: str = ""


def make_tar(path: Path, *entries: Entry, mode: Literal["w:", "w:gz", "w:bz2", "w:xz"] = "w:") -> Path:
    """A tar file, written in this mode of tarfile's."""
    with tarfile.open(path, mode) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.size, info.mode, info.type, info.linkname = len(entry.content), entry.mode, entry.kind, entry.target
            tar.addfile(info, io.BytesIO(entry.content))
    return path


def make_zip(path: Path, *entries: Entry, unix: bool = True) -> Path:
    """A zip file, ``unix``: with modes; other kinds than files, folders and symbolic links become devices."""
    kinds = {tarfile.REGTYPE: stat.S_IFREG, tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for entry in entries:
            info = zipfile.ZipInfo(entry.name + ("/" if entry.kind == tarfile.DIRTYPE else ""))
            info.compress_type = zipfile.ZIP_DEFLATED
            # Without modes as DOS has it: 0x20 is "to be archived".
            info.external_attr = (kinds.get(entry.kind, stat.S_IFCHR) | entry.mode) << 16 if unix else 0x20
            zipped.writestr(info, entry.target.encode() if entry.kind == tarfile.SYMTYPE else entry.content)
    return path
