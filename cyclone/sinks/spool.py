"""A sink's spool: recorded blocks on the disk from when the master is told so until they are stored for good.

Owns one SQLite database in a folder of its own: the blocks that wait, and how far each master's journal has come, which
are written in one transaction. So whatever is killed, a block is spooled once. Knows nothing of what a block holds but
how many tasks it is about.

Two threads may share it: one calls ``position`` and ``put``, the other ``take`` and ``done``; all else is anybody's.
The caller owes ``close`` when both are done, and after SpoolBroken the end of the process. ``put`` is on the disk when
it returns. ``done`` waits for no disk: it outlives a kill, but what was done just before a power failure may be taken
again.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec

from cyclone.errors import AlreadyRunning, ConfigError, CycloneError
from cyclone.file_systems import network_fault
from cyclone.folders import make_folder, sync_folder
from cyclone.sqlite_errors import want_of_room

FILE_NAME = "spool.sqlite"
_APPLICATION_ID = int.from_bytes(b"CYsp", "big")
_VERSION = 1
_TABLES = (
    # AUTOINCREMENT: a sequence never comes back, so that a consumer may remember one.
    "CREATE TABLE blocks(sequence INTEGER PRIMARY KEY AUTOINCREMENT, journal_id TEXT NOT NULL, number INTEGER NOT NULL,"
    " tasks INTEGER NOT NULL, bytes INTEGER NOT NULL, spooled REAL NOT NULL, block BLOB NOT NULL)",
    "CREATE TABLE positions(journal_id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
)
# Of its bound: a full spool takes something again only where so much stays free, lest it be full by turns.
_FREE_SHARE = 0.1
# What a row takes beside its block.
_ROW_BYTES = 128
# So much is given to a consumer at once, and one block in any case.
_TAKEN_BYTES_MAX = 8 << 20
# The write-ahead log is copied into the database at this size.
_WAL_BYTES_MAX = 16 << 20
# A file that an outage has left so large is made small again when all is done.
_EMPTY_BYTES_MAX = 64 << 20


class SpoolFull(CycloneError):
    """Nothing was taken: there is no room. The same ``put`` may be tried again later."""


class SpoolGap(CycloneError):
    """Nothing was taken: the blocks do not begin where those of their journal end here."""


class SpoolBroken(CycloneError):
    """Nobody knows what is on the disk: the process must end without having acknowledged anything more."""


class Entry(NamedTuple):
    """A block that waits. ``sequence`` rises over the spool's whole life, ``number`` is its place in its journal."""

    sequence: int
    journal_id: str
    number: int
    block: bytes


class _Outline(msgspec.Struct, array_like=True, gc=False):
    """The head of a ``RecordedBlock``: enough to count its tasks without opening their arguments."""

    first: int
    attempt: int
    runs: msgspec.Raw
    args: msgspec.Raw
    statuses: bytes


_outline = msgspec.msgpack.Decoder(_Outline).decode


