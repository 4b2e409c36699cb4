"""The master's end of the generator: starts its process, grants it room, takes its tasks, passes results on.

A thin body: the scheduler decides how much room there is, the generator process what a task is. Never blocks: what the
generator does not take at once waits in the channel.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from cyclone import values
from cyclone.errors import CycloneError, ProtocolError
from cyclone.master.generator import feed_pipe
from cyclone.master.generator.deliveries import Deliveries
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.processes import Guard, end_text, python_command
from cyclone.protocol.framing import Channel, socket_pair
from cyclone.protocol.messages import ErrorRecord
from cyclone.results import RecordedBlock

# How much is read before the rest of the master gets its turn.
_READ_BYTES_PER_TURN = 4 << 20
_END_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """``arguments`` goes to the generator process as JSON, see ``cyclone.master.generator.generator_process``."""

    arguments: dict[str, object]


class Feed:
    """One generator process, which goes on from ``progress``.

    ``failure`` tells that it is over before its time. ``died`` says that the process itself ended, by a signal or an
    exit of its own, so that another one may go on; otherwise user code raised, and would again.
    """

    def __init__(self, guard: Guard, options: FeedOptions, progress: GeneratorProgress) -> None:
        self._guard = guard
        our_end, channel = socket_pair()
        self.channel = Channel(our_end)
        arguments = {**options.arguments, "parent_pid": os.getpid(), "channel_fd": channel.fileno()}
        self._process = subprocess.Popen(
            python_command("cyclone.master.generator.generator_process:main", json.dumps(arguments)),
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
        self.started = self.wants_results = False
        self.failure: ErrorRecord | None = None
        self.died = False
        self.summary: dict[str, Any] | None = None
        self._granted = progress.pulled
        self._deliveries = Deliveries(progress.cursor_consumed)
        self._send(feed_pipe.Resume(progress))

    def grant(self, limit: int) -> None:
        """Let it yield up to this many tasks in all."""
        if limit > self._granted:
            self._granted = limit
            self._send(feed_pipe.Pull(limit))

    def deliver(self, number: int, block: RecordedBlock) -> None:
        """Gather results for ``on_result``, from ``progress.cursor_consumed`` + 1 on without a gap.

        ``flush`` is owed at the end of the turn.
        """
        self._deliveries.add(number, block)

    def flush(self) -> None:
        """Pass on what is due."""
        for frame in self._deliveries.due():
            self.channel.send(*frame)

    def finish(self) -> None:
        """Ask for the summary; the process ends then."""
        self._send(feed_pipe.Finish())

    def read(self) -> Iterator[feed_pipe.FromGenerator]:
        """What the generator says. A stream that makes no sense becomes its failure."""
        try:
            for body in self.channel.read(_READ_BYTES_PER_TURN):
                yield self._note(feed_pipe.decode_from_generator(body))
        except ProtocolError as error:
            self.failure = ErrorRecord("ProtocolError", f"the generator process wrote rubbish into its pipe: {error}")

    def ended(self) -> None:
        """Owed when the pidfd is readable: an end without a summary is a failure."""
        status = self._process.wait()
        if self.summary is None and self.failure is None:
            self.died = True
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

    def _note(self, message: feed_pipe.FromGenerator) -> feed_pipe.FromGenerator:
        match message:
            case feed_pipe.Started(wants_results):
                self.started, self.wants_results = True, wants_results
            case feed_pipe.Block(progress=progress) | feed_pipe.Advanced(progress):
                self._deliveries.consumed(progress.consumed)
            case feed_pipe.Failed(error):
                self.failure = error
            case feed_pipe.Summary(packed):
                try:
                    self.summary = dict(values.decode(packed))
                except (msgspec.MsgspecError, CycloneError, TypeError, ValueError, RecursionError) as error:
                    raise ProtocolError(f"a summary that cannot be read: {error}") from error
        return message

    def _send(self, message: feed_pipe.FromMaster) -> None:
        self.channel.send(feed_pipe.pack(message))
