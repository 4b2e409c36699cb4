"""Task files: XML that says with which class and which properties a generator makes its tasks.

Owns the format, and how a template is compared with its class. ``read_task_file`` imports nothing of the user's;
``TaskTemplate`` imports the class when it is first used, so that only a generator process or a command may use one,
after ``plugins.add_search_path``. Every ConfigError names file and line.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cyclone.config_kinds import PYTHON
from cyclone.config_text import did_you_mean
from cyclone.errors import ConfigError, NotSerialisable, PluginError
from cyclone.original import TASKS, current_task
from cyclone.plugins import load_class
from cyclone.task import BaseTask, TaskSerialiser, builder, property_names
from cyclone.taskfile_types import NO_DEFAULT, TYPES, Parameter, parameters
from cyclone.taskfile_xml import Element, read_xml

__all__ = ["TYPES", "Property", "TaskTemplate", "read_task_file"]

log = logging.getLogger("cyclone.taskfile")

# What the original's tasks had to know of the daemons that took their records. Ours know none: the master passes
# records on.
_FORMER_PROPERTIES = {"db_proxy_target", "db_proxy_port"} | {
    f"{daemon}_{what}" for daemon in ("pushgateway", "pushgateway_client") for what in ("name", "port", "timeout")
}


@dataclass(frozen=True, slots=True)
class Property:
    """A constructor parameter as the file gives it. ``type`` is one of ``TYPES``, or '' for what the class says."""

    name: str
    text: str
    type: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A template that was compared with its class. ``values`` are what the file gives, and the class's defaults."""

    task_class: type[BaseTask]
    parameters: Mapping[str, Parameter]
    given: Mapping[str, object]
    values: Mapping[str, object]
    make: Callable[..., BaseTask]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class TaskTemplate:
    """A ``<task>`` of a file. ``former_path`` is how the file names the class, where the original called it so."""

    name: str
    class_path: str
    properties: tuple[Property, ...]
    place: str = ""
    former_path: str = ""

    def task_class(self) -> type[BaseTask]:
        """The class. Raises ConfigError where it cannot be loaded, or does not take what the file gives."""
        return self._fitted.task_class

    def build(self, **overrides: Any) -> BaseTask:
        """A task. What is given here wins over the file, and is taken as it is. Raises ConfigError."""
        fitted = self._fitted
        values = {**fitted.values, **overrides}
        if values.keys() != fitted.parameters.keys():
            raise ConfigError(f"{self._about} {self._misfit(values)}")
        try:
            return fitted.make(*[values[name] for name in fitted.parameters])
        except (Exception, SystemExit) as error:
            # These two are what a constructor refuses an argument with; of any other the name says more than its text.
            kind = "" if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: "
            raise ConfigError(f"{self._about} {self.class_path} refuses its properties: {kind}{error}") from error

    def try_out(self) -> None:
        """Make a task, and take it apart as it would be for a worker. Raises ConfigError."""
        try:
            TaskSerialiser(self.task_class()).arguments(self.build())
        except (PluginError, NotSerialisable) as error:
            raise ConfigError(f"{self._about} {error}") from error

    @property
    def given(self) -> Mapping[str, object]:
        """What the file gives, converted."""
        return self._fitted.given

    @property
    def left_out(self) -> tuple[str, ...]:
        """The parameters that ``build`` has to be given."""
        return tuple(name for name in self._fitted.parameters if name not in self._fitted.values)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was understood, and ought to be written otherwise."""
        return self._fitted.warnings

    @property
    def _about(self) -> str:
        return f"{self.place}: task {self.name!r}:"

    @cached_property
    def _fitted(self) -> _Fitted:
        """Loaded and compared once, however many tasks are built; that is when warnings are logged."""
        try:
            task_class = load_class(self.class_path, BaseTask)
            names = property_names(task_class)
        except PluginError as error:
            raise ConfigError(f"{self._about} {error}") from error
        warnings = []
        if self.former_path:
            warnings.append(f"{self._about} {self.former_path} is {self.class_path} now: write that")
        ours = self.class_path in TASKS.values()
        former = [item for item in self.properties if ours and item.name in _FORMER_PROPERTIES.difference(names)]
        if former:
            warnings.append(
                f"{self._about} remove {', '.join(item.name for item in former)}: "
                "records go through the master, to the sinks that its [sink] targets names"
            )
        properties = [item for item in self.properties if item not in former]
        self._compare(properties, names)
        known = parameters(task_class)
        given = {
            item.name: self._value(item, known[item.name])
            for item in properties
            if item.text or "str" in known[item.name].types
        }
        defaults = {name: parameter.default for name, parameter in known.items() if parameter.default is not NO_DEFAULT}
        for warning in warnings:
            log.warning("%s", warning)
        return _Fitted(task_class, known, given, {**defaults, **given}, builder(task_class), tuple(warnings))

    def _compare(self, properties: Sequence[Property], names: Sequence[str]) -> None:
        """Refuse a property that the constructor does not take, or not at this place."""
        seen = set()
        for item in properties:
            if item.name not in names:
                near = did_you_mean(item.name, names)
                hint = f"did you mean <{near}>? " if near else ""
                raise self._fault(item, f"is no parameter; {hint}{self._takes(names)}")
            if item.name in seen:
                raise self._fault(item, "is given twice: keep one")
            seen.add(item.name)
        in_order = sorted(properties, key=lambda item: names.index(item.name))
        for number, (item, right) in enumerate(zip(properties, in_order, strict=True), 1):
            if item is not right:
                raise self._fault(item, f"is property {number}, where <{right.name}> belongs; {self._takes(names)}")

    def _fault(self, item: Property, text: str) -> ConfigError:
        return ConfigError(f"{item.place}: task {self.name!r}: <{item.name}> {text}")

    def _value(self, item: Property, parameter: Parameter) -> object:
        try:
            return parameter.convert(item.text, item.type)
        except ValueError as error:
            raise self._fault(item, str(error)) from None

    def _misfit(self, values: Collection[str]) -> str:
        """Why these are not the constructor's parameters."""
        names = list(self._fitted.parameters)
        unknown = [name for name in values if name not in names]
        if unknown:
            return f"its generator gives {unknown[0]!r}, which is no parameter; {self._takes(names)}"
        missing = next(name for name in names if name not in values)
        return f"nobody gives {missing!r}: write <{missing}>...</{missing}>; {self._takes(names)}"

    def _takes(self, names: Sequence[str]) -> str:
        return f"{self.class_path} takes {', '.join(names) or 'none'}"


