"""BundleTask: a program in any language that travels as an archive, and talks by files.

docs/bundles.md is the contract for those who write such programs.
"""

import os
import shutil
import stat
from pathlib import Path
from typing import Any

from cyclone import BaseTask
from cyclone.bundles import BundleError
from cyclone.bundles.fetching import shown
from cyclone.bundles.store import BundleStore, Lease, meant
from cyclone.errors import CycloneError
from cyclone.programs.command import (
    OUTPUT_BYTES,
    Command,
    CommandNotExecutable,
    CommandNotFound,
    Kept,
    check_command,
    command_name,
    end_of,
)
from cyclone.programs.invocation import entry_bytes, environment, filled, variables

OUTPUT_BYTES_MAX = 2 * 1024 * 1024
"""How much a program may leave in ``output``: with all else in its value it still fits a result."""

FAILED_OUTPUT_BYTES_MAX = 1024 * 1024
"""How much of it is kept of a task that failed: with all else it still fits the records of a task."""

_COMMAND = ["run"]


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
    CommandNotFound, ValueError. After that it is CommandFailed for any exit code but 0, or OutputUnusable; what the
    program has printed and left by then is kept, of ``output`` FAILED_OUTPUT_BYTES_MAX. Properties that are impossible
    wherever the task runs are refused where it is made: BundleError, ValueError.
    """

    def __init__(self, url: str, sha256: str = "", command: str | list[str] | None = None, entry: Any = None) -> None:
        if command is not None:
            check_command(command)
        meant(url, sha256)
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
        left = _Left(folder)
        ended.check(end_of("its file 'error'", left.files["error"].head), left.by_a_failure())
        if left.files["output"].truncated:
            left.fault = f"{command_name(self._program)} left more than {OUTPUT_BYTES_MAX} bytes in 'output'"
        if left.fault:
            ended.keep(left.by_a_failure())
            raise OutputUnusable(left.fault)
        return {**left.value(), **ended.value()}

    def _told(self, bundle: Path) -> dict[str, str]:
        folder = self.scratch_dir
        files = {"INPUT": folder / "input", "OUTPUT": folder / "output", "LOG": folder / "log"}
        files |= {"ERROR_FILE": folder / "error", "BUNDLE": bundle}
        return variables(self.entry) | {f"CYCLONE_{name}": str(path) for name, path in files.items()}

    def _environment(self, bundle: Path) -> dict[str, str]:
        around = environment(self._told(bundle))
        return around | {"PATH": os.pathsep.join([str(bundle), around.get("PATH", os.defpath)])}

    def _found_in(self, bundle: Path) -> str | list[str]:
        """The command, with its placeholders filled in, and its program where that is."""
        command = filled(_COMMAND if self.command is None else self.command, self._told(bundle))
        if isinstance(command, str):
            return command
        name, of = command[0], f"of the bundle {shown(self.url)}"
        own, is_own = bundle / name, not Path(name).is_absolute()
        is_there = own.is_file() and (not is_own or own.resolve().is_relative_to(bundle.resolve()))
        program = shutil.which(str(own) if is_there else name, path=self._environment(bundle)["PATH"])
        if program is None and is_there:
            raise CommandNotExecutable(f"{name} {of if is_own else 'of this host'} is not executable")
        # A relative one is none: it would be started in the folder of the task, and looked for there.
        if program is None or not Path(program).is_absolute():
            raise CommandNotFound(f"{name} is a program neither {of} nor of this host")
        return [program, *command[1:]]


class _SameStore:
    """Makes the tasks of one job in one worker, which need not look at their bundle anew each time."""

    def __init__(self, task_class: type[BundleTask], shared: tuple[Any, ...]) -> None:
        self._task_class = task_class
        self._shared = shared
        self._store = BundleStore()

    def __call__(self, *own: Any) -> "BundleTask | _Impossible":
        try:
            task = self._task_class(*self._shared, *own)
        except (BundleError, ValueError) as error:
            return _Impossible(error)
        task._store = self._store
        return task


class _Impossible:
    """Stands for a task that cannot be made of its properties: its set-up fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def setup(self) -> None:
        raise self._error

    def execute(self) -> None:
        raise self._error


class _Left:
    """What the program has left: the beginning of each file, b'' for none. ``fault`` says why one is of no use."""

    def __init__(self, folder: Path) -> None:
        self.fault = ""
        self.files = {
            "output": self._read(folder / "output", OUTPUT_BYTES_MAX),
            "log": self._read(folder / "log", OUTPUT_BYTES),
            "error": self._read(folder / "error", OUTPUT_BYTES),
        }

    def by_a_failure(self) -> dict[str, Kept]:
        """What is kept of it where the task fails: not all of its output has room there."""
        output = self.files["output"]
        return self.files | {"output": output._replace(head=output.head[:FAILED_OUTPUT_BYTES_MAX])}

    def value(self) -> dict[str, Any]:
        """What the task returns of it."""
        truncated = {f"{name}_truncated": self.files[name].truncated for name in ("log", "error")}
        return {name: _value(kept.head) for name, kept in self.files.items()} | truncated

    def _read(self, path: Path, bytes_max: int) -> Kept:
        nothing = Kept(b"", 0)
        try:
            # Whatever it has made of that name: it must not hang, and nothing else must be read instead.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return nothing
        except OSError as error:
            self.fault = f"what the program has left as {path.name!r} cannot be read: {error.strerror}"
            return nothing
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            self.fault = f"what the program has left as {path.name!r} is no file"
            return nothing
        with os.fdopen(descriptor, "rb") as file:
            head = file.read(bytes_max)
            # Only now: somebody whom the program has left behind may still write.
            return Kept(head, os.fstat(descriptor).st_size)


def _value(content: bytes) -> str | bytes:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content
