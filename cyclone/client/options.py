"""Options of what an Executor submits: as a program writes them, and as a job has them.

Owns the names and what they become in a ``JobSpec``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from cyclone.protocol.job_spec import JobSpec
from cyclone.task import OPTIONS_ATTRIBUTE
from cyclone.units import parse_duration, parse_size

# Durations, in seconds or as "90s", "10m"; and sizes, in bytes or as "4 GiB".
_DURATIONS = {
    "time_limit": "time_limit_s",
    "retry_delay": "retry_delay_s",
    "wait_after_success": "wait_after_success_s",
    "wait_after_setup_error": "wait_after_setup_error_s",
    "wait_after_run_error": "wait_after_run_error_s",
    "keep": "keep_s",
}
_SIZES = {"mem": "mem_bytes"}
# These are the Executor's own.
_NOT_OPTIONS = frozenset({"task_class", "shared", "by_value", "held"})
_PLAIN = tuple(
    name for name in JobSpec.__struct_fields__ if name not in (*_NOT_OPTIONS, *_DURATIONS.values(), *_SIZES.values())
)
NAMES = (*_PLAIN, *_DURATIONS, *_SIZES)


def options_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """What ``@cyclone.task`` has put on a function."""
    found: Mapping[str, Any] = getattr(function, OPTIONS_ATTRIBUTE, {})
    return found


def job_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as fields of a ``JobSpec``. Raises TypeError for a name that is none, ValueError for a bad value."""
    fields: dict[str, Any] = {}
    for name, value in options.items():
        if name in _DURATIONS:
            fields[_DURATIONS[name]] = parse_duration(value) if isinstance(value, str) else value
        elif name in _SIZES:
            fields[_SIZES[name]] = parse_size(value) if isinstance(value, str) else value
        elif name == "retry_on":
            fields[name] = tuple(_exception_name(kind) for kind in value)
        elif name in _PLAIN:
            fields[name] = tuple(value) if isinstance(value, list) else value
        else:
            raise TypeError(f"there is no option {name!r}; there are {', '.join(sorted(NAMES))}")
    # As strictly as the master does it.
    try:
        msgspec.convert({"task_class": "-", **fields}, JobSpec)
    except msgspec.ValidationError as error:
        raise ValueError(f"options {options}: {error}") from None
    return fields


def _exception_name(kind: type[BaseException] | str) -> str:
    if isinstance(kind, str):
        return kind
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
