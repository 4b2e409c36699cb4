"""Where the paths of an input file begin, by OST, on disk: 8 bytes for each of them.

Owns the format of an index file. It grows by segments, each of which covers a stretch of the input, is on disk before
anything is taken from it, and tells how far the input has been read. What a crash has torn is cut off when it is
opened, and made again: the same input gives the same index. The caller owes segments in the order of the input.

    segment = head, directory, offsets
    head = magic, CRC of head and directory, CRC of the offsets, end in the input, bytes of bad records so far,
           paths, bad records, OSTs
    directory = (OST, paths) of each OST; offsets = 8 bytes of each path, those of the first OST first
"""

import os
import struct
import zlib
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_MAGIC = b"CyP1"
_HEAD = struct.Struct("<4sIIQQIII")
_CHECKED_FROM = 8
_ROW = struct.Struct("<HI")
_OFFSET_BYTES = 8


class Run(NamedTuple):
    """Paths of one OST in one segment: how many, and where in the index file their offsets are."""

    ost: int
    paths: int
    position: int


class FileIndex:
    """See the module. ``input_end`` is how far the input is covered; ``paths`` and ``bad`` are counted up to there."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.input_end = 0
        self.bad_bytes = 0
        self.paths = 0
        self.bad = 0
        self._size = 0

    def close(self) -> None:
        """Nothing more is read from it."""
        os.close(self._file)

    def recover(self) -> Iterator[list[Run]]:
        """The runs of each segment that is whole; the rest is cut off. Owed once, before all else."""
        size = os.fstat(self._file).st_size
        while found := self._segment(self._size, size):
            runs, self._size = found
            yield runs
        os.ftruncate(self._file, self._size)

    def append(self, input_end: int, offsets: Mapping[int, "array[int]"], bad: int, bad_bytes: int) -> list[Run]:
        """Add a segment that covers the input up to here; it is on disk on return. ``bad`` counts its bad records.

        ``bad_bytes`` is how many bytes of bad records there are in all.
        """
        paths = sum(map(len, offsets.values()))
        directory = b"".join(_ROW.pack(ost, len(found)) for ost, found in offsets.items())
        data = b"".join(found.tobytes() for found in offsets.values())
        fields = (input_end, bad_bytes, paths, bad, len(offsets))
        unchecked = _HEAD.pack(_MAGIC, 0, zlib.crc32(data), *fields)
        crc = zlib.crc32(unchecked[_CHECKED_FROM:] + directory)
        head = _HEAD.pack(_MAGIC, crc, zlib.crc32(data), *fields)
        self._write(head + directory + data)
        os.fdatasync(self._file)
        position = self._size + len(head) + len(directory)
        self._count(*fields[:4])
        self._size = position + len(data)
        return list(_runs(((ost, len(found)) for ost, found in offsets.items()), position))

    def offsets(self, position: int, count: int) -> "array[int]":
        """So many offsets of a run from a position on."""
        found = array("Q", os.pread(self._file, count * _OFFSET_BYTES, position))
        if len(found) != count:
            raise OSError(f"the index ends at {position}, where {count} paths are due")
        return found

    def _write(self, data: bytes) -> None:
        view, at = memoryview(data), self._size
        while view:
            written = os.pwrite(self._file, view, at)
            view, at = view[written:], at + written

    def _segment(self, at: int, size: int) -> tuple[list[Run], int] | None:
        """The runs of the segment that begins here and where it ends; None where there is no whole one."""
        head = os.pread(self._file, _HEAD.size, at)
        if len(head) < _HEAD.size:
            return None
        magic, crc, data_crc, input_end, bad_bytes, paths, bad, osts = _HEAD.unpack(head)
        directory = os.pread(self._file, osts * _ROW.size, at + _HEAD.size)
        position = at + _HEAD.size + osts * _ROW.size
        end = position + paths * _OFFSET_BYTES
        if magic != _MAGIC or crc != zlib.crc32(head[_CHECKED_FROM:] + directory) or end > size:
            return None
        # Only the last one can be torn: those before it were on disk when it was begun.
        if end == size and zlib.crc32(os.pread(self._file, end - position, position)) != data_crc:
            return None
        self._count(input_end, bad_bytes, paths, bad)
        return list(_runs(_ROW.iter_unpack(directory), position)), end

    def _count(self, input_end: int, bad_bytes: int, paths: int, bad: int) -> None:
        self.input_end, self.bad_bytes = input_end, bad_bytes
        self.paths += paths
        self.bad += bad


def _runs(counts: Iterator[tuple[int, int]], position: int) -> Iterator[Run]:
    for ost, count in counts:
        yield Run(ost, count, position)
        position += count * _OFFSET_BYTES
