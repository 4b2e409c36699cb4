"""What tasks have printed, on this host's disk: kept as it comes, found by task and lease, no more than there is room.

Owns a private folder with a few files (``cyclone.controller.output_segment``), whatever the number of tasks: the oldest
file goes where all together would be too large. Nothing waits for the disk: what a crash of the host takes is lost, and
what a kill of the controller takes is what came within its last turn. The caller owes ``begin`` before anything else,
``write`` once per turn, and ``close``.
"""

import fcntl
import logging
import os
import re
import time
from bisect import bisect_right
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from cyclone.controller.output_segment import RECORD_BYTES_MAX, Place, Record, Segment
from cyclone.logs import RateLimit
from cyclone.protocol.limits import OUTPUT_PIECES_MAX
from cyclone.protocol.messages import CUT, STDERR, STDOUT, OutputPiece

log = logging.getLogger("cyclone.controller")

# So many files share the room, so that not much goes at once; of some size, so that there are not too many small ones.
_SEGMENTS = 64
_SEGMENT_BYTES_MIN, _SEGMENT_BYTES_MAX = 64 * 1024, 16 * 1024 * 1024
_NAME = re.compile(r"(\d{8})\.output")
_LOCK = "lock"
# Controllers that are called the same, on one host at the same time.
_FOLDERS_MAX = 1000
_ATTEMPT_BITS = 32
# What an earlier version kept of a log went to standard error.
_SHOWN: dict[int, Literal[1, 2, 5]] = {STDOUT: STDOUT, STDERR: STDERR, CUT: CUT}
_KEEPING, _READING = "keeping what tasks print", "reading what tasks have printed"

Lease = tuple[int, int]
"""Epoch and attempt."""

T = TypeVar("T")


class Found(NamedTuple):
    """What was printed in a lease, from ``offset`` on; it ends at ``size`` by now."""

    lease: Lease
    offset: int
    pieces: list[OutputPiece]
    size: int


class _Growing:
    """A record that the next piece may go on with."""

    def __init__(self, task_id: int, lease: int, offset: int, stream: int) -> None:
        self.task_id, self.lease, self.offset, self.stream = task_id, lease, offset, stream
        self.data = bytearray()

    def goes_on(self, task_id: int, lease: int, offset: int, stream: int, size: int) -> bool:
        """Whether so many bytes more belong to it."""
        same = (self.task_id, self.lease, self.stream) == (task_id, lease, stream)
        return same and self.offset + len(self.data) == offset and len(self.data) + size <= RECORD_BYTES_MAX

    def record(self) -> Record:
        """As it is kept."""
        return Record(self.task_id, self.lease, self.offset, self.stream, bytes(self.data))


