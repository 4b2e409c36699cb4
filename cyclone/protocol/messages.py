"""The messages between master and controller: what is said, nothing about how it travels.

Owns the one language of docs/protocol.md. Must not import anything of Cyclone but its limits. Every message is an
array-like tagged msgspec struct whose bounds are part of its type, so that decoding is validating.

Direction is in the class that a message derives from: ``FromController`` or ``FromMaster``. Durations are seconds
(float), sizes bytes, identities hexadecimal text.
"""

from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from cyclone.protocol import limits

Count = Annotated[int, Meta(ge=0, le=limits.ID_MAX)]
Positive = Annotated[int, Meta(ge=1, le=limits.ID_MAX)]
TaskId = Positive
Attempt = Annotated[int, Meta(ge=1, le=(1 << 31) - 1)]
AttemptOrNone = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
Epoch = Positive
JobId = Annotated[int, Meta(ge=1, le=(1 << 31) - 1)]
Session = Positive
Slots = Annotated[int, Meta(ge=0, le=limits.SLOTS_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX)]
Text = Annotated[str, Meta(max_length=limits.TEXT_CHARS_MAX)]
Incarnation = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
JournalId = Annotated[str, Meta(pattern="^([0-9a-f]{32})?$")]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
BatchCount = Annotated[int, Meta(ge=1, le=limits.TASKS_PER_BATCH_MAX)]
ValueBytes = Annotated[bytes, Meta(max_length=limits.VALUE_BYTES_MAX)]


