"""``cyclone submit --class``: from properties as text to what a task class's constructor takes.

Owns how a text becomes a value of the type that the constructor wants, and which property gets the entry of an array.
Imports the class, as a generator would. Makes a task of a ready-made class alone, whose constructor does nothing but
check its properties; what another does may belong on a node. Every ConfigError names the class and the property.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from cyclone.cli.arrays import NUMBERED, Entries
from cyclone.cli.submit_options import Given
from cyclone.config_text import did_you_mean
from cyclone.errors import ConfigError, CycloneError, NotSerialisable
from cyclone.master.generator.task_options import CLASS_DEFAULTS, job_options
from cyclone.plugins import add_search_path, load_class
from cyclone.task import BaseTask, property_names
from cyclone.taskfile_types import NO_DEFAULT, Parameter, parameters
from cyclone.values import encode_properties

_SCALARS = (str, int, float, bool)
_WHOLE = re.compile(r"\{\}")
_READY_MADE = Path(__file__).resolve().parents[2] / "tasks"


class ClassTasks(NamedTuple):
    """How tasks of a class are packed: ``shared`` for all, ``names`` by the entry of each; ``options`` of the class."""

    shared: bytes
    shared_names: tuple[str, ...]
    names: tuple[str, ...]
    pack: Callable[[Any], bytes]
    options: Given


class _Target(NamedTuple):
    """A class, with what its constructor wants of each property."""

    path: str
    parameters: Mapping[str, Parameter]
    hints: Mapping[str, Any]

    def value(self, name: str, text: str) -> object:
        """The value of a property that is given as text. Raises ConfigError."""
        try:
            return read_value(self.parameters[name], self.hints.get(name), text)
        except ValueError as error:
            raise ConfigError(f"{self.path}: property {name}: {error}") from None

    def typed(self, name: str, value: object) -> object:
        """An entry as the property wants it: text is read, and a number is text for one that wants only that."""
        if isinstance(value, str):
            return self.value(name, value)
        only_text = self.parameters[name].types == ("str",) and self.hints.get(name) is str
        return str(value) if only_text and type(value) in (int, float) else value


def class_tasks(class_path: str, given: Mapping[str, object], entries: Entries | None) -> ClassTasks:
    """How to make tasks of a class with these properties, text or (of a job file) values.

    Raises ConfigError, PluginError.
    """
    add_search_path(str(Path.cwd()))
    task_class = load_class(class_path, BaseTask)
    names = property_names(task_class)
    target = _Target(class_path, parameters(task_class), _hints(task_class))
    for name in given:
        if name not in names:
            raise _unknown(class_path, name, names)
    placeholder = NUMBERED if entries is not None and entries.lists > 1 else _WHOLE
    by_entry = [
        name
        for name, value in given.items()
        if entries is not None and isinstance(value, str) and placeholder.search(value)
    ]
    constant = {
        name: target.value(name, value) if isinstance(value, str) else value
        for name, value in given.items()
        if name not in by_entry
    }
    if entries is not None and not by_entry:
        return _by_objects(target, names, constant, task_class)
    templates = {name: str(given[name]) for name in by_entry}

    def fill(entry: Any) -> dict[str, object]:
        return {name: _filled(target, name, template, placeholder, entry) for name, template in templates.items()}

    missing = [name for name in names if name not in given and target.parameters[name].default is NO_DEFAULT]
    if missing:
        raise ConfigError(f"{class_path} needs {missing[0]}: give -p {missing[0]}=...; it takes {_listed(names)}")
    defaults = {name: one.default for name, one in target.parameters.items() if one.default is not NO_DEFAULT}
    fixed = {**{name: value for name, value in defaults.items() if name not in by_entry}, **constant}
    return _tasks(target, names, fixed, fill, task_class)


def read_value(parameter: Parameter, hint: Any, text: str) -> object:
    """The value of a text: as it is where the constructor wants text, else of its type, else JSON. Raises ValueError.

    ``hint`` is the constructor's annotation, None where there is none.
    """
    if hint in _SCALARS or (hint is None and type(parameter.default) in _SCALARS):
        return parameter.convert(text, "")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        if hint in (None, Any, object) or "str" in parameter.types:
            return text
        raise ValueError(f"{text!r:.200} is no JSON value, and its class wants {parameter.wanted}") from None
    if hint in (None, Any, object) or _fits(value, hint):
        return value
    if "str" in parameter.types:
        return text
    raise ValueError(f"{text!r:.200} is none: its class wants {parameter.wanted}")


def _fits(value: object, hint: Any) -> bool:
    import msgspec

    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        return False
    except (TypeError, ValueError):
        # A type that only its class knows: it will say so itself.
        return True
    return True


def _by_objects(
    target: _Target, names: Sequence[str], constant: dict[str, object], task_class: type[BaseTask]
) -> ClassTasks:
    """Each entry is an object that gives properties by name."""
    defaults = {name: one.default for name, one in target.parameters.items() if one.default is not NO_DEFAULT}
    open_names = [name for name in names if name not in constant]

    def fill(entry: Any) -> dict[str, object]:
        if not isinstance(entry, dict):
            example = open_names[0] if open_names else names[0] if names else "NAME"
            right = f"Write -p {example}={{}}, or give objects of properties by --from-json"
            raise ConfigError(f"{target.path}: which property is the array's entry? {right}")
        for name in entry:
            if name not in names:
                raise _unknown(target.path, str(name), names)
            if name in constant:
                raise ConfigError(f"{target.path}: property {name} is given by -p and by an entry: give it once")
        found = {name: target.typed(name, entry[name]) for name in open_names if name in entry}
        missing = [name for name in open_names if name not in found and name not in defaults]
        if missing:
            raise ConfigError(f"{target.path} needs {missing[0]}, which an entry does not give: {entry!r:.200}")
        return {name: found.get(name, defaults.get(name)) for name in open_names}

    return _tasks(target, names, constant, fill, task_class)


def _tasks(
    target: _Target,
    names: Sequence[str],
    fixed: Mapping[str, object],
    fill: Callable[[Any], dict[str, object]],
    task_class: type[BaseTask],
) -> ClassTasks:
    """What is the same for all goes into ``shared`` as far as it comes first."""
    split = next((at for at, name in enumerate(names) if name not in fixed), len(names))
    first, rest = tuple(names[:split]), tuple(names[split:])

    def packed(some: tuple[str, ...], values: Mapping[str, object]) -> bytes:
        try:
            return encode_properties(some, tuple(values[name] for name in some))
        except NotSerialisable as error:
            raise ConfigError(f"{target.path}: {error}") from None

    is_ready_made = _is_ready_made(task_class)

    def pack(entry: Any) -> bytes:
        values = {**fixed, **fill(entry)}
        if is_ready_made:
            _try_out(target, task_class, values)
        return packed(rest, values)

    own = job_options(task_class, target.path, task_class.time_limit_s, CLASS_DEFAULTS)
    options = {name: value for name, value in own._asdict().items() if name != "task_class"}
    return ClassTasks(packed(first, fixed) if first else b"", first, rest, pack, options)


def _is_ready_made(task_class: type[BaseTask]) -> bool:
    """Whether it is one of ours; a user may have a module ``tasks`` himself."""
    file = getattr(sys.modules.get(task_class.__module__), "__file__", None)
    return file is not None and Path(file).resolve().parent == _READY_MADE


def _try_out(target: _Target, task_class: type[BaseTask], values: Mapping[str, object]) -> None:
    """Make a task of them, so that it is seen here what no node could do. Raises ConfigError."""
    try:
        task_class(**values)
    except Exception as error:
        # These speak of the properties; of any other the name says more than its text.
        kind = "" if isinstance(error, CycloneError | TypeError | ValueError) else f"{type(error).__name__}: "
        raise ConfigError(f"{target.path} refuses its properties: {kind}{error}") from error


def _filled(target: _Target, name: str, template: str, placeholder: re.Pattern[str], entry: Any) -> object:
    def value(found: re.Match[str]) -> Any:
        """The entry, or that of one of several lists."""
        number = int(found[1]) if found.lastindex else 0
        return entry if not number else entry[number - 1] if number <= len(entry) else found[0]

    def text(found: re.Match[str]) -> str:
        one = value(found)
        return one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)

    if whole := placeholder.fullmatch(template):
        return target.typed(name, value(whole))
    return target.value(name, placeholder.sub(text, template))


def _hints(task_class: type[BaseTask]) -> dict[str, Any]:
    try:
        return get_type_hints(task_class.__init__)
    except (NameError, TypeError, AttributeError):
        # What is imported for type checkers alone cannot be evaluated.
        return {}


def _unknown(path: str, name: str, names: Sequence[str]) -> ConfigError:
    near = did_you_mean(name, names)
    hint = f"did you mean {near}? " if near else ""
    return ConfigError(f"{path} has no property {name}; {hint}it takes {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
