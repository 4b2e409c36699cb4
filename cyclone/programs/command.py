"""One command of a user's, run to its end: what every task that is a program goes through.

Owns the process from its start to its end. The command leads a session of its own, so that it and all that it starts
can be ended together: when it is over, when its time limit is, and when the worker is told to end the task. It dies
with the worker; what a shell has started by then, and what has left the session, Cyclone finds by the environment that
it inherited. Its caller owes the complete environment, and calls from the main thread, which it dies with.
"""

import codecs
import contextlib
import os
import re
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, NamedTuple

from cyclone.errors import CycloneError
from cyclone.processes import die_with_parent, sigterm_held
from cyclone.protocol.messages import OUTPUT_RECORD, STDERR, STDOUT

OUTPUT_BYTES_MAX = 512 * 1024
"""The most that may be kept of each output: both together stay below what a result may hold, however encoded."""

OUTPUT_BYTES = 64 * 1024
"""What is kept of each output where nobody says more."""

GRACE_S = 5.0
"""How long a command has to end after SIGTERM, before SIGKILL, where nobody says otherwise."""

_BLOCK_BYTES = 64 * 1024
_TAIL_BYTES = 2048
_NAME_CHARS = 200
# What a pipe can hold, unless root has raised it: no more of a command's own output is left in it when it has ended.
_PIPE_BYTES_MAX = 1024 * 1024
# What a shell and env(1) end with for a command that is not there, and for one that is no program.
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
# timeout(1)
_TIMED_OUT = 124
_END = re.compile(r".*?(?: ended with exit code (\d+)| was killed by (?:signal (\d+)|(SIG\w+)))(?=;|\Z)", re.DOTALL)


class CommandFailed(CycloneError):
    """The command could not be started, ended with another exit code than 0, or was killed by a signal."""


class CommandNotFound(CommandFailed):
    """There is no such command, or a shell said so by exit code 127."""


class CommandNotExecutable(CommandFailed):
    """There is such a file, but it is no program for this user, or a shell said so by exit code 126."""


class CommandTimedOut(CommandFailed):
    """The command did not end within its own time limit."""


@dataclass(frozen=True)
class Command:
    """What is to be run: an argument list, or a string for the shell, with all that it finds around it.

    ``time_limit_s`` and ``grace_s``: after the first, the command and all of its process group get SIGTERM, after the
    second SIGKILL. Of each output the first ``output_bytes_max`` bytes are kept. ``called`` is how messages tell it,
    where that is not the command itself. ValueError for impossible values.
    """

    command: str | list[str]
    environment: Mapping[str, str]
    directory: str | None = None
    stdin: str | bytes | None = None
    output_bytes_max: int = OUTPUT_BYTES
    grace_s: float = GRACE_S
    time_limit_s: float | None = None
    called: str = ""

    def __post_init__(self) -> None:
        check_command(self.command, self.output_bytes_max)

    @property
    def name(self) -> str:
        """The command as messages tell it."""
        return self.called or command_name(self.command)

    def run(self) -> "Ended":
        """Run it to its end, whatever that is. Raises CommandFailed where it cannot be started, CommandTimedOut."""
        with sigterm_held() as release, self._start() as process:
            try:
                assert process.stdout is not None and process.stderr is not None
                stdout = Output(process.stdout, self.output_bytes_max, STDOUT)
                stderr = Output(process.stderr, self.output_bytes_max, STDERR)
                feed = None if process.stdin is None else _Input(process.stdin, self.stdin or b"")
                try:
                    release()
                    in_time = _attend(process, stdout, stderr, feed, self.time_limit_s)
                    if not in_time:
                        _end(process, stdout, stderr, self.grace_s)
                except BaseException:
                    # The worker was told to end this task, and has a grace itself.
                    _end(process, stdout, stderr, self.grace_s)
                    raise
            finally:
                # It has not been waited for yet, so that the group's number cannot belong to anything else.
                signal_group(process, signal.SIGKILL)
            stdout.drain()
            stderr.drain()
        if not in_time:
            end = stderr.end("standard error")
            raise CommandTimedOut(f"{self.name} ran longer than its time limit of {self.time_limit_s} s{end}")
        return Ended(self.name, process.returncode, stdout, stderr)

    def _start(self) -> subprocess.Popen[bytes]:
        return start(self.name, self.command, self.environment, self.directory, self.stdin is not None)


