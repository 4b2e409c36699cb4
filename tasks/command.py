"""CommandTask: any executable as a task.

The command leads a session of its own, so that it and all that it starts can be ended together: when it is over, when
its time limit is, and when the worker is told to end the task. It dies with the worker; what a shell has started by
then, and what has left the session, Cyclone finds by the environment that it inherited.
"""

import codecs
import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import IO, Any

from cyclone import BaseTask
from cyclone.processes import die_with_parent

OUTPUT_BYTES_MAX = 512 * 1024
"""The most that may be kept of each output: both together stay below what a result may hold, however encoded."""

_BLOCK_BYTES = 64 * 1024
_TAIL_BYTES = 2048
_NAME_CHARS = 200
# What a pipe can hold, unless root has raised it: no more of a command's own output is left in it when it has ended.
_PIPE_BYTES_MAX = 1024 * 1024


class CommandFailed(Exception):
    """The command could not be started, ended with another exit code than 0, or was killed by a signal."""


class CommandTimedOut(CommandFailed):
    """The command did not end within its own time limit."""


class CommandTask(BaseTask):
    """Runs a command and returns its exit code and output.

    ``command`` is an argument list, or a string for the shell. ``stdin`` is text or bytes for its standard input, which
    is empty otherwise. ``time_limit`` and ``grace`` are seconds: after the first, the command and all of its process
    group get SIGTERM, after the second SIGKILL. ``environment`` is put over the worker's, and over both
    CYCLONE_TASK_ID, CYCLONE_ATTEMPT and CYCLONE_TASK_DIR, a folder that is removed after the task. Of standard output
    and standard error the first ``output_bytes_max`` bytes each are kept.

    The value is ``{"exit_code", "stdout", "stderr", "stdout_bytes", "stderr_bytes", "stdout_truncated",
    "stderr_truncated"}``: text (bytes that are not UTF-8 as Python's surrogate escapes), how many bytes there were in
    all, and whether some were left out. With ``check``, any exit code but 0 is a failure; without, that of a signal is
    its negative number. Raises CommandFailed, CommandTimedOut; ValueError for impossible properties.
    """

    def __init__(
        self,
        command: str | list[str],
        stdin: str | bytes | None = None,
        time_limit: float | None = None,
        cwd: str | None = None,
        environment: dict[str, str] | None = None,
        output_bytes_max: int = 64 * 1024,
        check: bool = True,
        grace: float = 5.0,
    ) -> None:
        if not command:
            raise ValueError("the command is empty")
        if not 0 <= output_bytes_max <= OUTPUT_BYTES_MAX:
            raise ValueError(f"output_bytes_max is {output_bytes_max}: expected 0 to {OUTPUT_BYTES_MAX}")
        self.command = command
        self.stdin = stdin
        self.time_limit = time_limit
        self.cwd = cwd
        self.environment = environment
        self.output_bytes_max = output_bytes_max
        self.check = check
        self.grace = grace

    def execute(self) -> dict[str, Any]:
        with self._start() as process:
            assert process.stdout is not None and process.stderr is not None
            stdout = _Output(process.stdout, self.output_bytes_max)
            stderr = _Output(process.stderr, self.output_bytes_max)
            feed = None if process.stdin is None else _Input(process.stdin, self.stdin or b"")
            try:
                in_time = _attend(process, stdout, stderr, feed, self.time_limit)
                if not in_time:
                    _end(process, stdout, stderr, self.grace)
            except BaseException:
                # The worker was told to end this task, and has a grace itself.
                _end(process, stdout, stderr, self.grace)
                raise
            finally:
                # It has not been waited for yet, so that the group's number cannot belong to anything else.
                _signal_group(process, signal.SIGKILL)
            stdout.drain()
            stderr.drain()
        if not in_time:
            raise CommandTimedOut(f"{self._name()} ran longer than its time limit of {self.time_limit} s{stderr.end()}")
        if self.check and process.returncode:
            raise CommandFailed(f"{self._name()} {_how_it_ended(process.returncode)}{stderr.end()}")
        return {
            "exit_code": process.returncode,
            "stdout": stdout.text(),
            "stderr": stderr.text(),
            "stdout_bytes": stdout.total_bytes,
            "stderr_bytes": stderr.total_bytes,
            "stdout_truncated": stdout.truncated,
            "stderr_truncated": stderr.truncated,
        }

    def _start(self) -> subprocess.Popen[bytes]:
        worker_pid = os.getpid()
        context = {
            "CYCLONE_TASK_ID": str(self.task_id),
            "CYCLONE_ATTEMPT": str(self.attempt),
            "CYCLONE_TASK_DIR": str(self.scratch_dir),
        }
        try:
            return subprocess.Popen(
                self.command,
                shell=isinstance(self.command, str),
                bufsize=0,
                stdin=subprocess.DEVNULL if self.stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self.cwd,
                env={**os.environ, **(self.environment or {}), **context},
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(worker_pid),
            )
        except OSError as error:
            if self.cwd is not None and error.filename == self.cwd:
                raise CommandFailed(f"{self._name()} cannot start in {self.cwd}: {error.strerror}") from error
            raise CommandFailed(f"{self._name()} cannot be started: {error.filename}: {error.strerror}") from error

    def _name(self) -> str:
        name = self.command if isinstance(self.command, str) else shlex.join(self.command)
        return name if len(name) <= _NAME_CHARS else name[:_NAME_CHARS] + "..."


