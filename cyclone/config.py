"""Configuration: INI file and ``--set`` to frozen settings, each value with its origin.

Owns the rules between keys and sections: what belongs to Cyclone, what to the generator, what is unknown. It checks no
host and opens no file but the configuration; its caller turns ConfigError into exit code 78.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclone.config_key import MASTER, SINKS
from cyclone.config_keys import BY_PLACE, KEYS, SECTIONS, Key, Role
from cyclone.config_keys_nodes import NOT_NEEDED
from cyclone.config_kinds import Value, show
from cyclone.config_text import SET, Given, Section, Sections, did_you_mean, read_ini, split_set
from cyclone.errors import ConfigError
from cyclone.host import memory_bytes
from cyclone.original import former_key
from cyclone.protocol import endpoints, limits
from cyclone.settings import (
    ClientSettings,
    CommSettings,
    ControlSettings,
    DatabaseSettings,
    JournalSettings,
    LogSettings,
    MetricsSettings,
    ProcessingSettings,
    PushSettings,
    Row,
    Settings,
    SinkSettings,
    TaskGeneratorSettings,
    TaskSettings,
    explain,
    knows_clients,
)

__all__ = ["Role", "Row", "Settings", "explain", "load"]

# A generator may call a section nearly like one of ours only by mistake; [logs] and [log] differ by as much as this.
_SECTION_CUTOFF = 0.8
_HEARTBEAT_S = 1.0
_JOURNAL_NAME = "master.journal"


def load(path: Path | None, overrides: Sequence[str], role: Role) -> Settings:
    """Settings of a role, from a file (None: the defaults) and ``--set`` texts.

    Raises ConfigError for the first fault.
    """
    file = read_ini(path) if path else {}
    own_sets, other_sets = _split_sets(overrides)
    given = _own_values(file) | own_sets
    values, rows = _read_values(given, role)
    config_file = values[BY_PLACE["task_generator", "config_file"]] = _find_config_file(path, given, role)
    named = any(key.section == "task_generator" for key in given)
    takes_sections = role in MASTER or (config_file is None and named)
    options = _generator_sections(file, config_file, takes_sections, role)
    _set_options(options, other_sets, takes_sections)
    _check(values, given, role, str(path) if path else "--set")
    attributes: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, value in values.items():
        attributes[key.section][key.attribute] = value
    cwd = str(Path.cwd())
    return Settings(
        role=role,
        path=path,
        control=ControlSettings(**attributes["control"]),
        comm=CommSettings(**attributes["comm"]),
        journal=JournalSettings(**attributes["journal"]),
        log=LogSettings(**attributes["log"]),
        task_generator=TaskGeneratorSettings(**attributes["task_generator"]),
        processing=ProcessingSettings(**attributes["processing"]),
        tasks=TaskSettings(**attributes["tasks"]),
        clients=ClientSettings(**attributes["clients"]),
        sink=SinkSettings(**attributes["sink"]),
        db=DatabaseSettings(**attributes["db"]),
        push=PushSettings(**attributes["push"]),
        metrics=MetricsSettings(**attributes["metrics"]),
        generator_options={
            name: {key: value.text for key, value in section.keys.items()} for name, section in options.items()
        },
        generator_options_path=config_file or path,
        search_path=tuple(dict.fromkeys((str(path.resolve().parent) if path else cwd, cwd))),
        own_rows=tuple(rows),
        generator_rows=tuple(
            Row(name, key, value.text, value.origin)
            for name, section in options.items()
            for key, value in section.keys.items()
        ),
    )


def _split_sets(overrides: Sequence[str]) -> tuple[dict[Key, Given], list[tuple[str, str]]]:
    """What ``--set`` gives to keys of Cyclone's, and the rest."""
    own: dict[Key, Given] = {}
    rest: list[tuple[str, str]] = []
    for override in overrides:
        name, value = split_set(override)
        section, _, option = name.rpartition(".")
        key = BY_PLACE.get((section, option.lower()))
        if key:
            own[key] = Given(value, SET)
        else:
            rest.append((name, value))
    return own, rest


def _own_values(file: Sections) -> dict[Key, Given]:
    given: dict[Key, Given] = {}
    for name, section in file.items():
        if name not in SECTIONS:
            continue
        for option, value in section.keys.items():
            key = BY_PLACE.get((name, option))
            if key is None:
                raise ConfigError(_unknown_key(value.origin, name, option))
            if key in given:
                other = given[key].origin
                raise ConfigError(
                    f"{value.origin}: [{name}] {option}: {other} gives it too, keep that in [{key.section}]"
                )
            given[key] = value
    return given