class Spool:
    """See the module. Raises ConfigError where the folder cannot be used, AlreadyRunning where another sink has it.

    ``clock`` tells Unix time, for ``oldest_age_s`` alone.
    """

    def __init__(self, folder: Path, bytes_max: int, clock: Callable[[], float] = time.time) -> None:
        self.path = folder / FILE_NAME
        self._bytes_max = bytes_max
        self._clock = clock
        self._broken: SpoolBroken | None = None
        self._lock = _lock_folder(folder)
        # Whoever writes holds it: cheaper than SQLite's own way of finding the other connection busy.
        self._writing = threading.Lock()
        self._wal_pages = 0
        connections: list[apsw.Connection] = []
        try:
            for synchronous in ("FULL", "NORMAL"):
                db = apsw.Connection(str(self.path))
                connections.append(db)
                _prepare(db, synchronous, self.path)
            sync_folder(folder)
            self._putting, self._taking = connections
            self._page_bytes = int(self._putting.pragma("page_size"))
            self._putting.set_wal_hook(self._on_commit)
            self._positions = dict(self._putting.execute("SELECT journal_id, number FROM positions"))
            blocks, size = self._putting.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM blocks").get
        except BaseException as error:
            for db in connections:
                db.close()
            os.close(self._lock)
            if isinstance(error, apsw.Error):
                raise ConfigError(
                    f"spool {self.path}: cannot be used, or is damaged: {error}. Moved away, another is begun, and "
                    "each master sends again what its journal still has"
                ) from error
            raise
        self._waiting_blocks, self._waiting_bytes = int(blocks), int(size)
        self._is_full = False

    @property
    def waiting_blocks(self) -> int:
        """How many are not done."""
        return self._waiting_blocks

    @property
    def waiting_bytes(self) -> int:
        """What they take, which ``bytes_max`` bounds."""
        return self._waiting_bytes

    def oldest_age_s(self) -> float:
        """How long the oldest of them has waited; 0 where none does."""
        with self._writing, self._explained():
            spooled = self._putting.execute("SELECT spooled FROM blocks ORDER BY sequence LIMIT 1").get
        return 0.0 if spooled is None else max(0.0, self._clock() - float(spooled))

    def position(self, journal_id: str) -> int:
        """All blocks of this journal up to this number were spooled; 0 for one that was never heard of."""
        return int(self._positions.get(journal_id, 0))

    def put(self, journal_id: str, first: int, blocks: Sequence[bytes]) -> None:
        """Spool the blocks numbered from ``first`` on, in one transaction; what was spooled before is passed over.

        An empty block stands for one that its master has no more: the position passes it. Raises SpoolGap where there
        are blocks missing before the first, SpoolFull (not while the spool is empty: any message finds room in that),
        SpoolBroken.
        """
        position = self.position(journal_id)
        if first > position + 1:
            raise SpoolGap(f"blocks from {first} on of a journal of which {position} are spooled")
        last = first + len(blocks) - 1
        if last <= position:
            return
        now = self._clock()
        rows = [
            (journal_id, number, _count_tasks(block), len(block) + _ROW_BYTES, now, block)
            for number, block in enumerate(blocks[position + 1 - first :], position + 1)
            if block
        ]
        size = sum(row[3] for row in rows)
        with self._writing, self._explained():
            room = self._bytes_max * (1 - _FREE_SHARE * self._is_full) - self._waiting_bytes
            self._is_full = bool(self._waiting_blocks) and size > room
            if self._is_full:
                raise SpoolFull(
                    f"{self._waiting_blocks} blocks wait in it ({self._waiting_bytes:,} bytes; [sink] spool_max is "
                    f"{self._bytes_max:,})"
                )
            db = self._putting
            with _transaction(db):
                db.executemany(
                    "INSERT INTO blocks(journal_id, number, tasks, bytes, spooled, block) VALUES (?, ?, ?, ?, ?, ?)",
                    rows,
                )
                db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (journal_id, last))
            self._positions[journal_id] = last
            self._waiting_blocks += len(rows)
            self._waiting_bytes += size
            if self._wal_pages * self._page_bytes >= _WAL_BYTES_MAX:
                db.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_PASSIVE)

    def take(self, rows_max_hint: int, after: int = 0) -> list[Entry]:
        """The oldest blocks that are not done, behind the sequence ``after``; empty where there are none.

        So many that they hold about as many results as hinted (records are not counted), at least one, and no more than
        some megabytes. Until they are done the same call gives the same blocks.
        """
        found: list[Entry] = []
        tasks = size = 0
        with self._explained(), contextlib.closing(self._taking.cursor()) as cursor:
            for sequence, journal_id, number, count, block in cursor.execute(
                "SELECT sequence, journal_id, number, tasks, block FROM blocks WHERE sequence > ? ORDER BY sequence",
                (after,),
            ):
                found.append(Entry(sequence, journal_id, number, block))
                tasks += count
                size += len(block)
                if tasks >= rows_max_hint or size >= _TAKEN_BYTES_MAX:
                    break
        return found

    def done(self, sequence: int) -> None:
        """Forget all blocks up to this one: they are stored elsewhere for good.

        Raises SpoolFull where the disk is so full that not even that can be written (to be tried again), SpoolBroken.
        """
        with self._writing, self._explained():
            db = self._taking
            gone = [
                size for (size,) in db.execute("DELETE FROM blocks WHERE sequence <= ? RETURNING bytes", (sequence,))
            ]
            self._waiting_blocks -= len(gone)
            self._waiting_bytes -= sum(gone)
            if not self._waiting_blocks and db.pragma("page_count") * self._page_bytes > _EMPTY_BYTES_MAX:
                # Of an empty database it writes three pages. The file itself shrinks when the log is copied into it.
                db.execute("VACUUM")
                db.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def close(self) -> None:
        """Nothing is put or taken any more; again it has no effect."""
        if self._lock < 0:
            return
        self._taking.close()
        self._putting.close()
        os.close(self._lock)
        self._lock = -1

    def _on_commit(self, _: apsw.Connection, __: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """What SQLite raises, as what the caller can do about it."""
        if self._broken:
            raise self._broken
        try:
            yield
        except apsw.Error as error:
            if reason := want_of_room(error):
                raise SpoolFull(f"spool {self.path}: {reason}: {error}") from error
            self._broken = SpoolBroken(f"spool {self.path}: nobody knows what is on the disk after this error: {error}")
            raise self._broken from error


def _count_tasks(block: bytes) -> int:
    try:
        return len(_outline(block).statuses)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # It shows as one row that says so.
        return 1


def _lock_folder(folder: Path) -> int:
    """A descriptor that holds the folder locked, made where it is not there; the lock goes with the process."""
    if fault := network_fault(folder):
        raise ConfigError(f"spool {folder}: {fault}, by [control] state_dir")
    try:
        make_folder(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(
            f"spool {folder}: cannot be made or opened: {error.strerror}; set [control] state_dir to a local folder"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise AlreadyRunning(f"spool {folder}: another sink has it: stop that one, or set another state_dir") from None
    return descriptor


def _prepare(db: apsw.Connection, synchronous: str, path: Path) -> None:
    db.set_busy_timeout(60_000)
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", synchronous)
    db.pragma("wal_autocheckpoint", 0)
    db.pragma("journal_size_limit", _WAL_BYTES_MAX)
    db.pragma("trusted_schema", "OFF")
    db.pragma("cell_size_check", "ON")
    if db.pragma("application_id") == 0 and not db.execute("SELECT count(*) FROM sqlite_schema").get:
        with _transaction(db):
            for table in _TABLES:
                db.execute(table)
            db.pragma("application_id", _APPLICATION_ID)
            db.pragma("user_version", _VERSION)
    if db.pragma("application_id") != _APPLICATION_ID:
        raise ConfigError(f"spool {path}: is a database, but no spool of Cyclone: set another state_dir")
    if (version := db.pragma("user_version")) != _VERSION:
        raise ConfigError(
            f"spool {path}: was written by another Cyclone (format {version}, this one knows {_VERSION}): let that "
            "version empty it, or move it away"
        )


@contextlib.contextmanager
def _transaction(db: apsw.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
