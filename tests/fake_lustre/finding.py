"""``lfs find``: the files of a folder, by OST, MDT, type and size."""

import errno
import os
import stat
from collections.abc import Iterator

from tests.fake_lustre.options import Usage, indices, parse, size
from tests.fake_lustre.program import Call

_LONG = {
    "ost": "O",
    "obd": "O",
    "mdt": "m",
    "mdt-index": "m",
    "type": "t",
    "size": "s",
    "print0": "0",
    "print": "P",
    "lazy": "l",
    "maxdepth": "d",
}


def find(call: Call, arguments: list[str]) -> int:
    options, operands = parse(arguments, "O:m:t:s:0Pld:", _LONG, long_only=True)
    asked = dict(options)
    osts = {_number(name, call.state.fs) for name in asked["O"].split(",")} if "O" in asked else None
    mdts = set(indices(asked["m"])) if "m" in asked else None
    depth_max = int(asked.get("d", "-1"))
    end = "\0" if "0" in asked else "\n"
    for root in operands:
        if not os.path.lexists(root):
            call.err(f"lfs find: '{root}': {os.strerror(errno.ENOENT)}")
            return errno.ENOENT
        for path, mode, size_bytes in _walk(root, depth_max):
            if "t" in asked and not _of_type(mode, asked["t"]):
                continue
            if "s" in asked and not _of_size(size_bytes, asked["s"]):
                continue
            if stat.S_ISDIR(mode):
                if osts is not None or (mdts is not None and call.state.mdt_of(call.state.relative(path)) not in mdts):
                    continue
            elif osts is not None or mdts is not None:
                file = call.state.file(path)
                if (osts is not None and not osts & set(file.osts)) or (mdts is not None and file.mdt not in mdts):
                    continue
            call.out(path + end)
        call.flush()
    return 0


def _number(name: str, fs: str) -> int:
    """Of 12, or of lustrefs-OST000c_UUID."""
    try:
        return int(name.removeprefix(f"{fs}-OST").removesuffix("_UUID"), 16) if "OST" in name else int(name)
    except ValueError:
        raise Usage(f"invalid obduuid '{name}'") from None


def _walk(root: str, depth_max: int) -> Iterator[tuple[str, int, int]]:
    found = os.lstat(root)
    yield root, found.st_mode, found.st_size
    if stat.S_ISDIR(found.st_mode) and depth_max:
        for name in sorted(os.listdir(root)):
            yield from _walk(os.path.join(root, name), depth_max - 1)


def _of_type(mode: int, letter: str) -> bool:
    kinds = {"f": stat.S_ISREG, "d": stat.S_ISDIR, "l": stat.S_ISLNK, "p": stat.S_ISFIFO}
    if letter not in kinds:
        raise Usage(f"unknown type '{letter}'")
    return kinds[letter](mode)


def _of_size(size_bytes: int, text: str) -> bool:
    limit_bytes = size(text.lstrip("+-"))
    if text.startswith("+"):
        return size_bytes > limit_bytes
    return size_bytes < limit_bytes if text.startswith("-") else size_bytes == limit_bytes
