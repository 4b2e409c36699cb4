"""What a job is, for everybody: its options, its tasks, how jobs are selected, and the namespaces that hold them.

Owns these shapes and their bounds; they are read from job files and JSON as they are from the wire. Must not import
anything of Cyclone but the limits and the other messages. Moments are Unix seconds (float), durations seconds, sizes
bytes.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from cyclone.protocol import limits
from cyclone.protocol.messages import Count, Name, Positive, Seconds, Text, ValueBytes

Label = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/@-]{0,254}\Z")]
OptionalLabel = Annotated[str, Meta(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.:/@-]{0,254})?\Z")]
ShortText = Annotated[str, Meta(max_length=limits.NAME_CHARS_MAX)]
Moment = Annotated[float, Meta(ge=0, le=1e11)]
Priority = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]
Key = Annotated[bytes, Meta(min_length=16, max_length=16)]
Names = Annotated[tuple[Name, ...], Meta(max_length=limits.NODES_PER_JOB_MAX)]
Labels = Annotated[tuple[Label, ...], Meta(max_length=limits.LABELS_MAX)]
Tags = Annotated[dict[Label, ShortText], Meta(max_length=limits.LABELS_MAX)]
Amounts = Annotated[dict[Label, Positive], Meta(max_length=limits.LABELS_MAX)]
Variables = Annotated[dict[Name, Text], Meta(max_length=limits.VARIABLES_MAX)]
Slots = Annotated[int, Meta(ge=1, le=limits.SLOTS_MAX)]
Index = Count
IndexRanges = Annotated[list[tuple[Index, Index]], Meta(max_length=limits.RANGES_PER_MESSAGE_MAX)]
PageSize = Annotated[int, Meta(ge=1, le=limits.PAGE_ROWS_MAX)]

DEFAULT_NAMESPACE = "default"
# The job that stands for the tasks of the generator in the configuration.
GENERATOR_JOB = 0


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What somebody submits: a stream of like tasks with its options. Options live here, never on the single task.

    ``shared`` is a msgpack array of the first constructor properties, the same for all tasks, or empty for none; a
    task's own arguments follow them. ``max_fails``: so many tasks may end badly; one more ends the job. ``parallel``
    bounds how many tasks of the job are leased at once, ``limits`` how many of the whole cluster hold each of these
    names at once. ``cpus`` are slots of one controller; ``mem_bytes`` and ``resources`` are amounts of one controller.
    ``nodes`` are names of controllers or their hosts, () for all; ``labels`` must all be there. A task that waits at
    ``not_after`` ends as expired. The three waits are how long a slot rests after a task. ``keep_s`` is how long
    results are kept after the job has ended, None for what the master says. ``by_value`` says that ``shared``,
    arguments and values may hold cloudpickle, which only a worker and the client that submitted may open.
    """

    task_class: Name
    shared: ValueBytes = b""
    name: ShortText = ""
    namespace: Label = DEFAULT_NAMESPACE
    session: ShortText = ""
    tags: Tags = {}
    priority: Priority = 0
    qos: OptionalLabel = ""
    time_limit_s: Seconds | None = None
    retries: Count = 0
    retry_delay_s: Seconds = 1.0
    retry_on: Annotated[tuple[Name, ...], Meta(max_length=limits.LABELS_MAX)] = ()
    crash_limit: Positive | None = None
    max_fails: Count | None = None
    exclusive: bool = False
    cpus: Slots = 1
    mem_bytes: Count = 0
    resources: Amounts = {}
    nodes: Names = ()
    exclude: Names = ()
    labels: Labels = ()
    not_before: Moment | None = None
    not_after: Moment | None = None
    wait_after_success_s: Seconds = 0.0
    wait_after_setup_error_s: Seconds = 0.0
    wait_after_run_error_s: Seconds = 0.0
    parallel: Positive | None = None
    limits: Amounts = {}
    environment: Variables = {}
    directory: Text = ""
    keep_s: Seconds | None = None
    held: bool = False
    by_value: bool = False


RowOptions = tuple[Index, Moment | None, Seconds | None]
"""What differs for one row of a block: the row, its not-before and its time limit; None for the job's."""


class TaskBlock(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Tasks of a job from index ``offset`` on, each a msgpack array of properties; ``options`` is sparse, by row."""

    offset: Index
    args: Annotated[list[ValueBytes], Meta(min_length=1, max_length=limits.TASKS_PER_BATCH_MAX)]
    options: Annotated[list[RowOptions], Meta(max_length=limits.TASKS_PER_BATCH_MAX)] = []


class JobSelection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which jobs are meant: all that fit every filter that is not empty.

    ``ids`` are ranges, both ends included; ``last`` means the newest that fits the rest; ``states`` are those of jobs,
    see ``states.JOB_STATES``.
    """

    ids: IndexRanges = []
    last: bool = False
    namespace: OptionalLabel = ""
    owner: ShortText = ""
    name: ShortText = ""
    session: ShortText = ""
    tags: Tags = {}
    states: Annotated[tuple[ShortText, ...], Meta(max_length=limits.LABELS_MAX)] = ()


class Namespace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Holds jobs. Namespaces that have work share the slots by ``weight``.

    ``jobs_max`` and ``tasks_max`` bound what is open in it; None for no bound.
    """

    name: Label
    weight: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    paused: bool = False
    jobs_max: Count | None = None
    tasks_max: Count | None = None
