"""What a restart reads: of the blocks that are not closed, enough to rebuild the writer's memory and the state.

Owns the order of ``Journal.recover``. Closed blocks and ended jobs are never read, nor are the bodies of blocks above
the horizon, so that a restart takes as long as what is open is large; of an open job it learns where its blocks lie.
The caller owes that nothing is appended meanwhile.
"""

from collections.abc import Iterator

import apsw

from cyclone.journal import blocks, job_rows
from cyclone.journal.blocks import Part, Progress, add_counts
from cyclone.journal.job_rows import OpenJob
from cyclone.journal.open_blocks import OpenBlock, OpenBlocks
from cyclone.master.events import (
    AttemptsEnded,
    CancelWanted,
    ControllerJoined,
    ControllerMarked,
    GeneratorAdvanced,
    HorizonMoved,
    JobAdded,
    JobRestored,
    NamespaceSet,
    Replayed,
    TasksAdded,
    TasksClosed,
    TasksStored,
)
from cyclone.protocol.job_spec import GENERATOR_JOB
from cyclone.protocol.limits import TASKS_PER_BATCH_MAX
from cyclone.protocol.messages import Job

_OPEN_BLOCKS = (
    "SELECT t.first, t.count, coalesce(b.job_id, 0), coalesce(b.offset, 0), coalesce(b.apart, 0)"
    " FROM tasks t LEFT JOIN job_blocks b ON b.first = t.first ORDER BY t.first"
)


def load_open_jobs(db: apsw.Connection) -> dict[int, OpenJob]:
    """The submitted jobs that have not ended, as far as their closed blocks tell."""
    rows = db.execute(f"SELECT {job_rows.OPEN_JOBS} FROM open_jobs ORDER BY job_id")
    return {job.job_id: job for job in map(job_rows.open_of, rows)}


def load_open_blocks(db: apsw.Connection, horizon: int, jobs: dict[int, OpenJob]) -> OpenBlocks:
    """The writer's memory, as the writer that was killed had it; completes what is known of the open jobs."""
    found = OpenBlocks()
    for first, count, job_id, offset, apart in db.execute(_OPEN_BLOCKS):
        found.add(OpenBlock(first, count, job_id, offset, bool(apart)))
        if job := jobs.get(job_id):
            job.added += count
    for part in open_parts(db, found, horizon):
        found.record(part)
        for block in found.overlapping(part.first, part.end) if jobs else ():
            if job := jobs.get(block.job_id):
                job.ended = add_counts(job.ended, part.counts(block.first, block.end))
    return found


def recover(
    db: apsw.Connection, progress: Progress, jobs: list[Job], opened_jobs: dict[int, OpenJob], opened: OpenBlocks
) -> Iterator[Replayed]:
    """See ``Journal.recover``; attempts, too, come without their bodies. ``jobs`` are those of the generator."""
    horizon = progress.horizon
    finished = _finished(db, opened)
    yield _closed(progress, jobs, opened, finished)
    for row in db.execute("SELECT name, body FROM namespaces ORDER BY name"):
        yield NamespaceSet(job_rows.namespace_of(row))
    for job in jobs:
        yield JobAdded(job)
    for open_job in opened_jobs.values():
        yield _restored(db, open_job, opened, finished)
    horizons = _horizons(progress, opened_jobs)
    yield HorizonMoved(horizon, None if horizons is None else tuple(horizons.items()))
    for block in opened:
        if block.first in finished:
            continue
        if block.first > (horizon if horizons is None else horizons[block.job_id]):
            yield TasksStored(block.first, block.count, block.job_id, block.offset)
        else:
            yield _added(db, block.first)
    marks: dict[int, bytearray] = {}
    for part in open_parts(db, opened, horizon):
        yield from _cut_results(part, opened, marks)
    for row in _open_attempts(db, opened, horizon):
        yield from _cut_attempts(blocks.attempts_of(row), opened, marks)
    if progress.generator is not None:
        yield GeneratorAdvanced(progress.generator)
    for name, incarnation in db.execute("SELECT name, incarnation FROM controllers ORDER BY name"):
        yield ControllerJoined(name, incarnation)
    for (name,) in db.execute("SELECT name FROM drained ORDER BY name"):
        yield ControllerMarked(name, True)
    # Those of tasks that are done say nothing any more; the others are as good as new.
    for wish in db.execute(f"SELECT {blocks.CANCELLATIONS} FROM cancellations ORDER BY id"):
        first, last = wish[:2]
        if any(block.open_count for block in opened.overlapping(first, last + 1)):
            yield CancelWanted(*wish)


def _horizons(progress: Progress, jobs: dict[int, OpenJob]) -> dict[int, int] | None:
    """Of the generator and of each open job; None where nobody knows better than the one horizon of all."""
    if progress.generator_horizon is None:
        return None
    return {GENERATOR_JOB: progress.generator_horizon, **{job.job_id: job.horizon for job in jobs.values()}}


def _added(db: apsw.Connection, first: int) -> TasksAdded:
    """An open block."""
    row: blocks.Row | None = db.execute(f"SELECT {blocks.TASKS} FROM tasks WHERE first = ?", (first,)).get
    if row is None:
        raise blocks.DamagedRow(f"the block {first} has gone from the table tasks")
    return blocks.block_of(first, blocks.columns_of(row))


def _finished(db: apsw.Connection, opened: OpenBlocks) -> dict[int, dict[str, int]]:
    """The blocks that wait only to be closed, with their tasks by state: they are as good as closed."""
    found: dict[int, dict[str, int]] = {}
    for block in opened.finished:
        counts: dict[str, int] = {}
        for number in block.numbers:
            row: blocks.Row = db.execute(f"SELECT {blocks.RESULTS} FROM results WHERE number = ?", (number,)).get
            counts = add_counts(counts, blocks.part_of(row).counts(block.first, block.end))
        found[block.first] = counts
    return found


