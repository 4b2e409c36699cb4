"""Closed blocks: how a block whose tasks are all done takes its final form, and how it is let go.

Owns both steps, each within the caller's transaction and bounded by one block. The caller owes the transaction, and its
memory changed only when that is committed.
"""

from dataclasses import dataclass
from typing import NamedTuple

import apsw

from cyclone.journal import blocks
from cyclone.journal.blocks import Done, Progress, Row, add_counts
from cyclone.journal.lookup import overlapping
from cyclone.journal.open_blocks import OpenBlock
from cyclone.master.journal import JournalBroken
from cyclone.protocol.job_spec import GENERATOR_JOB
from cyclone.protocol.limits import BATCH_BYTES_TARGET

# Larger results stay where they are: written a second time they would cost more than they save, and a row has an end.
BODIES_BYTES_MAX = 4 * BATCH_BYTES_TARGET


@dataclass(frozen=True, slots=True)
class Keep:
    """How long closed blocks stay: those are dropped that are older, or beyond the count. 0 keeps everything."""

    age_s: float = 0.0
    tasks: int = 0


class Due(NamedTuple):
    """What is to be dropped: a closed block by its first id, or where that is None an ended job that has none left."""

    first: int | None
    job_id: int = GENERATOR_JOB


def close_block(db: apsw.Connection, block: OpenBlock, progress: Progress, finished: int) -> dict[str, int]:
    """Rewrite a finished block and its results as one row; ``finished`` is Unix time. Returns its tasks by state."""
    row: Row | None = db.execute(f"SELECT {blocks.TASKS} FROM tasks WHERE first = ?", (block.first,)).get
    if row is None:
        raise JournalBroken(f"the block {block.first} has gone from the table tasks")
    blocks.check("tasks", row)
    done = Done(row[-1], [], [])
    ended: dict[str, int] = {}
    room = BODIES_BYTES_MAX
    for number in block.numbers:
        query = f"SELECT {blocks.RESULTS_UP_TO} FROM results WHERE number = ?"
        found: Row | None = db.execute(query, (room, number)).get
        if found is None:
            raise JournalBroken(f"the results {number} have gone from the table results")
        is_large = found[-1] is None
        part = blocks.part_without_body(found) if is_large else blocks.part_of(found)
        ended = add_counts(ended, part.counts(block.first, block.end))
        if not is_large and part.is_within(block.first, block.end):
            done.parts.append(part)
            room -= len(part.body)
        else:
            done.shared.append(number)
    if sum(ended.values()) != block.count:
        raise JournalBroken(f"the block {block.first} of {block.count} tasks has {sum(ended.values())} results")
    inner = [(part.number,) for part in done.parts]
    db.execute("DELETE FROM tasks WHERE first = ?", (block.first,))
    db.executemany("DELETE FROM results WHERE number = ?", inner)
    db.executemany("INSERT INTO parts VALUES (?, ?)", [(number, block.first) for (number,) in inner])
    db.execute(
        f"INSERT INTO done({blocks.DONE}, apart) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *blocks.done_row(block.first, block.count, max(block.numbers), finished, ended, done),
            block.apart,
        ),
    )
    progress.ended = add_counts(progress.ended, ended)
    if block.job_id != GENERATOR_JOB:
        progress.jobs_ended = add_counts(progress.jobs_ended, ended)
        progress.apart += block.count if block.apart else 0
    return ended


def due(
    db: apsw.Connection, keep: Keep, progress: Progress, consumed: int, now: float, ask_jobs: bool = True
) -> Due | None:
    """What is to be dropped next: the oldest closed block by ``keep``, or something of a job that says so itself."""
    if ask_jobs and (found := _due_by_job(db, consumed, now)):
        return found
    if not keep.age_s and not keep.tasks:
        return None
    oldest = db.execute(
        "SELECT first, count, finished FROM done WHERE NOT apart AND last_number <= ? ORDER BY last_number LIMIT 1",
        (consumed,),
    ).get
    if oldest is None:
        return None
    first, count, finished = oldest
    kept = sum(progress.ended.values()) - sum(progress.dropped.values()) - progress.apart
    too_many = keep.tasks and kept - count >= keep.tasks
    too_old = keep.age_s and finished < now - keep.age_s
    return Due(first) if too_many or too_old else None


