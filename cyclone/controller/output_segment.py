"""One file of what tasks have printed: records one behind the other, and behind the last of them where each task's are.

Owns the format. A segment is *open* while it grows: then only this process knows what is in it, in 28 bytes for each
record. *Sealed*, it has its index at its end, sorted, and is only read. One that was left open, by a kill, is read once
from its beginning to where it makes sense no more, and sealed there.
"""

import contextlib
import mmap
import os
import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

RECORD_BYTES_MAX = 64 * 1024
"""The most that one record may hold."""

_MAGIC = b"CYCOUT1\n"
_HEADER_BYTES = len(_MAGIC) + 16
# The checksum of what follows it, the number of bytes printed, task id, lease, where they begin in the output, stream.
_RECORD = struct.Struct("<IIQQQB")
_CHECKSUM_BYTES = 4
# Where the index begins, how many records it has.
_FOOTER = struct.Struct("<QQ8s")
_ROW_BYTES = 8 + 8 + 8 + 4


class Record(NamedTuple):
    """A piece of what a task has printed in a lease: from ``offset`` on, to one stream."""

    task_id: int
    lease: int
    offset: int
    stream: int
    data: bytes


class Place(NamedTuple):
    """Where a record is, and what of it must be known to choose it."""

    lease: int
    offset: int
    position: int


