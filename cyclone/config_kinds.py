"""How a configuration value is read and shown: one ``Kind`` for each sort of value.

Owns the rules for one value alone. Which keys there are is ``config_keys.py``'s. Must not open a file, nor look at the
host.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cyclone.protocol import endpoints, limits
from cyclone.units import format_duration, format_size, parse_duration, parse_size

_SWITCH = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
_IDENTIFIERS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*|\*")
_EXCEPTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_VARIABLE = re.compile(r"\w+\*?|\*", re.ASCII)
_KEEP_FORMS = "all, 30d, 1000000 tasks, or both bounds: 30d, 1000000 tasks"
_NODE_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@-]{0,254}")
# A colon ends it here, though a label may hold one elsewhere.
_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_./@-]{0,254}"
_WEIGHT = r"(?=[0-9.]*[1-9])[0-9]{1,6}(\.[0-9]{1,6})?"
_BETWEEN = re.compile(r"[\x00-\x1f\x7f]|\s[#;]")


@dataclass(frozen=True, slots=True)
class Keep:
    """How long what is done stays in the journal: 0 is no bound, and of two the one that is reached first counts."""

    age_s: float = 0.0
    tasks: int = 0

    def __str__(self) -> str:
        parts = [format_duration(self.age_s)] if self.age_s else []
        parts += [f"{self.tasks} tasks"] if self.tasks else []
        return ", ".join(parts) or "all"


class Size(int):
    """Bytes, which show themselves in the largest unit that they are a whole number of."""

    def __str__(self) -> str:
        number, units = int(self), ["", "KiB", "MiB", "GiB", "TiB"]
        while number and number % 1024 == 0 and len(units) > 1:
            number //= 1024
            del units[0]
        return f"{number}{units[0]}"


Value = str | int | float | bool | Path | tuple[str, ...] | Keep | None


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is read: ``read`` raises ValueError whose text starts with the value and says what would be right.

    ``unit`` is how the shipped files name what may be written, where that is not plain from the default. With
    ``takes_auto`` the word auto stands for a value that is computed.
    """

    name: str
    read: Callable[[str], Value]
    unit: str = ""
    takes_auto: bool = False


def duration(at_least_s: float) -> Kind:
    """Seconds, from a text with or without units."""

    def read(text: str) -> float:
        seconds = parse_duration(text)
        if seconds < at_least_s:
            raise ValueError(f"{text!r} is too short: at least {format_duration(at_least_s)}")
        return seconds

    return Kind("duration", read, "duration")


