"""Every configuration key in one table: where it stands, how it is read, its default, and what it is for.

Owns the names. How a value is read is ``config_kinds.py``'s, reading files and rules between keys are ``config.py``'s;
the lines for sinks and metrics stand in ``config_keys_sinks.py``, those for clients in ``config_keys_jobs.py``, those
for nodes in ``config_keys_nodes.py``. The files in ``Configuration/`` are tested against this table.
"""

from cyclone import config_kinds as kinds
from cyclone.config_key import ALL, CONTROLLER, DAEMONS, MASTER, SINKS, Key, Role
from cyclone.config_keys_jobs import JOB_KEYS
from cyclone.config_keys_nodes import NODE_KEYS
from cyclone.config_keys_sinks import SINK_KEYS
from cyclone.protocol import limits

__all__ = [
    "BY_PLACE",
    "DATABASE_PROXY_PORT",
    "DEFAULT_PORT",
    "KEYS",
    "PUSHGATEWAY_CLIENT_PORT",
    "SECTIONS",
    "Key",
    "Role",
]

# Of the original Cyclone's daemons.
DEFAULT_PORT = 5678
DATABASE_PROXY_PORT = 5777
PUSHGATEWAY_CLIENT_PORT = 5888
_COUNT_MAX = 1_000_000_000
_LOOP_S_MIN = 0.001
# A worker needs nearly half of it for itself.
_TASK_MEMORY_BYTES_MIN = 64 << 20

