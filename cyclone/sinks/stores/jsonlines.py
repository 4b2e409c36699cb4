"""Rows as lines of JSON, for whoever reads them with other tools: an object a line, ``table`` in front.

Owns that file, and beside it ``<file>.position``: how far the file holds whole batches, and how far each journal has
come. A batch counts when that says so; what stands behind it, of a batch that a crash has cut, is cut off when the file
is opened, and comes again. A file that was moved away, or made empty (logrotate), is begun anew.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cyclone.folders import make_folder
from cyclone.sinks.layouts import Table
from cyclone.sinks.stores.base import Batch, Outcome, StoreUnavailable
from cyclone.sinks.whole_file import replace_file

# Journals that were heard of last: those of masters that are long gone need no place.
_JOURNALS_MAX = 1000
_MODE = 0o640


class _Position(msgspec.Struct):
    """What the second file holds: whole batches end at ``size`` of the file of that ``inode``."""

    inode: int = 0
    size: int = 0
    journals: dict[str, int] = {}


_decode = msgspec.json.Decoder(_Position).decode
_encode = msgspec.json.Encoder().encode


class JsonLinesStore:
    """See the module and ``Store``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position_path = path.with_name(f"{path.name}.position")
        self._file = -1
        self._position = _Position()
        self._next = _Position()

    def has(self, journal_id: str, number: int) -> bool:
        """See ``Store``."""
        with self._explained():
            self._open()
        return number <= self._position.journals.get(journal_id, 0)

    def insert(self, batch: Batch) -> Outcome:
        """See ``Store``."""
        with self._explained():
            self._open()
            # Of a batch that came to nothing in between.
            os.ftruncate(self._file, self._position.size)
            stored: dict[Table, int] = {}
            lines = bytearray()
            for table, rows in batch.rows.items():
                names = ("table", *table.column_names())
                # Bytes become base64.
                lines += b"".join(
                    _encode(dict(zip(names, (table.name, *cells), strict=True))) + b"\n" for cells in rows
                )
                stored[table] = len(rows)
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            journals = {k: v for k, v in self._position.journals.items() if k not in batch.ends} | batch.ends
            for oldest in list(journals)[: max(0, len(journals) - _JOURNALS_MAX)]:
                del journals[oldest]
            self._next = _Position(self._position.inode, self._position.size + len(lines), journals)
            return Outcome((), stored, 0)

    def commit(self) -> None:
        """See ``Store``."""
        with self._explained():
            os.fdatasync(self._file)
            replace_file(self._position_path, _encode(self._next), _MODE)
            self._position = self._next

    def close(self) -> None:
        """See ``Store``."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        """Have the file open at the end of its last whole batch."""
        if self._file >= 0 and self._is_the_same():
            return
        self.close()
        make_folder(self._path.parent)
        position = _Position()
        with contextlib.suppress(FileNotFoundError):
            try:
                position = _decode(self._position_path.read_bytes())
            except msgspec.MsgspecError as error:
                raise StoreUnavailable(f"{self._position_path}: is not what was written there: {error}") from None
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _MODE)
        status = os.fstat(self._file)
        if status.st_ino == position.inode and status.st_size >= position.size:
            os.ftruncate(self._file, position.size)
        else:
            # Another file than the one we know: what is in it is not ours to cut.
            position = _Position(status.st_ino, status.st_size, position.journals)
            replace_file(self._position_path, _encode(position), _MODE)
        self._position = position

    def _is_the_same(self) -> bool:
        """Whether nobody has moved it away, or made it empty, which logrotate does too."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False
        return status.st_ino == self._position.inode and status.st_size >= self._position.size

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Opened again, the file loses what was not committed.
            self.close()
            raise StoreUnavailable(f"{self._path}: {error.strerror}") from error
