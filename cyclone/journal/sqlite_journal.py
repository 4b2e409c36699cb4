"""The writer of the durable journal: one connection that appends, looks up, tidies up and checkpoints.

Owns the transactions, and what the journal remembers between them. Events go in as they are; what they mean for the
state is not known here. All is called from one thread. The caller owes ``close``, and after JournalBroken the end of
the process: nothing is written any more then, whatever is called.

Blocks that are finished are closed, and those that ``keep`` lets go are dropped, a few in each ``append``, within its
own transaction: so they cost no sync under load. ``tend`` does what is left when the master is idle, or too far behind.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import apsw

from cyclone.errors import ConfigError
from cyclone.folders import sync_folder
from cyclone.journal import blocks, compaction, failures, location, recovery, schema
from cyclone.journal.blocks import Progress
from cyclone.journal.compaction import Keep
from cyclone.journal.job_queries import JobQueries
from cyclone.journal.location import FileLock
from cyclone.journal.lookup import Lookup
from cyclone.journal.open_blocks import OpenBlock
from cyclone.journal.schema import Origin
from cyclone.journal.writing import Turn
from cyclone.master.events import JobAdded, JobSubmitted, Recorded, Replayed, ResultsRecorded, TasksAdded
from cyclone.master.journal import JournalBroken, JournalFull
from cyclone.protocol.job_messages import JobBlock, JobSummary, TaskRow
from cyclone.protocol.job_spec import JobSelection
from cyclone.protocol.limits import TASKS_PER_BATCH_MAX
from cyclone.results import RecordedBlock
from cyclone.task_figures import Figures

# Closed in one append: more than one turn finishes under load, and little beside what the turn itself writes. More of
# them where many small blocks have gathered.
_CLOSED_PER_APPEND = 64
_CLOSED_PER_APPEND_BEHIND = 1024
_CLOSED_TASKS_PER_APPEND = 4 * TASKS_PER_BATCH_MAX
_DROPPED_PER_APPEND = 4
_DROPPED_WHEN_IDLE = 32
# Finished blocks beyond this are closed in transactions of their own even under load.
_BACKLOG_BLOCKS = 256
_BUSY_SLICE_S = 0.005
_IDLE_SLICE_S = 0.05
# The write-ahead log is copied into the database at this size; when idle already at the smaller one, so that the copy
# of the larger one, which cannot be cut into slices, is rare.
_WAL_BYTES_MAX = 64 * 1024 * 1024
_WAL_BYTES_IDLE = 4 * 1024 * 1024


class SqliteJournal:
    """See the module, and ``cyclone.master.journal.Journal``. Made by ``open_journal``."""

    replays = True

    def __init__(
        self, path: Path, origin: Origin, lock: FileLock, create: bool, keep: Keep, clock: Callable[[], float], vfs: str
    ) -> None:
        self.path = path
        self.description = f"full: {path}"
        self._lock = lock
        self._keep = keep
        self._clock = clock
        self._consumed = 0
        self._is_full = False
        self._is_closed = False
        self._broken: JournalBroken | None = None
        self._claimed: set[bytes] = set()
        # How often the disk was waited for since the journal was opened; and who wants to know how long, in seconds.
        self.syncs = 0
        self.on_commit: Callable[[float], None] | None = None
        # In the write-ahead log, and at the last checkpoint.
        self._wal_pages = self._copied_pages = 0
        self._db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs or None)
        try:
            self._open(origin, create)
        except failures.ERRORS as error:
            self._db.close()
            raise failures.failure(error, path) from error
        except BaseException:
            self._db.close()
            raise

    def _open(self, origin: Origin, create: bool) -> None:
        db = self._db
        new = schema.is_new(db)
        if not new:
            schema.check_version(db, self.path)
        elif not create:
            raise ConfigError(f"journal {self.path}: is empty: there is nothing to go on with")
        schema.configure(db)
        if new:
            schema.create(db, origin)
            sync_folder(self.path.parent)
        else:
            schema.migrate(db)
        meta = schema.read_meta(db)
        schema.check_origin(self.path, schema.read_origin(meta), origin)
        self.journal_id = meta["journal_id"]
        self._page_bytes = int(db.pragma("page_size"))
        db.set_wal_hook(self._on_commit)
        self.epoch = int(db.execute("UPDATE fence SET epoch = epoch + 1, seq = 0 RETURNING epoch").get)
        row = db.execute(f"SELECT {blocks.PROGRESS} FROM progress").get
        self._progress = Progress() if row is None else blocks.progress_of(row)
        # Of the generator; how many there are follows from its code, and not from how long it runs.
        self._jobs = [blocks.job_of(row) for row in db.execute(f"SELECT {blocks.JOBS} FROM jobs ORDER BY job_id")]
        self._classes = {job.job_id: job.task_class for job in self._jobs}
        self._open_jobs = recovery.load_open_jobs(db)
        self._blocks = recovery.load_open_blocks(db, self._progress.horizon, self._open_jobs)
        self._lookup = Lookup(db, self._classes)
        self._queries = JobQueries(db, self._lookup)
        self._next_until = self._read_next_until()

    # What the master asks.

    def recover(self) -> Iterator[Replayed]:
        """See ``Journal.recover``; attempts, too, come without their bodies, and tasks without their keys."""
        with self._reading():
            yield from recovery.recover(self._db, self._progress, self._jobs, self._open_jobs, self._blocks)

    def load(self, first: int) -> TasksAdded:
        """See ``Journal.load``; LookupError where no open block begins with this id."""
        with self._reading():
            columns = self._lookup.tasks(first)
        if columns is None:
            raise LookupError(f"no open block begins with the task {first}")
        return blocks.block_of(first, columns)

    def results_after(self, number: int) -> Iterator[tuple[int, RecordedBlock]]:
        """See ``Journal.results_after``; rows of tasks that are not here any more have no arguments and no class."""
        with self._reading():
            yield from self._lookup.results_after(number)

    def job_parts(self, first: int, count: int) -> list[tuple[int, int, int, int]]:
        """See ``Journal.job_parts``."""
        with self._reading():
            return self._queries.job_parts(first, first + count)

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        """See ``Journal.claim``."""
        with self._reading():
            wanted = [(key,) for key in keys if key]
            known = {key for (key,) in self._db.executemany("SELECT hash FROM keys WHERE hash = ?", wanted)}
        new = []
        for key in keys:
            new.append(not key or (key not in known and key not in self._claimed))
            if key and new[-1]:
                self._claimed.add(key)
        return new

    def job_of_key(self, key: bytes) -> int | None:
        """See ``Journal.job_of_key``; a key outlives its job."""
        with self._reading():
            return self._queries.job_of_key(key)

    def ended_jobs(self, selection: JobSelection, before: int, page: int) -> tuple[list[JobSummary], int]:
        """See ``Journal.ended_jobs``."""
        with self._reading():
            return self._queries.ended_jobs(selection, before, page)

    def ended_job(self, job_id: int) -> tuple[JobSubmitted, JobSummary, str] | None:
        """See ``Journal.ended_job``."""
        with self._reading():
            return self._queries.ended_job(job_id)

    def task_rows(
        self, job_id: int, start: int, page: int, states: Sequence[str], with_args: bool, with_values: bool
    ) -> tuple[list[TaskRow], int | None]:
        """See ``Journal.task_rows``."""
        with self._reading():
            return self._queries.task_rows(job_id, start, page, states, with_args, with_values)

    def task_figures(self, job_id: int, start: int, stop: int) -> tuple[Figures, int | None]:
        """See ``Journal.task_figures``."""
        with self._reading():
            return self._queries.task_figures(job_id, start, stop)

    def job_results_after(self, job_id: int, number: int) -> Iterator[tuple[int, list[JobBlock]]]:
        """See ``Journal.job_results_after``."""
        with self._reading():
            yield from self._queries.job_results_after(job_id, number)

    def lost_results(self, job_id: int) -> int:
        """See ``Journal.lost_results``; of a job that was let go as a whole nothing is known."""
        with self._reading():
            job = self._open_jobs.get(job_id)
            return self._queries.lost_results(job_id, None if job is None else job.added)

    def forget(self, job_id: int, number: int) -> None:
        """See ``Journal.forget``: on a disk everything is kept until the job says that it may go."""

    # What is written.

    def append(self, events: Sequence[Recorded]) -> None:
        """See ``Journal.append``."""
        closing = [] if self._is_full else self._next_finished()
        with self._transaction() as turn:
            for event in events:
                turn.write(event)
            self._compact(turn, closing, _DROPPED_PER_APPEND)
        self._is_full = False
        self._remember(turn, closing, events)

    def _compact(self, turn: Turn, closing: Sequence[OpenBlock], drops: int) -> None:
        turn.compact(closing, drops, self._consumed, self._clock(), self._next_until)

    def _remember(self, turn: Turn, closing: Sequence[OpenBlock], events: Sequence[Recorded] = ()) -> None:
        if turn.until is not None or self._clock() >= self._next_until:
            self._next_until = self._read_next_until()
        self._progress = turn.progress
        self._blocks.remove(closing)
        for job_id, job in turn.changed.items():
            if job is None:
                self._open_jobs.pop(job_id, None)
            else:
                self._open_jobs[job_id] = job
        for block in turn.added:
            self._blocks.add(block)
        for event in events:
            match event:
                case ResultsRecorded():
                    self._blocks.record(blocks.part_of_event(event))
                case TasksAdded(keys=keys):
                    self._claimed.difference_update(keys or ())
                case JobAdded(made):
                    self._jobs.append(made)
                    self._classes[made.job_id] = made.task_class

    def _read_next_until(self) -> float:
        """The first moment at which an ended job is to be let go that says so itself."""
        until = self._db.execute("SELECT min(until) FROM ended_jobs WHERE until > 0").get
        return math.inf if until is None else until

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Turn]:
        """All or nothing, and nothing when another master has opened the journal since."""
        self._refuse_broken()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("UPDATE fence SET seq = seq + 1 WHERE epoch = ?", (self.epoch,))
            if not self._db.changes():
                raise JournalBroken(f"journal {self.path}: another master has opened it: epoch {self.epoch} is over")
            turn = Turn(self._db, self._progress, self._open_jobs, self._blocks, self._keep)
            yield turn
            turn.flush()
            began = time.monotonic()
            self._db.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            failed = failures.failure(error, self.path) if isinstance(error, failures.ERRORS) else error
            self._is_full = isinstance(failed, JournalFull)
            if isinstance(failed, JournalBroken):
                self._broken = failed
            if failed is error:
                raise
            raise failed from error
        if self.on_commit:
            self.on_commit(time.monotonic() - began)

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except apsw.Error as error:
            self._broken = JournalBroken(f"journal {self.path}: a transaction cannot be rolled back: {error}")
            raise self._broken from error

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        self._refuse_broken()
        try:
            yield
        except failures.ERRORS as error:
            raise failures.failure(error, self.path) from error

    def _refuse_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    # Housekeeping.

    def tend(self, consumed: int, idle: bool) -> bool:
        """See ``Journal.tend``. For want of room it leaves everything as it is."""
        self._refuse_broken()
        self._consumed = consumed
        deadline = time.monotonic() + (_IDLE_SLICE_S if idle else _BUSY_SLICE_S)
        try:
            more = self._tidy(idle, deadline)
            self._checkpoint(idle)
        except JournalFull:
            return False
        return more

    def _tidy(self, idle: bool, deadline: float) -> bool:
        """Close and drop; whether there is more to do."""
        while (idle and self._is_due()) or len(self._blocks.finished) > (0 if idle else _BACKLOG_BLOCKS):
            if time.monotonic() >= deadline:
                return True
            closing = self._next_finished()
            with self._transaction() as turn:
                self._compact(turn, closing, _DROPPED_WHEN_IDLE if idle else _DROPPED_PER_APPEND)
            self._remember(turn, closing)
        return False

    def _next_finished(self) -> list[OpenBlock]:
        finished = self._blocks.finished
        is_behind = len(finished) > _BACKLOG_BLOCKS
        tasks, chosen = 0, []
        for block in islice(finished, _CLOSED_PER_APPEND_BEHIND if is_behind else _CLOSED_PER_APPEND):
            chosen.append(block)
            tasks += block.count
            if tasks >= _CLOSED_TASKS_PER_APPEND:
                break
        return chosen

    def _is_due(self) -> bool:
        now = self._clock()
        found = compaction.due(self._db, self._keep, self._progress, self._consumed, now, now >= self._next_until)
        return found is not None

    def _on_commit(self, _: apsw.Connection, __: str, pages: int) -> int:
        self.syncs += 1
        if pages < self._copied_pages:
            # The log has begun anew.
            self._copied_pages = 0
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, idle: bool) -> None:
        # What has come since the last time: while a reader holds the log back it grows on, and need not be tried again
        # with each turn.
        grown = (self._wal_pages - self._copied_pages) * self._page_bytes
        if grown >= (_WAL_BYTES_IDLE if idle else _WAL_BYTES_MAX):
            with self._checkpointing():
                self._db.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_PASSIVE)
            # The log, and then the database.
            self.syncs += 2
            self._copied_pages = self._wal_pages

    @contextlib.contextmanager
    def _checkpointing(self) -> Iterator[None]:
        self._refuse_broken()
        try:
            yield
        except failures.ERRORS as error:
            failed = failures.failure(error, self.path)
            if isinstance(failed, JournalBroken):
                self._broken = failed
            raise failed from error

    def close(self) -> None:
        """See ``Journal.close``; again it has no effect.

        Everything is in the one file then, unless the disk is full or a reader is on it.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._broken is None:
                with contextlib.suppress(JournalFull), self._checkpointing():
                    self._db.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_TRUNCATE)
                    # There is nothing left to copy; now SQLite may remove the log.
                    self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        finally:
            self._db.close()
            self._lock.close()


def open_journal(
    path: Path,
    origin: Origin,
    *,
    create: bool = True,
    keep_age_s: float = 0.0,
    keep_tasks: int = 0,
    clock: Callable[[], float] = time.time,
    vfs: str = "",
) -> SqliteJournal:
    """The journal in a file, made if need be, in a new epoch.

    Raises ConfigError for a place where no journal may lie and for a file of another generator, other options, another
    program or a newer version; AlreadyRunning where another master has it; JournalBroken where it is damaged.
    ``keep_age_s`` and ``keep_tasks`` bound how long finished tasks stay, 0 for ever. ``clock`` tells Unix time; ``vfs``
    is the name of SQLite's interface to the file system, if not its usual one.
    """
    location.prepare(path, create)
    lock = FileLock(path)
    try:
        return SqliteJournal(path, origin, lock, create, Keep(keep_age_s, keep_tasks), clock, vfs)
    except BaseException:
        lock.close()
        raise
