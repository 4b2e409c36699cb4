"""From the text of a task file to what a constructor's parameter takes.

Owns the four types that a file can write, and how a parameter says which of them it wants. Knows no file: to a
ValueError's text its caller adds what it is about.
"""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from cyclone.config_kinds import SWITCH
from cyclone.task import BaseTask

NO_DEFAULT = inspect.Parameter.empty
# What msgpack holds.
_INTEGER_MIN, _INTEGER_MAX = -(1 << 63), (1 << 64) - 1
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")


def _read_integer(text: str) -> int:
    if not _INTEGER.fullmatch(text) or not _INTEGER_MIN <= int(text) <= _INTEGER_MAX:
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _read_float(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a number")
    return number


_READERS: dict[str, Callable[[str], object]] = {
    "int": _read_integer,
    "float": _read_float,
    "bool": SWITCH.read,
    "str": str,
}
TYPES = tuple(_READERS)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A constructor parameter: its default (``NO_DEFAULT`` for none), and the types of a file that fit it.

    ``wanted`` is how its class writes that; no type fits where only a generator can give the value.
    """

    name: str
    default: object
    types: tuple[str, ...]
    wanted: str

    def convert(self, text: str, given_type: str) -> object:
        """The value of a text. ``given_type`` is what the file says that it is, '' for nothing. Raises ValueError."""
        if not given_type and len(self.types) != 1:
            choice = ", ".join(self.types or TYPES)
            raise ValueError(f'must say what it is by type="..." ({choice}): its class wants {self.wanted}')
        fitting = {*self.types, "int"} if "float" in self.types else {*self.types}
        if given_type and fitting and given_type not in fitting:
            raise ValueError(f"is given as {given_type}, and its class wants {self.wanted}")
        try:
            return _READERS[given_type or self.types[0]](text)
        except ValueError as error:
            raise ValueError(f"cannot be read: {error}") from None


def parameters(task_class: type[BaseTask]) -> dict[str, Parameter]:
    """The constructor's parameters by name, in order. Its caller has made sure that each has a name."""
    try:
        hints = get_type_hints(task_class.__init__)
    except (NameError, TypeError, AttributeError):
        # What is imported for type checkers alone cannot be evaluated; the plain names can still be read.
        hints = {}
    found = {}
    for name, parameter in inspect.signature(task_class).parameters.items():
        annotation = hints.get(name, parameter.annotation)
        found[name] = Parameter(name, parameter.default, *_types(annotation, parameter.default))
    return found


def _types(annotation: Any, default: object) -> tuple[tuple[str, ...], str]:
    """The types that fit an annotation, and how it is written. Without one the default tells."""
    if annotation in (inspect.Parameter.empty, Any):
        name = type(default).__name__
        return (name if name in TYPES else "str",), name
    if isinstance(annotation, str):
        members, wanted = [part.strip() for part in annotation.split("|")], annotation
    elif get_origin(annotation) in (Union, UnionType):
        members, wanted = [_written(member) for member in get_args(annotation)], str(annotation)
    else:
        members, wanted = [_written(annotation)], _written(annotation)
    members = [member for member in members if member not in ("None", NoneType.__name__)]
    return tuple(member for member in members if member in TYPES), wanted


def _written(annotation: Any) -> str:
    return annotation.__name__ if annotation in (int, float, bool, str, NoneType) else str(annotation)
