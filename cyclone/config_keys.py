"""Every configuration key in one table: where it stands, how it is read, its default, and what it is for.

Owns the names and their rules for one value alone. Reading files and rules between keys are ``config.py``'s. The
files in ``Configuration/`` are tested against this table.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclone.protocol import limits
from cyclone.units import format_duration, parse_duration

Role = Literal["master", "controller", "run"]
Value = str | int | float | bool | Path | None

_SWITCH = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
_IDENTIFIERS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")
_BETWEEN = re.compile(r"[\x00-\x1f\x7f]|\s[#;]")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is read: ``read`` raises ValueError whose text starts with the value and says what would be right.

    ``unit`` is how the shipped files name what may be written, where that is not plain from the default.
    """

    name: str
    read: Callable[[str], Value]
    unit: str = ""


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
        """Its name in the settings: durations end in ``_s``, and ``class`` is no name in Python."""
        if self.name == "class":
            return "class_name"
        return f"{self.name}_s" if self.kind.name == "duration" else self.name


def _duration(at_least_s: float) -> Kind:
    def read(text: str) -> float:
        seconds = parse_duration(text)
        if seconds < at_least_s:
            raise ValueError(f"{text!r} is too short: at least {format_duration(at_least_s)}")
        return seconds

    return Kind("duration", read, "duration")


def _integer(at_least: int, at_most: int) -> Kind:
    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not at_least <= int(text) <= at_most:
            raise ValueError(f"{text!r} is not a whole number from {at_least} to {at_most}")
        return int(text)

    return Kind("integer", read)


def _choice(*choices: str) -> Kind:
    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}")
        return text.lower()

    return Kind("choice", read, f"{', '.join(choices[:-1])} or {choices[-1]}")


def _read_switch(text: str) -> bool:
    if text.lower() not in _SWITCH:
        raise ValueError(f"{text!r} is neither yes nor no")
    return _SWITCH[text.lower()]


def _read_path(text: str) -> Path | None:
    # A path may hold a '#', but " # " is nearly always meant as a comment, and would name a file nobody looks for.
    if _BETWEEN.search(text):
        raise ValueError(f"{text!r} is not a path: it holds a control character, or a '#' or ';' after a blank")
    return Path(text) if text else None


def _read_host(text: str) -> str:
    if not re.fullmatch(r"[^\s/\x00-\x1f\x7f]+", text):
        raise ValueError(f"{text!r} is not a host: write a name or an address alone, such as 127.0.0.1")
    if re.fullmatch(r"[^:]*:[0-9]+", text):
        raise ValueError(f"{text!r} is not a host: its port belongs to the key 'port'")
    return text


def _read_name(text: str) -> str:
    if not text.isprintable() or not re.fullmatch(rf"\S{{1,{limits.NAME_CHARS_MAX}}}", text):
        raise ValueError(f"{text!r} is not a name: 1 to {limits.NAME_CHARS_MAX} printable characters without a blank")
    return text


def _read_identifiers(text: str) -> str:
    if text and not _IDENTIFIERS.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a Python module or class, such as task_generators.benchmark")
    return text


_PATH = Kind("path", _read_path)
_SWITCH_KIND = Kind("switch", _read_switch, "yes or no")
_HOST = Kind("host", _read_host)
_NAME = Kind("name", _read_name)
_PYTHON = Kind("python", _read_identifiers)
_TEXT = Kind("text", str)
_COUNT_MAX = 1_000_000_000
_LOOP_S_MIN = 0.001

_MASTER: tuple[Role, ...] = ("master", "run")
_CONTROLLER: tuple[Role, ...] = ("controller", "run")
_BOTH: tuple[Role, ...] = ("master", "controller", "run")
# cyclone run takes a loopback port of its own and needs no pid file.
_DAEMONS: tuple[Role, ...] = ("master", "controller")

