"""Closed blocks: how a block whose tasks are all done takes its final form, and how ``keep`` lets it go.

Owns both steps, each within the caller's transaction and bounded by one block. The caller owes the transaction, and its
memory changed only when that is committed.
"""

from dataclasses import dataclass

import apsw

from cyclone.journal import blocks
from cyclone.journal.blocks import Done, Progress, Row
from cyclone.journal.lookup import overlapping
from cyclone.journal.open_blocks import OpenBlock
from cyclone.master.journal import JournalBroken
from cyclone.protocol.limits import BATCH_BYTES_TARGET

# Larger results stay where they are: written a second time they would cost more than they save, and a row has an end.
BODIES_BYTES_MAX = 4 * BATCH_BYTES_TARGET


@dataclass(frozen=True, slots=True)
class Keep:
    """How long closed blocks stay: those are dropped that are older, or beyond the count. 0 keeps everything."""

    age_s: float = 0.0
    tasks: int = 0


def close_block(db: apsw.Connection, block: OpenBlock, progress: Progress, finished: int) -> None:
    """Rewrite a finished block and its results as one row; ``finished`` is Unix time."""
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
        ended = blocks.add_counts(ended, part.counts(block.first, block.end))
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
        f"INSERT INTO done({blocks.DONE}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        blocks.done_row(block.first, block.count, max(block.numbers), finished, ended, done),
    )
    progress.ended = blocks.add_counts(progress.ended, ended)


def due(db: apsw.Connection, keep: Keep, progress: Progress, consumed: int, now: float) -> int | None:
    """The oldest closed block, if it is to be dropped: by its first id."""
    if not keep.age_s and not keep.tasks:
        return None
    oldest = db.execute(
        "SELECT first, count, finished FROM done WHERE last_number <= ? ORDER BY last_number LIMIT 1", (consumed,)
    ).get
    if oldest is None:
        return None
    first, count, finished = oldest
    kept = sum(progress.ended.values()) - sum(progress.dropped.values())
    too_many = keep.tasks and kept - count >= keep.tasks
    too_old = keep.age_s and finished < now - keep.age_s
    return first if too_many or too_old else None


def drop(db: apsw.Connection, first: int, progress: Progress) -> None:
    """Delete a closed block, its results and the history of its tasks; what it shares goes with the last that does."""
    row: Row = db.execute(f"SELECT {blocks.DONE} FROM done WHERE first = ?", (first,)).get
    count, ended = row[1], blocks.counts_of(row)
    done = blocks.done_of(row)
    db.execute("DELETE FROM done WHERE first = ?", (first,))
    db.execute("DELETE FROM attempts WHERE first >= ? AND first < ?", (first, first + count))
    db.executemany("DELETE FROM parts WHERE number = ?", [(part.number,) for part in done.parts])
    unused = [(number,) for number in done.shared if not _is_used(db, number)]
    db.executemany("DELETE FROM results WHERE number = ?", unused)
    progress.dropped = blocks.add_counts(progress.dropped, ended)
    progress.dropped_numbers += len(done.parts) + len(unused)


def _is_used(db: apsw.Connection, number: int) -> bool:
    """Whether a block that is still here shares these results."""
    row: Row = db.execute(f"SELECT {blocks.RESULTS} FROM results WHERE number = ?", (number,)).get
    part = blocks.part_of(row)
    return any(part.count(first, first + count) for first, count, _ in overlapping(db, part.first, part.end))
