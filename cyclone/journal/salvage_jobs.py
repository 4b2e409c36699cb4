"""What can be saved of submitted jobs: the part of ``salvage`` that is about them.

Owns which jobs go on. A job that had ended is open again where a result of it is lost; tasks of a job that nobody knows
any more are lost. What leads from jobs to blocks and results is not taken over but made anew. The caller owes, in this
order: ``copy_jobs``, ``add_block`` for each block of tasks, all other rows in their tables, ``settle``.
"""

from collections.abc import Callable, Iterator

import apsw

from cyclone.journal import blocks, job_rows, recovery
from cyclone.journal.blocks import Progress, Row, add_counts
from cyclone.journal.job_queries import JobQueries
from cyclone.journal.job_rows import OpenJob
from cyclone.journal.lookup import Lookup
from cyclone.protocol import states
from cyclone.protocol.job_spec import GENERATOR_JOB

_LOST = states.STATE_NAMES[states.LOST]

Rows = Callable[[str, str, str], Iterator[Row]]
"""The rows of a table, with its integer key and its columns, that can be read and fit their checksum."""


class _Found:
    """A job: how many tasks it had as far as is known, how many of them are here, and up to which index."""

    __slots__ = ("apart", "closed_here", "expected", "here", "stop")

    def __init__(self, apart: bool) -> None:
        self.apart = apart
        self.expected = self.here = self.stop = 0
        self.closed_here: dict[str, int] = {}


