"""A configuration file against this Cyclone and against the original one: what is wrong in it, and what changes.

Owns the report; ``original.py`` owns what changed, ``config.load`` what is right. Imports no class of the user's and
changes nothing; its caller shows the report.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from cyclone import original
from cyclone.config import Role, load
from cyclone.config_keys import BY_PLACE
from cyclone.config_text import Sections, read_ini
from cyclone.errors import ConfigError
from cyclone.ranges import range_set
from cyclone.security.policy import exposure
from cyclone.settings import Settings

ROLES: tuple[str, ...] = get_args(Role)
# Who may read a file: a role, or a generator of the original's that has a file of its own.
SCOPES: tuple[str, ...] = (*ROLES, *original.GENERATORS)

# What tells a file's reader, the first that fits: a section, or a key of a section.
_MARKS: tuple[tuple[str, str, str], ...] = (
    ("task_generator", "", "master"),
    ("processing", "", "controller"),
    ("db", "", "database_proxy"),
    ("push", "", "pushgateway_client"),
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
_RANGES = (("lustre", "ost_select_list"), ("migration", "ost_targets"))


@dataclass(frozen=True, slots=True)
class Finding:
    """A key of the file, or one of the original's that it lacks; ``origin`` is '' then."""

    section: str
    key: str
    origin: str
    # One of original.Fate, or 'new' for what the original did not have.
    fate: str
    now: str
    why: str


@dataclass(slots=True)
class Report:
    """What there is to say of a file. It is good where there is no error."""

    path: Path
    scope: str = ""
    findings: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def check(path: Path, scope: str = "") -> Report:
    """The report on a file; ``scope`` is one of SCOPES, '' has it found by the content and the name."""
    report = Report(path, scope)
    try:
        file = read_ini(path)
        report.scope = scope or find_scope(path, file)
        report.findings = _findings(report.scope, file)
        if report.scope in original.GENERATORS:
            _check_generator_file(file, report)
        else:
            settings = load(path, [], role_of(report.scope))
            report.warnings += filter(None, (_exposure(settings), _former_class(file, settings)))
    except ConfigError as error:
        report.errors.append(str(error))
    return report


def find_scope(path: Path, file: Sections) -> str:
    """Who reads such a file. Raises ConfigError where that is not plain."""
    for section, key, scope in _MARKS:
        if section in file and (not key or key in file[section].keys):
            return scope
    name = path.name.replace("-", "_")
    for role in ("database_proxy", "pushgateway", "controller", "master"):
        if role in name:
            return "pushgateway_client" if role == "pushgateway" else role
    raise ConfigError(f"{path}: neither its sections nor its name say who reads it: add --role {'|'.join(SCOPES)}")


def role_of(scope: str) -> Role:
    """The scope as a role. Raises ConfigError for a generator's."""
    role: Role | None = next((role for role in get_args(Role) if role == scope), None)
    if role is None:
        raise ConfigError(f"{scope} is a generator: its file is shown with the one of the master that names it")
    return role


def _findings(scope: str, file: Sections) -> list[Finding]:
    found: list[Finding] = []
    said: set[str] = set()
    for section, content in file.items():
        for key, given in content.keys.items():
            known = BY_PLACE.get((section, key))
            # The section of today: a key may stand in its former one, too.
            change = original.key_change(scope, known.section if known else section, key)
            if change:
                said.add(change.name)
                # What is given has no default.
                fate, now = ("same", "") if change.fate == "default" else (change.fate, change.now)
                found.append(Finding(section, key, given.origin, fate, now, change.why))
            else:
                found.append(Finding(section, key, given.origin, "new", "", ""))
    for change in original.KEYS:
        if change.scope == scope and change.fate == "default" and change.name not in said:
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

    def given(section: str, key: str) -> tuple[str, str]:
        """The text and the place, '' where there is none."""
        found = file[section].keys.get(key) if section in file else None
        return (found.text, f"{found.origin}: [{section}] {key}") if found else ("", "")

    for section, key in _RANGES:
        text, place = given(section, key)
        try:
            if text:
                range_set(text)
        except ValueError as error:
            report.errors.append(f"{place}: {error}")
    text, place = given("task", "task_file")
    if text:
        _check_task_file(text, place, *given("task", "task_name"), report)


def _check_task_file(text: str, place: str, name: str, name_place: str, report: Report) -> None:
    from cyclone.taskfile import read_task_file

    candidates = [folder / text for folder in (report.path.parent, Path())]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        looked = " and ".join(str(path.absolute()) for path in candidates)
        report.warnings.append(f"{place}: {text!r} is not on this host; looked for {looked}")
        return
    try:
        tasks = read_task_file(found)
    except ConfigError as error:
        report.errors.append(str(error))
        return
    if name and name not in tasks:
        report.errors.append(f"{name_place}: {found} has no task {name!r}: it has {', '.join(tasks)}")
