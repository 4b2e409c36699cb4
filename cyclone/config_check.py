"""A configuration file against this Cyclone and against the original one: what is wrong in it, and what changes.

Owns the report, and what a sink would refuse at its start; ``original.py`` owns what changed, ``config.load`` what is
right. Imports no class of the user's and changes nothing; its caller shows the report.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import get_args

from cyclone import original
from cyclone.config import Role, load
from cyclone.config_keys import BY_PLACE, KEYS, Key
from cyclone.config_kinds import SWITCH, integer
from cyclone.config_text import Sections, did_you_mean, read_ini
from cyclone.errors import ConfigError
from cyclone.ranges import range_set
from cyclone.security.policy import exposure
from cyclone.settings import Settings
from cyclone.units import parse_duration

ROLES: tuple[str, ...] = get_args(Role)
# Who may read a file: a role, or a generator of the original's that has a file of its own.
SCOPES: tuple[str, ...] = (*ROLES, *original.GENERATORS)

# What tells the reader of a file that has no section of one daemon's: the first that fits of a generator's section, or
# a key of a section.
_MARKS: tuple[tuple[str, str, str], ...] = (
    ("control", "push_url", "pushgateway_client"),
    ("migration", "", "ost_migration"),
    ("control.threshold", "", "ost_migration"),
    ("control", "measure_interval", "ost_monitoring"),
    ("lustre", "fs_path", "ost_migration"),
    ("lustre", "ost_select_list", "ost_monitoring"),
    ("monitoring", "", "ost_monitoring"),
    ("control", "num_tasks", "benchmark"),
    ("benchmark", "", "benchmark"),
)
# How generators read the keys that the original has, whichever section holds them.
_GENERATOR_VALUES: Mapping[str, Callable[[str], object]] = {
    "local_mode": SWITCH.read,
    "measure_interval": parse_duration,
    "update_fill_level": parse_duration,
    "reload_files": parse_duration,
    "print_caches": parse_duration,
    "num_osts": integer(1, 1 << 32).read,
    "num_tasks": integer(0, 1 << 62).read,
    "ost_select_list": range_set,
    "ost_targets": range_set,
    "hexadecimal": SWITCH.read,
}
_SLIP_CUTOFF = 0.85


@dataclass(frozen=True, slots=True)
class Finding:
    """A key of the file, or one of the original's that it lacks; ``origin`` is '' then."""

    section: str
    key: str
    origin: str
    # One of original_keys.Fate, or 'new' for what the original did not have.
    fate: str
    now: str
    why: str


@dataclass(slots=True)
class Report:
    """What there is to say of a file. It is good where there is no error.

    ``scope`` is who reads it: of several, ``master, controller``.
    """

    path: Path
    scope: str = ""
    findings: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def check(path: Path, scope: str = "") -> Report:
    """The report on a file; ``scope`` is one of SCOPES, '' has it found by the content and the name."""
    report = Report(path, scope)
    try:
        if path.suffix == ".xml":
            raise ConfigError(f"{path}: is a task file by its name: cyclone taskfile check {path}")
        file = read_ini(path)
        scopes = (scope,) if scope else find_scopes(path, file)
    except ConfigError as error:
        report.errors.append(str(error))
        return report
    report.scope = ", ".join(scopes)
    report.findings = _findings(scopes, file)
    for one in scopes:
        try:
            if one in original.GENERATORS:
                _check_generator_file(file, report)
            else:
                settings = load(path, [], role_of(one))
                require_startable(settings)
                report.warnings += filter(None, (_exposure(settings), _former_class(file, settings)))
        except ConfigError as error:
            report.errors.append(str(error))
    # What is wrong for both of two daemons is one mistake.
    report.warnings, report.errors = list(dict.fromkeys(report.warnings)), list(dict.fromkeys(report.errors))
    return report


def find_scopes(path: Path, file: Sections) -> tuple[str, ...]:
    """Who reads such a file: several daemons, where each has a section of its own in it.

    Raises ConfigError where that is not plain.
    """
    if readers := _only_readers([key for key in KEYS if key.section == section] for section in file):
        return readers
    for section, key, scope in _MARKS:
        if section in file and (not key or key in file[section].keys):
            return (scope,)
    given = (BY_PLACE.get((section, key)) for section, content in file.items() for key in content.keys)
    if readers := _only_readers([key] for key in given if key):
        return readers
    name = path.name.replace("-", "_")
    for role in ("database_proxy", "pushgateway", "controller", "master"):
        if role in name:
            return ("pushgateway_client" if role == "pushgateway" else role,)
    raise ConfigError(f"{path}: neither its sections nor its name say who reads it: add --role {'|'.join(SCOPES)}")


def role_of(scope: str) -> Role:
    """The scope as a role. Raises ConfigError for a generator's."""
    role: Role | None = next((role for role in get_args(Role) if role == scope), None)
    if role is None:
        raise ConfigError(f"{scope} is a generator: its file is shown with the one of the master that names it")
    return role