class Kept(NamedTuple):
    """The beginning of something that a command has left, and how long all of it is."""

    head: bytes
    total_bytes: int

    @property
    def truncated(self) -> bool:
        """Whether some was left out."""
        return self.total_bytes > len(self.head)


class Ended:
    """How a command has ended. ``exit_code`` is the negative number of the signal that it was killed by."""

    def __init__(self, name: str, exit_code: int, stdout: "Output", stderr: "Output") -> None:
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr
        self._name = name

    def check(self, said: str = "", files: Mapping[str, Kept] | None = None) -> None:
        """Raise CommandFailed for any exit code but 0, with ``said`` or else the end of what it printed.

        What was kept of its outputs, and of the ``files`` that it has left, is a record then: see ``keep``.
        """
        if self.exit_code:
            self.keep(files)
            said = said or self.stderr.end("standard error") or self.stdout.end("standard output")
            kinds = {_NOT_FOUND: CommandNotFound, _NOT_EXECUTABLE: CommandNotExecutable}
            raise kinds.get(self.exit_code, CommandFailed)(f"{self._name} {how_it_ended(self.exit_code)}{said}")

    def keep(self, files: Mapping[str, Kept] | None = None) -> None:
        """All that was kept of its outputs becomes a record of the task, ``OUTPUT_RECORD``, with the ``files`` that it
        has left, and how long each is of which not all was kept. For a task that fails, whose value nobody gets.
        """
        from cyclone.task import BaseTask
        from cyclone.values import encode

        kept: dict[str, Any] = {}
        for name, part in {"stdout": self.stdout.kept, "stderr": self.stderr.kept, **(files or {})}.items():
            kept[name] = part.head
            if part.truncated:
                kept |= {f"{name}_bytes": part.total_bytes, f"{name}_truncated": True}
        BaseTask.current.record(OUTPUT_RECORD, encode(kept))

    def value(self) -> dict[str, Any]:
        """What a task returns of it."""
        return {
            "exit_code": self.exit_code,
            "stdout": self.stdout.text(),
            "stderr": self.stderr.text(),
            "stdout_bytes": self.stdout.total_bytes,
            "stderr_bytes": self.stderr.total_bytes,
            "stdout_truncated": self.stdout.truncated,
            "stderr_truncated": self.stderr.truncated,
        }


class Output:
    """One output of a command: its beginning is kept, its end for messages, the rest is counted.

    All of it is passed on as it comes, as what the current task prints to ``stream``.
    """

    def __init__(self, pipe: IO[bytes], bytes_max: int, stream: int) -> None:
        from cyclone.task import BaseTask

        self._pass_on = partial(BaseTask.current.printed, stream)
        os.set_blocking(pipe.fileno(), False)
        self.pipe = pipe
        self.total_bytes = 0
        self._bytes_max = bytes_max
        self._head = bytearray()
        self._tail = b""

    @property
    def kept(self) -> Kept:
        """What was kept."""
        return Kept(bytes(self._head), self.total_bytes)

    @property
    def truncated(self) -> bool:
        """Whether some was left out."""
        return self.total_bytes > len(self._head)

    def read(self) -> bool:
        """Take a block; False at the end. BlockingIOError where there is none now."""
        block = os.read(self.pipe.fileno(), _BLOCK_BYTES)
        self.total_bytes += len(block)
        self._head += block[: self._bytes_max - len(self._head)]
        self._tail = (self._tail + block)[-_TAIL_BYTES:]
        if block:
            self._pass_on(block)
        return bool(block)

    def drain(self) -> None:
        """Take what is in the pipe already; somebody who left the group may write on for ever."""
        enough = self.total_bytes + _PIPE_BYTES_MAX
        with contextlib.suppress(BlockingIOError):
            while self.total_bytes < enough and self.read():
                pass

    def text(self) -> str:
        """What was kept; bytes that are not UTF-8 as Python's surrogate escapes."""
        return head_text(bytes(self._head), self.truncated)

    def end(self, name: str) -> str:
        """The last lines, as the end of a message."""
        return end_of(name, self._tail)


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


