"""LinesTaskGenerator: a task for each line of a file or of standard input, as xargs and GNU parallel do.

The section [lines] has:

- ``file``: a path, or ``-`` for standard input
- ``separator``: ``newline``, which is the default, or ``nul``, as ``find -print0`` writes it
- ``command``: for the shell, such as ``gzip -k {}``; {} becomes the line, quoted already; without {} it goes to the end
- ``task``: instead of a command, ``module:Class`` of a task that is made with the line

With neither ``command`` nor ``task``, each line is itself a command for the shell.
"""

import io
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from cyclone import BaseTask, BaseTaskGenerator
from cyclone.errors import ConfigError
from cyclone.generator import Config
from tasks.command import CommandTask

_SEPARATORS = {"newline": b"\n", "nul": b"\0"}
_BLOCK_BYTES = 64 * 1024
_LINE_BYTES_MAX = 1024 * 1024


class LinesTaskGenerator(BaseTaskGenerator):
    """Yields a task for each line that is not empty, as the lines arrive. Lines need not be UTF-8."""

    def __init__(self, config: Config, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        separator = self.option("lines", "separator", "newline")
        if separator not in _SEPARATORS:
            raise ConfigError(f"[lines] separator = {separator}: expected {' or '.join(_SEPARATORS)}")
        self.separator = _SEPARATORS[separator]
        # 0 is the descriptor of standard input.
        self.file = 0 if self.option("lines", "file") == "-" else self.path_option("lines", "file")
        if isinstance(self.file, Path) and self.file.is_dir():
            raise ConfigError(f"[lines] file = {self.file}: is a folder; task_generators.directory is for those")
        self.make_task = self._task_maker()

    def generate(self) -> Iterator[BaseTask]:
        with open(self.file, "rb", closefd=self.file != 0) as file:
            for line in _split(file, self.separator):
                if line:
                    yield self.make_task(line.decode("utf-8", "surrogateescape"))

    def _task_maker(self) -> Callable[[str], BaseTask]:
        command = self.option("lines", "command", "")
        if not command:
            return self.task_option("lines", "task", "tasks.command:CommandTask", properties=1)
        if self.option("lines", "task", ""):
            raise ConfigError("[lines] command and task: give one of them")
        template = command if "{}" in command else command + " {}"
        return lambda line: CommandTask(template.replace("{}", shlex.quote(line)))


def _split(file: io.BufferedReader, separator: bytes) -> Iterator[bytes]:
    """The pieces between separators, each as soon as it is there; ValueError for one that never seems to end."""
    rest = b""
    while block := file.read1(_BLOCK_BYTES):
        *whole, rest = (rest + block).split(separator)
        yield from whole
        if len(rest) > _LINE_BYTES_MAX:
            raise ValueError(f"[lines] file: a line of more than {_LINE_BYTES_MAX} bytes; is the separator right?")
    yield rest
