"""What is asked about submitted jobs, of a journal's file: for the writer's connection and for a reader's alike.

Owns the questions; each is answered from an index, and looks at a bounded number of rows. No read transaction outlives
a call, or a step of an iterator.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import apsw

from cyclone.journal import blocks, job_rows
from cyclone.journal.blocks import Part, Row
from cyclone.journal.lookup import Lookup
from cyclone.master.events import JobSubmitted
from cyclone.protocol.job_lists import id_windows, is_meant
from cyclone.protocol.job_messages import JobBlock, JobSummary, TaskRow
from cyclone.protocol.job_spec import JobSelection
from cyclone.protocol.limits import ID_MAX, TASKS_PER_BATCH_MAX
from cyclone.results import RecordedBlock
from cyclone.task_figures import Figures, add_up
from cyclone.task_rows import OwnOptions, Stretch, Wanted, job_block, list_rows

# Of ended jobs one call finds so many, and looks at so many: those that do not fit are passed over at some tenths of a
# microsecond. Together that is some 5 ms.
_FOUND_MAX = 1024
_LOOKS_MAX = 8192
# In looks: what it costs to see whether there is any in a range of numbers, and to look at tags, which are in the body.
_LOOKS_PER_RANGE = 64
_LOOKS_PER_BODY = 16
# Blocks of a job that are found in one go.
_PLACES = 64

_ENDED = (
    f"SELECT {job_rows.ENDED_JOBS} FROM ended_jobs WHERE job_id BETWEEN :low AND :high"
    " AND (:namespace = '' OR namespace = :namespace) AND (:owner = '' OR owner = :owner)"
    " AND (:name = '' OR name = :name) AND (:session = '' OR session = :session)"
    " AND (:states = '' OR instr(:states, ' ' || state || ' ')) ORDER BY job_id DESC LIMIT :count"
)
_PLACES_FROM = (
    "SELECT b.first, b.offset, b.count, d.ended FROM job_blocks b LEFT JOIN done d ON d.first = b.first"
    " WHERE b.job_id = :job AND b.offset >= :at ORDER BY b.offset LIMIT :count"
)
_PARTS = (
    "SELECT job_id, offset, first, count FROM job_blocks WHERE first < :high AND first + count > :low"
    " AND first >= coalesce((SELECT max(first) FROM job_blocks WHERE first <= :low), :low) ORDER BY first"
)
_PROCESSED = (
    "SELECT first, last FROM processed WHERE job_id = :job AND first < :high AND last >= :low AND first >= coalesce("
    "(SELECT max(first) FROM processed WHERE job_id = :job AND first <= :low), :low) ORDER BY first"
)


class JobQueries:
    """See the module, and ``cyclone.master.journal.Journal``."""

    def __init__(self, db: apsw.Connection, lookup: Lookup) -> None:
        self._db = db
        self._lookup = lookup
        # Of the closed block that was asked for last: its first task, and its results by index.
        self._cut: tuple[int, list[Stretch]] = (0, [])

    def job_of_key(self, key: bytes) -> int | None:
        """See ``Journal.job_of_key``."""
        found: int | None = self._db.execute("SELECT job_id FROM job_keys WHERE key = ?", (key,)).get
        return found

    def ended_jobs(self, selection: JobSelection, before: int, page: int) -> tuple[list[JobSummary], int]:
        """See ``Journal.ended_jobs``."""
        found: list[JobSummary] = []
        page = min(page, _FOUND_MAX)
        looks = max(1, _LOOKS_MAX // _LOOKS_PER_BODY) if selection.tags else _LOOKS_MAX
        for low, high in id_windows(selection, before):
            if looks <= 0:
                return found, high + 1
            top = self._newest_ended(high)
            while top >= low:
                if len(found) == page or looks <= 0:
                    return found, top + 1
                room = page - len(found)
                # As numbers of jobs hardly have gaps, so many of them are about so many looks.
                bottom = max(low, top - looks + 1)
                rows = self._ended(selection, bottom, top, room)
                found += [job for job in rows if is_meant(selection, job)]
                reached = rows[-1].job_id if len(rows) == room else bottom
                looks -= top - reached + 1
                top = self._newest_ended(reached - 1)
            looks -= _LOOKS_PER_RANGE
        return found, 0

    def _newest_ended(self, up_to: int) -> int:
        return self._db.execute("SELECT max(job_id) FROM ended_jobs WHERE job_id <= ?", (up_to,)).get or 0

    def _ended(self, selection: JobSelection, low: int, high: int, count: int) -> list[JobSummary]:
        filters = {
            "namespace": selection.namespace,
            "owner": selection.owner,
            "name": selection.name,
            "session": selection.session,
            "states": f" {' '.join(selection.states)} " if selection.states else "",
        }
        rows = self._db.execute(_ENDED, {**filters, "low": low, "high": high, "count": count})
        return [job_rows.ended_of(row).summary for row in rows]

    def ended_job(self, job_id: int) -> tuple[JobSubmitted, JobSummary, str] | None:
        """See ``Journal.ended_job``."""
        execute = self._db.execute
        ended: Row | None = execute(f"SELECT {job_rows.ENDED_JOBS} FROM ended_jobs WHERE job_id = ?", (job_id,)).get
        row: Row | None = execute(f"SELECT {job_rows.SUBMITTED} FROM submitted WHERE job_id = ?", (job_id,)).get
        if row is None or ended is None:
            return None
        job = job_rows.ended_of(ended)
        return job_rows.submitted_of(row), job.summary, job.reason

    def lost_results(self, job_id: int, added: int | None) -> int:
        """See ``Journal.lost_results``; ``added`` is how many tasks an open job has."""
        if added is None:
            row = self._db.execute(f"SELECT {job_rows.ENDED_JOBS} FROM ended_jobs WHERE job_id = ?", (job_id,)).get
            added = sum(job_rows.ended_of(row).summary.tasks.values()) if row else 0
        kept = self._db.execute("SELECT sum(count) FROM job_blocks WHERE job_id = ?", (job_id,)).get or 0
        return max(0, added - kept)

    def job_parts(self, low: int, high: int) -> list[tuple[int, int, int, int]]:
        """See ``Journal.job_parts``: of the ids from ``low`` up to ``high``."""
        found: list[tuple[int, int, int, int]] = []
        for job_id, offset, first, count in self._db.execute(_PARTS, {"low": low, "high": high}):
            start, stop = max(low, first), min(high, first + count)
            index, row = offset + start - first, start - low
            if found and found[-1][0] == job_id and found[-1][2] + found[-1][3] == row:
                found[-1] = (*found[-1][:3], found[-1][3] + stop - start)
            else:
                found.append((job_id, index, row, stop - start))
        return found

    def job_results_after(self, job_id: int, number: int) -> Iterator[tuple[int, list[JobBlock]]]:
        """See ``Journal.job_results_after``."""
        query = "SELECT min(number) FROM job_results WHERE job_id = ? AND number > ?"
        while (following := self._db.execute(query, (job_id, number)).get) is not None:
            number = following
            part = self._lookup.part_anywhere(number)
            if part is not None and (found := self._of_job(part, job_id)):
                yield number, found

    def _of_job(self, part: Part, job_id: int) -> list[JobBlock]:
        """What is the job's of a batch of results."""
        # What the tasks were is not asked for here.
        recorded = RecordedBlock(
            part.first, part.attempt, [], (), part.statuses, part.accepted, part.body, part.controller
        )
        return [
            job_block(recorded, index, row, count)
            for owner, index, row, count in self.job_parts(part.first, part.end)
            if owner == job_id and part.count(part.first + row, part.first + row + count)
        ]

    def task_rows(
        self, job_id: int, start: int, page: int, states: Sequence[str], with_args: bool, with_values: bool
    ) -> tuple[list[TaskRow], int | None]:
        """See ``Journal.task_rows``."""
        wanted = Wanted(start, states, Processed(self._db, job_id).has, with_values)
        if with_args:
            wanted = wanted._replace(args_of=self._args_of, options_of=self._options_of)
        return list_rows(self._stretches(job_id, start, wanted.may_be_among), wanted, page)

    def task_figures(self, job_id: int, start: int, stop: int) -> tuple[Figures, int | None]:
        """See ``Journal.task_figures``."""
        return add_up(self._stretches(job_id, start), start, stop, Processed(self._db, job_id).within)

    def _stretches(
        self, job_id: int, start: int, may_be_among: Callable[[Collection[str]], bool] = lambda _: True
    ) -> Iterator[Stretch]:
        """The results of a job by index, from the block on that has the index ``start``.

        Without those of a closed block of whose recorded states ``may_be_among`` says that they are not meant.
        """
        query = "SELECT coalesce(max(offset), 0) FROM job_blocks WHERE job_id = ? AND offset <= ?"
        at = self._db.execute(query, (job_id, start)).get
        places: list[Row]
        while places := self._db.execute(_PLACES_FROM, {"job": job_id, "at": at, "count": _PLACES}).fetchall():
            for first, offset, count, ended in places:
                at = offset + count
                if ended and not may_be_among(blocks.counts_in(ended)):
                    yield Stretch(offset, at, None)
                else:
                    yield from self._stretches_of(first, offset, count, is_closed=ended is not None)

    def _stretches_of(self, first: int, offset: int, count: int, is_closed: bool) -> list[Stretch]:
        """The results of a block of tasks, by index."""
        if not is_closed:
            return _by_index(self._open_parts(first, first + count), first, offset, count)
        if self._cut[0] != first:
            # Questions come in order, and of tasks that were done one by one a page is a small part of a block.
            self._cut = first, _by_index(self._closed_parts(first), first, offset, count)
        return self._cut[1]

    def _closed_parts(self, first: int) -> list[Part]:
        block = self._lookup.closed(first)
        if block is None:
            return []
        return [*block.parts.values(), *(part for number in block.shared if (part := self._lookup.part(number)))]

    def _open_parts(self, low: int, high: int) -> list[Part]:
        rows = self._db.execute(
            f"SELECT {blocks.RESULTS} FROM results WHERE first > ? AND first < ? AND first + count > ?",
            (low - TASKS_PER_BATCH_MAX, high, low),
        )
        return [blocks.part_of(row) for row in rows]

    def _args_of(self, block: JobBlock) -> Sequence[bytes]:
        return self._lookup.recorded(_part(block)).args

    def _options_of(self, block: JobBlock) -> Mapping[int, OwnOptions]:
        return self._lookup.options(_part(block))


