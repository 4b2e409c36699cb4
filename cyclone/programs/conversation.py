"""A program that goes on running, and answers each line that it gets with a line of its own.

Owns how long it lives: it is started when it is first asked, ended when it breaks the rules or nobody has asked for a
while, and started again when it is asked after that. Knows nothing of what the lines mean; docs/line-protocol.md does.
Its caller asks from the main thread, which the program dies with, one line at a time.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping

from cyclone.processes import sigterm_held
from cyclone.programs.command import command_name
from cyclone.programs.running import Running, Said

IDLE_S = 60.0
"""How long a program is kept while nobody asks it."""


class Program:
    """One process that is asked again and again. ``say`` gets each line that it says besides its answers.

    With ``over_socket`` it connects to the Unix socket in $CYCLONE_SOCKET; else it has its standard input and output.
    """

    def __init__(
        self,
        command: str | list[str],
        over_socket: bool,
        say: Callable[[str], None],
        idle_s: float = IDLE_S,
    ) -> None:
        self.name = command_name(command)
        self._command = command
        self._over_socket = over_socket
        self._idle_s = idle_s
        self._said = Said(say)
        self._environment: Mapping[str, str] = {}
        self._running: Running | None = None
        self._used_s = 0.0
        # Between the main thread, which asks, and the one that ends what nobody asks.
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None
        self._closed = threading.Event()

    def begin(self, environment: Mapping[str, str]) -> None:
        """Have it run, and ready for a line, which is owed. Raises CommandFailed, ProgramDied where it cannot start."""
        with self._lock:
            self._used_s = math.inf  # from here on it is needed
            if self._running is not None:
                # The slot may be another one, and with it the device that is its alone.
                moved = f"the environment of {self.name} has changed" if environment != self._environment else ""
                trouble = self._running.trouble() or moved
                if not trouble:
                    return
                self._said.say(f"{trouble}; it is started anew")
                self._stop()
            self._environment = environment
            self._running = Running(self.name, self._command, environment, self._over_socket, self._said)
            self._closed.clear()
            if self._watcher is None:
                self._watch()

    def ask(self, line: bytes) -> bytes:
        """The answer to a line, both without their ends. Raises ProgramFailed, and has ended it then.

        ``begin`` is owed before.
        """
        with self._lock:
            assert self._running is not None, "begin() is owed"
            self._said.begin()
            try:
                answer = self._running.ask(line + b"\n")
            except BaseException:
                # Also where the worker was told to end the task: the program is in the middle of it.
                self._stop()
                raise
            finally:
                self._said.end()
                self._used_s = time.monotonic()
            return answer

    def close(self) -> None:
        """End it now, if it runs: the end of its input, then SIGTERM, then SIGKILL."""
        with self._lock:
            if self._running is not None:
                self._running.end_input()
                self._stop()
        self._closed.set()

    def _stop(self) -> None:
        if self._running is not None:
            self._running.end()
            self._running = None

    def _watch(self) -> None:
        self._watcher = threading.Thread(target=self._end_when_idle, daemon=True)
        with sigterm_held():
            self._watcher.start()

    def _end_when_idle(self) -> None:
        while True:
            with self._lock:
                left_s = self._used_s + self._idle_s - time.monotonic()
                if self._running is not None and left_s <= 0:
                    self._running.end_input()
                    self._stop()
                if self._running is None:
                    self._watcher = None
                    return
            self._closed.wait(min(left_s, self._idle_s))
