"""From what a task class says of itself to the options of its job.

Owns which class attributes count, and their check: a mistake is told in the generator, before the first task is added.
"""

from typing import Any, NamedTuple

from cyclone.errors import PluginError
from cyclone.protocol import limits
from cyclone.protocol.messages import JobOptions
from cyclone.task import BaseTask


class TaskDefaults(NamedTuple):
    """What the configuration's ``[tasks]`` says where a class does not."""

    retries: int = 0
    retry_delay_s: float = 1.0
    retry_on: tuple[str, ...] = ()


CLASS_DEFAULTS = TaskDefaults()


def job_options(
    task_class: type[BaseTask], path: str, time_limit_s: float | None, defaults: TaskDefaults
) -> JobOptions:
    """The options of the job of such tasks. Raises PluginError."""
    retries, delay_s, retry_on = task_class.retries, task_class.retry_delay_s, task_class.retry_on
    _check(path, "retries", retries, "a whole number of at least 0, or None", _is_count(retries))
    _check(path, "retry_delay_s", delay_s, "seconds, or None", _is_duration(delay_s))
    _check(path, "exclusive", task_class.exclusive, "True or False", isinstance(task_class.exclusive, bool))
    _check(path, "retry_on", retry_on, "a tuple of exceptions, or None", retry_on is None or _is_list(retry_on))
    names = defaults.retry_on if retry_on is None else tuple(_name(path, one) for one in retry_on)
    return JobOptions(
        path,
        time_limit_s,
        defaults.retries if retries is None else retries,
        defaults.retry_delay_s if delay_s is None else float(delay_s),
        names,
        task_class.exclusive,
    )


def _name(path: str, one: Any) -> str:
    if isinstance(one, type) and issubclass(one, BaseException):
        one = one.__qualname__ if one.__module__ == "builtins" else f"{one.__module__}.{one.__qualname__}"
    fits = isinstance(one, str) and 0 < len(one) <= limits.NAME_CHARS_MAX
    _check(path, "retry_on", one, f"exceptions or their names of at most {limits.NAME_CHARS_MAX} characters", fits)
    return str(one)


def _is_list(value: object) -> bool:
    return isinstance(value, tuple | list)


def _is_count(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value <= limits.ID_MAX)


def _is_duration(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and 0 <= value <= 1e9)


def _check(path: str, name: str, value: object, expected: str, holds: bool) -> None:
    if not holds:
        raise PluginError(f"{path}.{name} is {value!r}; it must be {expected}")
