"""Submitted jobs and their results in bounded memory, for a master that has no journal.

Owns what is asked for after the turn in which it was recorded: keys, ended jobs, rows of tasks, results for whoever
follows a job. What is beyond the bound goes: results of ended jobs first, in the order in which these ended, then these
jobs themselves, then the arguments of tasks of open jobs, then the oldest results of open jobs. Of ended jobs that went
so, or are beyond ``ENDED_JOBS_MAX``, nothing is known any more but their key. The caller owes every recorded event.
"""

import bisect
import heapq
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress, islice
from operator import attrgetter, itemgetter

import msgspec

from cyclone.master.events import (
    CancelWanted,
    JobEnded,
    JobSubmitted,
    Recorded,
    ResultsRecorded,
    TasksAdded,
    TasksProcessed,
)
from cyclone.master.jobs.extents import Extents, IndexSet
from cyclone.protocol import states
from cyclone.protocol.job_lists import ended_summary, id_windows, is_meant, kept_until, spec_bytes, with_processed
from cyclone.protocol.job_messages import JobBlock, JobSummary, TaskRow
from cyclone.protocol.job_spec import GENERATOR_JOB, JobSelection
from cyclone.protocol.limits import TASKS_PER_BATCH_MAX
from cyclone.results import RecordedBlock
from cyclone.task_figures import Figures, add_up
from cyclone.task_rows import OwnOptions, Stretch, Wanted, job_block, list_rows

MEMORY_BYTES_MAX = 256 * 1024 * 1024
ENDED_JOBS_MAX = 100_000
# A submit may be repeated by a client that never got the answer: a key outlives its job by so many others.
_KEYS_MAX = 2 * ENDED_JOBS_MAX
# What Python takes for a block besides its bytes.
_BLOCK_BYTES = 600
# And for what a task has of its own.
_OPTIONS_BYTES = 200
# So many ended jobs one call looks at.
_LOOKS_MAX = 4096
# Where room is made, this part of the memory is left free.
_SPARE = 16

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode
_first_index = attrgetter("index")
_number = itemgetter(0)


class _Job:
    """A submitted job. ``entries`` are its results in the order of numbers, from ``head`` on; ``args`` those of each
    block of tasks, by its first index, ``options`` what tasks have of their own, by index. ``by_index`` is made of the
    entries when somebody asks.
    """

    __slots__ = (
        *("args", "by_index", "ended", "entries", "extents", "finished", "head", "lost", "options"),
        *("processed", "submitted", "wish"),
    )

    def __init__(self, submitted: JobSubmitted) -> None:
        self.submitted = submitted
        self.extents = Extents()
        self.args: dict[int, bytes] = {}
        self.options: dict[int, OwnOptions] = {}
        self.entries: list[tuple[int, list[JobBlock]]] = []
        self.head = 0
        self.by_index: list[JobBlock] | None = None
        self.ended: dict[str, int] = {}
        self.processed = IndexSet()
        self.finished = 0.0
        self.lost = 0
        self.wish: CancelWanted | None = None

    @property
    def is_fleeting(self) -> bool:
        """Whether nobody wants its results but who follows it."""
        return self.submitted.spec.keep_s == 0

    def is_within(self, wish: CancelWanted) -> bool:
        """Whether it is wished that all of it ends."""
        found = self.extents
        return not found or (wish.first <= found.first_id and wish.last >= found.last_id)

    @property
    def reason(self) -> str:
        """Why it was cancelled: of the wishes that reach all of it, the one that reaches farthest says so."""
        return self.wish.reason if self.wish and self.is_within(self.wish) else ""

    def summary(self) -> JobSummary:
        job, tasks = self.submitted, with_processed(self.ended, self.processed.count)
        return ended_summary(job.job.job_id, job.spec, job.owner, job.submitted, self.finished, tasks)

    def add(self, number: int, blocks: list[JobBlock]) -> None:
        """Results."""
        self.entries.append((number, blocks))
        for block in blocks:
            if self.by_index is not None:
                # A list that is asked for page by page is not sorted anew for each.
                bisect.insort(self.by_index, block, key=_first_index)
            counted = _counted(block)
            for status in set(counted):
                state = states.STATE_NAMES[status]
                self.ended[state] = self.ended.get(state, 0) + counted.count(status)

    def drop_first(self) -> list[JobBlock]:
        """Its oldest results go."""
        _, blocks = self.entries[self.head]
        self.head += 1
        self.by_index = None
        if 2 * self.head > len(self.entries):
            del self.entries[: self.head]
            self.head = 0
        return blocks

    def stretches(self, start: int) -> Iterator[Stretch]:
        """Its results in the order of their first index, from where some may reach ``start``."""
        if self.by_index is None:
            found = (block for _, blocks in islice(self.entries, self.head, None) for block in blocks)
            self.by_index = sorted(found, key=_first_index)
        at = bisect.bisect_right(self.by_index, start - TASKS_PER_BATCH_MAX, key=_first_index)
        for block in islice(self.by_index, at, None):
            yield Stretch(block.index, block.index + len(block.statuses), block)

    def args_of(self, block: JobBlock) -> Sequence[bytes]:
        """The arguments of the tasks of a block of results; nothing where they are not kept."""
        found: list[bytes] = []
        low, high = block.index, block.index + len(block.statuses)
        firsts = list(self.args)
        for first in islice(firsts, max(0, bisect.bisect_right(firsts, low) - 1), None):
            if first >= high:
                break
            found += _unpack(self.args[first])[max(0, low - first) : high - first]
        return found if len(found) == high - low else ()

    def options_of(self, block: JobBlock) -> Mapping[int, OwnOptions]:
        """What some of these tasks have of their own, by row."""
        first, own = block.index, self.options
        return {row: own[first + row] for row in range(len(block.statuses)) if first + row in own}


