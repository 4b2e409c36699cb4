"""The reference of ``Journal.recover``: what a list of recorded events gives back after a restart.

The slow and obvious way, for tests that restart a master without a journal of bytes: ``cyclone/master/journal.py`` says
in which order a journal replays and what it leaves out, and this is that text as code.
"""

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

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
    JobRestored,
    JobSealed,
    JobSubmitted,
    NamespaceDeleted,
    NamespaceSet,
    Recorded,
    Replayed,
    ResultsRecorded,
    TasksAdded,
    TasksClosed,
    TasksProcessed,
    TasksStored,
)
from cyclone.protocol import states
from cyclone.protocol.job_spec import GENERATOR_JOB, Namespace
from cyclone.protocol.messages import ResultBatch


class _Block:
    """One block of tasks, with what became of each of them: its status, or None while it is open."""

    def __init__(self, added: TasksAdded) -> None:
        self.added = added
        self.statuses: list[int | None] = [None] * len(added.args)
        self.open_count = len(added.args)

    @property
    def stop(self) -> int:
        return self.added.first + len(self.added.args)

    def record(self, task_id: int, status: int) -> None:
        row = task_id - self.added.first
        assert self.statuses[row] is None, f"a second result of task {task_id} is recorded"
        self.statuses[row] = status
        self.open_count -= 1


class _Blocks:
    """All blocks, found by id."""

    def __init__(self) -> None:
        self.all: list[_Block] = []
        self._firsts: list[int] = []

    def add(self, added: TasksAdded) -> None:
        last_id = self.all[-1].stop - 1 if self.all else 0
        assert added.first == last_id + 1, f"a block begins with {added.first} behind task {last_id}"
        self.all.append(_Block(added))
        self._firsts.append(added.first)

    def overlapping(self, start: int, stop: int) -> Iterator[tuple[_Block, int, int]]:
        """The blocks with ids from start up to stop, each with the part it shares."""
        for block in self.all[max(0, bisect.bisect_right(self._firsts, start) - 1) :]:
            low, high = max(block.added.first, start), min(block.stop, stop)
            if low < high:
                yield block, low, high
            if block.stop >= stop:
                return


class _Jobs:
    """What is known of jobs: the open ones, how far each has been offered, and the namespaces."""

    def __init__(self) -> None:
        self.open: dict[int, JobSubmitted] = {}
        self.sealed: set[int] = set()
        self.held: dict[int, bool] = {}
        self.processed: dict[int, list[tuple[int, int]]] = {}
        self.horizons: dict[int, int] = {}
        self.namespaces: dict[str, Namespace] = {}
        self.last_id = 0
        self._last_offered = 0

    def apply(self, event: Recorded) -> None:
        match event:
            case JobAdded(job):
                self.last_id = max(self.last_id, job.job_id)
            case JobSubmitted(job):
                self.open[job.job_id] = event
                self.last_id = max(self.last_id, job.job_id)
            case JobSealed(job_id):
                self.sealed.add(job_id)
            case JobHeld(job_id, held):
                self.held[job_id] = held
            case JobEnded(job_id):
                del self.open[job_id]
            case TasksProcessed(job_id, indexes):
                self.processed.setdefault(job_id, []).extend(indexes)
            case NamespaceSet(namespace):
                self.namespaces[namespace.name] = namespace
            case NamespaceDeleted(name):
                del self.namespaces[name]
            case HorizonMoved(last_id, jobs):
                assert jobs is not None
                assert last_id >= self._last_offered
                self._last_offered = last_id
                self.horizons.update(jobs)

    def horizon(self) -> HorizonMoved:
        return HorizonMoved(
            self._last_offered,
            tuple((job, last) for job, last in self.horizons.items() if job == GENERATOR_JOB or job in self.open),
        )

    def restored(self, submitted: JobSubmitted, blocks: Sequence[_Block]) -> JobRestored:
        job_id = submitted.job.job_id
        own = [block for block in blocks if block.added.job_id == job_id]
        extents: list[tuple[int, int, int]] = []
        for added in [block.added for block in own if not block.open_count]:
            index, first, count = extents[-1] if extents else (-1, -1, 0)
            if (added.offset, added.first) == (index + count, first + count):
                extents[-1] = (index, first, count + len(added.args))
            else:
                extents.append((added.offset, added.first, len(added.args)))
        return JobRestored(
            submitted,
            job_id in self.sealed,
            self.held.get(job_id, submitted.spec.held),
            sum(len(block.added.args) for block in own),
            _ended(own),
            tuple(extents),
            tuple(self.processed.get(job_id, ())),
        )


