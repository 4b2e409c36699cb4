"""BundleTask: a program in any language that travels as an archive, and talks by files.

docs/bundles.md is the contract for those who write such programs.
"""

import os
import shutil
import stat
from pathlib import Path
from typing import Any

from cyclone import BaseTask
from cyclone.bundles.store import BundleStore, Lease
from cyclone.errors import CycloneError
from cyclone.programs.command import (
    OUTPUT_BYTES,
    Command,
    CommandNotExecutable,
    CommandNotFound,
    check_command,
    command_name,
    end_of,
)
from cyclone.programs.invocation import entry_bytes, environment, filled, variables

OUTPUT_BYTES_MAX = 2 * 1024 * 1024
"""How much a program may leave in ``output``: with all else in its value it still fits a result."""

_COMMAND = ["run"]
# Half of what the kernel takes (execve(2), MAX_ARG_STRLEN); a larger entry is in the file alone.
_VARIABLE_BYTES_MAX = 64 * 1024


class OutputUnusable(CycloneError):
    """What the program has left as its output is no file, or too much."""


class BundleTask(BaseTask):
    """Runs a program out of a bundle for an entry, and returns what it leaves in its file ``output``.

    ``url`` is the bundle: a path, or a URL of file, http or https, of a zip or tar file. ``sha256`` is its checksum; of
    a file on this host it may be '', and then is whatever it is when the task runs. Each host brings it once, unpacks
    it, and keeps it as long as there is room (``cyclone.bundles.store``).

    ``command`` is an argument list, or a string for the shell, or None for the program ``run``; programs of the
    bundle are found before those on PATH. It runs in a private folder in which ``input`` is the ``entry`` (text or
    bytes as they are, all else as JSON), and may leave ``output``, ``log`` and ``error`` there. Besides the
    environment and the placeholders of ``tasks.job_command.JobCommand`` it has CYCLONE_BUNDLE and ``{bundle}``, the
    folder of the bundle, and CYCLONE_INPUT, CYCLONE_OUTPUT, CYCLONE_LOG and CYCLONE_ERROR_FILE.

    The value is ``{"output", "log", "error", "log_truncated", "error_truncated"}`` and what JobCommand has: text, or
    bytes where it is not UTF-8. Whatever fails before the program runs is a set-up failure: BundleError,
    CommandNotFound. After that it is CommandFailed for any exit code but 0, or OutputUnusable.
    """

    def __init__(self, url: str, sha256: str = "", command: str | list[str] | None = None, entry: Any = None) -> None:
        if command is not None:
            check_command(command)
        self.url = url
        self.sha256 = sha256
        self.command = command
        self.entry = entry
        self._store: BundleStore | None = None
        self._lease: Lease | None = None
        self._program: str | list[str] = []

    @classmethod
    def prepared(cls, shared: tuple[Any, ...]) -> "_SameStore":
        return _SameStore(cls, shared)

    def setup(self) -> None:
        """Have the bundle here, and the input."""
        self._lease = (self._store or BundleStore()).lend(self.url, self.sha256)
        try:
            self._program = self._found_in(self._lease.folder)
            (self.scratch_dir / "input").write_bytes(entry_bytes(self.entry))
        except BaseException:
            self._lease.release()
            raise

    def execute(self) -> dict[str, Any]:
        assert self._lease is not None, "setup() is owed"
        folder = self.scratch_dir
        try:
            ended = Command(self._program, self._environment(self._lease.folder), str(folder)).run()
        finally:
            self._lease.release()
        log, log_truncated = _left(folder / "log")
        error, error_truncated = _left(folder / "error")
        ended.check(end_of("its file 'error'", error), log=log, error=error)
        output, is_too_much = _left(folder / "output", OUTPUT_BYTES_MAX)
        if is_too_much:
            raise OutputUnusable(f"{command_name(self._program)} left more than {OUTPUT_BYTES_MAX} bytes in 'output'")
        files = {"output": _value(output), "log": _value(log), "error": _value(error)}
        return {**files, "log_truncated": log_truncated, "error_truncated": error_truncated, **ended.value()}

    def _told(self, bundle: Path) -> dict[str, str]:
        folder = self.scratch_dir
        files = {"INPUT": folder / "input", "OUTPUT": folder / "output", "LOG": folder / "log"}
        files |= {"ERROR_FILE": folder / "error", "BUNDLE": bundle}
        return variables(self.entry if _fits_a_variable(self.entry) else None) | {
            f"CYCLONE_{name}": str(path) for name, path in files.items()
        }

    def _environment(self, bundle: Path) -> dict[str, str]:
        around = environment(self._told(bundle))
        return around | {"PATH": os.pathsep.join([str(bundle), around.get("PATH", os.defpath)])}

    def _found_in(self, bundle: Path) -> str | list[str]:
        """The command, with its placeholders filled in, and its program where that is."""
        command = filled(_COMMAND if self.command is None else self.command, self._told(bundle))
        if isinstance(command, str):
            return command
        own = bundle / command[0]
        program = shutil.which(str(own) if own.is_file() else command[0], path=self._environment(bundle)["PATH"])
        if program is None and own.is_file():
            raise CommandNotExecutable(f"{command[0]} of the bundle {self.url} is not executable")
        if program is None:
            raise CommandNotFound(f"{command[0]} is a program neither of the bundle {self.url} nor of this host")
        return [program, *command[1:]]


class _SameStore:
    """Makes the tasks of one job in one worker, which need not look at their bundle anew each time."""

    def __init__(self, task_class: type[BundleTask], shared: tuple[Any, ...]) -> None:
        self._task_class = task_class
        self._shared = shared
        self._store = BundleStore()

    def __call__(self, *own: Any) -> BundleTask:
        task = self._task_class(*self._shared, *own)
        task._store = self._store
        return task


def _fits_a_variable(entry: Any) -> bool:
    content = entry_bytes(entry)
    return len(content) <= _VARIABLE_BYTES_MAX and b"\0" not in content


def _left(path: Path, bytes_max: int = OUTPUT_BYTES) -> tuple[bytes, bool]:
    """The beginning of a file that the program has left, b'' for none, and whether there is more."""
    try:
        # Whatever it has made of that name: it must not hang, and nothing else must be read instead.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b"", False
    except OSError as error:
        raise OutputUnusable(f"what the program has left as {path.name!r} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OutputUnusable(f"what the program has left as {path.name!r} is no file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(bytes_max + 1)
    return content[:bytes_max], len(content) > bytes_max


def _value(content: bytes) -> str | bytes:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content