class Segment:
    """``open_new`` makes one, ``reopen`` takes up what another process has left. ``size`` is that of its file."""

    def __init__(self, path: Path, size: int, low: int, high: int) -> None:
        self.path = path
        self.size = size
        # All ids in it are within these.
        self._low, self._high = low, high
        self._file: int | None = None
        self._unwritten = bytearray()
        self._written_rows = 0
        self._ids, self._leases = array("Q"), array("Q")
        self._offsets, self._positions = array("Q"), array("I")

    @classmethod
    def open_new(cls, path: Path, scope: bytes) -> Self:
        """A new file, for ``append``. Raises OSError."""
        segment = cls(path, _HEADER_BYTES, (1 << 64) - 1, 0)
        segment._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write(segment._file, _MAGIC + scope)
        except OSError:
            segment.remove()
            raise
        return segment

    @classmethod
    def reopen(cls, path: Path, scope: bytes) -> "Self | None":
        """What is in the file, sealed; None where it is not ours, or of something else. Raises OSError."""
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if os.pread(file, _HEADER_BYTES, 0) != _MAGIC + scope:
                return None
            size = os.fstat(file).st_size
            start, count, magic = _footer(file, size)
            if magic == _MAGIC and start + count * _ROW_BYTES + _FOOTER.size == size and count:
                ends = os.pread(file, 8, start), os.pread(file, 8, start + 8 * (count - 1))
                low, high = (int.from_bytes(end, "little") for end in ends)
                return cls(path, size, low, high)
            segment = cls(path, _HEADER_BYTES, (1 << 64) - 1, 0)
            segment._recover(file, size)
            segment._file = os.dup(file)
        finally:
            os.close(file)
        if not segment._ids:
            segment.close()
            return None
        segment.seal()
        return segment

    def append(self, record: Record) -> None:
        """Keep it; it is in the file after ``write``."""
        self._note(record.task_id, record.lease, record.offset, self.size)
        packed = _pack(record)
        self._unwritten += packed
        self.size += len(packed)

    def write(self) -> None:
        """Have everything in the file. Raises OSError, and then has what was there before."""
        if not self._unwritten:
            return
        assert self._file is not None
        unwritten, self._unwritten = self._unwritten, bytearray()
        try:
            _write(self._file, unwritten)
        except OSError:
            self.size -= len(unwritten)
            for column in self._columns:
                del column[self._written_rows :]
            # What a full disk has taken of it is no record, and whatever follows it would never be found.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self.size)
            raise
        self._written_rows = len(self._ids)

    def seal(self) -> int:
        """It grows no more. How many bytes its index takes; raises OSError where that cannot be written."""
        assert self._file is not None
        self.write()
        ids, leases, positions = self._ids, self._leases, self._positions
        order = sorted(range(len(ids)), key=lambda row: (ids[row], leases[row], positions[row]))
        index = b"".join(array(each.typecode, map(each.__getitem__, order)).tobytes() for each in self._columns)
        footer = _FOOTER.pack(self.size, len(ids), _MAGIC)
        try:
            _write(self._file, index + footer)
        finally:
            self.close()
        self.size += len(index) + len(footer)
        return len(index)

    def close(self) -> None:
        """Of an open one, nothing more comes; what was appended may be lost."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        for column in self._columns:
            del column[:]

    def remove(self) -> None:
        """The file goes."""
        self.close()
        self.path.unlink(missing_ok=True)

    def places(self, task_id: int) -> list[Place]:
        """Where the records of a task are, in the order in which they came within each lease. ``write`` is owed."""
        if not self._low <= task_id <= self._high:
            return []
        return self._places_by_looking(task_id) if self._file is not None else self._places_by_index(task_id)

    def read(self, task_id: int, places: list[Place]) -> Iterator[Record]:
        """The records at these places; those that are damaged are left out. Raises OSError."""
        with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for place in places:
                record = _unpack(content, place.position)
                if record and (record.task_id, record.lease, record.offset) == (task_id, place.lease, place.offset):
                    yield record

    @property
    def _columns(self) -> "tuple[array[int], array[int], array[int], array[int]]":
        return self._ids, self._leases, self._offsets, self._positions

    def _note(self, task_id: int, lease: int, offset: int, position: int) -> None:
        for column, value in zip(self._columns, (task_id, lease, offset, position), strict=True):
            column.append(value)
        self._low, self._high = min(self._low, task_id), max(self._high, task_id)

    def _recover(self, file: int, size: int) -> None:
        """Note every record up to the first that is none, and cut the file there."""
        with mmap.mmap(file, size, access=mmap.ACCESS_READ) as content:
            while record := _unpack(content, self.size):
                self._note(record.task_id, record.lease, record.offset, self.size)
                self.size += _RECORD.size + len(record.data)
        self._written_rows = len(self._ids)
        os.ftruncate(file, self.size)

    def _places_by_looking(self, task_id: int) -> list[Place]:
        found, row = [], -1
        with contextlib.suppress(ValueError):  # there is no further one
            while True:
                row = self._ids.index(task_id, row + 1)
                found.append(Place(self._leases[row], self._offsets[row], self._positions[row]))
        return found

    def _places_by_index(self, task_id: int) -> list[Place]:
        with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start, count, _ = _FOOTER.unpack_from(content, len(content) - _FOOTER.size)
            with memoryview(content) as whole:
                ids = whole[start : start + count * 8].cast("Q")
                leases = whole[start + count * 8 : start + count * 16].cast("Q")
                offsets = whole[start + count * 16 : start + count * 24].cast("Q")
                positions = whole[start + count * 24 : start + count * _ROW_BYTES].cast("I")
                rows = range(bisect_left(ids, task_id), bisect_right(ids, task_id))
                found = [Place(leases[row], offsets[row], positions[row]) for row in rows]
                for column in (ids, leases, offsets, positions):
                    column.release()
        return found


def _pack(record: Record) -> bytes:
    rest = (len(record.data), record.task_id, record.lease, record.offset, record.stream)
    packed = _RECORD.pack(0, *rest)[_CHECKSUM_BYTES:] + record.data
    return zlib.crc32(packed).to_bytes(_CHECKSUM_BYTES, "little") + packed


def _unpack(content: "mmap.mmap", position: int) -> Record | None:
    """The record that begins here, None where there is none."""
    begin = position + _RECORD.size
    if begin > len(content):
        return None
    checksum, length, task_id, lease, offset, stream = _RECORD.unpack_from(content, position)
    end = begin + length
    if not 0 < length <= RECORD_BYTES_MAX or zlib.crc32(content[position + _CHECKSUM_BYTES : end]) != checksum:
        return None
    return Record(task_id, lease, offset, stream, content[begin:end])


def _footer(file: int, size: int) -> tuple[int, int, bytes]:
    packed = os.pread(file, _FOOTER.size, max(0, size - _FOOTER.size))
    return _FOOTER.unpack(packed) if len(packed) == _FOOTER.size else (0, 0, b"")


def _write(file: int, data: bytes | bytearray) -> None:
    unwritten = memoryview(data)
    while unwritten:
        unwritten = unwritten[os.write(file, unwritten) :]
