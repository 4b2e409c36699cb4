"""What a restart reads: of the blocks that are not closed, enough to rebuild the writer's memory and the state.

Owns the order of ``Journal.recover``. Closed blocks are never read, nor are the bodies of blocks above the horizon, so
that a restart takes as long as what is open is large. The caller owes that nothing is appended meanwhile.
"""

from collections.abc import Iterator

import apsw

from cyclone.journal import blocks
from cyclone.journal.blocks import Part, Progress
from cyclone.journal.open_blocks import OpenBlocks
from cyclone.master.events import (
    AttemptsEnded,
    CancelWanted,
    ControllerJoined,
    ControllerMarked,
    GeneratorAdvanced,
    HorizonMoved,
    JobAdded,
    Replayed,
    TasksAdded,
    TasksClosed,
    TasksStored,
)
from cyclone.protocol.limits import TASKS_PER_BATCH_MAX
from cyclone.protocol.messages import Job


def load_open_blocks(db: apsw.Connection, horizon: int) -> OpenBlocks:
    """The writer's memory, as the writer that was killed had it."""
    found = OpenBlocks()
    for first, count in db.execute("SELECT first, count FROM tasks ORDER BY first"):
        found.add(first, count)
    for part in open_parts(db, found, horizon):
        found.record(part)
    return found


def recover(db: apsw.Connection, progress: Progress, jobs: list[Job], opened: OpenBlocks) -> Iterator[Replayed]:
    """See ``Journal.recover``; attempts, too, come without their bodies."""
    horizon = progress.horizon
    yield TasksClosed(progress.last_id, progress.number, dict(progress.ended))
    for job in jobs:
        yield JobAdded(job)
    yield HorizonMoved(horizon)
    for row in db.execute(f"SELECT {blocks.TASKS} FROM tasks WHERE first <= ? ORDER BY first", (horizon,)):
        columns = blocks.columns_of(row)
        yield TasksAdded(row[0], columns.runs, columns.args)
    for first, count in db.execute("SELECT first, count FROM tasks WHERE first > ? ORDER BY first", (horizon,)):
        yield TasksStored(first, count)
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
    for first, last, task_class in db.execute("SELECT first, last, task_class FROM cancellations ORDER BY id"):
        if opened.overlapping(first, last + 1):
            yield CancelWanted(first, last, task_class)


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
    shares = [block for block in opened.overlapping(part.first, part.end) if part.count(block.first, block.end)]
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
        done = marks.get(block.first, bytearray(block.count))
        at, stop = max(ended.first, block.first) - block.first, min(end, block.end) - block.first
        while (at := done.find(0, at, stop)) >= 0:
            behind = done.find(1, at, stop)
            behind = stop if behind < 0 else behind
            yield AttemptsEnded(
                block.first + at, behind - at, ended.epoch, ended.attempt, ended.status, ended.controller
            )
            at = behind
