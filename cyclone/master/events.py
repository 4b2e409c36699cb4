"""What can happen to the master's state. PURE.

``State.apply`` is the only place where an event changes anything. *Recorded* events are what a journal stores and
what recovery replays through the same ``apply``; *volatile* ones, such as leases, die with the master. Events are
batch-sized: never one object per task.
"""

from dataclasses import dataclass, field

from cyclone.master.generator.progress import GeneratorProgress
from cyclone.master.spans import Span
from cyclone.protocol.job_spec import GENERATOR_JOB, JobSpec, Namespace, RowOptions
from cyclone.protocol.messages import Job, ResultBatch
from cyclone.protocol.runs import Runs
from cyclone.protocol.states import CANCELLED


@dataclass(frozen=True, slots=True)
class JobAdded:
    """Recorded. A job is known from now on."""

    job: Job


@dataclass(frozen=True, slots=True)
class TasksAdded:
    """Recorded. Tasks with consecutive ids from ``first`` wait behind all others: a *block*.

    Where a replay adds a block at or below the horizon, its tasks may be held by controllers of an earlier epoch.
    ``keys`` has an identity of 16 bytes for each task (empty bytes for one without), or is None where none has one.
    ``size_bytes`` is about how large ``args`` are together, None where nobody has measured it on the way here.
    ``job_id`` is the submitted job that all of the block is of, from its index ``offset`` on, GENERATOR_JOB for the
    generator's; ``options`` is the sparse side table of what differs from task to task.
    """

    first: int
    runs: Runs
    args: list[bytes]
    keys: list[bytes] | None = None
    size_bytes: int | None = None
    job_id: int = GENERATOR_JOB
    offset: int = 0
    options: tuple[RowOptions, ...] = ()

    @property
    def args_bytes(self) -> int:
        """How large the arguments are. A caller who knows saves what counting costs: 12 ns a task."""
        return sum(map(len, self.args)) if self.size_bytes is None else self.size_bytes


@dataclass(frozen=True, slots=True)
class ResultsRecorded:
    """Recorded. Final results: those rows of the batch whose byte in ``accepted`` is 1, or all where it is None.

    ``number`` counts these events without gaps from 1 over the life of the journal.
    """

    number: int
    batch: ResultBatch
    accepted: bytes | None
    controller: str


@dataclass(frozen=True, slots=True)
class AttemptsEnded:
    """Recorded. An attempt at each of these tasks ended, and it was not the last one: ``status`` says how.

    ``body`` is what the controller reported, a ``ResultColumns`` of these rows in msgpack; empty where the
    controller was lost and nobody reported anything.
    """

    first: int
    count: int
    epoch: int
    attempt: int
    status: int
    controller: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class GeneratorAdvanced:
    """Recorded. The generator has come this far; in the transaction of the tasks that brought it there."""

    progress: GeneratorProgress


@dataclass(frozen=True, slots=True)
class HorizonMoved:
    """Recorded. No task above ``last_id`` has ever been offered to a controller: recorded before the lease is sent.

    It never goes down. ``jobs`` says the same of single jobs, ``(job, last id)``, because jobs do not run in the order
    of their tasks: live of those that move; in a replay of all open ones, or None where nobody knows better than
    ``last_id``, so that all below it may have been offered.
    """

    last_id: int
    jobs: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class ControllerJoined:
    """Recorded. This incarnation is alive and may hold leases; it replaces any other of the same name."""

    name: str
    incarnation: str


@dataclass(frozen=True, slots=True)
class ControllerLeft:
    """Recorded. No controller of this name holds anything any more."""

    name: str


@dataclass(frozen=True, slots=True)
class CancelWanted:
    """Recorded. Tasks ``first`` to ``last`` are to end, those of the class and of the job unless that is empty or None.

    From here on none of them completes, whatever their controllers report. ``status`` is how they end, ``reason`` what
    their error says.
    """

    first: int
    last: int
    task_class: str
    job_id: int | None = None
    status: int = CANCELLED
    reason: str = ""


@dataclass(frozen=True, slots=True)
class JobSubmitted:
    """Recorded. A client's job is known from now on; ``job`` is what controllers are told of it.

    ``owner`` is the name of the key that submitted it, empty where nobody is asked for one; ``submitted`` Unix time.
    ``number`` is that of the last results that were recorded before.
    """

    job: Job
    spec: JobSpec
    key: bytes
    owner: str
    submitted: float
    number: int


