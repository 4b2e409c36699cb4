"""Every metric of Cyclone's own in one table: its name, what it is, its labels, who serves it, and what it says.

Owns the names: no other file spells one. docs/metrics.md is tested against this table. What every process serves
besides (``process_*``) is prometheus-client's own.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]
Server = Literal["master", "controller", "sink"]

_MASTER: tuple[Server, ...] = ("master",)
_CONTROLLER: tuple[Server, ...] = ("controller",)
_SINK: tuple[Server, ...] = ("sink",)
_SERVERS: tuple[Server, ...] = ("master", "sink")
_ALL: tuple[Server, ...] = ("master", "controller", "sink")


# By identity, because each is there once and a snapshot looks many of them up.
@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """``name`` is what a query says, with ``_total`` for a counter and without a histogram's suffixes.

    ``bounds`` are the upper bounds of a histogram's buckets.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    servers: tuple[Server, ...]
    help: str
    bounds: tuple[float, ...] = ()


def _gauge(name: str, labels: tuple[str, ...], servers: tuple[Server, ...], help: str) -> Metric:
    return Metric(f"cyclone_{name}", "gauge", labels, servers, help)


def _counter(name: str, labels: tuple[str, ...], servers: tuple[Server, ...], help: str) -> Metric:
    return Metric(f"cyclone_{name}_total", "counter", labels, servers, help)


def _seconds(name: str, labels: tuple[str, ...], servers: tuple[Server, ...], help: str, *bounds: float) -> Metric:
    return Metric(f"cyclone_{name}_seconds", "histogram", labels, servers, help, bounds)


# Of every daemon.
BUILD_INFO = _gauge("build_info", ("version", "python", "zmq"), _ALL, "Always 1; the labels say what runs here.")
START_TIME = _gauge("start_time_seconds", (), _ALL, "When this process began to serve, Unix time.")
LOOP_LAG = _seconds(
    "loop_lag",
    (),
    _ALL,
    "How long each turn of the main loop took beyond its wait: nothing else was served meanwhile.",
    *(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10),
)
LAST_TURN = _gauge(
    "last_turn_timestamp_seconds",
    (),
    _ALL,
    "When the main loop put these figures up, Unix time; it does so once a second, unless it is stuck.",
)
MESSAGES = _counter("messages", ("direction",), _ALL, "ZeroMQ messages received and sent.")
MESSAGE_BYTES = _counter("message_bytes", ("direction",), _ALL, "Bytes of these messages, without what TCP adds.")
MESSAGES_DROPPED = _counter("messages_dropped", (), _ALL, "Messages that made no sense, or that the key did not allow.")

# Of the daemons that let others in.
AUTH_FAILURES = _counter(
    "auth_failures", (), _SERVERS, "Connections that were refused, because their key is not known; each try counts."
)

# Of the master: tasks.
TASKS = _gauge(
    "tasks",
    ("state",),
    _MASTER,
    "Tasks that have no result yet: queued, delayed (until a retry), leased to a controller.",
)
SUBMITTED = _counter("tasks_submitted", ("task",), _MASTER, "Tasks added since the start, by class.")
FINISHED = _counter("tasks_finished", ("task", "outcome"), _MASTER, "Results recorded since the start, by class.")
RETRIES = _counter(
    "task_retries",
    ("reason",),
    _MASTER,
    "Attempts that ended without being the task's result: failed, timed_out, crashed, lost (with their controller).",
)
RESENDS = _counter("task_resends", (), _MASTER, "Tasks handed out once more, for whatever reason, also a mere recall.")
DUPLICATES = _counter("task_duplicates", (), _MASTER, "Results that came late or again, and were passed over.")
WAIT = _seconds(
    "task_wait",
    (),
    _MASTER,
    "From when a task was added to when it was first handed out; one added by an earlier master counts from the start.",
    *(0.001, 0.01, 0.1, 1, 10, 60, 300, 1800, 7200, 43200),
)
OVERHEAD = _seconds(
    "task_overhead",
    (),
    _MASTER,
    "From handing a task out to its recorded result, without its run: ways, waiting at the controller, the journal.",
    *(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60),
)
OLDEST_QUEUED = _gauge(
    "oldest_queued_task_age_seconds",
    (),
    _MASTER,
    "How long the task has been waiting that has waited longest; 0: none.",
)