class JobsCopy:
    """Into the connection ``target``, in the caller's transaction. ``lost`` takes a line for each loss."""

    def __init__(self, rows: Rows, target: apsw.Connection, lost: list[str]) -> None:
        self._rows = rows
        self._db = target
        self._lost = lost
        self._found: dict[int, _Found] = {}
        self._open: dict[int, OpenJob] = {}
        self._unknown: dict[int, int] = {}

    def copy_jobs(self) -> None:
        """The jobs by themselves."""
        for row in self._rows("submitted", "job_id", job_rows.SUBMITTED):
            self._db.execute(f"INSERT INTO submitted({job_rows.SUBMITTED}) VALUES (?, ?, ?, ?)", row)
            submitted = job_rows.submitted_of(row)
            self._db.execute("REPLACE INTO job_keys VALUES (?, ?)", (submitted.key, row[0]))
            self._found[row[0]] = _Found(apart=submitted.spec.keep_s is not None)
        for row in self._rows("open_jobs", "job_id", job_rows.OPEN_JOBS):
            if found := self._found.get(row[0]):
                job = self._open[row[0]] = job_rows.open_of(row)
                found.expected = job.added
        for row in self._rows("ended_jobs", "job_id", job_rows.ENDED_JOBS):
            found = self._found.get(row[0])
            if found and row[0] not in self._open:
                self._db.execute(
                    f"INSERT INTO ended_jobs({job_rows.ENDED_JOBS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row
                )
                found.expected = sum(job_rows.ended_of(row).summary.tasks.values())

    def add_block(self, first: int, body: bytes, ended: dict[str, int] | None) -> bool:
        """A block of tasks, with its tasks by state where it was closed; False where nobody knows its job any more."""
        columns = blocks.columns_of_body(body)
        job_id, count = columns.job_id, len(columns.args)
        if job_id == GENERATOR_JOB:
            return True
        found = self._found.get(job_id)
        if found is None:
            self._unknown[job_id] = self._unknown.get(job_id, 0) + count
            return False
        self._db.execute(
            f"INSERT INTO job_blocks({blocks.JOB_BLOCKS}) VALUES (?, ?, ?, ?, ?)",
            (first, job_id, columns.offset, count, found.apart),
        )
        found.here += count
        found.stop = max(found.stop, columns.offset + count)
        if ended is None:
            # Until it was closed, it was not among the tasks that the job's own row counts.
            found.expected += count if job_id in self._open else 0
        else:
            found.closed_here = add_counts(found.closed_here, ended)
        return True

    def settle(self, progress: Progress) -> None:
        """All blocks and results are there: say which jobs are open, and what is lost of them."""
        queries = JobQueries(self._db, Lookup(self._db, {}))
        self._db.execute("DELETE FROM processed WHERE job_id NOT IN (SELECT job_id FROM submitted)")
        parts = f"SELECT {blocks.RESULTS_UP_TO} FROM results"
        for part in map(blocks.part_without_body, self._db.execute(parts, (-1,)).fetchall()):
            jobs = {
                job_id
                for job_id, _, row, count in queries.job_parts(part.first, part.end)
                if part.count(part.first + row, part.first + row + count)
            }
            self._db.executemany("INSERT INTO job_results VALUES (?, ?)", [(job_id, part.number) for job_id in jobs])
        unfinished = {
            block.job_id for block in recovery.load_open_blocks(self._db, progress.horizon, {}) if block.open_count
        }
        missing = 0
        for job_id, found in self._found.items():
            missing += max(0, max(found.expected, found.stop) - found.here)
            self._settle_job(job_id, found, job_id in unfinished, progress)
        for job_id, count in self._unknown.items():
            self._lost.append(f"the job {job_id}, and with it {count} tasks")
        more = missing - sum(progress.jobs_dropped.values())
        if more > 0:
            progress.jobs_dropped = add_counts(progress.jobs_dropped, {_LOST: more})
        if (behind := progress.jobs_dropped.get(_LOST, 0) - progress.dropped.get(_LOST, 0)) > 0:
            # They had ids behind all that are known.
            progress.last_id += behind
            progress.dropped = add_counts(progress.dropped, {_LOST: behind})
            progress.ended = dict(progress.dropped)
            self._lost.append(f"{behind} tasks of jobs, whose ids nobody knows")
        progress.jobs_ended = dict(progress.jobs_dropped)
        progress.apart = 0
        progress.last_job_id = max([progress.last_job_id, *self._found, *self._unknown])

    def _recount_processed(self, row: Row) -> None:
        """Where it is lost that tasks of an ended job were processed, they count as completed again."""
        job = job_rows.ended_of(row)
        query = "SELECT coalesce(sum(last - first + 1), 0) FROM processed WHERE job_id = ?"
        if more := self._db.execute(query, (job.summary.job_id,)).get - job.taken:
            columns = job_rows.ended_row(job.with_taken(more), row[6])
            self._db.execute(
                f"REPLACE INTO ended_jobs({job_rows.ENDED_JOBS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", columns
            )

    def _settle_job(self, job_id: int, found: _Found, is_unfinished: bool, progress: Progress) -> None:
        # Of tasks of which nothing else is known.
        stop = max(found.expected, found.stop)
        self._db.execute("DELETE FROM processed WHERE job_id = ? AND last >= ?", (job_id, stop))
        query = f"SELECT {job_rows.ENDED_JOBS} FROM ended_jobs WHERE job_id = ?"
        ended: Row | None = self._db.execute(query, (job_id,)).get
        has_ended = ended is not None
        if ended is not None and not is_unfinished:
            self._recount_processed(ended)
            return
        before = self._open.get(job_id)
        if has_ended:
            self._db.execute("DELETE FROM ended_jobs WHERE job_id = ?", (job_id,))
            self._lost.append(f"that the job {job_id} has ended")
        elif before is None:
            self._lost.append(f"whether the job {job_id} was sealed, held or has ended")
        # What is not here has ended, one way or another; of the rest the writer finds out itself.
        gone: dict[str, int] = {}
        if before is not None:
            difference = add_counts(before.closed, {state: -count for state, count in found.closed_here.items()})
            gone = {state: count for state, count in difference.items() if count > 0}
        more = stop - found.here - sum(gone.values())
        if more > 0:
            gone = add_counts(gone, {_LOST: more})
        horizon = progress.horizon if before is None or progress.generator_horizon is None else before.horizon
        job = OpenJob(
            job_id,
            found.apart,
            sealed=has_ended or (before is not None and before.sealed),
            held=before is not None and before.held,
            closed=gone,
            horizon=horizon,
        )
        self._db.execute(f"INSERT INTO open_jobs({job_rows.OPEN_JOBS}) VALUES (?, ?, ?)", job_rows.open_row(job))
