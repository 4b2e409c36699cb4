"""A running program, from its start to its end, and one line after the other in between.

Owns its process, which dies with the worker, and its pipes or its socket. Each fault of the program, and its death, is
a ``ProgramFailed`` that tells what has happened; after that the conversation is over, and only ``end`` may be called.
"""

import contextlib
import os
import selectors
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping

from cyclone import BaseTask
from cyclone.errors import CycloneError
from cyclone.processes import sigterm_held
from cyclone.programs.command import end_of, how_it_ended, signal_group, start
from cyclone.protocol.limits import LOG_LINE_CHARS_MAX

ANSWER_BYTES_MAX = 8 * 1024 * 1024
"""The longest line that a program may answer: what a value may take, and twice that as JSON."""

SAID_BYTES_MAX = 64 * 1024
"""How much of what a program says while it has one line goes to the log."""

_CONNECT_S = 30.0
_GRACE_S = 1.0
_BLOCK_BYTES = 64 * 1024
_SHOWN_BYTES = 200
_TAIL_BYTES = 2048
# unix(7): the path of a socket, with the zero at its end.
_SOCKET_PATH_BYTES_MAX = 107


class ProgramFailed(CycloneError):
    """The program has broken off the conversation; it is ended, and will be started again."""


class ProgramDied(ProgramFailed):
    """The program has ended while it was to answer, or does not even start to talk."""


class AnswerMalformed(ProgramFailed):
    """What came is no answer: too long, too early, or only a part of a line."""


class Running:
    """One life of a program that is asked: by a Unix socket, whose path it finds in $CYCLONE_SOCKET, or else by its
    standard input and output. What it says besides its answers goes to ``said``. ``end`` is owed.

    Raises CommandFailed, ProgramDied where it cannot be started.
    """

    def __init__(
        self, name: str, command: str | list[str], environment: Mapping[str, str], over_socket: bool, said: "Said"
    ) -> None:
        self._name = name
        self._said = said
        self._buffer = bytearray()
        self._looked = 0
        self._requests = self._answers = self._ended = -1
        self._chatter: list[int] = []
        with _Listener() if over_socket else contextlib.nullcontext() as listener, sigterm_held() as release:
            told = {**environment, "CYCLONE_SOCKET": listener.path} if listener else environment
            self._process = start(name, command, told, has_input=not over_socket)
            try:
                assert self._process.stdout is not None and self._process.stderr is not None
                self._ended = os.pidfd_open(self._process.pid)
                self._chatter = [self._process.stderr.fileno(), *([self._process.stdout.fileno()] if listener else [])]
                for descriptor in self._chatter:
                    os.set_blocking(descriptor, False)
                release()
                if listener:
                    self._requests = self._connection(listener).detach()
                    self._answers = os.dup(self._requests)
                else:
                    assert self._process.stdin is not None
                    self._requests = os.dup(self._process.stdin.fileno())
                    self._process.stdin.close()
                    self._answers = os.dup(self._process.stdout.fileno())
            except BaseException:
                self.end()
                raise
        for descriptor in (self._requests, self._answers):
            os.set_blocking(descriptor, False)

    def trouble(self) -> str:
        """Why it cannot be asked once more, from between two lines; '' where it can."""
        try:
            ended = not self._read()
        except BlockingIOError:
            ended = False
        if self._buffer:
            return f"{self._name} has said {_shown(self._buffer)} without being asked"
        code = self._exit_code()
        if code is not None:
            return f"{self._name} {how_it_ended(code)} while nobody asked it"
        return f"{self._name} has closed its output while nobody asked it" if ended else ""

    def ask(self, request: bytes) -> bytes:
        """Send a whole line, and wait for one."""
        unsent = memoryview(request)
        with selectors.DefaultSelector() as selector:
            selector.register(self._requests, selectors.EVENT_WRITE)
            for descriptor in (self._answers, self._ended, *self._chatter):
                selector.register(descriptor, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                for descriptor in ready.intersection(self._chatter):
                    if not self._listen(descriptor):
                        selector.unregister(descriptor)
                if self._answers in ready or self._ended in ready:
                    line = self._answer(ended=self._ended in ready)
                    if line is not None:
                        self._listen_to_all()
                        if unsent:
                            raise AnswerMalformed(f"{self._name} answered {_shown(line)} before it had read its line")
                        return line
                if self._requests in ready:
                    unsent = unsent[self._write(unsent) :]
                    if not unsent:
                        selector.unregister(self._requests)

    def end_input(self) -> None:
        """Ask it to end by the end of its input, and give it some time."""
        for descriptor in (self._requests, self._answers):
            os.close(descriptor)
        self._requests = self._answers = -1
        self._wait(_GRACE_S)

    def end(self) -> None:
        """End it, and all of its group, by force where that is needed."""
        if self._ended >= 0:
            signal_group(self._process, signal.SIGTERM)
            self._wait(_GRACE_S)
        # It has not been waited for yet, so that the group's number cannot belong to anything else.
        signal_group(self._process, signal.SIGKILL)
        self._process.wait()
        self._listen_to_all()
        self._said.close()
        for descriptor in (self._requests, self._answers, self._ended):
            if descriptor >= 0:
                os.close(descriptor)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _connection(self, listener: "_Listener") -> socket.socket:
        deadline_s = time.monotonic() + _CONNECT_S
        with selectors.DefaultSelector() as selector:
            for descriptor in (listener.fileno(), self._ended, *self._chatter):
                selector.register(descriptor, selectors.EVENT_READ)
            while (left_s := deadline_s - time.monotonic()) > 0:
                ready = {key.fd for key, _ in selector.select(left_s)}
                if listener.fileno() in ready:
                    return listener.accept()
                for descriptor in ready.intersection(self._chatter):
                    if not self._listen(descriptor):
                        selector.unregister(descriptor)
                if self._ended in ready:
                    raise self._gone("")
        raise self._gone(f"has not connected to its socket, $CYCLONE_SOCKET, within {_CONNECT_S:g} s")

    def _answer(self, ended: bool) -> bytes | None:
        """Take what there is; a line, if it is one by now. Raises where none can come any more."""
        with contextlib.suppress(BlockingIOError):
            while True:
                if not self._read():
                    ended = True
                    break
                if not ended or b"\n" in self._buffer or len(self._buffer) > ANSWER_BYTES_MAX:
                    break
        line = self._line()
        if line is None and ended:
            part = f" after the part {_shown(self._buffer)} of a line" if self._buffer else ""
            raise self._gone(f"closed its output{part}")
        return line

    def _read(self) -> bool:
        """Take a block; False at the end. BlockingIOError where there is none now."""
        try:
            block = os.read(self._answers, _BLOCK_BYTES)
        except ConnectionResetError:
            return False
        self._buffer += block
        return bool(block)

    def _line(self) -> bytes | None:
        """The first line of the buffer, without its end; what follows it stays there, for ``trouble``."""
        end = self._buffer.find(b"\n", self._looked)
        if max(end, len(self._buffer) if end < 0 else 0) > ANSWER_BYTES_MAX:
            raise AnswerMalformed(
                f"{self._name} has answered a line of more than {ANSWER_BYTES_MAX} bytes: {_shown(self._buffer)}"
            )
        if end < 0:
            self._looked = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._looked = 0
        return line

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._requests, data[:_BLOCK_BYTES])
        except (BrokenPipeError, ConnectionResetError):
            raise self._gone("closed its input") from None

    def _gone(self, what: str) -> ProgramDied:
        """What to raise: how it ended, if it does so soon, else this."""
        self._wait(_GRACE_S)
        self._listen_to_all()
        code = self._exit_code()
        how = what if code is None else f"{how_it_ended(code)} and gave no answer"
        return ProgramDied(f"{self._name} {how}{end_of('its standard error', self._said.tail)}")

    def _exit_code(self) -> int | None:
        """Negative for a signal, None while it runs. It is not collected: its number stays its own."""
        found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def _wait(self, time_s: float) -> None:
        """For its end, so long at most; meanwhile it is listened to."""
        deadline_s = time.monotonic() + time_s
        with selectors.DefaultSelector() as selector:
            for descriptor in (self._ended, *self._chatter):
                selector.register(descriptor, selectors.EVENT_READ)
            while (left_s := deadline_s - time.monotonic()) > 0:
                ready = {key.fd for key, _ in selector.select(left_s)}
                if self._ended in ready:
                    return
                for descriptor in ready:
                    if not self._listen(descriptor):
                        selector.unregister(descriptor)

    def _listen(self, descriptor: int) -> bool:
        """Pass on a block of what it says besides; False at the end of that."""
        with contextlib.suppress(BlockingIOError):
            block = os.read(descriptor, _BLOCK_BYTES)
            if not block:
                self._chatter.remove(descriptor)
                return False
            self._said.hear(block)
        return True

    def _listen_to_all(self) -> None:
        for descriptor in tuple(self._chatter):
            self._listen(descriptor)


