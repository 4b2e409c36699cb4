"""Journals for tests: a small master that appends what a real one would, and remembers what it was told is durable.

``Book`` is the model: it knows by itself, from the events alone, what a journal must give back.
"""

import copy
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from cyclone import values
from cyclone.journal import Origin, SqliteJournal
from cyclone.master.events import (
    AttemptsEnded,
    CancelWanted,
    ControllerJoined,
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
    TasksClosed,
    TasksProcessed,
)
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.protocol import states
from cyclone.protocol.job_messages import JobSummary
from cyclone.protocol.job_spec import GENERATOR_JOB, JobSelection, JobSpec, Namespace
from cyclone.protocol.messages import ErrorRecord, Job, ResultBatch, ResultColumns
from cyclone.results import encode_columns, pack_seconds

ORIGIN = Origin("tests.generators:Numbers", {"numbers": {"count": "100"}})
CLASSES = {1: "tests.tasks:Square", 2: "tests.tasks:Cube"}
JOB_CLASS = "tests.tasks:Root"
JOBS: list[Recorded] = [JobAdded(Job(number, name)) for number, name in CLASSES.items()]
STARTED = 1_700_000_000.0
ENDINGS = (states.COMPLETED, states.COMPLETED, states.COMPLETED, states.FAILED, states.TIMED_OUT, states.CANCELLED)


