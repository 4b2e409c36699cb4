"""The section [probe] of a Lustre generator: from which task, with which properties, it makes its tasks.

In a file of the generator's own the section is [task], as it was in the original. Owns these keys:

    task_file   an XML task file, and
    task_name   which of its tasks; or
    class       module:Class of a task, in place of both
    time_limit  after which a task is ended

Every other key is a property of the task, a parameter of its constructor, and wins over the task file. Properties whose
names end in _bytes and _s take units. Imports the task's class, as only a generator process may.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cyclone.errors import ConfigError, PluginError
from cyclone.generator import BaseTaskGenerator
from cyclone.plugins import load_class
from cyclone.task import BaseTask, property_names
from cyclone.taskfile import Property, TaskTemplate, read_task_file
from cyclone.units import parse_duration, parse_size

_OWN_KEYS = ("task_file", "task_name", "class", "time_limit")


class ConfiguredTask:
    """Makes tasks of one class. ``defaults`` are properties for when nobody gives them; the class need not have them.

    Raises ConfigError.
    """

    def __init__(self, generator: BaseTaskGenerator, default_class: str, defaults: Mapping[str, Any]) -> None:
        self.section = present_section(generator, "probe", "task")
        self._template = _template(generator, self.section, default_class)
        self.task_class = self._template.task_class()
        self.names = property_names(self.task_class)
        given = self._template.given
        self._defaults = {key: value for key, value in defaults.items() if key in self.names and key not in given}
        limit_s = generator.duration_option(self.section, "time_limit", "10m")
        self._time_limit_s = limit_s or None

    def build(self, **properties: Any) -> BaseTask:
        """A task. What is given here wins over everything."""
        task = self._template.build(**self._defaults | properties)
        if self._time_limit_s is not None:
            task.time_limit_s = self._time_limit_s
        return task


def present_section(generator: BaseTaskGenerator, *names: str) -> str:
    """The first of these sections that the generator has been given, else the first."""
    return next((name for name in names if name in generator.config), names[0])


def _template(generator: BaseTaskGenerator, section: str, default_class: str) -> TaskTemplate:
    keys = generator.config.get(section, {})
    if keys.get("task_file"):
        template = _of_file(generator, section)
    else:
        template = _of_class(generator, section, default_class)
    properties = [_property(section, key, text) for key, text in keys.items() if text and key not in _OWN_KEYS]
    if not properties:
        return template
    overruled = {item.name for item in properties}
    properties += [item for item in template.properties if item.name not in overruled]
    places = {name: place for place, name in enumerate(property_names(template.task_class()))}
    # What is no property at all comes last, where the template complains of it by its name.
    properties.sort(key=lambda item: places.get(item.name, len(places)))
    return dataclasses.replace(template, properties=tuple(properties))


def _of_file(generator: BaseTaskGenerator, section: str) -> TaskTemplate:
    if generator.option(section, "class", ""):
        raise ConfigError(f"[{section}] task_file and class: give one of them")
    path = generator.path_option(section, "task_file")
    name = generator.option(section, "task_name")
    templates = read_task_file(path)
    if name not in templates:
        raise ConfigError(f"[{section}] task_name = {name}: {path} has {', '.join(templates)}")
    return templates[name]


def _of_class(generator: BaseTaskGenerator, section: str, default_class: str) -> TaskTemplate:
    path = generator.option(section, "class", default_class)
    try:
        load_class(path, BaseTask)
    except PluginError as error:
        raise ConfigError(f"[{section}] class = {path}: {error}") from error
    return TaskTemplate(path.rpartition(":")[2], path, (), f"[{section}]")


def _property(section: str, key: str, text: str) -> Property:
    place = f"[{section}] {key}"
    try:
        if key.endswith("_bytes"):
            text = str(parse_size(text))
        elif key.endswith("_s"):
            text = str(parse_duration(text))
    except ValueError as error:
        raise ConfigError(f"{place} = {text}: {error}") from None
    return Property(key, text, place=place)