class _Listener:
    """A Unix socket in a folder of our own, for one connection."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="line-", dir=BaseTask.current.worker_dir)
        self.path = f"{self._folder}/socket"
        if len(os.fsencode(self.path)) > _SOCKET_PATH_BYTES_MAX:
            shutil.rmtree(self._folder)
            self._folder = tempfile.mkdtemp(prefix="cyclone-line-", dir="/tmp")
            self.path = f"{self._folder}/socket"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen(1)

    def __enter__(self) -> "_Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def fileno(self) -> int:
        """To be polled; readable when it has come."""
        return self._socket.fileno()

    def accept(self) -> socket.socket:
        """Its connection."""
        return self._socket.accept()[0]


class Said:
    """What a program says besides its answers: passed on by the line, bounded for each line that it was asked."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.tail = b""
        self._partial = b""
        self._heard_bytes = 0

    def begin(self) -> None:
        """It is asked: from here on it may say so much."""
        self._heard_bytes = 0
        self.tail = b""

    def hear(self, block: bytes) -> None:
        """Of standard error, or of an output that is not for answers."""
        self.tail = (self.tail + block)[-_TAIL_BYTES:]
        room = max(0, SAID_BYTES_MAX - self._heard_bytes)
        self._heard_bytes += len(block)
        *lines, self._partial = (self._partial + block[:room]).split(b"\n")
        for line in lines:
            self._pass_on(line)
        while len(self._partial) > LOG_LINE_CHARS_MAX:
            self._pass_on(self._partial[:LOG_LINE_CHARS_MAX])
            self._partial = self._partial[LOG_LINE_CHARS_MAX:]

    def end(self) -> None:
        """It has answered."""
        if self._heard_bytes > SAID_BYTES_MAX:
            self.say(f"({self._heard_bytes - SAID_BYTES_MAX} bytes more, discarded)")

    def close(self) -> None:
        """It has ended."""
        if self._partial:
            self._pass_on(self._partial)
            self._partial = b""

    def _pass_on(self, line: bytes) -> None:
        self.say(line.decode("utf-8", "backslashreplace"))


def _shown(line: bytes | bytearray) -> str:
    """The beginning of a line as a message tells it."""
    text = bytes(line[:_SHOWN_BYTES]).decode("utf-8", "backslashreplace")
    return f"{text!r}..." if len(line) > _SHOWN_BYTES else repr(text)
