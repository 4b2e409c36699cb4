"""One external command with a limit on its time and on its output, and both hold.

Owns the process from its start to its end: a group of its own, SIGTERM when the time is over, then SIGKILL, and where
not even that ends it (a process in uninterruptible sleep ends when its file system answers, or never) it is given up.
Knows nothing of what the command is. Its caller owes bytes as arguments and a complete environment.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

GRACE_S = 1.0
"""How long a command has to end after SIGTERM, and again after SIGKILL, before it is given up."""

STDERR_BYTES_MAX = 64 * 1024
"""What is kept of standard error; what comes after it is read and dropped."""

_BLOCK_BYTES = 64 * 1024
# What a pipe can hold, unless root has raised it: no more of a command's own output is left in it when it has ended.
_PIPE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Ended:
    """What became of a command. ``returncode`` is None where it was given up, and negative for a signal."""

    returncode: int | None
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    too_long: bool = False


def run(
    arguments: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    timeout_s: float,
    stdout_bytes_max: int,
    kill_command: Sequence[bytes] = (),
) -> Ended:
    """Run a command to its end, at most for ``timeout_s`` and twice ``GRACE_S``, and while it prints no more than this.

    ``kill_command`` is what can signal a command that has become another user (``sudo -n kill``). OSError where the
    command cannot be started, ValueError for an argument with a NUL.
    """
    process = subprocess.Popen(
        arguments,
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        process_group=0,
    )
    assert process.stdout is not None and process.stderr is not None
    stdout = _Output(process.stdout, stdout_bytes_max, stop_at_max=True)
    stderr = _Output(process.stderr, STDERR_BYTES_MAX, stop_at_max=False)
    with process.stdout, process.stderr, _pidfd(process.pid) as ended:
        outputs = [stdout, stderr]
        try:
            in_time = _attend(ended, outputs, timeout_s)
            gone = (in_time and not stdout.too_long) or _end(process, ended, kill_command)
        except BaseException:
            # Whoever waits was told to stop, as a worker whose task's time is over: the command stops with it.
            _end(process, ended, kill_command)
            raise
        if gone:
            for output in outputs:
                output.drain()
    # A process that was given up is collected by the subprocess module, with one of the next calls after its end.
    return Ended(process.wait() if gone else None, stdout.kept, stderr.kept, not in_time, stdout.too_long)


class _Output:
    """One output of the command: its beginning is kept."""

    def __init__(self, pipe: IO[bytes], bytes_max: int, stop_at_max: bool) -> None:
        os.set_blocking(pipe.fileno(), False)
        self.pipe = pipe
        self.total_bytes = 0
        self._bytes_max = bytes_max
        self._stop_at_max = stop_at_max
        self._kept = bytearray()

    @property
    def kept(self) -> bytes:
        return bytes(self._kept)

    @property
    def too_long(self) -> bool:
        return self._stop_at_max and self.total_bytes > self._bytes_max

    def read(self) -> bool:
        """Take a block; False at the end. BlockingIOError where there is none now."""
        block = os.read(self.pipe.fileno(), _BLOCK_BYTES)
        self.total_bytes += len(block)
        self._kept += block[: self._bytes_max - len(self._kept)]
        return bool(block)

    def drain(self) -> None:
        """Take what is in the pipe already; somebody who left the group may hold its other end for ever."""
        enough = self.total_bytes + _PIPE_BYTES_MAX
        with contextlib.suppress(BlockingIOError):
            while self.total_bytes < enough and not self.too_long and self.read():
                pass


def _attend(ended: int, outputs: Sequence[_Output], time_s: float) -> bool:
    """Read the outputs until the command has ended or printed too much; False when the time is over before."""
    deadline_s = time.monotonic() + time_s
    with selectors.DefaultSelector() as selector:
        selector.register(ended, selectors.EVENT_READ)
        for output in outputs:
            selector.register(output.pipe, selectors.EVENT_READ, output)
        while True:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            for key, _ in selector.select(left_s):
                if key.fd == ended:
                    return True
                if not key.data.read():
                    selector.unregister(key.fileobj)
                elif key.data.too_long:
                    return True


def _end(process: subprocess.Popen[bytes], ended: int, kill_command: Sequence[bytes]) -> bool:
    """End the command's group by force; False where it does not end."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal_group(process.pid, number, kill_command)
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            if selector.select(GRACE_S):
                process.wait()
                return True
    return False


def _signal_group(group: int, number: signal.Signals, kill_command: Sequence[bytes]) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
    except PermissionError:
        if not kill_command:
            return
        arguments = [*kill_command, b"-s", number.name.removeprefix("SIG").encode(), b"--", b"-%d" % group]
        # Where there is no such command either, the process is given up like one that no signal ends.
        with contextlib.suppress(OSError):
            run(arguments, os.environb, GRACE_S, STDERR_BYTES_MAX)


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int]:
    """A descriptor that becomes readable when the process has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
