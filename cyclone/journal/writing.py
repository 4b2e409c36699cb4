"""One transaction of the writer: events into rows, and what the writer is to remember once they are committed.

Owns which rows an event makes, and the counts of submitted jobs. Nothing that the writer remembers is changed here: a
transaction that is rolled back leaves its ``Turn`` to be thrown away. The caller owes the transaction, each event in
its order, then ``compact``, and ``flush`` at the end. As long as there is no submitted job, a block of tasks and a
batch of results are one statement each.
"""

from collections.abc import Iterator, Mapping, Sequence

import apsw
import msgspec

from cyclone.journal import blocks, compaction, job_rows
from cyclone.journal.blocks import Part, Progress, Row, add_counts
from cyclone.journal.compaction import Keep
from cyclone.journal.job_rows import EndedJob, OpenJob
from cyclone.journal.open_blocks import OpenBlock, OpenBlocks
from cyclone.master.events import (
    AttemptsEnded,
    CancelWanted,
    ControllerJoined,
    ControllerLeft,
    ControllerMarked,
    GeneratorAdvanced,
    HorizonMoved,
    JobAdded,
    JobEnded,
    JobHeld,
    JobSealed,
    JobSubmitted,
    NamespaceDeleted,
    NamespaceSet,
    Recorded,
    ResultsRecorded,
    TasksAdded,
    TasksProcessed,
)
from cyclone.protocol.job_lists import ended_summary, with_processed
from cyclone.protocol.job_spec import GENERATOR_JOB

# An ended job without any task that says nothing itself, where ``keep`` knows no age.
_EMPTY_KEEP_S = 86400.0

_REACHING = (
    "SELECT first, last FROM processed WHERE job_id = :job AND first <= :high + 1 AND last >= :low - 1"
    " AND first >= coalesce((SELECT max(first) FROM processed WHERE job_id = :job AND first <= :low), 0)"
)
# Of the wishes that reach all of a job the one that reaches farthest.
_WHY_CANCELLED = (
    "SELECT reason FROM cancellations WHERE job_id = :job AND job_id > 0 AND reason <> '' AND last >= coalesce("
    "(SELECT first + count - 1 FROM job_blocks WHERE job_id = :job ORDER BY offset DESC LIMIT 1), 0)"
    " AND first <= coalesce((SELECT first FROM job_blocks WHERE job_id = :job ORDER BY offset LIMIT 1), first)"
    " ORDER BY last DESC, id DESC LIMIT 1"
)


