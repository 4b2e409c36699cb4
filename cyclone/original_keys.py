"""The configuration keys of the original Cyclone (1 and 2), each with what became of it.

Owns that table and the shape of its lines; ``original.py`` has the look-ups.
"""

from typing import Literal, NamedTuple

# same: name and meaning stay. default: both stay, the original's own file said something else than our default.
# renamed: it is called otherwise now. unused: it is read and checked, and has no effect.
Fate = Literal["same", "default", "renamed", "unused"]


class Change(NamedTuple):
    """What became of a key. ``now`` is its name or default today, '' where that is the same or nothing.

    ``scope`` is whose file holds it, a role or one of GENERATORS; ``name`` is written ``[section] key``.
    """

    scope: str
    name: str
    fate: Fate
    now: str
    why: str


_PID_FILE = "It is locked, so that a second instance is refused; systemd needs none."
_PORT = "The same number, and the only port that this daemon needs."
_TARGET = "Off loopback, as in target = *, it starts only with keys, or with insecure = yes."
_TASK_FILE = "The XML is read as it was, without its limits; `cyclone taskfile check FILE` tries it."
_TASK_NAME = "Which task of the file is made."
_VERSION = "What runs says its own version."
_LOG = "Empty is standard error, which systemd keeps; logrotate needs no signal."
_POLL = "Nothing waits for it any more but what has no other clock."

MASTER_KEYS: tuple[Change, ...] = (
    Change("master", "[control] pid_file", "same", "", _PID_FILE),
    Change(
        "master",
        "[control] controller_timeout",
        "default",
        "15s",
        "20 in the original's file. What the silent controller held is handed out again at once.",
    ),
    Change(
        "master",
        "[control] controller_wait_duration",
        "unused",
        "",
        "A controller does not ask and wait: it is told at once when there is work.",
    ),
    Change(
        "master",
        "[control] task_resend_timeout",
        "same",
        "",
        "Now it works: the task is first ended where it runs, then handed out again. Longer than the longest task.",
    ),
    Change("master", "[control] version", "unused", "", _VERSION),
    Change("master", "[comm] target", "default", "127.0.0.1", f"* in the original's file. {_TARGET}"),
    Change("master", "[comm] port", "same", "", _PORT),
    Change("master", "[comm] poll_timeout", "same", "", _POLL),
    Change("master", "[log] filename", "same", "", _LOG),
    Change(
        "master",
        "[task_generator] module",
        "same",
        "",
        "Modules of the original's own generators are found under their new names, too.",
    ),
    Change("master", "[task_generator] class", "same", "", "Or both in one: class = module:Class."),
    Change(
        "master",
        "[task_generator] config_file",
        "same",
        "",
        "May be left out: then the generator's sections stand in this file.",
    ),
)

CONTROLLER_KEYS: tuple[Change, ...] = (
    Change("controller", "[control] pid_file", "same", "", f"{_PID_FILE} Its stem is part of the controller's name."),
    Change("controller", "[control] version", "unused", "", _VERSION),
    Change(
        "controller",
        "[control] request_retry_wait_duration",
        "default",
        "1s",
        "5 in the original's file. Each further wait is twice as long, up to 30s. Also read in [comm].",
    ),
    Change(
        "controller",
        "[control] max_num_request_retries",
        "same",
        "",
        "0 is for ever: a controller outlives its master, and keeps what it has finished.",
    ),
    Change("controller", "[comm] target", "same", "", f"The master's host. {_TARGET}"),
    Change("controller", "[comm] port", "same", "", "The master's."),
    Change("controller", "[comm] poll_timeout", "same", "", _POLL),
    Change("controller", "[log] filename", "same", "", _LOG),
    Change("controller", "[processing] worker_count", "same", "", "May be left out: the cores that it may use."),
)

DATABASE_PROXY_KEYS: tuple[Change, ...] = (
    Change("database_proxy", "[control] pid_file", "same", "", _PID_FILE),
    Change("database_proxy", "[control] version", "unused", "", _VERSION),
    Change(
        "database_proxy",
        "[comm] target",
        "default",
        "127.0.0.1",
        f"* in the original's file. Only masters come here, not every task on every node. {_TARGET}",
    ),
    Change("database_proxy", "[comm] port", "same", "", _PORT),
    Change("database_proxy", "[comm] poll_timeout", "same", "", _POLL),
    Change("database_proxy", "[log] filename", "same", "", _LOG),
    Change("database_proxy", "[db] host", "same", "", "Or socket = PATH; without either rows go into an SQLite file."),
    Change("database_proxy", "[db] user", "same", "", "INSERT is all that it needs, once the tables are there."),
    Change("database_proxy", "[db] password", "same", "", "Better in password_file, which no listing shows."),
    Change("database_proxy", "[db] passwd", "renamed", "[db] password", "So it was called in Cyclone 1."),
    Change("database_proxy", "[db] database", "same", "", "It has to exist; --create-table makes the tables in it."),
    Change(
        "database_proxy",
        "[db] table",
        "same",
        "",
        "Write layout = lustre-original beside it to go on with the table that is there.",
    ),
    Change(
        "database_proxy",
        "[db] store_timeout",
        "default",
        "5s",
        "300 in the original's file. What waits is on the disk: nothing is lost with the process.",
    ),
    Change("database_proxy", "[db] store_max_count", "default", "5000", "1000 in the original's file."),
)

