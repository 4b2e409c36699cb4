"""The messages between clients and a master about jobs: submitting, looking, steering, taking results.

Owns this part of the one language of docs/protocol.md. Must not import anything of Cyclone but its limits and the other
messages. Each request stands for itself and may be repeated: it says what is to be, and not what to change. Moments are
Unix seconds (float), durations seconds, sizes bytes.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from cyclone.protocol import limits
from cyclone.protocol.client_messages import AboutMaster, FromClient, OfMaster, ToClient
from cyclone.protocol.event_messages import EventsReport, EventsRequest
from cyclone.protocol.figure_messages import FiguresReport, FiguresRequest
from cyclone.protocol.job_spec import (
    Index,
    IndexRanges,
    JobSelection,
    JobSpec,
    Key,
    Namespace,
    PageSize,
    ShortText,
    TaskBlock,
)
from cyclone.protocol.messages import AttemptOrNone, Count, JobId, OutputPieces, Positive, TaskId, Text

# Requests.


class SubmitRequest(FromClient, tag=204, frozen=True):
    """Make a job, and give it its first tasks. With a key by which the same user has made one it is that one, whatever
    else is said.

    ``sealed``: no more tasks will come. Answered by ``Submitted`` when it is recorded.
    """

    request: Count
    key: Key
    spec: JobSpec
    block: TaskBlock | None = None
    sealed: bool = False


class AddRequest(FromClient, tag=205, frozen=True):
    """More tasks for a job, in order: a block that it has already is passed over, one that leaves a gap is refused.

    ``quiet``: no answer is wanted where all is taken and there is room for more; the results tell as much.
    """

    request: Count
    job_id: JobId
    block: TaskBlock | None = None
    sealed: bool = False
    quiet: bool = False


class JobsRequest(FromClient, tag=206, frozen=True):
    """A page of jobs, the newest first, with ids below ``before`` (0: from the newest)."""

    request: Count
    selection: JobSelection
    page: PageSize = limits.PAGE_ROWS_MAX
    before: Count = 0


class TasksRequest(FromClient, tag=207, frozen=True):
    """A page of a job's tasks by index, from ``start`` on, in these states (() for all). A large one ends early."""

    request: Count
    job_id: Count
    start: Index = 0
    page: PageSize = limits.PAGE_ROWS_MAX
    states: Annotated[tuple[ShortText, ...], Meta(max_length=limits.LABELS_MAX)] = ()
    with_args: bool = False
    with_values: bool = False


class DetailRequest(FromClient, tag=208, frozen=True):
    """One job with its options; ``with_shared`` for whoever wants to submit it again."""

    request: Count
    job_id: Count
    with_shared: bool = False


class ExplainRequest(FromClient, tag=209, frozen=True):
    """Why does this job, or this task of it, not run?"""

    request: Count
    job_id: Count
    index: Index | None = None


class ControlRequest(FromClient, tag=210, frozen=True):
    """Hold jobs or release them; seal them, so that they end with the tasks that they have."""

    request: Count
    selection: JobSelection
    action: Literal["hold", "release", "seal"]


class CancelJobsRequest(FromClient, tag=211, frozen=True):
    """End jobs, or of each of them the tasks with these indexes, in these states. What is granted never completes."""

    request: Count
    selection: JobSelection
    indexes: IndexRanges = []
    states: Annotated[tuple[ShortText, ...], Meta(max_length=limits.LABELS_MAX)] = ()
    reason: ShortText = ""
    dry_run: bool = False


class RequeueRequest(FromClient, tag=212, frozen=True):
    """Take these tasks back from whoever holds them, and let them wait again, in front."""

    request: Count
    job_id: JobId
    indexes: IndexRanges = []


class NamespaceRequest(FromClient, tag=213, frozen=True):
    """Make or change a namespace (``set``), delete one that has no open jobs, or cancel all jobs of one (``purge``)."""

    request: Count
    action: Literal["set", "delete", "purge"]
    namespace: Namespace


class NamespacesRequest(FromClient, tag=214, frozen=True):
    """All namespaces."""

    request: Count