class Turn:
    """See the module. ``jobs`` are those that are open, ``opened`` the blocks that are not closed, both as committed.

    To be remembered are ``progress``, the blocks ``added``, the jobs ``changed`` (None for one that has ended), and
    ``until``, the first moment at which a job that ended in this turn is let go.
    """

    def __init__(
        self, db: apsw.Connection, progress: Progress, jobs: Mapping[int, OpenJob], opened: OpenBlocks, keep: Keep
    ) -> None:
        self.progress = msgspec.structs.replace(progress)
        self.added: list[OpenBlock] = []
        self.changed: dict[int, OpenJob | None] = {}
        self.until: int | None = None
        self._db = db
        self._before = progress
        self._jobs = jobs
        self._opened = opened
        self._keep = keep

    def write(self, event: Recorded) -> None:
        """The rows of an event."""
        execute, progress = self._db.execute, self.progress
        match event:
            case ResultsRecorded(number=number):
                assert number == progress.number + 1, f"results {number} come behind {progress.number}"
                progress.number = number
                execute(
                    f"INSERT INTO results({blocks.RESULTS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    blocks.results_row(event),
                )
                if self._jobs or self.changed:
                    self._count(blocks.part_of_event(event))
            case TasksAdded():
                assert event.first == progress.last_id + 1, f"task {event.first} comes behind {progress.last_id}"
                progress.last_id += len(event.args)
                execute(f"INSERT INTO tasks({blocks.TASKS}) VALUES (?, ?, ?, ?)", blocks.tasks_row(event))
                if event.keys:
                    self._db.executemany("INSERT INTO keys VALUES (?)", [(key,) for key in event.keys if key])
                is_apart = event.job_id != GENERATOR_JOB and self._place(event)
                self.added.append(OpenBlock(event.first, len(event.args), event.job_id, event.offset, is_apart))
            case HorizonMoved(last_id, moved):
                self._move_horizon(last_id, moved)
            case GeneratorAdvanced(generator):
                progress.generator = generator
            case AttemptsEnded():
                for row in map(blocks.attempts_row, blocks.cut_attempts(event)):
                    execute(f"INSERT INTO attempts({blocks.ATTEMPTS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            case ControllerJoined(name, incarnation):
                execute("INSERT OR REPLACE INTO controllers VALUES (?, ?)", (name, incarnation))
            case ControllerLeft(name):
                execute("DELETE FROM controllers WHERE name = ?", (name,))
            case ControllerMarked(name, True):
                execute("INSERT OR IGNORE INTO drained VALUES (?)", (name,))
            case ControllerMarked(name, False):
                execute("DELETE FROM drained WHERE name = ?", (name,))
            case CancelWanted(first, last, task_class, job_id, status, reason):
                columns = (first, last, task_class, job_id, status, reason)
                execute(f"INSERT INTO cancellations({blocks.CANCELLATIONS}) VALUES (?, ?, ?, ?, ?, ?)", columns)
            case _:
                self._write_of_jobs(event)

    def _write_of_jobs(self, event: Recorded) -> None:
        execute = self._db.execute
        match event:
            case JobAdded(job):
                execute(f"INSERT INTO jobs({blocks.JOBS}) VALUES (?, ?, ?)", blocks.job_row(job))
                self.progress.last_job_id = max(self.progress.last_job_id, job.job_id)
            case JobSubmitted(job=job, spec=spec, key=key):
                row = job_rows.submitted_row(event)
                execute(f"INSERT INTO submitted({job_rows.SUBMITTED}) VALUES (?, ?, ?, ?)", row)
                execute("INSERT INTO job_keys VALUES (?, ?)", (key, job.job_id))
                self.progress.last_job_id = max(self.progress.last_job_id, job.job_id)
                self.changed[job.job_id] = OpenJob(job.job_id, spec.keep_s is not None, sealed=False, held=spec.held)
            case JobSealed(job_id):
                self._change(job_id).sealed = True
            case JobHeld(job_id, held):
                self._change(job_id).held = held
            case JobEnded(job_id, finished):
                self._end_job(job_id, finished)
            case TasksProcessed(job_id, indexes):
                self._mark_processed(job_id, indexes)
            case NamespaceSet(namespace):
                execute("INSERT OR REPLACE INTO namespaces VALUES (?, ?)", job_rows.namespace_row(namespace))
            case NamespaceDeleted(name):
                execute("DELETE FROM namespaces WHERE name = ?", (name,))

    def _move_horizon(self, last_id: int, moved: tuple[tuple[int, int], ...] | None) -> None:
        progress = self.progress
        if moved is None:
            progress.generator_horizon = None
        elif progress.generator_horizon is None:
            # Until now nobody knew better.
            progress.generator_horizon = progress.horizon
            for job_id in [*self._jobs, *self.changed]:
                if self.changed.get(job_id, job_id):
                    self._change(job_id).horizon = progress.horizon
        for job_id, last in moved or ():
            if job_id == GENERATOR_JOB:
                progress.generator_horizon = last
            else:
                self._change(job_id).horizon = last
        progress.horizon = last_id

    def _change(self, job_id: int) -> OpenJob:
        """An open job, to be changed in this turn."""
        job = self.changed.get(job_id)
        if job is None:
            assert job_id not in self.changed, f"the job {job_id} has just ended"
            job = self.changed[job_id] = msgspec.structs.replace(self._jobs[job_id])
        return job

    def _place(self, event: TasksAdded) -> bool:
        """Where the tasks of a submitted job lie; whether they stay for as long as it says."""
        job, count = self._change(event.job_id), len(event.args)
        assert event.offset == job.added, f"the job {job.job_id} has {job.added} tasks: {event.offset} comes too early"
        job.added += count
        self._db.execute(
            f"INSERT INTO job_blocks({blocks.JOB_BLOCKS}) VALUES (?, ?, ?, ?, ?)",
            (event.first, event.job_id, event.offset, count, job.apart),
        )
        return job.apart

    def _count(self, part: Part) -> None:
        """Results of submitted jobs."""
        found: dict[int, None] = {}
        for block in self._reached(part):
            if block.job_id != GENERATOR_JOB and part.count(block.first, block.end):
                job = self._change(block.job_id)
                job.ended = add_counts(job.ended, part.counts(block.first, block.end))
                found[block.job_id] = None
        if found:
            self._db.executemany("INSERT INTO job_results VALUES (?, ?)", [(job_id, part.number) for job_id in found])

    def _reached(self, part: Part) -> Iterator[OpenBlock]:
        yield from self._opened.overlapping(part.first, part.end)
        for block in self.added:
            if block.first < part.end and block.end > part.first:
                yield block

    def _end_job(self, job_id: int, finished: float) -> None:
        job, execute = self._change(job_id), self._db.execute
        assert sum(job.ended.values()) == job.added, f"the job {job_id} ends with {job.added} tasks and {job.ended}"
        row: Row = execute(f"SELECT {job_rows.SUBMITTED} FROM submitted WHERE job_id = ?", (job_id,)).get
        submitted = job_rows.submitted_of(row)
        keep_s = submitted.spec.keep_s
        is_empty = execute("SELECT 1 FROM job_blocks WHERE job_id = ? LIMIT 1", (job_id,)).get is None
        if keep_s is None and is_empty and self._keep != Keep():
            # No block of it will go and take it along.
            keep_s = self._keep.age_s or _EMPTY_KEEP_S
        until = job_rows.until_of(finished, keep_s)
        if until is not None:
            self.until = until if self.until is None else min(until, self.until)
        query = "SELECT coalesce(sum(last - first + 1), 0) FROM processed WHERE job_id = ?"
        taken = execute(query, (job_id,)).get
        tasks = with_processed(job.ended, taken)
        summary = ended_summary(job_id, submitted.spec, submitted.owner, submitted.submitted, finished, tasks)
        reason = execute(_WHY_CANCELLED, {"job": job_id}).get or ""
        self._write_ended(job_rows.ended_row(EndedJob(summary, reason, taken), until))
        execute("DELETE FROM open_jobs WHERE job_id = ?", (job_id,))
        # The second condition is that of the index.
        execute("DELETE FROM cancellations WHERE job_id = ? AND job_id > 0", (job_id,))
        self.changed[job_id] = None

    def _write_ended(self, row: Row) -> None:
        self._db.execute(
            f"INSERT OR REPLACE INTO ended_jobs({job_rows.ENDED_JOBS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row
        )

    def _mark_processed(self, job_id: int, indexes: Sequence[tuple[int, int]]) -> None:
        execute, more = self._db.execute, 0
        row: Row | None = execute(f"SELECT {job_rows.ENDED_JOBS} FROM ended_jobs WHERE job_id = ?", (job_id,)).get
        if row is None and not (self._jobs.get(job_id) or self.changed.get(job_id)):
            # It was let go.
            return
        for low, high in indexes:
            reached: list[Row] = execute(_REACHING, {"job": job_id, "low": low, "high": high}).fetchall()
            first, last = min([low, *(a for a, _ in reached)]), max([high, *(b for _, b in reached)])
            self._db.executemany(
                "DELETE FROM processed WHERE job_id = ? AND first = ?", [(job_id, at) for at, _ in reached]
            )
            execute("INSERT INTO processed VALUES (?, ?, ?)", (job_id, first, last))
            more += last - first + 1 - sum(b - a + 1 for a, b in reached)
        if row is not None and more:
            self._write_ended(job_rows.ended_row(job_rows.ended_of(row).with_taken(more), row[6]))

    def compact(self, closing: Sequence[OpenBlock], drops: int, consumed: int, now: float, until: float) -> None:
        """Close these blocks, and drop what is to go, so many of them; ``until``: when a job says so itself."""
        progress = self.progress
        for block in closing:
            ended = compaction.close_block(self._db, block, progress, int(now))
            job = self._jobs.get(block.job_id) if block.job_id not in self.changed else self.changed[block.job_id]
            if job is not None:
                job = self._change(block.job_id)
                job.closed = add_counts(job.closed, ended)
        for _ in range(drops):
            due = compaction.due(self._db, self._keep, progress, consumed, now, now >= until)
            if due is None:
                return
            compaction.drop(self._db, due, progress)

    def flush(self) -> None:
        """What was gathered over the turn."""
        if self.progress != self._before:
            row = blocks.progress_row(self.progress)
            self._db.execute(f"INSERT OR REPLACE INTO progress({blocks.PROGRESS}) VALUES (?, ?, ?)", row)
        rows = [
            job_rows.open_row(job)
            for job_id, job in self.changed.items()
            if job is not None and (job_id not in self._jobs or job.differs(self._jobs[job_id]))
        ]
        if rows:
            self._db.executemany(f"INSERT OR REPLACE INTO open_jobs({job_rows.OPEN_JOBS}) VALUES (?, ?, ?)", rows)