PUSHGATEWAY_CLIENT_KEYS: tuple[Change, ...] = (
    Change("pushgateway_client", "[control] pid_file", "same", "", _PID_FILE),
    Change("pushgateway_client", "[control] version", "unused", "", _VERSION),
    Change("pushgateway_client", "[control] push_interval", "renamed", "[push] interval", "So it was in Cyclone 1."),
    Change("pushgateway_client", "[control] push_url", "renamed", "[push] url", "So it was in Cyclone 1."),
    Change(
        "pushgateway_client",
        "[comm] target",
        "default",
        "127.0.0.1",
        f"* in the original's file. Only masters come here, not every task on every node. {_TARGET}",
    ),
    Change("pushgateway_client", "[comm] port", "same", "", _PORT),
    Change("pushgateway_client", "[comm] poll_timeout", "same", "", _POLL),
    Change("pushgateway_client", "[log] filename", "same", "", _LOG),
    Change("pushgateway_client", "[push] interval", "same", "", "An outage of the gateway blocks no task."),
    Change(
        "pushgateway_client",
        "[push] url",
        "same",
        "",
        "With or without /metrics/job/NAME; each target is a group of its own below it, replaced by each push.",
    ),
    Change("pushgateway_client", "[push] timeout", "default", "10s", "15 in the original's file."),
    Change(
        "pushgateway_client",
        "[push] clear_interval",
        "unused",
        "",
        "A push replaces its whole group, so that what vanished is gone with the next one.",
    ),
)

BENCHMARK_KEYS: tuple[Change, ...] = (
    Change("benchmark", "[control] num_tasks", "same", "", "Or [benchmark] num_tasks, as in our own file."),
    Change("benchmark", "[control] poll_time_ms", "unused", "", "Results come by themselves."),
)

OST_MONITORING_KEYS: tuple[Change, ...] = (
    Change("ost_monitoring", "[control] local_mode", "same", "", "Without a Lustre, OSTs 0 to 99 are made up."),
    Change("ost_monitoring", "[control] measure_interval", "same", "", "A round that is not finished delays the next."),
    Change("ost_monitoring", "[task] task_file", "same", "", _TASK_FILE),
    Change("ost_monitoring", "[task] task_name", "same", "", _TASK_NAME),
    Change("ost_monitoring", "[lustre] lfs_bin", "same", "", "The program `lfs`."),
    Change("ost_monitoring", "[lustre] target", "same", "", "The file system's name."),
    Change(
        "ost_monitoring",
        "[lustre] ost_select_list",
        "same",
        "",
        "Ranges with steps and hexadecimal ones, too: 0x0-0x1f.",
    ),
)

OST_MIGRATION_KEYS: tuple[Change, ...] = (
    Change("ost_migration", "[control] local_mode", "same", "", "Without a Lustre, for a try."),
    Change("ost_migration", "[control.local_mode] num_osts", "same", "", "How many OSTs are made up then."),
    Change("ost_migration", "[control.threshold] update_fill_level", "same", "", "How often `lfs df` is asked."),
    Change(
        "ost_migration", "[control.threshold] reload_files", "same", "", "How often new input files are looked for."
    ),
    Change("ost_migration", "[control.threshold] print_caches", "same", "", "How often the log shows the progress."),
    Change("ost_migration", "[task] task_file", "same", "", _TASK_FILE),
    Change("ost_migration", "[task] task_name", "same", "", _TASK_NAME),
    Change(
        "ost_migration",
        "[migration] input_dir",
        "same",
        "",
        "Files *.input as before; a crash loses none of their lines and begins none anew.",
    ),
    Change("ost_migration", "[migration] ost_fill_level_threshold_source", "same", "", "Percent."),
    Change("ost_migration", "[migration] ost_fill_level_threshold_target", "same", "", "Percent."),
    Change(
        "ost_migration",
        "[migration] ost_fill_threshold_source",
        "same",
        "",
        "So the original's page called it: read, too.",
    ),
    Change(
        "ost_migration",
        "[migration] ost_fill_threshold_target",
        "same",
        "",
        "So the original's page called it: read, too.",
    ),
    Change("ost_migration", "[migration] ost_targets", "same", "", "Ranges, also with steps and hexadecimal ones."),
    Change("ost_migration", "[lustre] fs_path", "same", "", "It may hold any character."),
)

KEYS: tuple[Change, ...] = (
    *MASTER_KEYS,
    *CONTROLLER_KEYS,
    *DATABASE_PROXY_KEYS,
    *PUSHGATEWAY_CLIENT_KEYS,
    *BENCHMARK_KEYS,
    *OST_MONITORING_KEYS,
    *OST_MIGRATION_KEYS,
)