@dataclass(frozen=True, slots=True)
class JobSealed:
    """Recorded. The job takes no more tasks."""

    job_id: int


@dataclass(frozen=True, slots=True)
class JobHeld:
    """Recorded. Nothing of the job is leased any more, or again."""

    job_id: int
    held: bool


@dataclass(frozen=True, slots=True)
class JobEnded:
    """Recorded. A sealed job has the results of all its tasks: it leaves memory. ``finished`` is Unix time."""

    job_id: int
    finished: float


@dataclass(frozen=True, slots=True)
class TasksProcessed:
    """Recorded. A consumer has taken these completed tasks of a job: ranges of indexes, both ends included."""

    job_id: int
    indexes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class NamespaceSet:
    """Recorded. There is this namespace, with these properties."""

    namespace: Namespace


@dataclass(frozen=True, slots=True)
class NamespaceDeleted:
    """Recorded. There is no such namespace any more."""

    name: str


@dataclass(frozen=True, slots=True)
class ControllerMarked:
    """Recorded. The controller of this name gets no new tasks, or gets some again."""

    name: str
    drained: bool


@dataclass(frozen=True, slots=True)
class TasksStored:
    """Replayed only: a block above the horizon, of which the journal keeps the rest until it is asked to load it."""

    first: int
    count: int
    job_id: int = GENERATOR_JOB
    offset: int = 0


@dataclass(frozen=True, slots=True)
class JobRestored:
    """Replayed only, before any block: a submitted job that has not ended, as far as its closed blocks tell.

    ``added`` counts all its tasks, also those of the open blocks, which are replayed behind; ``extents`` are the closed
    blocks as ``(index, first id, count)``, adjoining ones joined, ``ended`` counts their tasks by state. ``processed``
    are ranges of indexes.
    """

    submitted: JobSubmitted
    sealed: bool
    held: bool
    added: int
    ended: dict[str, int]
    extents: tuple[tuple[int, int, int], ...]
    processed: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TasksClosed:
    """Replayed only, before all others: of what is done and has left the state, nothing but counts.

    ``last_id`` is the highest task id ever added, ``number`` that of the last ``ResultsRecorded``; ``ended`` counts the
    tasks by state in the blocks that are not replayed, whose ids are done, ``generator_ended`` those of them that were
    the generator's. ``last_job_id`` is the highest number that a job ever had.
    """

    last_id: int
    number: int
    ended: dict[str, int] = field(default_factory=dict)
    generator_ended: dict[str, int] = field(default_factory=dict)
    last_job_id: int = 0


@dataclass(frozen=True, slots=True)
class EpochBegun:
    """Volatile. The replay is over: what was offered and has no result may still be held by a controller.

    Leases that an earlier epoch has lost sight of are over at ``over_at``.
    """

    now: float
    over_at: float = 0.0


@dataclass(frozen=True, slots=True)
class TasksLoaded:
    """Volatile. The rest of a block that was stored only."""

    block: TasksAdded


@dataclass(frozen=True, slots=True)
class TasksLeased:
    """Volatile. These spans go to a session, in its message ``seq``; each takes the next attempt."""

    session: int
    seq: int
    spans: list[Span]
    leased_at: float


@dataclass(frozen=True, slots=True)
class TasksReturned:
    """Volatile. The open tasks of this span wait again, in front; their lease may go on until ``over_at``."""

    span: Span
    over_at: float = 0.0


@dataclass(frozen=True, slots=True)
class TasksDelayed:
    """Volatile. The open tasks of this span wait again, but not before ``until``; see ``TasksReturned``."""

    span: Span
    until: float
    over_at: float = 0.0


Recorded = (
    JobAdded
    | TasksAdded
    | ResultsRecorded
    | AttemptsEnded
    | GeneratorAdvanced
    | HorizonMoved
    | ControllerJoined
    | ControllerLeft
    | CancelWanted
    | ControllerMarked
    | JobSubmitted
    | JobSealed
    | JobHeld
    | JobEnded
    | TasksProcessed
    | NamespaceSet
    | NamespaceDeleted
)
Replayed = Recorded | TasksStored | TasksClosed | JobRestored
Volatile = EpochBegun | TasksLoaded | TasksLeased | TasksReturned | TasksDelayed
Event = Replayed | Volatile