def _due_by_job(db: apsw.Connection, consumed: int, now: float) -> Due | None:
    job_id = db.execute(
        "SELECT job_id FROM ended_jobs WHERE until > 0 AND until <= ? ORDER BY until LIMIT 1", (now,)
    ).get
    if job_id is None:
        return None
    block = db.execute(
        "SELECT b.first, d.last_number FROM job_blocks b LEFT JOIN done d ON d.first = b.first"
        " WHERE b.job_id = ? ORDER BY b.offset LIMIT 1",
        (job_id,),
    ).get
    if block is None:
        return Due(None, job_id)
    first, last_number = block
    # It is not closed yet, or somebody has not had it.
    return None if last_number is None or last_number > consumed else Due(first)


def drop(db: apsw.Connection, what: Due, progress: Progress) -> None:
    """Delete a closed block, its results and the history of its tasks; what it shares goes with the last that does.

    An ended job goes with its last block. Its key stays, so that a repeated submit makes no second one.
    """
    if what.first is None:
        _drop_job(db, what.job_id)
        return
    first = what.first
    row: Row = db.execute(f"SELECT {blocks.DONE} FROM done WHERE first = ?", (first,)).get
    count, ended = row[1], blocks.counts_of(row)
    done = blocks.done_of(row)
    place: Row | None = db.execute(f"SELECT {blocks.JOB_BLOCKS} FROM job_blocks WHERE first = ?", (first,)).get
    db.execute("DELETE FROM done WHERE first = ?", (first,))
    db.execute("DELETE FROM attempts WHERE first >= ? AND first < ?", (first, first + count))
    db.executemany("DELETE FROM parts WHERE number = ?", [(part.number,) for part in done.parts])
    if place is not None:
        _drop_place(db, place, done, progress)
        progress.jobs_dropped = add_counts(progress.jobs_dropped, ended)
    unused = [(number,) for number in done.shared if not _is_used(db, number)]
    db.executemany("DELETE FROM results WHERE number = ?", unused)
    progress.dropped = add_counts(progress.dropped, ended)
    progress.dropped_numbers += len(done.parts) + len(unused)


def _drop_place(db: apsw.Connection, place: Row, done: Done, progress: Progress) -> None:
    """What leads from a job to a block, and the job where that was its last one."""
    first, job_id, _, count, apart = place
    db.execute("DELETE FROM job_blocks WHERE first = ?", (first,))
    gone = [part.number for part in done.parts]
    gone += [number for number in done.shared if not _is_used(db, number, job_id)]
    db.executemany("DELETE FROM job_results WHERE job_id = ? AND number = ?", [(job_id, number) for number in gone])
    progress.apart -= count if apart else 0
    if db.execute("SELECT 1 FROM job_blocks WHERE job_id = ? LIMIT 1", (job_id,)).get is None:
        ended = db.execute("SELECT 1 FROM ended_jobs WHERE job_id = ?", (job_id,)).get
        if ended is not None:
            _drop_job(db, job_id)


def _drop_job(db: apsw.Connection, job_id: int) -> None:
    for table in ("submitted", "ended_jobs", "processed"):
        db.execute(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))


def _is_used(db: apsw.Connection, number: int, job_id: int | None = None) -> bool:
    """Whether a block that is still here, or one of this job, shares these results."""
    row: Row = db.execute(f"SELECT {blocks.RESULTS} FROM results WHERE number = ?", (number,)).get
    part = blocks.part_of(row)
    return any(
        part.count(first, first + count)
        for first, count, _ in overlapping(db, part.first, part.end)
        if job_id is None or job_id == db.execute("SELECT job_id FROM job_blocks WHERE first = ?", (first,)).get
    )