def require_startable(settings: Settings) -> None:
    """What the role's daemon refuses at its start, beyond what ``load`` can know.

    Raises ConfigError, with file and line where the fault names a key.
    """
    try:
        if settings.role == "pushgateway_client":
            from cyclone.sinks.publisher import push_options

            push_options(settings.push)
        elif settings.role == "database_proxy":
            from cyclone.sinks.layouts import load_layout

            load_layout(settings.db.layout, settings.db.table, settings.sink.results)
            if settings.db.driver == "mysql":
                from cyclone.sinks.stores.mysql_connection import read_address

                read_address(settings.db)
    except ConfigError as error:
        key = re.match(r"\[(\S+)\] (\S+):", str(error))
        origins = {(row.section, row.key): row.origin for row in settings.own_rows}
        origin = origins.get((key[1], key[2]), "default") if key else "default"
        raise ConfigError(f"{settings.path if origin in ('default', 'computed') else origin}: {error}") from None


def _only_readers(parts: Iterable[list[Key]]) -> tuple[str, ...]:
    """The daemons that have one of these parts, each some keys, to themselves. ``run`` is two of them in one."""
    readers = [{role for key in keys for role in key.roles if role != "run"} for keys in parts]
    return tuple(role for role in ROLES if {role} in readers)


def _findings(scopes: tuple[str, ...], file: Sections) -> list[Finding]:
    found: list[Finding] = []
    said: set[str] = set()
    for section, content in file.items():
        for key, given in content.keys.items():
            known = BY_PLACE.get((section, key))
            # The section of today: a key may stand in its former one, too.
            today = known.section if known else section
            change = next(filter(None, (original.key_change(scope, today, key) for scope in scopes)), None)
            if change:
                said.add(change.name)
                # What is given has no default.
                fate, now = ("same", "") if change.fate == "default" else (change.fate, change.now)
                found.append(Finding(section, key, given.origin, fate, now, change.why))
            else:
                found.append(Finding(section, key, given.origin, "new", "", ""))
    for change in original.KEYS:
        if change.scope in scopes and change.fate == "default" and change.name not in said:
            said.add(change.name)
            section, _, key = change.name[1:].partition("] ")
            found.append(Finding(section, key, "", "default", change.now, change.why))
    return found


def _exposure(settings: Settings) -> str:
    open_to = exposure(settings)
    if not open_to:
        return ""
    return (
        f"{open_to}. {'It starts all the same: insecure = yes' if settings.comm.insecure else 'It will not start so'}"
    )


def _former_class(file: Sections, settings: Settings) -> str:
    """A warning where the file names a generator of the original's as it was called there."""
    given = file["task_generator"].keys if "task_generator" in file else {}
    generator = settings.task_generator
    former = given.get("class")
    if former is None or generator.class_path in (former.text, f"{generator.module}:{former.text}"):
        return ""
    return f"{former.origin}: [task_generator] class: {former.text} of the original is {generator.class_path} now"


def _check_generator_file(file: Sections, report: Report) -> None:
    """What can be said of it without the class that will read it."""
    known = [change.name.partition("] ")[2] for change in original.KEYS if change.scope == report.scope]
    for finding in report.findings:
        near = did_you_mean(finding.key, known, _SLIP_CUTOFF) if finding.fate == "new" else ""
        if near:
            report.warnings.append(
                f"{finding.origin}: [{finding.section}] {finding.key}: the original has no such key; did you mean "
                f"{near}? A generator passes over what it does not know"
            )
    readers = dict(_GENERATOR_VALUES)
    if _text(file, "migration", "hexadecimal").lower() in ("yes", "on", "true", "1"):
        readers["ost_targets"] = partial(range_set, hexadecimal=True)
    for section, content in file.items():
        for key, given in content.keys.items():
            try:
                if key in readers and given.text:
                    readers[key](given.text)
            except ValueError as error:
                report.errors.append(f"{given.origin}: [{section}] {key}: {error}")
    if _text(file, "task", "task_file"):
        _check_task_file(file, report)


def _text(file: Sections, section: str, key: str) -> str:
    """What is given, '' where nothing is."""
    given = file[section].keys.get(key) if section in file else None
    return given.text if given else ""


def _check_task_file(file: Sections, report: Report) -> None:
    from cyclone.taskfile import read_task_file

    keys = file["task"].keys
    text, origin = keys["task_file"]
    candidates = list(dict.fromkeys(folder / text for folder in (report.path.parent, Path())))
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        looked = " and ".join(str(path.absolute()) for path in candidates)
        report.warnings.append(f"{origin}: [task] task_file: {text!r} is not on this host; looked for {looked}")
        return
    try:
        tasks = read_task_file(found)
    except ConfigError as error:
        report.errors.append(str(error))
        return
    name = keys.get("task_name")
    if name and name.text and name.text not in tasks:
        fault = f"[task] task_name: {found} has no task {name.text!r}: it has {', '.join(tasks)}"
        report.errors.append(f"{name.origin}: {fault}")