def read_task_file(path: Path) -> dict[str, TaskTemplate]:
    """The tasks of a file by name, in its order; their classes are not looked at. Raises ConfigError."""
    root = read_xml(path)
    if root.tag != "tasks":
        raise ConfigError(f"{root.place}: the root is <{root.tag}>: write <tasks>")
    _require_attributes(root)
    _refuse_text(root)
    templates: dict[str, TaskTemplate] = {}
    for element in root.children:
        if element.tag != "task":
            raise ConfigError(f"{element.place}: <{element.tag}> in <tasks>: it holds <task> alone")
        template = _read_task(element)
        if template.name in templates:
            other = templates[template.name].place
            raise ConfigError(f"{template.place}: task {template.name!r} is in {other} already: rename one")
        templates[template.name] = template
    if not templates:
        raise ConfigError(f"{path}: holds no task: write <task name=...> into <tasks>")
    return templates


def _read_task(element: Element) -> TaskTemplate:
    (name,) = _require_attributes(element, "name")
    _refuse_text(element)
    parts: dict[str, Element] = {}
    for child in element.children:
        if child.tag not in ("class", "property"):
            raise ConfigError(f"{child.place}: <{child.tag}> in task {name!r}: it holds <class> and <property> alone")
        if child.tag in parts:
            raise ConfigError(f"{child.place}: task {name!r} has <{child.tag}> twice: keep one")
        _refuse_text(child)
        parts[child.tag] = child
    if "class" not in parts:
        raise ConfigError(f'{element.place}: task {name!r} has no class: write <class module="..." name="..."/>')
    module, class_name = _require_attributes(parts["class"], "module", "name")
    class_path = f"{module}:{class_name}"
    try:
        PYTHON.read(class_path)
    except ValueError as error:
        raise ConfigError(f"{parts['class'].place}: task {name!r}: {error}") from None
    current = current_task(class_path)
    properties = tuple(map(_read_property, parts["property"].children)) if "property" in parts else ()
    return TaskTemplate(name, current, properties, element.place, class_path if current != class_path else "")


def _read_property(element: Element) -> Property:
    """Blanks around a text are for the eye, unless XML's own attribute says that they are meant."""
    if element.children:
        child = element.children[0]
        raise ConfigError(f"{child.place}: <{child.tag}> in <{element.tag}>: a property holds text alone")
    attributes = dict(element.attributes)
    preserve = attributes.pop("xml:space", "default") == "preserve"
    given_type = attributes.pop("type", "")
    if given_type not in ("", *TYPES):
        raise ConfigError(f"{element.place}: <{element.tag}>: {given_type!r} is not a type: write {', '.join(TYPES)}")
    for name in attributes:
        raise ConfigError(
            f"{element.place}: <{element.tag}> has an attribute {name!r}: it takes type and xml:space alone"
        )
    return Property(element.tag, element.text if preserve else element.text.strip(), given_type, element.place)


def _require_attributes(element: Element, *names: str) -> list[str]:
    """The values of these attributes; ConfigError where one is missing or empty, or there is another one."""
    for name in element.attributes:
        if name not in names:
            takes = " and ".join(names) or "none"
            raise ConfigError(f"{element.place}: <{element.tag}> has an attribute {name!r}: it takes {takes}")
    for name in names:
        if not element.attributes.get(name):
            raise ConfigError(f'{element.place}: <{element.tag}> has no {name}: write <{element.tag} {name}="...">')
    return [element.attributes[name] for name in names]


def _refuse_text(element: Element) -> None:
    if text := element.text.strip():
        raise ConfigError(f"{element.place}: text in <{element.tag}>, {text[:40]!r}: only a property holds text")