KEYS: tuple[Key, ...] = (
    Key(
        "control",
        "pid_file",
        _PATH,
        "",
        _DAEMONS,
        "File that holds the process id and is locked while it runs; empty: none.",
    ),
    Key(
        "control",
        "name",
        _NAME,
        None,
        _CONTROLLER,
        "The controller's name, unique in the cluster; by default <host>-<stem of pid_file>, or <host>-<pid>.",
    ),
    Key(
        "control",
        "controller_timeout",
        _duration(0.1),
        "15s",
        _MASTER,
        "Silence after which a controller counts as dead and what it held is handed out again.",
    ),
    Key(
        "control",
        "heartbeat_interval",
        _duration(0.01),
        None,
        _MASTER,
        "How often a controller with nothing else to say reports; by default 1s, or a quarter of controller_timeout.",
    ),
    Key(
        "control",
        "task_resend_timeout",
        _duration(0.1),
        "8h",
        _MASTER,
        "Time from dispatch after which a task is handed out again although its controller is alive.",
    ),
    Key(
        "control",
        "crash_limit",
        _integer(1, _COUNT_MAX),
        "3",
        _MASTER,
        "How many worker processes a task may kill before it is quarantined.",
    ),
    Key(
        "control",
        "exit_when_done",
        _SWITCH_KIND,
        "no",
        _MASTER,
        "Whether the master ends, and its controllers too, once the generator is done and each task has its result.",
        default_run="yes",
    ),
    Key("control", "stop_timeout", _duration(0), "30s", _BOTH, "How long a stop (SIGTERM) waits for running tasks."),
    Key(
        "control",
        "request_retry_wait_duration",
        _duration(0.01),
        "1s",
        _CONTROLLER,
        "Wait before the first retry to reach the master; each further one doubles it, with jitter, up to 30s.",
        former_section="comm",
    ),
    Key(
        "control",
        "max_num_request_retries",
        _integer(0, _COUNT_MAX),
        "0",
        _CONTROLLER,
        "Retries to reach the master before the controller gives up; 0: it never does.",
    ),
    Key(
        "control",
        "controller_wait_duration",
        _duration(0),
        "1s",
        _MASTER,
        "Accepted and not used any more: controllers are told at once when there is work.",
        accepted_only=True,
    ),
    Key("control", "version", _TEXT, "", _DAEMONS, "Accepted and not used any more.", accepted_only=True),
    Key(
        "comm",
        "target",
        _HOST,
        "127.0.0.1",
        _DAEMONS,
        "Master: the address to bind, * for every interface. Controller: the master's host.",
    ),
    Key("comm", "port", _integer(1, 65535), "5678", _DAEMONS, "The master's TCP port."),
    Key("comm", "poll_timeout", _duration(_LOOP_S_MIN), "1s", _DAEMONS, "The longest that a main loop sleeps."),
    Key("log", "filename", _PATH, "", _BOTH, "Log file, opened again after a rotation; empty: standard error."),
    Key("log", "format", _choice("text", "json"), "text", _BOTH, "A line of text or one JSON object for each message."),
    Key(
        "log",
        "level",
        _choice("debug", "info", "warning", "error"),
        "info",
        _BOTH,
        "The least severe messages that are logged.",
    ),
    Key(
        "task_generator",
        "module",
        _PYTHON,
        "",
        _MASTER,
        "Python module of the generator; not needed where class is module:Class.",
    ),
    Key("task_generator", "class", _PYTHON, "", _MASTER, "Class of the generator, or module:Class."),
    Key(
        "task_generator",
        "config_file",
        _PATH,
        "",
        _MASTER,
        "File of the generator's sections, looked for in this file's folder, then where it runs; empty: this file.",
    ),
    Key(
        "processing",
        "worker_count",
        _integer(1, limits.SLOTS_MAX),
        None,
        _CONTROLLER,
        "Worker processes; by default the number of cores that the controller may use.",
    ),
    Key(
        "processing",
        "task_time_limit",
        _duration(0),
        "0s",
        _CONTROLLER,
        "Longest run of a task that has no limit of its own; 0s: none.",
    ),
    Key(
        "processing",
        "kill_grace",
        _duration(0),
        "5s",
        _CONTROLLER,
        "Time between SIGTERM and SIGKILL for a task that is ended.",
    ),
    Key(
        "processing",
        "worker_max_tasks",
        _integer(0, _COUNT_MAX),
        "0",
        _CONTROLLER,
        "Tasks after which a worker process is replaced; 0: never.",
    ),
)
SECTIONS: tuple[str, ...] = tuple(dict.fromkeys(key.section for key in KEYS))
BY_PLACE: dict[tuple[str, str], Key] = {(key.section, key.name): key for key in KEYS} | {
    (key.former_section, key.name): key for key in KEYS if key.former_section
}


def show(value: Value) -> str:
    """A text of it that its kind reads back; a float is a duration."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return format_duration(value)
        case _:
            return str(value)