def _read_values(given: Mapping[Key, Given], role: Role) -> tuple[dict[Key, Value], list[Row]]:
    """The value of every key, and the rows of those that the role uses."""
    values: dict[Key, Value] = {}
    rows: list[Row] = []
    for key in KEYS:
        default = key.default_for(role)
        auto = key in given and key.kind.takes_auto and given[key].text.lower() == "auto"
        if key in given and not auto and (given[key].text or default is not None):
            origin = given[key].origin
            values[key] = _read(key, given[key].text, f"{origin}: [{key.section}] {key.name}")
        elif default is not None:
            origin = "default"
            values[key] = key.kind.read(default)
        else:
            origin = "computed"
            values[key] = _read(key, _compute(key, values, role), f"computed: [{key.section}] {key.name}")
        if role in key.roles:
            rows.append(Row(key.section, key.name, show(values[key]), origin))
    return values, rows


def _read(key: Key, text: str, where: str) -> Value:
    try:
        return key.kind.read(text)
    except ValueError as error:
        hint = ""
        if "\n" in text:
            hint = "; an indented line belongs to the key above it"
        elif re.search(r"\s[#;]", text):
            hint = "; a comment needs a line of its own"
        raise ConfigError(f"{where}: {error}{hint}") from None


def _compute(key: Key, values: Mapping[Key, Value], role: Role) -> str:
    if key.name == "worker_count":
        return str(len(os.sched_getaffinity(0)))
    if key.name == "memory":
        return str(memory_bytes())
    if key.name == "heartbeat_interval":
        timeout_s = values[BY_PLACE["control", "controller_timeout"]]
        assert isinstance(timeout_s, float)
        return f"{min(_HEARTBEAT_S, timeout_s / 4):.3f}s"
    if key.name == "state_dir":
        return _state_dir()
    if key.name == "path":
        state_dir = values[BY_PLACE["control", "state_dir"]]
        return str(state_dir / _file_name(key, values)) if isinstance(state_dir, Path) else ""
    if key.name == "driver":
        servers = (values[BY_PLACE["db", name]] for name in ("host", "socket", "option_file"))
        return "mysql" if any(servers) else "sqlite"
    pid_file = values[BY_PLACE["control", "pid_file"]]
    suffix = pid_file.stem if isinstance(pid_file, Path) and role != "run" else str(os.getpid())
    # A file name may hold what a controller's name may not.
    return re.sub(r"[^\w.@+-]+", "-", f"{os.uname().nodename}-{suffix}")[: limits.NAME_CHARS_MAX]


def _file_name(key: Key, values: Mapping[Key, Value]) -> str:
    if key.section == "journal":
        return _JOURNAL_NAME
    return "cyclone.jsonl" if values[BY_PLACE["db", "driver"]] == "jsonlines" else "cyclone.sqlite"


