"""Options of what an Executor submits: as a program writes them, and as a job has them.

Owns the names and what they become in a ``JobSpec``.
"""

from collections.abc import Callable, Mapping
from typing import Any

from cyclone.client.checking import check_spec
from cyclone.errors import BadRequest
from cyclone.protocol.job_spec import JobSpec
from cyclone.task import OPTIONS_ATTRIBUTE
from cyclone.units import parse_duration, parse_size

CALL_CLASS = "tasks.function:FunctionTask"
"""The class of tasks that are calls of a function."""

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


def function_fields(function: Callable[..., Any]) -> dict[str, Any]:
    """The same as fields of a ``JobSpec``. Raises as ``job_fields`` does, and names the function."""
    try:
        return job_fields(options_of(function))
    except (TypeError, BadRequest) as error:
        name = getattr(function, "__qualname__", None) or repr(function)
        raise type(error)(f"@cyclone.task of {name}: {error}") from None


def job_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as fields of a ``JobSpec``.

    Raises TypeError for a name that is none, and BadRequest, which is a ValueError and names the option, for a value
    that no job may have.
    """
    fields: dict[str, Any] = {}
    for name, value in options.items():
        if name in _DURATIONS:
            fields[_DURATIONS[name]] = _parsed(name, parse_duration, value)
        elif name in _SIZES:
            fields[_SIZES[name]] = _parsed(name, parse_size, value)
        elif name == "retry_on":
            kinds = value if isinstance(value, list | tuple | set | frozenset) else (value,)
            fields[name] = tuple(map(_exception_name, kinds))
        elif name in _PLAIN:
            fields[name] = tuple(value) if isinstance(value, list) else value
        else:
            raise TypeError(f"there is no option {name!r}; there are {', '.join(sorted(NAMES))}")
    # As strictly as the master does it, whatever they belong to.
    try:
        check_spec(JobSpec(task_class="-:-", **fields))
    except BadRequest as error:
        raise BadRequest(_as_written(str(error))) from None
    return fields


def _parsed(name: str, parse: Callable[[str], float], value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse(value)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}") from None


def _as_written(text: str) -> str:
    """What begins with the name of a field, with that of the option instead."""
    for option, field in (*_DURATIONS.items(), *_SIZES.items()):
        if text.startswith(field):
            return option + text.removeprefix(field)
    return text


def _exception_name(kind: object) -> str:
    if isinstance(kind, str):
        return kind
    if not isinstance(kind, type):
        raise BadRequest(f"retry_on: expected exception classes or their names, not {kind!r}")
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
