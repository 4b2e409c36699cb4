"""From an id or a number to a block or a batch of results, whether its block is closed or not.

Owns the reading of single blocks, for the writer's connection and for a reader's alike. No read transaction outlives a
call. Blocks that were just read are kept for the next question, since questions come in order.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import apsw

from cyclone.journal import blocks
from cyclone.journal.blocks import Columns, Part, Row
from cyclone.protocol.runs import Runs, merge_runs, slice_runs
from cyclone.results import RecordedBlock

_KEPT_MAX = 16
_KEPT_CLASSES_MAX = 1024
# Of rows of which the journal knows no task: nobody asks for them, since they are not accepted.
_NO_JOB = 0

_OVERLAPPING = " UNION ALL ".join(
    f"SELECT first, count, {closed} FROM {table} WHERE first < :high"
    f" AND first >= coalesce((SELECT max(first) FROM {table} WHERE first <= :low), :low) AND first + count > :low"
    for table, closed in (("tasks", 0), ("done", 1))
)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of tasks, and where it is closed its own results by number."""

    first: int
    columns: Columns
    parts: dict[int, Part]
    shared: list[int]

    @property
    def end(self) -> int:
        """One behind the last id."""
        return self.first + len(self.columns.args)


def overlapping(db: apsw.Connection, low: int, high: int) -> list[tuple[int, int, bool]]:
    """The blocks with ids from ``low`` up to ``high`` in their order: first, count, whether closed."""
    rows = db.execute(f"{_OVERLAPPING} ORDER BY 1", {"low": low, "high": high})
    return [(first, count, bool(closed)) for first, count, closed in rows]


class Lookup:
    """Reads on a connection. ``classes`` has the task class of each job of the generator and may grow meanwhile."""

    def __init__(self, db: apsw.Connection, classes: dict[int, str]) -> None:
        self._db = db
        self._classes = classes
        self._kept: dict[int, Block] = {}
        # Of submitted jobs, those that were asked for last.
        self._kept_classes: dict[int, str] = {}

    def task_class(self, job_id: int) -> str:
        """The class of a job's tasks; empty for one that is not there any more."""
        name = self._classes.get(job_id) or self._kept_classes.get(job_id)
        if name is None and job_id != _NO_JOB:
            name = self._db.execute("SELECT class FROM submitted WHERE job_id = ?", (job_id,)).get or ""
            if len(self._kept_classes) >= _KEPT_CLASSES_MAX:
                self._kept_classes.clear()
            self._kept_classes[job_id] = name
        return name or ""

    def results_after(self, number: int) -> Iterator[tuple[int, RecordedBlock]]:
        """See ``Journal.results_after``."""
        while (part := self._part_after(number)) is not None:
            number = part.number
            yield number, self.recorded(part)

    def tasks(self, first: int) -> Columns | None:
        """An open block."""
        row: Row | None = self._db.execute(f"SELECT {blocks.TASKS} FROM tasks WHERE first = ?", (first,)).get
        return None if row is None else blocks.columns_of(row)

    def closed(self, first: int) -> Block | None:
        """A closed block."""
        block = self._kept.get(first)
        if block is not None and (block.parts or block.shared):
            return block
        row: Row | None = self._db.execute(f"SELECT {blocks.DONE} FROM done WHERE first = ?", (first,)).get
        if row is None:
            return None
        done = blocks.done_of(row)
        return self._keep(
            Block(first, blocks.columns_in(done), {part.number: part for part in done.parts}, done.shared)
        )

    def part(self, number: int) -> Part | None:
        """The results of a number, of an open block or shared by several."""
        row: Row | None = self._db.execute(f"SELECT {blocks.RESULTS} FROM results WHERE number = ?", (number,)).get
        return None if row is None else blocks.part_of(row)

    def part_anywhere(self, number: int) -> Part | None:
        """The results of a number, also within a closed block; None where they are not there any more."""
        part = self.part(number)
        if part is None:
            first = self._db.execute("SELECT first FROM parts WHERE number = ?", (number,)).get
            block = None if first is None else self.closed(first)
            part = None if block is None else block.parts.get(number)
        return part

    def recorded(self, part: Part) -> RecordedBlock:
        """A part with its tasks' classes and arguments."""
        runs: Runs = []
        args: list[bytes] = []
        for first, _, closed in self._blocks_of(part):
            block = self._kept.get(first) or self._read(first, closed)
            at, start, stop = part.first + len(args), max(part.first, block.first), min(part.end, block.end)
            if at < start:
                runs, args = merge_runs(runs, [(_NO_JOB, start - at)]), args + [b""] * (start - at)
            runs = merge_runs(runs, slice_runs(block.columns.runs, start - block.first, stop - block.first))
            args += block.columns.args[start - block.first : stop - block.first]
        if missing := len(part.statuses) - len(args):
            runs, args = merge_runs(runs, [(_NO_JOB, missing)]), args + [b""] * missing
        named = [(self.task_class(job), count) for job, count in runs]
        return RecordedBlock(
            part.first, part.attempt, named, args, part.statuses, part.accepted, part.body, part.controller
        )

    def options(self, part: Part) -> dict[int, tuple[float | None, float | None]]:
        """The options that some tasks of a part have of their own, by row."""
        found: dict[int, tuple[float | None, float | None]] = {}
        for first, _, closed in self._blocks_of(part):
            block = self._kept.get(first) or self._read(first, closed)
            for row, not_before, time_limit_s in block.columns.options:
                if part.first <= block.first + row < part.end:
                    found[block.first + row - part.first] = not_before, time_limit_s
        return found

    def _part_after(self, number: int) -> Part | None:
        open_number = self._db.execute("SELECT min(number) FROM results WHERE number > ?", (number,)).get
        found = self._db.execute("SELECT number, first FROM parts WHERE number > ? ORDER BY 1 LIMIT 1", (number,)).get
        if found is None or (open_number is not None and open_number < found[0]):
            return None if open_number is None else self.part(open_number)
        block = self.closed(found[1])
        return None if block is None else block.parts[found[0]]

    def _blocks_of(self, part: Part) -> list[tuple[int, int, bool]]:
        for block in self._kept.values():
            if block.first <= part.first and part.end <= block.end:
                return [(block.first, len(block.columns.args), True)]
        return overlapping(self._db, part.first, part.end)

    def _read(self, first: int, closed: bool) -> Block:
        columns = None if closed else self.tasks(first)
        if columns is not None:
            return self._keep(Block(first, columns, {}, []))
        block = self.closed(first)
        assert block is not None, f"the block {first} went away between two looks of one connection"
        return block

    def _keep(self, block: Block) -> Block:
        if len(self._kept) >= _KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[block.first] = block
        return block
