"""Every configuration key in one table: where it stands, how it is read, its default, and what it is for.

Owns the names. How a value is read is ``config_kinds.py``'s, reading files and rules between keys are ``config.py``'s.
The files in ``Configuration/`` are tested against this table.
"""

from dataclasses import dataclass
from typing import Literal

from cyclone import config_kinds as kinds
from cyclone.config_kinds import Kind
from cyclone.protocol import limits

Role = Literal["master", "controller", "run"]


@dataclass(frozen=True, slots=True)
class Key:
    """One configuration key. ``default`` is text as in a file, or None where it is computed on each host."""

    section: str
    name: str
    kind: Kind
    default: str | None
    roles: tuple[Role, ...]
    help: str
    # cyclone run's own default, where it differs from the daemons'.
    default_run: str | None = None
    # Files of the original hold it; it is read and checked, and has no effect.
    accepted_only: bool = False
    # Another section in which files of the original hold the same key.
    former_section: str = ""

    @property
    def attribute(self) -> str:
        """Its name in the settings: durations end in ``_s``, sizes in ``_bytes``; ``class`` is no name in Python."""
        if self.name == "class":
            return "class_name"
        suffix = {"duration": "_s", "size": "_bytes"}.get(self.kind.name, "")
        return self.name.removesuffix(suffix) + suffix


# Of the original Cyclone's master.
DEFAULT_PORT = 5678
_COUNT_MAX = 1_000_000_000
_LOOP_S_MIN = 0.001
# A worker needs nearly half of it for itself.
_TASK_MEMORY_BYTES_MIN = 64 << 20

_MASTER: tuple[Role, ...] = ("master", "run")
_CONTROLLER: tuple[Role, ...] = ("controller", "run")
_BOTH: tuple[Role, ...] = ("master", "controller", "run")
# cyclone run takes a loopback port of its own and needs no pid file.
_DAEMONS: tuple[Role, ...] = ("master", "controller")

