"""A sink that the test speaks for, on a real socket, and the feeds of a master whose journal is a table."""

import itertools
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import zmq

from cyclone.errors import AlreadyRunning
from cyclone.master.journal import Journal, NoJournal
from cyclone.master.sinks.sink_feed import SinkOptions
from cyclone.master.sinks.sink_feeds import SinkFeeds
from cyclone.protocol import wire
from cyclone.protocol.messages import Refused
from cyclone.protocol.sink_messages import AnyFromSink, AnyToSink, Attach, Blocks
from cyclone.protocol.sockets import master_socket
from cyclone.results import RecordedBlock
from tests.support.procfs import wait_until

JOURNAL = "f" * 32
DEADLINE_S = 20.0
_POLL_MS = 2


def result(number: int, size: int = 0) -> RecordedBlock:
    """The results with this number: of the task with the same."""
    return RecordedBlock(number, 1, [("t:T", 1)], [b"\x90"], b"\x00", None, bytes(size), "n")


class PlayedSink:
    """``got`` is all that reached it and was not looked at."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self._context = context
        self._socket, self.port = master_socket(context, "127.0.0.1", 0)
        self.target = f"127.0.0.1:{self.port}"
        self._peer = b""
        self.got: list[AnyToSink] = []

    def read(self) -> None:
        while self._socket.poll(0):
            self._peer, *frames = self._socket.recv_multipart()
            self.got.append(wire.decode_for_sink(frames))

    def say(self, message: AnyFromSink | Refused) -> None:
        self.say_frames(wire.encode(message))

    def say_frames(self, frames: list[bytes]) -> None:
        self._socket.send_multipart([self._peer, *frames])

    def restart(self) -> None:
        """Every connection is lost, and it listens again on the same port."""
        self.close()
        self.got.clear()
        # ZeroMQ closes in a thread of its own.
        wait_until(self._listen, f"port {self.port} is free again")

    def _listen(self) -> bool:
        try:
            self._socket, _ = master_socket(self._context, "127.0.0.1", self.port)
        except AlreadyRunning:
            return False
        return True

    def close(self) -> None:
        self._socket.close(linger=0)

    def attaches(self) -> int:
        return sum(isinstance(message, Attach) for message in self.got)

    def numbers(self) -> list[int]:
        """Of the blocks that it got, in order; one that is gone is negative."""
        return [
            number if block else -number
            for message in self.got
            if isinstance(message, Blocks)
            for number, block in enumerate(message.blocks, message.first)
        ]


class PlayedJournal(NoJournal):
    """``kept`` is what it still has."""

    replays = True

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self.journal_id = JOURNAL
        self.kept = {number: result(number) for number in numbers}
        self.asked_after: list[int] = []
        self.failure: Exception | None = None

    def results_after(self, number: int) -> Iterator[tuple[int, RecordedBlock]]:
        self.asked_after.append(number)
        while True:
            if self.failure:
                raise self.failure
            found = min((other for other in self.kept if other > number), default=None)
            if found is None:
                return
            number = found
            yield number, self.kept[number]


class Harness:
    """Sinks and the feeds that serve them. ``now`` is what the feeds take for the time, ahead of what it is."""

    def __init__(self, journal: Journal | None = None, last: int = 0, sinks: int = 1) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.sinks = [PlayedSink(self.context) for _ in range(sinks)]
        self.sink = self.sinks[0]
        self.journal = journal or PlayedJournal(*range(1, last + 1))
        self.last = last
        self._poller = zmq.Poller()
        options = SinkOptions(tuple(sink.target for sink in self.sinks), None, "host-1")
        self.feeds = SinkFeeds(self._poller, options, self.journal, last)
        self._ahead_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.feeds.close()
        for sink in self.sinks:
            sink.close()
        self.context.term()

    def pass_s(self, seconds: float) -> None:
        """So much later."""
        self._ahead_s += seconds

    def record(self, count: int = 1, size: int = 0) -> None:
        """New results, in the journal and past the feeds."""
        for number in itertools.islice(itertools.count(self.last + 1), count):
            block = result(number, size)
            if isinstance(self.journal, PlayedJournal):
                self.journal.kept[number] = block
            self.last = number
            self.feeds.deliver(number, block)

    def turn(self) -> bool:
        """A turn of the master's loop."""
        ready: dict[object, int] = dict(self._poller.poll(_POLL_MS))
        more = self.feeds.turn(ready, time.monotonic() + self._ahead_s)
        for sink in self.sinks:
            sink.read()
        return more

    def until(self, condition: Callable[[], bool]) -> None:
        """Turns until it holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            self.turn()
            seen = [sink.numbers() for sink in self.sinks]
            assert time.monotonic() < deadline, f"not within {DEADLINE_S:g} s; the sinks have {seen}"

    def settle(self) -> None:
        """Turns until nothing has come for a while: for what must not happen."""
        for _ in range(10):
            self.turn()