class Processed:
    """Whether a task counts as processed. What was found holds for the indexes around it, which are asked for next."""

    def __init__(self, db: apsw.Connection, job_id: int) -> None:
        self._db = db
        self._job_id = job_id
        # From the one index up to the other the answer is this.
        self._known = (0, 0, False)

    def has(self, index: int) -> bool:
        """Of the task with this index."""
        low, high, answer = self._known
        if not low <= index < high:
            self._known = self._look(index)
            answer = self._known[2]
        return answer

    def within(self, low: int, high: int) -> list[tuple[int, int]]:
        """The ranges that have indexes from ``low`` up to ``high``."""
        rows = self._db.execute(_PROCESSED, {"job": self._job_id, "low": low, "high": high})
        return [(first, last) for first, last in rows]

    def _look(self, index: int) -> tuple[int, int, bool]:
        query = "SELECT first, last FROM processed WHERE job_id = ? AND first <= ? ORDER BY first DESC LIMIT 1"
        found = self._db.execute(query, (self._job_id, index)).get
        if found is not None and index <= found[1]:
            return found[0], found[1] + 1, True
        query = "SELECT min(first) FROM processed WHERE job_id = ? AND first > ?"
        following = self._db.execute(query, (self._job_id, index)).get
        return index, ID_MAX if following is None else following, False


def _by_index(parts: list[Part], first: int, offset: int, count: int) -> list[Stretch]:
    """Of results the rows that are of a block of tasks and count, by index."""
    shift = offset - first
    found = []
    for part in parts:
        low, high = max(part.first, first), min(part.end, first + count)
        if part.count(low, high):
            # Only its rows from low up to high are looked at.
            head = (part.first + shift, part.first, part.attempt, part.statuses, part.accepted)
            found.append(Stretch(low + shift, high + shift, JobBlock(*head, part.body, part.controller)))
    found.sort(key=_low)
    return found


def _part(block: JobBlock) -> Part:
    """As much of a block as it takes to find its tasks."""
    return Part(0, block.task_id, 0, block.attempt, block.statuses, block.accepted, block.controller, b"")


def _low(stretch: Stretch) -> int:
    return stretch.low