def as_recorded(event: Recorded) -> Recorded:
    """What a disk would keep of an event: a scheduler may cut the columns of its tasks after the turn."""
    if isinstance(event, TasksAdded):
        keys = event.keys and list(event.keys)
        return replace(event, runs=list(event.runs), args=list(event.args), keys=keys, size_bytes=None)
    return event


def replay(events: Iterable[Recorded]) -> list[Replayed]:
    """What a journal to which these events were appended, over all epochs, replays to the next master.

    The caller owes: each event put through ``as_recorded`` in the turn in which it was recorded.
    """
    recorded = list(events)
    blocks, jobs, number, live, advanced = _Blocks(), _Jobs(), 0, dict[str, ControllerJoined](), None
    for event in recorded:
        match event:
            case TasksAdded():
                blocks.add(event)
            case ResultsRecorded():
                assert event.number == number + 1, f"results {event.number} were recorded after {number}"
                number = event.number
                _record(blocks, event)
            case GeneratorAdvanced():
                advanced = event
            case ControllerJoined(name):
                live[name] = event
            case ControllerLeft(name):
                live.pop(name, None)
            case _:
                jobs.apply(event)
    return [
        _closed(blocks.all, number, jobs.last_id),
        *(NamespaceSet(namespace) for namespace in jobs.namespaces.values()),
        *(event for event in recorded if isinstance(event, JobAdded)),
        *(jobs.restored(submitted, blocks.all) for submitted in jobs.open.values()),
        jobs.horizon(),
        *(_replayed(block, jobs.horizons.get(block.added.job_id, 0)) for block in blocks.all if block.open_count),
        *(part for event in recorded if isinstance(event, ResultsRecorded) for part in _cut_results(blocks, event)),
        *(part for event in recorded if isinstance(event, AttemptsEnded) for part in _cut_attempts(blocks, event)),
        *([advanced] if advanced else []),
        *live.values(),
        *(event for event in recorded if isinstance(event, CancelWanted | ControllerMarked)),
    ]


def stored_block(events: Iterable[Recorded], first: int) -> TasksAdded:
    """``Journal.load``: the block that begins with this id."""
    block = next(event for event in events if isinstance(event, TasksAdded) and event.first == first)
    return replace(block, runs=list(block.runs), args=list(block.args), size_bytes=None)


def _record(blocks: _Blocks, results: ResultsRecorded) -> None:
    batch, accepted = results.batch, results.accepted
    for block, low, high in blocks.overlapping(batch.first, batch.first + len(batch.statuses)):
        for task_id in range(low, high):
            row = task_id - batch.first
            if accepted is None or accepted[row]:
                block.record(task_id, batch.statuses[row])


def _closed(blocks: Sequence[_Block], number: int, last_job_id: int) -> TasksClosed:
    ended = _ended(blocks)
    of_generator = _ended([block for block in blocks if block.added.job_id == GENERATOR_JOB])
    return TasksClosed(blocks[-1].stop - 1 if blocks else 0, number, ended, of_generator, last_job_id)


def _ended(blocks: Sequence[_Block]) -> dict[str, int]:
    """The tasks of blocks that are done, by state."""
    done = (block for block in blocks if not block.open_count)
    return Counter(states.STATE_NAMES[status] for block in done for status in block.statuses if status is not None)


def _replayed(block: _Block, horizon: int) -> Recorded | TasksStored:
    added = block.added
    if added.first <= horizon:
        return as_recorded(added)
    return TasksStored(added.first, len(added.args), added.job_id, added.offset)


def _cut_results(blocks: _Blocks, results: ResultsRecorded) -> Iterator[ResultsRecorded]:
    """A part for each open block, without the body that no state ever looks at."""
    batch, accepted = results.batch, results.accepted
    for block, low, high in blocks.overlapping(batch.first, batch.first + len(batch.statuses)):
        if block.open_count:
            rows = slice(low - batch.first, high - batch.first)
            part = ResultBatch(low, batch.epoch, batch.attempt, batch.statuses[rows], b"")
            yield ResultsRecorded(results.number, part, accepted and accepted[rows], results.controller)


def _cut_attempts(blocks: _Blocks, ended: AttemptsEnded) -> Iterator[AttemptsEnded]:
    """A part for each open task."""
    for block, low, high in blocks.overlapping(ended.first, ended.first + ended.count):
        for task_id in range(low, high):
            if block.statuses[task_id - block.added.first] is None:
                yield AttemptsEnded(task_id, 1, ended.epoch, ended.attempt, ended.status, ended.controller)
