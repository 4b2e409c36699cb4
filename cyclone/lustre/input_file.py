"""One input file of a migration: its records by place, and its index, which grows slice by slice.

Owns what is remembered of the file (``Noted``) and how a stretch of it becomes a segment of its index. The file is
handed in as a descriptor: where it stands, and under which name by now, is ``input_folder``'s.
"""

import logging
import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cyclone.errors import CycloneError
from cyclone.lustre.migration_input import RECORD_BYTES_MAX, BadRecord, Entry, Form
from cyclone.lustre.path_index import FileIndex, Run

log = logging.getLogger("cyclone.generator")

BAD = ".bad"
# The input of the first segment; each further one is twice as large, so that work begins at once, up to the last.
_SEGMENT_MIN_BYTES = 1 << 20
_SEGMENT_MAX_BYTES = 32 << 20
_READ_BYTES = 4096
_BAD_SHOWN = 10


class Noted(NamedTuple):
    """What is remembered of a file: it is the same one as long as inode and size are. ``end`` is what is read of it."""

    name: str
    inode: int
    end: int
    form: Form


@dataclass(slots=True)
class _Segment:
    """What was read since the last segment, up to ``end``."""

    end: int
    offsets: "dict[int, array[int]]" = field(default_factory=dict)
    bad: list[bytes] = field(default_factory=list)


class InputFile:
    """See the module. ``left`` is how many of its paths have no outcome yet, of those that are indexed.

    ``grown`` when it is done, and there is more behind its end that is not noted yet.
    """

    def __init__(self, number: int, noted: Noted, index: FileIndex, fs_path: str, bad_path: Path) -> None:
        self.number = number
        self.noted = noted
        self.index = index
        self.left = 0
        self.done = False
        self.grown = False
        self._read = noted.form.reader(fs_path)
        self._bad_path = bad_path
        self._segment: _Segment | None = None
        self._segment_bytes = _SEGMENT_MIN_BYTES

    @property
    def name(self) -> str:
        """Under which it was found."""
        return self.noted.name

    @property
    def indexed(self) -> bool:
        """Whether all of it is."""
        return self.index.input_end >= self.noted.end

    def recover(self) -> list[Run]:
        """What its index holds, and nothing is kept of what it does not hold any more. Owed once, before all else."""
        runs = [run for segment in self.index.recover() for run in segment]
        if self._bad_path.exists() and self._bad_path.stat().st_size > self.index.bad_bytes:
            os.truncate(self._bad_path, self.index.bad_bytes)
        return runs

    def entry(self, descriptor: int, offset: int) -> Entry:
        """The record that begins there. Raises BadRecord where the file has changed since."""
        size = _READ_BYTES
        while True:
            data = os.pread(descriptor, min(size, self.noted.end - offset), offset)
            record, found, _ = data.partition(self.noted.form.separator)
            if found or len(data) < size or size > RECORD_BYTES_MAX:
                return self._read(record)
            size *= 4

    def rest(self, descriptor: int) -> int:
        """Where to go on in a file that has grown. A record that was cut off at the end is read again as a whole."""
        end, separator = self.noted.end, self.noted.form.separator
        before = os.pread(descriptor, min(end, RECORD_BYTES_MAX), max(0, end - RECORD_BYTES_MAX))
        if before.endswith(separator) or os.pread(descriptor, 1, end) == separator:
            return end
        return end - len(before) + before.rfind(separator) + 1

    def grow(self, descriptor: int, bytes_max: int) -> list[Run]:
        """Read on, about so much; the runs of a segment where that has made one."""
        segment = self._segment
        if segment is None:
            segment = self._segment = _Segment(max(self.index.input_end, self.noted.form.skip_bytes))
        if segment.end < self.noted.end:
            self._read_records(segment, descriptor, max(bytes_max, 2 * RECORD_BYTES_MAX))
        if segment.end < self.noted.end and segment.end - self.index.input_end < self._segment_bytes:
            return []
        self._segment = None
        self._segment_bytes = min(2 * self._segment_bytes, _SEGMENT_MAX_BYTES)
        runs = self.index.append(segment.end, segment.offsets, len(segment.bad), self._keep_bad(segment.bad))
        if self.indexed:
            log.info("%s: %d paths, %d bad records", self.name, self.index.paths, self.index.bad)
        return runs

    def _read_records(self, segment: _Segment, descriptor: int, bytes_max: int) -> None:
        data = os.pread(descriptor, min(bytes_max, self.noted.end - segment.end), segment.end)
        if not data:
            raise CycloneError(f"{self.name} has become shorter than it was when it was taken in: put it back")
        separator = self.noted.form.separator
        is_last = segment.end + len(data) >= self.noted.end
        # A piece without an end is longer than any record may be: a bad one, as is the rest of it.
        whole = len(data) if is_last else data.rfind(separator) + 1 or len(data)
        records = data[:whole].split(separator)
        if not records[-1]:
            records.pop()
        offset, read, offsets = segment.end, self._read, segment.offsets
        begun = offset > self.noted.form.skip_bytes and os.pread(descriptor, 1, offset - 1) != separator
        for record in records:
            try:
                if begun or len(record) > RECORD_BYTES_MAX:
                    begun = False
                    raise BadRecord(f"is longer than {RECORD_BYTES_MAX} bytes")
                ost = read(record)[0]
            except BadRecord as error:
                self._note_bad(segment, record, offset, error)
            else:
                found = offsets.get(ost)
                if found is None:
                    found = offsets[ost] = array("Q")
                found.append(offset)
            offset += len(record) + 1
        segment.end += whole

    def _note_bad(self, segment: _Segment, record: bytes, offset: int, error: BadRecord) -> None:
        # An empty line is none.
        if not record.strip():
            return
        segment.bad.append(record)
        if self.index.bad + len(segment.bad) <= _BAD_SHOWN:
            log.warning("%s, at byte %d: %s; kept in %s", self.name, offset, error, self._bad_path.name)

    def _keep_bad(self, records: list[bytes]) -> int:
        """Put bad records aside; how many bytes of them there are in all."""
        text = b"".join(record + self.noted.form.separator for record in records)
        if text:
            with self._bad_path.open("ab") as kept:
                kept.write(text)
                kept.flush()
                os.fsync(kept.fileno())
        return self.index.bad_bytes + len(text)