# Of the master: its surroundings.
CONTROLLERS = _gauge(
    "controllers",
    ("state",),
    _MASTER,
    "Controllers: connected, drained, suspected, unreachable, awaited (after a restart of the master).",
)
SLOTS = _gauge(
    "slots", ("state",), _MASTER, "Workers of all controllers: busy, free, drained (idle, and to remain so)."
)
JOURNAL_FSYNC = _seconds(
    "journal_fsync",
    (),
    _MASTER,
    "How long each commit of the journal waited for the disk.",
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 10),
)
JOURNAL_BYTES = _gauge(
    "journal_bytes", (), _MASTER, "Size of the journal and its write-ahead log; 0 without a journal."
)
JOURNAL_FAILING = _gauge(
    "journal_failing", (), _MASTER, "1 while nothing can be recorded, so that nothing is handed out or acknowledged."
)
GENERATOR_UP = _gauge("generator_up", ("generator",), _MASTER, "0 when the generator has failed or died.")
GENERATOR_EXHAUSTED = _gauge("generator_exhausted", ("generator",), _MASTER, "1 when it has yielded its last task.")
GENERATOR_EMITTED = _counter(
    "generator_emitted", ("generator",), _MASTER, "Tasks that it has yielded since the journal began."
)
GENERATOR_ACTIVITY = _gauge(
    "generator_last_activity_timestamp_seconds",
    ("generator",),
    _MASTER,
    "When it last yielded a task or took in a result, Unix time.",
)
GENERATOR_BACKLOG = _gauge(
    "generator_backlog_bytes", ("generator",), _MASTER, "Results that wait until it takes them in."
)
SINK_ATTACHED = _gauge("sink_attached", ("sink",), _MASTER, "1 while the sink takes what is recorded.")
SINK_LAG = _gauge("sink_lag_blocks", ("sink",), _MASTER, "Blocks of results that the sink does not have yet.")
SINK_FULL = _gauge("sink_full", ("sink",), _MASTER, "1 while the sink's spool is full, so that it takes nothing.")
SINK_LOST = _counter(
    "sink_lost_blocks", ("sink",), _MASTER, "Blocks that the sink lacked and the journal had no more: lost to it."
)

# Of a controller.
CONTROLLER_INFO = _gauge("controller_info", ("node",), _CONTROLLER, "Always 1; the controller's name.")
MASTER_CONNECTED = _gauge("master_connected", (), _CONTROLLER, "1 while the controller has a session with its master.")
WORKERS = _gauge("workers", ("state",), _CONTROLLER, "Worker processes: starting, idle, busy, ending, dead.")
WORKER_DEATHS = _counter(
    "worker_deaths",
    ("reason",),
    _CONTROLLER,
    "Worker processes that ended: retired, ended (with its task: time limit, cancelled), killed (by the controller), "
    "exited, or the signal's name.",
)
RUN = _seconds(
    "task_run",
    ("task",),
    _CONTROLLER,
    "How long tasks ran here, by class, however they ended.",
    *(0.001, 0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200, 28800),
)
OUTPUT_BYTES = _gauge("output_bytes", (), _CONTROLLER, "Size of the files in which what tasks print is kept.")
OUTPUT_DROPPED = _counter(
    "output_dropped_bytes",
    (),
    _CONTROLLER,
    "Bytes that tasks have printed and that are not kept: beyond what one task may print, older ones that made room, "
    "or those that could not be written.",
)
OUTBOX = _gauge("outbox_results", (), _CONTROLLER, "Results that the master has not recorded yet.")

# Of a database proxy and a Pushgateway client.
SINK_MASTERS = _gauge("sink_masters", (), _SINK, "Masters that were heard of within the last minutes.")
SINK_BLOCKS = _counter("sink_blocks", (), _SINK, "Blocks of results that were taken into the spool.")
SINK_GAPS = _counter("sink_gap_blocks", (), _SINK, "Blocks that no master had any more: lost here.")
SINK_RECORDS = _counter(
    "sink_records",
    ("record", "outcome"),
    _SINK,
    "Rows by table, or records by name: stored (passed on), or rejected (they cannot be, and never will).",
)
SINK_ERRORS = _counter("sink_errors", (), _SINK, "Attempts to pass something on that failed, and are tried again.")
SINK_BUFFERED = _gauge(
    "sink_buffered", (), _SINK, "Rows or records that were taken out of the spool, and not passed on yet."
)
SINK_FLUSH = _seconds(
    "sink_flush", (), _SINK, "How long passing on took, each time.", *(0.005, 0.02, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
)
SINK_SPOOL_BYTES = _gauge("sink_spool_bytes", (), _SINK, "What lies in the spool and is not passed on yet.")
SINK_SPOOL_BLOCKS = _gauge("sink_spool_blocks", (), _SINK, "The same in blocks of results.")
SINK_SPOOL_FULL = _gauge("sink_spool_full", (), _SINK, "1 while the spool is full, so that nothing more is taken.")
SINK_OLDEST = _gauge(
    "sink_oldest_age_seconds", (), _SINK, "How long the oldest of it has been lying there; 0: nothing is."
)

METRICS: tuple[Metric, ...] = tuple(each for each in list(globals().values()) if isinstance(each, Metric))