def added(first: int, count: int, keys: list[bytes] | None = None, pad: int = 0) -> TasksAdded:
    """A block whose tasks have their id as argument; its first half, rounded down, is of the second job."""
    runs = [(job, length) for job, length in ((2, count // 2), (1, count - count // 2)) if length]
    args = [values.encode([task_id, "x" * pad]) for task_id in range(first, first + count)]
    return TasksAdded(first, runs, args, keys)


def submitted(job_id: int, number: int = 0, owner: str = "ann", **options: object) -> JobSubmitted:
    """A job whose key follows from its number."""
    spec = JobSpec(task_class=JOB_CLASS, **options)  # type: ignore[arg-type]
    job = Job(job_id, JOB_CLASS, shared=spec.shared, name=spec.name, namespace=spec.namespace)
    return JobSubmitted(job, spec, key_of(job_id), owner, STARTED + job_id, number)


def key_of(job_id: int) -> bytes:
    """The key with which ``submitted`` makes a job."""
    return b"%016d" % job_id


def added_to(job_id: int, first: int, count: int, offset: int = 0, pad: int = 0) -> TasksAdded:
    """A block of a submitted job, whose tasks have their id as argument; the last one has a time limit of its own."""
    args = [values.encode([task_id, "x" * pad]) for task_id in range(first, first + count)]
    options = ((count - 1, None, 2.5),)
    return TasksAdded(first, [(job_id, count)], args, job_id=job_id, offset=offset, options=options)


def recorded(
    number: int, first: int, statuses: Sequence[int], accepted: bytes | None = None, epoch: int = 1, attempt: int = 1
) -> ResultsRecorded:
    """Results whose values are the ids squared, each of a tenth of a second."""
    outcomes = [
        values.encode((first + row) ** 2)
        if status == states.COMPLETED
        else encode_columns(ErrorRecord("ValueError", f"task {first + row}"))
        for row, status in enumerate(statuses)
    ]
    body = encode_columns(ResultColumns(outcomes, pack_seconds([0.1] * len(outcomes)), STARTED + number, 4711))
    batch = ResultBatch(first, epoch, attempt, bytes(statuses), body)
    return ResultsRecorded(number, batch, accepted, f"node-{number % 3}")


def all_closed(last_id: int, number: int, ended: dict[str, int], last_job_id: int = len(CLASSES)) -> TasksClosed:
    """What a replay begins with where nothing is of a submitted job."""
    return TasksClosed(last_id, number, ended, ended, last_job_id)


class BookedJob:
    """A submitted job: ``ids`` are those of its tasks by index, ``processed`` indexes."""

    def __init__(self, submitted: JobSubmitted) -> None:
        self.submitted = submitted
        self.sealed = False
        self.held = submitted.spec.held
        self.finished = 0.0
        self.horizon = 0
        self.ids: list[int] = []
        self.processed: set[int] = set()

    def snapshot(self) -> "BookedJob":
        """As it is now."""
        now = copy.copy(self)
        now.ids, now.processed = list(self.ids), set(self.processed)
        return now


class Book:
    """What has been appended."""

    def __init__(self) -> None:
        self.last_id = 0
        self.horizon = 0
        # Of the generator's tasks; None where a move did not tell the jobs apart, and ``horizon`` is of all.
        self.generator_horizon: int | None = None
        self.blocks: dict[int, TasksAdded] = {}
        self.numbers: list[ResultsRecorded] = []
        self.ended: dict[int, tuple[int, int]] = {}
        """By id: the status, and the number of the results that say so."""
        self.progress: GeneratorProgress | None = None
        self.jobs: dict[int, BookedJob] = {}
        self.last_job_id = 0
        self.namespaces: dict[str, Namespace] = {}
        self.wishes: list[CancelWanted] = []

    def snapshot(self) -> "Book":
        """As it is now."""
        now = copy.copy(self)
        now.blocks, now.numbers, now.ended = dict(self.blocks), list(self.numbers), dict(self.ended)
        now.jobs = {job_id: job.snapshot() for job_id, job in self.jobs.items()}
        now.namespaces, now.wishes = dict(self.namespaces), list(self.wishes)
        return now

    def add(self, events: Sequence[Recorded]) -> None:
        for event in events:
            match event:
                case TasksAdded():
                    self.last_id += len(event.args)
                    self.blocks[event.first] = event
                    if event.job_id != GENERATOR_JOB:
                        self.jobs[event.job_id].ids += range(event.first, event.first + len(event.args))
                case HorizonMoved(last_id, moved):
                    self._move_horizon(last_id, moved)
                case GeneratorAdvanced(progress):
                    self.progress = progress
                case ResultsRecorded(number, batch, accepted, _):
                    self.numbers.append(event)
                    for row, status in enumerate(batch.statuses):
                        if accepted is None or accepted[row]:
                            assert batch.first + row not in self.ended
                            self.ended[batch.first + row] = (status, number)
                case JobAdded(job):
                    self.last_job_id = max(self.last_job_id, job.job_id)
                case CancelWanted():
                    self.wishes.append(event)
                case _:
                    self._add_of_jobs(event)

    def _add_of_jobs(self, event: Recorded) -> None:
        match event:
            case JobSubmitted(job):
                self.jobs[job.job_id] = BookedJob(event)
                self.last_job_id = max(self.last_job_id, job.job_id)
            case JobSealed(job_id):
                self.jobs[job_id].sealed = True
            case JobHeld(job_id, held):
                self.jobs[job_id].held = held
            case JobEnded(job_id, finished):
                self.jobs[job_id].finished = finished
            case TasksProcessed(job_id, indexes):
                for low, high in indexes:
                    self.jobs[job_id].processed.update(range(low, high + 1))
            case NamespaceSet(namespace):
                self.namespaces[namespace.name] = namespace
            case NamespaceDeleted(name):
                self.namespaces.pop(name, None)

    def _move_horizon(self, last_id: int, moved: tuple[tuple[int, int], ...] | None) -> None:
        if moved is None:
            self.generator_horizon = None
        elif self.generator_horizon is None:
            self.generator_horizon = self.horizon
            for job in self.jobs.values():
                job.horizon = self.horizon
        for job_id, last in moved or ():
            if job_id == GENERATOR_JOB:
                self.generator_horizon = last
            else:
                self.jobs[job_id].horizon = last
        self.horizon = last_id

    def horizon_of(self, job_id: int) -> int:
        """The highest id of a job's tasks that was ever offered, as far as anybody knows."""
        if self.generator_horizon is None:
            return self.horizon
        return self.generator_horizon if job_id == GENERATOR_JOB else self.jobs[job_id].horizon

    def counts(self, ids: Sequence[int] | None = None) -> dict[str, int]:
        """Ended tasks by state, of all or of these."""
        found = self.ended.keys() if ids is None else self.ended.keys() & set(ids)
        return dict(Counter(states.STATE_NAMES[self.ended[task_id][0]] for task_id in found))

    def reason(self, job_id: int) -> str:
        """Why a job as a whole was to end."""
        ids = self.jobs[job_id].ids or [0]
        wishes = [
            (wish.last, at, wish.reason)
            for at, wish in enumerate(self.wishes)
            if wish.job_id == job_id and wish.reason and wish.last >= ids[-1] and (wish.first <= ids[0] or not ids[0])
        ]
        return max(wishes, default=(0, 0, ""))[2]

    def state(self, job: BookedJob, index: int) -> str:
        """Of a task that has a result."""
        return "processed" if index in job.processed else states.STATE_NAMES[self.ended[job.ids[index]][0]]


def random_turns(seed: int, count: int, size: int = 40) -> Iterator[list[Recorded]]:
    """Turns of a master: blocks of up to ``size`` tasks, results in any order, across blocks, with rows too late.

    Some of the tasks are of submitted jobs, which are sealed, held, and end.
    """
    rng = random.Random(seed)
    book = Book()
    first: list[Recorded] = [*JOBS, ControllerJoined("node-1", "a" * 32), NamespaceSet(Namespace(name="default"))]
    book.add(first)
    yield first
    for turn in range(count):
        events: list[Recorded] = []

        def tell(*more: Recorded, events: list[Recorded] = events) -> None:
            events.extend(more)
            book.add(more)

        tell(*_of_jobs(rng, book, size))
        if rng.random() < 0.6:
            block = added(book.last_id + 1, rng.randint(1, size))
            end = block.first + len(block.args) - 1
            tell(block, GeneratorAdvanced(GeneratorProgress(pulled=end, cursor=b"%d" % end, consumed=turn)))
        if rng.random() < 0.7 and book.horizon < book.last_id:
            tell(_offer(book, rng.randint(book.horizon + 1, book.last_id), knows_jobs=seed % 2 == 0))
        waiting = [task_id for task_id in range(1, book.horizon + 1) if task_id not in book.ended][: 3 * size]
        for _ in range(rng.randint(0, 3)):
            if not waiting:
                break
            start = rng.choice(waiting)
            statuses = [rng.choice(ENDINGS) for _ in range(min(rng.randint(1, size), book.horizon + 1 - start))]
            late = [start + row not in waiting or rng.random() < 0.1 for row in range(len(statuses))]
            accepted = None if not any(late) else bytes(not mark for mark in late)
            waiting = [i for i in waiting if not start <= i < start + len(statuses) or late[i - start]]
            if accepted is None or any(accepted):
                tell(recorded(len(book.numbers) + 1, start, statuses, accepted, attempt=rng.randint(1, 3)))
        if waiting and rng.random() < 0.2:
            tell(AttemptsEnded(waiting[0], 1, 1, 1, states.CRASHED, "node-1"))
        for job_id, job in book.jobs.items():
            if job.sealed and not job.finished and book.ended.keys() >= set(job.ids) and rng.random() < 0.8:
                tell(JobEnded(job_id, STARTED + 1000 + turn))
        yield events


def _offer(book: Book, last_id: int, knows_jobs: bool) -> HorizonMoved:
    if not knows_jobs:
        return HorizonMoved(last_id)
    moved = {}
    for block in book.blocks.values():
        high = min(block.first + len(block.args) - 1, last_id)
        if block.first <= last_id and high > book.horizon:
            moved[block.job_id] = high
    return HorizonMoved(last_id, tuple(moved.items()))


def _of_jobs(rng: random.Random, book: Book, size: int) -> list[Recorded]:
    """What clients do in a turn."""
    events: list[Recorded] = []
    open_jobs = [job for job in book.jobs.values() if not job.finished]
    if len(open_jobs) < 4 and rng.random() < 0.2:
        options = {"namespace": rng.choice(("default", "other")), "name": rng.choice(("", "night")), "shared": b"\x90"}
        events.append(submitted(book.last_job_id + 1, len(book.numbers), rng.choice(("ann", "bob")), **options))
    last_id = book.last_id
    for job in open_jobs:
        job_id = job.submitted.job.job_id
        if not job.sealed and rng.random() < 0.4:
            events.append(added_to(job_id, last_id + 1, rng.randint(1, size), len(job.ids)))
            last_id += len(events[-1].args)  # type: ignore[union-attr]
        elif not job.sealed and rng.random() < 0.2:
            events.append(JobSealed(job_id))
        elif rng.random() < 0.1:
            events.append(JobHeld(job_id, not job.held))
        elif job.ids and rng.random() < 0.1:
            events.append(CancelWanted(job.ids[0], job.ids[-1], "", job_id, states.EXPIRED, "too late"))
    for job in rng.sample(list(book.jobs.values()), min(len(book.jobs), 1)):
        done = [at for at, i in enumerate(job.ids) if book.ended.get(i, (None, 0))[0] == states.COMPLETED]
        if done and rng.random() < 0.5:
            low = rng.choice(done)
            high = low
            while high + 1 in done and rng.random() < 0.8:
                high += 1
            events.append(TasksProcessed(job.submitted.job.job_id, ((low, high),)))
    if rng.random() < 0.1:
        name = rng.choice(("other", "third"))
        has_it = name in book.namespaces
        events.append(NamespaceDeleted(name) if has_it else NamespaceSet(Namespace(name=name, weight=2.5)))
    return events


def run_job(journal: SqliteJournal, job_id: int, count: int, finished: float = 5.0, **options: Any) -> None:
    """A job of one block that is submitted, done and ended."""
    first, number = journal._progress.last_id + 1, journal._progress.number + 1
    events: list[Recorded] = [submitted(job_id, **options)]
    if count:
        events += [
            added_to(job_id, first, count),
            HorizonMoved(first + count - 1),
            recorded(number, first, [states.COMPLETED] * count),
        ]
    journal.append([*events, JobSealed(job_id), JobEnded(job_id, finished)])


def listed(journal: SqliteJournal, selection: JobSelection, page: int = 100) -> list[int]:
    """The ended jobs of all pages."""
    found: list[JobSummary] = []
    before = 0
    while True:
        jobs, before = journal.ended_jobs(selection, before, page)
        found += jobs
        if not before:
            return [job.job_id for job in found]


def finish(journal: SqliteJournal, consumed: int = 0) -> None:
    """Let it tidy up to the end."""
    while journal.tend(consumed, idle=True):
        pass


def kill(journal: SqliteJournal) -> None:
    """End it as a kill of its process does: without a checkpoint, and the lock is gone."""
    journal._is_closed = True
    journal._db.close()
    journal._lock.close()
