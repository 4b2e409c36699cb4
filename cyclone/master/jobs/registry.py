"""Jobs: streams of like tasks, and the namespaces that hold them. PURE.

A task's options live here and never on the task. The generator's tasks are of jobs, too, one per ``JobOptions``, which
share one lane; a submitted job is a ``Job`` and a lane of its own, and has a record while it is open. Owns the records,
the quotas' counts and the numbers of all jobs. Changes by events alone, which ``State.apply`` hands on.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from cyclone.lifecycle import BAD_ENDS
from cyclone.master.events import (
    CancelWanted,
    JobEnded,
    JobHeld,
    JobRestored,
    JobSealed,
    JobSubmitted,
    NamespaceDeleted,
    NamespaceSet,
    TasksClosed,
    TasksProcessed,
)
from cyclone.master.jobs.extents import Extents, IndexSet
from cyclone.master.waiting.lanes import Lanes, LaneTerms
from cyclone.protocol import limits
from cyclone.protocol.job_lists import spec_bytes
from cyclone.protocol.job_spec import DEFAULT_NAMESPACE, GENERATOR_JOB, JobSpec, Namespace
from cyclone.protocol.messages import Job, JobOptions
from cyclone.protocol.states import STATE_NAMES

Qos = Mapping[str, tuple[int, float]]
"""Classes of service: name -> (priority, weight)."""

BUILT_IN_QOS: Qos = {"low": (-100, 0.5), "normal": (0, 1.0), "high": (100, 2.0), "urgent": (1000, 4.0)}
DEFAULT_QOS = "normal"
_NORMAL = (0, 1.0)

JobEvent = (
    JobSubmitted
    | JobSealed
    | JobHeld
    | JobEnded
    | JobRestored
    | TasksProcessed
    | NamespaceSet
    | NamespaceDeleted
    | CancelWanted
    | TasksClosed
)


@dataclass(slots=True, eq=False)
class JobRecord:
    """An open job that somebody submitted. ``ended`` counts its results by state, ``submitted`` is Unix time.

    ``number`` is that of the last results before it. ``stopped`` says why none of its waiting tasks may be leased any
    more: all of it is cancelled, or its ``not_after`` has passed; None while they may. ``spec_bytes`` is about what its
    options take. Neither recorded nor of any event are ``heard_at``, the monotonic time at which one who may steer it
    said something of it last, 0 where that is not known, and whether it was ``abandoned``.
    """

    job: Job
    spec: JobSpec
    key: bytes
    owner: str
    submitted: float
    number: int
    held: bool
    sealed: bool = False
    added: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    ended_count: int = 0
    extents: Extents = field(default_factory=Extents)
    processed: IndexSet = field(default_factory=IndexSet)
    stopped: CancelWanted | None = None
    spec_bytes: int = 0
    heard_at: float = 0.0
    abandoned: bool = False

    @property
    def job_id(self) -> int:
        """Its number."""
        return self.job.job_id

    @property
    def open(self) -> int:
        """How many tasks have no result."""
        return self.added - self.ended_count

    @property
    def bad(self) -> int:
        """How many ended in a way that counts against ``max_fails``."""
        return sum(self.ended.get(state, 0) for state in BAD_ENDS)

    @property
    def is_over(self) -> bool:
        """Whether it has all tasks that it will ever have, and they have results."""
        return self.sealed and not self.open


@dataclass(slots=True)
class Usage:
    """What a namespace holds that is open."""

    jobs: int = 0
    tasks: int = 0


class Jobs:
    """All jobs of this master, numbered from 1.

    ``records`` has the open submitted ones by number, in rising order. ``over`` are those that have only to be ended,
    ``expiring`` is a heap of ``(not_after, job)``, ``spec_bytes`` about how large the options of all are.
    ``namespaces`` are all of them, ``namespaces_set`` the names of those that somebody has made or changed. The caller
    sets ``wall_offset_s``, Unix time minus monotonic, and ``qos``, before it hands in events.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._by_id: dict[int, Job] = {}
        self._ids: dict[JobOptions, int] = {}
        self._by_key: dict[bytes, int] = {}
        self._usage: dict[str, Usage] = {}
        # Results of submitted jobs, also of those that have ended.
        self._ended: dict[str, int] = {}
        self._last_id = 0
        self.spec_bytes = 0
        self.qos: Qos = BUILT_IN_QOS
        self.wall_offset_s = 0.0
        self.records: dict[int, JobRecord] = {}
        self.namespaces: dict[str, Namespace] = {DEFAULT_NAMESPACE: Namespace(name=DEFAULT_NAMESPACE)}
        self.namespaces_set: set[str] = set()
        self.over: dict[int, None] = {}
        self.expiring: list[tuple[float, int]] = []

    def __getitem__(self, job_id: int) -> Job:
        return self._by_id[job_id]

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._by_id

    def find(self, options: JobOptions) -> int | None:
        """The number of the generator's job with these options, None when there is none yet."""
        return self._ids.get(options)

    def of_key(self, key: bytes) -> JobRecord | None:
        """The open job that was submitted with this key."""
        job_id = self._by_key.get(key)
        return None if job_id is None else self.records[job_id]

    def ended_of_generator(self, ended: Mapping[str, int]) -> dict[str, int]:
        """Of all results by state those of the generator's tasks."""
        rest = {state: count - self._ended.get(state, 0) for state, count in ended.items()}
        return {state: count for state, count in rest.items() if count}

    def usage(self, namespace: str) -> Usage:
        """What a namespace holds that is open."""
        return self._usage.get(namespace) or Usage()

    def lane_of(self, job_id: int) -> int:
        """Whose lane the tasks of a job are in: its own, or that of the generator's jobs."""
        return job_id if job_id in self.records else GENERATOR_JOB

    def next_id(self) -> int:
        """The number that the next job takes."""
        return self._last_id + 1

    def add(self, job: Job) -> None:
        """Take a job of the generator in under its number."""
        self._by_id[job.job_id] = job
        self._ids[job.options] = job.job_id
        self._last_id = max(self._last_id, job.job_id)

    def on_added(self, job_id: int, first: int, count: int, offset: int) -> None:
        """A block of tasks, new or replayed."""
        record = self.records.get(job_id)
        if record is None:
            return
        record.extents.add(offset, first, count)
        # Where it is replayed, it is counted already.
        grown = max(0, offset + count - record.added)
        record.added += grown
        self._usage[record.spec.namespace].tasks += grown
        self.over.pop(job_id, None)

    def on_ended(self, job_id: int, statuses: bytes) -> None:
        """Results of tasks of a job, those that count."""
        record = self.records.get(job_id)
        if record is None:
            return
        for status in set(statuses):
            state = STATE_NAMES[status]
            record.ended[state] = record.ended.get(state, 0) + statuses.count(status)
            self._ended[state] = self._ended.get(state, 0) + statuses.count(status)
        record.ended_count += len(statuses)
        self._usage[record.spec.namespace].tasks -= len(statuses)
        self._look_whether_over(record)

    def apply(self, event: JobEvent) -> None:
        """What ``State.apply`` hands on."""
        match event:
            case JobSubmitted():
                self._open(event)
            case JobRestored():
                self._restore(event)
            case JobSealed(job_id):
                self.records[job_id].sealed = True
                self._look_whether_over(self.records[job_id])
            case JobHeld(job_id, held):
                record = self.records[job_id]
                record.held = held
                self._bar(record)
            case JobEnded(job_id):
                self._close(self.records.pop(job_id))
            case TasksProcessed(job_id, indexes):
                for low, high in indexes if job_id in self.records else ():
                    self.records[job_id].processed.add(low, high)
            case CancelWanted():
                self._stop(event)
            case NamespaceSet(namespace):
                self.namespaces[namespace.name] = namespace
                self.namespaces_set.add(namespace.name)
                self._lanes.set_namespace(namespace)
            case NamespaceDeleted(name):
                del self.namespaces[name]
                self.namespaces_set.discard(name)
                self._lanes.delete_namespace(name)
            case TasksClosed(ended=ended, generator_ended=of_generator, last_job_id=last_id):
                self._last_id = max(self._last_id, last_id)
                self._ended = {state: count - of_generator.get(state, 0) for state, count in ended.items()}

    def _open(self, event: JobSubmitted) -> JobRecord:
        record = JobRecord(
            event.job, event.spec, event.key, event.owner, event.submitted, event.number, event.spec.held
        )
        job_id = record.job_id
        record.spec_bytes = spec_bytes(record.spec)
        self.spec_bytes += record.spec_bytes
        self.records[job_id] = record
        self._by_id[job_id] = record.job
        self._by_key[record.key] = job_id
        self._last_id = max(self._last_id, job_id)
        usage = self._usage.setdefault(record.spec.namespace, Usage())
        usage.jobs += 1
        self._lanes.open(job_id, self._terms(record.spec))
        self._bar(record)
        if record.spec.not_after is not None:
            heapq.heappush(self.expiring, (record.spec.not_after, job_id))
        return record

    def _restore(self, event: JobRestored) -> None:
        record = self._open(event.submitted)
        record.sealed, record.held = event.sealed, event.held
        record.added = event.added
        record.ended, record.ended_count = dict(event.ended), sum(event.ended.values())
        record.extents = Extents(event.extents)
        record.processed = IndexSet(event.processed)
        self._usage[record.spec.namespace].tasks += record.open
        self._bar(record)
        self._look_whether_over(record)

    def _close(self, record: JobRecord) -> None:
        job_id = record.job_id
        del self._by_id[job_id]
        del self._by_key[record.key]
        self.over.pop(job_id, None)
        self.spec_bytes -= record.spec_bytes
        usage = self._usage[record.spec.namespace]
        usage.jobs -= 1
        if not usage.jobs:
            del self._usage[record.spec.namespace]
        self._lanes.close(job_id)

    def _stop(self, wish: CancelWanted) -> None:
        record = self.records.get(wish.job_id or GENERATOR_JOB)
        if record is None or wish.task_class:
            return
        extents = record.extents
        # Tasks that may still be added are meant only where no id is beyond the wish.
        is_whole = record.sealed or wish.last == limits.ID_MAX
        if is_whole and (not record.added or (wish.first <= extents.first_id and wish.last >= extents.last_id)):
            record.stopped = wish
            self._bar(record)

    def _bar(self, record: JobRecord) -> None:
        self._lanes.hold(record.job_id, record.held or record.stopped is not None)

    def _look_whether_over(self, record: JobRecord) -> None:
        if record.is_over:
            self.over[record.job_id] = None

    def _terms(self, spec: JobSpec) -> LaneTerms:
        # A class that the configuration has no more must not make a job unreadable.
        priority, weight = self.qos.get(spec.qos or DEFAULT_QOS, _NORMAL)
        namespace = self.namespaces.get(spec.namespace)
        return LaneTerms(
            namespace=spec.namespace,
            priority=priority + spec.priority,
            weight=weight * (namespace.weight if namespace else 1.0),
            cpus=spec.cpus,
            mem_bytes=spec.mem_bytes,
            resources=spec.resources,
            nodes=spec.nodes,
            exclude=spec.exclude,
            labels=spec.labels,
            parallel=spec.parallel,
            limits=spec.limits,
            # A moment before the clock began is one that has passed.
            not_before=max(0.0, spec.not_before - self.wall_offset_s) if spec.not_before else 0.0,
            by_value=spec.by_value,
        )