def integer(at_least: int, at_most: int) -> Kind:
    """A whole number within bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not at_least <= int(text) <= at_most:
            raise ValueError(f"{text!r} is not a whole number from {at_least} to {at_most}")
        return int(text)

    return Kind("integer", read)


def size(at_least_bytes: int = 0) -> Kind:
    """Bytes, from a text with or without units; 0, or at least so many."""

    def read(text: str) -> int:
        size_bytes = parse_size(text)
        if 0 < size_bytes < at_least_bytes:
            raise ValueError(f"{text!r} is too little: 0, or at least {format_size(at_least_bytes)}")
        return Size(size_bytes)

    return Kind("size", read, "size")


def _read_memory(text: str) -> int:
    return Size(0) if text.lower() == "none" else Size(parse_size(text))


def _list_of(form: re.Pattern[str], what: str) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        parts = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
        for part in parts:
            if not form.fullmatch(part):
                raise ValueError(f"{text!r}: {part!r} is not {what}")
        return parts

    return read


def choice(*choices: str) -> Kind:
    """One of these words, in lower case."""

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


def _read_target(text: str) -> str:
    if endpoints.is_file(text) and not _BETWEEN.search(text):
        return endpoints.check_file(text)
    return _read_host(text)


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


def _read_keep(text: str) -> Keep:
    if text.lower() == "all":
        return Keep()
    age_s: float | None = None
    tasks: int | None = None
    for part in (part.strip() for part in text.split(",")):
        count = re.fullmatch(r"([0-9]{1,18}) ?tasks?", part)
        if count and tasks is None:
            tasks = int(count[1])
        # A bare number may be meant as either, so it is neither.
        elif not count and age_s is None and re.search(r"[a-z:]", part):
            age_s = parse_duration(part)
        else:
            raise ValueError(f"{text!r} is not what to keep: write {_KEEP_FORMS}")
    if tasks == 0 or (age_s is not None and age_s < 1):
        raise ValueError(f"{text!r} keeps nothing: at least 1s and 1 task")
    return Keep(age_s or 0.0, tasks or 0)


def _read_endpoints(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    for part in parts:
        host, colon, port = part.rpartition(":")
        if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
            raise ValueError(f"{text!r}: {part!r} is not host:port, such as 127.0.0.1:5777")
        _read_host(host.strip("[]"))
    return parts


def _read_weights(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    for part in parts:
        if not re.fullmatch(rf"{_LABEL}(:{_WEIGHT})?", part):
            raise ValueError(f"{text!r}: {part!r} is no namespace with a weight, such as lustre or lustre:2.5")
    return parts


def _read_qos(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    for part in parts:
        if not re.fullmatch(rf"{_LABEL}:[+-]?[0-9]{{1,6}}(:{_WEIGHT})?", part):
            raise ValueError(f"{text!r}: {part!r} is no class, priority and weight, such as night:-50 or night:-50:0.5")
    return parts


def _read_labels(text: str) -> tuple[str, ...]:
    parts = _list_of(_NODE_LABEL, "a label, such as gpu or rack:7")(text)
    if len(parts) > limits.LABELS_MAX:
        raise ValueError(f"{text!r}: {len(parts)} are too many, {limits.LABELS_MAX} are possible")
    return parts


def _read_amounts(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    for part in parts:
        name, _, amount = part.rpartition(":")
        if not _NODE_LABEL.fullmatch(name) or not re.fullmatch(r"[0-9]{1,18}", amount) or not int(amount):
            raise ValueError(f"{text!r}: {part!r} is no resource and its amount, such as licence:2")
    names = [part.rpartition(":")[0] for part in parts]
    if len(parts) > limits.LABELS_MAX or len(set(names)) < len(names):
        raise ValueError(f"{text!r}: name each resource once, and {limits.LABELS_MAX} at most")
    return parts


LABELS = Kind("labels", _read_labels, "labels")
AMOUNTS = Kind("amounts", _read_amounts, "name:amount, ...")
MEMORY = Kind("size", _read_memory, "size, none or auto", takes_auto=True)
WEIGHTS = Kind("weights", _read_weights, "name:weight, ...")
QOS = Kind("qos", _read_qos, "name:priority:weight, ...")
ENDPOINTS = Kind("endpoints", _read_endpoints, "host:port, ...")
PATH = Kind("path", _read_path)
SWITCH = Kind("switch", _read_switch, "yes or no")
HOST = Kind("host", _read_host)
TARGET = Kind("target", _read_target, "a host, or ipc:///PATH")
NAME = Kind("name", _read_name)
PYTHON = Kind("python", _read_identifiers)
TEXT = Kind("text", str)
MODULES = Kind("modules", _list_of(_MODULE, "a module or package, such as acme.work, nor * for any"), "modules")
EXCEPTIONS = Kind("exceptions", _list_of(_EXCEPTION, "the name of an exception, such as OSError"), "exceptions")
VARIABLES = Kind(
    "variables",
    _list_of(_VARIABLE, "a variable's name, such as OMP_NUM_THREADS, or the beginning of several, such as SLURM_*"),
    "variables",
)
KEEP = Kind("keep", _read_keep, "all, duration, N tasks")


def show(value: Value) -> str:
    """A text of it that its kind reads back; a float is a duration."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return format_duration(value)
        case tuple():
            return ", ".join(value)
        case _:
            return str(value)