class FollowRequest(FromClient, tag=215, frozen=True):
    """Send me the results of a job as they are recorded, from behind the number ``position`` on; 0 for all.

    State, not a delta: repeated while results are wanted, at least every ``FOLLOW_S``, with the position that was
    reached. ``window_bytes`` bounds what may be under way; 0 ends it. ``resume`` says that something got lost: go back
    to ``position``. ``consume``: who may steer the job says that it has these results for good. Of a job with a
    ``keep_s`` of 0 a master without a journal lets them go then.
    """

    request: Count
    job_id: JobId
    position: Count
    window_bytes: Annotated[int, Meta(ge=0, le=limits.FOLLOW_WINDOW_BYTES_MAX)]
    resume: bool = False
    consume: bool = False


class ProcessedRequest(FromClient, tag=216, frozen=True):
    """These completed tasks were taken by their consumer: they count as processed from now on."""

    request: Count
    job_id: JobId
    indexes: IndexRanges


class OutputRequest(FromClient, tag=217, frozen=True):
    """What has the task with this index printed, from ``offset`` on, in its attempt (0: the last)?

    Where there is nothing yet but there may be, the answer waits for up to ``wait_s``.
    """

    request: Count
    job_id: Count
    index: Index
    attempt: AttemptOrNone = 0
    offset: Count = 0
    bytes_max: Annotated[int, Meta(ge=0, le=limits.OUTPUT_BYTES_MAX)] = limits.OUTPUT_BYTES_MAX
    wait_s: Annotated[float, Meta(ge=0, le=limits.OUTPUT_WAIT_MAX_S)] = 0.0


FOLLOW_S = 1.0
"""How often a client repeats what it follows; after ten times that without a word it is forgotten."""


# Answers.


class Submitted(ToClient, tag=303, frozen=True):
    """Answers ``SubmitRequest`` and ``AddRequest``. ``code`` is empty, or one of ``SUBMIT_REFUSALS``.

    ``count`` is how many tasks the job has: whatever was sent and lies beyond it was not taken. ``room`` is about how
    many more the master would take now. ``number`` is where ``FollowRequest.position`` may begin.
    """

    request: Count
    job_id: Count
    count: Count
    sealed: bool
    room: Count
    number: Count = 0
    code: ShortText = ""
    text: Text = ""


class JobSummary(msgspec.Struct, array_like=True, frozen=True):
    """A job in a list. ``tasks`` counts by state; ``state`` is one of ``states.JOB_STATES``.

    Its ``submitted`` and ``finished`` are 0 where that is not known, or has not happened.
    """

    job_id: Count
    name: str
    namespace: str
    owner: str
    state: str
    task_class: str
    priority: int
    submitted: float
    finished: float
    sealed: bool
    tasks: dict[str, int]
    session: str = ""
    tags: dict[str, str] = {}


class JobsReport(ToClient, tag=304, frozen=True):
    """Answers ``JobsRequest``. ``next`` is ``before`` of the next page, 0 after the last; a page may be empty."""

    request: Count
    jobs: list[JobSummary]
    next: Count


class TaskRow(msgspec.Struct, array_like=True, frozen=True):
    """A task in a list. ``controller`` has it, ``since`` then, or had it; before it has a result ``started`` is 0. What
    nobody asked for is empty: ``args`` and ``value`` (msgpack), ``traceback``. ``error`` is ``Type: message``.
    ``printed`` (msgpack) comes with the value: the ``OUTPUT_RECORD`` of a program that failed.
    """

    index: int
    task_id: int
    state: str
    attempt: int
    controller: str
    started: float = 0.0
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    error: str = ""
    args: bytes = b""
    value: bytes = b""
    not_before: float | None = None
    time_limit_s: float | None = None
    since: float = 0.0
    traceback: str = ""
    printed: bytes = b""


class TasksReport(ToClient, tag=305, frozen=True):
    """Answers ``TasksRequest``. ``next`` is where the next page starts, None after the last."""

    request: Count
    rows: list[TaskRow]
    next: Index | None


