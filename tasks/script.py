"""ScriptTask: a script that is sent with the job, run for each entry by what its first line names."""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclone import BaseTask
from cyclone.programs.command import (
    GRACE_S,
    OUTPUT_BYTES,
    Command,
    CommandNotFound,
    check_command,
    command_name,
)
from cyclone.programs.interpreter import interpreter
from cyclone.programs.invocation import environment, filled, variables

_NAME_BYTES_MAX = 255


class ScriptTask(BaseTask):
    """Runs a script in a process of its own, with ``arguments``, and returns exit code and output.

    ``name`` is what the file is called, ``source`` is what is in it, as text or bytes. A first line such as
    ``#!/bin/bash -e`` says what runs it, as the kernel reads it; without one it is a script of Python, which the
    worker's runs. Standard input, output, grace, placeholders in the arguments, ``entry``, ``index``, the environment
    and the value are those of ``tasks.job_command.JobCommand``. Where a job shares name and source, each of its workers
    writes the file once, into a folder that only its user can read. Raises CommandFailed; CommandNotFound in the set-up
    where the node has no such interpreter; ValueError for impossible properties.
    """

    def __init__(
        self,
        name: str,
        source: str | bytes,
        stdin: str | bytes | None = None,
        output_bytes_max: int = OUTPUT_BYTES,
        grace: float = GRACE_S,
        arguments: list[str] | None = None,
        entry: Any = None,
        index: int | None = None,
    ) -> None:
        if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > _NAME_BYTES_MAX:
            raise ValueError(f"{name!r} is no name for a script: expected that of a file, without its folder")
        check_command([name, *(arguments or ())], output_bytes_max)
        try:
            self._interpreter = interpreter(source) or [sys.executable]
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        self.name = name
        self.source = source
        self.stdin = stdin
        self.output_bytes_max = output_bytes_max
        self.grace = grace
        self.arguments = arguments
        self.entry = entry
        self.index = index
        self._folder: Path | None = None

    @classmethod
    def prepared(cls, shared: tuple[Any, ...]) -> Callable[..., BaseTask]:
        return _SameFolder(cls, shared)

    def setup(self) -> None:
        """Write the script, unless another task of this job has."""
        program = self._interpreter[0]
        if shutil.which(program) is None:
            raise CommandNotFound(f"{self.name} cannot be started: its interpreter {program} is not on this node")
        script = self._script()
        if not script.exists():
            source = self.source
            new = script.with_name(".new")  # a disk may be full: half a script must not be run
            new.write_bytes(source.encode("utf-8", "surrogateescape") if isinstance(source, str) else source)
            new.chmod(0o700)  # for scripts that call themselves
            new.replace(script)

    def execute(self) -> dict[str, Any]:
        told = variables(self.entry, self.index)
        arguments = filled(list(self.arguments or []), told)
        ended = Command(
            [*self._interpreter, str(self._script()), *arguments],
            environment(told),
            stdin=self.stdin,
            output_bytes_max=self.output_bytes_max,
            grace_s=self.grace,
            called=command_name([self.name, *arguments]),
        ).run()
        ended.check()
        return ended.value()

    def _script(self) -> Path:
        return (self._folder or self.scratch_dir) / self.name


class _SameFolder:
    """Makes the tasks of one job in one worker; the folder of their script lives as long as this."""

    def __init__(self, task_class: type[ScriptTask], shared: tuple[Any, ...]) -> None:
        self._task_class = task_class
        self._shared = shared
        where = BaseTask.current.worker_dir
        self._folder = tempfile.TemporaryDirectory(prefix="script-", dir=where) if len(shared) > 1 else None

    def __call__(self, *own: Any) -> ScriptTask:
        task = self._task_class(*self._shared, *own)
        task._folder = Path(self._folder.name) if self._folder else None
        return task
