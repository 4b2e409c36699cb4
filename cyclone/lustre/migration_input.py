"""The forms in which paths for a migration are listed: a record in, an OST and a path out.

Owns the grammars and how a file's form is found out by its beginning. Opens nothing. Records are bytes, because paths
are; a ``BadRecord`` says what is wrong with one, and that is no reason to stop.

    OST PATH            a line each: 17 /lustre/a file; the OST is decimal, or hexadecimal as 0x11 or OST0011
    OST PATH <NUL>      the same with NUL in place of the line's end, for names that hold one
    OST FID             [0x200000401:0x1:0x0] in place of a path, in both
    CSV                 columns ost, path or fid, and size where it is known; named by a header or by the configuration
"""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# How much of a file its form is looked for in.
SNIFF_BYTES = 64 << 10
RECORD_BYTES_MAX = 64 << 10
OST_INDEX_MAX = 0xFFFF

_RECORD = re.compile(rb"(?:(\d{1,5})|(?:0x|OST)([0-9a-fA-F]{1,4})) (.+)", re.DOTALL)
_OST = re.compile(r"(?:(\d{1,5})|(?:0x|OST)([0-9a-fA-F]{1,4}))", re.IGNORECASE)
_FID = re.compile(rb"\[0x[0-9a-fA-F]{1,16}:0x[0-9a-fA-F]{1,8}:0x[0-9a-fA-F]{1,8}\]")
_CLIMBS = re.compile(rb"(?:^|/)\.\.(?:/|$)")
# Of a CSV, what columns may be called.
_OST_NAMES = ("ost", "ost_index", "ost_idx", "source_ost")
_PATH_NAMES = ("path", "file", "filename")
_SIZE_NAMES = ("size", "bytes", "size_bytes")
_COLUMN_NAMES = {"ost": _OST_NAMES, "path": _PATH_NAMES, "fid": ("fid",), "size": _SIZE_NAMES}


class BadRecord(ValueError):
    """A record that is none; its text says why."""


class Entry(NamedTuple):
    """A file that may be moved. ``path`` holds bytes that are no UTF-8 as surrogate escapes."""

    ost: int
    path: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Form:
    """The form of one file: what ends a record, and of a CSV its columns in order ('' for others) and its delimiter.

    ``skip_bytes`` is how long its header is.
    """

    separator: bytes = b"\n"
    columns: tuple[str, ...] = ()
    delimiter: str = ","
    skip_bytes: int = 0

    def reader(self, fs_path: str) -> Callable[[bytes], Entry]:
        """What makes an Entry of a record, for files below this mount point. It raises BadRecord."""
        root = fs_path.rstrip("/").encode("utf-8", "surrogateescape")
        if self.columns:
            return _CsvReader(self, root).read
        # A name that ends in CR can be listed with NUL; that a file was written on Windows is likelier.
        end = b"\r" if self.separator == b"\n" else b""
        return lambda record: _read_line(record.removesuffix(end), root)


def find_form(beginning: bytes, columns: Sequence[str] = ()) -> Form:
    """The form of a file that begins so; ``columns`` are those of a CSV without a header, and make it one.

    Raises BadRecord where a header lacks a column.
    """
    separator = b"\0" if b"\0" in beginning else b"\n"
    if columns:
        return Form(separator, tuple(columns))
    first = beginning.partition(separator)[0]
    if separator == b"\0" or _RECORD.fullmatch(first):
        return Form(separator)
    text = first.decode("utf-8-sig", "surrogateescape").rstrip("\r")
    for delimiter in ",;\t|":
        names = [cell.strip().strip('"').lower() for cell in text.split(delimiter)]
        known = tuple(next((name for name, ours in _COLUMN_NAMES.items() if cell in ours), "") for cell in names)
        if "ost" in known:
            check_columns(known)
            return Form(separator, known, delimiter, len(first) + 1)
    return Form(separator)


def check_columns(columns: Sequence[str]) -> None:
    """Raises BadRecord where these columns do not say which file is meant."""
    if "ost" not in columns or not {"path", "fid"} & set(columns):
        raise BadRecord(f"columns {', '.join(columns) or 'none'}: ost, and path or fid, are needed; size may be there")
    twice = [name for name in columns if name and columns.count(name) > 1]
    if twice:
        raise BadRecord(f"columns {', '.join(columns)}: {twice[0]} is there twice")
    unknown = [name for name in columns if name and name not in _COLUMN_NAMES]
    if unknown:
        raise BadRecord(f"column {unknown[0]}: expected {', '.join(_COLUMN_NAMES)}, or nothing for one to pass over")


def is_fid(text: str) -> bool:
    """Whether this is a FID, in brackets."""
    return _FID.fullmatch(text.encode("utf-8", "surrogateescape")) is not None


def _read_line(record: bytes, root: bytes) -> Entry:
    found = _RECORD.fullmatch(record)
    if found is None:
        raise BadRecord("expected an OST, a blank and a path")
    decimal, hexadecimal, name = found.groups()
    ost = int(decimal) if decimal else int(hexadecimal, 16)
    return Entry(_checked_ost(ost), _checked_path(name, root), None)


class _CsvReader:
    """Records of one CSV."""

    def __init__(self, form: Form, root: bytes) -> None:
        self._form = form
        self._root = root
        self._at = {name: place for place, name in enumerate(form.columns) if name}

    def read(self, record: bytes) -> Entry:
        """An Entry. Raises BadRecord."""
        text = record.decode("utf-8", "surrogateescape").rstrip("\r")
        try:
            (cells,) = csv.reader([text], delimiter=self._form.delimiter, strict=True)
        except (csv.Error, ValueError) as error:
            raise BadRecord(f"is no CSV: {error}") from None
        if len(cells) < len(self._form.columns):
            raise BadRecord(f"has {len(cells)} columns of {len(self._form.columns)}")
        found = _OST.fullmatch(cells[self._at["ost"]].strip())
        if found is None:
            raise BadRecord(f"{cells[self._at['ost']][:40]!r} is no OST: write 17, 0x11 or OST0011")
        ost = int(found[1]) if found[1] else int(found[2], 16)
        name = cells[self._at["path"]] if "path" in self._at else ""
        name = name or cells[self._at["fid"]].strip() if "fid" in self._at else name
        path = _checked_path(name.encode("utf-8", "surrogateescape"), self._root)
        return Entry(_checked_ost(ost), path, self._size(cells))

    def _size(self, cells: Sequence[str]) -> int | None:
        place = self._at.get("size")
        text = cells[place].strip() if place is not None else ""
        if not text:
            return None
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise BadRecord(f"{text[:40]!r} is no size: write bytes as a whole number")
        return int(text)


def _checked_ost(ost: int) -> int:
    if ost > OST_INDEX_MAX:
        raise BadRecord(f"OST {ost}: there are none above {OST_INDEX_MAX}")
    return ost


def _checked_path(name: bytes, root: bytes) -> str:
    """A path below the mount point, or a FID. Compared as bytes: nothing in it is a pattern."""
    if not name.startswith(root + b"/") and not _FID.fullmatch(name):
        raise BadRecord(f"the path is neither below {root.decode('utf-8', 'backslashreplace')}/ nor a FID")
    if b"\0" in name or _CLIMBS.search(name):
        raise BadRecord("the path holds .. or NUL")
    return name.decode("utf-8", "surrogateescape")