class JobDetail(ToClient, tag=306, frozen=True):
    """Answers ``DetailRequest``; ``job`` is None where there is none. ``spec`` has ``shared`` where it was asked for.

    ``failures`` are the kinds of errors so far: text, how many, an index that shows it.
    """

    request: Count
    job: JobSummary | None
    spec: JobSpec | None = None
    failures: list[tuple[str, int, int]] = []
    reason: str = ""


class Explanation(ToClient, tag=307, frozen=True):
    """Answers ``ExplainRequest``: a code for programs and a sentence for people, the first is what matters most."""

    request: Count
    reasons: list[tuple[str, str]]


class NamespaceSummary(msgspec.Struct, array_like=True, frozen=True):
    """A namespace in a list; ``tasks`` counts the open ones by state, ``share`` is its part of the leased slots."""

    namespace: Namespace
    open_jobs: int
    tasks: dict[str, int]
    share: float = 0.0


class NamespacesReport(ToClient, tag=308, frozen=True):
    """Answers ``NamespacesRequest``."""

    request: Count
    namespaces: list[NamespaceSummary]


class JobBlock(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Results of consecutive tasks of a job from ``index`` on; the other columns are those of a ``ResultBatch``.

    ``accepted`` has a byte per row, 0 where the row is no result of the job, or is None where all are.
    """

    index: Index
    task_id: TaskId
    attempt: Positive
    statuses: bytes
    accepted: bytes | None
    body: bytes
    controller: str


class JobResults(ToClient, tag=309, frozen=True):
    """What ``FollowRequest`` asked for. ``after`` is the position that it goes on from, ``position`` the one reached.

    A client whose position is not ``after`` has missed something. ``finished``: all tasks of the job have their
    results, and with this message they are told, and how many were ``lost``: the master has them no more.
    """

    request: Count
    job_id: JobId
    after: Count
    position: Count
    blocks: list[JobBlock]
    finished: bool
    lost: Count = 0


class OutputAnswer(ToClient, tag=310, frozen=True):
    """Answers ``OutputRequest``: see ``Output``. ``state`` is the task's. ``ended``: this attempt prints nothing more.
    ``attempt`` is 0 where none is known, then ``text`` says why. Pieces begin behind what was asked for where that is
    not kept any more. ``away``: the controller that has it cannot be asked at the moment, ``text`` says which.
    """

    request: Count
    attempt: Count
    offset: Count
    pieces: OutputPieces
    size: Count
    ended: bool
    state: ShortText
    controller: Text = ""
    text: Text = ""
    away: bool = False


QUOTA = "quota"
BUSY = "busy"
NO_JOB = "no_job"
SEALED = "sealed"
GAP = "gap"
NO_NAMESPACE = "no_namespace"
INVALID = "invalid"
NOT_ALLOWED = "not_allowed"
SUBMIT_REFUSALS = {
    QUOTA: "the namespace has as many open jobs or tasks as it may: try again later",
    BUSY: "the master has as many tasks in memory as it can: try again later",
    NO_JOB: "there is no such job, or it has ended",
    SEALED: "the job takes no more tasks",
    GAP: "tasks before these did not arrive: go on behind the count",
    NO_NAMESPACE: "there is no such namespace",
    INVALID: "the options contradict each other",
    NOT_ALLOWED: "this master, or this key, does not allow it",
}

AnyFromClient = (
    AboutMaster
    | SubmitRequest
    | AddRequest
    | JobsRequest
    | TasksRequest
    | DetailRequest
    | ExplainRequest
    | ControlRequest
    | CancelJobsRequest
    | RequeueRequest
    | NamespaceRequest
    | NamespacesRequest
    | FollowRequest
    | ProcessedRequest
    | OutputRequest
    | EventsRequest
    | FiguresRequest
)
AnyToClient = (
    OfMaster
    | Submitted
    | JobsReport
    | TasksReport
    | JobDetail
    | Explanation
    | NamespacesReport
    | JobResults
    | OutputAnswer
    | EventsReport
    | FiguresReport
)
