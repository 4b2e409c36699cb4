"""A source whose generator process is played by the test, and whose journal is a list."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, cast

import zmq

from cyclone.master.actions import Action, Deliver
from cyclone.master.events import Recorded, Replayed, TasksAdded
from cyclone.master.generator.feed import FeedOptions
from cyclone.master.generator.feed_pipe import Failed, FromGenerator, Started
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.master.generator.source import Source
from cyclone.master.journal import claim_in
from cyclone.master.memory_journal import MEMORY_BYTES_MAX, JobsInMemory
from cyclone.processes import Guard
from cyclone.protocol.messages import ErrorRecord
from cyclone.protocol.sockets import POLLIN
from cyclone.protocol.states import COMPLETED
from cyclone.results import RecordedBlock
from tests.support.masters import JOB, Master, batch

ARGS = b"\x90"


class PlayedChannel:
    """``unsent_bytes`` is what the test says the generator has not taken yet."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.unsent_bytes = 0
        self.closed = False
        self.writes = 0

    def fileno(self) -> int:
        return self._number

    def write(self) -> None:
        self.writes += 1
        self.unsent_bytes = 0


class PlayedFeed:
    """What ``Feed`` is to a source. ``says`` is what the generator is about to say, ``delivered`` what it was told."""

    numbers = itertools.count(1000)

    def __init__(self, guard: Guard, options: FeedOptions, progress: GeneratorProgress) -> None:
        self.progress = progress
        self.channel = PlayedChannel(next(self.numbers))
        self.pidfd = next(self.numbers)
        self.started = self.wants_results = self.died = self.closed = self.finishing = False
        self.failure: ErrorRecord | None = None
        self.says: list[FromGenerator] = []
        self.delivered: list[int] = []
        self.flushed = 0
        self.granted = 0
        self.bytes_each = 0

    def read(self) -> Iterator[FromGenerator]:
        while self.says:
            message = self.says.pop(0)
            match message:
                case Started(wants_results):
                    self.started, self.wants_results = True, wants_results
                case Failed(error):
                    self.failure = error
            yield message

    def deliver(self, number: int, block: RecordedBlock) -> None:
        assert block.first == number
        self.delivered.append(number)
        self.channel.unsent_bytes += self.bytes_each

    def flush(self) -> None:
        self.flushed = len(self.delivered)

    def grant(self, limit: int) -> None:
        self.granted = limit

    def finish(self) -> None:
        self.finishing = True

    def ended(self) -> None:
        if self.failure is None:
            self.died = True
            self.failure = ErrorRecord("GeneratorDied", "the generator process ended with signal 9")

    def close(self) -> None:
        self.closed = True


class PlayedJournal(JobsInMemory):
    """``results`` are those that were recorded, from number 1 on."""

    description = "played"
    journal_id = "f" * 32
    epoch = 7

    def __init__(self, replays: bool) -> None:
        super().__init__(MEMORY_BYTES_MAX)
        self.replays = replays
        self.results: list[RecordedBlock] = []
        self.asked_after: list[int] = []
        self._taken: set[bytes] = set()

    def recover(self) -> Iterator[Replayed]:
        return iter(())

    def append(self, events: Sequence[Recorded]) -> None:
        raise NotImplementedError

    def load(self, first: int) -> TasksAdded:
        raise LookupError(first)

    def results_after(self, number: int) -> Iterator[tuple[int, RecordedBlock]]:
        assert self.replays
        self.asked_after.append(number)
        while number < len(self.results):
            number += 1
            yield number, self.results[number - 1]

    def job_parts(self, first: int, count: int) -> list[tuple[int, int, int, int]]:
        """Nobody submits anything."""
        return []

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        return claim_in(self._taken, keys)

    def tend(self, consumed: int, idle: bool) -> bool:
        return False

    def close(self) -> None:
        pass


class Body:
    """What the master's body does with a source, and a controller that gives every task a result of its own."""

    def __init__(self, replays: bool = True, **options: Any) -> None:
        self.master = Master(**options)
        self.journal = PlayedJournal(replays)
        self.poller = zmq.Poller()
        self._session = self.master.join(slots=1)

    @property
    def feed(self) -> PlayedFeed:
        return cast(PlayedFeed, self.source.feed)

    @property
    def polled(self) -> dict[int, int]:
        return dict(self.poller.sockets)

    def start(self) -> None:
        self.source = Source(self.master.scheduler, self.journal, cast(Guard, None), FeedOptions({}), self.poller)

    def record(self, count: int) -> None:
        """So many results more, each with a number of its own; the task has the same."""
        for _ in range(count):
            number = self.master.scheduler.state.number + 1
            self.master.carry_out(self.master.scheduler.offer([JOB], [(0, 1)], [ARGS], self.master.now))
            self.master.lease(self._session, 1)
            for action in self.master.results(self._session, batch(number, COMPLETED)):
                if isinstance(action, Deliver):
                    self.journal.results.append(action.block)
                    if hasattr(self, "source"):
                        self.source.deliver(action.number, action.block)

    def turn(self, *said: FromGenerator) -> list[Action]:
        """A turn of the loop in which the generator says this."""
        self.feed.says += said
        ready: dict[object, int] = {self.feed.channel.fileno(): POLLIN} if said else {}
        actions = self.master.carry_out(self.source.take_in(ready, self.master.now))
        self.source.turn()
        return actions

    def kill(self, *last_words: FromGenerator, channel_closed: bool = True) -> list[Action]:
        """The generator process dies."""
        feed = self.feed
        feed.says += last_words
        feed.channel.closed = channel_closed
        actions = self.master.carry_out(self.source.take_in({feed.pidfd: POLLIN}, self.master.now))
        self.source.turn()
        return actions
