"""``cyclone journal salvage``: what can be read of a damaged journal, as a new good one.

Owns the search for readable rows. The damaged file is only read, never written to. Rows that do not fit their checksum
are lost; what the others say is written to a new journal as if it were all open, and closed there by the way that
every block takes, so that no total is taken over that cannot be derived.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from cyclone.errors import ConfigError, CycloneError
from cyclone.journal import blocks, job_rows, location, reader, schema
from cyclone.journal.blocks import DamagedRow, Part, Progress, Row
from cyclone.journal.salvage_jobs import JobsCopy
from cyclone.journal.sqlite_journal import open_journal
from cyclone.master.events import ResultsRecorded
from cyclone.protocol import states
from cyclone.protocol.limits import ID_MAX
from cyclone.protocol.messages import ResultBatch

# What reading a damaged file can raise.
_UNREADABLE = (apsw.Error, KeyError, ValueError)
_LOST = states.STATE_NAMES[states.LOST]
# What is copied row by row, without a checksum of its own.
_PLAIN_TABLES = (
    ("keys", "hash"),
    ("controllers", "name, incarnation"),
    ("drained", "name"),
    ("cancellations", f"id, {blocks.CANCELLATIONS}"),
    ("fence", "id, epoch, seq"),
    ("job_keys", "key, job_id"),
    ("processed", "job_id, first, last"),
)


def salvage(path: Path, out: Path) -> Iterator[str]:
    """Write what can be saved of ``path`` to the new file ``out``; yields a line for each thing that is lost.

    Raises ConfigError where ``out`` exists, CycloneError where not even the tables can be found.
    """
    if out.exists():
        raise ConfigError(f"journal {out}: exists already: name a new file")
    location.prepare(out, create=True)
    try:
        with contextlib.ExitStack() as stack:
            try:
                source = stack.enter_context(_source(path, out))
                meta = schema.read_meta(source)
                origin = schema.read_origin(meta)
            except _UNREADABLE as error:
                raise CycloneError(
                    f"journal {path}: nothing can be saved: neither its tables nor whose it is can be read: {error}"
                ) from error
            stack.enter_context(contextlib.closing(location.FileLock(out)))
            target = stack.enter_context(
                contextlib.closing(apsw.Connection(str(out), flags=apsw.SQLITE_OPEN_READWRITE))
            )
            schema.configure(target)
            schema.create(target, origin)
            yield from _Copy(source, target).run(meta)
    except CycloneError:
        out.unlink()
        raise
    with contextlib.closing(open_journal(out, origin)) as journal:
        while journal.tend(0, idle=True):
            continue


@contextlib.contextmanager
def _source(path: Path, out: Path) -> Iterator[apsw.Connection]:
    """The damaged journal, opened for reading; where its first page is damaged, a copy that has a new one."""
    db = None
    try:
        db = reader.connect(path)
        schema.read_origin(schema.read_meta(db))
        schema.imitate(db)
    except _UNREADABLE:
        if db is not None:
            db.close()
    else:
        with contextlib.closing(db):
            yield db
        return
    with tempfile.TemporaryDirectory(prefix=f"{out.name}-", dir=out.parent) as folder:
        copy = Path(folder) / "journal"
        _copy_with_new_first_page(path, copy)
        with contextlib.closing(reader.connect(copy)) as db:
            schema.imitate(db)
            yield db


def _copy_with_new_first_page(path: Path, copy: Path) -> None:
    """The first page says with which page a table begins, which is known from elsewhere."""
    shutil.copyfile(path, copy)
    log = path.with_name(path.name + "-wal")
    has_log = log.exists() and log.stat().st_size > 0
    if has_log:
        shutil.copyfile(log, copy.with_name(copy.name + "-wal"))
    # Where the tables of the first version begin is the same in every file; there it is written where the others do.
    _write_first_page(copy, {}, has_log)
    with contextlib.closing(reader.connect(copy)) as db:
        roots = schema.read_meta(db).get("roots")
    if roots:
        _write_first_page(copy, json.loads(roots), has_log)


def _write_first_page(copy: Path, roots: dict[str, int], has_log: bool) -> None:
    page = bytearray(schema.first_page(roots))
    # Of SQLite's header: write and read version, size of the file in pages, free pages.
    page[18:20] = b"\2\2" if has_log else b"\1\1"
    page[28:32] = (copy.stat().st_size // len(page)).to_bytes(4, "big")
    page[32:40] = bytes(8)
    with copy.open("r+b") as file:
        file.write(page)


class _Copy:
    def __init__(self, source: apsw.Connection, target: apsw.Connection) -> None:
        self._source = source
        self._target = target
        self._lost: list[str] = []
        self._jobs = JobsCopy(self._rows, target, self._lost)
        self._numbers: set[int] = set()
        self._progress = Progress()
        # Of what has a result: the highest id and the latest epoch.
        self._horizon = self._epoch = 0

    def run(self, meta: dict[str, str]) -> Iterator[str]:
        db = self._target
        db.execute("BEGIN IMMEDIATE")
        # Where its tables begin is the new file's own.
        kept = {key: value for key, value in meta.items() if key != "roots"}
        db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", kept.items())
        yield from self._copy(db)
        self._copy_rest(db)
        self._jobs.settle(self._progress)
        row = blocks.progress_row(self._progress)
        db.execute(f"INSERT INTO progress({blocks.PROGRESS}) VALUES (?, ?, ?)", row)
        db.execute("COMMIT")
        yield from self._lost

    def _copy(self, db: apsw.Connection) -> Iterator[str]:
        found = [blocks.progress_of(row) for row in self._rows("progress", "id", blocks.PROGRESS)]
        if found:
            self._progress = found[0]
        self._jobs.copy_jobs()
        for row in self._rows("tasks", "first", blocks.TASKS):
            self._add_tasks(db, row, None)
        for row in self._rows("results", "number", blocks.RESULTS):
            self._add_part(db, blocks.part_of(row))
        for row in self._rows("done", "first", blocks.DONE):
            done = blocks.done_of(row)
            tasks_row = (row[0], row[1], blocks.checksum(done.tasks, row[0], row[1]), done.tasks)
            self._add_tasks(db, tasks_row, blocks.counts_of(row))
            for part in done.parts:
                self._add_part(db, part)
        yield from self._balance(db, known=bool(found))

    def _add_tasks(self, db: apsw.Connection, row: Row, ended: dict[str, int] | None) -> None:
        """An open block, or one that was closed with so many tasks by state."""
        if db.execute("SELECT 1 FROM tasks WHERE first = ?", row[:1]).get:
            self._lost.append(f"a second copy of the block {row[0]}")
        elif self._jobs.add_block(row[0], row[-1], ended):
            db.execute(f"INSERT INTO tasks({blocks.TASKS}) VALUES (?, ?, ?, ?)", row)

    def _add_part(self, db: apsw.Connection, part: Part) -> None:
        if part.number in self._numbers:
            self._lost.append(f"a second copy of the results {part.number}")
            return
        self._numbers.add(part.number)
        batch = ResultBatch(part.first, part.epoch, part.attempt, part.statuses, part.body)
        row = blocks.results_row(ResultsRecorded(part.number, batch, part.accepted, part.controller))
        db.execute(f"INSERT INTO results({blocks.RESULTS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        last = part.end - 1 if part.accepted is None else part.first + part.accepted.rfind(1)
        self._horizon = max(self._horizon, last)
        self._epoch = max(self._epoch, part.epoch)

    def _balance(self, db: apsw.Connection, known: bool) -> Iterator[str]:
        """What is missing, and the totals that follow from what is there."""
        progress = self._progress
        blocks_found = list(db.execute("SELECT first, count FROM tasks ORDER BY first"))
        last_id = max(progress.last_id, self._horizon, *(first + count - 1 for first, count in blocks_found[-1:]))
        gaps = list(_gaps(blocks_found, last_id))
        self._drop_strays(db)
        dropped = sum(progress.dropped.values())
        lost = sum(high - low for low, high in gaps) - dropped
        progress.last_id = last_id
        progress.number = max(progress.number, max(self._numbers, default=0))
        progress.horizon = max(progress.horizon, self._horizon)
        missing_numbers = progress.number - len(self._numbers) - progress.dropped_numbers
        progress.dropped_numbers = progress.number - len(self._numbers)
        if lost > 0:
            progress.dropped = blocks.add_counts(progress.dropped, {_LOST: lost})
            where = ", ".join(f"{low} to {high - 1}" for low, high in gaps[:20])
            yield f"tasks, with their results where they had one: {lost}, whose ids are within {where}"
        progress.ended = dict(progress.dropped)
        if missing_numbers > 0:
            yield f"batches of results: {missing_numbers}; those of their tasks that are here are open again"
        if not known:
            progress.horizon = last_id
            progress.generator_horizon = None
            yield "how far the generator had come: a master that goes on with this journal starts it from its beginning"

    def _drop_strays(self, db: apsw.Connection) -> None:
        """Results of tasks that are all lost."""
        stray = []
        for number, first, count in db.execute("SELECT number, first, count FROM results"):
            below = db.execute("SELECT max(first + count) FROM tasks WHERE first < ?", (first + count,)).get
            if below is None or below <= first:
                stray.append(number)
        db.executemany("DELETE FROM results WHERE number = ?", [(number,) for number in stray])
        self._numbers.difference_update(stray)

    def _copy_rest(self, db: apsw.Connection) -> None:
        for row in self._rows("jobs", "job_id", blocks.JOBS):
            db.execute(f"INSERT INTO jobs({blocks.JOBS}) VALUES (?, ?, ?)", row)
        for row in self._rows("attempts", "id", blocks.ATTEMPTS):
            db.execute(f"INSERT INTO attempts({blocks.ATTEMPTS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        db.execute("UPDATE fence SET epoch = ?", (self._epoch,))
        for table, columns in _PLAIN_TABLES:
            rows = _readable(self._source, table, columns, self._lost)
            marks = ", ".join("?" * (columns.count(",") + 1))
            db.executemany(f"INSERT OR REPLACE INTO {table}({columns}) VALUES ({marks})", rows)
        for row in _readable(self._source, "namespaces", "name, body", self._lost):
            try:
                job_rows.namespace_of(row)
            except DamagedRow as error:
                self._lost.append(str(error))
            else:
                db.execute("INSERT INTO namespaces VALUES (?, ?)", row)

    def _rows(self, table: str, key: str, columns: str) -> Iterator[Row]:
        """The rows of a table that can be read and fit their checksum, also from behind damaged pages."""
        at, step = -1, 0
        query = f"SELECT {key}, {columns} FROM {table} WHERE {key} > ? ORDER BY {key}"
        while at + step <= ID_MAX:
            try:
                for row in self._source.execute(query, (at + step,)):
                    at, step = row[0], 0
                    try:
                        blocks.check(table, row[1:])
                    except DamagedRow as error:
                        self._lost.append(str(error))
                    else:
                        yield row[1:]
                return
            except apsw.Error as error:
                if not step:
                    self._lost.append(f"rows of the table {table} behind {max(at, 0)}: {error}")
                step = max(1, 2 * step)


def _readable(db: apsw.Connection, table: str, columns: str, lost: list[str]) -> Iterator[Any]:
    try:
        yield from db.execute(f"SELECT {columns} FROM {table}")
    except apsw.Error as error:
        lost.append(f"rows of the table {table}: {error}")


def _gaps(found: list[tuple[int, int]], last_id: int) -> Iterator[tuple[int, int]]:
    """The ids ``low`` up to ``high`` that no block has."""
    end = 1
    for first, count in found:
        if first > end:
            yield end, first
        end = max(end, first + count)
    if end <= last_id:
        yield end, last_id + 1