class TaskRange(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The tasks ``first .. first+count-1``, all of the lease (epoch, attempt)."""

    first: TaskId
    count: Positive
    epoch: Epoch
    attempt: Attempt


class JobOptions(NamedTuple):
    """What makes tasks alike. ``task_class`` is ``module:Class``; ``time_limit_s`` is None for no limit of its own.

    A failure is tried again up to ``retries`` times, after ``retry_delay_s`` and then twice as long each time, where
    the exception or one of its bases is named in ``retry_on``, or that is empty. With ``exclusive`` no attempt may
    overlap with an earlier one, whatever happens.
    """

    task_class: Name
    time_limit_s: Seconds | None = None
    retries: Count = 0
    retry_delay_s: Seconds = 1.0
    retry_on: tuple[Name, ...] = ()
    exclusive: bool = False


class Job(msgspec.Struct, array_like=True, frozen=True):
    """A stream of like tasks, with its ``JobOptions``. Options live here, never on the single task.

    What follows them only a submitted job has, see ``JobSpec``: what its controllers and workers need of that. The
    ``waits`` are after success, after a set-up error and after a run error.
    """

    job_id: JobId
    task_class: Name
    time_limit_s: Seconds | None = None
    retries: Count = 0
    retry_delay_s: Seconds = 1.0
    retry_on: tuple[Name, ...] = ()
    exclusive: bool = False
    shared: ValueBytes = b""
    cpus: Annotated[int, Meta(ge=1, le=limits.SLOTS_MAX)] = 1
    waits: tuple[Seconds, Seconds, Seconds] = (0.0, 0.0, 0.0)
    environment: dict[Name, Text] = {}
    directory: Text = ""
    by_value: bool = False
    name: Text = ""
    namespace: Text = ""

    @property
    def options(self) -> JobOptions:
        """All but the number."""
        return JobOptions(
            self.task_class, self.time_limit_s, self.retries, self.retry_delay_s, self.retry_on, self.exclusive
        )


class TaskBatch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Tasks with consecutive ids, leased together with one attempt number.

    ``runs`` is the run-length column of jobs, ``[(job_id, count), ...]`` in id order; ``args`` holds each task's
    constructor properties as one msgpack array. Both sum up to the same number of tasks. ``time_limits`` is sparse:
    ``(row, time limit in seconds)`` where a task has one of its own.
    """

    first: TaskId
    attempt: Attempt
    runs: Annotated[list[tuple[JobId, BatchCount]], Meta(min_length=1, max_length=limits.TASKS_PER_BATCH_MAX)]
    args: Annotated[list[bytes], Meta(min_length=1, max_length=limits.TASKS_PER_BATCH_MAX)]
    time_limits: Annotated[list[tuple[Count, Seconds]], Meta(max_length=limits.TASKS_PER_BATCH_MAX)] = []


class ResultBatch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Ended attempts of tasks with consecutive ids: a status byte each, and the columns that nobody on the way opens.

    ``body`` is a ``ResultColumns`` in msgpack with as many rows as ``statuses`` has bytes. ``busy_s`` is how long a
    worker was busy with them, which fair shares are reckoned by.
    """

    first: TaskId
    epoch: Epoch
    attempt: Attempt
    statuses: Annotated[bytes, Meta(min_length=1, max_length=limits.TASKS_PER_BATCH_MAX)]
    body: Annotated[bytes, Meta(max_length=limits.BODY_BYTES_MAX)]
    busy_s: Seconds = 0.0


class ResultColumns(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a result batch's body holds, a row per task.

    ``values``: msgpack of the value, or of an ``ErrorRecord`` where the status is not COMPLETED.
    ``seconds``: little-endian float64 each, wall time of ``execute``. ``started``: Unix time of the first row's start;
    the rows follow each other. ``cpu_s`` is the sum over the rows without an entry in ``usage``, ``peak_bytes`` their
    peak resident memory; ``usage`` is ``(row, cpu seconds, peak bytes)`` for each row measured by itself.
    ``records`` is ``(row, name, msgpack of a dict)`` for each record that a task made for the sinks.
    """

    values: list[bytes]
    seconds: bytes
    started: float
    worker_pid: Count
    cpu_s: float = 0.0
    peak_bytes: Count = 0
    usage: list[tuple[Count, float, Count]] = []
    records: list[tuple[Count, str, bytes]] = []


class ErrorRecord(msgspec.Struct, array_like=True, frozen=True):
    """Why an attempt did not complete. ``traceback`` is the worker's, as text; empty where there is none.

    ``retry`` says whether the job's ``retry_on`` covers it: only who has the exception can tell. ``pickled`` is for a
    client that submitted by value, and for nobody else to open.
    """

    type: str
    message: str
    traceback: str = ""
    retry: bool = True
    pickled: bytes = b""


class FromController(msgspec.Struct, array_like=True, frozen=True, tag_field="t"):
    """Base of what a controller says."""


class FromMaster(msgspec.Struct, array_like=True, frozen=True, tag_field="t"):
    """Base of what a master says."""


Ranges = Annotated[list[TaskRange], Meta(max_length=limits.RANGES_PER_MESSAGE_MAX)]


class Offer(msgspec.Struct, array_like=True, frozen=True):
    """What a controller has besides slots, and whom it serves: ``namespaces`` are () for all.

    ``resources`` are named amounts, ``mem_bytes`` is 0 where nobody bounds it.
    """

    namespaces: Annotated[tuple[Name, ...], Meta(max_length=limits.LABELS_MAX)] = ()
    labels: Annotated[tuple[Name, ...], Meta(max_length=limits.LABELS_MAX)] = ()
    mem_bytes: Count = 0
    resources: Annotated[dict[Name, Positive], Meta(max_length=limits.LABELS_MAX)] = {}
    by_value: bool = False


class Hello(FromController, tag=1, frozen=True):
    """First message of a connection, and the answer to ``Refused(NO_SESSION)``.

    ``held``: everything that this incarnation still answers for, running, waiting or finished but not yet recorded.
    ``journal_id`` and ``epoch`` are of the last master that welcomed it, "" and 1 for none.
    """

    protocol: Count
    name: Name
    incarnation: Incarnation
    journal_id: JournalId
    epoch: Epoch
    host: Name
    pid: Count
    version: Name
    python: Name
    slots: Slots
    held: Ranges
    offer: Offer = Offer()


class State(FromController, tag=2, frozen=True):
    """The heartbeat: state, never deltas, so that loss and repetition heal themselves.

    ``seq`` counts the States of a session; an older one than the last is ignored. ``tasks_seq`` is the highest
    ``Tasks.seq`` that was handled: what was leased up to it and is not in ``held`` did not arrive. ``granted`` is
    cumulative over the session: the master sends while its own ``sent`` is below it. ``running`` are those of ``held``
    that a worker executes at this moment; of the ``busy`` slots so many are ``resting`` after a task.
    """

    session: Session
    seq: Positive
    tasks_seq: Count
    granted: Count
    slots: Slots
    busy: Slots
    held: Ranges
    running: Ranges = []
    resting: Slots = 0


class Results(FromController, tag=3, frozen=True):
    """Ended attempts. Sent again until ``Recorded`` names ``number``, which counts over the incarnation's life."""

    session: Session
    number: Positive
    granted: Count
    batches: Annotated[list[ResultBatch], Meta(min_length=1, max_length=limits.BATCHES_PER_MESSAGE_MAX)]


class Stopped(msgspec.Struct, array_like=True, frozen=True):
    """A run that was ended by force, for no fault of its own: in which worker, since when (Unix time), for how long."""

    task_id: TaskId
    epoch: Epoch
    attempt: Attempt
    worker_pid: Count
    started: Annotated[float, Meta(ge=0, le=1e11)]
    seconds: Seconds


class Returned(FromController, tag=4, frozen=True):
    """Tasks that this lease will not finish: not started, stopped (after which run), or ended nobody knows how."""

    session: Session
    granted: Count
    ranges: Ranges
    stopped: Annotated[list[Stopped], Meta(max_length=limits.SLOTS_MAX)] = []


class Goodbye(FromController, tag=5, frozen=True):
    """The controller ends; nothing runs on it any more."""

    session: Session
    reason: Text


STDOUT: Literal[1] = 1
STDERR: Literal[2] = 2
CUT: Literal[5] = 5
"""Where the task printed more than is kept of one: a text that says how much, and by which setting. It has its place
among the bytes that were printed, behind them.
"""
OutputPiece = tuple[Literal[1, 2, 5], bytes]
OUTPUT_RECORD = "command_output"
"""The record of a task whose program failed: what was kept of what it has printed and left, by name, because an
exception has no room for it.
"""
OutputPieces = Annotated[list[OutputPiece], Meta(max_length=limits.OUTPUT_PIECES_MAX)]


class Output(FromController, tag=6, frozen=True):
    """Answers ``FetchOutput``: what the task has printed from ``offset`` on, which is behind what was asked for where
    that is not kept any more. Each piece is of standard output (1), standard error (2) or says what is missing (5).

    ``size`` is where it ends by now; ``ended``: this attempt prints nothing more. Where nothing of the task is known
    here, ``attempt`` is 0; ``text`` says why that cannot be otherwise.
    """

    session: Session
    request: Positive
    task_id: TaskId
    attempt: AttemptOrNone
    offset: Count
    pieces: OutputPieces
    size: Count
    ended: bool
    text: Text = ""


class Welcome(FromMaster, tag=101, frozen=True):
    """Opens a session. ``drop``: of what the controller said it holds, what is no longer its business."""

    session: Session
    incarnation: Incarnation
    epoch: Epoch
    journal_id: JournalId
    heartbeat_s: Seconds
    controller_timeout_s: Seconds
    drop: Ranges


class Tasks(FromMaster, tag=102, frozen=True):
    """Leases. ``seq`` counts these messages, ``sent`` the tasks of the session including these.

    ``jobs`` announces each job that a batch uses and that this session has not been told of.
    """

    session: Session
    seq: Positive
    sent: Count
    jobs: Annotated[list[Job], Meta(max_length=limits.JOBS_PER_MESSAGE_MAX)]
    batches: Annotated[list[TaskBatch], Meta(min_length=1, max_length=limits.BATCHES_PER_MESSAGE_MAX)]


class Recorded(FromMaster, tag=103, frozen=True):
    """These ``Results`` are recorded (or need no record): the controller may forget them."""

    session: Session
    numbers: Annotated[list[Positive], Meta(min_length=1, max_length=limits.BATCHES_PER_MESSAGE_MAX)]


class Recall(FromMaster, tag=104, frozen=True):
    """Hand back up to ``count`` tasks that have not started: somebody else is idle, or they are not to begin."""

    session: Session
    count: Positive


class Pong(FromMaster, tag=105, frozen=True):
    """Answers each ``State``: the master is alive, and has seen state ``seq``.

    ``tasks_seq`` and ``sent`` are those of the last ``Tasks`` of the session: what has not arrived by now was lost, and
    the credit that it took is free again. ``heartbeat_s`` replaces what ``Welcome`` said, 0 leaves it.
    """

    session: Session
    seq: Positive
    tasks_seq: Count
    sent: Count
    heartbeat_s: Seconds = 0.0


class Stop(FromMaster, tag=106, frozen=True):
    """All work is done: say goodbye and exit 0."""

    session: Session
    reason: Text


class Refused(FromMaster, tag=107, frozen=True):
    """The last message had no effect. ``code`` is one of ``REFUSALS``; ``incarnation`` is "" where unknown."""

    code: Name
    incarnation: JournalId
    text: Text


class Cancel(FromMaster, tag=108, frozen=True):
    """Stop these, whatever they do, and hand them back by ``Returned`` once nothing of them runs. Repeated until then.

    What is finished meanwhile is reported as ever.
    """

    session: Session
    ranges: Ranges


class FetchOutput(FromMaster, tag=109, frozen=True):
    """What has this task printed, from ``offset`` on, in its attempt (0: the last here)? Answered by ``Output``.

    Where there is nothing yet but there may be, the answer waits for up to ``wait_s``.
    """

    session: Session
    request: Positive
    task_id: TaskId
    attempt: AttemptOrNone
    offset: Count
    bytes_max: Annotated[int, Meta(ge=0, le=limits.OUTPUT_BYTES_MAX)]
    wait_s: Annotated[float, Meta(ge=0, le=limits.OUTPUT_WAIT_MAX_S)] = 0.0


NO_SESSION = "no_session"
SUPERSEDED = "superseded"
VERSION = "version"
DRAINING = "draining"
FULL = "full"
FORBIDDEN = "forbidden"
UNRECORDED = "unrecorded"
REFUSALS = {
    NO_SESSION: "the session is unknown here: say hello again with what is held",
    SUPERSEDED: "a newer incarnation of the same controller name is alive: stop the workers and exit 1",
    VERSION: "the protocol versions differ: exit 1",
    DRAINING: "the master is stopping: try again later",
    FULL: "the master has as many controllers as it can: try again later",
    FORBIDDEN: "the key does not give this right, or not any more: stop the workers and exit 1",
    UNRECORDED: "nothing can be recorded at the moment, and so no client is answered: ask again",
}

AnyFromController = Hello | State | Results | Returned | Goodbye | Output
AnyFromMaster = Welcome | Tasks | Recorded | Recall | Pong | Stop | Refused | Cancel | FetchOutput
