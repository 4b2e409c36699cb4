"""What became of the original Cyclone (1 and 2): its keys, task classes and generators.

Owns the look-ups; ``original_keys.py`` holds the keys, each with its fate. ``cyclone config check`` and task files are
read by them, an unknown key of the original is explained by them, and docs/migrating-from-2.md is tested against them.
Must not open a file nor load a class.
"""

import re
from collections.abc import Mapping

from cyclone.original_keys import KEYS, Change

__all__ = ["GENERATORS", "KEYS", "TASKS", "Change", "current_generator", "current_task", "former_key", "key_change"]

TASKS: Mapping[str, str] = {
    "EmptyTask": "tasks.empty:EmptyTask",
    "BenchmarkTask": "tasks.benchmark:BenchmarkTask",
    "LustreIOTask": "tasks.lustre_io:LustreIOTask",
    "LustreAlertIOTask": "tasks.lustre_alert_io:LustreAlertIOTask",
    "LustreFileCreationCheckTask": "tasks.lustre_file_creation_check:LustreFileCreationCheckTask",
    "LustreOstMigrateTask": "tasks.lustre_migrate:LustreOstMigrateTask",
    # So it was called in Cyclone 1.
    "OstMigrateTask": "tasks.lustre_migrate:LustreOstMigrateTask",
}
"""Task classes by the name that they had, as they are called now."""

GENERATORS: Mapping[str, str] = {
    "benchmark": "task_generators.benchmark:BenchmarkTaskGenerator",
    "ost_monitoring": "task_generators.lustre_ost_monitoring:LustreOstMonitoringTaskGenerator",
    "ost_migration": "task_generators.lustre_ost_migration:LustreOstMigrationTaskGenerator",
}
"""The scopes of generators' files, each with the class that reads it now."""

_GENERATOR_CLASSES: Mapping[str, str] = {
    **{path.partition(":")[2]: path for path in GENERATORS.values()},
    # So they were called in Cyclone 1.
    "LustreMonitoringTaskGenerator": GENERATORS["ost_monitoring"],
    "LustreOstFileMigrationTaskGenerator": GENERATORS["ost_migration"],
}
# The modules of its package. A site's own modules are not ours to rename.
_TASK_MODULE = re.compile(r"(?:task|cyclone\.tasks?)\..+")
_GENERATOR_MODULE = re.compile(r"(?:\w+\.)?task\.generator\.\w+")

_BY_PLACE: Mapping[tuple[str, str], Change] = {(change.scope, change.name): change for change in KEYS}


def key_change(scope: str, section: str, key: str) -> Change | None:
    """What became of a key of the original's; None where it had no such key in this file."""
    return _BY_PLACE.get((scope, f"[{section}] {key}"))


def former_key(section: str, key: str) -> Change | None:
    """A key of the original's that must be written otherwise now; None where there is none."""
    name = f"[{section}] {key}"
    return next((change for change in KEYS if change.name == name and change.fate == "renamed"), None)


def current_task(class_path: str) -> str:
    """``module:Class`` of a task as it is called now: another path only for one of the original's own."""
    return _current(class_path, _TASK_MODULE, TASKS)


def current_generator(class_path: str) -> str:
    """The same for a generator."""
    return _current(class_path, _GENERATOR_MODULE, _GENERATOR_CLASSES)


def _current(class_path: str, modules: re.Pattern[str], classes: Mapping[str, str]) -> str:
    module, _, name = class_path.partition(":")
    return classes.get(name, class_path) if modules.fullmatch(module) else class_path