class JobsInMemory:
    """See the module, and ``cyclone.master.journal.Journal``."""

    def __init__(self, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        self._bytes_max = memory_bytes_max
        self._bytes = 0
        self._jobs: dict[int, _Job] = {}
        self._places = _Places()
        self._keys: dict[bytes, int] = {}
        # Ended jobs: all by number, in the order in which they ended, those that hold results, and when which goes.
        self._ended: list[int] = []
        self._by_end: dict[int, None] = {}
        self._holding: dict[int, None] = {}
        self._due: list[tuple[float, int]] = []
        # Open jobs that hold arguments.
        self._with_args: dict[int, None] = {}

    def append(self, events: Sequence[Recorded]) -> None:
        """See ``Journal.append``."""
        for event in events:
            match event:
                case ResultsRecorded():
                    if self._places:
                        self._add_results(event)
                case TasksAdded(job_id=job_id):
                    if job_id != GENERATOR_JOB:
                        self._add_tasks(event)
                case JobSubmitted(job=job, key=key):
                    self._jobs[job.job_id] = _Job(event)
                    self._keys[key] = job.job_id
                case CancelWanted(job_id=int(job_id)):
                    self._cancel(job_id, event)
                case JobEnded(job_id, finished):
                    self._end(job_id, finished)
                case TasksProcessed(job_id, indexes):
                    if found := self._jobs.get(job_id):
                        for low, high in indexes:
                            found.processed.add(low, high)
        self._make_room()

    # Questions.

    def job_of_key(self, key: bytes) -> int | None:
        """See ``Journal.job_of_key``; a key is known for as long as its job, and many more after it."""
        return self._keys.get(key)

    def ended_jobs(self, selection: JobSelection, before: int, page: int) -> tuple[list[JobSummary], int]:
        """See ``Journal.ended_jobs``."""
        found: list[JobSummary] = []
        looked_at = 0
        for low, high in id_windows(selection, before):
            at = bisect.bisect_right(self._ended, high)
            while at and self._ended[at - 1] >= low:
                at -= 1
                job_id = self._ended[at]
                if len(found) == page or looked_at == _LOOKS_MAX:
                    return found, job_id + 1
                looked_at += 1
                summary = self._jobs[job_id].summary()
                if is_meant(selection, summary):
                    found.append(summary)
        return found, 0

    def ended_job(self, job_id: int) -> tuple[JobSubmitted, JobSummary, str] | None:
        """See ``Journal.ended_job``."""
        job = self._jobs.get(job_id)
        return (job.submitted, job.summary(), job.reason) if job and job.finished else None

    def task_rows(
        self, job_id: int, start: int, page: int, states: Sequence[str], with_args: bool, with_values: bool
    ) -> tuple[list[TaskRow], int | None]:
        """See ``Journal.task_rows``; arguments are empty where they are not kept any more."""
        job = self._jobs.get(job_id)
        if job is None:
            return [], None
        wanted = Wanted(start, states, job.processed.__contains__, with_values)
        if with_args:
            wanted = wanted._replace(args_of=job.args_of, options_of=job.options_of)
        return list_rows(job.stretches(start), wanted, page)

    def task_figures(self, job_id: int, start: int, stop: int) -> tuple[Figures, int | None]:
        """See ``Journal.task_figures``."""
        job = self._jobs.get(job_id)
        return add_up(job.stretches(start), start, stop, job.processed.within) if job else (Figures(), None)

    def job_results_after(self, job_id: int, number: int) -> Iterator[tuple[int, list[JobBlock]]]:
        """See ``Journal.job_results_after``."""
        while job := self._jobs.get(job_id):
            at = bisect.bisect_right(job.entries, number, lo=job.head, key=_number)
            if at == len(job.entries):
                return
            number, blocks = job.entries[at]
            yield number, blocks

    def lost_results(self, job_id: int) -> int:
        """See ``Journal.lost_results``."""
        job = self._jobs.get(job_id)
        return job.lost if job else 0

    def forget(self, job_id: int, number: int) -> None:
        """See ``Journal.forget``."""
        job = self._jobs.get(job_id)
        while job and job.is_fleeting and job.head < len(job.entries) and job.entries[job.head][0] <= number:
            self._bytes -= _size_bytes(job.drop_first())

    # What is kept.

    def expire(self, now: float) -> None:
        """Let go the jobs that wanted to be kept until ``now``, in Unix time."""
        while self._due and self._due[0][0] <= now:
            self._let_go(heapq.heappop(self._due)[1])

    def _add_tasks(self, block: TasksAdded) -> None:
        job = self._jobs[block.job_id]
        job.extents.add(block.offset, block.first, len(block.args))
        self._places.add(block.first, len(block.args), block.job_id)
        if not job.is_fleeting:
            packed = job.args[block.offset] = _pack(block.args)
            job.options |= {block.offset + row: (moment, limit_s) for row, moment, limit_s in block.options}
            self._bytes += len(packed) + _BLOCK_BYTES + _OPTIONS_BYTES * len(block.options)
            self._with_args[block.job_id] = None

    def _add_results(self, event: ResultsRecorded) -> None:
        batch, accepted = event.batch, event.accepted
        first, end = batch.first, batch.first + len(batch.statuses)
        # What the tasks were is not asked for here.
        recorded = RecordedBlock(first, batch.attempt, [], (), batch.statuses, accepted, batch.body, event.controller)
        for job_id in self._places.jobs(first, end):
            job = self._jobs[job_id]
            blocks = [
                job_block(recorded, index, low - first, count)
                for index, low, count in job.extents.by_id(first, end)
                if accepted is None or 1 in accepted[low - first : low - first + count]
            ]
            if blocks:
                job.add(event.number, blocks)
                self._bytes += _size_bytes(blocks)

    def _cancel(self, job_id: int, wish: CancelWanted) -> None:
        job = self._jobs.get(job_id)
        if job and wish.reason and job.is_within(wish) and not (job.wish and job.wish.last > wish.last):
            job.wish = wish

    def _end(self, job_id: int, finished: float) -> None:
        job = self._jobs[job_id]
        job.finished = finished
        # While it was open, its options were counted by whoever took it in.
        self._bytes += spec_bytes(job.submitted.spec)
        self._places.remove(job_id)
        self._with_args.pop(job_id, None)
        bisect.insort(self._ended, job_id)
        self._by_end[job_id] = self._holding[job_id] = None
        if (keep_s := job.submitted.spec.keep_s) is not None:
            heapq.heappush(self._due, (kept_until(finished, keep_s), job_id))
        while len(self._ended) > ENDED_JOBS_MAX:
            self._let_go(next(iter(self._by_end)))
        while len(self._keys) > _KEYS_MAX and self._jobs.get(self._keys[oldest := next(iter(self._keys))]) is None:
            del self._keys[oldest]

    def _let_go(self, job_id: int) -> None:
        """Everything about an ended job but its key."""
        if job := self._jobs.get(job_id):
            self._drop_results(job)
            self._bytes -= spec_bytes(job.submitted.spec)
            self._holding.pop(job_id, None)
            del self._jobs[job_id], self._by_end[job_id]
            del self._ended[bisect.bisect_left(self._ended, job_id)]

    def _make_room(self) -> None:
        if self._bytes <= self._bytes_max:
            return
        # Some more than is needed, so that it is not needed again at once.
        target = self._bytes_max - self._bytes_max // _SPARE
        while self._bytes > target and self._holding:
            self._drop_results(self._jobs[job_id := next(iter(self._holding))])
            del self._holding[job_id]
        while self._bytes > target and self._by_end:
            self._let_go(next(iter(self._by_end)))
        while self._bytes > target and self._with_args:
            self._drop_args(self._jobs[job_id := next(iter(self._with_args))])
            del self._with_args[job_id]
        oldest = [(job.entries[job.head][0], job_id) for job_id, job in self._jobs.items() if job.entries]
        heapq.heapify(oldest)
        while self._bytes > target and oldest:
            job = self._jobs[job_id := oldest[0][1]]
            self._drop_first(job)
            if job.entries:
                heapq.heapreplace(oldest, (job.entries[job.head][0], job_id))
            else:
                heapq.heappop(oldest)

    def _drop_results(self, job: _Job) -> None:
        self._drop_args(job)
        while job.entries:
            self._drop_first(job)

    def _drop_first(self, job: _Job) -> None:
        blocks = job.drop_first()
        self._bytes -= _size_bytes(blocks)
        job.lost += sum(len(_counted(block)) for block in blocks)

    def _drop_args(self, job: _Job) -> None:
        self._bytes -= sum(map(len, job.args.values())) + _BLOCK_BYTES * len(job.args)
        self._bytes -= _OPTIONS_BYTES * len(job.options)
        job.args.clear()
        job.options.clear()


class _Places:
    """Which open job the tasks are of, by their ids."""

    def __init__(self) -> None:
        self._firsts = array("q")
        self._blocks: dict[int, tuple[int, int]] = {}
        self._of_job: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def add(self, first: int, count: int, job_id: int) -> None:
        """A block behind all others."""
        self._firsts.append(first)
        self._blocks[first] = (first + count, job_id)
        self._of_job.setdefault(job_id, []).append(first)

    def remove(self, job_id: int) -> None:
        """All blocks of a job."""
        for first in self._of_job.pop(job_id, ()):
            del self._blocks[first]
        if len(self._firsts) > 2 * len(self._blocks) + 64:
            self._firsts = array("q", self._blocks)

    def jobs(self, low: int, high: int) -> list[int]:
        """The jobs that have ids from ``low`` up to ``high``, each once."""
        found: dict[int, None] = {}
        at = max(0, bisect.bisect_right(self._firsts, low) - 1)
        while at < len(self._firsts) and self._firsts[at] < high:
            end, job_id = self._blocks.get(self._firsts[at], (0, 0))
            if end > low:
                found[job_id] = None
            at += 1
        return list(found)


def _counted(block: JobBlock) -> bytes:
    """The statuses of the rows that count."""
    return block.statuses if block.accepted is None else bytes(compress(block.statuses, block.accepted))


def _size_bytes(blocks: list[JobBlock]) -> int:
    return sum(_BLOCK_BYTES + len(block.statuses) + len(block.body) for block in blocks)
