"""What became of the original Cyclone (1 and 2): its keys, files, commands, classes and metrics, each with its fate.

Owns that table, of which ``original_keys.py`` holds the keys. ``cyclone config check`` reads files by it, an unknown
key of the original is explained by it, and docs/migrating-from-2.md is tested against it. Must not open a file nor
load a class.
"""

import re

from cyclone.original_keys import KEYS, Change

__all__ = ["GENERATORS", "KEYS", "THINGS", "Change", "current_generator", "former_key", "key_change"]

THINGS: tuple[Change, ...] = (
    Change("command", "cyclone-master.py -f FILE", "renamed", "cyclone-master -f FILE", "-f and -D are the same."),
    Change(
        "command", "cyclone-controller.py -f FILE", "renamed", "cyclone-controller -f FILE", "-f and -D are the same."
    ),
    Change(
        "command",
        "cyclone-database-proxy.py -f FILE",
        "renamed",
        "cyclone-database-proxy -f FILE",
        "-f and -D are the same; --create-table is in it.",
    ),
    Change(
        "command",
        "cyclone-pushgateway-client.py -f FILE",
        "renamed",
        "cyclone-pushgateway-client -f FILE",
        "-f and -D are the same.",
    ),
    Change(
        "command",
        "cyclone-master.py",
        "gone",
        "",
        "Without -f the original read /etc/cyclone/master.conf; here nothing is read that is not named.",
    ),
    Change("command", "-v", "renamed", "--version, -V", "Of each command."),
    Change(
        "command", "kill -HUP PID", "gone", "kill PID", "SIGTERM stops, and waits for what runs up to stop_timeout."
    ),
    Change("file", "Configuration/master.conf", "same", "", "Read as it is; checked by `cyclone config check`."),
    Change("file", "Configuration/controller.conf", "same", "", "Read as it is."),
    Change(
        "file",
        "Configuration/database_proxy.conf",
        "same",
        "",
        "Read as it is, also under its name database-proxy.conf.",
    ),
    Change("file", "Configuration/pushgateway_client.conf", "same", "", "Read as it is."),
    Change("file", "Configuration/*_task_generator.conf", "same", "", "Read as it is, as config_file of the master's."),
    Change(
        "file", "Configuration/*_tasks.xml", "same", "", "Read as it is; properties that named a sink are not needed."
    ),
    Change(
        "file",
        "*.input.done",
        "same",
        "",
        "A file is renamed when each of its lines has an outcome, and not when it has been read.",
    ),
    Change(
        "file",
        "the MySQL table",
        "same",
        "",
        "layout = lustre-original goes on with it; --create-table adds one column, by which no row comes twice.",
    ),
    Change("file", "/tmp/benchmark_task_PID.tmp", "gone", "", "The results are recorded instead."),
    Change("class", "EmptyTask", "same", "tasks.empty:EmptyTask", "Also under its former module."),
    Change(
        "class",
        "BenchmarkTask",
        "same",
        "tasks.benchmark:BenchmarkTask",
        "It writes no file, and is busy instead of asleep.",
    ),
    Change("class", "LustreIOTask", "same", "tasks.lustre_io:LustreIOTask", "Rates and times are real numbers."),
    Change(
        "class",
        "LustreAlertIOTask",
        "same",
        "tasks.lustre_alert_io:LustreAlertIOTask",
        "The mail shows the right times.",
    ),
    Change(
        "class",
        "LustreFileCreationCheckTask",
        "same",
        "tasks.lustre_file_creation_check:LustreFileCreationCheckTask",
        "It knows no Pushgateway client: records go through the master.",
    ),
    Change(
        "class",
        "LustreOstMigrateTask",
        "same",
        "tasks.lustre_migrate:LustreOstMigrateTask",
        "Bytes and seconds are recorded.",
    ),
    Change("class", "PoisonPill", "gone", "", "A worker ends with its controller."),
    Change("class", "BenchmarkTaskGenerator", "same", "task_generators.benchmark:BenchmarkTaskGenerator", ""),
    Change(
        "class",
        "LustreOstMonitoringTaskGenerator",
        "same",
        "task_generators.lustre_ost_monitoring:LustreOstMonitoringTaskGenerator",
        "",
    ),
    Change(
        "class",
        "LustreOstMigrationTaskGenerator",
        "same",
        "task_generators.lustre_ost_migration:LustreOstMigrationTaskGenerator",
        "",
    ),
    Change(
        "class",
        "a task of your own",
        "renamed",
        "a class derived from cyclone.BaseTask",
        "Its constructor sets a property for each parameter; execute() returns a result.",
    ),
    Change(
        "class",
        "a generator of your own",
        "renamed",
        "a class derived from cyclone.BaseTaskGenerator",
        "generate() yields tasks instead of filling a queue, on_result() gets results instead of task ids.",
    ),
    Change("metric", "cyclone_lustre_file_creation_error", "same", "", ""),
    Change(
        "metric", "cyclone_lustre_file_creation_check{target,mdt_index,ost_index}", "same", "", "1 is OK, 0 is FAILED."
    ),
    Change("port", "5678", "same", "", "The master's."),
    Change("port", "5777", "same", "", "The database proxy's; now the master alone connects to it."),
    Change("port", "5888", "same", "", "The Pushgateway client's; now the master alone connects to it."),
)

# The scopes of generators' files, each with the class that reads it now.
GENERATORS: dict[str, str] = {
    "benchmark": "task_generators.benchmark:BenchmarkTaskGenerator",
    "ost_monitoring": "task_generators.lustre_ost_monitoring:LustreOstMonitoringTaskGenerator",
    "ost_migration": "task_generators.lustre_ost_migration:LustreOstMigrationTaskGenerator",
}
_FORMER_GENERATOR_MODULE = re.compile(r"(?:\w+\.)?task\.generator\.\w+")
_FORMER_GENERATORS: dict[str, str] = {
    **{path.partition(":")[2]: path for path in GENERATORS.values()},
    # So they were called in Cyclone 1.
    "LustreMonitoringTaskGenerator": GENERATORS["ost_monitoring"],
    "LustreOstFileMigrationTaskGenerator": GENERATORS["ost_migration"],
}

_BY_PLACE: dict[tuple[str, str], Change] = {(change.scope, change.name): change for change in KEYS}


def key_change(scope: str, section: str, key: str) -> Change | None:
    """What became of a key of the original's; None where it had no such key in this file."""
    return _BY_PLACE.get((scope, f"[{section}] {key}"))


def former_key(section: str, key: str) -> Change | None:
    """A key of the original's that must be written otherwise now, or not at all; None where there is none."""
    name = f"[{section}] {key}"
    return next((change for change in KEYS if change.name == name and change.fate in ("renamed", "gone")), None)


def current_generator(class_path: str) -> str:
    """``module:Class`` of a generator as it is called now: another path only for one of the original's own."""
    module, _, name = class_path.partition(":")
    if _FORMER_GENERATOR_MODULE.fullmatch(module):
        return _FORMER_GENERATORS.get(name, class_path)
    return class_path