def _closed(
    progress: Progress, jobs: list[Job], opened: OpenBlocks, finished: dict[int, dict[str, int]]
) -> TasksClosed:
    ended, of_jobs = dict(progress.ended), progress.jobs_ended
    for block in opened.finished:
        ended = add_counts(ended, finished[block.first])
        if block.job_id != GENERATOR_JOB:
            of_jobs = add_counts(of_jobs, finished[block.first])
    of_generator = {state: count - of_jobs.get(state, 0) for state, count in ended.items()}
    last_job_id = max([progress.last_job_id, *(job.job_id for job in jobs)])
    return TasksClosed(
        progress.last_id, progress.number, ended, {state: n for state, n in of_generator.items() if n}, last_job_id
    )


def _restored(
    db: apsw.Connection, job: OpenJob, opened: OpenBlocks, finished: dict[int, dict[str, int]]
) -> JobRestored:
    """An open job, without its open blocks."""
    row: blocks.Row | None = db.execute(
        f"SELECT {job_rows.SUBMITTED} FROM submitted WHERE job_id = ?", (job.job_id,)
    ).get
    if row is None:
        raise blocks.DamagedRow(f"the job {job.job_id} has gone from the table submitted")
    ended = job.closed
    extents: list[tuple[int, int, int]] = []
    places = "SELECT offset, first, count FROM job_blocks WHERE job_id = ? ORDER BY offset"
    for index, first, count in db.execute(places, (job.job_id,)):
        if first in finished:
            ended = add_counts(ended, finished[first])
        elif opened.get(first):
            continue
        if extents and (index, first) == (extents[-1][0] + extents[-1][2], extents[-1][1] + extents[-1][2]):
            extents[-1] = (*extents[-1][:2], extents[-1][2] + count)
        else:
            extents.append((index, first, count))
    processed = tuple(db.execute("SELECT first, last FROM processed WHERE job_id = ? ORDER BY first", (job.job_id,)))
    return JobRestored(job_rows.submitted_of(row), job.sealed, job.held, job.added, ended, tuple(extents), processed)


def _stretches(opened: OpenBlocks, horizon: int) -> Iterator[tuple[int, int]]:
    """The ids ``low`` up to ``high`` of open blocks that adjoin; above the horizon nothing can have happened."""
    low = high = 0
    for block in opened:
        if block.first > horizon:
            break
        if block.first != high:
            if high:
                yield low, high
            low = block.first
        high = block.end
    if high:
        yield low, high


def open_parts(db: apsw.Connection, opened: OpenBlocks, horizon: int) -> Iterator[Part]:
    """The results that overlap open blocks, in order of number."""
    numbers: set[int] = set()
    for low, high in _stretches(opened, horizon):
        found = db.execute(
            "SELECT number FROM results WHERE first > ? AND first < ?", (low - TASKS_PER_BATCH_MAX, high)
        )
        numbers.update(number for (number,) in found)
    for number in sorted(numbers):
        for row in db.execute(f"SELECT {blocks.RESULTS} FROM results WHERE number = ?", (number,)):
            yield blocks.part_of(row)


def _cut_results(part: Part, opened: OpenBlocks, marks: dict[int, bytearray]) -> Iterator[Replayed]:
    """The rows of a part that are of open blocks; they are marked as done."""
    overlapping = opened.overlapping(part.first, part.end)
    shares = [block for block in overlapping if block.open_count and part.count(block.first, block.end)]
    if not shares:
        return
    low, high = max(part.first, shares[0].first), min(part.end, shares[-1].end)
    accepted = bytearray(high - low)
    for block in shares:
        start, stop = max(low, block.first), min(high, block.end)
        rows = part.accepted[start - part.first : stop - part.first] if part.accepted else b"\x01" * (stop - start)
        accepted[start - low : stop - low] = rows
        done = marks.setdefault(block.first, bytearray(block.count))
        taken = int.from_bytes(done[start - block.first : stop - block.first], "big") | int.from_bytes(rows, "big")
        done[start - block.first : stop - block.first] = taken.to_bytes(stop - start, "big")
    yield blocks.event_of_part(part, low, high, bytes(accepted) if 0 in accepted else None)


def _open_attempts(db: apsw.Connection, opened: OpenBlocks, horizon: int) -> Iterator[blocks.Row]:
    """The rows of attempts that overlap open blocks, in the order in which they ended."""
    numbers: set[int] = set()
    for low, high in _stretches(opened, horizon):
        found = db.execute("SELECT id FROM attempts WHERE first > ? AND first < ?", (low - TASKS_PER_BATCH_MAX, high))
        numbers.update(number for (number,) in found)
    for number in sorted(numbers):
        yield from db.execute(f"SELECT {blocks.ATTEMPTS} FROM attempts WHERE id = ?", (number,))


def _cut_attempts(ended: AttemptsEnded, opened: OpenBlocks, marks: dict[int, bytearray]) -> Iterator[Replayed]:
    """The attempts at tasks that are open."""
    end = ended.first + ended.count
    for block in opened.overlapping(ended.first, end):
        if not block.open_count:
            continue
        done = marks.get(block.first, bytearray(block.count))
        at, stop = max(ended.first, block.first) - block.first, min(end, block.end) - block.first
        while (at := done.find(0, at, stop)) >= 0:
            behind = done.find(1, at, stop)
            behind = stop if behind < 0 else behind
            yield AttemptsEnded(
                block.first + at, behind - at, ended.epoch, ended.attempt, ended.status, ended.controller
            )
            at = behind