def check_command(command: str | list[str], output_bytes_max: int = OUTPUT_BYTES) -> None:
    """Refuse what could never be run: ValueError. For constructors, so that it is seen where the task is made."""
    if not command:
        raise ValueError("the command is empty")
    if not isinstance(command, str) and not all(isinstance(word, str) for word in command):
        raise ValueError(f"the command {command!r:.200} is neither text nor a list of text")
    if not 0 <= output_bytes_max <= OUTPUT_BYTES_MAX:
        raise ValueError(f"output_bytes_max is {output_bytes_max}: expected 0 to {OUTPUT_BYTES_MAX}")


def command_name(command: str | list[str]) -> str:
    """The command as messages tell it, cut where it is long."""
    name = command if isinstance(command, str) else shlex.join(command)
    return name if len(name) <= _NAME_CHARS else name[:_NAME_CHARS] + "..."


def head_text(head: bytes, truncated: bool) -> str:
    """The beginning of some output as text; a character that a cap has cut in two is left out."""
    return codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(head, final=not truncated)


def end_of(name: str, tail: bytes) -> str:
    """The last lines of some output or file, as the end of a message; '' where there is nothing to read."""
    text = tail[-_TAIL_BYTES:].decode("utf-8", "backslashreplace").strip()
    return f"; {name} ends with:\n{text}" if text else ""


def start(
    name: str,
    command: str | list[str],
    environment: Mapping[str, str],
    directory: str | None = None,
    has_input: bool = False,
) -> subprocess.Popen[bytes]:
    """A process with pipes, in a session of its own, that dies with us. Raises CommandFailed with the reason.

    SIGTERM has to be held until somebody can end it: one that arrives before would leave a process that nobody knows,
    or be lost in what Python does around a fork.
    """
    own_pid = os.getpid()

    def prepare() -> None:
        die_with_parent(own_pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    try:
        return subprocess.Popen(
            command,
            shell=isinstance(command, str),
            bufsize=0,
            stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=environment,
            start_new_session=True,
            preexec_fn=prepare,
        )
    except OSError as error:
        if directory is not None and error.filename == directory:
            raise CommandFailed(f"{name} cannot start in {directory}: {error.strerror}") from error
        kind: type[CommandFailed] = CommandFailed
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            kind = CommandNotFound
        elif isinstance(error, PermissionError | IsADirectoryError) or error.strerror == "Exec format error":
            kind = CommandNotExecutable
        raise kind(f"{name} cannot be started: {error.filename}: {error.strerror}") from error
    except ValueError as error:  # a NUL in an argument or in the environment
        raise CommandFailed(f"{name} cannot be started: {error}") from error


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the group that ``start`` has made. It must not have been waited for: its number may be another's then."""
    # PermissionError: the command has become another user, as sudo does; then it can only be waited for.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


@contextlib.contextmanager
def pidfd(pid: int) -> Iterator[int]:
    """A descriptor that becomes readable when the process has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def how_it_ended(exit_code: int) -> str:
    """'ended with exit code 3', 'was killed by SIGSEGV'."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was killed by signal {-exit_code}"


def exit_code_of(error_type: str, message: str) -> int | None:
    """What a shell would have as exit code of a command that a task failed with; None where it was no command's end.

    The two are those of the task's error record. 127 not found, 126 not executable, 124 timed out, 128 + n for a
    signal, else the command's own.
    """
    kind = error_type.rpartition(".")[2]
    known = {"CommandNotFound": _NOT_FOUND, "CommandNotExecutable": _NOT_EXECUTABLE, "CommandTimedOut": _TIMED_OUT}
    if kind in known:
        return known[kind]
    found = _END.match(message) if kind == CommandFailed.__name__ else None
    if found is None:
        return None
    code, number, name = found.groups()
    if code:
        return int(code)
    return 128 + (int(number) if number else signal.Signals[name])


def _attend(
    process: subprocess.Popen[bytes],
    stdout: Output,
    stderr: Output,
    feed: _Input | None,
    time_s: float | None,
    whole_group: bool = False,
) -> bool:
    """Serve the pipes until the command has ended; False if not in time.

    With ``whole_group`` until all have ended who hold its pipes.
    """
    deadline_s = None if time_s is None else time.monotonic() + time_s
    with selectors.DefaultSelector() as selector, pidfd(process.pid) as ended:
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


def _end(process: subprocess.Popen[bytes], stdout: Output, stderr: Output, grace_s: float) -> None:
    """Ask the command's group to end, and give it some time."""
    signal_group(process, signal.SIGTERM)
    _attend(process, stdout, stderr, None, grace_s, whole_group=True)