KEYS: tuple[Key, ...] = (
    Key(
        "control",
        "pid_file",
        kinds.PATH,
        "",
        _DAEMONS,
        "File that holds the process id and is locked while it runs; empty: none.",
    ),
    Key(
        "control",
        "name",
        kinds.NAME,
        None,
        _CONTROLLER,
        "The controller's name, unique in the cluster; by default <host>-<stem of pid_file>, or <host>-<pid>.",
    ),
    Key(
        "control",
        "state_dir",
        kinds.PATH,
        None,
        _MASTER,
        "Folder of what outlives a process; by default $STATE_DIRECTORY, $XDG_STATE_HOME/cyclone or "
        "~/.local/state/cyclone.",
    ),
    Key(
        "control",
        "controller_timeout",
        kinds.duration(0.1),
        "15s",
        _MASTER,
        "Silence after which a controller counts as dead and what it held is handed out again.",
    ),
    Key(
        "control",
        "heartbeat_interval",
        kinds.duration(0.01),
        None,
        _MASTER,
        "How often a controller with nothing else to say reports; by default 1s, or a quarter of controller_timeout.",
    ),
    Key(
        "control",
        "task_resend_timeout",
        kinds.duration(0.1),
        "8h",
        _MASTER,
        "Time from dispatch after which a task is handed out again although its controller is alive.",
    ),
    Key(
        "control",
        "crash_limit",
        kinds.integer(1, _COUNT_MAX),
        "3",
        _MASTER,
        "How many worker processes a task may kill before it is quarantined.",
    ),
    Key(
        "control",
        "drain_suspected",
        kinds.SWITCH,
        "no",
        _MASTER,
        "Whether a controller on which far more fails than elsewhere gets no new tasks until somebody undoes it.",
    ),
    Key(
        "control",
        "exit_when_done",
        kinds.SWITCH,
        "no",
        _MASTER,
        "Whether the master ends, and its controllers too, once the generator is done and each task has its result.",
        default_run="yes",
    ),
    Key(
        "control", "stop_timeout", kinds.duration(0), "30s", _BOTH, "How long a stop (SIGTERM) waits for running tasks."
    ),
    Key(
        "control",
        "request_retry_wait_duration",
        kinds.duration(0.01),
        "1s",
        _CONTROLLER,
        "Wait before the first retry to reach the master; each further one doubles it, with jitter, up to 30s.",
        former_section="comm",
    ),
    Key(
        "control",
        "max_num_request_retries",
        kinds.integer(0, _COUNT_MAX),
        "0",
        _CONTROLLER,
        "Retries to reach the master before the controller gives up; 0: it never does.",
    ),
    Key(
        "control",
        "controller_wait_duration",
        kinds.duration(0),
        "1s",
        _MASTER,
        "Accepted and not used any more: controllers are told at once when there is work.",
        accepted_only=True,
    ),
    Key("control", "version", kinds.TEXT, "", _DAEMONS, "Accepted and not used any more.", accepted_only=True),
    Key(
        "comm",
        "target",
        kinds.HOST,
        "127.0.0.1",
        _DAEMONS,
        "Master: the address to bind, * for every interface. Controller: the master's host.",
    ),
    Key("comm", "port", kinds.integer(1, 65535), str(DEFAULT_PORT), _DAEMONS, "The master's TCP port."),
    Key("comm", "poll_timeout", kinds.duration(_LOOP_S_MIN), "1s", _DAEMONS, "The longest that a main loop sleeps."),
    Key(
        "comm",
        "keys",
        kinds.PATH,
        "",
        ("master",),
        "Folder that 'cyclone keys' keeps: only peers with a key of it get through, encrypted; empty: no keys.",
    ),
    Key(
        "comm",
        "key_file",
        kinds.PATH,
        "",
        ("controller",),
        "The controller's key, a file that 'cyclone keys add' made; empty: the master has no keys.",
    ),
    Key(
        "comm",
        "insecure",
        kinds.SWITCH,
        "no",
        _DAEMONS,
        "Whether to start without keys off loopback: whoever reaches the port can then take and answer tasks.",
    ),
    Key(
        "comm",
        "strike_limit",
        kinds.integer(0, _COUNT_MAX),
        str(limits.STRIKES_MAX),
        ("master",),
        "Wrong messages of a peer within a minute, after which it is ignored for a minute; 0: it never is.",
    ),
    Key("log", "filename", kinds.PATH, "", _BOTH, "Log file, opened again after a rotation; empty: standard error."),
    Key(
        "log",
        "format",
        kinds.choice("text", "json"),
        "text",
        _BOTH,
        "A line of text or one JSON object for each message.",
    ),
    Key(
        "log",
        "level",
        kinds.choice("debug", "info", "warning", "error"),
        "info",
        _BOTH,
        "The least severe messages that are logged.",
    ),
    Key(
        "journal",
        "path",
        kinds.PATH,
        None,
        ("master",),
        "The master's journal, on a disk of its host; by default master.journal in state_dir.",
    ),
    Key(
        "journal",
        "durability",
        kinds.choice("full", "off"),
        "full",
        _MASTER,
        "full: what is acknowledged is on the disk; off: no journal, a killed master forgets its tasks.",
    ),
    Key(
        "journal",
        "keep",
        kinds.KEEP,
        "all",
        _MASTER,
        "How long finished tasks stay in the journal, by age or number; of two bounds the first one reached counts.",
    ),
    Key(
        "task_generator",
        "module",
        kinds.PYTHON,
        "",
        _MASTER,
        "Python module of the generator; not needed where class is module:Class.",
    ),
    Key("task_generator", "class", kinds.PYTHON, "", _MASTER, "Class of the generator, or module:Class."),
    Key(
        "task_generator",
        "config_file",
        kinds.PATH,
        "",
        _MASTER,
        "File of the generator's sections, looked for in this file's folder, then where it runs; empty: this file.",
    ),
    Key(
        "processing",
        "worker_count",
        kinds.integer(1, limits.SLOTS_MAX),
        None,
        _CONTROLLER,
        "Worker processes; by default the number of cores that the controller may use.",
    ),
    Key(
        "processing",
        "spare_workers",
        kinds.integer(0, _COUNT_MAX),
        "1",
        _CONTROLLER,
        "Worker processes that wait, started, to take the place of one that is gone.",
    ),
    Key(
        "processing",
        "task_time_limit",
        kinds.duration(0),
        "0s",
        _CONTROLLER,
        "Longest run of a task that has no limit of its own; 0s: none.",
    ),
    Key(
        "processing",
        "kill_grace",
        kinds.duration(0),
        "5s",
        _CONTROLLER,
        "Time between SIGTERM and SIGKILL for a task that is ended.",
    ),
    Key(
        "processing",
        "worker_max_tasks",
        kinds.integer(0, _COUNT_MAX),
        "0",
        _CONTROLLER,
        "Tasks after which a worker process is replaced; 0: never.",
    ),
    Key(
        "processing",
        "task_modules",
        kinds.MODULES,
        "tasks, cyclone, task_generators",
        ("controller",),
        "Modules and packages whose task classes may be executed here, any other is refused; *: any.",
    ),
    Key(
        "processing",
        "environment_keep",
        kinds.VARIABLES,
        "",
        _CONTROLLER,
        "Variables of the controller's environment that tasks get besides the usual ones, such as SLURM_*, OMP_*.",
    ),
    Key(
        "processing",
        "task_memory_max",
        kinds.size(_TASK_MEMORY_BYTES_MIN),
        "0",
        _CONTROLLER,
        "Private memory that a worker process, and each process that it starts, can allocate; 0: no limit.",
    ),
    Key(
        "processing",
        "stdout_max_bytes",
        kinds.size(),
        "1MiB",
        _CONTROLLER,
        "How much of what a task prints is passed on, the rest is counted and discarded; 0: all of it.",
    ),
    Key(
        "tasks",
        "retries",
        kinds.integer(0, _COUNT_MAX),
        "0",
        _MASTER,
        "How often a task that failed or took too long is tried again, where its class does not say.",
    ),
    Key(
        "tasks",
        "retry_delay",
        kinds.duration(0),
        "1s",
        _MASTER,
        "Wait before the first of these retries; each further one waits twice as long, up to 1h, with jitter.",
    ),
    Key(
        "tasks",
        "retry_on",
        kinds.EXCEPTIONS,
        "",
        _MASTER,
        "Exceptions that are worth a retry, with those derived from them, or TaskTimedOut; empty: all.",
    ),
)
SECTIONS: tuple[str, ...] = tuple(dict.fromkeys(key.section for key in KEYS))
BY_PLACE: dict[tuple[str, str], Key] = {(key.section, key.name): key for key in KEYS} | {
    (key.former_section, key.name): key for key in KEYS if key.former_section
}