def _state_dir() -> str:
    """Where state belongs on this host, '' where nothing says so; systemd may give several folders."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return given
    home = Path(os.environ.get("XDG_STATE_HOME", ""))
    # The specification of these variables has relative ones ignored.
    if home.is_absolute():
        return str(home / "cyclone")
    try:
        return str(Path.home() / ".local" / "state" / "cyclone")
    except RuntimeError:
        return ""


def _find_config_file(path: Path | None, given: Mapping[Key, Given], role: Role) -> Path | None:
    """The generator's file: looked for in the configuration's folder, then in the working directory."""
    value = given.get(BY_PLACE["task_generator", "config_file"])
    if value is None or not value.text:
        return None
    folders = dict.fromkeys(([path.parent] if path else []) + [Path()])
    candidates = list(dict.fromkeys(folder / value.text for folder in folders))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if role in MASTER:
        looked = " and ".join(str(candidate.absolute()) for candidate in candidates)
        raise ConfigError(
            f"{value.origin}: [task_generator] config_file: {value.text!r} is no file; looked for {looked}"
        )
    # Who has no generator needs nothing of it, and may run on a node that does not have it.
    return candidates[0]


def _generator_sections(file: Sections, config_file: Path | None, takes_sections: bool, role: Role) -> Sections:
    foreign = {name: section for name, section in file.items() if name not in SECTIONS}
    for name, section in foreign.items():
        if config_file or not takes_sections:
            reason = (
                f"the generator's sections belong into {config_file}" if config_file else "no generator is named here"
            )
            raise ConfigError(_unknown_section(section.origin, name, reason))
        _refuse_near_section(section.origin, name)
    if config_file is None:
        return foreign
    return read_ini(config_file) if role in MASTER else {}


def _set_options(options: Sections, sets: Sequence[tuple[str, str]], takes_sections: bool) -> None:
    """Put what ``--set`` gives to the generator into its sections."""
    for name, value in sets:
        section, option = _split_name(name, options)
        if section in SECTIONS and (
            section not in options or (option not in options[section].keys and _near_key(section, option))
        ):
            raise ConfigError(_unknown_key(SET, section, option))
        if section not in options:
            if not takes_sections:
                raise ConfigError(_unknown_section(SET, section, "no generator takes it here"))
            _refuse_near_section(SET, section)
        options.setdefault(section, Section(SET, {})).keys[option] = Given(value, SET)


def _split_name(name: str, options: Sections) -> tuple[str, str]:
    """Section and key of a dotted name: the longest section that the generator has, else up to the last dot."""
    known = [section for section in options if name.startswith(f"{section}.")]
    section = max(known, key=len) if known else name.rpartition(".")[0]
    return section, name[len(section) + 1 :].lower()


def _check(values: Mapping[Key, Value], given: Mapping[Key, Given], role: Role, missing: str) -> None:
    """The rules between keys; ``missing`` is where one that is not given ought to stand."""

    def value(section: str, name: str) -> Any:
        return values[BY_PLACE[section, name]]

    def fault(section: str, name: str, text: str) -> ConfigError:
        key = BY_PLACE[section, name]
        origin = given[key].origin if key in given else missing
        return ConfigError(f"{origin}: [{section}] {name}: {show(values[key])!r} {text}")

    if 2 * value("control", "heartbeat_interval") > value("control", "controller_timeout"):
        timeout = show(value("control", "controller_timeout"))
        raise fault(
            "control",
            "heartbeat_interval",
            f"is more than half of controller_timeout ({timeout}), one late heartbeat would count as a death: "
            "write a shorter heartbeat_interval or a longer controller_timeout",
        )
    if role in MASTER and value("journal", "durability") == "full":
        # A run's journal stands in a folder of its own, in state_dir.
        wanted = value("control", "state_dir") if role == "run" else value("journal", "path")
        if wanted is None:
            raise fault(
                "control",
                "state_dir",
                "is no folder, and this host names none ($STATE_DIRECTORY, $XDG_STATE_HOME, $HOME): write one for the "
                "journal, or durability = off in [journal]",
            )
    if role == "controller" and value("comm", "target") == "*":
        raise fault("comm", "target", "is an address to bind, for a master; write the master's host")
    if role in SINKS and endpoints.is_file(value("comm", "target")):
        raise fault("comm", "target", "is a socket file, and masters find a sink by host and port alone; write a host")
    if role not in ("controller", "run") and value("metrics", "port") == value("comm", "port"):
        raise fault("metrics", "port", "is the port in [comm], too, and each needs one of its own: name another")
    if len(targets := value("sink", "targets")) != len(set(targets)):
        raise fault("sink", "targets", "names a sink twice, and it would get everything once: name it once")
    module, class_name = value("task_generator", "module"), value("task_generator", "class")
    if ":" in module:
        raise fault("task_generator", "module", "names a class too: write it as class = module:Class")
    if ":" in class_name and module not in ("", class_name.partition(":")[0]):
        raise fault("task_generator", "class", f"names another module than module = {module!r}: leave one out")
    if role in MASTER:
        submit = value("clients", "submit") if role == "master" else "no"
        known = knows_clients(value("comm", "keys"), value("comm", "target"), value("comm", "insecure"))
        if not class_name and (submit == "no" or (submit == "auto" and not known)):
            clients = "; or let clients submit jobs: keys in [comm], or submit = yes in [clients]"
            more = clients if role == "master" else ""
            raise fault(
                "task_generator",
                "class",
                f"is empty: a {role} needs the generator's class, write module:Class{more}",
            )
        if class_name and not module and ":" not in class_name:
            raise fault(
                "task_generator", "module", f"is empty: name the module of {class_name}, or write class = module:Class"
            )


def _near_key(section: str, option: str) -> str:
    return did_you_mean(option, (key.name for key in KEYS if key.section == section))


def _unknown_key(origin: str, section: str, option: str) -> str:
    former = former_key(section, option)
    elsewhere = [key.section for key in KEYS if key.name == option]
    if former:
        hint = f"it is {former.now} now"
    elif why := NOT_NEEDED.get((section, option)):
        hint = why
    elif elsewhere:
        hint = f"it belongs into [{elsewhere[0]}]"
    elif near := _near_key(section, option):
        hint = f"did you mean {near}?"
    else:
        hint = f"it has {', '.join(key.name for key in KEYS if key.section == section)}"
    return f"{origin}: [{section}] {option}: no such key; {hint}"


def _unknown_section(origin: str, name: str, reason: str) -> str:
    near = did_you_mean(name, SECTIONS)
    hint = f"did you mean [{near}]?" if near else f"Cyclone has {', '.join(f'[{section}]' for section in SECTIONS)}"
    return f"{origin}: [{name}]: no such section; {hint} ({reason})"


def _refuse_near_section(origin: str, name: str) -> None:
    # [control.io] is how generators of the original group their sections, not a slip.
    near = "" if "." in name else did_you_mean(name, SECTIONS, _SECTION_CUTOFF)
    if near and name not in SECTIONS:
        raise ConfigError(
            f"{origin}: [{name}]: no such section; did you mean [{near}]? "
            "(a section of the generator needs a name less alike)"
        )