KEYS: tuple[Key, ...] = (
    Key(
        "control",
        "pid_file",
        kinds.PATH,
        "",
        DAEMONS,
        "File that holds the process id and is locked while it runs; empty: none.",
    ),
    Key(
        "control",
        "name",
        kinds.NAME,
        None,
        CONTROLLER,
        "The controller's name, unique in the cluster; by default <host>-<stem of pid_file>, or <host>-<pid>.",
    ),
    Key(
        "control",
        "state_dir",
        kinds.PATH,
        None,
        ALL,
        "Folder of what outlives a process; by default $STATE_DIRECTORY, $XDG_STATE_HOME/cyclone or "
        "~/.local/state/cyclone.",
    ),
    Key(
        "control",
        "controller_timeout",
        kinds.duration(0.1),
        "15s",
        MASTER,
        "Silence after which a controller counts as dead and what it held is handed out again.",
    ),
    Key(
        "control",
        "heartbeat_interval",
        kinds.duration(0.01),
        None,
        MASTER,
        "How often a controller with nothing else to say reports; by default 1s, or a quarter of controller_timeout.",
    ),
    Key(
        "control",
        "task_resend_timeout",
        kinds.duration(0.1),
        "8h",
        MASTER,
        "Time from dispatch after which a task is handed out again although its controller is alive.",
    ),
    Key(
        "control",
        "crash_limit",
        kinds.integer(1, _COUNT_MAX),
        "3",
        MASTER,
        "How many worker processes a task may kill before it is quarantined.",
    ),
    Key(
        "control",
        "drain_suspected",
        kinds.SWITCH,
        "no",
        MASTER,
        "Whether a controller on which far more fails than elsewhere gets no new tasks until somebody undoes it.",
    ),
    Key(
        "control",
        "exit_when_done",
        kinds.SWITCH,
        "no",
        MASTER,
        "Whether the master ends, and its controllers too, once the generator is done and each task has its result.",
        defaults=(("run", "yes"),),
    ),
    Key("control", "stop_timeout", kinds.duration(0), "30s", ALL, "How long a stop (SIGTERM) waits for running tasks."),
    Key(
        "control",
        "request_retry_wait_duration",
        kinds.duration(0.01),
        "1s",
        CONTROLLER,
        "Wait before the first retry to reach the master; each further one doubles it, with jitter, up to 30s.",
        former_section="comm",
    ),
    Key(
        "control",
        "max_num_request_retries",
        kinds.integer(0, _COUNT_MAX),
        "0",
        CONTROLLER,
        "Retries to reach the master before the controller gives up; 0: it never does.",
    ),
    Key(
        "control",
        "controller_wait_duration",
        kinds.duration(0),
        "1s",
        MASTER,
        "Accepted and not used any more: controllers are told at once when there is work.",
        accepted_only=True,
    ),
    Key("control", "version", kinds.TEXT, "", DAEMONS, "Accepted and not used any more.", accepted_only=True),
    Key(
        "comm",
        "target",
        kinds.TARGET,
        "127.0.0.1",
        DAEMONS,
        "The address to bind, * for every interface. Controller: the master's host. Or, for both, ipc:///PATH of a "
        "socket file.",
    ),
    Key(
        "comm",
        "port",
        kinds.integer(1, 65535),
        str(DEFAULT_PORT),
        DAEMONS,
        "The TCP port to bind; controller: the master's.",
        defaults=(("database_proxy", str(DATABASE_PROXY_PORT)), ("pushgateway_client", str(PUSHGATEWAY_CLIENT_PORT))),
    ),
    Key("comm", "poll_timeout", kinds.duration(_LOOP_S_MIN), "1s", DAEMONS, "The longest that a main loop sleeps."),
    Key(
        "comm",
        "keys",
        kinds.PATH,
        "",
        ("master", *SINKS),
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
        ALL,
        "Whether to start without keys off loopback: whoever reaches the port can then take and answer tasks.",
    ),
    Key(
        "comm",
        "strike_limit",
        kinds.integer(0, _COUNT_MAX),
        str(limits.STRIKES_MAX),
        ("master", *SINKS),
        "Wrong messages of a peer within a minute, after which it is ignored for a minute; 0: it never is.",
    ),
    Key("log", "filename", kinds.PATH, "", ALL, "Log file, opened again after a rotation; empty: standard error."),
    Key(
        "log",
        "format",
        kinds.choice("text", "json"),
        "text",
        ALL,
        "A line of text or one JSON object for each message.",
    ),
    Key(
        "log",
        "level",
        kinds.choice("debug", "info", "warning", "error"),
        "info",
        ALL,
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
        MASTER,
        "full: what is acknowledged is on the disk; off: no journal, a killed master forgets its tasks.",
    ),
    Key(
        "journal",
        "keep",
        kinds.KEEP,
        "all",
        MASTER,
        "How long finished tasks stay in the journal, by age or number; of two bounds the first one reached counts.",
    ),
    Key(
        "task_generator",
        "module",
        kinds.PYTHON,
        "",
        MASTER,
        "Python module of the generator; not needed where class is module:Class.",
    ),
    Key("task_generator", "class", kinds.PYTHON, "", MASTER, "Class of the generator, or module:Class."),
    Key(
        "task_generator",
        "config_file",
        kinds.PATH,
        "",
        MASTER,
        "File of the generator's sections, looked for in this file's folder, then where it runs; empty: this file.",
    ),
    Key(
        "processing",
        "worker_count",
        kinds.integer(1, limits.SLOTS_MAX),
        None,
        CONTROLLER,
        "Worker processes; by default the number of cores that the controller may use.",
    ),
    Key(
        "processing",
        "spare_workers",
        kinds.integer(0, _COUNT_MAX),
        "1",
        CONTROLLER,
        "Worker processes that wait, started, to take the place of one that is gone.",
    ),
    Key(
        "processing",
        "task_time_limit",
        kinds.duration(0),
        "0s",
        CONTROLLER,
        "Longest run of a task that has no limit of its own; 0s: none.",
    ),
    Key(
        "processing",
        "kill_grace",
        kinds.duration(0),
        "5s",
        CONTROLLER,
        "Time between SIGTERM and SIGKILL for a task that is ended.",
    ),
    Key(
        "processing",
        "worker_max_tasks",
        kinds.integer(0, _COUNT_MAX),
        "0",
        CONTROLLER,
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
        CONTROLLER,
        "Variables of the controller's environment that tasks get besides the usual ones, such as SLURM_*, OMP_*.",
    ),
    Key(
        "processing",
        "task_memory_max",
        kinds.size(_TASK_MEMORY_BYTES_MIN),
        "0",
        CONTROLLER,
        "Private memory that a worker process, and each process that it starts, can allocate; 0: no limit.",
    ),
    *NODE_KEYS,
    Key(
        "tasks",
        "retries",
        kinds.integer(0, _COUNT_MAX),
        "0",
        MASTER,
        "How often a task that failed or took too long is tried again, where its class does not say.",
    ),
    Key(
        "tasks",
        "retry_delay",
        kinds.duration(0),
        "1s",
        MASTER,
        "Wait before the first of these retries; each further one waits twice as long, up to 1h, with jitter.",
    ),
    Key(
        "tasks",
        "retry_on",
        kinds.EXCEPTIONS,
        "",
        MASTER,
        "Exceptions that are worth a retry, with those derived from them, or TaskTimedOut; empty: all.",
    ),
    *JOB_KEYS,
    *SINK_KEYS,
)
SECTIONS: tuple[str, ...] = tuple(dict.fromkeys(key.section for key in KEYS))
BY_PLACE: dict[tuple[str, str], Key] = {(key.section, key.name): key for key in KEYS} | {
    (key.former_section, key.name): key for key in KEYS if key.former_section
}
