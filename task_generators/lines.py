"""LinesTaskGenerator: a task for each line of a file or of standard input, as xargs and GNU parallel do.

The section [lines] has:

- ``file``: a path, or ``-`` for standard input
- ``separator``: ``newline``, which is the default, or ``nul``, as ``find -print0`` writes it
- ``command``: for the shell, such as ``gzip -k {}``; {} becomes the line, quoted already; without {} it goes to the end
- ``task``: instead of a command, ``module:Class`` of a task that is made with the line

With neither ``command`` nor ``task``, each line is itself a command for the shell.

After a crash it goes on behind the last line that became a task, so the file must still be there, and unchanged up to
that place. A pipe cannot be read again: what is to survive a crash should come from a file.
"""

import contextlib
import io
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
        self.offset = self._beginning()
        """Where the next line begins in the file."""
        self.lines = 0
        self.resumed = self.read_all = False

    def generate(self) -> Iterator[BaseTask]:
        if self.read_all:
            return
        with open(self.file, "rb", closefd=self.file != 0) as file:
            if self.resumed:
                self._go_on(file)
            for line, length in _split(file, self.separator):
                self.offset += length
                self.lines += 1
                if line:
                    yield self.make_task(line.decode("utf-8", "surrogateescape"))
        self.read_all = True

    def cursor(self) -> list[Any]:
        return [self.offset, self.lines, self.read_all]

    def resume(self, cursor: list[Any]) -> None:
        self.offset, self.lines, self.read_all = cursor
        self.resumed = True

    def _beginning(self) -> int:
        if self.file == 0:
            # Where it is no pipe, some of it may have been read by others.
            with contextlib.suppress(OSError):
                return os.lseek(0, 0, os.SEEK_CUR)
        return 0

    def _go_on(self, file: io.BufferedReader) -> None:
        """Go to the next line. Raises ConfigError where it cannot be known where that is."""
        place = f"[lines] file = {self.option('lines', 'file')}"
        if not file.seekable():
            raise ConfigError(
                f"{place}: is a pipe, of which {self.lines} lines had been read before the crash, and cannot be read "
                "again: begin a new run, and put the lines into a file if it must survive one"
            )
        size = file.seek(0, os.SEEK_END)
        if size < self.offset or not (self.offset in (0, size) or self._ends_before(file, self.offset)):
            raise ConfigError(
                f"{place}: has changed since the run began: its line {self.lines} ended at byte {self.offset}, and no "
                f"line of its {size} bytes does so now: begin a new run"
            )
        file.seek(self.offset)

    def _ends_before(self, file: io.BufferedReader, offset: int) -> bool:
        file.seek(offset - 1)
        return file.read(1) == self.separator

    def _task_maker(self) -> Callable[[str], BaseTask]:
        command = self.option("lines", "command", "")
        if not command:
            return self.task_option("lines", "task", "tasks.command:CommandTask", properties=1)
        if self.option("lines", "task", ""):
            raise ConfigError("[lines] command and task: give one of them")
        template = command if "{}" in command else command + " {}"
        return lambda line: CommandTask(template.replace("{}", shlex.quote(line)))


def _split(file: io.BufferedReader, separator: bytes) -> Iterator[tuple[bytes, int]]:
    """The pieces between separators, each as soon as it is there, and how many bytes of the file it takes.

    Raises ValueError for one that never seems to end.
    """
    rest = b""
    while block := file.read1(_BLOCK_BYTES):
        *whole, rest = (rest + block).split(separator)
        for piece in whole:
            yield piece, len(piece) + 1
        if len(rest) > _LINE_BYTES_MAX:
            raise ValueError(f"[lines] file: a line of more than {_LINE_BYTES_MAX} bytes; is the separator right?")
    yield rest, len(rest)
