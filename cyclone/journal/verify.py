"""``cyclone journal verify``: whether a journal is what it should be, re-derived from its rows alone.

Owns the rules that every journal obeys. Trusts neither the totals nor the writer's memory: each task has at most one
accepted result, a closed block exactly one for each of its tasks, numbers run without gaps, nothing has a result that
was never offered, and every row is as it was written. Reads in one transaction, so that a running master's journal can
be verified too; its write-ahead log grows meanwhile.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import apsw

from cyclone.errors import ConfigError
from cyclone.journal import blocks, reader, schema
from cyclone.journal.blocks import Columns, DamagedRow, Part, Progress, Row
from cyclone.journal.verify_jobs import JobsVerifier
from cyclone.protocol.job_spec import GENERATOR_JOB
from cyclone.protocol.limits import TASKS_PER_BATCH_MAX


def verify(path: Path) -> Iterator[str]:
    """What is wrong, a line each; nothing for a sound journal. Raises ConfigError where the file is no journal."""
    try:
        db = reader.connect(path)
    except apsw.Error as error:
        yield f"the file cannot be read as a database: {error}"
        return
    try:
        db.execute("BEGIN")
        problems = [f"SQLite's quick_check: {line}" for (line,) in db.execute("PRAGMA quick_check") if line != "ok"]
        yield from problems
        schema.check_version(db, path)
        schema.imitate(db)
        yield from _Verifier(db).run()
    except ConfigError:
        if not problems:
            raise
    except apsw.Error as error:
        yield f"the file cannot be read any further: {error}"
    finally:
        db.close()


class _Verifier:
    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._progress = Progress()
        self._jobs: set[int] = set()
        self._of_clients = JobsVerifier(db)
        self._ended: dict[str, int] = {}
        self._numbers = 0
        self._end = 1
        self._missing = 0

    def run(self) -> Iterator[str]:
        db = self._db
        if db.execute("SELECT count(*) FROM fence").get != 1:
            yield "the epoch is missing"
        for row in db.execute(f"SELECT {blocks.PROGRESS} FROM progress"):
            try:
                self._progress = blocks.progress_of(row)
            except DamagedRow as error:
                yield str(error)
        for row in db.execute(f"SELECT {blocks.JOBS} FROM jobs"):
            self._jobs.add(row[0])
            yield from _damage("jobs", row)
        yield from self._of_clients.check_jobs()
        for row in db.execute(f"SELECT {blocks.ATTEMPTS} FROM attempts"):
            yield from _damage("attempts", row)
        for row in db.execute(f"SELECT {blocks.RESULTS} FROM results"):
            yield from self._check_results(row)
        for first, closed in db.execute("SELECT first, 0 FROM tasks UNION ALL SELECT first, 1 FROM done ORDER BY 1"):
            try:
                yield from self._check_closed(first) if closed else self._check_open(first)
            except DamagedRow as error:
                yield str(error)
        yield from self._check_totals()

    def _check_results(self, row: Row) -> Iterator[str]:
        self._numbers += 1
        try:
            part = blocks.part_of(row)
        except DamagedRow as error:
            yield str(error)
            return
        yield from self._check_part(part)
        if self._db.execute("SELECT 1 FROM parts WHERE number = ?", (part.number,)).get:
            yield f"the results {part.number} are there twice"

    def _check_part(self, part: Part) -> Iterator[str]:
        last = part.end - 1 if part.accepted is None else part.first + part.accepted.rfind(1)
        if part.accepted is not None and len(part.accepted) != len(part.statuses):
            yield f"the results {part.number} have {len(part.accepted)} marks beside {len(part.statuses)} statuses"
        if last > self._progress.horizon:
            yield f"the task {last} has a result ({part.number}), but tasks were offered up to {self._progress.horizon}"
        if part.number > self._progress.number:
            yield f"there are results {part.number}, but the last ones are said to be {self._progress.number}"

    def _check_open(self, first: int) -> Iterator[str]:
        row: Row = self._db.execute(f"SELECT {blocks.TASKS} FROM tasks WHERE first = ?", (first,)).get
        columns = blocks.columns_of(row)
        yield from self._check_block(first, row[1], columns)
        parts = self._parts_in_results(first, row[1])
        yield from self._of_clients.check_block(first, row[1], columns, parts, closed=False)
        yield from _check_marks(first, row[1], parts, closed=False)

    def _check_closed(self, first: int) -> Iterator[str]:
        row: Row = self._db.execute(f"SELECT {blocks.DONE} FROM done WHERE first = ?", (first,)).get
        count, last_number, ended = row[1], row[2], blocks.counts_of(row)
        self._ended = blocks.add_counts(self._ended, ended)
        done = blocks.done_of(row)
        columns = blocks.columns_in(done)
        yield from self._check_block(first, count, columns)
        shared = self._parts_in_results(first, count)
        if {part.number for part in shared} != set(done.shared):
            yield f"the closed block {first} shares the results {done.shared}, but {[p.number for p in shared]} are its"
        for part in done.parts:
            self._numbers += 1
            yield from self._check_part(part)
            if self._db.execute("SELECT first FROM parts WHERE number = ?", (part.number,)).get != first:
                yield f"the results {part.number} are in the block {first}, but not found there"
        parts = [*done.parts, *shared]
        yield from self._of_clients.check_block(first, count, columns, parts, closed=True)
        derived: dict[str, int] = {}
        for part in parts:
            derived = blocks.add_counts(derived, part.counts(first, first + count))
        if derived != ended:
            yield f"the closed block {first} counts {ended}, but its results are {derived}"
        if max((part.number for part in parts), default=0) != last_number:
            yield f"the closed block {first} does not end with the results {last_number}"
        yield from _check_marks(first, count, parts, closed=True)

    def _check_block(self, first: int, count: int, columns: Columns) -> Iterator[str]:
        if first < self._end:
            yield f"the block {first} begins within the one before it, which ends with the task {self._end - 1}"
        self._missing += max(0, first - self._end)
        self._end = first + count
        if len(columns.args) != count or sum(length for _, length in columns.runs) != count:
            yield f"the block {first} of {count} tasks has {len(columns.args)} of them"
        for job in {job for job, _ in columns.runs} - self._jobs if columns.job_id == GENERATOR_JOB else ():
            yield f"the block {first} has tasks of the job {job}, which is not known"

    def _parts_in_results(self, first: int, count: int) -> list[Part]:
        parts = []
        for row in self._db.execute(
            f"SELECT {blocks.RESULTS} FROM results WHERE first > ? AND first < ? AND first + count > ?",
            (first - TASKS_PER_BATCH_MAX, first + count, first),
        ):
            # A damaged one has been named already.
            with contextlib.suppress(DamagedRow):
                part = blocks.part_of(row)
                if part.count(first, first + count):
                    parts.append(part)
        return parts

    def _check_totals(self) -> Iterator[str]:
        progress = self._progress
        if self._end - 1 > progress.last_id:
            yield f"there is a task {self._end - 1}, but the last one is said to be {progress.last_id}"
        missing, dropped = self._missing + progress.last_id + 1 - self._end, sum(progress.dropped.values())
        if missing != dropped:
            yield f"{missing} tasks are missing, but {dropped} are said to be dropped"
        if (total := blocks.add_counts(self._ended, progress.dropped)) != progress.ended:
            yield f"the closed blocks, with those that were dropped, have {total}, but the totals are {progress.ended}"
        if self._numbers + progress.dropped_numbers != progress.number:
            yield (
                f"{self._numbers} batches of results are there and {progress.dropped_numbers} are said to be dropped, "
                f"but their numbers run up to {progress.number}"
            )
        parts = self._db.execute("SELECT count(*) FROM parts").get
        within = self._numbers - self._db.execute("SELECT count(*) FROM results").get
        if parts != within:
            yield f"the table parts has {parts} rows, but the closed blocks have {within} batches of results"
        yield from self._of_clients.check_totals(progress)


def _damage(table: str, row: Row) -> Iterator[str]:
    try:
        blocks.check(table, row)
    except DamagedRow as error:
        yield str(error)


def _check_marks(first: int, count: int, parts: list[Part], closed: bool) -> Iterator[str]:
    """At most one result for each task, or exactly one."""
    marks = bytearray(count)
    for part in parts:
        low, high = max(part.first, first), min(part.end, first + count)
        rows = slice(low - first, high - first)
        taken = (part.accepted or b"\x01" * len(part.statuses))[low - part.first : high - part.first]
        if any(marks[rows]):
            for row, (before, more) in enumerate(zip(marks[rows], taken, strict=True)):
                if before and more:
                    yield f"the task {low + row} has two results, one of them in {part.number}"
            taken = bytes(map(max, marks[rows], taken))
        marks[rows] = taken
    if closed and 0 in marks:
        yield f"the task {first + marks.index(0)} of a closed block has no result"
