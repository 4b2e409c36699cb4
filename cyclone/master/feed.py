"""The master's end of the generator: starts its process, grants it room, takes its tasks, passes results on.

A thin body: the scheduler decides how much room there is, the generator process what a task is. Never blocks: what the
generator does not take at once waits here, and ``backlog_bytes`` tells how much that is.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cyclone import values
from cyclone.errors import ProtocolError
from cyclone.master import feed_pipe
from cyclone.processes import Guard, end_text, python_command
from cyclone.protocol import limits
from cyclone.protocol.framing import FrameReader
from cyclone.protocol.messages import ErrorRecord
from cyclone.results import RecordedBlock

_RECEIVE_BYTES = 1 << 20
# How much is read before the rest of the master gets its turn.
_READ_BYTES_PER_TURN = 4 << 20
_END_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """``arguments`` goes to the generator process as JSON, see ``cyclone.master.generator_process``."""

    arguments: dict[str, object]


class Feed:
    """One generator process."""

    def __init__(self, guard: Guard, options: FeedOptions) -> None:
        self._guard = guard
        self.channel, channel = socket.socketpair()
        self.channel.setblocking(False)
        arguments = {**options.arguments, "parent_pid": os.getpid(), "channel_fd": channel.fileno()}
        self._process = subprocess.Popen(
            python_command("cyclone.master.generator_process:main", json.dumps(arguments)),
            pass_fds=(channel.fileno(),),
            start_new_session=True,
            stdin=None,
            stdout=2,
            env=guard.environment(),
        )
        channel.close()
        self.pid = self._process.pid
        self.pidfd = os.pidfd_open(self.pid)
        guard.add(self.pid)
        self.wants_results = False
        self.failure: ErrorRecord | None = None
        self.summary: dict[str, Any] | None = None
        self.backlog_bytes = 0
        # Whether the generator's end of the channel is gone: there is nothing to poll any more.
        self.closed = False
        self._granted = 0
        self._number = self._blocks_bytes = 0
        self._blocks: list[RecordedBlock] = []
        self._reader = FrameReader()
        self._outgoing: deque[bytes] = deque()

    @property
    def wants_to_write(self) -> bool:
        """Whether the socket was full: call ``write`` when it is writable again."""
        return bool(self._outgoing)

    def grant(self, limit: int) -> None:
        """Let it yield up to this many tasks in all."""
        if limit > self._granted:
            self._granted = limit
            self._send(feed_pipe.Pull(limit))

    def deliver(self, number: int, block: RecordedBlock) -> None:
        """Gather results for ``on_result``; ``flush`` is owed at the end of the turn."""
        self._number = number
        self._blocks.append(block)
        self._blocks_bytes += len(block.body) + sum(map(len, block.args))
        if self._blocks_bytes > limits.BATCH_BYTES_TARGET:
            self.flush()

    def flush(self) -> None:
        """Pass on what is gathered."""
        if self._blocks:
            self._send(feed_pipe.Deliver(self._number, self._blocks))
            self._blocks, self._blocks_bytes = [], 0

    def finish(self) -> None:
        """Ask for the summary; the process ends then."""
        self._send(feed_pipe.Finish())

    def read(self) -> Iterator[feed_pipe.FromGenerator]:
        """What the generator says. A stream that makes no sense becomes its failure."""
        budget = _READ_BYTES_PER_TURN
        while budget > 0:
            try:
                data = self.channel.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                self.closed = True
                return
            if not data:
                self.closed = True
                return
            budget -= len(data)
            try:
                for body in self._reader.feed(data):
                    yield from self._note(feed_pipe.decode_from_generator(body))
            except ProtocolError as error:
                self.failure = ErrorRecord(
                    "ProtocolError", f"the generator process wrote rubbish into its pipe: {error}"
                )
                return

    def write(self) -> None:
        """Send what the socket takes."""
        try:
            while self._outgoing:
                head = self._outgoing[0]
                sent = self.channel.send(head)
                self.backlog_bytes -= sent
                if sent < len(head):
                    self._outgoing[0] = head[sent:]
                else:
                    self._outgoing.popleft()
        except BlockingIOError:
            return
        except OSError:
            # Its end is told by the pidfd.
            self._outgoing.clear()
            self.backlog_bytes = 0

    def ended(self) -> None:
        """Owed when the pidfd is readable: an end without a summary is a failure."""
        status = self._process.wait()
        if self.summary is None and self.failure is None:
            self.failure = ErrorRecord("GeneratorDied", f"the generator process ended with {end_text(status)}")

    def close(self) -> None:
        """End the process and what it started: SIGTERM, and after a moment SIGKILL, to its group."""
        self.channel.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)
        try:
            self._process.wait(_END_WAIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self._guard.remove(self.pid)
        os.close(self.pidfd)

    def _note(self, message: feed_pipe.FromGenerator) -> Iterator[feed_pipe.FromGenerator]:
        match message:
            case feed_pipe.Started(wants_results):
                self.wants_results = wants_results
            case feed_pipe.Failed(error):
                self.failure = error
            case feed_pipe.Summary(packed):
                self.summary = values.decode(packed)
        yield message

    def _send(self, message: feed_pipe.FromMaster) -> None:
        packed = feed_pipe.pack(message)
        self._outgoing.append(packed)
        self.backlog_bytes += len(packed)
        self.write()