class OutputStore:
    """See the module. ``folder`` is made with the first that is kept; where another process has it, ``folder-2`` is.

    ``bytes_max`` bounds all files together. ``dropped_bytes`` counts what should be there and is not: what has made
    room, and what could not be written.
    """

    def __init__(self, folder: Path, bytes_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._wanted = folder
        self._bytes_max = bytes_max
        self._segment_bytes = min(max(bytes_max // _SEGMENTS, _SEGMENT_BYTES_MIN), _SEGMENT_BYTES_MAX)
        self._clock = clock
        self._scope: bytes | None = None
        self._folder: Path | None = None
        self._lock = -1
        self._sealed: list[Segment] = []
        self._open: Segment | None = None
        self._number = 0
        self._growing: _Growing | None = None
        self._log_limit = RateLimit()
        self.dropped_bytes = 0

    @property
    def kept_bytes(self) -> int:
        """The size of all files."""
        return sum(segment.size for segment in self._segments())

    def begin(self, journal_id: str) -> None:
        """The task ids that follow are of this journal: what is there of it can be found, what is of another goes."""
        scope = bytes.fromhex(journal_id).ljust(16, b"\0")
        if scope == self._scope:
            return
        self._scope = scope
        self._growing = None
        for segment in self._segments():
            segment.remove()
        self._sealed, self._open = [], None
        if self._folder is None and self._wanted.exists():
            self._tried(_READING, self._take_folder)

    def append(self, task_id: int, lease: Lease, offset: int, stream: int, data: bytes) -> None:
        """This was printed in a lease, behind ``offset`` bytes. A piece has at most RECORD_BYTES_MAX."""
        epoch, attempt = lease
        number = epoch << _ATTEMPT_BITS | attempt
        if self._growing is None or not self._growing.goes_on(task_id, number, offset, stream, len(data)):
            self._end_record()
            self._growing = _Growing(task_id, number, offset, stream)
        self._growing.data += data

    def write(self) -> None:
        """What was appended is in a file, or counted as dropped."""
        self._end_record()
        if self._open:
            self._write(self._open)

    def find(self, task_id: int, attempt: int, offset: int, bytes_max: int) -> Found | None:
        """What a task has printed in its last lease here, or in the last with this attempt; None for nothing."""
        self.write()
        return self._tried(_READING, lambda: self._find(task_id, attempt, offset, bytes_max))

    def close(self) -> None:
        """No more is kept; what is there can be found by the next process."""
        self.write()
        if self._open:
            self._open.close()
            self._open = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _end_record(self) -> None:
        growing, self._growing = self._growing, None
        if growing is None:
            return
        if self._open is None:
            self._open = self._tried(_KEEPING, self._new_segment)
        if self._open is None:
            self.dropped_bytes += len(growing.data)
        else:
            self._open.append(growing.record())
            if self._open.size >= self._segment_bytes:
                self._write(self._open)

    def _write(self, segment: Segment) -> None:
        size = segment.size
        self._tried(_KEEPING, segment.write)
        self.dropped_bytes += size - segment.size
        if segment.size >= self._segment_bytes:
            self._seal(segment)

    def _new_segment(self) -> Segment:
        assert self._scope is not None, "begin() is owed"
        folder = self._folder or self._take_folder()
        self._number += 1
        return Segment.open_new(folder / f"{self._number:08d}.output", self._scope)

    def _seal(self, segment: Segment) -> None:
        self._open = None
        if not self._tried(_KEEPING, segment.seal):
            self.dropped_bytes += segment.size
            segment.remove()
            return
        self._sealed.append(segment)
        self._make_room()

    def _make_room(self) -> None:
        """For one that is open, and its index."""
        too_much = self.kept_bytes + 2 * self._segment_bytes - self._bytes_max
        while too_much > 0 and self._sealed:
            oldest = self._sealed.pop(0)
            too_much -= oldest.size
            self.dropped_bytes += oldest.size
            oldest.remove()

    def _find(self, task_id: int, attempt: int, offset: int, bytes_max: int) -> Found | None:
        found = [(segment, place) for segment in self._segments() for place in segment.places(task_id)]
        leases = [place.lease for _, place in found if attempt in (0, _lease(place.lease)[1])]
        if not leases:
            return None
        lease = max(leases)
        return self._read(task_id, [each for each in found if each[1].lease == lease], offset, bytes_max)

    def _read(self, task_id: int, found: list[tuple[Segment, Place]], offset: int, bytes_max: int) -> Found:
        """As much as fits, without a gap."""
        segment, last = found[-1]
        size = max((last.offset + len(record.data) for record in segment.read(task_id, [last])), default=last.offset)
        first = max(0, bisect_right(found, offset, key=lambda each: each[1].offset) - 1)
        pieces: list[tuple[int, list[bytes]]] = []
        begin = end = offset
        for segment, group in groupby(found[first:] if bytes_max else (), key=lambda each: each[0]):
            for record in segment.read(task_id, [place for _, place in group]):
                data = record.data[max(0, end - record.offset) :][: bytes_max - (end - begin)]
                if not data:
                    continue
                if record.offset > end:
                    if pieces:
                        break
                    begin = end = record.offset
                if not pieces or pieces[-1][0] != record.stream:
                    pieces.append((record.stream, []))
                pieces[-1][1].append(data)
                end += len(data)
            if end - begin == bytes_max:
                break
        shown: list[OutputPiece] = [(_SHOWN.get(stream, STDERR), b"".join(data)) for stream, data in pieces]
        return Found(_lease(last.lease), begin, shown[:OUTPUT_PIECES_MAX], size)

    def _segments(self) -> list[Segment]:
        return [*self._sealed, *([self._open] if self._open else [])]

    def _take_folder(self) -> Path:
        """The folder, which nobody else uses while we do, with what an earlier process has left. Raises OSError."""
        for number in range(1, _FOLDERS_MAX):
            folder = self._wanted if number == 1 else self._wanted.with_name(f"{self._wanted.name}-{number}")
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            self._folder, self._lock = folder, lock
            for path in sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name)):
                self._take_up(path)
            self._make_room()
            return folder
        raise OSError(f"{_FOLDERS_MAX} others use such a folder")

    def _take_up(self, path: Path) -> None:
        self._number = max(self._number, int(path.name[:8]))
        scope = self._scope
        segment = self._tried(_READING, lambda: Segment.reopen(path, scope)) if scope else None
        if segment:
            self._sealed.append(segment)
        else:
            path.unlink()

    def _tried(self, doing: str, do: Callable[[], T]) -> T | None:
        """None where a disk is full or broken, which is no reason to end: it is said once a minute."""
        try:
            return do()
        except OSError as error:
            if self._log_limit.allow(doing, self._clock()):
                log.warning("%s in %s failed: %s", doing, self._folder or self._wanted, error)
            return None


def folder_of(state_dir: Path, name: str) -> Path:
    """Where a controller of this name keeps what its tasks print."""
    return state_dir / "output" / re.sub(r"[^\w.@+-]", "-", name)


def _lease(number: int) -> Lease:
    return number >> _ATTEMPT_BITS, number & ((1 << _ATTEMPT_BITS) - 1)