class _Output:
    """One output of the command: its beginning is kept, its end for messages, the rest is counted."""

    def __init__(self, pipe: IO[bytes], bytes_max: int) -> None:
        os.set_blocking(pipe.fileno(), False)
        self.pipe = pipe
        self.total_bytes = 0
        self._bytes_max = bytes_max
        self._head = bytearray()
        self._tail = b""

    @property
    def truncated(self) -> bool:
        return self.total_bytes > len(self._head)

    def read(self) -> bool:
        """Take a block; False at the end. BlockingIOError where there is none now."""
        block = os.read(self.pipe.fileno(), _BLOCK_BYTES)
        self.total_bytes += len(block)
        self._head += block[: self._bytes_max - len(self._head)]
        self._tail = (self._tail + block)[-_TAIL_BYTES:]
        return bool(block)

    def drain(self) -> None:
        """Take what is in the pipe already; somebody who left the group may write on for ever."""
        enough = self.total_bytes + _PIPE_BYTES_MAX
        with contextlib.suppress(BlockingIOError):
            while self.total_bytes < enough and self.read():
                pass

    def text(self) -> str:
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        # A character that the cap has cut in two is left out.
        return decoder.decode(bytes(self._head), final=not self.truncated)

    def end(self) -> str:
        """The last lines, as the end of a message."""
        text = self._tail.decode("utf-8", "backslashreplace").strip()
        return f"; standard error ends with:\n{text}" if text else ""


class _Input:
    """The command's standard input, written as fast as it is read."""

    def __init__(self, pipe: IO[bytes], data: str | bytes) -> None:
        os.set_blocking(pipe.fileno(), False)
        self.pipe = pipe
        self._rest = memoryview(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)

    def write(self) -> bool:
        """Write what the pipe takes; False when nothing is left, or nobody reads any more."""
        with contextlib.suppress(BrokenPipeError):
            self._rest = self._rest[os.write(self.pipe.fileno(), self._rest[:_BLOCK_BYTES]) :]
            if self._rest:
                return True
        self.pipe.close()
        return False


def _attend(
    process: subprocess.Popen[bytes],
    stdout: _Output,
    stderr: _Output,
    feed: _Input | None,
    time_s: float | None,
    whole_group: bool = False,
) -> bool:
    """Serve the pipes until the command has ended; False if not in time.

    With ``whole_group`` until all have ended who hold its pipes.
    """
    deadline_s = None if time_s is None else time.monotonic() + time_s
    with selectors.DefaultSelector() as selector, _pidfd(process.pid) as ended:
        selector.register(ended, selectors.EVENT_READ)
        for output in (stdout, stderr):
            selector.register(output.pipe, selectors.EVENT_READ, output.read)
        if feed is not None:
            selector.register(feed.pipe, selectors.EVENT_WRITE, feed.write)
        while ended in selector.get_map() or (whole_group and selector.get_map()):
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return False
            for key, _ in selector.select(left_s):
                if key.fd == ended or not key.data():
                    selector.unregister(key.fileobj)
    return True


def _end(process: subprocess.Popen[bytes], stdout: _Output, stderr: _Output, grace_s: float) -> None:
    """Ask the command's group to end, and give it some time."""
    _signal_group(process, signal.SIGTERM)
    _attend(process, stdout, stderr, None, grace_s, whole_group=True)


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int]:
    """A descriptor that becomes readable when the process has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # PermissionError: the command has become another user, as sudo does; then it can only be waited for.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _how_it_ended(exit_code: int) -> str:
    if exit_code > 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was killed by signal {-exit_code}"
