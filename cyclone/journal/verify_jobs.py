"""Whether what a journal says of submitted jobs follows from its rows: the part of ``verify`` that is about jobs.

Owns the rules: each job is open or has ended, never both; its blocks do not overlap, and are found by the index that
leads to them; an ended job has a result for each of its tasks; what is counted by job is the sum of what is there, and
more only where something of jobs was dropped. The caller owes ``check_jobs`` first, each block once, ``check_totals``.
"""

from collections.abc import Iterator

import apsw

from cyclone.journal import blocks, job_rows
from cyclone.journal.blocks import Columns, DamagedRow, Part, Progress, Row, add_counts
from cyclone.protocol.job_lists import with_processed
from cyclone.protocol.job_spec import GENERATOR_JOB


class _Job:
    """What the rows of a job add up to. ``counts`` are those that were recorded of it: in closed blocks of an open job,
    or in all of an ended one, of which so many were ``taken``.
    """

    def __init__(self, is_open: bool) -> None:
        self.is_open = is_open
        self.counts: dict[str, int] = {}
        self.taken = 0
        self.closed: dict[str, int] = {}
        self.ended: dict[str, int] = {}
        self.tasks = 0


class JobsVerifier:
    """See the module."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._jobs: dict[int, _Job] = {}
        self._places = self._apart = 0

    def check_jobs(self) -> Iterator[str]:
        """The rows of jobs, by themselves."""
        db, submitted = self._db, set[int]()
        for row in db.execute(f"SELECT {job_rows.SUBMITTED} FROM submitted"):
            submitted.add(row[0])
            try:
                key = job_rows.submitted_of(row).key
            except DamagedRow as error:
                yield str(error)
                continue
            if db.execute("SELECT job_id FROM job_keys WHERE key = ?", (key,)).get != row[0]:
                yield f"the job {row[0]} is not found by its key"
        for row in db.execute(f"SELECT {job_rows.OPEN_JOBS} FROM open_jobs"):
            yield from self._add(row, is_open=True)
        for row in db.execute(f"SELECT {job_rows.ENDED_JOBS} FROM ended_jobs"):
            yield from self._add(row, is_open=False)
        for row in db.execute("SELECT name, body FROM namespaces"):
            try:
                job_rows.namespace_of(row)
            except DamagedRow as error:
                yield str(error)
        for job_id in submitted ^ self._jobs.keys():
            known = "neither open nor ended" if job_id in submitted else "listed, but was never submitted"
            yield f"the job {job_id} is {known}"

    def _add(self, row: Row, is_open: bool) -> Iterator[str]:
        job_id = row[0]
        if job_id in self._jobs:
            yield f"the job {job_id} is both open and ended"
        job = self._jobs[job_id] = _Job(is_open)
        try:
            if is_open:
                job.counts = job_rows.open_of(row).closed
            else:
                ended = job_rows.ended_of(row)
                job.counts, job.taken = ended.summary.tasks, ended.taken
        except DamagedRow as error:
            yield str(error)

    def check_block(self, first: int, count: int, columns: Columns, parts: list[Part], closed: bool) -> Iterator[str]:
        """A block of tasks, and all results that reach it."""
        place: Row | None = self._db.execute(
            f"SELECT {blocks.JOB_BLOCKS} FROM job_blocks WHERE first = ?", (first,)
        ).get
        job_id = columns.job_id
        if job_id == GENERATOR_JOB:
            if place is not None:
                yield f"the block {first} is of the generator, but listed as of the job {place[1]}"
            return
        if place is None or place[:4] != (first, job_id, columns.offset, count):
            yield f"the block {first} of the job {job_id} is not found by its index {columns.offset}"
        self._places += place is not None
        if closed:
            self._apart += count if place is not None and place[4] else 0
            apart = self._db.execute("SELECT apart FROM done WHERE first = ?", (first,)).get
            if place is not None and apart != place[4]:
                yield f"nobody knows how long the closed block {first} is to be kept"
        job = self._jobs.get(job_id)
        if job is None:
            yield f"the block {first} is of the job {job_id}, which is not known"
            return
        ended: dict[str, int] = {}
        for part in parts:
            ended = add_counts(ended, part.counts(first, first + count))
            query = "SELECT 1 FROM job_results WHERE job_id = ? AND number = ?"
            if part.count(first, first + count) and not self._db.execute(query, (job_id, part.number)).get:
                yield f"the results {part.number} of the job {job_id} are not found there"
        job.tasks += count
        job.ended = add_counts(job.ended, ended)
        if closed:
            job.closed = add_counts(job.closed, ended)
        elif not job.is_open and sum(ended.values()) < count:
            yield f"the job {job_id} has ended, but tasks of its block {first} have no result"

    def check_totals(self, progress: Progress) -> Iterator[str]:
        """What follows from all blocks."""
        db, dropped = self._db, bool(progress.jobs_dropped)
        for job_id, job in self._jobs.items():
            derived, recorded = job.closed if job.is_open else job.ended, with_processed(job.counts, 0)
            if not _fits(derived, recorded, dropped):
                yield f"the job {job_id} counts {recorded}, but its blocks have {derived}"
            if job.counts != with_processed(recorded, job.taken):
                yield f"the job {job_id} counts {job.counts}, of which {job.taken} were taken"
            yield from self._check_processed(job_id, job, dropped)
        total: dict[str, int] = progress.jobs_dropped
        for job in self._jobs.values():
            total = add_counts(total, job.closed)
        if not _fits(total, progress.jobs_ended, lenient=False):
            yield f"the closed blocks of jobs, with what was dropped, have {total}, the totals {progress.jobs_ended}"
        if self._apart != progress.apart:
            yield f"{self._apart} tasks stay for as long as their jobs say, but {progress.apart} are said to"
        if (places := db.execute("SELECT count(*) FROM job_blocks").get) != self._places:
            yield f"the table job_blocks has {places} rows, but {self._places} blocks of jobs are there"
        stray = db.execute(
            "SELECT count(*) FROM job_results r WHERE NOT EXISTS (SELECT 1 FROM results WHERE number = r.number)"
            " AND NOT EXISTS (SELECT 1 FROM parts WHERE number = r.number)"
        ).get
        if stray:
            yield f"the table job_results has {stray} rows of results that are not there"
        yield from self._check_places()

    def _check_places(self) -> Iterator[str]:
        end = (0, 0)
        for job_id, offset, count in self._db.execute(
            "SELECT job_id, offset, count FROM job_blocks ORDER BY job_id, offset"
        ):
            if end[0] == job_id and offset < end[1]:
                yield f"two tasks of the job {job_id} have the index {offset}"
            end = (job_id, offset + count)

    def _check_processed(self, job_id: int, job: _Job, dropped: bool) -> Iterator[str]:
        total, end = 0, -1
        for first, last in self._db.execute(
            "SELECT first, last FROM processed WHERE job_id = ? ORDER BY first", (job_id,)
        ):
            if not end < first <= last or (last >= job.tasks and not dropped):
                yield f"the job {job_id} of {job.tasks} tasks has processed ones from {first} to {last}"
            total, end = total + last - first + 1, last + 1
        if not job.is_open and total != job.taken:
            yield f"the job {job_id} counts {job.taken} processed tasks, but {total} are"


def _fits(derived: dict[str, int], recorded: dict[str, int], lenient: bool) -> bool:
    """Whether as much is recorded as there is; more may be where something was dropped."""
    return all(
        derived.get(state, 0) <= recorded.get(state, 0) if lenient else derived.get(state, 0) == recorded.get(state, 0)
        for state in derived.keys() | recorded.keys()
    )
