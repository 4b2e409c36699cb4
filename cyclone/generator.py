"""BaseTaskGenerator: where tasks come from, and where their results go.

Users derive from it. It runs in a process of its own, so it may block, sleep, raise or never end. Its host
(``cyclone.master.generator.generator_process``) pulls ``generate()`` while the master has room and calls ``on_result``
in between, never both at once. The host also gives it the folder of its configuration file, and has put that on the
import path.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from cyclone.config_kinds import SWITCH
from cyclone.errors import ConfigError, PluginError
from cyclone.plugins import load_class
from cyclone.ranges import node_set, range_set
from cyclone.results import TaskResult
from cyclone.task import BaseTask
from cyclone.units import parse_duration

Config = Mapping[str, Mapping[str, str]]


class BaseTaskGenerator:
    """Yields tasks, and may react to their results. Derive from it and define ``generate``.

    >>> class Squares(BaseTaskGenerator):
    ...     def generate(self):
    ...         for number in range(self.integer_option("squares", "count", 3)):
    ...             yield Square(number)
    >>> [task.execute() for task in Squares({"squares": {"count": "4"}}).generate()]
    [0, 1, 4, 9]

    ``config`` holds the configuration's sections as plain text, ``config["directory"]["path"]``; ``folder`` is that of
    the configuration file; ``log`` is for the generator's own lines. The ``..._option`` methods read an option and
    raise a ConfigError that names section and key; called in the constructor, they show a mistake before the first
    task.
    """

    log: ClassVar[logging.Logger] = logging.getLogger("cyclone.generator")

    def __init__(self, config: Config, folder: Path = Path()) -> None:
        self.config = config
        self.folder = folder
        self._wait: Callable[[float], None] | None = None

    def generate(self) -> Iterator[BaseTask]:
        """A plain Python generator of tasks. It is pulled lazily, and only while the master has room."""
        raise NotImplementedError(f"{type(self).__name__} does not define generate()")

    def on_result(self, result: TaskResult) -> Iterable[BaseTask] | BaseTask | None:
        """Called once for each task. May return a task, or return or yield several: they are added to the work.

        After a crash the results behind the cursor are told again, in the same order, and from each the same tasks are
        expected again: those that were added already are passed over.
        """
        return None

    def cursor(self) -> Any:
        """A small msgpack value from which ``resume`` can go on; None, the default, where there is none.

        It stands for all that ``generate()`` has yielded and ``on_result`` has seen up to this moment. It is asked for
        now and then: before ``generate()`` begins, while it stands at a ``yield`` or in ``wait()``, and when it has
        returned; never within ``on_result``.
        """
        return None

    def resume(self, cursor: Any) -> None:
        """After a crash, before ``generate()``: take up the state of which ``cursor()`` gave this value.

        ``generate()`` then goes on behind the last task that it had yielded at that moment. Lists may have been tuples.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define resume()")

    def wait(self, seconds: float) -> None:
        """Inside ``generate()``: let the time pass, and serve results meanwhile."""
        if self._wait is None:
            raise RuntimeError("wait() is for generate(), in a generator that a master runs")
        self._wait(seconds)

    def summary(self) -> Mapping[str, Any]:
        """What is worth saying at the end of a run, such as ``{"bytes": 123}``; ``cyclone run`` prints it."""
        return {}

    @classmethod
    def dry_run(cls, config: Config, folder: Path) -> Iterable[str]:
        """What a run with this configuration would do, in lines for people; nothing may be changed.

        ``cyclone run --dry-run`` prints them. Raises ConfigError, here because the generator knows nothing of it.
        """
        raise ConfigError(f"{cls.__name__} cannot tell what it would do: it defines no dry_run()")

    def option(self, section: str, key: str, default: str | None = None) -> str:
        """``config[section][key]``, or the default; without one, ConfigError for what is missing or empty."""
        value = self.config.get(section, {}).get(key, "")
        if value:
            return value
        if default is None:
            raise ConfigError(f"[{section}] {key} is missing or empty: {type(self).__name__} needs it")
        return default

    def integer_option(self, section: str, key: str, default: int | None = None, *, at_least: int = 0) -> int:
        """An option that is a whole number."""
        text = self.option(section, key, None if default is None else str(default))
        try:
            number = int(text)
        except ValueError:
            number = at_least - 1
        if number < at_least:
            raise ConfigError(f"[{section}] {key} = {text}: expected a whole number of at least {at_least}")
        return number

    def duration_option(self, section: str, key: str, default: str | None = None) -> float:
        """An option that is a duration such as ``1h30m`` or ``500ms``, in seconds."""
        text = self.option(section, key, default)
        try:
            return parse_duration(text)
        except ValueError as error:
            raise ConfigError(f"[{section}] {key} = {text}: {error}") from None

    def switch_option(self, section: str, key: str, default: bool) -> bool:
        """An option that is yes or no."""
        text = self.option(section, key, "yes" if default else "no")
        try:
            return bool(SWITCH.read(text))
        except ValueError as error:
            raise ConfigError(f"[{section}] {key} = {text}: {error}") from None

    def range_option(
        self, section: str, key: str, default: str | None = None, *, hexadecimal: bool = False
    ) -> list[int]:
        """An option that is a set of numbers such as ``0-2,5`` or ``0x0-0x1f``, ascending; [] where the default is ''.

        ``hexadecimal`` has numbers without ``0x`` or ``OST`` read so too.
        """
        text = self.option(section, key, default)
        try:
            return range_set(text, hexadecimal) if text else []
        except ValueError as error:
            raise ConfigError(f"[{section}] {key} = {text}: {error}") from None

    def node_option(self, section: str, key: str, default: str | None = None) -> list[str]:
        """An option that is a set of nodes such as ``node[001-176]`` or ``@group``; [] where the default is ''."""
        text = self.option(section, key, default)
        try:
            return node_set(text) if text else []
        except ValueError as error:
            raise ConfigError(f"[{section}] {key} = {text}: {error}") from None

    def path_option(self, section: str, key: str) -> Path:
        """An option that is an existing file or folder, absolute.

        A relative one is looked for in the configuration file's folder, then in the working directory.
        """
        text = self.option(section, key)
        candidates = [base / Path(text).expanduser() for base in (self.folder.absolute(), Path.cwd())]
        # Unlike Path.exists, this is False also below a folder that may not be entered.
        found = next((path for path in candidates if os.path.exists(path)), None)  # noqa: PTH110
        if found is None:
            looked = " nor ".join(dict.fromkeys(map(str, candidates)))
            raise ConfigError(f"[{section}] {key} = {text}: there is no {looked}")
        return found

    def task_option(self, section: str, key: str, default: str, *, properties: int) -> type[BaseTask]:
        """An option that is the ``module:Class`` of a task that so many properties are enough for."""
        import inspect

        path = self.option(section, key, default)
        try:
            task_class = load_class(path, BaseTask)
        except PluginError as error:
            raise ConfigError(f"[{section}] {key} = {path}: {error}") from error
        try:
            inspect.signature(task_class).bind(*[None] * properties)
        except TypeError:
            raise ConfigError(
                f"[{section}] {key} = {path}: its constructor takes {inspect.signature(task_class)}, "
                f"{type(self).__name__} gives it {properties} properties in order"
            ) from None
        return task_class
